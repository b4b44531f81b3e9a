/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Where glibc's malloc keeps its state, without symbols: in libc's writable memory, or in that of a static
 * program.  The bins of an arena are list heads that lie inside of it: an empty one points to itself,
 * a filled one to a chunk that points back.  127 of them side by side are the main arena's.  The layout around
 * them differs between versions by one word; the ring of all arenas closes with the right one only.
 * The parameters (malloc_par) are told by the sizes of tcaches that stand in them.
 *
 * Sources: glibc malloc/malloc.c, 2.26 to 2.41: struct malloc_state, struct malloc_par, bin_at.
 */
#include "process/heap_part.h"

#include <stdlib.h>
#include <string.h>

enum {
    WINDOW_BYTES = 1 << 20,
    NR_BINS = 127,
    PAIR_BYTES = 16,
    MIN_RIGHT_BINS = 100, /* a thread may be just changing some */
    MAX_ARENAS = 1 << 16,
    MAX_CANDIDATES = 4096,
    /* of malloc_state, from its bins: */
    TOP_BEFORE = 16,
    FAST_BINS_BEFORE = TOP_BEFORE + NR_FAST_BINS * 8,
    NEXT_BEHIND = NR_BINS * PAIR_BYTES + 16,
    SYSTEM_BYTES_BEHIND = NEXT_BEHIND + 24,
    FLAGS_IN_STATE = 4,
    NONCONTIGUOUS = 2,
};

/* What is looked for in an image's writable memory. */
struct search {
    struct heap_reader *reader;
    bool (*is_it)(struct heap_reader *reader, const uint64_t *words, uint64_t addr);
    unsigned nr_words; /* that is_it may look at */
};

static bool search_window(const struct search *search, uint64_t addr, const uint8_t *window,
                          size_t nr_bytes)
{
    const uint64_t *words = (const uint64_t *)window;
    for (size_t i = 0; i + search->nr_words <= nr_bytes / sizeof(*words); i++)
        if (search->is_it(search->reader, words + i, addr + i * sizeof(*words)))
            return true;
    return false;
}

static bool search_image(const struct search *search, const struct target_image *image)
{
    const struct target *target = search->reader->target;
    uint8_t *window = memory_alloc(WINDOW_BYTES);
    bool found = false;
    for (size_t i = 0; i < target->nr_mappings && !found; i++) {
        const struct mapping *m = &target->mappings[i];
        if (!m->readable || !m->writable || m->is_shared || m->is_device ||
            m->start >= image->end || m->end <= image->start || m->start % 8)
            continue;
        uint64_t end = m->end < image->end ? m->end : (image->end + 7) & ~(uint64_t)7;
        uint64_t step = WINDOW_BYTES - search->nr_words * sizeof(uint64_t);
        for (uint64_t addr = m->start; addr < end && !found; addr += step) {
            uint64_t left = end - addr;
            size_t nr =
                target_read(target, addr, window, left < WINDOW_BYTES ? left : WINDOW_BYTES);
            found = search_window(search, addr, window, nr);
            if (!nr)
                break;
        }
    }
    free(window);
    return found;
}

/* --- the main arena ---------------------------------------------------------------------------- */

/* The two words at `pair` are a list head: the chunk they belong to would begin 16 bytes before. */
static bool is_bin(struct heap_reader *reader, uint64_t pair)
{
    uint64_t first, last, back, forth, head = pair - CHUNK_HEADER_BYTES;
    if (!heap_word(&reader->pages, pair, &first) || !heap_word(&reader->pages, pair + 8, &last))
        return false;
    if (first == head && last == head)
        return true;
    return heap_word(&reader->pages, first + 24, &back) && back == head &&
           heap_word(&reader->pages, last + 16, &forth) && forth == head;
}

/* Where the bins begin of which `pair` is one; 0: it is none of 127. */
static uint64_t find_bins(struct heap_reader *reader, uint64_t pair)
{
    enum { AROUND = NR_BINS - 1 };
    uint8_t right[2 * AROUND + 1];
    uint64_t first = pair - AROUND * PAIR_BYTES, best_at = 0;
    unsigned best = 0;
    for (unsigned i = 0; i < sizeof(right); i++)
        right[i] = is_bin(reader, first + i * PAIR_BYTES);
    for (unsigned i = 0; i + NR_BINS <= sizeof(right); i++) {
        unsigned nr = 0;
        for (unsigned k = 0; k < NR_BINS; k++)
            nr += right[i + k];
        if (nr > best) {
            best = nr;
            best_at = first + i * PAIR_BYTES;
        }
    }
    return best >= MIN_RIGHT_BINS ? best_at : 0;
}

static bool read_arena(struct heap_reader *reader, uint64_t bins, struct heap_arena *arena)
{
    uint64_t words[1] = {0}, most;
    arena->addr = bins - reader->state_to_bins;
    for (unsigned i = 0; i < NR_FAST_BINS; i++)
        if (!heap_word(&reader->pages, bins - FAST_BINS_BEFORE + i * 8, &arena->fast_bins[i]))
            return false;
    if (!heap_word(&reader->pages, bins - TOP_BEFORE, &arena->top) ||
        !heap_word(&reader->pages, bins + SYSTEM_BYTES_BEHIND, &arena->system_bytes) ||
        !heap_word(&reader->pages, bins + SYSTEM_BYTES_BEHIND + 8, &most) ||
        !heap_word(&reader->pages, arena->addr & ~(uint64_t)7, words))
        return false;
    arena->is_contiguous = !(words[0] >> (8 * FLAGS_IN_STATE) & NONCONTIGUOUS);
    if (arena->top == bins - CHUNK_HEADER_BYTES) /* as it was initialised: no memory yet */
        arena->top = 0;
    return arena->system_bytes <= most && arena->top % CHUNK_ALIGN == 0;
}

static bool is_main_arena(struct heap_reader *reader, const uint64_t *words, uint64_t addr)
{
    if (words[0] != addr - CHUNK_HEADER_BYTES || words[1] != words[0] || !reader->nr_probes)
        return false;
    struct heap_arena arena;
    reader->nr_probes--;
    reader->bins = find_bins(reader, addr);
    return reader->bins && read_arena(reader, reader->bins, &arena);
}

/* --- the ring of arenas ------------------------------------------------------------------------ */

static void add_arena(struct heap_reader *reader, uint64_t state)
{
    struct heap_arena arena;
    if (!read_arena(reader, state + reader->state_to_bins, &arena)) {
        heap_problem(reader, "the malloc arena at 0x%llx makes no sense",
                     (unsigned long long)state);
        return;
    }
    reader->arenas = array_reserve(reader->arenas, &reader->arenas_capacity, reader->nr_arenas + 1,
                                   sizeof(*reader->arenas));
    reader->arenas[reader->nr_arenas++] = arena;
}

/* How many arenas the ring has from the main one back to it; 0: it does not close. */
static size_t ring_length(struct heap_reader *reader)
{
    uint64_t first = reader->bins - reader->state_to_bins, state = first;
    for (size_t nr = 1; nr < MAX_ARENAS; nr++) {
        if (!heap_word(&reader->pages, state + reader->state_to_bins + NEXT_BEHIND, &state))
            return 0;
        if (state == first)
            return nr;
    }
    return 0;
}

static void read_ring(struct heap_reader *reader)
{
    static const uint64_t layouts[] = {0x70 /* 2.27 */, 0x68 /* 2.26: no have_fastchunks */};
    size_t nr = 0;
    for (size_t i = 0; i < sizeof(layouts) / sizeof(*layouts) && !nr; i++) {
        reader->state_to_bins = layouts[i];
        nr = ring_length(reader);
    }
    if (!nr) {
        reader->state_to_bins = layouts[0];
        heap_problem(reader, "the ring of malloc arenas from 0x%llx on does not close",
                     (unsigned long long)(reader->bins - layouts[0]));
        nr = 1;
    }
    uint64_t state = reader->bins - reader->state_to_bins;
    for (size_t i = 0; i < nr; i++) {
        add_arena(reader, state);
        if (!heap_word(&reader->pages, state + reader->state_to_bins + NEXT_BEHIND, &state))
            break;
    }
}

/* --- malloc_par -------------------------------------------------------------------------------- */

static bool is_writable(struct heap_reader *reader, uint64_t addr)
{
    const struct mapping *m = target_mapping_at(reader->target, addr);
    return m && m->readable && m->writable && !m->inode;
}

/*
 * ... mmapped_mem, max_mmapped_mem, sbrk_base, tcache_bins, tcache_max_bytes, tcache_count,
 * tcache_unsorted_limit: the bins follow from the biggest size by csize2tidx.  sbrk_base is
 * 0 until the main arena has memory.
 */
static bool is_parameters(struct heap_reader *reader, const uint64_t *words, uint64_t addr)
{
    enum { MAPPED, MAX_MAPPED, BRK_START, TCACHE_BINS, TCACHE_MAX, TCACHE_COUNT };
    enum { PAGE_BYTES = 4096, MAX_BINS = 64, MAX_COUNT = UINT16_MAX };
    (void)addr;
    uint64_t most = words[TCACHE_MAX];
    if (words[TCACHE_BINS] - 1 >= MAX_BINS || words[TCACHE_COUNT] > MAX_COUNT ||
        words[MAPPED] > words[MAX_MAPPED] || words[MAPPED] % PAGE_BYTES || most > MAX_BINS * 16 + 8)
        return false;
    uint64_t chunk = most + 8 <= CHUNK_MIN_BYTES ? CHUNK_MIN_BYTES : (most + 8 + 15) & ~15ULL;
    bool is_default = words[TCACHE_BINS] == MAX_BINS;
    if ((chunk - CHUNK_MIN_BYTES) / CHUNK_ALIGN + 1 != words[TCACHE_BINS] ||
        (words[BRK_START] ? !is_writable(reader, words[BRK_START])
                          : !is_default || reader->arenas[0].system_bytes))
        return false;
    reader->mapped_bytes = words[MAPPED];
    reader->brk_start = words[BRK_START];
    reader->tcache_count = words[TCACHE_COUNT];
    return true;
}

/* --- both -------------------------------------------------------------------------------------- */

static bool is_named_libc(const struct target_image *image)
{
    const char *slash = strrchr(image->name, '/');
    const char *name = slash ? slash + 1 : image->name;
    return strncmp(name, "libc.so", 7) == 0 || strncmp(name, "libc-2.", 7) == 0;
}

bool heap_glibc_find(struct heap_reader *reader)
{
    const struct target *target = reader->target;
    const struct search arena = {reader, is_main_arena, 2}, parameters = {reader, is_parameters, 6};
    const struct target_image *image = NULL;
    reader->state_to_bins = 0x70;
    reader->nr_probes = MAX_CANDIDATES;
    for (int pass = 0; pass < 2 && !image; pass++)
        for (size_t i = 0; i < target->nr_images && !image; i++)
            if (is_named_libc(&target->images[i]) == (pass == 0) &&
                search_image(&arena, &target->images[i]))
                image = &target->images[i];
    if (!image)
        return false;
    read_ring(reader);
    reader->has_parameters = search_image(&parameters, image);
    if (!reader->has_parameters)
        heap_problem(reader, "libc's malloc is of a version that is not known (%s)", image->name);
    return reader->nr_arenas > 0;
}
