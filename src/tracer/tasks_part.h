/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the files behind tracer/tasks.h share: one call of a hooked function, and the life of a task's row.
 *
 * A cell's memory is only read by who may: who holds a reference to the task (each caller of a vtable's
 * function does), who frees it, and the poll hook on its way out, for which a free by another thread waits
 * (task_rows.c: polls and `exits`).
 */
#pragma once

#include "tracer/task_vtables.h"

/* Does the entry's block start at `addr`?  In a granule of 32 bytes it may start at two places. */
static inline bool task_block_starts_at(const struct tracer *tracer, uint64_t owner, uintptr_t addr)
{
    enum { TWO_PLACES_LOG2 = 5 };
    unsigned granule_log2 = tracer->live_index[addr >> REGION_SPAN_BITS] >> 24;
    bool is_half = owner & REGION_LIVE_HALF;
    if (!(owner & REGION_LIVE_PRESENT))
        return false;
    return granule_log2 == TWO_PLACES_LOG2 ? !(addr & 15) && is_half == !!(addr & 16)
                                           : !(addr & (((uintptr_t)1 << granule_log2) - 1));
}

/* --- one call of a hooked function ------------------------------------------------------------- */

struct task_call_flags {
    bool is_shutdown;   /* else a poll */
    bool is_await_cut;  /* the await tree is there, but could not be read */
    bool has_panicked;  /* tokio caught a panic of the future */
    bool is_cell_freed; /* by this call: the row is released when it returns */
};

/* On the stack of the hook. */
struct task_call {
    struct task_header *header;
    struct region_task *task;
    const struct task_vtable *vtable;
    struct task_call *outer; /* on the same thread, and what it counted for before: */
    struct region_task *outer_task;
    uint32_t await; /* where the future stands, if this call may drop it */
    struct task_call_flags flags;
    uint32_t outer_task_id;
    uint64_t state;    /* of the task, before the call */
    uint64_t nr_polls; /* of the task, this one included; only where the future may be dropped */
};

/* --- task_rows.c ------------------------------------------------------------------------------- */

/* The row of the cell at `header`, made if it has none; 0: the block is in no table. */
uint32_t task_of_cell(struct tracer *tracer, struct task_header *header,
                      const struct task_vtable *vtable);
/* The future of a task is gone: `end`, unless its end is known already.  `call`: that ended it, or NULL. */
void task_note_end(struct tracer *tracer, struct region_task *task, enum region_task_end end,
                   const struct task_call *call);
/* Nothing more will be counted for the row but frees of what it allocated: cell freed, not polled. */
void task_release(struct trace_thread *thread, struct region_task *task);

/* --- task_end.c -------------------------------------------------------------------------------- */

/* How the task ended in `call`; REGION_END_NOT: it did not, or not in this one.  `state` is the present one;
 * the cell is still there. */
enum region_task_end task_end_of_call(const struct task_call *call, uint64_t state);
/* A JoinHandle is about to take or drop what the task left. */
void task_end_read(struct region_task *task, const struct task_vtable *vtable,
                   const struct task_header *header);
/* Its cell is freed by something else, and no call saw how it ended. */
enum region_task_end task_end_unseen(const struct region_task *task);

/* --- task_awaits.c ------------------------------------------------------------------------------ */

/* Sets call->await, call->is_await_cut: where the task stands, which is neither polled nor dropped now. */
void task_read_await(struct tracer *tracer, struct task_call *call);

/* task_await_ends.c.  Of a task that is folded: counts it in REGION_AWAIT_ENDS, if it did not finish. */
void task_count_await_end(struct tracer *tracer, const struct region_task *task);

/* --- task_snapshot.c ---------------------------------------------------------------------------- */

/* A task is about to be dropped by its runtime: asks the recorder for a snapshot, not too often. */
void task_ask_snapshot(struct tracer *tracer, const struct task_vtable *vtable);
