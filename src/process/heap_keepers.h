/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Part of heap_classes: who has the address of a finished task's cell.  A JoinHandle, an
 * AbortHandle and a waker are that address; what links cells to each other is not theirs.
 */
#pragma once

#include <pthread.h>

#include "process/heap_classes.h"
#include "process/heap_scan.h"

enum { MAX_KEEPERS = 16 }; /* of a task */

struct heap_keepers {
    const struct task_cells *cells;
    const struct heap_classes *classes; /* tells which blocks are cells, and whose */
    size_t nr_finished;
    pthread_mutex_t lock; /* for all that follows */
    uint8_t *found;       /* by task: how many so far, some perhaps twice */
    struct heap_keeper *rows;
    size_t nr, capacity;
};

void heap_keepers_init(struct heap_keepers *keepers, const struct task_cells *cells,
                       const struct heap_classes *classes);
/* There are finished tasks. */
bool heap_keepers_are_wanted(const struct heap_keepers *keepers);
/* A reference to a cell's block.  By several threads at once. */
void heap_keepers_see(struct heap_keepers *keepers, const struct heap_reference *reference);
/* Does `addr` lie in the cell's future or output, and is that still there? */
bool heap_cell_has(const struct task_cells *cells, const struct task_cell *cell, uint64_t addr);
/* Moves what was found to `classes`; nothing is left. */
void heap_keepers_finish(struct heap_keepers *keepers, struct heap_classes *classes);
