/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Functions of a cell's vtable, called in a run.  Inside task_drops and foreign_blocks: drop_run
 * before it.
 *
 * Which function of a vtable drops the cell is told by trying: `dealloc` is the one that frees the cell
 * whatever the cell's own count of references says, so the count is set high before each call.
 */
#pragma once

#include "process/drop_run.h"
#include "process/drop_threads.h"

/* A cell whose future nobody polls, and that is one. */
bool drop_cell_can_run(const struct task_cell *cell);
/* The circumstances of the next call: as a thread of its runtime does it, where all goes well. */
void drop_cell_set_usual(struct drop_run *run, const struct drop_threads_table *threads,
                         const struct task_cell *cell);
enum emulator_end drop_cell_call(struct drop_run *run, const struct cell_layout *layout,
                                 const struct task_cell *cell, uint64_t function,
                                 uint64_t max_instructions);

/* Does `function` drop the cell?  `is_usual`: it is where tokio has its `dealloc`. */
typedef bool drop_cell_try_fn(void *context, const struct task_cell *cell, uint64_t function,
                              bool is_usual);
/* The first function of the cell's vtable of which that is true; 0: none. */
uint64_t drop_cell_find_dealloc(const struct task_cells *cells, const struct task_cell *cell,
                                drop_cell_try_fn *try_function, void *context);
