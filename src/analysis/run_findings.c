/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "analysis/run_findings.h"

#include "analysis/run_sum.h"

enum {
    FAT_BYTES = 4096,       /* of one cell */
    LEAST_TEMPORARY = 1000, /* fewer cost nobody anything */
    TEMPORARY_PART = 10,    /* of all allocations: 1 in so many at one place */
    LEFT_PART = 20,         /* of the highest point */
    GROWTH_PART = 10,       /* 1 in so many more than before */
    LEAST_GROWTH_BYTES = 65536,
    LEAST_STEPS = 8, /* fewer do not show how it went */
};

const char *const run_finding_names[NR_RUN_FINDINGS] = {
    [RUN_FINDING_GROWTH] = "growth",         [RUN_FINDING_LEFT] = "still_allocated",
    [RUN_FINDING_UNFINISHED] = "unfinished", [RUN_FINDING_DROPPED] = "dropped",
    [RUN_FINDING_KEPT] = "finished_kept",    [RUN_FINDING_FAT] = "fat_future",
    [RUN_FINDING_TEMPORARY] = "temporary",   [RUN_FINDING_SLOW] = "slow_polls",
};

static void add(struct run_findings *findings, struct run_finding finding)
{
    findings->rows[findings->nr++] = finding;
}

/* The type that had so much more at `to` than at `from`. */
static void find_grower(struct run_finding *finding, const struct run_parts *parts)
{
    size_t nr, nr_types;
    const struct run_step_type *rows = run_step_types(parts->run, &nr);
    run_types(parts->run, &nr_types);
    uint64_t *from = memory_alloc((nr_types + 1) * sizeof(*from));
    for (size_t i = 0; i < nr; i++)
        if (rows[i].step == finding->from)
            from[rows[i].type] = rows[i].live_bytes;
    for (size_t i = 0; i < nr; i++) {
        const uint64_t before = from[rows[i].type], after = rows[i].live_bytes;
        if (rows[i].step != finding->to || after <= before ||
            after - before <= finding->type_to_bytes - finding->type_from_bytes)
            continue;
        finding->type = rows[i].type;
        finding->type_from_bytes = before;
        finding->type_to_bytes = after;
    }
    free(from);
}

/*
 * From a quarter of the time, when a program has started, to the highest point of the last quarter: at the very
 * end much may have been freed.
 */
static void find_growth(struct run_findings *findings, const struct run_parts *parts)
{
    size_t nr, from = 0, to;
    const struct run_step *steps = run_steps(parts->run, &nr);
    if (nr < LEAST_STEPS)
        return;
    while (from + 1 < nr && steps[from].t_ns < steps[nr - 1].t_ns / 4)
        from++;
    to = nr - 1;
    for (size_t i = nr; i-- > from && steps[i].t_ns >= steps[nr - 1].t_ns / 4 * 3;)
        to = steps[i].live_bytes > steps[to].live_bytes ? i : to;
    const uint64_t before = steps[from].live_bytes, after = steps[to].live_bytes;
    if (after <= before || after - before < LEAST_GROWTH_BYTES ||
        after - before < before / GROWTH_PART)
        return;
    struct run_finding finding = {.kind = RUN_FINDING_GROWTH,
                                  .from = (uint32_t)from + 1,
                                  .to = (uint32_t)to + 1,
                                  .of_bytes = before,
                                  .bytes = after};
    find_grower(&finding, parts);
    add(findings, finding);
}

static void find_left(struct run_findings *findings, const struct run_parts *parts)
{
    const struct run_lefts *left = parts->left;
    const uint64_t least = run_facts(parts->run)->peak_bytes / LEFT_PART;
    for (size_t i = 0; i < left->nr && i < RUN_FINDINGS_OF_A_KIND; i++) {
        const struct run_left_group *row = &left->rows[i];
        if (!row->live_bytes || row->live_bytes < least)
            return;
        add(findings, (struct run_finding){.kind = RUN_FINDING_LEFT,
                                           .type = row->type,
                                           .group = row->group,
                                           .bytes = row->live_bytes,
                                           .count = row->live_blocks,
                                           .of_bytes = left->sum.live_bytes});
    }
}

/* One task alone that waits is how programs are built. */
static void find_unfinished(struct run_findings *findings, const struct run_parts *parts)
{
    const struct run_type *types = run_types(parts->run, NULL);
    unsigned nr = 0;
    for (size_t i = 0; i < parts->ends->nr_unfinished && nr < RUN_FINDINGS_OF_A_KIND; i++) {
        const struct run_unfinished *row = &parts->ends->unfinished[i];
        if (types[row->type - 1].kind != RUN_KIND_ASYNC || row->tasks < 2)
            continue;
        nr++;
        add(findings, (struct run_finding){.kind = RUN_FINDING_UNFINISHED,
                                           .type = row->type,
                                           .await = row->await,
                                           .at = (uint32_t)i,
                                           .bytes = row->held_bytes,
                                           .count = row->tasks});
    }
}

/* Of a program that ended, what had not ended was dropped. */
static void find_dropped(struct run_findings *findings, const struct run_parts *parts)
{
    const struct run_type *types = run_types(parts->run, NULL);
    for (size_t i = 0; i < parts->ends->nr_early; i++) {
        const struct run_ended_early *row = &parts->ends->early[i];
        if (types[row->type - 1].kind != RUN_KIND_ASYNC || row->end != RUN_END_DROPPED ||
            row->tasks < 2)
            continue;
        add(findings, (struct run_finding){.kind = RUN_FINDING_DROPPED,
                                           .type = row->type,
                                           .await = row->await,
                                           .count = row->tasks});
        return;
    }
}

static uint64_t times(uint64_t a, uint64_t b)
{
    uint64_t product;
    return __builtin_mul_overflow(a, b, &product) ? RUN_UNKNOWN - 1 : product;
}

static void find_kept(struct run_findings *findings, const struct run_parts *parts)
{
    size_t nr;
    const struct run_type *types = run_types(parts->run, &nr);
    struct run_finding best = {.kind = RUN_FINDING_KEPT};
    for (size_t i = 0; i < nr; i++) {
        const uint64_t kept = run_sum_less(types[i].live_cells, types[i].live_tasks);
        if (run_kind_is_thread(types[i].kind) || types[i].cell_bytes == RUN_UNKNOWN || kept < 2)
            continue;
        if (times(kept, types[i].cell_bytes) > best.bytes) {
            best.bytes = times(kept, types[i].cell_bytes);
            best.count = kept;
            best.type = (uint32_t)i + 1;
        }
    }
    if (best.type)
        add(findings, best);
}

static void find_fat(struct run_findings *findings, const struct run_parts *parts)
{
    size_t nr;
    const struct run_type *types = run_types(parts->run, &nr);
    struct run_finding best = {.kind = RUN_FINDING_FAT};
    for (size_t i = 0; i < nr; i++) {
        const uint64_t each = run_type_each_bytes(&types[i]);
        if (types[i].kind != RUN_KIND_ASYNC || each == RUN_UNKNOWN || each < FAT_BYTES)
            continue;
        if (!best.type || times(each, types[i].most_at_once) > times(best.bytes, best.count)) {
            best.type = (uint32_t)i + 1;
            best.bytes = each;
            best.count = types[i].most_at_once;
        }
    }
    if (best.type)
        add(findings, best);
}

static void find_temporary(struct run_findings *findings, const struct run_parts *parts)
{
    const struct run_site_groups *sites = parts->sites;
    if (!sites->nr)
        return;
    const uint32_t at = sites->by_temporary[0];
    const struct run_site_group *group = &sites->rows[at];
    const uint64_t all = run_facts(parts->run)->allocations;
    if (group->temporary < LEAST_TEMPORARY || group->temporary < all / TEMPORARY_PART ||
        !group->outside.place)
        return;
    add(findings, (struct run_finding){.kind = RUN_FINDING_TEMPORARY,
                                       .group = at + 1,
                                       .count = group->temporary,
                                       .of_count = all});
}

static void find_slow(struct run_findings *findings, const struct run_parts *parts)
{
    size_t nr;
    const struct run_type *types = run_types(parts->run, &nr);
    struct run_finding best = {.kind = RUN_FINDING_SLOW};
    for (size_t i = 0; i < nr; i++)
        if (types[i].kind == RUN_KIND_ASYNC && types[i].slow_polls &&
            types[i].longest_poll_ns > best.ns) {
            best.type = (uint32_t)i + 1;
            best.ns = types[i].longest_poll_ns;
            best.count = types[i].slow_polls;
        }
    if (best.type)
        add(findings, best);
}

void run_findings_init(struct run_findings *findings, const struct run_parts *parts)
{
    findings->nr = 0;
    find_growth(findings, parts);
    find_left(findings, parts);
    find_unfinished(findings, parts);
    find_dropped(findings, parts);
    find_kept(findings, parts);
    find_fat(findings, parts);
    find_temporary(findings, parts);
    find_slow(findings, parts);
}
