/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The memory of glibc's arenas.  The main arena has what brk gives, from malloc_par's sbrk_base to
 * the top chunk; where brk fails, mapped regions besides.  Other arenas have heaps: a heap_info at a
 * multiple of their greatest size, the newest has the top chunk and leads to the older ones.
 * How much memory an arena counts as its own must be what was found.
 *
 * Sources: glibc malloc/arena.c (heap_info, new_heap, _int_new_arena), malloc/malloc.c (sysmalloc).
 */
#include "process/heap_part.h"

#include <stdlib.h>
#include <string.h>

enum { STATE_BEHIND_BINS = 127 * 16 + 16 + 40, MAX_HEAPS = 1 << 16 };
#define MAX_HEAP_BYTES ((uint64_t)4 << 30)

struct heap_info { /* as far as it is read: more is behind */
    uint64_t arena, older, size_bytes;
};

/* --- other arenas ------------------------------------------------------------------------------ */

static bool read_info(struct heap_reader *reader, uint64_t heap, struct heap_info *info)
{
    uint64_t words[3];
    for (unsigned i = 0; i < 3; i++)
        if (!heap_word(&reader->pages, heap + i * 8, &words[i]))
            return false;
    *info = (struct heap_info){words[0], words[1], words[2]};
    return true;
}

/* The heap that `addr` lies in; 0: none of this arena. */
static uint64_t heap_of(struct heap_reader *reader, uint64_t addr, uint64_t arena)
{
    /* 2 * DEFAULT_MMAP_THRESHOLD_MAX; with the tunable glibc.malloc.hugetlb four big pages */
    static const uint64_t sizes[] = {64ULL << 20, 8ULL << 20, 4ULL << 30};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        uint64_t heap = addr & ~(sizes[i] - 1), owner;
        if (heap && heap_word(&reader->pages, heap, &owner) && owner == arena)
            return heap;
    }
    return 0;
}

/* Adds the heap's area; the bytes that the arena counts for it, 0: it makes no sense. */
static uint64_t add_heap(struct heap_reader *reader, const struct heap_arena *arena, uint64_t heap,
                         uint64_t info_bytes)
{
    struct heap_info info;
    if (!read_info(reader, heap, &info) || info.arena != arena->addr ||
        info.size_bytes < info_bytes || info.size_bytes > MAX_HEAP_BYTES)
        return 0;
    uint64_t start = heap + info_bytes, end = heap + info.size_bytes;
    if (arena->addr == start)
        start += (reader->state_to_bins + STATE_BEHIND_BINS + 15) & ~15ULL;
    bool has_top = arena->top >= start && arena->top < end;
    heap_add_area(reader, &(struct heap_area){.start = start,
                                              .end = has_top ? arena->top : end,
                                              .memory_start = heap,
                                              .memory_end = end,
                                              .has_top = has_top,
                                              .is_start_known = true});
    return info.size_bytes;
}

static void add_arena_heaps(struct heap_reader *reader, const struct heap_arena *arena)
{
    uint64_t heap = heap_of(reader, arena->top, arena->addr), found = 0;
    uint64_t first = heap_of(reader, arena->addr, arena->addr), info_bytes = arena->addr - first;
    if (!heap || !first || (info_bytes != 32 && info_bytes != 48)) {
        heap_problem(reader, "the heaps of the malloc arena at 0x%llx cannot be found",
                     (unsigned long long)arena->addr);
        return;
    }
    for (size_t i = 0; heap && i < MAX_HEAPS && reader->nr_areas < MAX_HEAPS; i++) {
        struct heap_info info;
        found += add_heap(reader, arena, heap, info_bytes);
        heap = read_info(reader, heap, &info) ? info.older : 0;
    }
    if (found != arena->system_bytes)
        heap_problem(reader,
                     "the malloc arena at 0x%llx counts %llu bytes of memory, %llu were found",
                     (unsigned long long)arena->addr, (unsigned long long)arena->system_bytes,
                     (unsigned long long)found);
}

/* --- the main arena ---------------------------------------------------------------------------- */

static uint64_t size_at(struct heap_reader *reader, uint64_t chunk)
{
    uint64_t size;
    return heap_word(&reader->pages, chunk + 8, &size) ? size & ~(uint64_t)CHUNK_FLAGS : 0;
}

/*
 * The main arena's region that begins with the chunk at `start`: it ends with the top chunk, or with two
 * chunks of 16 bytes, or three.  False: nowhere before `limit`.
 */
static bool find_region(struct heap_reader *reader, uint64_t start, uint64_t limit,
                        struct heap_area *area)
{
    uint64_t chunk = start, bytes = size_at(reader, chunk);
    while (bytes >= CHUNK_MIN_BYTES && bytes % CHUNK_ALIGN == 0 && bytes < limit - chunk &&
           chunk != reader->arenas[0].top && reader->nr_probes) {
        reader->nr_probes--;
        chunk += bytes;
        bytes = size_at(reader, chunk);
    }
    *area = (struct heap_area){.start = start,
                               .end = chunk,
                               .memory_start = start,
                               .memory_end = chunk + bytes,
                               .is_main = true,
                               .has_top = chunk == reader->arenas[0].top,
                               .is_start_known = true};
    if (area->has_top)
        return true;
    while (area->memory_end < limit && size_at(reader, area->memory_end) == CHUNK_HEADER_BYTES)
        area->memory_end += CHUNK_HEADER_BYTES;
    return chunk != start && area->memory_end - chunk >= 2 * CHUNK_HEADER_BYTES;
}

/* A region whose first chunk is at `start`, as the first of a region is; where it ends, 0: none. */
static uint64_t add_region(struct heap_reader *reader, uint64_t start, uint64_t limit)
{
    struct heap_area area;
    uint64_t size;
    if (!heap_word(&reader->pages, start + 8, &size) ||
        (size & CHUNK_FLAGS) != CHUNK_PREVIOUS_IN_USE || !find_region(reader, start, limit, &area))
        return 0;
    heap_add_area(reader, &area);
    return area.memory_end;
}

/* Where brk failed: regions of at least 1 MB, whose first page begins with a chunk. */
static void add_mapped_regions(struct heap_reader *reader, uint64_t brk_start, uint64_t brk_end)
{
    enum { PAGE_BYTES = 4096 };
    const struct target *target = reader->target;
    for (size_t i = 0, next; i < target->nr_mappings; i = next) {
        uint64_t end, page = target->mappings[i].start;
        for (next = heap_extent(target, i, &end); page < end;) {
            /* The areas that are sorted already are those of other arenas. */
            const struct heap_area *area = heap_area_from(reader, page);
            uint64_t behind = page >= brk_start && page < brk_end  ? brk_end
                              : area && area->memory_start <= page ? area->memory_end
                                                                   : add_region(reader, page, end);
            page = behind ? (behind + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1)
                          : page + PAGE_BYTES;
        }
    }
}

/* The main arena is not in one piece: regions by brk, one behind the other, and mapped ones. */
static void add_regions(struct heap_reader *reader, const struct heap_area *brk, uint64_t brk_end)
{
    enum { PROBES = 1 << 26 };
    uint64_t start = brk->start, behind;
    reader->nr_probes = PROBES;
    while ((behind = add_region(reader, start, brk_end)))
        start = behind;
    if (start == brk->start)
        heap_add_area(reader, brk); /* no region: the walk will tell why */
    add_mapped_regions(reader, brk->start, brk_end);
}

static void add_main(struct heap_reader *reader)
{
    const struct heap_arena *arena = &reader->arenas[0];
    uint64_t start = reader->brk_start ? reader->brk_start : arena->top, end;
    const struct mapping *m = start ? target_mapping_at(reader->target, start) : NULL;
    if (!arena->top || !arena->system_bytes)
        return; /* nobody used it yet */
    if (!m) {
        heap_problem(reader, "the main heap, which ends at 0x%llx, is not mapped",
                     (unsigned long long)arena->top);
        return;
    }
    start = reader->brk_start ? reader->brk_start : m->start;
    heap_extent(reader->target, (size_t)(m - reader->target->mappings), &end);
    bool has_top = arena->top >= start && arena->top < end;
    struct heap_area area = {.start = (start + CHUNK_ALIGN - 1) & ~(uint64_t)(CHUNK_ALIGN - 1),
                             .end = has_top ? arena->top : end,
                             .memory_start = start,
                             .memory_end = has_top ? arena->top + size_at(reader, arena->top) : end,
                             .is_main = true,
                             .has_top = has_top,
                             .is_start_known = reader->brk_start != 0};
    if (arena->is_contiguous && has_top)
        heap_add_area(reader, &area);
    else
        add_regions(reader, &area, end);
}

/* The bytes of all areas; those of the main arena must be as many as it counts. */
static uint64_t sum_areas(struct heap_reader *reader)
{
    uint64_t all = 0, of_main = 0;
    for (size_t i = 0; i < reader->nr_areas; i++) {
        const struct heap_area *area = &reader->areas[i];
        all += area->memory_end - area->memory_start;
        of_main += area->is_main ? area->memory_end - area->memory_start : 0;
    }
    if (of_main != reader->arenas[0].system_bytes)
        heap_problem(reader, "the main malloc arena counts %llu bytes of memory, %llu were found",
                     (unsigned long long)reader->arenas[0].system_bytes,
                     (unsigned long long)of_main);
    return all;
}

uint64_t heap_glibc_read(struct heap_reader *reader)
{
    for (size_t i = 1; i < reader->nr_arenas; i++)
        add_arena_heaps(reader, &reader->arenas[i]);
    heap_sort_areas(reader);
    add_main(reader);
    heap_sort_areas(reader);
    heap_walk(reader);
    uint64_t bytes = sum_areas(reader) + heap_add_mapped(reader);
    heap_drop_cached(reader);
    return bytes;
}
