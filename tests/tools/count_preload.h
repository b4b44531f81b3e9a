/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The page that tests/tools/count_preload.c keeps up to date in a file: tests/run/traced.py reads it by this order. */
#pragma once

#include <stdint.h>

#define COUNT_MAGIC "asyncmct"

/* Eight-byte words only.  Bytes are those asked for. */
struct count_page {
    char magic[8];
    uint64_t pid;
    uint64_t allocations, allocated_bytes; /* that succeeded; a realloc is one, and a free */
    uint64_t frees, freed_bytes;
    uint64_t unknown_frees;          /* of blocks that were made before, or by somebody else */
    uint64_t live_bytes, peak_bytes; /* peak: exact while one thread allocates */
    uint64_t malloc_calls, calloc_calls, realloc_calls, aligned_calls, free_calls;
};
