/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "model/snapshot_build.h"

#include <stdlib.h>
#include <string.h>

#include "model/future_types.h"
#include "model/leaf_names.h"
#include "model/state_layout.h"

#define UNKNOWN_BYTES (~(uint64_t)0)

/* What one image's plan gives. */
struct image_names {
    const struct plan *plan;
    struct future_types types;
    struct future_layout *layouts; /* by row of types; computed when first needed */
    struct arena arena;
};

struct build {
    struct snapshot *snapshot;
    const struct task_reader *reader;
    struct image_names *images; /* as reader->plans */
    struct map strings;         /* hash -> offset + 1 */
    struct map kinds;           /* hash of cell kind and future type -> id */
    struct map states;          /* hash of plan, type and variant -> id */
    uint32_t *runtimes;         /* by position in cells.runtimes: id, 0: has no task */
};

static snapshot_str intern(struct build *build, const char *text)
{
    bool is_new;
    if (!text || !*text)
        return (snapshot_str){0};
    uint32_t *known = map_put(&build->strings, hash_str(text, 0), &is_new);
    if (is_new)
        *known = snapshot_add_string(build->snapshot, text).v + 1;
    return (snapshot_str){*known - 1};
}

/* --- names ----------------------------------------------------------------------------------- */

static snapshot_str raw_type_name(struct build *build, const struct image_names *image,
                                  const char *raw, enum name_style style)
{
    struct text name;
    text_init(&name);
    names_type(&image->types.names, raw, style, &name);
    snapshot_str str = intern(build, text_str(&name));
    text_deinit(&name);
    return str;
}

static snapshot_str type_name(struct build *build, const struct image_names *image, plan_type_id id,
                              enum name_style style)
{
    const struct future_type *future = future_types_find(&image->types, id);
    if (!future)
        return raw_type_name(build, image,
                             plan_string(image->plan, plan_type(image->plan, id)->name), style);
    if (style != NAME_FULL)
        return intern(build, future_type_name(&image->types, future));
    struct text name;
    text_init(&name);
    names_future(&image->types.names, future->future, NAME_FULL, &name);
    snapshot_str str = intern(build, text_str(&name));
    text_deinit(&name);
    return str;
}

/* --- states ---------------------------------------------------------------------------------- */

static const struct state_layout *layout_of(struct image_names *image,
                                            const struct future_type *future, uint32_t variant)
{
    struct future_layout *layout = &image->layouts[future - image->types.rows];
    if (!layout->states)
        future_layout_compute(layout, image->plan, future, &image->arena);
    return variant && variant <= layout->nr_states ? &layout->states[variant - 1] : NULL;
}

static void add_slots(struct build *build, struct image_names *image,
                      const struct state_layout *layout, struct snapshot_state *state)
{
    for (uint32_t i = 0; i < layout->nr_slots; i++) {
        const struct state_slot *slot = &layout->slots[i];
        struct snapshot_slot row = {
            .name = intern(build, slot->name),
            .type =
                slot->type.v ? type_name(build, image, slot->type, NAME_SHORT) : (snapshot_str){0},
            .offset_bytes = slot->offset_bytes,
            .inline_bytes = slot->size_bytes,
        };
        uint32_t id = snapshot_add(build->snapshot, SNAPSHOT_SLOTS, &row);
        state->first_slot = i ? state->first_slot : id;
    }
    state->nr_slots = layout->nr_slots;
}

static void set_place(struct build *build, struct image_names *image,
                      const struct future_type *future, const struct state_layout *layout,
                      struct snapshot_state *state)
{
    state->state = intern(build, plan_string(image->plan, layout->variant->name));
    if (state_is_suspended(image->plan, layout)) {
        state->file = intern(build, state_await_file(image->plan, layout, &state->line));
        state->macro = intern(build, state_macro(image->plan, layout));
    } else {
        state->file = intern(build, future->file);
        state->line = future->line;
    }
}

/* Can nothing be below it in a tree?  Then its own name says what is waited for. */
static bool is_leaf(const struct process_plan *own, plan_type_id id)
{
    const struct plan_type *type = plan_type(own->plan, id);
    const struct plan_member *members = plan_members(own->plan, type);
    if (type->kind == PLAN_TYPE_COROUTINE)
        return false;
    for (uint32_t m = 0; m < type->nr_members; m++)
        if (members[m].type.v && own->types[members[m].type.v - 1].leads)
            return false;
    const struct plan_variant *variants = plan_variants(own->plan, type);
    for (uint32_t v = 0; v < type->nr_variants; v++)
        if (variants[v].payload.v && own->types[variants[v].payload.v - 1].leads)
            return false;
    return true;
}

static uint32_t state_id(struct build *build, const struct task_frame *frame)
{
    bool is_new;
    struct image_names *image = &build->images[frame->plan];
    uint32_t *known =
        map_put(&build->states,
                hash_u64(frame->type.v, (uint64_t)frame->plan << 32 | frame->variant), &is_new);
    if (!is_new)
        return *known;
    const struct plan_type *type = plan_type(image->plan, frame->type);
    const struct future_type *future = future_types_find(&image->types, frame->type);
    struct snapshot_state state = {
        .future = type_name(build, image, frame->type, NAME_PATH),
        .full = type_name(build, image, frame->type, NAME_FULL),
        .future_bytes = type->size_bytes,
    };
    const char *words = leaf_name(snapshot_string(build->snapshot, state.full));
    if (words)
        state.waits_for = intern(build, words);
    else if (is_leaf(&build->reader->plans[frame->plan], frame->type))
        state.waits_for = type_name(build, image, frame->type, NAME_SHORT);
    const struct state_layout *layout = future ? layout_of(image, future, frame->variant) : NULL;
    if (layout) {
        set_place(build, image, future, layout, &state);
        add_slots(build, image, layout, &state);
    }
    uint32_t id = snapshot_add(build->snapshot, SNAPSHOT_STATES, &state);
    *map_put(&build->states, hash_u64(frame->type.v, (uint64_t)frame->plan << 32 | frame->variant),
             NULL) = id;
    return id;
}

/* --- kinds ----------------------------------------------------------------------------------- */

/* A Pin<Box<F>> is named by its F. */
static plan_type_id behind_boxes(const struct process_plan *own, plan_type_id id)
{
    for (int depth = 0; id.v && depth < 8 && own->types[id.v - 1].is_transparent; depth++) {
        uint64_t at;
        const struct plan_type *pointer =
            plan_type(own->plan, process_plan_pointer(own->plan, id, &at));
        if (!pointer || !pointer->pointee.v || own->types[id.v - 1].kind == WALK_DYN)
            break;
        id = pointer->pointee;
    }
    return id;
}

/* The same of a name alone. */
static void append_behind_boxes(const char *raw, struct text *out)
{
    static const char box[] = "core::pin::Pin<alloc::boxed::Box<";
    static const char allocator[] = ", alloc::alloc::Global";
    size_t length = strlen(raw);
    while (str_starts_with(raw, box) && length > sizeof(box) + 1 && raw[length - 1] == '>' &&
           raw[length - 2] == '>') {
        raw += sizeof(box) - 1;
        length -= sizeof(box) - 1 + 2;
        if (length >= sizeof(allocator) &&
            memcmp(raw + length - (sizeof(allocator) - 1), allocator, sizeof(allocator) - 1) == 0)
            length -= sizeof(allocator) - 1;
    }
    text_append(out, raw, length);
}

static const char *unknown_reason(const struct plan *plan, const struct plan_task *task)
{
    const char *reason = plan_string(plan, plan->facts->detail_reason);
    if (*reason)
        return reason;
    if (!task->future.v)
        return "the compiler merged its functions with those of another task";
    return task->cell.v ? "" : "the debug info has no layout of it, or several that may be its own";
}

/* The other names of a vtable, which the compiler merged with this one. */
static void add_also(struct build *build, const struct image_names *image, uint32_t row,
                     struct snapshot_kind *kind)
{
    const struct plan *plan = image->plan;
    struct text inside;
    text_init(&inside);
    for (uint32_t i = 0; i < plan->nr_tasks; i++) {
        const struct plan_task *task = &plan->tasks[i];
        if (!task->is_other_name || task->vtable_addr != plan->tasks[row].vtable_addr)
            continue;
        text_clear(&inside);
        append_behind_boxes(plan_string(plan, task->future), &inside);
        struct snapshot_also also = {.future =
                                         raw_type_name(build, image, text_str(&inside), NAME_PATH)};
        uint32_t id = snapshot_add(build->snapshot, SNAPSHOT_ALSO, &also);
        kind->first_also = kind->nr_also++ ? kind->first_also : id;
    }
    text_deinit(&inside);
}

static uint32_t kind_id(struct build *build, const struct task_cell *cell, plan_type_id future)
{
    static const uint8_t kinds[NR_PLAN_TASK_KINDS] = {[PLAN_TASK_UNKNOWN] = TASK_KIND_UNKNOWN,
                                                      [PLAN_TASK_ASYNC] = TASK_KIND_ASYNC,
                                                      [PLAN_TASK_BLOCKING] = TASK_KIND_BLOCKING,
                                                      [PLAN_TASK_WORKER] = TASK_KIND_WORKER};
    static const uint8_t schedulers[NR_PLAN_SCHEDULERS] = {
        [PLAN_SCHEDULER_UNKNOWN] = TASK_SCHEDULER_UNKNOWN,
        [PLAN_SCHEDULER_MULTI_THREAD] = TASK_SCHEDULER_MULTI_THREAD,
        [PLAN_SCHEDULER_CURRENT_THREAD] = TASK_SCHEDULER_CURRENT_THREAD,
        [PLAN_SCHEDULER_LOCAL] = TASK_SCHEDULER_LOCAL,
        [PLAN_SCHEDULER_BLOCKING] = TASK_SCHEDULER_BLOCKING};
    const struct task_cells *cells = &build->reader->cells;
    const struct cell_kind *source = &cells->kinds[cell->kind];
    struct image_names *image = &build->images[source->plan];
    const struct plan *plan = image->plan;
    const struct plan_task *task = &plan->tasks[source->row];
    if (!future.v)
        future = behind_boxes(&build->reader->plans[source->plan], source->layout.future);
    bool is_new;
    uint64_t key = hash_u64(cell->kind, future.v);
    uint32_t *known = map_put(&build->kinds, key, &is_new);
    if (!is_new)
        return *known;
    const struct plan_type *type = plan_type(plan, future);
    const struct plan_type *cell_type = plan_type(plan, task->cell);
    const char *raw = plan_string(plan, task->future);
    struct snapshot_kind kind = {
        .image = source->plan + 1,
        .kind = kinds[task->kind],
        .scheduler = schedulers[task->scheduler_kind],
        .cell_bytes = cell_type ? cell_type->size_bytes : UNKNOWN_BYTES,
        .future_bytes = type && type->size_bytes ? type->size_bytes : UNKNOWN_BYTES,
    };
    if (type) {
        kind.future = type_name(build, image, future, NAME_PATH);
        kind.full = type_name(build, image, future, NAME_FULL);
    } else {
        struct text inside;
        text_init(&inside);
        append_behind_boxes(raw, &inside);
        kind.future = raw_type_name(build, image, text_str(&inside), NAME_PATH);
        text_deinit(&inside);
        kind.full = raw_type_name(build, image, raw, NAME_FULL);
    }
    if (!type || !cell_type)
        kind.reason = intern(build, unknown_reason(plan, task));
    add_also(build, image, source->row, &kind);
    uint32_t id = snapshot_add(build->snapshot, SNAPSHOT_KINDS, &kind);
    *map_put(&build->kinds, key, NULL) = id;
    return id;
}

/* --- trees ----------------------------------------------------------------------------------- */

/* Frames by task, a parent right before its children, children in the order they were met. */
struct forest {
    uint32_t *first_child, *last_child, *next; /* by frame: position + 1 */
    uint32_t *root;                            /* by task: the first frame, position + 1 */
};

static void forest_init(struct forest *forest, const struct task_futures *futures, size_t nr_tasks)
{
    size_t nr = futures->nr + 1;
    uint32_t *last_root = memory_alloc((nr_tasks + 1) * sizeof(uint32_t));
    forest->first_child = memory_alloc(nr * sizeof(uint32_t));
    forest->last_child = memory_alloc(nr * sizeof(uint32_t));
    forest->next = memory_alloc(nr * sizeof(uint32_t));
    forest->root = memory_alloc((nr_tasks + 1) * sizeof(uint32_t));
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
}

/* In depth first order, without recursion; `parents` maps a frame to its place in the task. */
static void add_tree(struct build *build, const struct forest *forest, uint32_t *places,
                     struct snapshot_task *task, uint32_t root)
{
    const struct task_frame *frames = build->reader->futures.frames;
    uint32_t at = root;
    while (at) {
        const struct task_frame *frame = &frames[at - 1];
        struct snapshot_frame row = {.parent = frame->parent ? places[frame->parent - 1] : 0,
                                     .state = state_id(build, frame)};
        uint32_t id = snapshot_add(build->snapshot, SNAPSHOT_FRAMES, &row);
        task->first_frame = task->nr_frames ? task->first_frame : id;
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

static enum task_status status_of(const struct build *build, const struct task_cell *cell,
                                  const struct task_frame *root)
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

static snapshot_str tree_reason(struct build *build, const struct task_cell *cell,
                                const struct snapshot_task *task, bool is_partial)
{
    const struct task_futures *futures = &build->reader->futures;
    const struct cell_kind *kind = &build->reader->cells.kinds[cell->kind];
    const struct plan *plan = build->reader->plans[kind->plan].plan;
    if (task->status == TASK_RUNNING)
        return intern(build, "it is being polled: its future changes while it is looked at");
    if (task->status == TASK_FINISHED)
        return (snapshot_str){0};
    if (futures->is_cut)
        return intern(build, "the tree was cut: reading it would have held the program too long");
    if (!kind->layout.stage_type.v)
        return intern(build, unknown_reason(plan, &plan->tasks[kind->row]));
    if (is_partial)
        return intern(build, "a part of the tree could not be read: a type is unknown, or its "
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

static void add_task(struct build *build, const struct forest *forest, uint32_t *places,
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
    task.kind = kind_id(build, cell, is_named ? root->type : (plan_type_id){0});
    /* In tokio 1.40, not in 1.47, the bit stays when the handle is dropped after the end. */
    if (task.status == TASK_FINISHED)
        task.finished_because =
            cell->state & TOKIO_JOIN_INTEREST && !task_output_is_gone(cells, cell)
                ? FINISHED_UNREAD
                : FINISHED_PINNED;
    add_tree(build, forest, places, &task, forest->root[row]);
    task.reason = tree_reason(build, cell, &task, build->reader->futures.is_partial[row]);
    snapshot_add(build->snapshot, SNAPSHOT_TASKS, &task);
}

static void add_tasks(struct build *build)
{
    const struct task_cells *cells = &build->reader->cells;
    const struct task_futures *futures = &build->reader->futures;
    const struct task_cell **order = memory_alloc((cells->nr + 1) * sizeof(*order));
    uint32_t *places = memory_alloc((futures->nr + 1) * sizeof(*places));
    struct forest forest;
    forest_init(&forest, futures, cells->nr);
    size_t nr = 0;
    for (size_t i = 0; i < cells->nr; i++)
        if (!cells->rows[i].is_copy)
            order[nr++] = &cells->rows[i];
    qsort(order, nr, sizeof(*order), task_order);
    for (size_t i = 0; i < nr; i++)
        add_task(build, &forest, places, order[i]);
    forest_deinit(&forest);
    free(places);
    free(order);
}

/* --- the rest -------------------------------------------------------------------------------- */

static void add_runtimes(struct build *build)
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
        found[cell->runtime - 1] += !(cell->state & TOKIO_COMPLETE);
    }
    build->runtimes = memory_alloc((cells->nr_runtimes + 1) * sizeof(*build->runtimes));
    for (size_t i = 0; i < cells->nr_runtimes; i++) {
        const struct task_runtime *runtime = &cells->runtimes[i];
        struct snapshot_runtime row = {
            .addr = runtime->addr,
            .name = intern(build, names[runtime->scheduler]),
            .owned_reason = intern(build, runtime->owned_reason),
            .owned_tasks = runtime->owned,
            .found_tasks = found[i],
        };
        if (has_tasks[i])
            build->runtimes[i] = snapshot_add(build->snapshot, SNAPSHOT_RUNTIMES, &row);
    }
    free(found);
    free(has_tasks);
}

static void add_images(struct build *build)
{
    struct snapshot_facts *facts = snapshot_facts(build->snapshot);
    for (size_t i = 0; i < build->reader->nr_plans; i++) {
        const struct process_plan *own = &build->reader->plans[i];
        const struct plan_facts *plan = own->plan->facts;
        struct snapshot_image row = {
            .path = intern(build, own->image.name),
            .build_id = intern(build, plan_string(own->plan, plan->build_id)),
            .detail = plan->detail,
            .detail_reason = intern(build, plan_string(own->plan, plan->detail_reason)),
        };
        snapshot_add(build->snapshot, SNAPSHOT_IMAGES, &row);
        if (i == 0 || row.detail > facts->detail) {
            facts->detail = row.detail;
            facts->detail_reason = row.detail_reason;
        }
        for (uint32_t n = 0; n < own->plan->nr_notes; n++) {
            struct snapshot_note note = {
                intern(build, plan_string(own->plan, own->plan->notes[n].text))};
            snapshot_add(build->snapshot, SNAPSHOT_NOTES, &note);
        }
    }
}

static void add_facts(struct build *build, const char *program)
{
    const struct task_reader *reader = build->reader;
    snapshot_str path = intern(build, program);
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
static void note_unknown_order(struct build *build, uint32_t plan)
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
    struct snapshot_note note = {intern(build, text_str(&text))};
    snapshot_add(build->snapshot, SNAPSHOT_NOTES, &note);
    text_deinit(&text);
}

static void add_notes(struct build *build)
{
    for (uint32_t i = 0; i < build->reader->nr_plans; i++)
        note_unknown_order(build, i);
    if (!build->reader->target->is_truncated)
        return;
    struct snapshot_note note = {intern(
        build,
        "the core file is truncated: tasks may be missing; copy it again, or raise ulimit -c")};
    snapshot_add(build->snapshot, SNAPSHOT_NOTES, &note);
}

void snapshot_build(struct snapshot *snapshot, const struct task_reader *reader,
                    const char *program)
{
    struct build build = {.snapshot = snapshot, .reader = reader};
    build.images = memory_alloc((reader->nr_plans + 1) * sizeof(*build.images));
    map_init(&build.strings);
    map_init(&build.kinds);
    map_init(&build.states);
    for (size_t i = 0; i < reader->nr_plans; i++) {
        struct image_names *image = &build.images[i];
        image->plan = reader->plans[i].plan;
        future_types_init(&image->types, image->plan);
        arena_init(&image->arena);
        image->layouts =
            arena_alloc(&image->arena, (image->types.nr + 1) * sizeof(*image->layouts));
    }
    add_facts(&build, program);
    add_images(&build);
    add_notes(&build);
    add_runtimes(&build);
    add_tasks(&build);
    for (size_t i = 0; i < reader->nr_plans; i++) {
        arena_deinit(&build.images[i].arena);
        future_types_deinit(&build.images[i].types);
    }
    map_deinit(&build.strings);
    map_deinit(&build.kinds);
    map_deinit(&build.states);
    free(build.runtimes);
    free(build.images);
}
