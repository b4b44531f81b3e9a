/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Chunk by chunk through the areas of the arenas: each chunk's size leads to the next, whose flag says
 * whether the one before is in use.  The memory is read a window at a time, ahead of the walk; what lies
 * inside a chunk bigger than the window is not read.
 *
 * A thread may have been stopped while it split a chunk: then the rest of the split one has no size yet.  The
 * chunk behind still has the old size as "size of the one before"; failing that, the walk goes on where a
 * run of chunks begins.  Both are told as a problem: what was between is not known.
 */
#include "process/heap_part.h"

#include <stdlib.h>
#include <string.h>

enum {
    WINDOW_BYTES = 1 << 20,
    RUN_CHUNKS = 16,          /* that many are no chance */
    MAX_BREAKS = 1024,        /* in one area */
    TCACHE_BYTES = 0x290,     /* of the chunk: 64 counts of 2 bytes and 64 lists */
    TCACHE_OLD_BYTES = 0x250, /* to 2.29: of 1 byte */
    NR_TCACHE_LISTS = 64,
};

struct walk {
    struct heap_reader *reader;
    const struct heap_area *area;
    uint8_t *window; /* WINDOW_BYTES */
    uint64_t window_addr;
    size_t window_size;
    uint64_t last; /* the last chunk that was seen */
};

/* `nr` bytes of the target at `addr`, inside the window; NULL: they are not readable. */
static inline const uint8_t *bytes_at(struct walk *walk, uint64_t addr, size_t nr)
{
    if (addr - walk->window_addr > walk->window_size ||
        walk->window_size - (addr - walk->window_addr) < nr) {
        walk->window_addr = addr;
        walk->window_size = target_read(walk->reader->target, addr, walk->window, WINDOW_BYTES);
        if (walk->window_size < nr)
            return NULL;
    }
    return walk->window + (addr - walk->window_addr);
}

static inline uint64_t word_in(const uint8_t *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof(word));
    return word;
}

/* --- tcaches ----------------------------------------------------------------------------------- */

/* Could it be a thread's tcache, with something in it?  heap_bins.c looks closer. */
static bool may_be_tcache(const uint8_t *block, uint64_t chunk_bytes)
{
    const uint8_t *lists = block + NR_TCACHE_LISTS * (chunk_bytes == TCACHE_BYTES ? 2 : 1);
    uint64_t all = 0;
    for (unsigned i = 0; i < NR_TCACHE_LISTS; i++) {
        uint64_t first = word_in(lists + i * 8);
        if (first % CHUNK_ALIGN || first >= HEAP_ADDR_LIMIT)
            return false;
        all |= first;
    }
    return all != 0;
}

static void see_tcache(struct walk *walk, uint64_t chunk, uint64_t bytes)
{
    struct heap_reader *reader = walk->reader;
    const uint8_t *header = bytes_at(walk, chunk, bytes);
    if (!header || !may_be_tcache(header + CHUNK_HEADER_BYTES, bytes))
        return;
    reader->tcaches = array_reserve(reader->tcaches, &reader->tcaches_capacity,
                                    reader->nr_tcaches + 1, sizeof(*reader->tcaches));
    reader->tcaches[reader->nr_tcaches++] = chunk + CHUNK_HEADER_BYTES;
}

/* --- from chunk to chunk ----------------------------------------------------------------------- */

static inline bool is_size(uint64_t bytes, uint64_t room)
{
    return bytes >= CHUNK_MIN_BYTES && bytes % CHUNK_ALIGN == 0 && bytes <= room;
}

bool heap_leads_on(struct heap_reader *reader, uint64_t chunk, uint64_t end)
{
    for (unsigned i = 0; i < RUN_CHUNKS && chunk != end; i++) {
        uint64_t size, next_size, before;
        if (!reader->nr_probes || !heap_word(&reader->pages, chunk + 8, &size))
            return false;
        reader->nr_probes--;
        uint64_t bytes = size & ~(uint64_t)CHUNK_FLAGS;
        if ((size & CHUNK_MAPPED) || !is_size(bytes, end - chunk))
            return i > 0 && (bytes == 0 || bytes == CHUNK_HEADER_BYTES); /* a fence */
        chunk += bytes;
        if (chunk == end)
            break;
        if (!heap_word(&reader->pages, chunk + 8, &next_size) ||
            (!(next_size & CHUNK_PREVIOUS_IN_USE) &&
             (!heap_word(&reader->pages, chunk, &before) || before != bytes)))
            return false;
    }
    return true;
}

/*
 * Adds blocks from `chunk` on; where that ends: at the area's end, at a fence, or at what is no
 * chunk.  A chunk before a fence of size 0 is a fence itself (sysmalloc, where a heap ends).
 */
static uint64_t run(struct walk *walk, uint64_t chunk)
{
    uint64_t end = walk->area->end;
    const uint8_t *header = bytes_at(walk, chunk, CHUNK_HEADER_BYTES);
    uint64_t size = header ? word_in(header + 8) : 0;
    while (chunk != end) {
        uint64_t bytes = size & ~(uint64_t)CHUNK_FLAGS, next = chunk + bytes;
        if (!is_size(bytes, end - chunk) || !(header = bytes_at(walk, next, CHUNK_HEADER_BYTES)))
            break;
        uint64_t next_size = word_in(header + 8);
        walk->last = chunk;
        if (next_size & CHUNK_PREVIOUS_IN_USE) {
            if ((bytes == TCACHE_BYTES || bytes == TCACHE_OLD_BYTES))
                see_tcache(walk, chunk, bytes);
            if (next_size > CHUNK_FLAGS)
                heap_add_block(walk->reader->blocks, chunk + CHUNK_HEADER_BYTES, bytes - 8);
        } else if (word_in(header) != bytes && !heap_leads_on(walk->reader, next, end)) {
            break;
        }
        chunk = next;
        size = next_size;
    }
    return chunk;
}

/* --- where the walk breaks off ----------------------------------------------------------------- */

/* The chunk at `addr` says of the one before that it is free and begins where the last one began. */
static bool is_behind_split(struct walk *walk, uint64_t addr, const uint8_t *header)
{
    uint64_t size = word_in(header + 8);
    return word_in(header) == addr - walk->last && !(size & CHUNK_PREVIOUS_IN_USE) &&
           is_size(size & ~(uint64_t)CHUNK_FLAGS, walk->area->end - addr) &&
           heap_leads_on(walk->reader, addr, walk->area->end);
}

static bool is_start_of_run(struct walk *walk, uint64_t addr, const uint8_t *header)
{
    uint64_t size = word_in(header + 8);
    return (size & CHUNK_PREVIOUS_IN_USE) &&
           is_size(size & ~(uint64_t)CHUNK_FLAGS, walk->area->end - addr) &&
           heap_leads_on(walk->reader, addr, walk->area->end);
}

/* The first place from `from` on for which the test holds; the area's end: none. */
static uint64_t look_for(struct walk *walk, uint64_t from,
                         bool (*test)(struct walk *walk, uint64_t addr, const uint8_t *header))
{
    for (uint64_t addr = from; addr < walk->area->end && walk->reader->nr_probes;
         addr += CHUNK_ALIGN) {
        const uint8_t *header = bytes_at(walk, addr, CHUNK_HEADER_BYTES);
        if (!header)
            break;
        if (test(walk, addr, header))
            return addr;
    }
    return walk->area->end;
}

/* A heap of another arena that is full ends with a chunk of 16 bytes and one of 0. */
static bool is_end_of_heap(struct walk *walk, uint64_t chunk)
{
    uint64_t left = walk->area->end - chunk;
    const uint8_t *header = bytes_at(walk, chunk, CHUNK_HEADER_BYTES);
    return !walk->area->is_main && !walk->area->has_top && left <= 2 * CHUNK_HEADER_BYTES &&
           header && word_in(header + 8) <= CHUNK_HEADER_BYTES + CHUNK_FLAGS;
}

static uint64_t resume(struct walk *walk, uint64_t chunk)
{
    uint64_t end = walk->area->end;
    heap_problem(walk->reader,
                 "the heap's chunks break off at 0x%llx: a thread was stopped inside malloc, or "
                 "the memory is damaged",
                 (unsigned long long)chunk);
    uint64_t next = walk->last ? look_for(walk, chunk + CHUNK_ALIGN, is_behind_split) : end;
    return next != end ? next : look_for(walk, chunk + CHUNK_ALIGN, is_start_of_run);
}

static void walk_area(struct walk *walk, const struct heap_area *area)
{
    enum { PROBES = 1 << 20 };
    uint64_t chunk = area->start;
    walk->area = area;
    walk->last = walk->window_size = 0;
    walk->reader->nr_probes = PROBES;
    if (!area->is_start_known)
        chunk = look_for(walk, chunk, is_start_of_run);
    for (unsigned breaks = 0; breaks < MAX_BREAKS; breaks++) {
        chunk = run(walk, chunk);
        if (chunk == area->end || is_end_of_heap(walk, chunk))
            break;
        chunk = resume(walk, chunk);
    }
}

/* As many rows as there can be; where that is too much to ask for, they grow. */
static void reserve_rows(struct heap_reader *reader)
{
    struct heap_blocks *blocks = reader->blocks;
    uint64_t bytes = 0;
    for (size_t i = 0; i < reader->nr_areas; i++)
        bytes += reader->areas[i].end - reader->areas[i].start;
    size_t most = bytes / CHUNK_MIN_BYTES + 1;
    blocks->rows = heap_alloc_big(most * sizeof(*blocks->rows));
    blocks->capacity = blocks->rows ? most : 0;
}

void heap_walk(struct heap_reader *reader)
{
    reserve_rows(reader);
    struct walk walk = {.reader = reader, .window = memory_alloc_touched(WINDOW_BYTES)};
    for (size_t i = 0; i < reader->nr_areas; i++)
        walk_area(&walk, &reader->areas[i]);
    free(walk.window);
}
