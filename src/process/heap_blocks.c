/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * From the allocator's own metadata to a table of live blocks.  glibc's malloc is read in this order:
 * its state (heap_arenas.c), the memory of its arenas (heap_glibc.c), their chunks (heap_walk.c), blocks with
 * a mapping of their own (heap_mapped.c); then free blocks that only look used are taken out
 * (heap_bins.c) and the rest gets an index (heap_index.c).  No step trusts the one before: sums that
 * malloc keeps are compared with what was found, and what differs is a problem.
 *
 * Rows are in the order of their addresses from the first step on; nothing is sorted.  Memory: 16 bytes a
 * block and at most 4 for the index.
 */
#include "process/heap_part.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

void heap_problem(struct heap_reader *reader, const char *format, ...)
{
    struct heap_blocks *blocks = reader->blocks;
    blocks->is_whole = false;
    if (blocks->problem)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(blocks->problem_text, sizeof(blocks->problem_text), format, args);
    va_end(args);
    blocks->problem = blocks->problem_text;
}

void *heap_alloc_big(size_t bytes)
{
    enum { BIG_PAGE_BYTES = 2 << 20 };
    void *piece;
    if (posix_memalign(&piece, BIG_PAGE_BYTES, bytes) != 0)
        return NULL;
    madvise(piece, bytes, MADV_HUGEPAGE); /* without it the same, slower */
    return piece;
}

/* --- areas and extents ------------------------------------------------------------------------- */

void heap_add_area(struct heap_reader *reader, const struct heap_area *area)
{
    reader->areas = array_reserve(reader->areas, &reader->areas_capacity, reader->nr_areas + 1,
                                  sizeof(*reader->areas));
    reader->areas[reader->nr_areas++] = *area;
}

static int area_order(const void *a, const void *b)
{
    const struct heap_area *x = a, *y = b;
    return x->memory_start < y->memory_start ? -1 : x->memory_start > y->memory_start;
}

void heap_sort_areas(struct heap_reader *reader)
{
    size_t kept = 0;
    if (reader->nr_areas)
        qsort(reader->areas, reader->nr_areas, sizeof(*reader->areas), area_order);
    for (size_t i = 0; i < reader->nr_areas; i++) {
        struct heap_area *area = &reader->areas[i];
        bool is_sane = area->memory_start <= area->start && area->start <= area->end &&
                       area->end <= area->memory_end && area->memory_end < HEAP_ADDR_LIMIT;
        if (is_sane && (!kept || reader->areas[kept - 1].memory_end <= area->memory_start))
            reader->areas[kept++] = *area;
        else
            heap_problem(reader, "the heap at 0x%llx overlaps another or makes no sense",
                         (unsigned long long)area->memory_start);
    }
    reader->nr_areas = reader->nr_sorted_areas = kept;
}

const struct heap_area *heap_area_from(const struct heap_reader *reader, uint64_t addr)
{
    size_t low = 0, high = reader->nr_sorted_areas;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (reader->areas[middle].memory_end <= addr)
            low = middle + 1;
        else
            high = middle;
    }
    return low < reader->nr_sorted_areas ? &reader->areas[low] : NULL;
}

static bool is_anonymous(const struct mapping *mapping)
{
    return !mapping->is_shared && !mapping->is_device && !mapping->inode &&
           mapping->end < HEAP_ADDR_LIMIT &&
           (!mapping->path[0] || strcmp(mapping->path, "[heap]") == 0 ||
            strncmp(mapping->path, "[anon", 5) == 0);
}

size_t heap_extent(const struct target *target, size_t first, uint64_t *end)
{
    size_t i = first;
    *end = target->mappings[first].start;
    while (i < target->nr_mappings && target->mappings[i].start == *end &&
           is_anonymous(&target->mappings[i]))
        *end = target->mappings[i++].end;
    return i > first ? i : first + 1;
}

/* --- the whole --------------------------------------------------------------------------------- */

void heap_blocks_read(struct heap_blocks *blocks, const struct target *target)
{
    *blocks = (struct heap_blocks){.is_whole = true};
    struct heap_reader reader = {.target = target, .blocks = blocks};
    uint64_t bytes = 0;
    heap_pages_init(&reader.pages, target);
    if (heap_glibc_find(&reader)) {
        blocks->allocator = HEAP_GLIBC;
        bytes = heap_glibc_read(&reader);
    } else {
        heap_problem(&reader, "no allocator that is known has memory here");
    }
    heap_index_build(blocks);
    blocks->retained_bytes = bytes > blocks->live_bytes ? bytes - blocks->live_bytes : 0;
    heap_pages_deinit(&reader.pages);
    free(reader.arenas);
    free(reader.areas);
    free(reader.tcaches);
}

void heap_blocks_deinit(struct heap_blocks *blocks)
{
    free(blocks->rows);
    heap_index_deinit(blocks);
    *blocks = (struct heap_blocks){0};
}
