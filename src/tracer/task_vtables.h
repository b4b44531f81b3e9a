/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * tokio's task header and vtables (tokio/src/runtime/task, since 1.23), and the table of the vtables whose slots are
 * ours: what stood in them.  Hooks read it without a lock; tasks_hook_image alone writes it.
 */
#pragma once

#include "tracer/tasks.h"

/* tokio's Header, since 1.21. */
struct task_header {
    uint64_t state; /* atomic */
    uint64_t queue_next;
    const uint64_t *vtable;
    uint64_t owner_id;
};

/* Of the state word, since 1.0; the references are above. */
enum {
    TASK_IS_RUNNING = 1,
    TASK_IS_COMPLETE = 2,
    TASK_HAS_JOIN_INTEREST = 8,
    TASK_IS_CANCELLED = 32,
    TASK_REFERENCES_SHIFT = 6,
};

static inline uint64_t task_state(const struct task_header *header)
{
    return __atomic_load_n(&header->state, __ATOMIC_ACQUIRE); /* pairs with tokio's transitions */
}

typedef void task_function(struct task_header *header);
typedef void task_read_function(struct task_header *header, void *into, const void *waker);
enum {
    TASK_SLOT_POLL,
    TASK_SLOT_SCHEDULE,
    TASK_SLOT_READ_OUTPUT = 3,
    TASK_SLOT_DROP_JOIN_HANDLE,
    TASK_SLOT_SHUTDOWN = 6,
};

/* A vtable that is hooked; written before its slots are set. */
struct task_vtable {
    const uint64_t *addr; /* 0: this place of the table is free */
    task_function *poll, *schedule, *shutdown, *drop_join_handle;
    task_read_function *read_output;
    uint32_t type;        /* row of REGION_TYPES */
    uint32_t image;       /* row of REGION_IMAGES */
    uint32_t is_blocking; /* of spawn_blocking or a worker's loop */
    uint32_t counter;     /* of polls, in struct region_thread: where it is, bytes */
    uint32_t scheduler_offset, id_offset, trailer_offset;
};

/* A hash table, replaced as a whole when it is half full. */
struct task_vtables {
    unsigned shift;
    uint32_t nr, mask;
    struct task_vtable rows[];
};
extern struct task_vtables *task_vtables; /* NULL: nothing is hooked; atomic */

static inline uint32_t task_vtable_hash(const struct task_vtables *table, const uint64_t *addr)
{
    return (uint32_t)(((uint64_t)(uintptr_t)addr * 0x9e3779b97f4a7c15u) >> table->shift);
}

/* NULL: not one of ours. */
static inline const struct task_vtable *task_vtable_find(const uint64_t *addr)
{
    const struct task_vtables *table =
        __atomic_load_n(&task_vtables, __ATOMIC_ACQUIRE); /* pairs with task_vtables.c: publish */
    if (!table)
        return NULL;
    for (uint32_t i = task_vtable_hash(table, addr);; i++) {
        const struct task_vtable *row = &table->rows[i & table->mask];
        if (!row->addr)
            return NULL; /* also where `addr` is no address at all */
        if (row->addr == addr)
            return row;
    }
}

/* By row of REGION_TYPES. */
enum { TASK_MAX_TYPES = 1 << 16 };
extern const struct task_vtable *task_type_vtables[TASK_MAX_TYPES];

/* Of a vtable that is a copy of one of ours: the one whose other words are the same; NULL: none. */
const struct task_vtable *task_vtable_find_copy(const uint64_t *addr);

/* The functions that are put into the slots: task_hooks.c. */
task_function task_hook_poll, task_hook_schedule, task_hook_shutdown, task_hook_drop_join_handle;
task_read_function task_hook_read_output;
