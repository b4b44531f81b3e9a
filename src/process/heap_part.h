/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the files of heap_blocks share.  All that is read is of a target that may be damaged or hostile:
 * no address, size or link is used before it was compared with the mappings, and what repeats is
 * bounded.
 */
#pragma once

#include "base/attributes.h"
#include "process/heap_blocks.h"

/* Words at scattered addresses, through the pages that were read lately. */
struct heap_pages {
    const struct target *target;
    uint64_t *addrs; /* by slot; 1: empty */
    uint16_t *nr_bytes;
    uint8_t *bytes;
};

void heap_pages_init(struct heap_pages *pages, const struct target *target);
void heap_pages_deinit(struct heap_pages *pages);
/* False: not mapped, or not aligned. */
bool heap_word(struct heap_pages *pages, uint64_t addr, uint64_t *word);

/* Memory of an arena that is full of chunks. */
struct heap_area {
    uint64_t start;                    /* the first chunk */
    uint64_t end;                      /* the top chunk; without one, where the chunks end */
    uint64_t memory_start, memory_end; /* had from the kernel */
    bool is_main;                      /* of the main arena: by brk, or where that fails, mapped */
    bool has_top;
    bool is_start_known; /* else it is the first place where it may be */
};

enum heap_links { HEAP_LINKS_UNKNOWN, HEAP_LINKS_PLAIN, HEAP_LINKS_MANGLED }; /* 2.32: mangled */

enum { NR_FAST_BINS = 10 };

struct heap_arena {
    uint64_t addr; /* of the malloc_state */
    uint64_t top, system_bytes;
    uint64_t fast_bins[NR_FAST_BINS];
    bool is_contiguous;
};

struct heap_reader {
    const struct target *target;
    struct heap_blocks *blocks;
    struct heap_pages pages;
    /* glibc: arenas[0] is the main one */
    struct heap_arena *arenas;
    size_t nr_arenas, arenas_capacity;
    uint64_t bins; /* of the main arena */
    uint64_t state_to_bins;
    bool has_parameters; /* malloc_par was found: */
    uint64_t brk_start, mapped_bytes, tcache_count;
    struct heap_area *areas; /* by address */
    size_t nr_areas, nr_sorted_areas, areas_capacity;
    uint64_t *tcaches; /* blocks that may be a thread's tcache, in the order of the walk */
    size_t nr_tcaches, tcaches_capacity;
    enum heap_links links;
    uint64_t nr_probes; /* left; bounds what hostile memory can cost */
};

/* Notes the first problem; the account is not whole. */
void heap_problem(struct heap_reader *reader, const char *format, ...) PRINTF_LIKE(2, 3);
void heap_add_area(struct heap_reader *reader, const struct heap_area *area);
/* By address; what overlaps the one before goes, with a problem. */
void heap_sort_areas(struct heap_reader *reader);
/* The first of the sorted areas that ends behind `addr`, or NULL. */
const struct heap_area *heap_area_from(const struct heap_reader *reader, uint64_t addr);
/*
 * Anonymous private memory without a gap: from mapping `first` on up to the one whose position is
 * returned; *end is where it ends.  Not one mapping: first + 1 and an empty extent.
 */
size_t heap_extent(const struct target *target, size_t first, uint64_t *end);

/*
 * Address space, in big pages where the kernel gives them: look-ups go to places at random.  Only what is
 * used becomes memory; memory_resize gives the rest back.  NULL: there is not that much.  free()
 */
void *heap_alloc_big(size_t bytes);
static inline void heap_add_block(struct heap_blocks *blocks, uint64_t addr, uint64_t size_bytes)
{
    if (blocks->nr == blocks->capacity)
        blocks->rows =
            array_reserve(blocks->rows, &blocks->capacity, blocks->nr + 1, sizeof(*blocks->rows));
    blocks->rows[blocks->nr++] = (struct heap_block){addr, size_bytes};
}

/* heap_arenas.c: false: there is no glibc malloc, or it was never used. */
bool heap_glibc_find(struct heap_reader *reader);
/* heap_glibc.c: how many bytes of memory the heap has. */
uint64_t heap_glibc_read(struct heap_reader *reader);
/* heap_walk.c: adds the blocks of all areas. */
void heap_walk(struct heap_reader *reader);
/* A run of chunks begins there, as far as can be told by a few of them. */
bool heap_leads_on(struct heap_reader *reader, uint64_t chunk, uint64_t end);
/* heap_mapped.c: adds the blocks that have a mapping of their own; how many bytes those take. */
uint64_t heap_add_mapped(struct heap_reader *reader);
/* heap_bins.c: takes the blocks in tcaches and fastbins out. */
void heap_drop_cached(struct heap_reader *reader);
/* heap_index.c: also drops what overlaps. */
void heap_index_build(struct heap_blocks *blocks);
void heap_index_deinit(struct heap_blocks *blocks);

/* A chunk begins 16 bytes before its block: the size of the one before if that is free, its own size. */
enum {
    CHUNK_HEADER_BYTES = 16,
    CHUNK_MIN_BYTES = 32,
    CHUNK_ALIGN = 16,
    CHUNK_PREVIOUS_IN_USE = 1,
    CHUNK_MAPPED = 2,
    CHUNK_OTHER_ARENA = 4,
    CHUNK_FLAGS = 7,
};
#define HEAP_ADDR_LIMIT ((uint64_t)1 << 47)
