/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Counted blocks that tasks own together, or with others, and what each of them alone owns. */
#include <stdlib.h>

#include "base/parallel.h"
#include "process/task_drops_part.h"

#define NO_SHARE UINT32_MAX
#define MAX_INSTRUCTIONS ((uint64_t)1 << 28) /* of all runs for shared blocks: a second or two */

/*
 * One task is run again with the block's count as if the task were its only owner: what that frees
 * beside the task's own blocks is the shared block and all that it alone owns.
 */
static void drop_shared(void *context, unsigned number, size_t shared)
{
    struct dropping *dropping = context;
    const struct task_drops *drops = dropping->drops;
    struct shared_parts *parts = &dropping->parts[shared];
    const struct drop_share *share = &drops->shares[parts->share];
    const struct task_cell *cell = &dropping->cells->rows[share->task];
    struct drop_run *run = &drop_worker_of(dropping, number)->run;
    uint64_t count = share->nr_refs;
    if (drops->shared[shared].is_alone) {
        parts->blocks = memory_alloc(sizeof(*parts->blocks));
        parts->blocks[parts->nr++] = share->block;
        return;
    }
    drop_cell_set_usual(run, &dropping->threads, cell);
    emulator_write(run->emulator, share->count_addr, &count, sizeof(count));
    drop_run_function(dropping, run, cell, dropping->deallocs[cell->kind]);
    parts->blocks = memory_alloc((run->nr_frees + 1) * sizeof(*parts->blocks));
    for (size_t i = 0; i < run->nr_frees; i++) {
        uint32_t block = heap_blocks_find(drops->blocks, run->frees[i].addr);
        if (block && !drops->holder[block - 1] && !dropping->is_cell[block - 1] &&
            block - 1 != drops->rows[share->task].cell_block)
            parts->blocks[parts->nr++] = block - 1;
    }
    drop_run_reset(run);
}

static bool is_runtimes(const struct dropping *dropping, uint32_t block)
{
    const struct heap_block *row = &dropping->drops->blocks->rows[block];
    for (size_t i = 0; i < dropping->cells->nr_runtimes; i++)
        if (dropping->cells->runtimes[i].addr - row->addr < row->size_bytes)
            return true;
    return false;
}

/* A row for each block that is shared; drop_share.shared. */
static void list_shared(struct dropping *dropping)
{
    struct task_drops *drops = dropping->drops;
    struct map known;
    map_init(&known);
    for (uint32_t i = 0; i < drops->nr_shares; i++) {
        struct drop_share *share = &drops->shares[i];
        bool is_new;
        uint32_t *row = map_put(&known, share->block, &is_new);
        if (is_new && !drops->holder[share->block] && !is_runtimes(dropping, share->block)) {
            drops->shared = array_reserve(drops->shared, &drops->shared_capacity,
                                          drops->nr_shared + 1, sizeof(*drops->shared));
            drops->shared[drops->nr_shared++] =
                (struct drop_shared){.block = share->block, .nr_owners = share->count};
            *row = (uint32_t)drops->nr_shared;
        }
        share->shared = *row;
    }
    map_deinit(&known);
}

static void take_parts(struct task_drops *drops, uint32_t shared, struct shared_parts *parts)
{
    struct drop_shared *row = &drops->shared[shared];
    row->first_part = (uint32_t)drops->nr_parts;
    for (uint32_t i = 0; i < parts->nr; i++) {
        if (drops->sharer[parts->blocks[i]])
            continue;
        drops->sharer[parts->blocks[i]] = shared + 1;
        APPEND(drops, parts, &parts->blocks[i], 1);
    }
    row->nr_parts = (uint32_t)drops->nr_parts - row->first_part;
    free(parts->blocks);
}

/* Of two owners of a block the better one to run again: exact, and with less to do, as others may share much. */
static bool is_better(const struct task_drops *drops, const struct drop_share *share,
                      const struct drop_share *than)
{
    const struct task_drop *task = &drops->rows[share->task], *other = &drops->rows[than->task];
    if (task->is_exact != other->is_exact)
        return task->is_exact;
    return task->nr_instructions < other->nr_instructions;
}

static void choose_owners(struct dropping *dropping)
{
    const struct task_drops *drops = dropping->drops;
    for (uint32_t i = 0; i < drops->nr_shared; i++)
        dropping->parts[i].share = NO_SHARE;
    for (uint32_t i = 0; i < drops->nr_shares; i++) {
        const uint32_t shared = drops->shares[i].shared;
        uint32_t *share = shared ? &dropping->parts[shared - 1].share : NULL;
        if (share &&
            (*share == NO_SHARE || is_better(drops, &drops->shares[i], &drops->shares[*share])))
            *share = i;
    }
}

struct cost {
    uint64_t nr_instructions;
    uint32_t shared; /* position */
};

static int cost_order(const void *a, const void *b)
{
    const struct cost *x = a, *y = b;
    if (x->nr_instructions != y->nr_instructions)
        return x->nr_instructions < y->nr_instructions ? -1 : 1;
    return x->shared < y->shared ? -1 : x->shared > y->shared;
}

/* A task that shares n blocks is run n times.  The cheap ones first, as long as it does not take too long. */
static void mark_costly(struct dropping *dropping)
{
    struct task_drops *drops = dropping->drops;
    struct cost *costs = memory_alloc((drops->nr_shared + 1) * sizeof(*costs));
    uint64_t sum = 0;
    for (uint32_t i = 0; i < drops->nr_shared; i++) {
        const uint32_t task = drops->shares[dropping->parts[i].share].task;
        costs[i] = (struct cost){drops->rows[task].nr_instructions, i};
    }
    qsort(costs, drops->nr_shared, sizeof(*costs), cost_order);
    for (size_t i = 0; i < drops->nr_shared; i++) {
        sum += costs[i].nr_instructions;
        drops->shared[costs[i].shared].is_alone = sum > MAX_INSTRUCTIONS;
    }
    free(costs);
}

void drop_shared_read(struct dropping *dropping)
{
    struct task_drops *drops = dropping->drops;
    list_shared(dropping);
    dropping->parts = memory_alloc((drops->nr_shared + 1) * sizeof(*dropping->parts));
    choose_owners(dropping);
    mark_costly(dropping);
    parallel_for(drops->nr_shared, drop_shared, dropping);
    for (uint32_t i = 0; i < drops->nr_shared; i++)
        take_parts(drops, i, &dropping->parts[i]);
    free(dropping->parts);
}
