/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "recorder/sample.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "process/proc.h"

enum { TYPES_COST = 50 }; /* reading all rows takes at most one part in so many of the time */

void sampler_init(struct sampler *sampler, pid_t pid)
{
    memset(sampler, 0, sizeof(*sampler));
    sampler->pid = pid;
    sampler->looks_a_step = 1;
}

void sampler_deinit(struct sampler *sampler)
{
    for (size_t i = 0; i < sampler->nr_columns; i++)
        free(sampler->columns[i].values);
    free(sampler->type_bytes);
    sampler->nr_columns = 0;
    sampler->type_bytes = NULL;
}

/* --- one look ------------------------------------------------------------------------------------ */

/* What threads have not yet published counts, too. */
static uint64_t live_bytes(const struct region_view *view)
{
    int64_t live = (int64_t)__atomic_load_n(&view->header->live_bytes, __ATOMIC_RELAXED);
    uint32_t nr = region_nr_rows(view, REGION_THREADS);
    for (uint32_t id = 1; id < nr; id++) {
        const struct region_thread *thread = region_row(view, REGION_THREADS, id);
        if (thread)
            live += __atomic_load_n(&thread->unpublished, __ATOMIC_RELAXED);
    }
    return live > 0 ? (uint64_t)live : 0;
}

static uint64_t live_tasks(const struct region_view *view)
{
    uint64_t live = 0;
    uint32_t nr = region_nr_rows(view, REGION_TYPES);
    for (uint32_t id = REGION_TYPE_THREADS + 1; id < nr; id++) {
        const struct region_type *type = region_row(view, REGION_TYPES, id);
        if (type)
            live += __atomic_load_n(&type->live_tasks, __ATOMIC_RELAXED);
    }
    return live;
}

static uint64_t rss_bytes(struct sampler *sampler)
{
    unsigned long long pages = 0;
    struct text text;
    text_init(&text);
    if (proc_read(&text, "/proc/%d/statm", (int)sampler->pid) &&
        sscanf(text_str(&text), "%*u %llu", &pages) != 1)
        pages = 0; /* it has ended */
    if (proc_read(&text, "/proc/%d/status", (int)sampler->pid)) {
        uint64_t peak = (uint64_t)proc_status_number(text_str(&text), "VmHWM") << 10;
        if (peak > sampler->peak_rss_bytes)
            sampler->peak_rss_bytes = peak;
    }
    text_deinit(&text);
    return pages ? (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE) : RUN_UNKNOWN;
}

static void add_task(struct sampler *sampler, const struct region_task *task)
{
    if (task->kind != REGION_TASK_CELL && task->kind != REGION_TASK_THREAD)
        return;
    const bool is_thread = task->kind == REGION_TASK_THREAD;
    uint32_t type =
        is_thread ? REGION_TYPE_THREADS : __atomic_load_n(&task->type, __ATOMIC_RELAXED);
    int64_t live = (int64_t)(task->allocated_bytes - task->freed_bytes -
                             __atomic_load_n(&task->foreign_freed_bytes, __ATOMIC_RELAXED));
    if (type < sampler->nr_types && live > 0)
        sampler->type_bytes[type] += (uint64_t)live;
}

/* Live bytes of each type: of all that its tasks or threads allocated, also those that ended.  Only rows that were
 * ever written: the others would take memory. */
static void sum_types(struct sampler *sampler, const struct region_view *view)
{
    uint32_t nr_types = region_nr_rows(view, REGION_TYPES), nr = region_nr_rows(view, REGION_TASKS);
    uint64_t row_bytes = view->tables[REGION_TASKS].row_bytes, span[2];
    uint64_t first = region_row_offset(view, REGION_TASKS, 0, 0);
    uint64_t next = first + row_bytes, end = region_row_offset(view, REGION_TASKS, 0, nr);
    sampler->type_bytes = array_reserve(sampler->type_bytes, &sampler->types_capacity, nr_types,
                                        sizeof(*sampler->type_bytes));
    memset(sampler->type_bytes, 0, nr_types * sizeof(*sampler->type_bytes));
    sampler->nr_types = nr_types;
    while (region_data_span(view, next, end, span))
        for (next = first + (span[0] - first + row_bytes - 1) / row_bytes * row_bytes;
             next < span[1]; next += row_bytes) {
            const struct region_task *task =
                region_row(view, REGION_TASKS, (uint32_t)((next - first) / row_bytes));
            if (task)
                add_task(sampler, task);
        }
}

static void look_at_types(struct sampler *sampler, const struct region_view *view)
{
    uint64_t before = clock_ns(CLOCK_MONOTONIC);
    sampler->has_types = before >= sampler->types_next_ns;
    if (!sampler->has_types)
        return;
    sum_types(sampler, view);
    uint64_t after = clock_ns(CLOCK_MONOTONIC);
    sampler->types_next_ns = after + (after - before) * TYPES_COST;
}

/* --- columns ------------------------------------------------------------------------------------- */

/* A new one, or that of the smallest peak where it is smaller than `bytes`; else NULL. */
static struct sample_column *free_column(struct sampler *sampler, uint64_t bytes)
{
    struct sample_column *least = NULL;
    if (sampler->nr_columns < SAMPLE_MAX_COLUMNS) {
        least = &sampler->columns[sampler->nr_columns++];
        least->values = memory_alloc(SAMPLE_MAX_STEPS * sizeof(*least->values));
    } else {
        for (size_t i = 0; i < SAMPLE_MAX_COLUMNS; i++)
            if (!least || sampler->columns[i].peak_bytes < least->peak_bytes)
                least = &sampler->columns[i];
        if (least->peak_bytes >= bytes)
            return NULL;
    }
    for (size_t i = 0; i < SAMPLE_MAX_STEPS; i++)
        least->values[i] = RUN_UNKNOWN;
    least->peak_bytes = 0;
    return least;
}

/* The types' bytes of this look become those of the last step. */
static void keep_types(struct sampler *sampler)
{
    size_t step = sampler->nr_steps - 1;
    for (size_t i = 0; i < sampler->nr_columns; i++) {
        struct sample_column *column = &sampler->columns[i];
        bool is_known = sampler->has_types && column->type < sampler->nr_types;
        column->values[step] = is_known ? sampler->type_bytes[column->type] : RUN_UNKNOWN;
        if (is_known && column->values[step] > column->peak_bytes)
            column->peak_bytes = column->values[step];
        if (is_known)
            sampler->type_bytes[column->type] = 0; /* the rest have no column */
    }
    for (uint32_t type = REGION_TYPE_THREADS; sampler->has_types && type < sampler->nr_types;
         type++) {
        uint64_t bytes = sampler->type_bytes[type];
        struct sample_column *column = bytes ? free_column(sampler, bytes) : NULL;
        if (!column)
            continue;
        column->type = type;
        column->peak_bytes = column->values[step] = bytes;
    }
}

/* --- steps --------------------------------------------------------------------------------------- */

static void copy_step(struct sampler *sampler, size_t to, size_t from)
{
    sampler->steps[to] = sampler->steps[from];
    for (size_t i = 0; i < sampler->nr_columns; i++)
        sampler->columns[i].values[to] = sampler->columns[i].values[from];
}

static void halve(struct sampler *sampler)
{
    size_t nr = sampler->nr_steps / 2;
    for (size_t i = 0; i < nr; i++) {
        bool is_second = sampler->steps[2 * i + 1].live_bytes > sampler->steps[2 * i].live_bytes;
        copy_step(sampler, i, 2 * i + is_second);
    }
    for (size_t i = 0; i < sampler->nr_columns; i++)
        for (size_t step = nr; step < SAMPLE_MAX_STEPS; step++)
            sampler->columns[i].values[step] = RUN_UNKNOWN;
    sampler->nr_steps = nr;
    sampler->looks_a_step *= 2;
}

uint64_t sampler_look(struct sampler *sampler, const struct region_view *view, uint64_t now_ns)
{
    const struct run_step step = {now_ns, live_bytes(view), rss_bytes(sampler), live_tasks(view)};
    bool is_new = sampler->looks == 0 || sampler->looks == sampler->looks_a_step;
    if (is_new && sampler->nr_steps == SAMPLE_MAX_STEPS)
        halve(sampler);
    look_at_types(sampler, view);
    if (is_new) {
        sampler->nr_steps++;
        sampler->looks = 0;
    }
    sampler->looks++;
    struct run_step *last = &sampler->steps[sampler->nr_steps - 1];
    if (!is_new && step.live_bytes <= last->live_bytes)
        return step.live_bytes;
    *last = step;
    keep_types(sampler);
    return step.live_bytes;
}

/* --- what of it is shown ------------------------------------------------------------------------- */

static int compare_peaks(const void *left, const void *right)
{
    const struct sample_column *const *a = left, *const *b = right;
    if ((*a)->peak_bytes != (*b)->peak_bytes)
        return (*a)->peak_bytes < (*b)->peak_bytes ? 1 : -1;
    return ((*a)->type > (*b)->type) - ((*a)->type < (*b)->type);
}

struct run_build_step_type *sampler_step_types(const struct sampler *sampler, size_t *nr)
{
    const struct sample_column *order[SAMPLE_MAX_COLUMNS];
    for (size_t i = 0; i < sampler->nr_columns; i++)
        order[i] = &sampler->columns[i];
    qsort(order, sampler->nr_columns, sizeof(*order), compare_peaks);
    size_t nr_shown =
        sampler->nr_columns < SAMPLE_SHOWN_TYPES ? sampler->nr_columns : (size_t)SAMPLE_SHOWN_TYPES;
    struct run_build_step_type *rows =
        memory_alloc((sampler->nr_steps * nr_shown + 1) * sizeof(*rows));
    *nr = 0;
    for (size_t step = 0; step < sampler->nr_steps; step++)
        for (size_t i = 0; i < nr_shown; i++)
            if (order[i]->values[step] != RUN_UNKNOWN)
                rows[(*nr)++] = (struct run_build_step_type){(uint32_t)step + 1, order[i]->type,
                                                             order[i]->values[step]};
    return rows;
}
