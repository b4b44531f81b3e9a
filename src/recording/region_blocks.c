/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The live table of a region, read from outside: the entry of an address, and all entries.  Only what was
 * ever written is looked at.  An entry is taken only if it reads the same twice: its writer puts `block`
 * first and `owner` last.
 */
#include "recording/region.h"

#include <stdlib.h>

enum { NO_PLACE = 0, INDEX_BYTES = sizeof(uint32_t), ENTRY_BYTES = sizeof(struct region_live) };

static const struct region_table *chunks_of(const struct region_view *view)
{
    return &view->tables[REGION_LIVE_CHUNKS];
}

/* The index entry of a span, NO_PLACE unless the chunk can be looked at. */
static uint32_t checked_place(const struct region_view *view, uint32_t place)
{
    unsigned granule_log2 = place >> 24;
    uint32_t chunk = place & 0xffffff;
    if (granule_log2 < 3 || granule_log2 > 5 || !chunk || chunk >= chunks_of(view)->max_rows)
        return NO_PLACE;
    return place;
}

/* False: there is no block, or somebody is just writing it. */
static bool read_entry(const struct region_live *entry, struct region_block *block)
{
    uint64_t owner = __atomic_load_n(&entry->owner, __ATOMIC_ACQUIRE); /* pairs with account.c */
    if (!(owner & REGION_LIVE_PRESENT))
        return false;
    uint64_t made = __atomic_load_n(&entry->block, __ATOMIC_ACQUIRE);
    if (__atomic_load_n(&entry->owner, __ATOMIC_RELAXED) != owner)
        return false;
    block->bytes = made & (((uint64_t)1 << 40) - 1);
    block->site = (uint32_t)(made >> 40);
    block->task = (uint32_t)(owner & 0xffffff);
    block->owner = owner;
    if (owner & REGION_LIVE_HALF)
        block->addr |= 16; /* of smaller granules the address has it */
    return true;
}

bool region_find_block(const struct region_view *view, uint64_t addr, struct region_block *block)
{
    const struct region_table *index = &view->tables[REGION_LIVE_INDEX];
    uint64_t span = addr >> REGION_SPAN_BITS;
    if (span >= index->max_rows)
        return false;
    const uint32_t *entry =
        (const uint32_t *)(view->bytes + index->offset_bytes + span * index->row_bytes);
    uint32_t place = checked_place(view, __atomic_load_n(entry, __ATOMIC_ACQUIRE));
    if (!place)
        return false;
    unsigned granule_log2 = place >> 24;
    uint64_t granule = (addr & (((uint64_t)1 << REGION_SPAN_BITS) - 1)) >> granule_log2;
    uint64_t at = region_row_offset(view, REGION_LIVE_CHUNKS, 0, place & 0xffffff);
    block->addr = addr >> granule_log2 << granule_log2;
    return read_entry((const struct region_live *)(view->bytes + at + granule * ENTRY_BYTES),
                      block);
}

/* --- all of them --------------------------------------------------------------------------------- */

void region_blocks_begin_at(struct region_block_walk *walk, const struct region_view *view,
                            uint64_t from, uint64_t end)
{
    const struct region_table *index = &view->tables[REGION_LIVE_INDEX];
    const uint64_t span_bytes = (uint64_t)1 << REGION_SPAN_BITS;
    uint64_t first = from >> REGION_SPAN_BITS, last = (end + span_bytes - 1) >> REGION_SPAN_BITS;
    first = first < index->max_rows ? first : index->max_rows;
    last = last < index->max_rows ? last : index->max_rows;
    *walk = (struct region_block_walk){.view = view, .from = from, .end = end};
    walk->seen = calloc(1, chunks_of(view)->max_rows / 8 + 1);
    walk->index_next = index->offset_bytes + first * index->row_bytes;
    walk->index_data[1] = walk->index_next;
    walk->index_end = index->offset_bytes + last * index->row_bytes;
}

void region_blocks_begin(struct region_block_walk *walk, const struct region_view *view)
{
    region_blocks_begin_at(walk, view, 0, (uint64_t)1 << REGION_ADDR_BITS);
}

void region_blocks_end(struct region_block_walk *walk)
{
    free(walk->seen);
    walk->seen = NULL;
}

static bool take_chunk(struct region_block_walk *walk, uint32_t place, uint64_t span)
{
    place = checked_place(walk->view, place);
    uint32_t chunk = place & 0xffffff;
    if (!place || walk->seen[chunk / 8] & 1 << chunk % 8)
        return false;
    walk->seen[chunk / 8] |= (uint8_t)(1 << chunk % 8);
    walk->granule_log2 = place >> 24;
    walk->span_addr = span << REGION_SPAN_BITS;
    walk->chunk_start = region_row_offset(walk->view, REGION_LIVE_CHUNKS, 0, chunk);
    uint64_t first = 0, bytes = (uint64_t)1 << REGION_SPAN_BITS;
    if (walk->from > walk->span_addr)
        first = walk->from - walk->span_addr;
    if (walk->end - walk->span_addr < bytes)
        bytes = walk->end - walk->span_addr;
    walk->chunk_end = walk->chunk_start + (bytes >> walk->granule_log2) * ENTRY_BYTES;
    walk->entry_next = walk->entry_data[1] =
        walk->chunk_start + (first >> walk->granule_log2) * ENTRY_BYTES;
    return true;
}

static bool next_chunk(struct region_block_walk *walk)
{
    const struct region_table *index = &walk->view->tables[REGION_LIVE_INDEX];
    for (;;) {
        if (walk->index_next + INDEX_BYTES > walk->index_data[1]) {
            if (!region_data_span(walk->view, walk->index_next, walk->index_end, walk->index_data))
                return false;
            uint64_t skipped = walk->index_data[0] - index->offset_bytes;
            skipped = (skipped + index->row_bytes - 1) / index->row_bytes;
            walk->index_next = index->offset_bytes + skipped * index->row_bytes;
        }
        while (walk->index_next + INDEX_BYTES <= walk->index_data[1]) {
            uint64_t at = walk->index_next;
            walk->index_next += index->row_bytes;
            uint32_t place =
                __atomic_load_n((const uint32_t *)(walk->view->bytes + at), __ATOMIC_ACQUIRE);
            if (place && take_chunk(walk, place, (at - index->offset_bytes) / index->row_bytes))
                return true;
        }
    }
}

/* Entries of the chunk up to the next block. */
static bool next_in_chunk(struct region_block_walk *walk, struct region_block *block)
{
    for (;;) {
        if (walk->entry_next >= walk->entry_data[1]) {
            if (!region_data_span(walk->view, walk->entry_next, walk->chunk_end, walk->entry_data))
                return false;
            walk->entry_next = walk->entry_data[0];
        }
        while (walk->entry_next < walk->entry_data[1]) {
            uint64_t at = walk->entry_next;
            walk->entry_next += ENTRY_BYTES;
            uint64_t granule = (at - walk->chunk_start) / ENTRY_BYTES;
            block->addr = walk->span_addr + (granule << walk->granule_log2);
            if (read_entry((const struct region_live *)(walk->view->bytes + at), block))
                return true;
        }
    }
}

bool region_blocks_next(struct region_block_walk *walk, struct region_block *block)
{
    if (!walk->seen)
        return false;
    while (!next_in_chunk(walk, block))
        if (!next_chunk(walk))
            return false;
    return true;
}
