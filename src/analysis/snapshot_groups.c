/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * One pass over the tasks.  Strings of a snapshot may be there several times, so groups are keyed
 * by hashes of their text; what many tasks share (kinds, states) is hashed and matched once.
 */
#include "analysis/snapshot_groups.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "model/leaf_names.h"

const char *const task_status_names[NR_TASK_STATUSES] = {
    [TASK_RUNNING] = "running",     [TASK_QUEUED] = "queued",
    [TASK_SUSPENDED] = "suspended", [TASK_NEVER_POLLED] = "never_polled",
    [TASK_FINISHED] = "finished",   [TASK_CANCELLED] = "cancelled",
};

static void sum_add(struct snapshot_sum *sum, uint64_t bytes)
{
    uint64_t total;
    if (bytes == UINT64_MAX || __builtin_add_overflow(sum->bytes, bytes, &total))
        sum->nr_unknown++;
    else
        sum->bytes = total;
}

static uint64_t hash_string(const struct snapshot *snapshot, snapshot_str str, uint64_t seed)
{
    return hash_str(snapshot_string(snapshot, str), seed);
}

/* --- the await point of a task --------------------------------------------------------------- */

/* A future of a library that says what it waits for. */
static bool tells(const struct snapshot *snapshot, const struct snapshot_state *state)
{
    return state->waits_for.v && leaf_tells(snapshot_string(snapshot, state->waits_for));
}

static bool is_await(const struct snapshot *snapshot, const struct snapshot_state *state)
{
    return state->file.v && state->state.v &&
           strcmp(snapshot_string(snapshot, state->state), "Unresumed") != 0;
}

/* Where cargo and rustc keep what is not the user's. */
static bool is_library(const struct snapshot *snapshot, const struct snapshot_state *state)
{
    static const char *const folders[] = {"/registry/src/", "/git/checkouts/", "/rustc/"};
    for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++)
        if (strstr(snapshot_string(snapshot, state->file), folders[i]))
            return true;
    return false;
}

/*
 * Parents stand before children: in one pass `last` walks down the chain while each frame is the
 * only child of the one before.
 */
static struct snapshot_await find_await(const struct snapshot *snapshot,
                                        const struct snapshot_task *task, struct arena *scratch)
{
    struct snapshot_await await = {0};
    if (!task->nr_frames)
        return await;
    const struct snapshot_frame *frames = snapshot_frames(snapshot, NULL) + task->first_frame - 1;
    const struct snapshot_state *states = snapshot_states(snapshot, NULL);
    uint32_t *nr_children = arena_alloc(scratch, (task->nr_frames + 1) * sizeof(uint32_t));
    uint32_t *child = arena_alloc(scratch, (task->nr_frames + 1) * sizeof(uint32_t));
    for (uint32_t i = 0; i < task->nr_frames; i++) {
        nr_children[frames[i].parent]++;
        child[frames[i].parent] = i + 1;
    }
    uint32_t at = 0;
    while (nr_children[at] == 1) {
        at = child[at];
        await.innermost = frames[at - 1].state;
        if (tells(snapshot, &states[await.innermost - 1]))
            return await; /* the await is that of the user, not one inside the library */
        const struct snapshot_state *state = &states[await.innermost - 1];
        if (is_await(snapshot, state) && (!await.state || !is_library(snapshot, state)))
            await.state = await.innermost;
    }
    await.forks = nr_children[at] > 1;
    return await;
}

/* --- the filter ------------------------------------------------------------------------------ */

struct matcher {
    const struct snapshot *snapshot;
    const char *part;
    bool *kinds, *states; /* whether they match, by id - 1 */
};

static bool has_part(const struct matcher *matcher, snapshot_str str)
{
    return strcasestr(snapshot_string(matcher->snapshot, str), matcher->part) != NULL;
}

static bool kind_matches(const struct matcher *matcher, const struct snapshot_kind *kind)
{
    const struct snapshot_also *also = snapshot_alsos(matcher->snapshot, NULL);
    for (uint32_t i = 0; i < kind->nr_also; i++)
        if (has_part(matcher, also[kind->first_also - 1 + i].future))
            return true;
    return has_part(matcher, kind->future) || has_part(matcher, kind->full);
}

static bool state_matches(const struct matcher *matcher, const struct snapshot_state *state)
{
    return has_part(matcher, state->future) || has_part(matcher, state->full) ||
           has_part(matcher, state->file) || has_part(matcher, state->macro) ||
           has_part(matcher, state->waits_for);
}

static void matcher_init(struct matcher *matcher, const struct snapshot *snapshot, const char *part,
                         struct arena *arena)
{
    size_t nr_kinds, nr_states;
    const struct snapshot_kind *kinds = snapshot_kinds(snapshot, &nr_kinds);
    const struct snapshot_state *states = snapshot_states(snapshot, &nr_states);
    *matcher = (struct matcher){.snapshot = snapshot, .part = part};
    matcher->kinds = arena_alloc(arena, nr_kinds + 1);
    matcher->states = arena_alloc(arena, nr_states + 1);
    for (size_t i = 0; i < nr_kinds; i++)
        matcher->kinds[i] = kind_matches(matcher, &kinds[i]);
    for (size_t i = 0; i < nr_states; i++)
        matcher->states[i] = state_matches(matcher, &states[i]);
}

static bool task_matches(const struct matcher *matcher, const struct snapshot_task *task)
{
    if (matcher->kinds[task->kind - 1] ||
        strcasestr(task_status_names[task->status], matcher->part))
        return true;
    const struct snapshot_frame *frames = snapshot_frames(matcher->snapshot, NULL);
    for (uint32_t i = 0; i < task->nr_frames; i++)
        if (matcher->states[frames[task->first_frame - 1 + i].state - 1])
            return true;
    return false;
}

static void select_tasks(struct snapshot_groups *groups, const struct snapshot_filter *filter)
{
    size_t nr;
    const struct snapshot_task *tasks = snapshot_tasks(groups->snapshot, &nr);
    struct matcher matcher = {0};
    struct arena scratch;
    arena_init(&scratch);
    if (filter->match)
        matcher_init(&matcher, groups->snapshot, filter->match, &scratch);
    groups->tasks = arena_alloc(&groups->arena, nr * sizeof(*groups->tasks) + 1);
    for (size_t i = 0; i < nr; i++)
        if ((!filter->task || filter->task == i + 1) &&
            (!filter->match || task_matches(&matcher, &tasks[i])))
            groups->tasks[groups->nr_tasks++] = (uint32_t)i + 1;
    arena_deinit(&scratch);
}

/* --- grouping -------------------------------------------------------------------------------- */

struct grouping {
    struct snapshot_group_list *list;
    struct map rows; /* key: a hash; value: position + 1 */
    size_t capacity;
};

/* The position + 1 of the key's group, made of `first` when it is new. */
static uint32_t group_add(struct grouping *grouping, uint64_t key,
                          const struct snapshot_group *first, const struct snapshot_task *task)
{
    bool is_new;
    struct snapshot_group_list *list = grouping->list;
    uint32_t *row = map_put(&grouping->rows, key, &is_new);
    if (is_new) {
        list->rows =
            array_reserve(list->rows, &grouping->capacity, list->nr + 1, sizeof(*list->rows));
        list->rows[list->nr++] = *first;
        *row = (uint32_t)list->nr;
    }
    struct snapshot_group *group = &list->rows[*row - 1];
    group->nr_tasks++;
    group->by_status[first->status]++;
    sum_add(&group->cells, first->own_cell_bytes);
    held_sum_add(&group->held, task->held_is, task->held_bytes);
    return *row;
}

static int more_tasks_first(const void *a, const void *b)
{
    const struct snapshot_group *x = *(struct snapshot_group *const *)a,
                                *y = *(struct snapshot_group *const *)b;
    if (x->nr_tasks != y->nr_tasks)
        return x->nr_tasks > y->nr_tasks ? -1 : 1;
    if (x->cells.bytes != y->cells.bytes)
        return x->cells.bytes > y->cells.bytes ? -1 : 1;
    int order = strcmp(x->name, y->name);
    return order ? order : x->first_task < y->first_task ? -1 : x->first_task > y->first_task;
}

/* Sums may be near the end of their range. */
static uint64_t bytes_of(const struct snapshot_group *group)
{
    uint64_t bytes;
    return __builtin_add_overflow(group->cells.bytes, group->held.bytes, &bytes) ? UINT64_MAX
                                                                                 : bytes;
}

static int more_bytes_first(const void *a, const void *b)
{
    const struct snapshot_group *x = *(struct snapshot_group *const *)a,
                                *y = *(struct snapshot_group *const *)b;
    if (bytes_of(x) != bytes_of(y))
        return bytes_of(x) > bytes_of(y) ? -1 : 1;
    return x < y ? -1 : x > y; /* by their order in the list */
}

/* Sorted pointers to the rows; free(). */
static const struct snapshot_group **sort_rows(const struct snapshot_group *rows, size_t nr,
                                               int (*compare)(const void *, const void *))
{
    const struct snapshot_group **sorted = memory_alloc(nr * sizeof(const void *) + 1);
    for (size_t i = 0; i < nr; i++)
        sorted[i] = &rows[i];
    if (nr)
        qsort(sorted, nr, sizeof(const void *), compare);
    return sorted;
}

/* The list's rows move to the arena, in order; of_task follows them. */
static void grouping_end(struct grouping *grouping, struct arena *arena, size_t nr_tasks)
{
    struct snapshot_group_list *list = grouping->list;
    struct snapshot_group *rows = arena_alloc(arena, list->nr * sizeof(*rows) + 1);
    uint32_t *place = memory_alloc((list->nr + 1) * sizeof(*place));
    const struct snapshot_group **sorted = sort_rows(list->rows, list->nr, more_tasks_first);
    for (size_t i = 0; i < list->nr; i++) {
        rows[i] = *sorted[i];
        place[sorted[i] - list->rows + 1] = (uint32_t)i + 1;
    }
    for (size_t i = 0; i < nr_tasks; i++)
        list->of_task[i] = place[list->of_task[i]];
    free(sorted);
    free(place);
    free(list->rows);
    list->rows = rows;
    sorted = sort_rows(rows, list->nr, more_bytes_first);
    list->by_bytes = arena_alloc(arena, (list->nr + 1) * sizeof(uint32_t));
    for (size_t i = 0; i < list->nr; i++)
        list->by_bytes[i] = (uint32_t)(sorted[i] - rows);
    free(sorted);
    map_deinit(&grouping->rows);
}

/* Hashes of what many tasks share, by id; [0] is of none. */
struct hashes {
    uint64_t *kinds;  /* of the future's name */
    uint64_t *points; /* of file, line and future of a state */
    uint64_t *leaves; /* of what a state waits for, else of its future */
};

static void hashes_init(struct hashes *hashes, const struct snapshot *snapshot,
                        struct arena *scratch)
{
    size_t nr_kinds, nr_states;
    const struct snapshot_kind *kinds = snapshot_kinds(snapshot, &nr_kinds);
    const struct snapshot_state *states = snapshot_states(snapshot, &nr_states);
    hashes->kinds = arena_alloc(scratch, (nr_kinds + 1) * sizeof(uint64_t));
    hashes->points = arena_alloc(scratch, (nr_states + 1) * sizeof(uint64_t));
    hashes->leaves = arena_alloc(scratch, (nr_states + 1) * sizeof(uint64_t));
    for (size_t i = 0; i < nr_kinds; i++)
        hashes->kinds[i + 1] = hash_string(snapshot, kinds[i].future, 0);
    for (size_t i = 0; i < nr_states; i++) {
        uint64_t file = hash_string(snapshot, states[i].file, states[i].line);
        hashes->points[i + 1] = hash_string(snapshot, states[i].future, file);
        hashes->leaves[i + 1] = hash_string(
            snapshot, states[i].waits_for.v ? states[i].waits_for : states[i].future, 1);
    }
}

static uint64_t hash_both(const struct hashes *hashes, const struct snapshot_group *task,
                          const struct snapshot_kind *kind)
{
    const uint64_t parts[] = {hashes->kinds[task->kind],
                              hashes->points[task->await.state],
                              hashes->leaves[task->await.innermost],
                              task->status,
                              task->finished_because,
                              kind->kind,
                              task->await.forks};
    return hash_bytes(parts, sizeof(parts), 0);
}

static void futures_add(struct snapshot_futures *futures, const struct snapshot_kind *kind,
                        uint32_t status)
{
    if (status == TASK_FINISHED || kind->kind == TASK_KIND_BLOCKING ||
        kind->kind == TASK_KIND_WORKER)
        return;
    futures->nr++;
    sum_add(&futures->sum, kind->future_bytes);
    if (kind->future_bytes != UINT64_MAX && kind->future_bytes > futures->largest_bytes)
        futures->largest_bytes = kind->future_bytes;
}

static struct snapshot_group row_of(const struct snapshot_groups *groups, size_t at)
{
    const struct snapshot *snapshot = groups->snapshot;
    const struct snapshot_task *task = &snapshot_tasks(snapshot, NULL)[groups->tasks[at] - 1];
    const struct snapshot_kind *kind = &snapshot_kinds(snapshot, NULL)[task->kind - 1];
    return (struct snapshot_group){.first_task = groups->tasks[at],
                                   .kind = task->kind,
                                   .status = task->status,
                                   .finished_because = task->finished_because,
                                   .await = groups->awaits[at],
                                   .own_cell_bytes = kind->cell_bytes,
                                   .name = snapshot_string(snapshot, kind->future)};
}

static void group_tasks(struct snapshot_groups *groups, const struct hashes *hashes)
{
    const struct snapshot *snapshot = groups->snapshot;
    const struct snapshot_task *tasks = snapshot_tasks(snapshot, NULL);
    const struct snapshot_kind *kinds = snapshot_kinds(snapshot, NULL);
    const struct snapshot_state *states = snapshot_states(snapshot, NULL);
    struct grouping types = {.list = &groups->by_type}, awaits = {.list = &groups->by_await},
                    both = {.list = &groups->by_both};
    for (size_t i = 0; i < groups->nr_tasks; i++) {
        const struct snapshot_task *task = &tasks[groups->tasks[i] - 1];
        const struct snapshot_kind *kind = &kinds[task->kind - 1];
        struct snapshot_group row = row_of(groups, i);
        groups->by_status[task->status]++;
        groups->has_held |= task->held_is != HELD_UNKNOWN;
        futures_add(&groups->futures, kind, task->status);
        types.list->of_task[i] = group_add(&types, hashes->kinds[task->kind], &row, task);
        both.list->of_task[i] = group_add(&both, hash_both(hashes, &row, kind), &row, task);
        if (!row.await.state)
            continue;
        row.name = snapshot_string(snapshot, states[row.await.state - 1].future);
        awaits.list->of_task[i] = group_add(&awaits, hashes->points[row.await.state], &row, task);
    }
    grouping_end(&types, &groups->arena, groups->nr_tasks);
    grouping_end(&awaits, &groups->arena, groups->nr_tasks);
    grouping_end(&both, &groups->arena, groups->nr_tasks);
}

static void lists_init(struct snapshot_groups *groups)
{
    struct snapshot_group_list *lists[] = {&groups->by_type, &groups->by_await, &groups->by_both};
    for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++)
        lists[i]->of_task = arena_alloc(&groups->arena, groups->nr_tasks * sizeof(uint32_t) + 1);
}

void snapshot_groups_init(struct snapshot_groups *groups, const struct snapshot *snapshot,
                          const struct snapshot_filter *filter)
{
    const struct snapshot_task *tasks = snapshot_tasks(snapshot, NULL);
    struct arena scratch;
    struct hashes hashes;
    *groups = (struct snapshot_groups){.snapshot = snapshot};
    arena_init(&groups->arena);
    select_tasks(groups, filter);
    groups->awaits = arena_alloc(&groups->arena, groups->nr_tasks * sizeof(*groups->awaits) + 1);
    arena_init(&scratch);
    for (size_t i = 0; i < groups->nr_tasks; i++)
        groups->awaits[i] = find_await(snapshot, &tasks[groups->tasks[i] - 1], &scratch);
    hashes_init(&hashes, snapshot, &scratch);
    lists_init(groups);
    group_tasks(groups, &hashes);
    arena_deinit(&scratch);
}

void snapshot_groups_deinit(struct snapshot_groups *groups)
{
    arena_deinit(&groups->arena);
}
