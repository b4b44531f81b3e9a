/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Inside run_build: what is still allocated, from one walk over the live table.  A block counts for the task that
 * allocated it and for its site; what threads allocated outside of tasks is split by whose stack that is.
 *
 * With sampled stacks only blocks of the sample have a site: sites and lefts are estimates then, sums of weights, and
 * types and tasks are exact.
 */
#include <math.h>

#include "model/run_build_part.h"

/* Who allocated a block. */
static uint32_t type_of(struct run_building *build, const struct region_block *block, uint32_t site,
                        struct run_task **task)
{
    uint32_t id = block->task < build->nr_tasks ? build->tasks[block->task] : 0;
    *task = NULL;
    if (!id)
        return run_unknown_type(build);
    *task = &run_tasks(build->run, NULL)[id - 1];
    if (!(*task)->is_thread)
        return (*task)->type;
    const struct run_site *row = site ? &run_sites(build->run, NULL)[site - 1] : NULL;
    bool is_outside = row && (row->kind == RUN_KIND_ROOT || row->kind == RUN_KIND_WORKER) &&
                      build->owners[row->node].kind == row->kind;
    return is_outside ? row->type : run_thread_type(build);
}

static void add_left(struct run_building *build, uint32_t type, uint32_t site, uint64_t blocks,
                     uint64_t bytes)
{
    bool is_new;
    uint32_t *id = map_put(&build->lefts, (uint64_t)type << 32 | site, &is_new);
    if (is_new) {
        const struct run_left left = {.type = type, .site = site};
        *id = run_add(build->run, RUN_LEFTS, &left);
    }
    struct run_left *left = &run_lefts(build->run, NULL)[*id - 1];
    left->live_blocks += blocks;
    left->live_bytes += bytes;
}

/* How many blocks like this one a sampled one stands for: as the tracer weighs it (tracer/account.c). */
static long double weight_of(const struct run_facts *facts, uint64_t bytes)
{
    if (facts->stacks != RUN_STACKS_SAMPLED || !facts->sample_bytes)
        return 1;
    long double share = -expm1l(-(long double)bytes / facts->sample_bytes);
    return share > 0 ? 1 / share : 0;
}

static void add_block(struct run_building *build, const struct region_block *block)
{
    struct run_task *task;
    const struct run_facts *facts = run_facts(build->run);
    bool is_sampled = facts->stacks == RUN_STACKS_SAMPLED;
    uint32_t site = run_site_id(build, block->site);
    if (!site && !is_sampled)
        site = run_unknown_site(build);
    uint32_t type = type_of(build, block, site, &task);
    struct run_type *row = &run_types(build->run, NULL)[type - 1];
    row->live_blocks++;
    row->live_bytes += block->bytes;
    if (task) {
        task->live_blocks++;
        task->live_bytes += block->bytes;
    }
    if (!site)
        return;
    long double weight = weight_of(run_facts(build->run), block->bytes);
    uint64_t blocks = weight == 1 ? 1 : (uint64_t)(weight + 0.5L);
    uint64_t bytes = weight == 1 ? block->bytes : (uint64_t)(weight * block->bytes + 0.5L);
    struct run_site *at = &run_sites(build->run, NULL)[site - 1];
    at->live_blocks += blocks;
    at->live_bytes += bytes;
    add_left(build, type, site, blocks, bytes);
}

void run_live_add(struct run_building *build)
{
    struct region_block_walk walk;
    struct region_block block;
    region_blocks_begin(&walk, build->region);
    while (region_blocks_next(&walk, &block))
        add_block(build, &block);
    region_blocks_end(&walk);
}
