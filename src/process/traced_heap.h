/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The live table of a traced program and the blocks that its allocator's metadata tells, put together: glibc's
 * blocks get their entries, and blocks of other allocators, of which only the live table knows, become
 * blocks of the account.  The stages before: traced, heap_blocks.  The stage after: task_drops.
 */
#pragma once

#include "process/heap_blocks.h"
#include "process/traced_blocks.h"

struct traced_heap {
    uint32_t *entries;    /* by block: position + 1 in traced.blocks; 0: not in the live table */
    size_t nr_added;      /* blocks of other allocators */
    uint64_t added_bytes; /* in them */
    uint64_t *requested;  /* addresses of those whose size is what was asked for, ascending */
    size_t nr_requested;
    size_t nr_wrong;               /* entries that do not fit to the heap: left out */
    enum heap_allocator allocator; /* of those that were added; HEAP_UNKNOWN */
};

/* `target` is stopped or copied.  Adds blocks, and builds the index again. */
void traced_heap_join(struct traced_heap *heap, struct heap_blocks *blocks,
                      const struct traced_blocks *traced, const struct target *target);
void traced_heap_deinit(struct traced_heap *heap);

/* Is the size of the block at `addr` what was asked for, since nothing tells the usable one? */
bool traced_heap_is_requested(const struct traced_heap *heap, uint64_t addr);
