/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "analysis/run_ends.h"

#include <string.h>

#include "analysis/run_left.h"
#include "analysis/run_sum.h"
#include "base/map.h"

static bool is_elsewhere(const char *file)
{
    return strstr(file, "/.cargo/") || strstr(file, "/registry/src/") ||
           strstr(file, "/git/checkouts/") || strstr(file, "/rustc/") || strstr(file, "/vendor/");
}

uint32_t run_await_shown(const struct run *run, uint32_t innermost)
{
    const struct run_await *awaits = run_awaits(run, NULL);
    uint32_t any = 0;
    for (uint32_t id = innermost; id; id = awaits[id - 1].parent) {
        const char *file = run_string(run, awaits[id - 1].file);
        if (*file && !is_elsewhere(file))
            return id;
        any = any || !*file ? any : id;
    }
    return any;
}

/* --- still there ----------------------------------------------------------------------------- */

static bool is_unfinished(const struct run_task *task)
{
    return !task->is_thread && task->end == RUN_END_NOT;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return !a || (b && b < a) ? b : a;
}

static void add_times(struct run_unfinished *row, const struct run_task *task, uint32_t id)
{
    if (!row->example || (task->spawned_ns && task->spawned_ns < row->oldest_ns))
        row->example = id;
    row->oldest_ns = earlier(row->oldest_ns, task->spawned_ns);
    if (task->spawned_ns > row->newest_ns)
        row->newest_ns = task->spawned_ns;
    row->first_last_poll_ns = earlier(row->first_last_poll_ns, task->last_poll_ns);
    if (task->last_poll_ns > row->last_poll_ns)
        row->last_poll_ns = task->last_poll_ns;
}

static void add_task(struct run_unfinished *row, const struct run_task *task, uint32_t id)
{
    row->tasks++;
    row->never_polled += !task->first_poll_ns;
    if (task->held_bytes == RUN_UNKNOWN) {
        row->held_unknown++;
    } else {
        row->held_bytes = row->held_bytes == RUN_UNKNOWN ? 0 : row->held_bytes;
        run_sum_add(&row->held_bytes, task->held_bytes);
    }
    run_sum_add(&row->live_bytes, task->live_bytes);
    run_sum_add(&row->cell_bytes, task->cell_bytes == RUN_UNKNOWN ? 0 : task->cell_bytes);
    add_times(row, task, id);
}

static uint64_t bytes_of(const struct run_unfinished *row)
{
    uint64_t bytes = row->held_bytes == RUN_UNKNOWN ? row->live_bytes : row->held_bytes;
    run_sum_add(&bytes, row->cell_bytes);
    return bytes;
}

static int more_held(const void *a, const void *b)
{
    const struct run_unfinished *one = a, *other = b;
    if (bytes_of(one) != bytes_of(other))
        return bytes_of(one) > bytes_of(other) ? -1 : 1;
    if (one->tasks != other->tasks)
        return one->tasks > other->tasks ? -1 : 1;
    return one->example < other->example ? -1 : one->example > other->example;
}

static void find_unfinished(struct run_ends *ends, const struct run *run,
                            const struct run_selection *selection)
{
    size_t nr;
    struct map map;
    const struct run_task *tasks = run_tasks(run, &nr);
    ends->unfinished = memory_alloc((nr + 1) * sizeof(*ends->unfinished));
    map_init(&map);
    for (size_t i = 0; i < nr; i++) {
        if (!selection->tasks[i] || !is_unfinished(&tasks[i]))
            continue;
        bool is_new;
        uint32_t *at = map_put(&map, (uint64_t)tasks[i].type << 32 | tasks[i].await, &is_new);
        if (is_new) {
            *at = (uint32_t)ends->nr_unfinished;
            ends->unfinished[ends->nr_unfinished++] =
                (struct run_unfinished){.type = tasks[i].type,
                                        .await = tasks[i].await,
                                        .held_bytes = RUN_UNKNOWN,
                                        .waits_for = tasks[i].waits_for};
        }
        add_task(&ends->unfinished[*at], &tasks[i], (uint32_t)i + 1);
        ends->unfinished_tasks++;
    }
    map_deinit(&map);
    qsort(ends->unfinished, ends->nr_unfinished, sizeof(*ends->unfinished), more_held);
}

/* --- ended early ----------------------------------------------------------------------------- */

static bool is_early(uint32_t end)
{
    return end == RUN_END_ABORTED || end == RUN_END_DROPPED || end == RUN_END_PANICKED ||
           end == RUN_END_NEVER_POLLED;
}

static int more_early(const void *a, const void *b)
{
    const struct run_ended_early *one = a, *other = b;
    if (one->tasks != other->tasks)
        return one->tasks > other->tasks ? -1 : 1;
    if (one->type != other->type)
        return one->type < other->type ? -1 : 1;
    if (one->end != other->end)
        return one->end < other->end ? -1 : 1;
    return one->await < other->await ? -1 : one->await > other->await;
}

static void add_early(struct run_ends *ends, struct map *map, const struct run_ended_early *row)
{
    bool is_new;
    uint64_t key = hash_u64((uint64_t)row->type << 32 | row->await, row->end + 1);
    uint32_t *at = map_put(map, key, &is_new);
    if (is_new) {
        *at = (uint32_t)ends->nr_early;
        ends->early[ends->nr_early++] = *row;
    } else {
        run_sum_add(&ends->early[*at].tasks, row->tasks);
    }
    run_sum_add(&ends->early_tasks, row->tasks);
}

/* What a type counts and no await end tells ended at an unknown place. */
static void add_unplaced(struct run_ends *ends, struct map *map, const struct run *run,
                         const struct run_selection *selection)
{
    size_t nr, nr_rows = ends->nr_early;
    const struct run_type *types = run_types(run, &nr);
    uint64_t(*placed)[NR_RUN_ENDS] = memory_alloc((nr + 1) * sizeof(*placed));
    for (size_t i = 0; i < nr_rows; i++)
        run_sum_add(&placed[ends->early[i].type - 1][ends->early[i].end], ends->early[i].tasks);
    for (size_t i = 0; i < nr; i++)
        for (uint32_t end = 0; end < NR_RUN_ENDS; end++) {
            const uint64_t rest = run_sum_less(types[i].ended[end], placed[i][end]);
            const struct run_ended_early row = {.type = (uint32_t)i + 1, .end = end, .tasks = rest};
            if (rest && is_early(end) && selection->types[i] && run_kind_has_tasks(types[i].kind))
                add_early(ends, map, &row);
        }
    free(placed);
}

static void find_early(struct run_ends *ends, const struct run *run,
                       const struct run_selection *selection)
{
    size_t nr, nr_types;
    struct map map;
    const struct run_await_end *rows = run_await_ends(run, &nr);
    run_types(run, &nr_types);
    ends->early = memory_alloc((nr + nr_types * NR_RUN_ENDS + 1) * sizeof(*ends->early));
    map_init(&map);
    for (size_t i = 0; i < nr; i++) {
        const struct run_ended_early row = {rows[i].type, rows[i].await, rows[i].end,
                                            rows[i].tasks};
        bool is_selected =
            selection->types[row.type - 1] || (row.await && selection->awaits[row.await - 1]);
        if (row.tasks && is_early(row.end) && is_selected)
            add_early(ends, &map, &row);
    }
    add_unplaced(ends, &map, run, selection);
    map_deinit(&map);
    qsort(ends->early, ends->nr_early, sizeof(*ends->early), more_early);
}

void run_ends_init(struct run_ends *ends, const struct run *run,
                   const struct run_selection *selection)
{
    *ends = (struct run_ends){0};
    find_unfinished(ends, run, selection);
    find_early(ends, run, selection);
}

void run_ends_deinit(struct run_ends *ends)
{
    free(ends->unfinished);
    free(ends->early);
}
