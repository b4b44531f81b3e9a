/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The blocks of the runtimes themselves: queues, timers, I/O registrations, drivers.  From each
 * runtime's handle by the types that debug info gives its members, and never by what only looks like a
 * pointer: a queue has the addresses of tasks that ended long ago, and a waker that of anything.  The
 * stages before: task_cells, heap_blocks.  The stage after: heap_classes.
 *
 * A typed pointer counts when the block is as large as what it points to; so those into the middle
 * of a future (timers, waiters), which only link, lead nowhere.
 */
#pragma once

#include "process/heap_blocks.h"
#include "process/task_cells.h"

struct runtime_block {
    uint32_t block; /* position in heap_blocks.rows */
    bool is_buffer; /* of elements: what is in it and not in use may be anything */
};

struct runtime_blocks {
    struct runtime_block *rows; /* each block once; a runtime's handle before what it leads to */
    size_t nr, capacity;
};

/* True: the block may be a runtime's. */
typedef bool runtime_may_fn(const void *context, uint32_t block);

void runtime_blocks_read(struct runtime_blocks *found, const struct task_cells *cells,
                         const struct heap_blocks *blocks, runtime_may_fn *may,
                         const void *context);
void runtime_blocks_deinit(struct runtime_blocks *found);
