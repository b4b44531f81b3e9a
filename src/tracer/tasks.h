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
 * and shutdown are set to ours.  Returns how many.  `image` is its row.
 */
uint32_t tasks_hook_image(struct tracer *tracer, uint32_t image, uintptr_t bias);

/*
 * Before a block is freed whose entry has REGION_LIVE_CELL or REGION_LIVE_MAYBE, and before the entry is
 * cleared: ends the task (also one that no hook ever saw: a cell by its vtable pointer).  Returns the block's
 * tick for its lifetime and corrects *owner_row to who allocated it.
 */
uint64_t task_block_freed(struct trace_thread *thread, struct region_live *entry, uintptr_t block,
                          uint32_t *owner_row);

/*
 * A block of `row` was freed by a thread that is not polling it: counts, and folds the row into its type if it
 * ended and this was its last block.
 */
void task_foreign_free(struct trace_thread *thread, uint32_t row, uint64_t bytes);
