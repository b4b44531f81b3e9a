/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What each task holds: which blocks its end would free.  The program knows best: the functions
 * that drop a task's cell (slot `dealloc` of its vtable) know for each state which variables live,
 * which were moved out, and what their types own.  They are run by process/emulator on a copy of the
 * memory; calls of free() tell the blocks.  The stages before: task_cells, task_futures, heap_blocks.
 * The stage after: heap_classes.
 *
 * Where a pointer was read from tells who holds the block: a place in the cell, or in another
 * block.  Counts that were lowered and did not reach zero tell what is shared.
 */
#pragma once

#include "process/emulator.h"
#include "process/heap_blocks.h"
#include "process/task_futures.h"

#define NO_BLOCK UINT32_MAX

/* A block that the end of its task frees. */
struct drop_block {
    uint32_t block;    /* position in heap_blocks.rows */
    uint32_t nr_steps; /* pointers between `place` and the block: 0: the pointer lies there */
    uint64_t from;     /* where the pointer to it was read: in the cell or in another block; 0 */
    uint64_t place;    /* the same, or, from a block, where the pointer to that was read, and so on
                               * up to a place in one of the task's futures; 0: unknown */
    uint64_t requested_bytes; /* ~0: unknown */
};

/* References to a counted block (Arc, Rc) that a task's end gives up, while others keep the block. */
struct drop_share {
    uint32_t block;
    uint32_t task;
    uint32_t nr_refs; /* that this task gives up */
    uint32_t shared;  /* position + 1 in task_drops.shared; 0: a runtime's own, or not looked at */
    uint64_t from, place; /* as in drop_block */
    uint64_t count_addr;  /* where its count is */
    uint64_t count;       /* of owners, these included */
};

/* A counted block that tasks own together, or with others. */
struct drop_shared {
    uint32_t block;
    uint32_t first_part, nr_parts; /* the block, and what its end alone frees */
    bool is_alone;                 /* the latter was not looked for: it would have taken too long */
    uint64_t nr_owners;            /* as its count says */
};

struct task_drop {
    bool was_run;
    bool is_exact;       /* it came to its end */
    const char *reason;  /* why not run, or not to the end; lives as long as the tables */
    uint32_t cell_block; /* position; NO_BLOCK */
    uint32_t first_block, nr_blocks; /* in drops */
    uint32_t first_share, nr_shares; /* in shares */
    uint32_t first_read, nr_reads;   /* in reads */
    uint64_t held_bytes;             /* sum of its blocks, the cell's not among them */
    uint64_t nr_instructions;        /* that looking took */
};

struct task_drops {
    const struct task_cells *cells;
    const struct task_futures *futures;
    const struct heap_blocks *blocks;
    struct task_drop *rows; /* by task: position in cells->rows */
    struct drop_block *drops;
    size_t nr_drops, drops_capacity;
    struct drop_share *shares;
    size_t nr_shares, shares_capacity;
    struct drop_shared *shared;
    size_t nr_shared, shared_capacity;
    uint32_t *parts; /* positions of blocks */
    size_t nr_parts, parts_capacity;
    uint64_t *reads; /* addresses of 8-byte words in the task's futures, ascending in each task */
    size_t nr_reads, reads_capacity;
    uint32_t *holder; /* by block: task + 1; 0: no task frees it */
    uint32_t *sharer; /* by block: position + 1 in shared, whose part it is; 0: none */
    uint64_t nr_instructions;
    struct arena arena;
};

/* What the blocks' own tasks and their frames hold; the target is stopped, copied or a core. */
void task_drops_read(struct task_drops *drops, const struct task_futures *futures,
                     const struct heap_blocks *blocks);
void task_drops_deinit(struct task_drops *drops);
