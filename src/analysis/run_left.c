/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "analysis/run_left.h"

#include "analysis/run_sum.h"
#include "base/map.h"

static uint32_t kind_of(const struct run *run, uint32_t type)
{
    return type ? run_types(run, NULL)[type - 1].kind : (uint32_t)RUN_KIND_UNKNOWN;
}

static void add(struct run_left_sum *sum, const struct run_left *left)
{
    run_sum_add(&sum->live_bytes, left->live_bytes);
    run_sum_add(&sum->live_blocks, left->live_blocks);
}

static bool is_selected(const struct run_selection *selection, const struct run_left *left)
{
    return selection->is_all || (left->type && selection->types[left->type - 1]) ||
           (left->site && selection->sites[left->site - 1]);
}

static int more_left(const void *a, const void *b)
{
    const struct run_left_group *one = a, *other = b;
    if (one->live_bytes != other->live_bytes)
        return one->live_bytes > other->live_bytes ? -1 : 1;
    if (one->type != other->type)
        return one->type < other->type ? -1 : 1;
    return one->group < other->group ? -1 : one->group > other->group;
}

/* Rows of one type and group become one. */
struct grouping {
    struct run_lefts *lefts;
    struct map map;
    uint64_t *biggest; /* of each group: bytes at its biggest site */
};

static void add_row(struct grouping *grouping, uint32_t group, const struct run *run,
                    const struct run_left *left)
{
    bool is_new;
    struct run_lefts *lefts = grouping->lefts;
    uint32_t *at = map_put(&grouping->map, (uint64_t)left->type << 32 | group, &is_new);
    if (is_new) {
        *at = (uint32_t)lefts->nr;
        lefts->rows[lefts->nr++] = (struct run_left_group){
            .type = left->type, .group = group, .kind = kind_of(run, left->type)};
    }
    struct run_left_group *row = &lefts->rows[*at];
    run_sum_add(&row->live_bytes, left->live_bytes);
    run_sum_add(&row->live_blocks, left->live_blocks);
    if (left->live_bytes >= grouping->biggest[*at]) {
        grouping->biggest[*at] = left->live_bytes;
        row->biggest_site = left->site;
    }
}

void run_lefts_init(struct run_lefts *lefts, const struct run *run,
                    const struct run_selection *selection, const struct run_site_groups *groups)
{
    size_t nr;
    const struct run_left *rows = run_lefts(run, &nr);
    *lefts = (struct run_lefts){.rows = memory_alloc((nr + 1) * sizeof(*lefts->rows))};
    struct grouping grouping = {.lefts = lefts,
                                .biggest = memory_alloc((nr + 1) * sizeof(uint64_t))};
    map_init(&grouping.map);
    for (size_t i = 0; i < nr; i++) {
        if (!is_selected(selection, &rows[i]))
            continue;
        const uint32_t kind = kind_of(run, rows[i].type);
        add_row(&grouping, rows[i].site ? groups->of_site[rows[i].site - 1] : 0, run, &rows[i]);
        add(&lefts->sum, &rows[i]);
        add(&lefts->kinds[kind], &rows[i]);
        if (!rows[i].type || run_kind_is_thread(kind))
            add(&lefts->task_zero, &rows[i]);
    }
    map_deinit(&grouping.map);
    free(grouping.biggest);
    qsort(lefts->rows, lefts->nr, sizeof(*lefts->rows), more_left);
}

void run_lefts_deinit(struct run_lefts *lefts)
{
    free(lefts->rows);
}
