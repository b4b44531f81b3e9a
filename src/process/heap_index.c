/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Which block has this address in it?  Asked a hundred million times, mostly of words that are no
 * address of a block at all.  The address space is cut into units of 64 MB; a unit in which blocks lie is
 * cut into as many buckets as it has blocks, or half as many, and a bucket knows the first block that
 * begins in it.  A look-up touches one unit, one bucket and mostly one row.
 *
 * Invariant: buckets[i] <= buckets[i + 1] for all buckets of a unit, the last of which is the next one's first
 * block.  At most 4 bytes a block, 8 bytes for each unit between the first block and the last.
 */
#include "process/heap_part.h"

#include <stdlib.h>
#include <string.h>

enum { UNIT_SHIFT = 26, SHORT_RUN = 8 };
#define UNIT_BYTES ((uint64_t)1 << UNIT_SHIFT)

struct heap_unit {
    uint32_t first_bucket;
    uint32_t bucket_shift; /* a bucket has 1 << this bytes; 0: no block is in the unit */
};

/* Rows of no bytes go; so does what overlaps the row before, which no allocator does. */
static void compact(struct heap_blocks *blocks)
{
    uint64_t end = 0;
    size_t kept = 0;
    blocks->live_bytes = 0;
    for (size_t i = 0; i < blocks->nr; i++) {
        struct heap_block row = blocks->rows[i];
        if (!row.size_bytes || row.addr < end || row.addr >= HEAP_ADDR_LIMIT ||
            row.size_bytes > HEAP_ADDR_LIMIT - row.addr)
            continue;
        end = row.addr + row.size_bytes;
        blocks->live_bytes += row.size_bytes;
        blocks->rows[kept++] = row;
    }
    blocks->nr = kept;
}

/* For `nr` blocks that begin in a unit: about one bucket each. */
static unsigned bucket_shift(size_t nr)
{
    unsigned shift = UNIT_SHIFT;
    while (nr > 1 && shift > 4) {
        nr /= 2;
        shift--;
    }
    return shift;
}

struct build {
    struct heap_blocks *blocks;
    size_t nr_buckets;
};

/* The buckets of the unit at `start`, whose blocks are those from `first` up to `end`. */
static void build_unit(struct build *build, uint64_t start, size_t first, size_t end)
{
    struct heap_blocks *blocks = build->blocks;
    unsigned shift = bucket_shift(end - first);
    size_t nr = (size_t)1 << (UNIT_SHIFT - shift), row = first;
    blocks->units[(start >> UNIT_SHIFT) - (blocks->lowest >> UNIT_SHIFT)] =
        (struct heap_unit){(uint32_t)build->nr_buckets, shift};
    uint32_t *buckets = blocks->buckets + build->nr_buckets;
    for (size_t i = 0; i < nr; i++) {
        while (row < end && blocks->rows[row].addr < start + (i << shift))
            row++;
        buckets[i] = (uint32_t)row;
    }
    buckets[nr] = (uint32_t)end;
    build->nr_buckets += nr + 1;
}

void heap_index_build(struct heap_blocks *blocks)
{
    compact(blocks);
    if (!blocks->nr)
        return;
    const struct heap_block *rows = blocks->rows;
    struct build build = {.blocks = blocks};
    blocks->lowest = rows[0].addr;
    blocks->highest = rows[blocks->nr - 1].addr + rows[blocks->nr - 1].size_bytes;
    size_t nr_units =
        (size_t)((blocks->highest >> UNIT_SHIFT) - (blocks->lowest >> UNIT_SHIFT) + 1);
    blocks->units = memory_alloc(nr_units * sizeof(*blocks->units));
    /* At most one a block, and two in a unit without a beginning; what is not used is given back. */
    size_t most_bytes = (blocks->nr + 2 * nr_units) * sizeof(*blocks->buckets);
    blocks->buckets = heap_alloc_big(most_bytes);
    if (!blocks->buckets)
        blocks->buckets = memory_alloc(most_bytes);
    for (size_t i = 0; i < blocks->nr;) {
        uint64_t start = rows[i].addr & ~(UNIT_BYTES - 1);
        size_t first = i;
        while (i < blocks->nr && rows[i].addr < start + UNIT_BYTES)
            i++;
        build_unit(&build, start, first, i);
        /* Units that the last block reaches into and in which none begins. */
        uint64_t reach = rows[i - 1].addr + rows[i - 1].size_bytes;
        uint64_t next = i < blocks->nr ? rows[i].addr & ~(UNIT_BYTES - 1) : UINT64_MAX;
        for (uint64_t done = start + UNIT_BYTES; done < reach && done < next; done += UNIT_BYTES)
            build_unit(&build, done, i, i);
    }
    blocks->rows = memory_resize(blocks->rows, blocks->nr * sizeof(*blocks->rows));
    blocks->capacity = blocks->nr;
    blocks->buckets = memory_resize(blocks->buckets, build.nr_buckets * sizeof(*blocks->buckets));
}

void heap_index_deinit(struct heap_blocks *blocks)
{
    free(blocks->units);
    free(blocks->buckets);
    blocks->units = NULL;
    blocks->buckets = NULL;
}

/*
 * How many of the rows from `low` up to `high` begin at `addr` or before, and all before them.  Mostly one
 * is looked at: a loop with a branch lets the processor go on before the row is there.
 */
static inline uint32_t rows_up_to(const struct heap_block *rows, uint32_t low, uint32_t high,
                                  uint64_t addr)
{
    while (high - low > SHORT_RUN) {
        uint32_t middle = low + (high - low) / 2;
        if (rows[middle].addr <= addr)
            low = middle + 1;
        else
            high = middle;
    }
    while (low < high && rows[low].addr <= addr)
        low++;
    return low;
}

uint32_t heap_blocks_find(const struct heap_blocks *blocks, uint64_t addr)
{
    if (addr - blocks->lowest >= blocks->highest - blocks->lowest)
        return 0;
    struct heap_unit unit = blocks->units[(addr >> UNIT_SHIFT) - (blocks->lowest >> UNIT_SHIFT)];
    if (!unit.bucket_shift)
        return 0;
    const uint32_t *bucket =
        blocks->buckets + unit.first_bucket + ((addr & (UNIT_BYTES - 1)) >> unit.bucket_shift);
    uint32_t nr = rows_up_to(blocks->rows, bucket[0], bucket[1], addr);
    if (!nr)
        return 0;
    const struct heap_block *row = &blocks->rows[nr - 1];
    return addr - row->addr < row->size_bytes ? nr : 0;
}
