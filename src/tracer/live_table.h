/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The live table (struct region_live in recording/live_region.h): from a block's address to its entry.
 * Any thread; an entry belongs to who owns the block.
 */
#pragma once

#include "tracer/tracer.h"

/* The entry of the granule that `addr` lies in; NULL: no block was ever recorded near it. */
static inline struct region_live *live_find(const struct tracer *tracer, uintptr_t addr)
{
    uint64_t span = (uint64_t)addr >> REGION_SPAN_BITS;
    if (span >> (REGION_ADDR_BITS - REGION_SPAN_BITS))
        return NULL;
    uint32_t place =
        __atomic_load_n(&tracer->live_index[span], __ATOMIC_ACQUIRE); /* pairs with live_place */
    if (!place)
        return NULL;
    uint64_t in_span = addr & (((uint64_t)1 << REGION_SPAN_BITS) - 1);
    struct region_live *chunk =
        (struct region_live *)(tracer->live_chunks +
                               (uint64_t)(place & 0xffffff) * REGION_CHUNK_BYTES);
    return &chunk[in_span >> (place >> 24)];
}

/* The same, making the chunk where there is none; NULL: no room (counted).  granule_log2: 5 for glibc's
 * blocks, 3 for other allocators'; an existing chunk keeps its own. */
struct region_live *live_place(struct tracer *tracer, uintptr_t addr, unsigned granule_log2);
