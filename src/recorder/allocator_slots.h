/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Where a program calls an allocator that is linked into it.  Compilers call mimalloc's and jemalloc's functions
 * through words that hold their addresses (.got, .data.rel.ro): the symbol table tells the functions, the relocations
 * the words.  The stage after: the tracer, which puts its own functions there.
 */
#pragma once

#include <stddef.h>

#include "recording/live_region.h"

struct allocator_slots {
    struct region_slot *rows; /* their `image` is 0; free() */
    size_t nr, capacity;
    const char *
        hidden; /* an allocator that is in the file, which has no symbols to find it by; NULL: none */
};

/* Of one file; none for most.  Files are untrusted and read by libelf, unmapped. */
void allocator_slots_find(struct allocator_slots *slots, const char *path);
