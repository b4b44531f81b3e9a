/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The classes are given in this order, and each is a barrier for those after it: cells and what
 * tasks' ends free; the runtimes' own; what is reached from outside; counted blocks of several
 * owners and what only they reach; what is reached from tasks; what only runtimes reach; the rest.
 *
 * Until a block has its class, `tasks` has what is known of it: the one task that reaches it, or
 * MANY.  It only ever grows (none, a task, MANY), so that threads may work side by side and a block
 * is read twice at most.
 */
#include "process/heap_classes.h"

#include <stdlib.h>
#include <string.h>

#include "base/search.h"
#include "process/heap_keepers.h"
#include "process/heap_roots.h"
#include "process/runtime_blocks.h"

#define MANY UINT32_MAX
/* While they are at work, in `tasks` of a runtime's block: it is a buffer. */
#define IS_BUFFER 1u

struct classing {
    struct heap_classes *classes;
    const struct task_drops *drops;
    const struct task_cells *cells;
    const struct heap_blocks *blocks;
    struct heap_scan scan;
    struct heap_keepers keepers;
};

static uint8_t class_of(const struct classing *classing, uint32_t block)
{
    return __atomic_load_n(&classing->classes->classes[block], __ATOMIC_RELAXED);
}

/* True where this thread gave an unknown block its class. */
static bool put_class(const struct classing *classing, uint32_t block, enum heap_class class)
{
    uint8_t unknown = HEAP_CLASS_UNKNOWN;
    return __atomic_compare_exchange_n(&classing->classes->classes[block], &unknown,
                                       (uint8_t) class, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

static uint32_t label_of(const struct classing *classing, uint32_t block)
{
    return __atomic_load_n(&classing->classes->tasks[block], __ATOMIC_RELAXED);
}

/* True where the label grew. */
static bool put_label(const struct classing *classing, uint32_t block, uint32_t label)
{
    uint32_t *place = &classing->classes->tasks[block];
    uint32_t old = __atomic_load_n(place, __ATOMIC_RELAXED), new;
    do {
        if (!label || old == MANY || old == label)
            return false;
        new = old ? MANY : label;
    } while (
        !__atomic_compare_exchange_n(place, &old, new, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return true;
}

/* --- cells and what tasks hold ------------------------------------------------------------------- */

static void class_tasks(struct classing *classing)
{
    struct heap_classes *classes = classing->classes;
    const struct task_cells *cells = classing->cells;
    for (size_t i = 0; i < classing->blocks->nr; i++) {
        uint32_t holder = classing->drops->holder[i];
        if (!holder || holder > cells->nr)
            continue;
        classes->classes[i] = HEAP_CLASS_HELD;
        classes->tasks[i] = holder;
    }
    for (size_t i = 0; i < cells->nr; i++) {
        const struct task_cell *cell = &cells->rows[i];
        uint32_t block =
            cell->addr && !cell->is_copy ? heap_blocks_find(classing->blocks, cell->addr) : 0;
        if (!block || classes->classes[block - 1] == HEAP_CLASS_CELL)
            continue;
        classes->classes[block - 1] = HEAP_CLASS_CELL;
        classes->tasks[block - 1] = (uint32_t)i + 1;
    }
}

/* --- the runtimes' own --------------------------------------------------------------------------- */

static bool may_be_runtime(const void *context, uint32_t block)
{
    return class_of(context, block) == HEAP_CLASS_UNKNOWN;
}

static void class_runtimes(struct classing *classing)
{
    struct runtime_blocks found;
    runtime_blocks_read(&found, classing->cells, classing->blocks, may_be_runtime, classing);
    for (size_t i = 0; i < found.nr; i++) {
        put_class(classing, found.rows[i].block, HEAP_CLASS_RUNTIME);
        classing->classes->tasks[found.rows[i].block] = found.rows[i].is_buffer ? IS_BUFFER : 0;
    }
    runtime_blocks_deinit(&found);
}

/* --- counted blocks ------------------------------------------------------------------------------ */

static void class_share(struct classing *classing, uint32_t block, uint32_t task)
{
    uint8_t *class = &classing->classes->classes[block];
    if (*class != HEAP_CLASS_UNKNOWN && *class != HEAP_CLASS_SHARED)
        return;
    *class = HEAP_CLASS_SHARED;
    put_label(classing, block, task + 1);
}

/* What the end of a counted block alone frees goes with it. */
static void class_shares(struct classing *classing)
{
    const struct task_drops *drops = classing->drops;
    for (size_t i = 0; i < drops->nr_shares; i++) {
        const struct drop_share *share = &drops->shares[i];
        class_share(classing, share->block, share->task);
        const struct drop_shared *shared = share->shared ? &drops->shared[share->shared - 1] : NULL;
        for (uint32_t p = 0; shared && p < shared->nr_parts; p++)
            class_share(classing, drops->parts[shared->first_part + p], share->task);
    }
}

/* --- from outside -------------------------------------------------------------------------------- */

/*
 * Lists of free chunks have the addresses of chunk headers, which lie 16 bytes below a free block:
 * in the last word of the block before it.
 */
static bool is_chunk_link(const struct classing *classing, const struct heap_reference *reference)
{
    const struct heap_block *block = &classing->blocks->rows[reference->to];
    return !reference->from && classing->blocks->allocator == HEAP_GLIBC &&
           reference->value - block->addr + 8 >= block->size_bytes;
}

static void see_outside(void *context, const struct heap_reference *reference)
{
    struct classing *classing = context;
    if (is_chunk_link(classing, reference))
        return;
    switch (class_of(classing, reference->to)) {
    case HEAP_CLASS_CELL:
        heap_keepers_see(&classing->keepers, reference);
        break;
    case HEAP_CLASS_SHARED:
        put_label(classing, reference->to, MANY);
        break;
    case HEAP_CLASS_UNKNOWN:
        if (put_class(classing, reference->to, HEAP_CLASS_OTHER))
            heap_scan_add(&classing->scan, reference->to);
        break;
    default:
        break;
    }
}

static void class_others(struct classing *classing)
{
    heap_scan_tell(&classing->scan, see_outside, classing);
    heap_roots_read(&classing->scan);
    heap_scan_run(&classing->scan);
}

/* --- what several own together ------------------------------------------------------------------- */

static void see_shared(void *context, const struct heap_reference *reference)
{
    struct classing *classing = context;
    switch (class_of(classing, reference->to)) {
    case HEAP_CLASS_CELL:
        heap_keepers_see(&classing->keepers, reference);
        break;
    case HEAP_CLASS_UNKNOWN:
        put_class(classing, reference->to, HEAP_CLASS_SHARED);
        /* fall through */
    case HEAP_CLASS_SHARED:
        if (put_label(classing, reference->to, MANY))
            heap_scan_add(&classing->scan, reference->to);
        break;
    default:
        break;
    }
}

static void class_shared(struct classing *classing)
{
    const struct heap_classes *classes = classing->classes;
    heap_scan_tell(&classing->scan, see_shared, classing);
    for (size_t i = 0; i < classing->blocks->nr; i++)
        if (classes->classes[i] == HEAP_CLASS_SHARED && classes->tasks[i] == MANY)
            heap_scan_add(&classing->scan, (uint32_t)i);
    heap_scan_run(&classing->scan);
}

/* --- from tasks ---------------------------------------------------------------------------------- */

static void see_from_task(void *context, const struct heap_reference *reference)
{
    struct classing *classing = context;
    uint32_t from = reference->from - 1, label = label_of(classing, from);
    uint8_t class = class_of(classing, reference->to);
    if (class == HEAP_CLASS_CELL)
        heap_keepers_see(&classing->keepers, reference);
    if (class != HEAP_CLASS_UNKNOWN)
        return;
    /* The header and the trailer of a cell link to other cells only. */
    if (class_of(classing, from) == HEAP_CLASS_CELL &&
        !heap_cell_has(classing->cells, &classing->cells->rows[label - 1], reference->addr))
        return;
    if (put_label(classing, reference->to, label))
        heap_scan_add(&classing->scan, reference->to);
}

static void class_maybe_held(struct classing *classing)
{
    struct heap_classes *classes = classing->classes;
    heap_scan_tell(&classing->scan, see_from_task, classing);
    for (size_t i = 0; i < classing->blocks->nr; i++) {
        /* Only this one task is known to own it. */
        if (classes->classes[i] == HEAP_CLASS_SHARED && classes->tasks[i] != MANY)
            classes->classes[i] = HEAP_CLASS_UNKNOWN;
        if (classes->tasks[i] && classes->classes[i] != HEAP_CLASS_RUNTIME &&
            classes->classes[i] != HEAP_CLASS_SHARED)
            heap_scan_add(&classing->scan, (uint32_t)i);
    }
    heap_scan_run(&classing->scan);
    for (size_t i = 0; i < classing->blocks->nr; i++)
        if (classes->classes[i] == HEAP_CLASS_UNKNOWN && classes->tasks[i])
            classes->classes[i] =
                classes->tasks[i] == MANY ? HEAP_CLASS_SHARED : HEAP_CLASS_MAYBE_HELD;
}

/* --- the rest ------------------------------------------------------------------------------------ */

/* What a runtime's types did not tell: callbacks, names, tables. */
static void see_from_runtime(void *context, const struct heap_reference *reference)
{
    struct classing *classing = context;
    if (put_class(classing, reference->to, HEAP_CLASS_RUNTIME))
        heap_scan_add(&classing->scan, reference->to);
}

static void class_runtime_rest(struct classing *classing)
{
    const struct heap_classes *classes = classing->classes;
    heap_scan_tell(&classing->scan, see_from_runtime, classing);
    for (size_t i = 0; i < classing->blocks->nr; i++)
        if (classes->classes[i] == HEAP_CLASS_RUNTIME && classes->tasks[i] != IS_BUFFER)
            heap_scan_add(&classing->scan, (uint32_t)i);
    heap_scan_run(&classing->scan);
}

static void see_unknown(void *context, const struct heap_reference *reference)
{
    struct classing *classing = context;
    if (class_of(classing, reference->to) == HEAP_CLASS_CELL)
        heap_keepers_see(&classing->keepers, reference);
}

/* Nobody reached these: they have not been read. */
static void read_unknown(struct classing *classing)
{
    heap_scan_tell(&classing->scan, see_unknown, classing);
    for (size_t i = 0; i < classing->blocks->nr; i++)
        if (classing->classes->classes[i] == HEAP_CLASS_UNKNOWN)
            heap_scan_add(&classing->scan, (uint32_t)i);
    heap_scan_run(&classing->scan);
}

static void sum(struct heap_classes *classes, const struct heap_blocks *blocks)
{
    for (size_t i = 0; i < blocks->nr; i++) {
        const enum heap_class class = classes->classes[i];
        classes->bytes[class] += blocks->rows[i].size_bytes;
        classes->nr_blocks[class]++;
        if (class != HEAP_CLASS_CELL && class != HEAP_CLASS_HELD && class != HEAP_CLASS_MAYBE_HELD)
            classes->tasks[i] = 0;
    }
}

void heap_classes_read(struct heap_classes *classes, const struct target *target,
                       const struct task_drops *drops)
{
    const struct heap_blocks *blocks = drops->blocks;
    struct classing classing = {
        .classes = classes, .drops = drops, .cells = drops->cells, .blocks = blocks};
    *classes = (struct heap_classes){0};
    classes->classes = memory_alloc(blocks->nr * sizeof(*classes->classes));
    classes->tasks = memory_alloc(blocks->nr * sizeof(*classes->tasks));
    heap_scan_init(&classing.scan, target, blocks);
    heap_keepers_init(&classing.keepers, drops->cells, classes);
    class_tasks(&classing);
    class_runtimes(&classing);
    class_shares(&classing);
    class_others(&classing);
    class_shared(&classing);
    class_maybe_held(&classing);
    class_runtime_rest(&classing);
    if (heap_keepers_are_wanted(&classing.keepers))
        read_unknown(&classing);
    heap_keepers_finish(&classing.keepers, classes);
    heap_scan_deinit(&classing.scan);
    sum(classes, blocks);
}

void heap_classes_deinit(struct heap_classes *classes)
{
    free(classes->classes);
    free(classes->tasks);
    free(classes->keepers);
    *classes = (struct heap_classes){0};
}
