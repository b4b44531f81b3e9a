/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "process/foreign_blocks.h"

#include <stdlib.h>
#include <string.h>

#include "process/drop_cell.h"
#include "process/heap_part.h"
#include "process/image_symbols.h"

enum { MAX_INSTRUCTIONS = 64 << 20 };

struct learning {
    struct heap_blocks *blocks;
    const struct task_cells *cells;
    struct drop_run run;
    struct drop_threads_table threads;
    struct foreign_allocator allocator;
    uint64_t *deallocs; /* by kind of cell */
    struct map known;   /* addresses */
};

static void take_symbol(void *context, const char *name, uint64_t addr, bool is_ifunc)
{
    static const struct {
        const char *name;
        enum heap_allocator kind;
    } known[] = {
        {"_rjem_malloc_usable_size", HEAP_JEMALLOC},
        {"_rjem_je_malloc_usable_size", HEAP_JEMALLOC},
        {"mi_usable_size", HEAP_MIMALLOC},
        {"mi_malloc_usable_size", HEAP_MIMALLOC},
    };
    struct foreign_allocator *allocator = context;
    for (size_t i = 0; !is_ifunc && i < sizeof(known) / sizeof(*known); i++)
        if (strcmp(name, known[i].name) == 0)
            *allocator = (struct foreign_allocator){known[i].kind, addr};
}

void foreign_allocator_find(struct foreign_allocator *allocator, const struct target *target)
{
    *allocator = (struct foreign_allocator){HEAP_UNKNOWN, 0};
    for (size_t i = 0; i < target->nr_images; i++)
        image_symbols_visit(&target->images[i], take_symbol, allocator);
}

static void add_block(struct learning *learning, uint64_t addr, uint64_t requested)
{
    bool is_new;
    struct heap_blocks *blocks = learning->blocks;
    uint64_t size = requested;
    if (heap_blocks_find(blocks, addr))
        return;
    map_put(&learning->known, addr, &is_new);
    if (!is_new)
        return;
    const uint64_t function = learning->allocator.usable_size;
    if (function && emulator_run(learning->run.emulator, function, &addr, 1, MAX_INSTRUCTIONS) ==
                        EMULATOR_RETURNED)
        size = learning->run.emulator->registers[RAX];
    if (!size || size == ~(uint64_t)0)
        return;
    blocks->rows =
        array_reserve(blocks->rows, &blocks->capacity, blocks->nr + 1, sizeof(*blocks->rows));
    blocks->rows[blocks->nr++] = (struct heap_block){addr, size};
}

static bool drops_cell(void *context, const struct task_cell *cell, uint64_t function,
                       bool is_usual)
{
    struct learning *learning = context;
    struct drop_run *run = &learning->run;
    (void)is_usual;
    drop_run_reset(run);
    drop_cell_set_usual(run, &learning->threads, cell);
    drop_cell_call(run, &learning->cells->kinds[cell->kind].layout, cell, function,
                   MAX_INSTRUCTIONS);
    for (size_t i = 0; i < run->nr_frees; i++)
        if (run->frees[i].addr == cell->addr)
            return true;
    return false;
}

static void learn(struct learning *learning, const struct task_cell *cell)
{
    struct drop_run *run = &learning->run;
    uint64_t *dealloc = &learning->deallocs[cell->kind];
    if (!drop_cell_can_run(cell))
        return;
    if (!*dealloc)
        *dealloc = drop_cell_find_dealloc(learning->cells, cell, drops_cell, learning);
    else
        drops_cell(learning, cell, *dealloc, false);
    for (size_t i = 0; *dealloc && i < run->nr_frees; i++)
        add_block(learning, run->frees[i].addr, run->frees[i].requested_bytes);
}

static int block_order(const void *a, const void *b)
{
    const struct heap_block *x = a, *y = b;
    return x->addr < y->addr ? -1 : x->addr > y->addr;
}

bool foreign_blocks_add(struct heap_blocks *blocks, const struct task_cells *cells)
{
    struct learning learning = {.blocks = blocks, .cells = cells};
    struct drop_functions functions;
    foreign_allocator_find(&learning.allocator, cells->target);
    drop_functions_find(&functions, cells->target);
    drop_run_init(&learning.run, cells->target, blocks, &functions);
    drop_threads_find(&learning.threads, cells);
    map_init(&learning.known);
    learning.deallocs = memory_alloc((cells->nr_kinds + 1) * sizeof(*learning.deallocs));
    const size_t nr_before = blocks->nr;
    for (size_t i = 0; functions.has_free && i < cells->nr; i++)
        learn(&learning, &cells->rows[i]);
    const bool is_usable = learning.allocator.usable_size != 0;
    drop_run_deinit(&learning.run);
    drop_functions_deinit(&functions);
    drop_threads_deinit(&learning.threads);
    map_deinit(&learning.known);
    free(learning.deallocs);
    if (blocks->nr == nr_before)
        return is_usable;
    qsort(blocks->rows, blocks->nr, sizeof(*blocks->rows), block_order);
    heap_index_deinit(blocks);
    heap_index_build(blocks);
    return is_usable;
}
