/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Blocks that are too big for an arena: glibc maps memory for each.  Its first page begins with a
 * chunk that has the flag "mapped", whose size is whole pages.  An aligned block (memalign) has its
 * chunk further inside, which knows how far; the header in front stays.  The kernel joins mappings
 * that lie side by side, so that such a chunk may be anywhere in anonymous memory: all pages are looked at,
 * until the sizes add up to what malloc counts.
 *
 * Sources: glibc malloc/malloc.c: sysmalloc, _int_memalign, mremap_chunk, munmap_chunk.
 */
#include "process/heap_part.h"

#include <stdlib.h>
#include <string.h>

enum { PAGE_BYTES = 4096, MAX_BATCH = 512 };

/* A chunk in memory of its own. */
struct mapped {
    uint64_t chunk, size_bytes; /* of the chunk; it ends with the memory */
    uint64_t memory_bytes;
};

struct search {
    struct heap_reader *reader;
    struct heap_block *found; /* by address */
    size_t nr, capacity;
    uint64_t bytes; /* of memory, sum */
};

/* --- is it one? -------------------------------------------------------------------------------- */

/* The two words at `offset` behind the page are the header of an aligned block's chunk. */
static bool is_inner(const uint64_t *words, uint64_t page, uint64_t offset, uint64_t end,
                     struct mapped *mapped)
{
    uint64_t size = words[1] - CHUNK_MAPPED;
    if (words[0] != offset || (words[1] & CHUNK_FLAGS) != CHUNK_MAPPED || size < CHUNK_MIN_BYTES ||
        size > end - page - offset || (offset + size) % PAGE_BYTES)
        return false;
    *mapped = (struct mapped){page + offset, size, offset + size};
    return true;
}

/* Blocks aligned to less than a page: where memalign puts the chunk behind the page's beginning. */
static bool find_in_page(const uint64_t *words, uint64_t page, uint64_t end, struct mapped *mapped)
{
    static const uint64_t offsets[] = {
        48 /* of 32 and 64 */, 112 /* of 128 */, 240, 496, 1008, 2032};
    for (size_t i = 0; i < sizeof(offsets) / sizeof(*offsets); i++)
        if (is_inner(words + offsets[i] / 8, page, offsets[i], end, mapped))
            return true;
    return false;
}

/*
 * Blocks aligned to a page or more: the chunk is at the end of some page, which depends on where the
 * memory was before realloc moved it.  All before it is as the kernel gave it.
 */
static bool find_at_page_ends(struct search *search, uint64_t page, uint64_t limit, uint64_t end,
                              struct mapped *mapped)
{
    uint64_t headers[MAX_BATCH][2], offset = PAGE_BYTES - CHUNK_HEADER_BYTES;
    struct target_range ranges[MAX_BATCH];
    while (page + offset < limit) {
        size_t nr = 0;
        for (; nr < MAX_BATCH && page + offset + nr * PAGE_BYTES < limit; nr++)
            ranges[nr] = (struct target_range){page + offset + nr * PAGE_BYTES, sizeof(headers[nr]),
                                               headers[nr]};
        target_read_many(search->reader->target, ranges, nr);
        for (size_t i = 0; i < nr; i++, offset += PAGE_BYTES) {
            if (!ranges[i].size_bytes)
                return false;
            if (is_inner(headers[i], page, offset, end, mapped))
                return true;
            if (headers[i][0] || headers[i][1])
                return false;
        }
    }
    return false;
}

static bool is_zero(const uint64_t *words, size_t nr)
{
    for (size_t i = 0; i < nr; i++)
        if (words[i])
            return false;
    return true;
}

/* `header`: the first two words of the page; memory without a gap ends at `end`. */
static bool is_mapped(struct search *search, uint64_t page, const uint64_t *header, uint64_t end,
                      struct mapped *mapped)
{
    uint64_t size = header[1] - CHUNK_MAPPED, words[PAGE_BYTES / 8];
    if (header[0] || (header[1] & CHUNK_FLAGS) != CHUNK_MAPPED || size < PAGE_BYTES ||
        size % PAGE_BYTES || size >= HEAP_ADDR_LIMIT ||
        target_read(search->reader->target, page, words, PAGE_BYTES) != PAGE_BYTES)
        return false;
    /* In front of an aligned block this header is as old as its first allocation. */
    bool fits = size <= end - page, is_lead = is_zero(words + 2, PAGE_BYTES / 8 - 4);
    if (find_in_page(words, page, end, mapped) ||
        (is_lead && find_at_page_ends(search, page, fits ? page + size : end, end, mapped)))
        return true;
    *mapped = (struct mapped){page, size, size};
    return fits;
}

/* --- page by page ------------------------------------------------------------------------------ */

static bool is_complete(const struct search *search)
{
    const struct heap_reader *reader = search->reader;
    return reader->has_parameters && search->bytes == reader->mapped_bytes;
}

static void add(struct search *search, const struct mapped *mapped)
{
    search->found =
        array_reserve(search->found, &search->capacity, search->nr + 1, sizeof(*search->found));
    search->found[search->nr++] = (struct heap_block){mapped->chunk + CHUNK_HEADER_BYTES,
                                                      mapped->size_bytes - CHUNK_HEADER_BYTES};
    search->bytes += mapped->memory_bytes;
}

/* Looks at `nr` pages; where to go on. */
static uint64_t look_at(struct search *search, uint64_t page, size_t nr, uint64_t end)
{
    uint64_t headers[MAX_BATCH][2];
    struct target_range ranges[MAX_BATCH];
    struct mapped mapped;
    for (size_t i = 0; i < nr; i++)
        ranges[i] = (struct target_range){page + i * PAGE_BYTES, sizeof(headers[i]), headers[i]};
    target_read_many(search->reader->target, ranges, nr);
    for (size_t i = 0; i < nr; i++)
        if (ranges[i].size_bytes && is_mapped(search, ranges[i].addr, headers[i], end, &mapped)) {
            add(search, &mapped);
            return ranges[i].addr + mapped.memory_bytes;
        }
    return page + nr * PAGE_BYTES;
}

/* The next page from `page` on that may be one's first; `limit`: none.  *nr: pages up to the next gap. */
static uint64_t next_page(const struct search *search, uint64_t page, uint64_t limit, size_t *nr)
{
    const struct target *target = search->reader->target;
    const struct heap_area *area = heap_area_from(search->reader, page);
    const struct mapping *m = target_mapping_at(target, page);
    *nr = 0;
    if (area && area->memory_start <= page)
        return (area->memory_end + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1);
    if (!m)
        return limit;
    if (!m->readable || !m->writable)
        return m->end;
    uint64_t end = m->end < limit ? m->end : limit;
    if (area && area->memory_start < end)
        end = area->memory_start;
    *nr = (size_t)((end - page + PAGE_BYTES - 1) / PAGE_BYTES);
    return page;
}

/* Chunks mostly follow each other; only where one does not, more pages are read at once. */
static void search_extent(struct search *search, uint64_t page, uint64_t end)
{
    size_t batch = 1, nr;
    while (page < end && !is_complete(search)) {
        page = next_page(search, page, end, &nr);
        if (!nr)
            continue;
        size_t before = search->nr;
        page = look_at(search, page, nr < batch ? nr : batch, end);
        batch = search->nr > before ? 1 : batch * 2 < MAX_BATCH ? batch * 2 : MAX_BATCH;
    }
}

/* Both are by address. */
static void merge(struct heap_blocks *blocks, const struct heap_block *more, size_t nr)
{
    size_t from = blocks->nr, to = from + nr;
    blocks->rows = array_reserve(blocks->rows, &blocks->capacity, to + 1, sizeof(*blocks->rows));
    blocks->nr = to;
    while (nr)
        if (from && blocks->rows[from - 1].addr > more[nr - 1].addr)
            blocks->rows[--to] = blocks->rows[--from];
        else
            blocks->rows[--to] = more[--nr];
}

uint64_t heap_add_mapped(struct heap_reader *reader)
{
    const struct target *target = reader->target;
    struct search search = {.reader = reader};
    for (size_t i = 0, next; i < target->nr_mappings && !is_complete(&search); i = next) {
        uint64_t end, start = target->mappings[i].start;
        next = heap_extent(target, i, &end);
        search_extent(&search, (start + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1), end);
    }
    merge(reader->blocks, search.found, search.nr);
    if (reader->has_parameters && !is_complete(&search))
        heap_problem(reader, "malloc counts %llu bytes in mapped blocks, %llu were found",
                     (unsigned long long)reader->mapped_bytes, (unsigned long long)search.bytes);
    free(search.found);
    return search.bytes;
}
