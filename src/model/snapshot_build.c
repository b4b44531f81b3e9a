/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "model/snapshot_build.h"

#include <stdlib.h>
#include <string.h>

#include "model/leaf_names.h"
#include "model/root_tasks.h"
#include "model/snapshot_part.h"
#include "model/task_kinds.h"

/* --- trees ----------------------------------------------------------------------------------- */

/* Frames by task, a parent right before its children, children in the order they were met. */
struct forest {
    uint32_t *first_child, *last_child, *next; /* by frame: position + 1 */
    uint32_t *root;                            /* by task: the first frame, position + 1 */
    uint32_t *places;                          /* by frame: position + 1 in its task's tree */
    uint32_t *in_order; /* of the task at hand: its frames as they are added */
};

static void forest_init(struct forest *forest, const struct task_futures *futures, size_t nr_tasks)
{
    size_t nr = futures->nr + 1;
    uint32_t *last_root = memory_alloc((nr_tasks + 1) * sizeof(uint32_t));
    forest->first_child = memory_alloc(nr * sizeof(uint32_t));
    forest->last_child = memory_alloc(nr * sizeof(uint32_t));
    forest->next = memory_alloc(nr * sizeof(uint32_t));
    forest->root = memory_alloc((nr_tasks + 1) * sizeof(uint32_t));
    forest->places = memory_alloc(nr * sizeof(uint32_t));
    forest->in_order = memory_alloc(nr * sizeof(uint32_t));
    for (uint32_t i = 0; i < futures->nr; i++) {
        const struct task_frame *frame = &futures->frames[i];
        uint32_t *first =
            frame->parent ? &forest->first_child[frame->parent - 1] : &forest->root[frame->task];
        uint32_t *last =
            frame->parent ? &forest->last_child[frame->parent - 1] : &last_root[frame->task];
        if (*last)
            forest->next[*last - 1] = i + 1;
        else
            *first = i + 1;
        *last = i + 1;
    }
    free(last_root);
}

static void forest_deinit(struct forest *forest)
{
    free(forest->first_child);
    free(forest->last_child);
    free(forest->next);
    free(forest->root);
    free(forest->places);
    free(forest->in_order);
}

/* In depth first order, without recursion. */
static void add_tree(struct snapshot_building *build, const struct forest *forest,
                     struct snapshot_task *task, uint32_t root)
{
    uint32_t *places = forest->places;
    const struct task_frame *frames = build->reader->futures.frames;
    uint32_t at = root;
    while (at) {
        const struct task_frame *frame = &frames[at - 1];
        struct snapshot_frame row = {.parent = frame->parent ? places[frame->parent - 1] : 0,
                                     .state = snapshot_state_id(build, frame)};
        uint32_t id = snapshot_add(build->snapshot, SNAPSHOT_FRAMES, &row);
        task->first_frame = task->nr_frames ? task->first_frame : id;
        forest->in_order[task->nr_frames] = at - 1;
        places[at - 1] = ++task->nr_frames;
        if (forest->first_child[at - 1]) {
            at = forest->first_child[at - 1];
            continue;
        }
        while (at && !forest->next[at - 1])
            at = frames[at - 1].parent;
        at = at ? forest->next[at - 1] : 0;
    }
}

/* --- tasks ----------------------------------------------------------------------------------- */

static enum task_status status_of(const struct snapshot_building *build,
                                  const struct task_cell *cell, const struct task_frame *root)
{
    if (cell->state & TOKIO_COMPLETE)
        return TASK_FINISHED;
    if (cell->state & TOKIO_CANCELLED)
        return TASK_CANCELLED;
    if (cell->state & TOKIO_RUNNING)
        return TASK_RUNNING;
    if (root && root->variant) {
        const struct plan *plan = build->reader->plans[root->plan].plan;
        const struct plan_type *type = plan_type(plan, root->type);
        const struct plan_variant *variant = &plan_variants(plan, type)[root->variant - 1];
        if (strcmp(plan_string(plan, variant->name), "Unresumed") == 0)
            return TASK_NEVER_POLLED;
    }
    return cell->state & TOKIO_NOTIFIED ? TASK_QUEUED : TASK_SUSPENDED;
}

static snapshot_str tree_reason(struct snapshot_building *build, const struct task_cell *cell,
                                const struct snapshot_task *task, bool is_partial)
{
    const struct task_futures *futures = &build->reader->futures;
    const struct cell_kind *kind = &build->reader->cells.kinds[cell->kind];
    const struct plan *plan = build->reader->plans[kind->plan].plan;
    if (task->status == TASK_RUNNING)
        return snapshot_intern(build,
                               "it is being polled: its future changes while it is looked at");
    if (task->status == TASK_FINISHED)
        return (snapshot_str){0};
    if (futures->is_cut)
        return snapshot_intern(build,
                               "the tree was cut: reading it would have held the program too long");
    if (!kind->layout.stage_type.v)
        return snapshot_intern(build, task_kind_unknown_reason(plan, &plan->tasks[kind->row]));
    if (is_partial)
        return snapshot_intern(build,
                               "a part of the tree could not be read: a type is unknown, or its "
                               "memory was changing");
    return (snapshot_str){0};
}

static int task_order(const void *a, const void *b)
{
    const struct task_cell *const *x = a, *const *y = b;
    if ((*x)->id != (*y)->id)
        return (*x)->id < (*y)->id ? -1 : 1;
    return (*x)->addr < (*y)->addr ? -1 : (*x)->addr > (*y)->addr;
}

static void add_task(struct snapshot_building *build, const struct forest *forest,
                     const struct task_cell *cell)
{
    const struct task_cells *cells = &build->reader->cells;
    const uint32_t row = (uint32_t)(cell - cells->rows);
    const struct task_frame *root =
        forest->root[row] ? &build->reader->futures.frames[forest->root[row] - 1] : NULL;
    bool is_named = root && root->plan == cells->kinds[cell->kind].plan;
    struct snapshot_task task = {
        .addr = cell->addr,
        .runtime_task_id = cell->id,
        .runtime = cell->runtime ? build->runtimes[cell->runtime - 1] : 0,
        .status = status_of(build, cell, root),
        .nr_refs = (uint32_t)(cell->state >> TOKIO_REF_SHIFT),
    };
    task.kind = snapshot_kind_id(build, cell, is_named ? root->type : (plan_type_id){0});
    /* In tokio 1.40, not in 1.47, the bit stays when the handle is dropped after the end. */
    if (task.status == TASK_FINISHED)
        task.finished_because =
            cell->state & TOKIO_JOIN_INTEREST && !task_output_is_gone(cells, cell)
                ? FINISHED_UNREAD
                : FINISHED_PINNED;
    add_tree(build, forest, &task, forest->root[row]);
    task.reason = tree_reason(build, cell, &task, build->reader->futures.is_partial[row]);
    snapshot_add_holdings(build, row, &task, forest->in_order);
    build->tasks[row] = snapshot_add(build->snapshot, SNAPSHOT_TASKS, &task);
    if (build->making)
        snapshot_origin_of_task(build, build->reader->heap.drops.rows[row].cell_block,
                                build->tasks[row]);
}

static void add_tasks(struct snapshot_building *build)
{
    const struct task_cells *cells = &build->reader->cells;
    const struct task_futures *futures = &build->reader->futures;
    const struct task_cell **order = memory_alloc((cells->nr + 1) * sizeof(*order));
    struct forest forest;
    build->tasks = memory_alloc((cells->nr + 1) * sizeof(*build->tasks));
    forest_init(&forest, futures, cells->nr);
    size_t nr = 0;
    for (size_t i = 0; i < cells->nr; i++)
        if (!cells->rows[i].is_copy)
            order[nr++] = &cells->rows[i];
    qsort(order, nr, sizeof(*order), task_order);
    for (size_t i = 0; i < nr; i++)
        add_task(build, &forest, order[i]);
    forest_deinit(&forest);
    free(order);
}

/* --- root tasks ------------------------------------------------------------------------------ */

static void name_root(struct snapshot_building *build, const struct root_task *root,
                      snapshot_str *path, snapshot_str *full)
{
    const struct image_names *image = &build->images[root->plan];
    const bool is_known = root->type.v != 0;
    *path = is_known ? snapshot_type_name(build, image, root->type, NAME_PATH)
                     : snapshot_raw_name(build, image, root->name, NAME_PATH);
    *full = is_known ? snapshot_type_name(build, image, root->type, NAME_FULL)
                     : snapshot_raw_name(build, image, root->name, NAME_FULL);
}

static uint32_t root_kind_id(struct snapshot_building *build, const struct root_task *root,
                             uint64_t future_bytes)
{
    bool is_new;
    uint64_t key = hash_str(root->name, hash_u64(root->plan, root->scheduler));
    uint32_t *known = map_put(&build->kinds, key, &is_new);
    if (!is_new)
        return *known;
    struct snapshot_kind kind = {
        .image = root->plan + 1,
        .kind = TASK_KIND_ROOT,
        .scheduler = root->scheduler,
        .cell_bytes = 0,
        .future_bytes = future_bytes,
    };
    name_root(build, root, &kind.future, &kind.full);
    if (!root->type.v)
        kind.reason = snapshot_intern(
            build, "its type is not among those that were read, or several have its name");
    return *known = snapshot_add(build->snapshot, SNAPSHOT_KINDS, &kind);
}

/* Its future without a state: where it is written. */
static uint32_t root_state_id(struct snapshot_building *build, const struct root_task *root,
                              uint64_t future_bytes)
{
    bool is_new;
    uint64_t key = hash_str(root->name, hash_u64(root->plan, UINT64_MAX));
    uint32_t *known = map_put(&build->states, key, &is_new);
    if (!is_new)
        return *known;
    const struct image_names *image = &build->images[root->plan];
    const struct future_type *future =
        root->type.v ? future_types_find(&image->types, root->type) : NULL;
    const char *words = leaf_name(root->name);
    struct snapshot_state state = {.future_bytes = future_bytes};
    name_root(build, root, &state.future, &state.full);
    state.waits_for = words ? snapshot_intern(build, words) : (snapshot_str){0};
    if (future) {
        state.file = snapshot_intern(build, future->file);
        state.line = future->line;
    }
    return *known = snapshot_add(build->snapshot, SNAPSHOT_STATES, &state);
}

static void add_root(struct snapshot_building *build, const struct root_task *root)
{
    const struct plan_type *type = plan_type(build->images[root->plan].plan, root->type);
    const uint64_t bytes = type ? type->size_bytes : UNKNOWN_BYTES;
    struct snapshot_frame frame = {.state = root_state_id(build, root, bytes)};
    struct snapshot_task task = {
        .kind = root_kind_id(build, root, bytes),
        .status = root->is_polled ? TASK_RUNNING : TASK_SUSPENDED,
        .nr_frames = 1,
        .held_bytes = UNKNOWN_BYTES,
        .maybe_held_bytes = UNKNOWN_BYTES,
        .shared_bytes = UNKNOWN_BYTES,
    };
    task.first_frame = snapshot_add(build->snapshot, SNAPSHOT_FRAMES, &frame);
    task.reason = snapshot_intern(
        build, root->is_polled ? "it is being polled: its future changes while it is looked at"
                               : "its state is on the stack of the thread that drives it, at "
                                 "a place that debug info does not tell");
    snapshot_add(build->snapshot, SNAPSHOT_TASKS, &task);
}

static void add_roots(struct snapshot_building *build)
{
    struct root_tasks roots;
    root_tasks_find(&roots, build->reader);
    for (size_t i = 0; i < roots.nr; i++)
        add_root(build, &roots.rows[i]);
    for (size_t i = 0; i < roots.nr_notes; i++) {
        snapshot_add_note(build, roots.notes[i]);
    }
    root_tasks_deinit(&roots);
}

/* --- the rest -------------------------------------------------------------------------------- */

static void add_runtimes(struct snapshot_building *build)
{
    static const char *const names[NR_PLAN_SCHEDULERS] = {
        [PLAN_SCHEDULER_UNKNOWN] = "tokio",
        [PLAN_SCHEDULER_MULTI_THREAD] = "tokio multi_thread",
        [PLAN_SCHEDULER_CURRENT_THREAD] = "tokio current_thread",
        [PLAN_SCHEDULER_LOCAL] = "tokio LocalSet",
        [PLAN_SCHEDULER_BLOCKING] = "tokio blocking pool"};
    const struct task_cells *cells = &build->reader->cells;
    uint64_t *found = memory_alloc((cells->nr_runtimes + 1) * sizeof(*found));
    bool *has_tasks = memory_alloc(cells->nr_runtimes + 1);
    for (size_t i = 0; i < cells->nr; i++) {
        const struct task_cell *cell = &cells->rows[i];
        if (!cell->runtime || cell->is_copy)
            continue;
        has_tasks[cell->runtime - 1] = true;
        /* A task that ends leaves its runtime's list a moment later. */
        found[cell->runtime - 1] += cell->is_listed || !(cell->state & TOKIO_COMPLETE);
    }
    build->runtimes = memory_alloc((cells->nr_runtimes + 1) * sizeof(*build->runtimes));
    for (size_t i = 0; i < cells->nr_runtimes; i++) {
        const struct task_runtime *runtime = &cells->runtimes[i];
        struct snapshot_runtime row = {
            .addr = runtime->addr,
            .name = snapshot_intern(build, names[runtime->scheduler]),
            .owned_reason = snapshot_intern(build, runtime->owned_reason),
            .owned_tasks = runtime->owned,
            .found_tasks = found[i],
        };
        if (has_tasks[i])
            build->runtimes[i] = snapshot_add(build->snapshot, SNAPSHOT_RUNTIMES, &row);
    }
    free(found);
    free(has_tasks);
}

static void add_images(struct snapshot_building *build)
{
    struct snapshot_facts *facts = snapshot_facts(build->snapshot);
    for (size_t i = 0; i < build->reader->nr_plans; i++) {
        const struct process_plan *own = &build->reader->plans[i];
        const struct plan_facts *plan = own->plan->facts;
        struct snapshot_image row = {
            .path = snapshot_intern(build, own->image.name),
            .build_id = snapshot_intern(build, plan_string(own->plan, plan->build_id)),
            .detail = plan->detail,
            .detail_reason = snapshot_intern(build, plan_string(own->plan, plan->detail_reason)),
        };
        snapshot_add(build->snapshot, SNAPSHOT_IMAGES, &row);
        if (i == 0 || row.detail > facts->detail) {
            facts->detail = row.detail;
            facts->detail_reason = row.detail_reason;
        }
        for (uint32_t n = 0; n < own->plan->nr_notes; n++) {
            snapshot_add_note(build, plan_string(own->plan, own->plan->notes[n].text));
        }
    }
}

static void add_facts(struct snapshot_building *build, const char *program)
{
    const struct task_reader *reader = build->reader;
    snapshot_str path = snapshot_intern(build, program);
    struct snapshot_facts *facts = snapshot_facts(build->snapshot);
    facts->pid = (uint32_t)reader->target->pid;
    facts->is_core = reader->target->is_core;
    facts->program = path;
    facts->nr_threads = (uint32_t)reader->nr_threads;
    facts->taken_at_ns = reader->taken_at_ns;
    facts->stop_ns = reader->stop_ns;
}

/* A spawned task has an owner, a blocking call has none. */
static bool has_owner(const struct task_cells *cells, const struct task_cell *cell)
{
    return cell_word(cell->bytes, cells->kinds[cell->kind].layout.owner_id) != 0;
}

/* Words that are vtables of spawned tasks, and no such task around any of them. */
static void note_unknown_order(struct snapshot_building *build, uint32_t plan)
{
    const struct task_cells *cells = &build->reader->cells;
    const struct process_plan *own = &build->reader->plans[plan];
    bool *has_cells = memory_alloc(cells->nr_kinds + 1);
    bool has_spawned = false;
    size_t nr_words = 0;
    for (size_t i = 0; i < cells->nr; i++) {
        const struct task_cell *cell = &cells->rows[i];
        has_cells[cell->kind] = true;
        has_spawned |= cells->kinds[cell->kind].plan == plan && has_owner(cells, cell);
    }
    for (size_t i = 0; i < cells->nr_candidates; i++) {
        uint32_t kind = cells->candidates[i].kind;
        nr_words += cells->kinds[kind].plan == plan && !has_cells[kind] &&
                    task_cells_task(cells, kind)->scheduler_kind != PLAN_SCHEDULER_BLOCKING;
    }
    free(has_cells);
    if (own->plan->facts->detail == PLAN_DETAIL_FULL || has_spawned || !nr_words)
        return;
    struct text text;
    text_init(&text);
    text_printf(&text,
                "%s: %zu words point to vtables of tasks, none of them in a cell as tokio 1.23 and "
                "later lay it out: its tasks have ended, or its tokio has another order; %s",
                own->image.name, nr_words, plan_string(own->plan, own->plan->facts->detail_reason));
    snapshot_add_note(build, text_str(&text));
    text_deinit(&text);
}

static void add_notes(struct snapshot_building *build)
{
    for (uint32_t i = 0; i < build->reader->nr_plans; i++)
        note_unknown_order(build, i);
    if (!build->reader->target->is_truncated)
        return;
    snapshot_add_note(
        build,
        "the core file is truncated: tasks may be missing; copy it again, or raise ulimit -c");
}

void snapshot_build(struct snapshot *snapshot, const struct task_reader *reader,
                    const char *program, struct run_symbols *symbols)
{
    struct snapshot_building build = {.snapshot = snapshot, .reader = reader};
    build.images = memory_alloc((reader->nr_plans + 1) * sizeof(*build.images));
    map_init(&build.strings);
    map_init(&build.kinds);
    map_init(&build.states);
    map_init(&build.fields);
    build.needs_drop = memory_alloc((reader->nr_plans + 1) * sizeof(*build.needs_drop));
    for (size_t i = 0; i < reader->nr_plans; i++) {
        struct image_names *image = &build.images[i];
        image->plan = reader->plans[i].plan;
        if (reader->heap.is_there)
            needs_drops_init(&build.needs_drop[i], image->plan);
        future_types_init(&image->types, image->plan);
        arena_init(&image->arena);
        image->layouts =
            arena_alloc(&image->arena, (image->types.nr + 1) * sizeof(*image->layouts));
    }
    snapshot_origins_begin(&build, symbols);
    add_facts(&build, program);
    add_images(&build);
    add_notes(&build);
    add_runtimes(&build);
    add_tasks(&build);
    add_roots(&build);
    snapshot_add_heap(&build);
    snapshot_origins_end(&build);
    for (size_t i = 0; i < reader->nr_plans; i++) {
        needs_drops_deinit(&build.needs_drop[i]);
        arena_deinit(&build.images[i].arena);
        future_types_deinit(&build.images[i].types);
    }
    map_deinit(&build.strings);
    map_deinit(&build.kinds);
    map_deinit(&build.states);
    map_deinit(&build.fields);
    free(build.runtimes);
    free(build.tasks);
    free(build.needs_drop);
    free(build.images);
}
