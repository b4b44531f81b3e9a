/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Inside run_build: where tasks were when they ended, as the tracer read it, and where those that did not end
 * are, from the last stored snapshot.  A task that was polled after the snapshot may be anywhere by
 * now: of it nothing is said.
 */
#include <stdlib.h>
#include <string.h>

#include "model/leaf_names.h"
#include "model/run_build_part.h"
#include "model/snapshot_file.h"

/* --- as the tracer read it ------------------------------------------------------------------- */

static run_str type_name(struct run_building *build, const struct run_names *names, plan_type_id id,
                         enum name_style style)
{
    const struct future_type *future = future_types_find(&names->types, id);
    struct text name;
    text_init(&name);
    if (future && style != NAME_FULL)
        text_append_str(&name, future_type_name(&names->types, future));
    else if (future)
        names_future(&names->types.names, future->future, NAME_FULL, &name);
    else
        names_type(&names->types.names, plan_string(names->plan, plan_type(names->plan, id)->name),
                   style, &name);
    run_str str = run_intern(build, text_str(&name));
    text_deinit(&name);
    return str;
}

/* State and line of a coroutine in a variant. */
static void set_state(struct run_building *build, struct run_names *names,
                      const struct future_type *future, uint32_t variant, struct run_await *await)
{
    struct future_layout *layout = &names->layouts[future - names->types.rows];
    if (!layout->states)
        future_layout_compute(layout, names->plan, future, &names->arena);
    if (!variant || variant > layout->nr_states)
        return;
    const struct state_layout *state = &layout->states[variant - 1];
    await->state = run_intern(build, plan_string(names->plan, state->variant->name));
    if (state_is_suspended(names->plan, state)) {
        await->file = run_intern(build, state_await_file(names->plan, state, &await->line));
    } else {
        await->file = run_intern(build, future->file);
        await->line = future->line;
    }
}

/* The variant's position + 1 in its type; the tracer gives the row of the plan. */
static uint32_t variant_of(const struct plan_type *type, uint32_t row)
{
    return row >= type->first_variant && row - type->first_variant < type->nr_variants
               ? row - type->first_variant + 1
               : 0;
}

static void describe(struct run_building *build, const struct region_await *row,
                     struct run_await *await)
{
    const struct run_load *load = run_load_get(build, row->image);
    struct run_names *names = load ? load->names : NULL;
    if (!names || !row->type || row->type > names->plan->nr_types) {
        build->nr_wrong_rows += names != NULL;
        return;
    }
    plan_type_id id = {row->type};
    const struct plan_type *type = plan_type(names->plan, id);
    const struct future_type *future = future_types_find(&names->types, id);
    await->future = type_name(build, names, id, NAME_PATH);
    await->full = type_name(build, names, id, NAME_FULL);
    const char *words = leaf_name(run_string(build->run, await->full));
    await->tells = leaf_tells(words);
    if (words)
        await->waits_for = run_intern(build, words);
    else if (type->kind != PLAN_TYPE_COROUTINE)
        await->waits_for = type_name(build, names, id, NAME_SHORT);
    if (future)
        set_state(build, names, future, variant_of(type, row->variant), await);
}

uint32_t run_await_id(struct run_building *build, uint32_t row)
{
    uint32_t *chain = NULL, at = row;
    size_t nr = 0, capacity = 0;
    struct region_await source;
    while (at && at < build->nr_awaits && !build->awaits[at] &&
           run_row_copy(build->region, REGION_AWAITS, at, &source)) {
        chain = array_reserve(chain, &capacity, nr + 1, sizeof(*chain));
        chain[nr++] = at;
        build->nr_wrong_rows += source.parent >= at;
        at = source.parent < at ? source.parent : 0; /* who awaits has a smaller number */
    }
    uint32_t id = at < build->nr_awaits ? build->awaits[at] : 0;
    while (nr--) {
        struct run_await await = {.parent = id};
        if (run_row_copy(build->region, REGION_AWAITS, chain[nr], &source))
            describe(build, &source, &await);
        id = build->awaits[chain[nr]] = run_add(build->run, RUN_AWAITS, &await);
    }
    free(chain);
    return id;
}

/* --- ends by await --------------------------------------------------------------------------- */

static void add_known(uint64_t *sum, uint64_t value)
{
    if (value == RUN_UNKNOWN || *sum == RUN_UNKNOWN || __builtin_add_overflow(*sum, value, sum))
        *sum = RUN_UNKNOWN;
}

static void add_end(struct run_building *build, const struct run_await_end *end)
{
    bool is_new;
    uint64_t key = hash_u64((uint64_t)end->type << 32 | end->await, end->end);
    uint32_t *id = map_put(&build->await_ends, key, &is_new);
    if (is_new) {
        *id = run_add(build->run, RUN_AWAIT_ENDS, end);
        return;
    }
    struct run_await_end *row = &run_await_ends(build->run, NULL)[*id - 1];
    row->tasks += end->tasks;
    add_known(&row->held_bytes, end->held_bytes);
}

static void add_folded(struct run_building *build)
{
    struct run_row_walk walk;
    struct region_await_end row;
    run_row_walk_begin(&walk, build->region, REGION_AWAIT_ENDS, 0);
    while (run_row_walk_next(&walk, &row)) {
        uint32_t type = row.type < build->nr_types ? build->types[row.type] : 0;
        if (!row.tasks || !type || row.end >= NR_RUN_ENDS || row.end == RUN_END_NOT) {
            build->nr_wrong_rows += row.tasks && row.end >= NR_RUN_ENDS;
            continue;
        }
        const struct run_await_end end = {.type = type,
                                          .await = run_await_id(build, row.await),
                                          .end = row.end,
                                          .tasks = row.tasks,
                                          .held_bytes = RUN_UNKNOWN};
        add_end(build, &end);
    }
}

/* Of tasks that have a row: those that were cut off at an await, and those that are still there. */
static void add_rows(struct run_building *build)
{
    size_t nr;
    const struct run_task *tasks = run_tasks(build->run, &nr);
    for (size_t i = 0; i < nr; i++) {
        const struct run_task *task = &tasks[i];
        if (task->is_thread || (task->end != RUN_END_NOT && !task->await))
            continue;
        const struct run_await_end end = {.type = task->type,
                                          .await = task->await,
                                          .end = task->end,
                                          .tasks = 1,
                                          .held_bytes = task->end == RUN_END_NOT ? task->held_bytes
                                                                                 : RUN_UNKNOWN};
        add_end(build, &end);
    }
}

/* --- the last snapshot ----------------------------------------------------------------------- */

struct held {
    struct run_building *build;
    struct snapshot snapshot;
    uint64_t t_ns;
    struct map awaits; /* hash of parent and state -> id */
    struct map tasks;  /* runtime task id -> position + 1 */
};

static run_str copy_string(struct held *held, snapshot_str str)
{
    return run_intern(held->build, snapshot_string(&held->snapshot, str));
}

static uint32_t state_await(struct held *held, uint32_t parent, uint32_t state_id)
{
    bool is_new;
    uint32_t *id = map_put(&held->awaits, (uint64_t)parent << 32 | state_id, &is_new);
    if (!is_new)
        return *id;
    const struct snapshot_state *state = &snapshot_states(&held->snapshot, NULL)[state_id - 1];
    const char *words = leaf_name(snapshot_string(&held->snapshot, state->full));
    const struct run_await await = {.parent = parent,
                                    .tells = leaf_tells(words),
                                    .future = copy_string(held, state->future),
                                    .full = copy_string(held, state->full),
                                    .state = copy_string(held, state->state),
                                    .file = copy_string(held, state->file),
                                    .waits_for = copy_string(held, state->waits_for),
                                    .line = state->line};
    return *id = run_add(held->build->run, RUN_AWAITS, &await);
}

/* From a task's future always to the first that is awaited. */
static uint32_t tree_await(struct held *held, const struct snapshot_task *task)
{
    const struct snapshot_frame *frames = snapshot_frames(&held->snapshot, NULL);
    uint32_t id = 0, parent = 0;
    for (uint32_t f = 0; f < task->nr_frames; f++) {
        const struct snapshot_frame *frame = &frames[task->first_frame - 1 + f];
        if (frame->parent != parent)
            continue;
        id = state_await(held, id, frame->state);
        parent = f + 1;
    }
    return id;
}

static void set_held(struct held *held, struct run_task *task)
{
    const uint32_t *at =
        task->runtime_task_id ? map_find(&held->tasks, task->runtime_task_id) : NULL;
    if (!at || !*at || task->last_poll_ns > held->t_ns || task->spawned_ns > held->t_ns)
        return;
    const struct snapshot_task *source = &snapshot_tasks(&held->snapshot, NULL)[*at - 1];
    if (source->held_is == HELD_EXACT || source->held_is == HELD_AT_LEAST)
        task->held_bytes = source->held_bytes;
    if (task->end == RUN_END_NOT && !task->await)
        task->await = tree_await(held, source);
}

static void take_snapshot(struct held *held)
{
    size_t nr;
    const struct snapshot_task *sources = snapshot_tasks(&held->snapshot, &nr);
    map_init(&held->awaits);
    map_init(&held->tasks);
    for (size_t i = 0; i < nr; i++) {
        bool is_new;
        if (!sources[i].runtime_task_id)
            continue;
        uint32_t *at = map_put(&held->tasks, sources[i].runtime_task_id, &is_new);
        *at = is_new ? (uint32_t)i + 1 : 0; /* two runtimes of different tokios */
    }
    run_tasks(held->build->run, &nr);
    for (size_t i = 0; i < nr; i++) {
        struct run_task task = run_tasks(held->build->run, NULL)[i];
        if (task.is_thread)
            continue;
        set_held(held, &task);
        run_tasks(held->build->run, NULL)[i] = task;
    }
    map_deinit(&held->awaits);
    map_deinit(&held->tasks);
}

static void add_last_snapshot(struct run_building *build)
{
    const struct run_build_input *input = build->input;
    const struct run_build_snapshot *last = NULL;
    for (size_t i = 0; i < input->nr_snapshots; i++)
        if (!last || input->snapshots[i].t_ns >= last->t_ns)
            last = &input->snapshots[i];
    struct held held = {.build = build, .t_ns = last ? last->t_ns : 0};
    if (!last || !snapshot_file_parse(&held.snapshot, last->bytes, last->nr_bytes, NULL))
        return;
    take_snapshot(&held);
    snapshot_deinit(&held.snapshot);
}

/* Of the outermost future that tells, since what is below it is how a library does that; else of the innermost. */
static run_str waits_for(const struct run *run, uint32_t await)
{
    const struct run_await *awaits = run_awaits(run, NULL), *found = &awaits[await - 1];
    for (uint32_t at = await; at; at = awaits[at - 1].parent)
        if (awaits[at - 1].tells)
            found = &awaits[at - 1];
    return found->waits_for;
}

void run_awaits_add(struct run_building *build)
{
    size_t nr;
    build->nr_awaits = region_nr_rows(build->region, REGION_AWAITS);
    build->awaits = memory_alloc((build->nr_awaits + 1) * sizeof(*build->awaits));
    struct run_task *tasks = run_tasks(build->run, &nr);
    for (size_t i = 0; i < nr; i++)
        tasks[i].await = run_await_id(build, tasks[i].await);
    add_last_snapshot(build);
    add_folded(build);
    add_rows(build);
    tasks = run_tasks(build->run, &nr);
    for (size_t i = 0; i < nr; i++)
        if (tasks[i].await)
            tasks[i].waits_for = waits_for(build->run, tasks[i].await);
}
