/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Task rows, and the hooks of tokio's task vtables that fill them.  A cell is known by its entry in the
 * live table: REGION_LIVE_CELL, with the row in place of the time.  So a poll finds its row by one
 * look-up, and the free of a cell is seen for certain, wherever it happens.
 */
#pragma once

#include "tracer/live_table.h"

/* The row of what a thread does outside of tasks; 0: no room.  When the thread ends: _end. */
uint32_t task_thread_begin(struct trace_thread *thread);
void task_thread_end(struct trace_thread *thread);

/*
 * One load of an image, relocated: its task vtables are found (by structure) and their slots poll, schedule
 * and shutdown are set to ours.  Returns how many.  `image` is its row.  Again for the same load: 0.
 */
uint32_t tasks_hook_image(struct tracer *tracer, uint32_t image, uintptr_t bias);

/* May a block of this size and alignment be a cell?  Its entry gets REGION_LIVE_MAYBE. */
extern uint64_t task_cell_sizes[64]; /* of tokio before 1.29: a bit a size, hashed; zero without */
extern uint32_t task_has_cell_sizes;
static inline bool task_may_be_cell(size_t bytes, size_t align)
{
    size_t bit = bytes >> 3;
    return align == 128 ||
           __builtin_expect(task_has_cell_sizes && task_cell_sizes[bit >> 6 & 63] >> (bit & 63) & 1,
                            0);
}
/* Such a block was made and its entry written: whether it is one is seen a little later. */
void task_block_made(struct trace_thread *thread, uintptr_t block);
/* Looks now at what `thread`, or each thread, made last; any thread may ask.  At the exit. */
void task_settle(struct tracer *tracer, struct trace_thread *thread);
void tasks_settle_all(struct tracer *tracer);
/* Atomic; tasks that were met and have not ended. */
extern uint64_t task_nr_alive __attribute__((visibility("hidden")));

/*
 * Before a block is freed whose entry has REGION_LIVE_CELL or REGION_LIVE_MAYBE, and before the entry is
 * cleared: ends the task (also one that no hook ever saw: a cell by its vtable pointer).  Returns the block's
 * tick for its lifetime.  `thread` made or frees blocks: it counts for the end of the row.
 */
uint64_t task_block_freed(struct trace_thread *thread, struct region_live *entry, uintptr_t block);

/*
 * A block of `row` was freed by a thread that is not polling it: counts, and folds the row into its type if it
 * ended and this was its last block.
 */
void task_foreign_free(struct trace_thread *thread, uint32_t row, uint64_t bytes);
