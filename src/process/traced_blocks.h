/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the tracer knows of a target that runs under `asyncmem run`: of each live block its requested
 * bytes, its site and the task that allocated it.  The stage before: target, recording/region.  The stages
 * after: traced_heap (the blocks of the heap account), model/snapshot_origins.
 *
 * Found before the stop; blocks, tasks and threads are copied while the target stands still, so that they
 * are of the same instant as its heap.  Sites, nodes, types and images are only ever added to, and are read
 * when it runs again.  All of it is hostile input: the target can write anything there.
 */
#pragma once

#include "process/target.h"
#include "recording/region.h"

/* A block of the live table. */
struct traced_block {
    uint64_t addr, bytes; /* requested */
    uint32_t site;        /* row of REGION_SITES, not checked; 0: unknown */
    uint32_t task;        /* row of REGION_TASKS, not checked; 0: unknown */
};

/* A row of REGION_TASKS as it was. */
struct traced_task {
    uint64_t id; /* 0: the row was free */
    uint64_t runtime_task_id, cell_addr;
    uint32_t kind;   /* enum region_task_kind, not checked */
    uint32_t type;   /* row of REGION_TYPES, not checked */
    uint32_t thread; /* of a thread's row: its place among `threads`, not checked */
};

/* A row of REGION_THREADS as it was. */
struct traced_thread {
    uint32_t tid;  /* 0: the place was free */
    uint32_t task; /* whose place it was: row of REGION_TASKS; 0: unknown */
    char name[16]; /* ended by a NUL */
};

/* Blocks of a part of the address space: several threads copy at once. */
struct traced_part {
    uint64_t from, end;
    struct traced_block *blocks;
    size_t nr, capacity;
};

struct traced_blocks {
    bool is_there;           /* the live table was read */
    struct region_view view; /* for what is read afterwards */
    int fd;                  /* of the region, or of a copy of it; -1: none of ours */
    bool is_viewed;          /* the view is our own */
    bool is_clone;           /* the region is read through the target: nobody else has it */
    uint64_t start, end;     /* where the target has it mapped */
    struct traced_part *parts;
    size_t nr_parts;
    struct traced_block *blocks; /* by address */
    size_t nr_blocks;
    struct traced_task *tasks; /* by row */
    size_t nr_tasks, tasks_capacity;
    uint64_t *dropping; /* cells that their runtime is dropping, and has in no list; ascending */
    size_t nr_dropping, dropping_capacity;
    struct traced_thread *threads; /* by row */
    size_t nr_threads, threads_capacity;
    uint64_t lost;        /* events that the tracer could not enter into the live table */
    uint64_t estimate_ns; /* how long the copy will take, at most; 0: unknown */
    uint64_t copy_ns;     /* how long the target stood still for it */
    char problem[400];    /* why it is not there although the target is traced; "" */
};

/* Is that the live region of a traced program?  By its name only. */
bool traced_blocks_is_region(const struct mapping *mapping);

/* Is that memory of the tracer's own library?  It is no part of the program's. */
bool traced_blocks_is_tracer(const struct target *target, const struct mapping *mapping);

/*
 * Looks for the region and makes room; the target runs.  `region`: where the caller has it (the recorder), else
 * NULL; borrowed until traced_blocks_deinit.  traced_blocks_deinit in any case.
 */
void traced_blocks_find(struct traced_blocks *traced, const struct target *target,
                        const struct region_view *region);
/* Copies blocks, tasks and threads, where that will not take longer than the limit; the target stands still. */
void traced_blocks_copy(struct traced_blocks *traced, const struct target *target,
                        uint64_t limit_ns);
/* When it runs again: makes `blocks` of what was copied, and tells the target where hooks stand. */
void traced_blocks_finish(struct traced_blocks *traced, struct target *target);
void traced_blocks_deinit(struct traced_blocks *traced);

/* The block that starts at `addr`, or NULL. */
const struct traced_block *traced_blocks_at(const struct traced_blocks *traced, uint64_t addr);
/* NULL: none, or the row was free. */
const struct traced_task *traced_blocks_task(const struct traced_blocks *traced, uint32_t row);

/* Is there a cell at `addr` that its runtime drops? */
bool traced_blocks_is_dropping(const struct traced_blocks *traced, uint64_t addr);

/* --- traced_blocks_clone.c -------------------------------------------------------------------------- */

/*
 * A region like that of the target, as far as its tables were written to: *fd is a sealed memfd.  `header` is
 * that of the target, checked by `view`.  The target stands still.
 */
MUST_CHECK bool traced_blocks_clone(const struct target *target, const struct traced_blocks *traced,
                                    int *fd, struct error *err);
