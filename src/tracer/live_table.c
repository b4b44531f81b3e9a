/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* New chunks of the live table, and new rows of any table. */
#include "tracer/live_table.h"

uint32_t region_row_new(struct region_header *region, enum region_table_id table)
{
    struct region_table *place = &region->tables[table];
    /* Looked at first, so that the counter cannot go round. */
    if (__atomic_load_n(&place->nr_rows, __ATOMIC_RELAXED) < place->max_rows) {
        uint32_t row = __atomic_fetch_add(&place->nr_rows, 1, __ATOMIC_RELAXED);
        if (row < place->max_rows)
            return row;
    }
    lost_add(region, LOST_TABLE_FULL);
    return 0;
}

struct region_live *live_place(struct tracer *tracer, uintptr_t addr, unsigned granule_log2)
{
    uint64_t span = (uint64_t)addr >> REGION_SPAN_BITS;
    if (span >> (REGION_ADDR_BITS - REGION_SPAN_BITS)) {
        lost_add(tracer->region, LOST_TABLE_FULL);
        return NULL;
    }
    uint32_t *place = &tracer->live_index[span];
    if (!__atomic_load_n(place, __ATOMIC_ACQUIRE)) {
        uint32_t chunk = region_row_new(tracer->region, REGION_LIVE_CHUNKS);
        if (!chunk)
            return NULL;
        uint32_t none = 0; /* somebody else may be faster; then this chunk stays empty */
        __atomic_compare_exchange_n(place, &none, chunk | granule_log2 << 24, false,
                                    __ATOMIC_RELEASE, __ATOMIC_RELAXED); /* pairs with live_find */
    }
    return live_find(tracer, addr);
}
