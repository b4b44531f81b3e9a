/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Every live block of the target's heap, and what the allocator keeps without a block in it.  The
 * stage before: target, stopped, copied or a core.  The stages after: task_drops, heap_classes.
 *
 * glibc's malloc (2.26 to 2.41): the chunks of all arenas and the mapped ones, without those in
 * tcaches, fastbins and bins.  Sources: glibc malloc/malloc.c (struct malloc_chunk, malloc_state,
 * malloc_par, tcache), malloc/arena.c (heap_info).  A block's size is what malloc_usable_size says of it.
 * A block whose malloc or free a thread was just in may be on either side; so may, while malloc merges them
 * (malloc_consolidate), the free blocks of one fastbin, which are in no list then.
 */
#pragma once

#include "process/target.h"

enum heap_allocator {
    HEAP_UNKNOWN, /* no allocator that is known has memory here */
    HEAP_GLIBC,
    HEAP_JEMALLOC,
    HEAP_MIMALLOC,
    NR_HEAP_ALLOCATORS,
};

struct heap_block {
    uint64_t addr;       /* what malloc returned */
    uint64_t size_bytes; /* usable */
};

struct heap_blocks {
    struct heap_block *rows; /* by address */
    size_t nr, capacity;
    enum heap_allocator allocator;
    uint64_t live_bytes; /* sum of all rows */
    uint64_t
        retained_bytes;    /* mapped for the heap, but in no block: free chunks, headers, tops; ~0:
                              * unknown */
    uint64_t cached_bytes; /* of retained_bytes: free blocks in tcaches and fastbins */
    bool is_whole;         /* every heap was walked to its end */
    bool
        is_of_tasks; /* of another allocator, and only what tasks' ends free: the sums are unknown */
    const char *problem;    /* the first thing that could not be read, and why; NULL: nothing */
    char problem_text[200]; /* where `problem` points to */
    /* heap_blocks_find's index (heap_index.c): */
    uint64_t lowest, highest; /* address of the first block, end of the last */
    struct heap_unit *units;  /* of the addresses from `lowest` on */
    uint32_t *buckets;
};

/* heap_blocks_deinit in any case. */
void heap_blocks_read(struct heap_blocks *blocks, const struct target *target);
void heap_blocks_deinit(struct heap_blocks *blocks);

/* Position + 1 of the block that has `addr` in it (its end excluded); 0: none.  Any thread. */
uint32_t heap_blocks_find(const struct heap_blocks *blocks, uint64_t addr);
