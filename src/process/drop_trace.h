/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * From what one run of drop code did to rows: which blocks it freed, where their pointers lay, and
 * which counts it lowered.  Inside task_drops: drop_run before it.
 */
#pragma once

#include "process/drop_run.h"
#include "process/task_drops.h"

/* Rows of several tasks, in the order of their runs. */
struct drop_rows {
    struct drop_block *blocks;
    size_t nr_blocks, blocks_capacity;
    struct drop_share *shares;
    size_t nr_shares, shares_capacity;
    uint64_t *reads;
    size_t nr_reads, reads_capacity;
};

struct drop_trace {
    const struct heap_blocks *blocks;
    uint32_t cell_block;     /* position; NO_BLOCK */
    bool cell_was_freed;     /* as drop code of a cell does */
    uint64_t nr_other_cells; /* freed too: of tasks that are finished */
    bool has_strange_free;   /* of what is no block */
};

/* Appends the rows of a run.  `is_cell` tells of each block whether a task's cell is in it. */
void drop_trace_take(struct drop_trace *trace, struct drop_run *run, const uint8_t *is_cell,
                     struct drop_rows *rows);
void drop_rows_deinit(struct drop_rows *rows);
