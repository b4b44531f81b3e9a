/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "process/heap_scan.h"

#include <stdlib.h>

#include "base/parallel.h"

enum { BUFFER_BYTES = 256 << 10, PAGE_BYTES = 4096 };
/* Blocks that lie this near to one that is read are read with it: lists often go on there. */
enum { NEAR_BYTES = 1024 };
enum { GROUP_BLOCKS = 4096, WORTH_THREADS_GROUPS = 8, WORTH_THREADS_BLOCKS = 2048 };

void heap_scan_init(struct heap_scan *scan, const struct target *target,
                    const struct heap_blocks *blocks)
{
    *scan = (struct heap_scan){.target = target, .blocks = blocks};
    scan->nr_groups = (blocks->nr + GROUP_BLOCKS - 1) / GROUP_BLOCKS;
    scan->pending = memory_alloc(scan->nr_groups * (GROUP_BLOCKS / 8) + 8);
    scan->groups = memory_alloc(scan->nr_groups / 64 * 8 + 8);
    scan->nr_workers = parallel_workers(scan->nr_groups + 1);
    scan->buffers = memory_alloc(scan->nr_workers * sizeof(*scan->buffers));
    for (unsigned i = 0; i < scan->nr_workers; i++)
        scan->buffers[i] = memory_alloc(BUFFER_BYTES);
}

void heap_scan_deinit(struct heap_scan *scan)
{
    for (unsigned i = 0; i < scan->nr_workers; i++)
        free(scan->buffers[i]);
    free(scan->buffers);
    free(scan->pending);
    free(scan->groups);
    *scan = (struct heap_scan){0};
}

void heap_scan_tell(struct heap_scan *scan, heap_see_fn *see, void *context)
{
    scan->see = see;
    scan->context = context;
}

/* --- what waits ---------------------------------------------------------------------------------- */

/* True when the bit was not set before.  Pairs with take_bit and the reads in next_bit. */
static bool put_bit(uint64_t *bits, size_t i)
{
    const uint64_t bit = (uint64_t)1 << (i % 64);
    return !(__atomic_fetch_or(&bits[i / 64], bit, __ATOMIC_SEQ_CST) & bit);
}

static void take_bit(uint64_t *bits, size_t i)
{
    __atomic_fetch_and(&bits[i / 64], ~((uint64_t)1 << (i % 64)), __ATOMIC_SEQ_CST);
}

static bool has_bit(const uint64_t *bits, size_t i)
{
    return __atomic_load_n(&bits[i / 64], __ATOMIC_SEQ_CST) >> (i % 64) & 1;
}

/* The first set bit in [i, end), or `end`. */
static size_t next_bit(const uint64_t *bits, size_t i, size_t end)
{
    while (i < end) {
        uint64_t word = __atomic_load_n(&bits[i / 64], __ATOMIC_SEQ_CST) >> (i % 64);
        if (word) {
            i += (size_t)__builtin_ctzll(word);
            return i < end ? i : end;
        }
        i = (i / 64 + 1) * 64;
    }
    return end;
}

/* The block's bit first: who takes the group's bit away looks at the blocks' afterwards. */
void heap_scan_add(struct heap_scan *scan, uint32_t block)
{
    if (put_bit(scan->pending, block))
        put_bit(scan->groups, block / GROUP_BLOCKS);
}

/* --- words --------------------------------------------------------------------------------------- */

static void see_words(const struct heap_scan *scan, uint64_t addr, const uint64_t *words, size_t nr,
                      uint32_t from)
{
    const struct heap_blocks *blocks = scan->blocks;
    const uint64_t lowest = blocks->lowest, span = blocks->highest - blocks->lowest;
    for (size_t i = 0; i < nr; i++) {
        if (words[i] - lowest >= span)
            continue;
        uint32_t to = heap_blocks_find(blocks, words[i]);
        if (!to || to == from)
            continue;
        const struct heap_reference reference = {addr + i * 8, words[i], from, to - 1};
        scan->see(scan->context, &reference);
    }
}

void heap_scan_words(struct heap_scan *scan, uint64_t addr, const uint64_t *words, size_t nr)
{
    see_words(scan, addr, words, nr, 0);
}

/* By pieces, through one buffer. */
static void see_memory(const struct heap_scan *scan, uint64_t *buffer, uint64_t start, uint64_t end,
                       uint32_t from)
{
    start = (start + 7) & ~UINT64_C(7);
    while (start < end && end - start >= 8) {
        uint64_t left = end - start;
        size_t wanted = left < BUFFER_BYTES ? (size_t)left : BUFFER_BYTES;
        size_t got = target_read(scan->target, start, buffer, wanted);
        see_words(scan, start, buffer, got / 8, from);
        /* Behind a page that cannot be read more may follow. */
        uint64_t next =
            got == wanted ? start + got : (start + got + PAGE_BYTES) & ~(uint64_t)(PAGE_BYTES - 1);
        if (next < start)
            return;
        start = next;
    }
}

void heap_scan_roots(struct heap_scan *scan, uint64_t start, uint64_t end)
{
    see_memory(scan, scan->buffers[0], start, end, 0);
}

/* --- blocks -------------------------------------------------------------------------------------- */

/* Blocks that are read at once: positions [first, end), the bytes from the first's start on. */
struct window {
    size_t first, end;
    uint64_t addr;
    size_t size_bytes;
};

static uint64_t block_end(const struct heap_scan *scan, size_t block)
{
    return scan->blocks->rows[block].addr + scan->blocks->rows[block].size_bytes;
}

/* Around a block that waits, inside of [low, high): those that wait near it, and their neighbours. */
static struct window window_at(const struct heap_scan *scan, size_t block, size_t low, size_t high)
{
    const struct heap_block *rows = scan->blocks->rows;
    size_t first = block;
    while (first > low && rows[block].addr - rows[first - 1].addr <= NEAR_BYTES)
        first--;
    uint64_t start = rows[first].addr, wanted = block_end(scan, block), end = wanted;
    size_t next = block + 1;
    for (; next < high && rows[next].addr - start < BUFFER_BYTES; next++) {
        uint64_t own_end = block_end(scan, next);
        bool is_pending = has_bit(scan->pending, next);
        if (own_end - start > BUFFER_BYTES ||
            own_end > wanted + NEAR_BYTES + (is_pending ? rows[next].size_bytes : 0))
            break;
        if (is_pending)
            wanted = own_end;
        end = own_end;
    }
    return (struct window){first, next, start, (size_t)(end - start)};
}

/* All that wait in it, and that come to wait meanwhile. */
static void see_window(struct heap_scan *scan, const struct window *window, uint64_t *buffer)
{
    size_t got = target_read(scan->target, window->addr, buffer, window->size_bytes);
    for (bool again = true; again;) {
        again = false;
        for (size_t i = next_bit(scan->pending, window->first, window->end); i < window->end;
             i = next_bit(scan->pending, i + 1, window->end)) {
            const struct heap_block *row = &scan->blocks->rows[i];
            uint64_t offset = row->addr - window->addr, there = offset < got ? got - offset : 0;
            uint64_t size = row->size_bytes < there ? row->size_bytes : there;
            take_bit(scan->pending, i);
            see_words(scan, row->addr, buffer + offset / 8, (size_t)size / 8, (uint32_t)i + 1);
            again = true;
        }
    }
}

struct round {
    struct heap_scan *scan;
    uint32_t *groups; /* that have blocks that wait */
    size_t nr;
};

static void see_group(void *context, unsigned worker, size_t item)
{
    struct round *round = context;
    struct heap_scan *scan = round->scan;
    uint64_t *buffer = scan->buffers[worker];
    const size_t low = (size_t)round->groups[item] * GROUP_BLOCKS;
    const size_t high =
        low + GROUP_BLOCKS < scan->blocks->nr ? low + GROUP_BLOCKS : scan->blocks->nr;
    take_bit(scan->groups, round->groups[item]);
    for (size_t i = next_bit(scan->pending, low, high); i < high;
         i = next_bit(scan->pending, i, high)) {
        const struct heap_block *row = &scan->blocks->rows[i];
        const struct window window = window_at(scan, i, low, high);
        if (window.size_bytes <= BUFFER_BYTES && row->addr % 8 == 0) {
            see_window(scan, &window, buffer);
            continue;
        }
        take_bit(scan->pending, i);
        see_memory(scan, buffer, row->addr, block_end(scan, i), (uint32_t)i + 1);
    }
}

/* Threads cost more than a step along some long lists. */
static bool is_worth_threads(const struct round *round)
{
    const uint64_t *pending = round->scan->pending;
    size_t nr_blocks = 0;
    for (size_t g = 0; g < round->nr && nr_blocks < WORTH_THREADS_BLOCKS; g++)
        for (size_t w = 0; w < GROUP_BLOCKS / 64; w++)
            nr_blocks += (size_t)__builtin_popcountll(
                pending[(size_t)round->groups[g] * (GROUP_BLOCKS / 64) + w]);
    return round->nr >= WORTH_THREADS_GROUPS && nr_blocks >= WORTH_THREADS_BLOCKS;
}

void heap_scan_run(struct heap_scan *scan)
{
    struct round round = {.scan = scan,
                          .groups = memory_alloc(scan->nr_groups * sizeof(*round.groups) + 1)};
    for (;;) {
        round.nr = 0;
        for (size_t g = next_bit(scan->groups, 0, scan->nr_groups); g < scan->nr_groups;
             g = next_bit(scan->groups, g + 1, scan->nr_groups))
            round.groups[round.nr++] = (uint32_t)g;
        if (!round.nr)
            break;
        if (is_worth_threads(&round))
            parallel_for(round.nr, see_group, &round);
        else
            for (size_t i = 0; i < round.nr; i++)
                see_group(&round, 0, i);
    }
    free(round.groups);
}
