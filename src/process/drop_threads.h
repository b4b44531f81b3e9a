/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * On which threads a runtime's tasks end.  Drop code may ask its thread: for the runtime that it is in
 * (to start a task that cleans up), for a thread's own pool of buffers, for its name.  So it is run as if by a
 * thread of the task's own runtime; and where it did ask, by some others of them too.
 */
#pragma once

#include "base/map.h"
#include "process/task_cells.h"

enum { MAX_DROP_THREADS = 4 };

struct drop_threads {
    uint64_t pointers[MAX_DROP_THREADS]; /* thread pointers; the most fitting first */
    unsigned nr;                         /* at least 1 */
    /* They are the runtime's: it is named in their memory.  Else they are any. */
    bool are_known;
};

struct drop_threads_table {
    const struct task_cells *cells;
    struct map by_runtime; /* address -> position + 1 */
    struct drop_threads *rows;
    size_t nr, capacity;
};

void drop_threads_find(struct drop_threads_table *table, const struct task_cells *cells);
void drop_threads_deinit(struct drop_threads_table *table);
const struct drop_threads *drop_threads_of(const struct drop_threads_table *table,
                                           const struct task_cell *cell);
