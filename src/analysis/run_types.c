/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "analysis/run_types.h"

#include "analysis/run_left.h"
#include "analysis/run_sum.h"

/* --- types ----------------------------------------------------------------------------------- */

struct by_peak {
    const uint64_t *peaks;
    const struct run_type *types;
};

static uint64_t whole_peak(const struct by_peak *by, uint32_t at)
{
    const uint64_t each = run_type_each_bytes(&by->types[at]);
    uint64_t peak = by->peaks[at], futures;
    if (each == RUN_UNKNOWN || __builtin_mul_overflow(each, by->types[at].most_at_once, &futures))
        return peak;
    run_sum_add(&peak, futures);
    return peak;
}

static int more_at_peak(const void *a, const void *b, void *context)
{
    const struct by_peak *by = context;
    const uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
    const uint64_t a_bytes = whole_peak(by, i), b_bytes = whole_peak(by, j);
    if (a_bytes != b_bytes)
        return a_bytes > b_bytes ? -1 : 1;
    return run_order_by(by->types[i].allocated_bytes, by->types[j].allocated_bytes, i, j);
}

/* No row of a task has those of root futures, workers and threads: but their places at the highest point. */
static void add_site_peaks(const struct run *run, uint64_t *peaks)
{
    size_t nr, nr_types;
    const struct run_site *sites = run_sites(run, &nr);
    const struct run_type *types = run_types(run, &nr_types);
    uint64_t *sums = memory_alloc((nr_types + 1) * sizeof(*sums));
    for (size_t i = 0; i < nr; i++)
        if (sites[i].type && sites[i].peak_bytes != RUN_UNKNOWN &&
            types[sites[i].type - 1].peak_bytes_max == RUN_UNKNOWN)
            run_sum_add(&sums[sites[i].type - 1], sites[i].peak_bytes);
    for (size_t i = 0; i < nr_types; i++)
        peaks[i] = sums[i] > peaks[i] ? sums[i] : peaks[i];
    free(sums);
}

static uint64_t *find_peaks(const struct run *run)
{
    size_t nr, nr_steps;
    const struct run_type *types = run_types(run, &nr);
    const struct run_step_type *steps = run_step_types(run, &nr_steps);
    uint64_t *peaks = memory_alloc((nr + 1) * sizeof(*peaks));
    for (size_t i = 0; i < nr; i++)
        peaks[i] =
            types[i].peak_bytes_max == RUN_UNKNOWN || types[i].live_bytes > types[i].peak_bytes_max
                ? types[i].live_bytes
                : types[i].peak_bytes_max;
    for (size_t i = 0; i < nr_steps; i++) {
        uint64_t *peak = steps[i].type ? &peaks[steps[i].type - 1] : NULL;
        if (peak && steps[i].live_bytes > *peak)
            *peak = steps[i].live_bytes;
    }
    add_site_peaks(run, peaks);
    return peaks;
}

/* Leaves only what is selected; how many that is. */
static size_t keep(uint32_t *order, size_t nr, const bool *selected)
{
    size_t kept = 0;
    for (size_t i = 0; i < nr; i++)
        if (selected[order[i]])
            order[kept++] = order[i];
    return kept;
}

/* --- tasks ----------------------------------------------------------------------------------- */

static uint64_t bytes_of(const struct run_task *task)
{
    uint64_t bytes = task->live_bytes;
    run_sum_add(&bytes, task->is_thread || task->cell_bytes == RUN_UNKNOWN ? 0 : task->cell_bytes);
    return bytes;
}

static int more_now(const void *a, const void *b, void *context)
{
    const struct run_task *tasks = context;
    const uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
    if (bytes_of(&tasks[i]) != bytes_of(&tasks[j]))
        return bytes_of(&tasks[i]) > bytes_of(&tasks[j]) ? -1 : 1;
    return run_order_by(tasks[i].peak_bytes, tasks[j].peak_bytes, i, j);
}

static void order_tasks(struct run_types_order *order, const struct run *run,
                        const struct run_selection *selection)
{
    size_t nr;
    struct run_task *tasks = run_tasks(run, &nr);
    uint32_t *all = run_order(nr, more_now, tasks);
    const size_t kept = keep(all, nr, selection->tasks);
    order->tasks = memory_alloc((kept + 1) * sizeof(*order->tasks));
    order->threads = memory_alloc((kept + 1) * sizeof(*order->threads));
    for (size_t i = 0; i < kept; i++)
        if (tasks[all[i]].is_thread)
            order->threads[order->nr_threads++] = all[i];
        else
            order->tasks[order->nr_tasks++] = all[i];
    free(all);
}

/* --- what was folded ------------------------------------------------------------------------- */

static void find_folded(struct run_folded *folded, const struct run *run)
{
    size_t nr_types, nr_tasks;
    const struct run_type *types = run_types(run, &nr_types);
    const struct run_task *tasks = run_tasks(run, &nr_tasks);
    for (size_t i = 0; i < nr_types; i++) {
        run_sum_add(&folded->tasks, run_kind_has_tasks(types[i].kind) ? types[i].tasks : 0);
        run_sum_add(&folded->polls, types[i].polls);
        run_sum_add(&folded->allocations, types[i].allocations);
        run_sum_add(&folded->allocated_bytes, types[i].allocated_bytes);
        run_sum_add(&folded->frees, types[i].frees);
        run_sum_add(&folded->freed_bytes, types[i].freed_bytes);
    }
    for (size_t i = 0; i < nr_tasks; i++) {
        folded->tasks = run_sum_less(folded->tasks, !tasks[i].is_thread);
        folded->polls = run_sum_less(folded->polls, tasks[i].polls);
        folded->allocations = run_sum_less(folded->allocations, tasks[i].allocations);
        folded->allocated_bytes = run_sum_less(folded->allocated_bytes, tasks[i].allocated_bytes);
        folded->frees = run_sum_less(folded->frees, tasks[i].frees);
        folded->freed_bytes = run_sum_less(folded->freed_bytes, tasks[i].freed_bytes);
    }
}

void run_types_order_init(struct run_types_order *order, const struct run *run,
                          const struct run_selection *selection)
{
    size_t nr;
    *order = (struct run_types_order){.peaks = find_peaks(run)};
    struct by_peak by = {order->peaks, run_types(run, &nr)};
    order->types = run_order(nr, more_at_peak, &by);
    order->nr_types = keep(order->types, nr, selection->types);
    order_tasks(order, run, selection);
    find_folded(&order->folded, run);
}

void run_types_order_deinit(struct run_types_order *order)
{
    free(order->types);
    free(order->tasks);
    free(order->threads);
    free(order->peaks);
}
