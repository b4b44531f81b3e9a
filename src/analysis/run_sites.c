/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "analysis/run_sites.h"

#include <string.h>

#include "analysis/run_sum.h"
#include "base/map.h"

/* --- what makes two sites one ---------------------------------------------------------------- */

/* Equal strings may be stored twice, so the text counts. */
static uint64_t hash_frame(const struct run *run, const struct run_stack_frame *frame,
                           uint64_t seed)
{
    if (!frame->frame)
        return hash_u64(frame->place, seed + 1);
    const struct run_frame *row = &run_frames(run, NULL)[frame->frame - 1];
    const char *full = run_string(run, row->full);
    seed = hash_str(*full ? full : run_string(run, row->function), seed);
    return hash_u64(row->line, hash_str(run_string(run, row->file), seed));
}

/* The other crate's line counts only where nothing is the user's own. */
static uint64_t hash_group(const struct run *run, const struct run_site *site,
                           const struct run_stack *stack)
{
    if (!stack->outside.place)
        return hash_u64((uint64_t)site->type << 32 | site->kind, 3);
    if (!stack->own.place)
        return hash_frame(run, &stack->outside, 5);
    const uint64_t seed = hash_frame(run, &stack->own, 7);
    if (!stack->outside.frame)
        return hash_u64(stack->outside.place, seed);
    return hash_str(run_string(run, run_frames(run, NULL)[stack->outside.frame - 1].function),
                    seed);
}

/* --- sums ------------------------------------------------------------------------------------ */

static uint64_t root_of(double square)
{
    uint64_t root = 0;
    for (int bit = 62; bit >= 0; bit--) {
        const uint64_t tried = root | (uint64_t)1 << bit;
        if ((double)tried * (double)tried <= square)
            root = tried;
    }
    return root;
}

static void add_error(struct run_site_group *group, uint64_t error_bytes)
{
    const double a = (double)group->error_bytes, b = (double)error_bytes;
    if (error_bytes)
        group->error_bytes = group->error_bytes ? root_of(a * a + b * b) : error_bytes;
}

static void add_site(struct run_site_group *group, const struct run_site *site)
{
    if (!group->nr_stacks++) {
        group->type = site->type;
        group->kind = site->kind;
    }
    group->type = group->type == site->type ? site->type : 0;
    group->kind = group->kind == site->kind ? site->kind : (uint32_t)RUN_KIND_UNKNOWN;
    run_sum_add(&group->allocations, site->allocations);
    run_sum_add(&group->allocated_bytes, site->allocated_bytes);
    run_sum_add(&group->frees, site->frees);
    run_sum_add(&group->freed_bytes, site->freed_bytes);
    run_sum_add(&group->temporary, site->temporary);
    run_sum_add(&group->live_bytes, site->live_bytes);
    run_sum_add(&group->live_blocks, site->live_blocks);
    run_sum_add_known(&group->peak_bytes, site->peak_bytes);
    add_error(group, site->error_bytes);
}

/* --- orders ---------------------------------------------------------------------------------- */

static int more_allocated(const void *a, const void *b, void *context)
{
    const struct run_site_group *rows = context;
    const uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
    return run_order_by(rows[i].allocated_bytes, rows[j].allocated_bytes, i, j);
}

static int more_temporary(const void *a, const void *b, void *context)
{
    const struct run_site_group *rows = context;
    const uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
    return run_order_by(rows[i].temporary, rows[j].temporary, i, j);
}

/* --- all of it ------------------------------------------------------------------------------- */

/* Position of the site's group, a new one at the end. */
static uint32_t find_group(struct run_site_groups *groups, const struct run_stack_parts *code,
                           struct map *map, const struct run_site *site)
{
    struct run_stack stack;
    bool is_new;
    run_stack_ends(code, site->node, &stack);
    uint32_t *at = map_put(map, hash_group(code->run, site, &stack), &is_new);
    if (is_new) {
        *at = (uint32_t)groups->nr;
        groups->rows[groups->nr++] =
            (struct run_site_group){.own = stack.own, .outside = stack.outside};
    }
    return *at;
}

void run_site_groups_init(struct run_site_groups *groups, const struct run_stack_parts *code,
                          const struct run_selection *selection)
{
    size_t nr;
    struct map map;
    const struct run *run = code->run;
    const struct run_site *sites = run_sites(run, &nr);
    *groups = (struct run_site_groups){.rows = memory_alloc((nr + 1) * sizeof(*groups->rows)),
                                       .of_site = memory_alloc((nr + 1) * sizeof(uint32_t)),
                                       .is_sampled = run_facts(run)->stacks == RUN_STACKS_SAMPLED};
    map_init(&map);
    for (size_t i = 0; i < nr; i++) {
        if (!selection->sites[i])
            continue;
        const uint32_t at = find_group(groups, code, &map, &sites[i]);
        struct run_site_group *group = &groups->rows[at];
        if (!group->biggest || sites[group->biggest - 1].allocated_bytes < sites[i].allocated_bytes)
            group->biggest = (uint32_t)i + 1;
        add_site(group, &sites[i]);
        add_site(&groups->sum, &sites[i]);
        groups->of_site[i] = at + 1;
    }
    map_deinit(&map);
    groups->by_allocated = run_order(groups->nr, more_allocated, groups->rows);
    groups->by_temporary = run_order(groups->nr, more_temporary, groups->rows);
}

void run_site_groups_deinit(struct run_site_groups *groups)
{
    free(groups->rows);
    free(groups->of_site);
    free(groups->by_allocated);
    free(groups->by_temporary);
}
