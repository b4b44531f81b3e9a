/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "process/heap_roots.h"

#include <stdlib.h>

#include "base/search.h"
#include "base/text.h"
#include "process/touched_pages.h"
#include "process/traced_blocks.h"

enum { PAGE_BYTES = 4096, RED_ZONE_BYTES = 128 };
/* glibc: a descriptor (struct pthread) is no longer than this; nptl/descr.h. */
enum { DESCRIPTOR_BYTES = 4096, MIN_STACK_BYTES = 16 << 10 };
/* glibc: malloc/malloc.c, a mapped chunk begins at a page's start, with a header of 16 bytes. */
enum { CHUNK_HEADER_BYTES = 16 };

struct root_reader {
    struct heap_scan *scan;
    const struct target *target;
    struct touched_pages touched;
    const struct target_thread **threads; /* by stack pointer */
    size_t nr_threads;
    bool knows_all_stacks;
};

static uint64_t page_up(uint64_t addr)
{
    return (addr + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1);
}

/* --- reading ------------------------------------------------------------------------------------- */

static void read_touched(void *context, uint64_t start, uint64_t end)
{
    heap_scan_roots(context, start, end);
}

/* Of a core only what it holds: its headers may tell of much more memory. */
static void read_segments(const struct root_reader *reader, uint64_t start, uint64_t end)
{
    const struct target *target = reader->target;
    size_t i = SEARCH_UP_TO(target->segments, target->nr_segments, addr, start);
    for (i -= i > 0; i < target->nr_segments && target->segments[i].addr < end; i++) {
        const struct core_segment *segment = &target->segments[i];
        uint64_t low = segment->addr > start ? segment->addr : start;
        uint64_t high = segment->addr + segment->size_bytes;
        if (low < high)
            heap_scan_roots(reader->scan, low, high < end ? high : end);
    }
}

static void read_range(const struct root_reader *reader, uint64_t start, uint64_t end)
{
    if (start >= end)
        return;
    if (reader->target->is_core)
        read_segments(reader, start, end);
    else if (start % PAGE_BYTES == 0 && end % PAGE_BYTES == 0)
        touched_pages_each(&reader->touched, start, end, read_touched, reader->scan);
    else
        heap_scan_roots(reader->scan, start, end);
}

/* --- stacks -------------------------------------------------------------------------------------- */

static int by_stack_pointer(const void *a, const void *b)
{
    const struct target_thread *const *x = a, *const *y = b;
    return ((*x)->stack_pointer > (*y)->stack_pointer) -
           ((*x)->stack_pointer < (*y)->stack_pointer);
}

static void sort_threads(struct root_reader *reader)
{
    const struct target *target = reader->target;
    reader->nr_threads = target->nr_threads;
    reader->knows_all_stacks = true;
    reader->threads = memory_alloc((target->nr_threads + 1) * sizeof(*reader->threads));
    for (size_t i = 0; i < target->nr_threads; i++) {
        reader->threads[i] = &target->threads[i];
        reader->knows_all_stacks &= target->threads[i].stack_pointer != 0;
    }
    qsort(reader->threads, reader->nr_threads, sizeof(*reader->threads), by_stack_pointer);
}

/* Position of the first thread whose stack pointer is at `addr` or above. */
static size_t thread_from(const struct root_reader *reader, uint64_t addr)
{
    size_t low = 0, high = reader->nr_threads;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (reader->threads[middle]->stack_pointer < addr)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool has_stack(const struct root_reader *reader, const struct mapping *mapping)
{
    size_t i = thread_from(reader, mapping->start);
    return i < reader->nr_threads && reader->threads[i]->stack_pointer < mapping->end;
}

static uint64_t stack_start(uint64_t stack_pointer, uint64_t low)
{
    return stack_pointer - low > RED_ZONE_BYTES ? stack_pointer - RED_ZONE_BYTES : low;
}

/*
 * The live stacks whose pointers lie in [low, high), each up to the next stack or to `high`: thread-local
 * memory lies above the stack.  False: there are none.
 */
static bool read_stacks(const struct root_reader *reader, uint64_t low, uint64_t high)
{
    size_t first = thread_from(reader, low), i = first;
    for (; i < reader->nr_threads && reader->threads[i]->stack_pointer < high; i++) {
        const struct target_thread *thread = reader->threads[i];
        uint64_t start = stack_start(thread->stack_pointer, low), end = high;
        if (i + 1 < reader->nr_threads && reader->threads[i + 1]->stack_pointer < high) {
            /* Two stacks in one mapping: the dead part of the next begins behind this one. */
            end = stack_start(reader->threads[i + 1]->stack_pointer, low);
            uint64_t top = page_up(thread->thread_pointer + DESCRIPTOR_BYTES);
            if (thread->thread_pointer > thread->stack_pointer && top < end)
                end = top;
        }
        read_range(reader, start, end);
    }
    return i > first;
}

static bool is_live_descriptor(const struct root_reader *reader, uint64_t addr)
{
    for (size_t i = 0; i < reader->nr_threads; i++)
        if (reader->threads[i]->thread_pointer == addr)
            return true;
    return false;
}

/*
 * The stack of a thread that has ended, kept by glibc for the next one: above an unreadable guard,
 * with a descriptor at its top that points to itself (tcbhead_t, sysdeps/x86_64/nptl/tls.h) and is
 * no live thread's.
 */
static bool is_dead_stack(const struct root_reader *reader, const struct mapping *mapping)
{
    uint64_t words[2 * DESCRIPTOR_BYTES / 8];
    const struct mapping *guard = mapping > reader->target->mappings ? mapping - 1 : NULL;
    const bool is_anonymous =
        !mapping->inode && (!*mapping->path || str_starts_with(mapping->path, "[anon"));
    if (!reader->knows_all_stacks || !is_anonymous ||
        mapping->end - mapping->start < MIN_STACK_BYTES || !guard || guard->readable ||
        guard->end != mapping->start)
        return false;
    uint64_t start = mapping->end - sizeof(words);
    if (target_read(reader->target, start, words, sizeof(words)) != sizeof(words))
        return false;
    for (size_t i = 0; i + 2 < sizeof(words) / 8; i++) {
        uint64_t addr = start + i * 8;
        if (words[i] == addr && words[i + 2] == addr)
            return !is_live_descriptor(reader, addr);
    }
    return false;
}

/* --- mappings ------------------------------------------------------------------------------------ */

/* Positions of the blocks that begin in a mapping: [first, end). */
struct block_range {
    size_t first, end;
};

static struct block_range blocks_in(const struct root_reader *reader, const struct mapping *mapping)
{
    const struct heap_blocks *blocks = reader->scan->blocks;
    return (struct block_range){
        mapping->start ? SEARCH_UP_TO(blocks->rows, blocks->nr, addr, mapping->start - 1) : 0,
        SEARCH_UP_TO(blocks->rows, blocks->nr, addr, mapping->end - 1)};
}

static uint64_t chunk_start(const struct heap_block *block)
{
    return block->addr - CHUNK_HEADER_BYTES;
}

/* All are chunks that were mapped one by one: what lies between them is no heap. */
static bool are_mapped_chunks(const struct root_reader *reader, const struct block_range *range)
{
    const struct heap_block *rows = reader->scan->blocks->rows;
    for (size_t i = range->first; i < range->end; i++)
        if (chunk_start(&rows[i]) % PAGE_BYTES || (rows[i].addr + rows[i].size_bytes) % PAGE_BYTES)
            return false;
    return true;
}

static void read_between(const struct root_reader *reader, const struct mapping *mapping,
                         const struct block_range *range)
{
    const struct heap_block *rows = reader->scan->blocks->rows;
    uint64_t start = mapping->start;
    for (size_t i = range->first; i < range->end; i++) {
        read_range(reader, start, chunk_start(&rows[i]));
        start = rows[i].addr + rows[i].size_bytes;
    }
    read_range(reader, start, mapping->end);
}

/* Where the block-free memory around `addr` ends; in a block: where that ends. */
static uint64_t gap_end(const struct root_reader *reader, const struct mapping *mapping,
                        uint64_t addr)
{
    const struct heap_blocks *blocks = reader->scan->blocks;
    size_t next = SEARCH_UP_TO(blocks->rows, blocks->nr, addr, addr);
    if (next && addr < blocks->rows[next - 1].addr + blocks->rows[next - 1].size_bytes)
        return blocks->rows[next - 1].addr + blocks->rows[next - 1].size_bytes;
    return next < blocks->nr && blocks->rows[next].addr < mapping->end ? blocks->rows[next].addr
                                                                       : mapping->end;
}

/*
 * A heap with something else in it: a stack that the program made itself; in a statically linked
 * program the main thread's local memory, before the first block.
 */
static void read_guests(const struct root_reader *reader, const struct mapping *mapping)
{
    const struct heap_blocks *blocks = reader->scan->blocks;
    for (size_t i = 0; i < reader->nr_threads; i++) {
        const uint64_t sp = reader->threads[i]->stack_pointer;
        const uint64_t tp = reader->threads[i]->thread_pointer;
        if (sp >= mapping->start && sp < mapping->end)
            read_range(reader, stack_start(sp, mapping->start), gap_end(reader, mapping, sp));
        if (tp < mapping->start || tp >= mapping->end || heap_blocks_find(blocks, tp))
            continue;
        size_t next = SEARCH_UP_TO(blocks->rows, blocks->nr, addr, tp);
        uint64_t start = next ? blocks->rows[next - 1].addr + blocks->rows[next - 1].size_bytes : 0;
        read_range(reader, start > mapping->start ? start : mapping->start,
                   gap_end(reader, mapping, tp));
    }
}

static void read_mapping(const struct root_reader *reader, const struct mapping *mapping)
{
    const struct block_range range = blocks_in(reader, mapping);
    if (range.first < range.end) {
        if (!has_stack(reader, mapping) && are_mapped_chunks(reader, &range))
            read_between(reader, mapping, &range);
        else
            read_guests(reader, mapping);
        return;
    }
    /* The first thread's stack may have grown since the mappings were read. */
    const bool grows = strcmp(mapping->path, "[stack]") == 0;
    const bool is_first = mapping == reader->target->mappings;
    uint64_t low = !grows ? mapping->start : is_first ? 0 : mapping[-1].end;
    if (!read_stacks(reader, low, mapping->end) && !is_dead_stack(reader, mapping))
        read_range(reader, mapping->start, mapping->end);
}

void heap_roots_read(struct heap_scan *scan)
{
    const struct target *target = scan->target;
    struct root_reader reader = {.scan = scan, .target = target};
    touched_pages_open(&reader.touched, target);
    sort_threads(&reader);
    for (size_t i = 0; i < target->nr_mappings; i++) {
        const struct mapping *mapping = &target->mappings[i];
        if (mapping->readable && mapping->writable && !mapping->is_shared && !mapping->is_device &&
            mapping->start < mapping->end && !traced_blocks_is_tracer(target, mapping))
            read_mapping(&reader, mapping);
    }
    for (size_t i = 0; i < target->nr_threads; i++)
        for (size_t r = 0; r < NR_DWARF_REGISTERS; r++)
            heap_scan_words(scan, 0, &target->threads[i].registers[r], 1);
    free(reader.threads);
    touched_pages_close(&reader.touched);
}
