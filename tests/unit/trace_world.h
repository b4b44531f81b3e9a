/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A small world for tests of the tracer's task hooks: a live region, threads, blocks in the live table,
 * and tasks that behave towards their vtable's functions as tokio's do.
 */
#pragma once

#include "tracer/tasks_part.h"

/* tokio's Cell<T, S> of a future of some words. */
struct cell {
    struct task_header header;
    uint64_t scheduler;
    uint64_t id;
    uint64_t stage[8];
    uint64_t trailer[6];
} __attribute__((aligned(128)));

/* What the next poll of a cell does before it returns. */
struct script {
    bool completes;       /* else it is idle again */
    bool frees;           /* and drops the last reference */
    bool is_aborted_here; /* cancelled while it runs, then dropped */
    size_t allocates;     /* bytes, kept in `kept` */
    uintptr_t kept;
    void (*inside)(void *context); /* called while it runs; NULL */
    void *context;
};

extern const uint64_t future_vtable[10], blocking_vtable[10];

void world_begin(void);
void world_end(void);
/* The calling thread's state, made at its first call. */
struct trace_thread *world_thread(void);
void world_thread_end(void);

/* malloc and free with an entry in the live table, charged as the tracer does. */
uintptr_t world_allocate(size_t bytes, size_t align);
void world_free(uintptr_t block);

/* Spawns: the block, then its content. */
struct cell *world_spawn(const uint64_t *vtable);
void world_script(struct cell *cell, struct script *script);
/* As a runtime calls them. */
void world_poll(struct cell *cell);
void world_schedule(struct cell *cell);
void world_shutdown(struct cell *cell);
void world_drop(struct cell *cell); /* the last reference, outside of any call */

struct region_task *world_row(const struct cell *cell); /* NULL: it has none */
const struct region_type *world_type(const uint64_t *vtable);
const struct region_type_sums *world_sums(const uint64_t *vtable);
