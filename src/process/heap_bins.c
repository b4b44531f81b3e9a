/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Free blocks that look as if they were in use: those in the fastbins of the arenas and in the threads'
 * tcaches, lists linked through the blocks themselves.  All blocks of a list have the size that belongs to it,
 * which makes a tcache out of a block of the right size whose 64 lists hold as many blocks as their
 * counts say.  From 2.32 on links are mangled with their own address; which it is the first list tells.
 *
 * Sources: glibc malloc/malloc.c: tcache_perthread_struct, tcache_put, PROTECT_PTR, fastbin_index.
 */
#include "process/heap_part.h"

#include <string.h>

#include "base/search.h"

enum { NR_LISTS = 64, BROKEN = -1 };

struct list {
    uint64_t first;        /* link: what it adds to links_before is a block; 0: an empty list */
    uint64_t links_before; /* the links of fastbins lead to chunks */
    uint64_t size_bytes;   /* usable, of each of its blocks */
    uint64_t most;         /* blocks that it may have */
};

/* A block that is not yet known to be free; NULL. */
static struct heap_block *row_at(const struct heap_blocks *blocks, uint64_t addr)
{
    size_t nr = SEARCH_UP_TO(blocks->rows, blocks->nr, addr, addr);
    struct heap_block *row = nr ? &blocks->rows[nr - 1] : NULL;
    return row && row->addr == addr && row->size_bytes ? row : NULL;
}

/* The row of the block that *link leads to, and the link in it; NULL: the list breaks off. */
static struct heap_block *follow(struct heap_reader *reader, const struct list *list,
                                 enum heap_links links, uint64_t *link)
{
    uint64_t block = *link + list->links_before;
    struct heap_block *row = *link % CHUNK_ALIGN ? NULL : row_at(reader->blocks, block);
    if (!row || row->size_bytes != list->size_bytes || !heap_word(&reader->pages, block, link))
        return NULL;
    if (links == HEAP_LINKS_MANGLED)
        *link ^= block >> 12;
    return row;
}

/* How many blocks the list has; BROKEN: it is none. */
static int64_t list_length(struct heap_reader *reader, const struct list *list,
                           enum heap_links links)
{
    int64_t nr = 0;
    for (uint64_t link = list->first; link; nr++)
        if ((uint64_t)nr >= list->most || !follow(reader, list, links, &link))
            return BROKEN;
    return nr;
}

/* Its blocks are free; false: it breaks off. */
static bool drop_list(struct heap_reader *reader, const struct list *list)
{
    for (uint64_t link = list->first; link;) {
        struct heap_block *row = follow(reader, list, reader->links, &link);
        if (!row)
            return false;
        reader->blocks->cached_bytes += row->size_bytes;
        row->size_bytes = 0;
    }
    return true;
}

/* --- tcaches ----------------------------------------------------------------------------------- */

struct tcache {
    struct list lists[NR_LISTS];
    uint64_t counts[NR_LISTS];
};

static bool read_tcache(struct heap_reader *reader, uint64_t addr, struct tcache *tcache)
{
    enum { NEW_BYTES = 0x288, MAX_BYTES = NR_LISTS * 10 };
    const struct heap_block *row = row_at(reader->blocks, addr);
    uint8_t bytes[MAX_BYTES];
    size_t count_bytes = row && row->size_bytes == NEW_BYTES ? 2 : 1;
    if (!row || target_read(reader->target, addr, bytes, NR_LISTS * (8 + count_bytes)) !=
                    NR_LISTS * (8 + count_bytes))
        return false;
    for (size_t i = 0; i < NR_LISTS; i++) {
        struct list *list = &tcache->lists[i];
        uint64_t count = 0;
        memcpy(&count, bytes + i * count_bytes, count_bytes);
        memcpy(&list->first, bytes + NR_LISTS * count_bytes + i * 8, 8);
        list->size_bytes = CHUNK_MIN_BYTES + i * CHUNK_ALIGN - 8;
        list->links_before = 0;
        list->most = count + 1;
        tcache->counts[i] = count;
    }
    return true;
}

/*
 * How many of its lists are right, and how many are not.  One that a thread was just changing may be
 * longer or shorter by one than its count; a thread that ends empties the lists and leaves the counts.
 */
static unsigned judge(struct heap_reader *reader, const struct tcache *tcache,
                      enum heap_links links, unsigned *nr_wrong)
{
    unsigned right = 0;
    bool has_slack = true;
    *nr_wrong = 0;
    for (size_t i = 0; i < NR_LISTS; i++) {
        int64_t nr = list_length(reader, &tcache->lists[i], links);
        int64_t off = nr - (int64_t)tcache->counts[i];
        if (!tcache->lists[i].first)
            continue;
        if (nr == BROKEN || (off && (!has_slack || off > 1 || off < -1))) {
            ++*nr_wrong;
            continue;
        }
        right++;
        has_slack &= off == 0;
    }
    return right;
}

static void drop_tcache(struct heap_reader *reader, uint64_t addr)
{
    struct tcache tcache;
    if (!read_tcache(reader, addr, &tcache))
        return;
    enum heap_links best = HEAP_LINKS_UNKNOWN;
    unsigned right = 0, wrong = 0;
    for (enum heap_links links = HEAP_LINKS_PLAIN; links <= HEAP_LINKS_MANGLED; links++) {
        unsigned nr_wrong, nr = judge(reader, &tcache, links, &nr_wrong);
        if ((!reader->links || links == reader->links) && nr > right) {
            right = nr;
            wrong = nr_wrong;
            best = links;
        }
    }
    if (right <= wrong)
        return; /* a block of the program's that only begins like one */
    reader->links = best;
    for (size_t i = 0; i < NR_LISTS; i++) {
        bool is_list = list_length(reader, &tcache.lists[i], best) != BROKEN;
        if (!is_list || !drop_list(reader, &tcache.lists[i]))
            heap_problem(reader, "a list of free blocks of the tcache at 0x%llx breaks off",
                         (unsigned long long)addr);
    }
}

/* --- fastbins ---------------------------------------------------------------------------------- */

static void drop_fast_bin(struct heap_reader *reader, const struct heap_arena *arena, size_t bin)
{
    const struct list list = {.first = arena->fast_bins[bin],
                              .links_before = CHUNK_HEADER_BYTES,
                              .size_bytes = CHUNK_MIN_BYTES + bin * CHUNK_ALIGN - 8,
                              .most = reader->blocks->nr};
    if (!list.first)
        return;
    if (!reader->links && list_length(reader, &list, HEAP_LINKS_PLAIN) != BROKEN)
        reader->links = HEAP_LINKS_PLAIN;
    else if (!reader->links && list_length(reader, &list, HEAP_LINKS_MANGLED) != BROKEN)
        reader->links = HEAP_LINKS_MANGLED;
    if (!reader->links || !drop_list(reader, &list))
        heap_problem(reader, "fastbin %zu of the malloc arena at 0x%llx breaks off", bin,
                     (unsigned long long)arena->addr);
}

void heap_drop_cached(struct heap_reader *reader)
{
    for (size_t i = 0; i < reader->nr_tcaches; i++)
        drop_tcache(reader, reader->tcaches[i]);
    for (size_t i = 0; i < reader->nr_arenas; i++)
        for (size_t bin = 0; bin < NR_FAST_BINS; bin++)
            drop_fast_bin(reader, &reader->arenas[i], bin);
}
