/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Both tables are in the order of addresses: one pass tells which entries are blocks of glibc's.  What is left
 * are blocks of another allocator.  How much memory such a block has is asked of the allocator's own
 * usable_size function, which is interpreted; a bound is what was asked for.
 *
 * An entry is made after its block and cleared before the block is freed, so that what it says is true at
 * any moment.  The table is hostile input all the same: an entry that lies inside of another block, reaches into
 * the next one, or in no memory at all is left out and counted.
 */
#include "process/traced_heap.h"

#include <stdlib.h>

#include "base/parallel.h"
#include "base/search.h"
#include "process/emulator.h"
#include "process/foreign_blocks.h"
#include "process/heap_part.h"

enum { SPAN_BLOCKS = 1 << 14, MAX_INSTRUCTIONS = 1 << 16, CACHE_BYTES = 16 << 20 };

struct joining {
    struct traced_heap *heap;
    struct heap_blocks *blocks;
    const struct traced_blocks *traced;
    const struct target *target;
    struct foreign_allocator allocator;
    struct heap_block *added;    /* by address */
    uint8_t *is_requested;       /* by row of `added`: its size is what was asked for */
    struct emulator **emulators; /* by worker */
};

/* --- which are of another allocator ---------------------------------------------------------- */

static uint64_t next_addr(const struct joining *joining, size_t entry, size_t row)
{
    uint64_t next = HEAP_ADDR_LIMIT;
    if (entry + 1 < joining->traced->nr_blocks)
        next = joining->traced->blocks[entry + 1].addr;
    if (row < joining->blocks->nr && joining->blocks->rows[row].addr < next)
        next = joining->blocks->rows[row].addr;
    return next;
}

/* Is there memory for a block of that size, up to where the next one begins? */
static bool has_room(const struct joining *joining, uint64_t addr, uint64_t bytes, uint64_t next)
{
    return addr < next && bytes <= next - addr && target_mapping_at(joining->target, addr) &&
           target_mapping_at(joining->target, addr + bytes - 1);
}

/* Entries that are in no block of glibc's become rows. */
static void find_added(struct joining *joining)
{
    const struct traced_blocks *traced = joining->traced;
    const struct heap_blocks *blocks = joining->blocks;
    size_t row = 0; /* the first that begins behind the entry */
    joining->added = memory_alloc((traced->nr_blocks + 1) * sizeof(*joining->added));
    for (size_t i = 0; i < traced->nr_blocks; i++) {
        const uint64_t addr = traced->blocks[i].addr;
        const uint64_t bytes = traced->blocks[i].bytes ? traced->blocks[i].bytes : 1;
        while (row < blocks->nr && blocks->rows[row].addr <= addr)
            row++;
        const struct heap_block *before = row ? &blocks->rows[row - 1] : NULL;
        if (before && addr - before->addr < before->size_bytes)
            continue; /* glibc's: looked at by set_entries */
        if (has_room(joining, addr, bytes, next_addr(joining, i, row)))
            joining->added[joining->heap->nr_added++] = (struct heap_block){addr, bytes};
        else
            joining->heap->nr_wrong++;
    }
}

/* --- how big they are ------------------------------------------------------------------------ */

static struct emulator *emulator_of(struct joining *joining, unsigned worker)
{
    struct emulator **emulator = &joining->emulators[worker];
    if (!*emulator) {
        const struct target *target = joining->target;
        *emulator = emulator_new(target, NULL, CACHE_BYTES);
        /* jemalloc looks into its thread's memory. */
        emulator_set_thread_pointer(*emulator,
                                    target->nr_threads ? target->threads[0].thread_pointer : 0);
    }
    return *emulator;
}

/* False: it does not tell, or what makes no sense. */
static bool ask_size(struct joining *joining, struct emulator *emulator, size_t row)
{
    struct heap_block *block = &joining->added[row];
    const uint64_t limit =
        row + 1 < joining->heap->nr_added ? block[1].addr - block->addr : HEAP_ADDR_LIMIT;
    bool ok = emulator_run(emulator, joining->allocator.usable_size, &block->addr, 1,
                           MAX_INSTRUCTIONS) == EMULATOR_RETURNED;
    const uint64_t size = emulator->registers[RAX];
    emulator_undo(emulator);
    ok = ok && size >= block->size_bytes && size <= limit && size < HEAP_ADDR_LIMIT;
    if (ok)
        block->size_bytes = size;
    return ok;
}

static void ask_span(void *context, unsigned worker, size_t span)
{
    struct joining *joining = context;
    struct emulator *emulator = emulator_of(joining, worker);
    size_t end = (span + 1) * SPAN_BLOCKS;
    if (end > joining->heap->nr_added)
        end = joining->heap->nr_added;
    for (size_t i = span * SPAN_BLOCKS; i < end; i++)
        joining->is_requested[i] = !ask_size(joining, emulator, i);
}

static void ask_all(struct joining *joining)
{
    const size_t nr_added = joining->heap->nr_added;
    const unsigned nr_workers = parallel_workers(SIZE_MAX);
    joining->emulators = memory_alloc(nr_workers * sizeof(*joining->emulators));
    parallel_for((nr_added + SPAN_BLOCKS - 1) / SPAN_BLOCKS, ask_span, joining);
    for (unsigned i = 0; i < nr_workers; i++)
        if (joining->emulators[i])
            emulator_free(joining->emulators[i]);
    free(joining->emulators);
}

static void find_sizes(struct joining *joining)
{
    struct traced_heap *heap = joining->heap;
    joining->is_requested = memory_alloc(heap->nr_added);
    heap->requested = memory_alloc(heap->nr_added * sizeof(*heap->requested));
    foreign_allocator_find(&joining->allocator, joining->target);
    heap->allocator = joining->allocator.kind;
    if (joining->allocator.usable_size)
        ask_all(joining);
    else
        memset(joining->is_requested, true, heap->nr_added);
    for (size_t i = 0; i < heap->nr_added; i++) {
        heap->added_bytes += joining->added[i].size_bytes;
        if (joining->is_requested[i])
            heap->requested[heap->nr_requested++] = joining->added[i].addr;
    }
    free(joining->is_requested);
}

/* --- together -------------------------------------------------------------------------------- */

/* Both in the order of their addresses; the index is made again. */
static void merge(struct joining *joining)
{
    struct heap_blocks *blocks = joining->blocks;
    const size_t nr_added = joining->heap->nr_added;
    blocks->rows = array_reserve(blocks->rows, &blocks->capacity, blocks->nr + nr_added,
                                 sizeof(*blocks->rows));
    size_t own = blocks->nr, added = nr_added;
    for (size_t to = own + added; added; to--) {
        bool is_own = own && blocks->rows[own - 1].addr > joining->added[added - 1].addr;
        blocks->rows[to - 1] = is_own ? blocks->rows[--own] : joining->added[--added];
    }
    blocks->nr += nr_added;
    heap_index_deinit(blocks);
    heap_index_build(blocks);
}

/* An entry belongs to the block that begins there, if that is big enough. */
static void set_entries(struct joining *joining)
{
    const struct traced_blocks *traced = joining->traced;
    const struct heap_blocks *blocks = joining->blocks;
    uint32_t *entries = memory_alloc((blocks->nr + 1) * sizeof(*entries));
    size_t row = 0;
    for (size_t i = 0; i < traced->nr_blocks; i++) {
        const struct traced_block *entry = &traced->blocks[i];
        while (row < blocks->nr && blocks->rows[row].addr < entry->addr)
            row++;
        bool is_here = row < blocks->nr && blocks->rows[row].addr == entry->addr;
        if (is_here && entry->bytes <= blocks->rows[row].size_bytes)
            entries[row] = (uint32_t)i + 1;
        else if (is_here || heap_blocks_find(blocks, entry->addr))
            joining->heap->nr_wrong++;
    }
    joining->heap->entries = entries;
}

void traced_heap_join(struct traced_heap *heap, struct heap_blocks *blocks,
                      const struct traced_blocks *traced, const struct target *target)
{
    struct joining joining = {.heap = heap, .blocks = blocks, .traced = traced, .target = target};
    *heap = (struct traced_heap){0};
    find_added(&joining);
    if (heap->nr_added) {
        find_sizes(&joining);
        merge(&joining);
    }
    free(joining.added);
    set_entries(&joining);
}

void traced_heap_deinit(struct traced_heap *heap)
{
    free(heap->entries);
    free(heap->requested);
    *heap = (struct traced_heap){0};
}

bool traced_heap_is_requested(const struct traced_heap *heap, uint64_t addr)
{
    size_t at = search_up_to(heap->requested, heap->nr_requested, sizeof(uint64_t), 0, addr);
    return at && heap->requested[at - 1] == addr;
}
