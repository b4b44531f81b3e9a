/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "analysis/run_timeline.h"

#include "analysis/run_sum.h"

static size_t column_of(const struct run_timeline *timeline, uint64_t t_ns)
{
    if (!timeline->end_ns)
        return 0;
    return (size_t)((unsigned __int128)t_ns * (timeline->nr - 1) / timeline->end_ns);
}

static void add_step(struct run_column *column, const struct run_step *step, uint32_t id)
{
    if (!column->step || step->live_bytes > column->live_bytes) {
        column->live_bytes = step->live_bytes;
        column->step = id;
    }
    if (step->rss_bytes != RUN_UNKNOWN && step->rss_bytes > column->rss_bytes)
        column->rss_bytes = step->rss_bytes;
    if (step->live_tasks > column->live_tasks)
        column->live_tasks = step->live_tasks;
}

/* Behind the last step of a column what it had goes on, as the last step said. */
static void fill_gaps(struct run_timeline *timeline, const struct run *run)
{
    size_t nr_steps, at = 0;
    const struct run_step *steps = run_steps(run, &nr_steps);
    for (size_t i = 0; i < timeline->nr; i++) {
        while (at < nr_steps && column_of(timeline, steps[at].t_ns) <= i)
            at++;
        if (!timeline->columns[i].step && at)
            timeline->columns[i] = (struct run_column){
                steps[at - 1].live_bytes, steps[at - 1].rss_bytes, steps[at - 1].live_tasks, 0};
    }
}

void run_timeline_init(struct run_timeline *timeline, const struct run *run, size_t nr_columns)
{
    size_t nr_steps;
    const struct run_step *steps = run_steps(run, &nr_steps);
    *timeline = (struct run_timeline){
        .columns = memory_alloc((nr_columns + 1) * sizeof(*timeline->columns)), .nr = nr_columns};
    for (size_t i = 0; i < nr_steps; i++)
        if (steps[i].t_ns > timeline->end_ns)
            timeline->end_ns = steps[i].t_ns;
    for (size_t i = 0; i < nr_steps; i++) {
        const uint32_t id = (uint32_t)i + 1;
        add_step(&timeline->columns[column_of(timeline, steps[i].t_ns)], &steps[i], id);
        if (!timeline->most_bytes ||
            steps[i].live_bytes > steps[timeline->most_bytes - 1].live_bytes)
            timeline->most_bytes = id;
        if (!timeline->most_tasks ||
            steps[i].live_tasks > steps[timeline->most_tasks - 1].live_tasks)
            timeline->most_tasks = id;
    }
    fill_gaps(timeline, run);
}

void run_timeline_deinit(struct run_timeline *timeline)
{
    free(timeline->columns);
}

/* --- types of steps -------------------------------------------------------------------------- */

static int by_step(const void *a, const void *b, void *context)
{
    const struct run_step_type *rows = context;
    const uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
    if (rows[i].step != rows[j].step)
        return rows[i].step < rows[j].step ? -1 : 1;
    return run_order_by(rows[i].live_bytes, rows[j].live_bytes, i, j);
}

void run_step_tops_init(struct run_step_tops *tops, const struct run *run)
{
    size_t nr_steps;
    struct run_step_type *rows = run_step_types(run, &tops->nr);
    run_steps(run, &nr_steps);
    tops->order = run_order(tops->nr, by_step, rows);
    tops->first = memory_alloc((nr_steps + 1) * sizeof(*tops->first));
    for (size_t i = tops->nr; i-- > 0;)
        tops->first[rows[tops->order[i]].step] = (uint32_t)i + 1;
}

void run_step_tops_deinit(struct run_step_tops *tops)
{
    free(tops->first);
    free(tops->order);
}

const struct run_step_type *run_step_top(const struct run_step_tops *tops, const struct run *run,
                                         uint32_t step, size_t nr)
{
    const struct run_step_type *rows = run_step_types(run, NULL);
    const size_t at = tops->first[step] ? tops->first[step] - 1 + nr : tops->nr;
    return at < tops->nr && rows[tops->order[at]].step == step ? &rows[tops->order[at]] : NULL;
}
