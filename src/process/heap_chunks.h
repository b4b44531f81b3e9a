/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Which addresses are blocks of glibc's malloc: a walk over the chunks of a heap from its start,
 * each of which leads to the next.  Works on a running target: a walk that breaks off leaves the
 * addresses behind that place unknown.  Source: glibc malloc/malloc.c (struct malloc_chunk),
 * malloc/arena.c (heap_info: heaps of other threads begin at multiples of HEAP_MAX_SIZE).
 */
#pragma once

#include "process/target.h"

enum chunk_answer {
    CHUNK_UNKNOWN, /* no heap of glibc's, or its chunks could not be read that far */
    CHUNK_IN_USE,
    CHUNK_NONE, /* inside of another block, or free */
};

/* `blocks` in ascending order; answers[i] for blocks[i]. */
void heap_chunks_look_up(const struct target *target, const uint64_t *blocks, size_t nr,
                         enum chunk_answer *answers);
