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

/* A block that the end of its task frees. */
struct drop_block {
    uint32_t block;           /* position in heap_blocks.rows */
    uint64_t from;            /* where the pointer to it was read: in the cell or in another block; 0 */
    uint64_t requested_bytes; /* ~0: unknown */
};

/* A reference to a counted block (Arc, Rc) that its end gives up, while others keep the block. */
struct drop_share {
    uint32_t block;
    uint32_t task;
    uint64_t from; /* as in drop_block */
    uint64_t count_before; /* of owners, this one included */
};

struct task_drop {
    bool was_run;
    bool is_exact;        /* it came to its end */
    const char *reason;   /* why not run, or not to the end; lives as long as this */
    uint32_t first_block, nr_blocks;
    uint32_t first_share, nr_shares;
    uint32_t first_read, nr_reads; /* places in its futures that were read */
    uint64_t held_bytes;           /* sum of its blocks, without the cell */
};

struct task_drops {
    const struct task_cells *cells;
    const struct task_futures *futures;
    const struct heap_blocks *blocks;
    struct task_drop *rows; /* by task: position in cells->rows */
    struct drop_block *drops;
    size_t nr_drops;
    struct drop_share *shares;
    size_t nr_shares;
    uint64_t *reads; /* addresses of 8-byte words, ascending in each task */
    size_t nr_reads;
    uint32_t *holder; /* by block: task + 1; 0: no task frees it */
    struct arena arena;
};

void task_drops_read(struct task_drops *drops, const struct task_futures *futures,
                     const struct heap_blocks *blocks);
void task_drops_deinit(struct task_drops *drops);
