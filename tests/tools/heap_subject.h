/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The page through which tests/tools/heap_subject.c and its test talk: the subject's own list of its live blocks. */
#pragma once

#include <stdint.h>

enum { HEAP_SUBJECT_SLOTS = 1 << 16 };

struct heap_truth_slot {
    uint64_t lock; /* 0: free */
    uint64_t addr; /* 0: no block */
    uint64_t size_bytes; /* malloc_usable_size of it */
};

struct heap_truth {
    uint64_t stage; /* counts up: the subject's threads stand still at each */
    uint64_t go;    /* the test lets it go on to this stage */
    uint64_t nr_threads; /* with the main thread */
    uint64_t arena_bytes, mapped_bytes, used_bytes; /* mallinfo2: arena, hblkhd, uordblks; 0: unknown */
    uint64_t nr_own; /* blocks that libc made for threads: their dtv, which stays with a cached stack */
    uint64_t own[64];
    struct heap_truth_slot slots[HEAP_SUBJECT_SLOTS];
};
