/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Blocks of an allocator whose metadata is not read (jemalloc, mimalloc): those that the ends of tasks
 * free are learnt from the program's own drop code, with the size that the allocator's usable_size
 * function says, which is interpreted too, or else that the program asked for.
 */
#pragma once

#include "process/heap_blocks.h"
#include "process/task_cells.h"

/* An allocator whose code is linked into an image. */
struct foreign_allocator {
    enum heap_allocator kind; /* HEAP_UNKNOWN: none that is known */
    uint64_t usable_size;     /* address of its function; 0: none is known */
};

void foreign_allocator_find(struct foreign_allocator *allocator, const struct target *target);

/* Adds them to `blocks`.  True: their sizes are the allocator's own. */
bool foreign_blocks_add(struct heap_blocks *blocks, const struct task_cells *cells);
