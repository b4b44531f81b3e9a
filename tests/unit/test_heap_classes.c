/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Random small heaps in a core that is made by hand, against a reference that says what each class
 * means in the plainest way: lists of edges, passed over until nothing changes.  A failing heap is
 * told by its seed.
 */
#include "unit.h"

#include <stdio.h>

#include "heap_world.h"
#include "process/heap_classes.h"

enum { NR_WORLDS = 4000, NR_BIG_WORLDS = 6, BIG_BLOCKS = 60000 };
enum { MAX_KEPT = 16 };

/* --- the reference --------------------------------------------------------------------------- */

struct edge {
    uint32_t from, to; /* positions; from ROOT: no block */
    uint64_t addr, value;
};

enum { ROOT = -1 };

struct reference {
    struct world *world;
    struct edge *edges;
    size_t nr_edges, capacity;
    uint8_t *classes;
    uint32_t *tasks;   /* of cells and held blocks: position + 1 */
    uint32_t *counter; /* by block: the task that gives up a count of it, + 1; ~0: several */
    bool *reached;     /* scratch */
};

static void add_edge(struct reference *reference, uint32_t from, uint64_t addr, uint64_t value)
{
    uint32_t to = world_block_at(reference->world, value);
    if (!to || to - 1 == from)
        return;
    reference->edges = array_reserve(reference->edges, &reference->capacity,
                                     reference->nr_edges + 1, sizeof(*reference->edges));
    reference->edges[reference->nr_edges++] = (struct edge){from, to - 1, addr, value};
}

static void add_root(struct reference *reference, uint64_t addr, uint64_t value)
{
    uint32_t to = world_block_at(reference->world, value);
    const struct heap_block *row = to ? &reference->world->blocks.rows[to - 1] : NULL;
    if (row && value < row->addr + row->size_bytes - 8) /* else a free chunk's header */
        add_edge(reference, (uint32_t)ROOT, addr, value);
}

static void find_edges(struct reference *reference)
{
    struct world *world = reference->world;
    for (size_t i = 0; i < world->blocks.nr; i++) {
        const struct heap_block *row = &world->blocks.rows[i];
        for (uint64_t addr = row->addr; addr + 8 <= row->addr + row->size_bytes; addr += 8)
            add_edge(reference, (uint32_t)i, addr, *world_word(world, addr));
    }
    for (uint64_t addr = WORLD_GLOBALS; addr < WORLD_GLOBALS + WORLD_PAGE; addr += 8)
        add_root(reference, addr, *world_word(world, addr));
    for (uint64_t addr = world->threads[0].stack_pointer - 128; addr < WORLD_STACK + WORLD_PAGE;
         addr += 8)
        add_root(reference, addr, *world_word(world, addr));
    for (size_t i = 0; i < NR_DWARF_REGISTERS; i++)
        add_root(reference, 0, world->threads[0].registers[i]);
}

/* Does an edge speak for the task whose cell it lies in? */
static bool in_stage(const struct reference *reference, const struct edge *edge)
{
    const struct task_cell *cell = &reference->world->cells.rows[reference->tasks[edge->from] - 1];
    return edge->addr >= cell->addr + WORLD_STAGE && edge->addr < cell->addr + WORLD_TRAILER;
}

/* Blocks of class `through` that are reached from those in `reached` become reached. */
static void spread(struct reference *reference, uint8_t through)
{
    for (bool again = true; again;) {
        again = false;
        for (size_t i = 0; i < reference->nr_edges; i++) {
            const struct edge *edge = &reference->edges[i];
            if (edge->from == (uint32_t)ROOT || !reference->reached[edge->from] ||
                reference->reached[edge->to] || reference->classes[edge->to] != through)
                continue;
            if (reference->classes[edge->from] == HEAP_CLASS_CELL && !in_stage(reference, edge))
                continue;
            reference->reached[edge->to] = again = true;
        }
    }
}

static void clear(struct reference *reference)
{
    memset(reference->reached, 0, reference->world->blocks.nr * sizeof(bool));
}

/* All that is reached and of class `from` becomes of class `to`. */
static void put(struct reference *reference, uint8_t from, uint8_t to)
{
    for (size_t i = 0; i < reference->world->blocks.nr; i++)
        if (reference->reached[i] && reference->classes[i] == from)
            reference->classes[i] = to;
}

/* A task gives up a count of this block. */
static void ref_count(struct reference *reference, uint32_t block, uint32_t task)
{
    uint8_t *class = &reference->classes[block];
    uint32_t *counter = &reference->counter[block];
    if (*class != HEAP_CLASS_UNKNOWN && *class != HEAP_CLASS_SHARED)
        return;
    *class = HEAP_CLASS_SHARED;
    *counter = !*counter || *counter == task + 1 ? task + 1 : UINT32_MAX;
}

static void ref_known(struct reference *reference)
{
    const struct world *world = reference->world;
    for (size_t i = 0; i < world->blocks.nr; i++)
        if (world->drops.holder[i]) {
            reference->classes[i] = HEAP_CLASS_HELD;
            reference->tasks[i] = world->drops.holder[i];
        }
    for (uint32_t i = 0; i < world->cells.nr; i++) {
        uint32_t block = world_block_at(world, world->cells.rows[i].addr);
        if (world->cells.rows[i].is_copy)
            continue;
        reference->classes[block - 1] = HEAP_CLASS_CELL;
        reference->tasks[block - 1] = i + 1;
    }
    for (size_t i = 0; i < world->cells.nr_runtimes; i++) {
        uint32_t block = world_block_at(world, world->cells.runtimes[i].addr);
        if (block && reference->classes[block - 1] == HEAP_CLASS_UNKNOWN)
            reference->classes[block - 1] = HEAP_CLASS_RUNTIME;
    }
    for (size_t i = 0; i < world->drops.nr_shares; i++) {
        const struct drop_share *share = &world->drops.shares[i];
        const struct drop_shared *shared =
            share->shared ? &world->drops.shared[share->shared - 1] : NULL;
        ref_count(reference, share->block, share->task);
        for (uint32_t part = 0; shared && part < shared->nr_parts; part++)
            ref_count(reference, world->drops.parts[shared->first_part + part], share->task);
    }
}

static void ref_outside(struct reference *reference)
{
    clear(reference);
    for (size_t i = 0; i < reference->nr_edges; i++) {
        const struct edge *edge = &reference->edges[i];
        if (edge->from == (uint32_t)ROOT && reference->classes[edge->to] == HEAP_CLASS_UNKNOWN)
            reference->reached[edge->to] = true;
    }
    spread(reference, HEAP_CLASS_UNKNOWN);
    put(reference, HEAP_CLASS_UNKNOWN, HEAP_CLASS_OTHER);
}

/* Counted blocks of several tasks or that are seen from outside, and what only they reach. */
static void ref_shared(struct reference *reference)
{
    clear(reference);
    for (size_t i = 0; i < reference->world->blocks.nr; i++)
        reference->reached[i] =
            reference->classes[i] == HEAP_CLASS_SHARED && reference->counter[i] == UINT32_MAX;
    for (size_t i = 0; i < reference->nr_edges; i++) {
        const struct edge *edge = &reference->edges[i];
        bool outside =
            edge->from == (uint32_t)ROOT || reference->classes[edge->from] == HEAP_CLASS_OTHER;
        if (outside && reference->classes[edge->to] == HEAP_CLASS_SHARED)
            reference->reached[edge->to] = true;
    }
    /* Counted blocks of one task are reached as others are. */
    for (size_t i = 0; i < reference->world->blocks.nr; i++)
        if (reference->classes[i] == HEAP_CLASS_SHARED && !reference->reached[i])
            reference->classes[i] = HEAP_CLASS_UNKNOWN;
    spread(reference, HEAP_CLASS_UNKNOWN);
    put(reference, HEAP_CLASS_UNKNOWN, HEAP_CLASS_SHARED);
}

static void ref_from_tasks(struct reference *reference)
{
    const size_t nr = reference->world->blocks.nr;
    uint32_t *owner = calloc(nr, sizeof(*owner));
    for (uint32_t task = 1; task <= reference->world->cells.nr; task++) {
        clear(reference);
        for (size_t i = 0; i < nr; i++) {
            uint8_t class = reference->classes[i];
            bool holds = class == HEAP_CLASS_CELL || class == HEAP_CLASS_HELD;
            reference->reached[i] = (holds && reference->tasks[i] == task) ||
                                    (class == HEAP_CLASS_UNKNOWN && reference->counter[i] == task);
        }
        spread(reference, HEAP_CLASS_UNKNOWN);
        for (size_t i = 0; i < nr; i++)
            if (reference->reached[i] && reference->classes[i] == HEAP_CLASS_UNKNOWN)
                owner[i] = owner[i] ? UINT32_MAX : task;
    }
    for (size_t i = 0; i < nr; i++) {
        if (!owner[i])
            continue;
        reference->classes[i] = owner[i] == UINT32_MAX ? HEAP_CLASS_SHARED : HEAP_CLASS_MAYBE_HELD;
        if (owner[i] != UINT32_MAX)
            reference->tasks[i] = owner[i];
    }
    free(owner);
}

static void ref_runtime_rest(struct reference *reference)
{
    for (size_t i = 0; i < reference->world->blocks.nr; i++)
        reference->reached[i] = reference->classes[i] == HEAP_CLASS_RUNTIME;
    spread(reference, HEAP_CLASS_UNKNOWN);
    put(reference, HEAP_CLASS_UNKNOWN, HEAP_CLASS_RUNTIME);
}

static void reference_make(struct reference *reference, struct world *world)
{
    const size_t nr = world->blocks.nr;
    *reference = (struct reference){.world = world,
                                    .classes = calloc(nr, 1),
                                    .tasks = calloc(nr, sizeof(uint32_t)),
                                    .counter = calloc(nr, sizeof(uint32_t)),
                                    .reached = calloc(nr, sizeof(bool))};
    find_edges(reference);
    ref_known(reference);
    ref_outside(reference);
    ref_shared(reference);
    ref_from_tasks(reference);
    ref_runtime_rest(reference);
}

static void reference_free(struct reference *reference)
{
    free(reference->edges);
    free(reference->classes);
    free(reference->tasks);
    free(reference->counter);
    free(reference->reached);
}

/* --- comparing ------------------------------------------------------------------------------- */

static void compare_blocks(const struct reference *reference, const struct heap_classes *classes,
                           uint64_t seed)
{
    uint64_t bytes[NR_HEAP_CLASSES] = {0}, nr[NR_HEAP_CLASSES] = {0}, all_bytes = 0, all = 0;
    const struct heap_blocks *blocks = &reference->world->blocks;
    for (size_t i = 0; i < blocks->nr; i++) {
        if (classes->classes[i] != reference->classes[i] ||
            classes->tasks[i] != reference->tasks[i])
            fail_msg("seed %llu, block %zu: class %u of task %u, not %u of %u",
                     (unsigned long long)seed, i, classes->classes[i], classes->tasks[i],
                     reference->classes[i], reference->tasks[i]);
        bytes[reference->classes[i]] += blocks->rows[i].size_bytes;
        nr[reference->classes[i]]++;
    }
    for (size_t c = 0; c < NR_HEAP_CLASSES; c++) {
        assert_int_equal(classes->bytes[c], bytes[c]);
        assert_int_equal(classes->nr_blocks[c], nr[c]);
        all_bytes += classes->bytes[c];
        all += classes->nr_blocks[c];
    }
    assert_int_equal(all_bytes, blocks->live_bytes);
    assert_int_equal(all, blocks->nr);
}

static bool keeps(const struct reference *reference, const struct edge *edge)
{
    if (edge->from == (uint32_t)ROOT)
        return true;
    if (reference->classes[edge->from] == HEAP_CLASS_RUNTIME)
        return false;
    if (reference->classes[edge->from] != HEAP_CLASS_CELL || in_stage(reference, edge))
        return true;
    uint64_t offset =
        edge->addr - reference->world->cells.rows[reference->tasks[edge->from] - 1].addr;
    return offset >= WORLD_TRAILER && offset != WORLD_PREV && offset != WORLD_NEXT;
}

static int edge_order(const void *a, const void *b)
{
    const struct edge *x = a, *y = b;
    return (x->addr > y->addr) - (x->addr < y->addr);
}

static void compare_keepers(struct reference *reference, const struct heap_classes *classes,
                            uint64_t seed)
{
    size_t next = 0;
    if (reference->nr_edges)
        qsort(reference->edges, reference->nr_edges, sizeof(*reference->edges), edge_order);
    for (uint32_t task = 0; task < reference->world->cells.nr; task++) {
        const struct task_cell *cell = &reference->world->cells.rows[task];
        if (cell->is_copy || !(cell->state & TOKIO_COMPLETE))
            continue;
        size_t kept = 0;
        uint64_t last = UINT64_MAX;
        for (size_t i = 0; i < reference->nr_edges && kept < MAX_KEPT; i++) {
            const struct edge *edge = &reference->edges[i];
            if (edge->value != cell->addr || !keeps(reference, edge) || edge->addr == last)
                continue;
            if (next >= classes->nr_keepers || classes->keepers[next].task != task ||
                classes->keepers[next].addr != edge->addr ||
                classes->keepers[next].block != edge->from + 1)
                fail_msg("seed %llu: the word at %llx keeps task %u", (unsigned long long)seed,
                         (unsigned long long)edge->addr, task);
            last = edge->addr;
            kept++, next++;
        }
    }
    assert_int_equal(next, classes->nr_keepers);
}

static void check(struct world *world, uint64_t seed)
{
    struct reference reference;
    struct heap_classes classes;
    reference_make(&reference, world);
    heap_classes_read(&classes, &world->target, &world->drops);
    compare_blocks(&reference, &classes, seed);
    compare_keepers(&reference, &classes, seed);
    heap_classes_deinit(&classes);
    reference_free(&reference);
}

/* --- tests ----------------------------------------------------------------------------------- */

static void agrees_on_small_heaps(void **state)
{
    (void)state;
    uint64_t seen[NR_HEAP_CLASSES] = {0}, nr_keepers = 0;
    for (uint64_t seed = 1; seed <= NR_WORLDS; seed++) {
        struct world world;
        uint64_t random = seed * 0x9e3779b97f4a7c15;
        world_random(&world, &random, 1 + random_below(&random, 40));
        check(&world, seed);
        struct heap_classes classes;
        heap_classes_read(&classes, &world.target, &world.drops);
        for (size_t c = 0; c < NR_HEAP_CLASSES; c++)
            seen[c] += classes.nr_blocks[c];
        nr_keepers += classes.nr_keepers;
        heap_classes_deinit(&classes);
        world_free(&world);
    }
    /* The heaps have some of all. */
    for (size_t c = 0; c < NR_HEAP_CLASSES; c++)
        assert_true(seen[c] > NR_WORLDS / 4);
    assert_true(nr_keepers > NR_WORLDS / 4);
}

/* Enough for several threads. */
static void agrees_on_big_heaps(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= NR_BIG_WORLDS; seed++) {
        struct world world;
        uint64_t random = seed * 0x9e3779b97f4a7c15;
        world_random(&world, &random, BIG_BLOCKS);
        check(&world, seed);
        world_free(&world);
    }
}

static void takes_no_blocks(void **state)
{
    (void)state;
    struct world world;
    struct heap_classes classes;
    uint64_t random = 1;
    world_random(&world, &random, 0);
    heap_classes_read(&classes, &world.target, &world.drops);
    for (size_t c = 0; c < NR_HEAP_CLASSES; c++)
        assert_int_equal(classes.nr_blocks[c], 0);
    heap_classes_deinit(&classes);
    heap_classes_deinit(&classes);
    world_free(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_on_small_heaps),
        cmocka_unit_test(agrees_on_big_heaps),
        cmocka_unit_test(takes_no_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
