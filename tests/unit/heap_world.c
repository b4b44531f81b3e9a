/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "unit.h"

#include "heap_world.h"

#include "base/search.h"

enum { GRANULE_BYTES = 8, MAX_RUNTIMES = 4 };

/* Blocks that are made by hand have no index: the plain look-up takes the place of the real one. */
__attribute__((weak)) uint32_t heap_blocks_find(const struct heap_blocks *blocks, uint64_t addr)
{
    size_t row = SEARCH_UP_TO(blocks->rows, blocks->nr, addr, addr);
    return row && addr - blocks->rows[row - 1].addr < blocks->rows[row - 1].size_bytes
               ? (uint32_t)row
               : 0;
}

void world_init(struct world *world, size_t max_blocks, uint64_t heap_bytes)
{
    *world = (struct world){.heap_bytes = heap_bytes};
    world->heap = calloc(1, heap_bytes + 8);
    world->owners = calloc(heap_bytes / GRANULE_BYTES + 1, sizeof(*world->owners));
    world->blocks.rows = calloc(max_blocks + 1, sizeof(*world->blocks.rows));
    world->blocks.allocator = HEAP_GLIBC;
    const struct mapping mappings[] = {
        {.start = 0x10000, .end = 0x20000, .readable = true, .path = "/bin/x"},
        {.start = WORLD_GLOBALS,
         .end = WORLD_GLOBALS + WORLD_PAGE,
         .readable = true,
         .writable = true,
         .path = "/bin/x"},
        {.start = WORLD_HEAP,
         .end = WORLD_HEAP + heap_bytes,
         .readable = true,
         .writable = true,
         .path = "[heap]"},
        {.start = WORLD_STACK,
         .end = WORLD_STACK + WORLD_PAGE,
         .readable = true,
         .writable = true,
         .path = ""},
    };
    memcpy(world->mappings, mappings, sizeof(mappings));
    world->segments[0] =
        (struct core_segment){WORLD_GLOBALS, WORLD_PAGE, (const uint8_t *)world->globals};
    world->segments[1] =
        (struct core_segment){WORLD_HEAP, heap_bytes, (const uint8_t *)world->heap};
    world->segments[2] =
        (struct core_segment){WORLD_STACK, WORLD_PAGE, (const uint8_t *)world->stack};
    world->threads[0].stack_pointer = WORLD_STACK + 1024;
    world->target = (struct target){.is_core = true,
                                    .mappings = world->mappings,
                                    .nr_mappings = 4,
                                    .segments = world->segments,
                                    .nr_segments = 3,
                                    .threads = world->threads,
                                    .nr_threads = 1};
    world->plan = (struct plan){.strings = ""};
    world->plans[0] = (struct process_plan){.plan = &world->plan};
    world->kinds[0].layout = (struct cell_layout){.vtable = 16,
                                                  .id = 40,
                                                  .scheduler = 32,
                                                  .stage = WORLD_STAGE,
                                                  .trailer = WORLD_TRAILER,
                                                  .prev = WORLD_PREV,
                                                  .next = WORLD_NEXT,
                                                  .read_bytes = WORLD_CELL};
    world->cells = (struct task_cells){.target = &world->target,
                                       .plans = world->plans,
                                       .nr_plans = 1,
                                       .kinds = world->kinds,
                                       .nr_kinds = 1};
    world->cells.rows = calloc(max_blocks + 1, sizeof(*world->cells.rows));
    world->cells.runtimes = calloc(MAX_RUNTIMES, sizeof(*world->cells.runtimes));
    world->drops = (struct task_drops){.cells = &world->cells, .blocks = &world->blocks};
    world->drops.shares = calloc(max_blocks + 1, sizeof(*world->drops.shares));
    world->drops.shared = calloc(max_blocks + 1, sizeof(*world->drops.shared));
    world->drops.parts = calloc(max_blocks + 1, sizeof(*world->drops.parts));
    world->drops.holder = calloc(max_blocks + 1, sizeof(*world->drops.holder));
}

void world_free(struct world *world)
{
    free(world->heap);
    free(world->owners);
    free(world->blocks.rows);
    free(world->cells.rows);
    free(world->cells.runtimes);
    free(world->drops.shares);
    free(world->drops.shared);
    free(world->drops.parts);
    free(world->drops.holder);
}

uint32_t world_add_block(struct world *world, uint64_t size_bytes)
{
    struct heap_blocks *blocks = &world->blocks;
    const uint64_t addr = blocks->nr ? blocks->highest + 8 : WORLD_HEAP + 16;
    assert_true(size_bytes % 16 == 8 && addr + size_bytes <= WORLD_HEAP + world->heap_bytes);
    blocks->rows[blocks->nr++] = (struct heap_block){addr, size_bytes};
    blocks->live_bytes += size_bytes;
    blocks->lowest = WORLD_HEAP + 16;
    blocks->highest = addr + size_bytes;
    for (uint64_t at = addr; at < addr + size_bytes; at += GRANULE_BYTES)
        world->owners[(at - WORLD_HEAP) / GRANULE_BYTES] = (uint32_t)blocks->nr;
    return (uint32_t)blocks->nr - 1;
}

uint32_t world_add_cell(struct world *world, uint32_t block, uint64_t state)
{
    uint64_t addr = world->blocks.rows[block].addr;
    world->cells.rows[world->cells.nr] = (struct task_cell){
        .addr = addr, .state = state, .bytes = (const uint8_t *)world_word(world, addr)};
    return (uint32_t)world->cells.nr++;
}

void world_add_share(struct world *world, uint32_t block, uint32_t task)
{
    world->drops.shares[world->drops.nr_shares++] =
        (struct drop_share){.block = block, .task = task};
}

void world_add_part(struct world *world, uint32_t block)
{
    struct task_drops *drops = &world->drops;
    struct drop_share *share = &drops->shares[drops->nr_shares - 1];
    if (!share->shared) {
        drops->shared[drops->nr_shared] =
            (struct drop_shared){.block = share->block, .first_part = (uint32_t)drops->nr_parts};
        share->shared = (uint32_t)++drops->nr_shared;
    }
    drops->shared[share->shared - 1].nr_parts++;
    drops->parts[drops->nr_parts++] = block;
}

void world_add_runtime(struct world *world, uint64_t addr)
{
    assert_true(world->cells.nr_runtimes < MAX_RUNTIMES);
    world->cells.runtimes[world->cells.nr_runtimes++] = (struct task_runtime){.addr = addr};
}

uint32_t world_block_at(const struct world *world, uint64_t addr)
{
    if (addr < WORLD_HEAP || addr >= WORLD_HEAP + world->heap_bytes)
        return 0;
    return world->owners[(addr - WORLD_HEAP) / GRANULE_BYTES];
}

uint64_t *world_word(struct world *world, uint64_t addr)
{
    if (addr >= WORLD_STACK)
        return &world->stack[(addr - WORLD_STACK) / 8];
    if (addr >= WORLD_HEAP)
        return &world->heap[(addr - WORLD_HEAP) / 8];
    return &world->globals[(addr - WORLD_GLOBALS) / 8];
}

/* --- random ---------------------------------------------------------------------------------- */

static uint64_t random_word(const struct world *world, uint64_t *random)
{
    const struct heap_block *row = &world->blocks.rows[random_below(random, world->blocks.nr)];
    switch (random_below(random, 8)) {
    case 0:
        return row->addr + random_below(random, row->size_bytes);
    case 1:
        return row->addr + row->size_bytes; /* behind its end */
    case 2:
        return random_next(random);
    case 3:
        return row->addr + row->size_bytes - 8;
    default:
        return row->addr;
    }
}

static void add_random_roles(struct world *world, uint64_t *random)
{
    static const uint64_t states[] = {TOKIO_COMPLETE | 64, TOKIO_JOIN_INTEREST | 128};
    const size_t nr = world->blocks.nr;
    const uint64_t rare = 6 + nr / 64; /* the reference takes its time for each task */
    for (uint32_t i = 0; i < nr; i++)
        if (world->blocks.rows[i].size_bytes >= WORLD_CELL && random_below(random, rare) == 0) {
            uint32_t task = world_add_cell(world, i, states[random_below(random, 2)]);
            world->cells.rows[task].is_copy = random_below(random, 8) == 0;
        }
    for (size_t i = 0; world->cells.nr && i < nr; i++) {
        uint32_t task = (uint32_t)random_below(random, world->cells.nr);
        if (random_below(random, 8) == 0)
            world->drops.holder[i] = world->cells.rows[task].is_copy ? 0 : task + 1;
        else if (random_below(random, 6) == 0) {
            world_add_share(world, (uint32_t)random_below(random, nr), task);
            if (random_below(random, 3) == 0)
                world_add_part(world, (uint32_t)random_below(random, nr));
        }
    }
    for (size_t i = random_below(random, 3); i; i--)
        world_add_runtime(world, world->blocks.rows[random_below(random, nr)].addr);
}

void world_random(struct world *world, uint64_t *random, size_t nr)
{
    enum { MAX_BLOCK_BYTES = 184 };
    world_init(world, nr, (nr + 1) * (MAX_BLOCK_BYTES + 8));
    for (size_t i = 0; i < nr; i++)
        world_add_block(world, 24 + 16 * random_below(random, 11));
    if (!nr)
        return;
    add_random_roles(world, random);
    /* One word in so many is an address; what is free has them too, but for nobody. */
    const uint64_t sparse = 4 + random_below(random, 16);
    for (uint64_t at = 0; at < world->heap_bytes / 8; at++)
        if (random_below(random, sparse) == 0)
            world->heap[at] = random_word(world, random);
    world->threads[0].stack_pointer = WORLD_STACK + 128 + 8 * random_below(random, 480);
    for (size_t i = 0; i < WORLD_PAGE / 8; i++) {
        if (random_below(random, 512 / (nr / 64 + 1) + 1) == 0)
            world->globals[i] = random_word(world, random);
        if (random_below(random, 512) == 0)
            world->stack[i] = random_word(world, random);
    }
    if (random_below(random, 2))
        world->threads[0].registers[random_below(random, NR_DWARF_REGISTERS)] =
            random_word(world, random);
}
