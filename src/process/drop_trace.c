/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "process/drop_trace.h"

#include <stdlib.h>

#include "base/search.h"

/* A block that was freed or shared, while its pointer is looked for. */
struct freed {
    uint64_t addr, end;
    uint32_t block;
    uint32_t order;  /* of the first read of its pointer + 1; 0: none was seen */
    uint32_t parent; /* position + 1 among the freed: the block that has the pointer */
    uint32_t nr_steps;
    bool is_kept; /* not freed: what it owned was, but a Weak keeps the block */
    bool
        is_passed; /* not freed, as others have it, too; the way to what was freed leads through it */
    uint32_t nr_refs; /* of a shared one: that were given up */
    uint64_t count;   /* before that */
    uint64_t count_addr;
    uint64_t from, place, requested_bytes;
};

struct freed_list {
    struct freed *rows; /* by address */
    size_t nr;
};

static int freed_by_addr(const void *a, const void *b)
{
    const struct freed *x = a, *y = b;
    return x->addr < y->addr ? -1 : x->addr > y->addr;
}

static struct freed *freed_at(const struct freed_list *list, uint64_t addr)
{
    size_t at = SEARCH_UP_TO(list->rows, list->nr, addr, addr);
    return at && addr < list->rows[at - 1].end ? &list->rows[at - 1] : NULL;
}

/* --- which blocks ---------------------------------------------------------------------------- */

static void list_freed(struct drop_trace *trace, const struct drop_run *run, const uint8_t *is_cell,
                       struct freed_list *list)
{
    const struct heap_blocks *blocks = trace->blocks;
    list->rows = memory_alloc((run->nr_frees + 1) * sizeof(*list->rows));
    for (size_t i = 0; i < run->nr_frees; i++) {
        uint32_t block = heap_blocks_find(blocks, run->frees[i].addr);
        if (!block || blocks->rows[block - 1].addr != run->frees[i].addr) {
            trace->has_strange_free = true;
        } else if (block - 1 == trace->cell_block) {
            trace->cell_was_freed = true;
        } else if (is_cell[block - 1]) {
            trace->nr_other_cells++;
        } else {
            const struct heap_block *row = &blocks->rows[block - 1];
            list->rows[list->nr++] =
                (struct freed){.addr = row->addr,
                               .end = row->addr + row->size_bytes,
                               .block = block - 1,
                               .requested_bytes = run->frees[i].requested_bytes};
        }
    }
    qsort(list->rows, list->nr, sizeof(*list->rows), freed_by_addr);
    size_t kept = 0;
    for (size_t i = 0; i < list->nr; i++) {
        if (kept && list->rows[kept - 1].addr == list->rows[i].addr)
            trace->has_strange_free = true; /* freed twice */
        else
            list->rows[kept++] = list->rows[i];
    }
    list->nr = kept;
}

/* Blocks whose last owner went, and that are still there. */
static void add_kept(struct drop_run *run, const uint8_t *is_cell, struct freed_list *list)
{
    const size_t nr_freed = list->nr;
    size_t capacity = list->nr + 1;
    for (size_t i = 0; i < run->nr_changes; i++) {
        const struct drop_change *change = &run->changes[i];
        uint32_t block = change->before == 1 ? heap_blocks_find(run->blocks, change->addr) : 0;
        if (!block || is_cell[block - 1] ||
            freed_at(&(struct freed_list){list->rows, nr_freed}, change->addr))
            continue;
        const struct heap_block *row = &run->blocks->rows[block - 1];
        if (change->addr != row->addr)
            continue;
        list->rows = array_reserve(list->rows, &capacity, list->nr + 1, sizeof(*list->rows));
        list->rows[list->nr++] = (struct freed){.addr = row->addr,
                                                .end = row->addr + row->size_bytes,
                                                .block = block - 1,
                                                .is_kept = true};
    }
    qsort(list->rows, list->nr, sizeof(*list->rows), freed_by_addr);
}

/* Blocks that stay, and from which pointers were read: the channel of a receiver that is dropped, with its mail. */
static void add_passed(const struct drop_run *run, const uint8_t *is_cell, struct freed_list *list)
{
    const size_t nr_freed = list->nr;
    size_t capacity = list->nr + 1, kept = 0;
    uint32_t last = 0;
    for (size_t i = 0; i < run->nr_loads; i++) {
        const uint64_t addr = run->loads[i].addr;
        uint32_t block = heap_blocks_find(run->blocks, addr);
        if (!block || block == last || is_cell[block - 1] ||
            freed_at(&(struct freed_list){list->rows, nr_freed}, addr))
            continue;
        const struct heap_block *row = &run->blocks->rows[block - 1];
        last = block;
        list->rows = array_reserve(list->rows, &capacity, list->nr + 1, sizeof(*list->rows));
        list->rows[list->nr++] = (struct freed){.addr = row->addr,
                                                .end = row->addr + row->size_bytes,
                                                .block = block - 1,
                                                .is_passed = true};
    }
    qsort(list->rows, list->nr, sizeof(*list->rows), freed_by_addr);
    for (size_t i = 0; i < list->nr; i++)
        if (!kept || list->rows[kept - 1].addr != list->rows[i].addr)
            list->rows[kept++] = list->rows[i];
    list->nr = kept;
}

/* --- where their pointers lay ---------------------------------------------------------------- */

/*
 * The first read of a pointer into a block is the one by which the code came to it.  What only blocks that stay tell
 * (`is_passed`) counts where nothing else does: of a runtime's own blocks many are passed.
 */
static void find_pointers(const struct drop_run *run, const struct freed_list *owners,
                          bool with_passed, struct freed_list *list)
{
    for (size_t i = 0; list->nr && i < run->nr_loads; i++) {
        const struct drop_load *load = &run->loads[i];
        struct freed *freed = freed_at(list, load->value);
        if (!freed || freed->order || (load->addr >= freed->addr && load->addr < freed->end))
            continue;
        const struct freed *owner = freed_at(owners, load->addr);
        if ((!owner || (owner->is_passed && !with_passed)) &&
            !addr_in_ranges(run->futures, run->nr_futures, load->addr))
            continue;
        freed->order = (uint32_t)i + 1;
        freed->from = load->addr;
        freed->parent = owner ? (uint32_t)(owner - owners->rows) + 1 : 0;
    }
}

static void find_place(const struct drop_run *run, const struct freed_list *owners,
                       struct freed *freed)
{
    if (freed->from && addr_in_ranges(run->futures, run->nr_futures, freed->from)) {
        freed->place = freed->from;
    } else if (freed->parent) {
        freed->place = owners->rows[freed->parent - 1].place;
        freed->nr_steps = owners->rows[freed->parent - 1].nr_steps + 1;
    }
}

/* The positions of owners change. */
static void forget_pointers(struct freed_list *list)
{
    for (size_t i = 0; i < list->nr; i++)
        list->rows[i].order = list->rows[i].parent = 0;
}

static bool has_unknown(const struct freed_list *list)
{
    for (size_t i = 0; i < list->nr; i++)
        if (!list->rows[i].order && !list->rows[i].is_kept)
            return true;
    return false;
}

static int by_order(const void *a, const void *b)
{
    const struct freed *const *x = a, *const *y = b;
    return (*x)->order < (*y)->order ? -1 : (*x)->order > (*y)->order;
}

/* A block is reached before what is in it, so that parents come first. */
static void find_places(const struct drop_run *run, struct freed_list *list)
{
    struct freed **ordered = memory_alloc((list->nr + 1) * sizeof(struct freed *));
    for (size_t i = 0; i < list->nr; i++)
        ordered[i] = &list->rows[i];
    qsort(ordered, list->nr, sizeof(struct freed *), by_order);
    for (size_t i = 0; i < list->nr; i++)
        find_place(run, list, ordered[i]);
    free(ordered);
}

static void drop_passed(struct freed_list *list)
{
    size_t kept = 0;
    for (size_t i = 0; i < list->nr; i++)
        if (!list->rows[i].is_passed)
            list->rows[kept++] = list->rows[i];
    list->nr = kept;
}

static void add_blocks(const struct freed_list *list, struct drop_rows *rows)
{
    rows->blocks = array_reserve(rows->blocks, &rows->blocks_capacity, rows->nr_blocks + list->nr,
                                 sizeof(*rows->blocks));
    for (size_t i = 0; i < list->nr; i++)
        if (!list->rows[i].is_kept)
            rows->blocks[rows->nr_blocks++] =
                (struct drop_block){.block = list->rows[i].block,
                                    .nr_steps = list->rows[i].nr_steps,
                                    .from = list->rows[i].from,
                                    .place = list->rows[i].place,
                                    .requested_bytes = list->rows[i].requested_bytes};
}

/* --- counts ---------------------------------------------------------------------------------- */

/*
 * Is the word at `offset` the count of a counted block?  Arc and Rc have it at the beginning; Bytes
 * and BytesMut in a small block behind a pointer to the bytes.
 */
static bool is_count(struct drop_run *run, const struct heap_block *block, uint64_t offset)
{
    enum { MAX_SMALL_BYTES = 64, MAX_WORDS = 8 };
    if (!offset)
        return true;
    if (offset % 8 || block->size_bytes > MAX_SMALL_BYTES)
        return false;
    for (unsigned i = 0; i < MAX_WORDS && 8 * i < offset; i++) {
        uint64_t word;
        uint32_t bytes = emulator_read(run->emulator, block->addr + 8 * i, &word, sizeof(word))
                             ? heap_blocks_find(run->blocks, word)
                             : 0;
        if (bytes && run->blocks->rows[bytes - 1].addr == word)
            return true;
    }
    return false;
}

/* The blocks whose counts were lowered and that are still there, each once. */
static void list_shared(struct drop_run *run, const struct freed_list *freed,
                        const uint8_t *is_cell, struct freed_list *list)
{
    list->rows = memory_alloc((run->nr_changes + 1) * sizeof(*list->rows));
    for (size_t i = 0; i < run->nr_changes; i++) {
        const struct drop_change *change = &run->changes[i];
        uint32_t block = change->before > 1 ? heap_blocks_find(run->blocks, change->addr) : 0;
        if (!block || is_cell[block - 1] || freed_at(freed, change->addr))
            continue;
        const struct heap_block *row = &run->blocks->rows[block - 1];
        if (is_count(run, row, change->addr - row->addr))
            list->rows[list->nr++] = (struct freed){.addr = row->addr,
                                                    .end = row->addr + row->size_bytes,
                                                    .block = block - 1,
                                                    .nr_refs = 1,
                                                    .count_addr = change->addr,
                                                    .count = change->before};
    }
    qsort(list->rows, list->nr, sizeof(*list->rows), freed_by_addr);
    size_t kept = 0;
    for (size_t i = 0; i < list->nr; i++) {
        struct freed *last = kept ? &list->rows[kept - 1] : NULL;
        if (last && last->addr == list->rows[i].addr) {
            last->nr_refs++;
            last->count = last->count > list->rows[i].count ? last->count : list->rows[i].count;
        } else {
            list->rows[kept++] = list->rows[i];
        }
    }
    list->nr = kept;
}

static void add_shares(struct drop_run *run, const struct freed_list *freed, const uint8_t *is_cell,
                       struct drop_rows *rows)
{
    struct freed_list list = {0};
    list_shared(run, freed, is_cell, &list);
    find_pointers(run, freed, false, &list);
    rows->shares = array_reserve(rows->shares, &rows->shares_capacity, rows->nr_shares + list.nr,
                                 sizeof(*rows->shares));
    for (size_t i = 0; i < list.nr; i++) {
        find_place(run, freed, &list.rows[i]);
        rows->shares[rows->nr_shares++] = (struct drop_share){.block = list.rows[i].block,
                                                              .nr_refs = list.rows[i].nr_refs,
                                                              .from = list.rows[i].from,
                                                              .place = list.rows[i].place,
                                                              .count_addr = list.rows[i].count_addr,
                                                              .count = list.rows[i].count};
    }
    free(list.rows);
}

/* --- reads ----------------------------------------------------------------------------------- */

static void add_reads(struct drop_run *run, struct drop_rows *rows)
{
    if (!run->nr_reads)
        return;
    qsort(run->reads, run->nr_reads, sizeof(*run->reads), search_word_order);
    rows->reads = array_reserve(rows->reads, &rows->reads_capacity, rows->nr_reads + run->nr_reads,
                                sizeof(*rows->reads));
    for (size_t i = 0; i < run->nr_reads; i++)
        if (!i || run->reads[i] != run->reads[i - 1])
            rows->reads[rows->nr_reads++] = run->reads[i];
}

void drop_trace_take(struct drop_trace *trace, struct drop_run *run, const uint8_t *is_cell,
                     struct drop_rows *rows)
{
    struct freed_list list = {0};
    list_freed(trace, run, is_cell, &list);
    add_kept(run, is_cell, &list);
    find_pointers(run, &list, false, &list);
    if (has_unknown(&list)) {
        forget_pointers(&list);
        add_passed(run, is_cell, &list);
        find_pointers(run, &list, false, &list);
        find_pointers(run, &list, true, &list);
    }
    find_places(run, &list);
    drop_passed(&list);
    add_blocks(&list, rows);
    add_shares(run, &list, is_cell, rows);
    add_reads(run, rows);
    free(list.rows);
}

void drop_rows_deinit(struct drop_rows *rows)
{
    free(rows->blocks);
    free(rows->shares);
    free(rows->reads);
    *rows = (struct drop_rows){0};
}
