/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Inside run_build: rows of tasks, and what was folded.  Folded sums are read first: a task that is folded
 * meanwhile is then in neither, never in both.
 */
#include <stdlib.h>
#include <string.h>

#include "model/run_build_part.h"

/* --- folded tasks ---------------------------------------------------------------------------- */

static void raise(uint64_t *max, uint64_t value)
{
    if (value > *max)
        *max = value;
}

/* All blocks of folded tasks are freed; `sums` is of one stripe. */
static void add_folded(struct run_type *type, const struct region_type_sums *sums)
{
    type->tasks += sums->tasks;
    for (int i = 0; i < NR_RUN_ENDS; i++)
        type->ended[i] += sums->ended[i];
    type->polls += sums->polls;
    type->polls_cancel += sums->polls_cancel;
    type->slow_polls += sums->slow_polls;
    type->scheduled += sums->scheduled;
    type->poll_ns += sums->poll_ns;
    type->idle_ns += sums->lifetime_ns > sums->poll_ns ? sums->lifetime_ns - sums->poll_ns : 0;
    type->allocations += sums->allocations;
    type->allocated_bytes += sums->allocated_bytes;
    type->frees += sums->frees;
    type->freed_bytes += sums->freed_bytes;
    type->peak_bytes_sum += sums->peak_bytes_sum;
    raise(&type->longest_poll_ns, sums->longest_poll_ns);
    raise(&type->peak_bytes_max, sums->peak_bytes_max);
}

/*
 * A task is counted as folded in one add, its end in another: of a stripe that is just written, or of a
 * thread that was killed there, the ends are made to fit the number.
 */
static void fit_ends(struct run_type *type)
{
    uint64_t ended = 0;
    for (int i = 0; i < NR_RUN_ENDS; i++)
        ended += type->ended[i];
    if (ended > type->tasks)
        type->tasks = ended;
    type->ended[RUN_END_NOT] += type->tasks - ended;
}

static void add_all_folded(struct run_building *build, struct run_type *rows)
{
    struct run_row_walk walk;
    struct region_type_sums sums;
    for (uint32_t stripe = 0; stripe < REGION_STRIPES; stripe++) {
        run_row_walk_begin(&walk, build->region, REGION_TYPE_SUMS, stripe);
        for (uint32_t id; (id = run_row_walk_next(&walk, &sums)) && id < build->nr_types;)
            add_folded(id == 1 ? &build->threads : &rows[id], &sums);
    }
    for (uint32_t id = 2; id < build->nr_types; id++)
        fit_ends(&rows[id]);
    fit_ends(&build->threads);
}

/* --- rows ------------------------------------------------------------------------------------ */

/* Frees by others: what `hold` lacks. */
static uint64_t foreign_frees(const struct region_task *row)
{
    uint64_t live = row->allocations > row->frees ? row->allocations - row->frees : 0;
    int64_t hold = row->hold;
    if (hold > REGION_TASK_ENDED / 2) { /* what it still holds was added */
        uint64_t left = hold > REGION_TASK_ENDED ? (uint64_t)(hold - REGION_TASK_ENDED) : 0;
        return live > left ? live - left : 0;
    }
    uint64_t freed = hold < 0 ? 0 - (uint64_t)hold : 0;
    return freed < live ? freed : live;
}

static run_str thread_name(struct run_building *build, const struct region_task *row, uint32_t id)
{
    struct region_thread thread;
    char name[sizeof(thread.name) + 1] = "";
    if (!run_row_copy(build->region, REGION_THREADS, row->thread, &thread))
        return (run_str){0};
    if (row->kind == REGION_TASK_THREAD && thread.task != id)
        return (run_str){0}; /* another thread has its place by now */
    memcpy(name, thread.name, sizeof(thread.name));
    return run_intern(build, name);
}

static struct run_task make_task(struct run_building *build, const struct region_task *row,
                                 uint32_t id)
{
    uint64_t foreign = foreign_frees(row);
    return (struct run_task){
        .id = row->id,
        .runtime_task_id = row->runtime_task_id,
        .parent = row->parent_id,
        .type = row->type < build->nr_types ? row->type : 0,
        .end = row->end < NR_RUN_ENDS ? row->end : (uint32_t)RUN_END_NOT,
        .site = row->site,   /* of the region, until sites are there */
        .await = row->await, /* the same */
        .thread = thread_name(build, row, id),
        .is_thread = row->kind == REGION_TASK_THREAD,
        .spawned_ns = row->spawned_ns,
        .first_poll_ns = row->first_poll_ns,
        .last_poll_ns = row->last_poll_ns,
        .ended_ns = row->ended_ns,
        .polls = row->polls,
        .polls_cancel = row->polls_cancel,
        .slow_polls = row->slow_polls,
        .scheduled = row->scheduled,
        .poll_ns = row->poll_ns,
        .longest_poll_ns = row->longest_poll_ns,
        .allocations = row->allocations,
        .allocated_bytes = row->allocated_bytes,
        .frees = row->frees + foreign,
        .freed_bytes = row->freed_bytes + row->foreign_freed_bytes,
        .peak_bytes = row->peak_bytes,
        .cell_bytes = row->cell_bytes,
        .held_bytes = RUN_UNKNOWN,
    };
}

static void add_to_type(struct run_type *type, const struct run_task *task, uint64_t now_ns)
{
    uint64_t end_ns = task->end == RUN_END_NOT ? now_ns : task->ended_ns;
    uint64_t lived_ns = end_ns > task->spawned_ns ? end_ns - task->spawned_ns : 0;
    type->tasks++;
    type->live_tasks += task->end == RUN_END_NOT;
    type->ended[task->end]++;
    type->polls += task->polls;
    type->polls_cancel += task->polls_cancel;
    type->slow_polls += task->slow_polls;
    type->scheduled += task->scheduled;
    type->poll_ns += task->poll_ns;
    type->idle_ns += lived_ns > task->poll_ns ? lived_ns - task->poll_ns : 0;
    type->allocations += task->allocations;
    type->allocated_bytes += task->allocated_bytes;
    type->frees += task->frees;
    type->freed_bytes += task->freed_bytes;
    type->peak_bytes_sum += task->peak_bytes;
    raise(&type->longest_poll_ns, task->longest_poll_ns);
    raise(&type->peak_bytes_max, task->peak_bytes);
}

/* Copies a row that nobody takes for another task meanwhile; false: it is free, or no task's. */
static bool copy_row(struct run_building *build, const struct region_task *copied, uint32_t id)
{
    const struct region_task *now = region_row(build->region, REGION_TASKS, id);
    if (!copied->id || !now || __atomic_load_n(&now->id, __ATOMIC_ACQUIRE) != copied->id)
        return false;
    return copied->kind == REGION_TASK_CELL || copied->kind == REGION_TASK_THREAD;
}

static void add_row(struct run_building *build, const struct region_task *row, uint32_t id,
                    struct run_type *rows)
{
    struct run_task task = make_task(build, row, id);
    if (task.is_thread)
        task.type = REGION_TYPE_THREADS;
    else if (task.type <= REGION_TYPE_THREADS)
        task.type = 0;
    build->nr_wrong_rows += !task.type;
    add_to_type(task.is_thread ? &build->threads : &rows[task.type], &task, build->now_ns);
    if (row->cell_addr && task.type)
        rows[task.type].live_cells++;
    build->tasks[id] = run_add(build->run, RUN_TASKS, &task);
}

void run_tasks_add(struct run_building *build, struct run_type *rows)
{
    struct run_row_walk walk;
    struct region_task row;
    add_all_folded(build, rows);
    build->nr_tasks = region_nr_rows(build->region, REGION_TASKS);
    build->tasks = memory_alloc((build->nr_tasks + 1) * sizeof(*build->tasks));
    run_row_walk_begin(&walk, build->region, REGION_TASKS, 0);
    for (uint32_t id; (id = run_row_walk_next(&walk, &row)) && id < build->nr_tasks;)
        if (copy_row(build, &row, id))
            add_row(build, &row, id, rows);
}
