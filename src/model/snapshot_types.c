/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <string.h>

#include "model/leaf_names.h"
#include "model/snapshot_part.h"
#include "model/task_kinds.h"

snapshot_str snapshot_intern(struct snapshot_building *build, const char *text)
{
    bool is_new;
    if (!text || !*text)
        return (snapshot_str){0};
    uint32_t *known = map_put(&build->strings, hash_str(text, 0), &is_new);
    if (is_new)
        *known = snapshot_add_string(build->snapshot, text).v + 1;
    return (snapshot_str){*known - 1};
}

void snapshot_add_note(struct snapshot_building *build, const char *text)
{
    const struct snapshot_note note = {snapshot_intern(build, text)};
    snapshot_add(build->snapshot, SNAPSHOT_NOTES, &note);
}

/* --- names ----------------------------------------------------------------------------------- */

snapshot_str snapshot_raw_name(struct snapshot_building *build, const struct image_names *image,
                               const char *raw, enum name_style style)
{
    struct text name;
    text_init(&name);
    names_type(&image->types.names, raw, style, &name);
    snapshot_str str = snapshot_intern(build, text_str(&name));
    text_deinit(&name);
    return str;
}

snapshot_str snapshot_type_name(struct snapshot_building *build, const struct image_names *image,
                                plan_type_id id, enum name_style style)
{
    const struct future_type *future = future_types_find(&image->types, id);
    if (!future)
        return snapshot_raw_name(build, image,
                                 plan_string(image->plan, plan_type(image->plan, id)->name), style);
    if (style != NAME_FULL)
        return snapshot_intern(build, future_type_name(&image->types, future));
    struct text name;
    text_init(&name);
    names_future(&image->types.names, future->future, NAME_FULL, &name);
    snapshot_str str = snapshot_intern(build, text_str(&name));
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

const struct state_layout *snapshot_layout_of(struct snapshot_building *build,
                                              const struct task_frame *frame)
{
    struct image_names *image = &build->images[frame->plan];
    const struct future_type *future = future_types_find(&image->types, frame->type);
    return future ? layout_of(image, future, frame->variant) : NULL;
}

static void add_slots(struct snapshot_building *build, struct image_names *image,
                      const struct state_layout *layout, struct snapshot_state *state)
{
    for (uint32_t i = 0; i < layout->nr_slots; i++) {
        const struct state_slot *slot = &layout->slots[i];
        struct snapshot_slot row = {
            .name = snapshot_intern(build, slot->name),
            .type = slot->type.v ? snapshot_type_name(build, image, slot->type, NAME_SHORT)
                                 : (snapshot_str){0},
            .offset_bytes = slot->offset_bytes,
            .inline_bytes = slot->size_bytes,
        };
        uint32_t id = snapshot_add(build->snapshot, SNAPSHOT_SLOTS, &row);
        state->first_slot = i ? state->first_slot : id;
    }
    state->nr_slots = layout->nr_slots;
}

static void set_place(struct snapshot_building *build, struct image_names *image,
                      const struct future_type *future, const struct state_layout *layout,
                      struct snapshot_state *state)
{
    state->state = snapshot_intern(build, plan_string(image->plan, layout->variant->name));
    if (state_is_suspended(image->plan, layout)) {
        state->file = snapshot_intern(build, state_await_file(image->plan, layout, &state->line));
        state->macro = snapshot_intern(build, state_macro(image->plan, layout));
    } else {
        state->file = snapshot_intern(build, future->file);
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

uint32_t snapshot_state_id(struct snapshot_building *build, const struct task_frame *frame)
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
        .future = snapshot_type_name(build, image, frame->type, NAME_PATH),
        .full = snapshot_type_name(build, image, frame->type, NAME_FULL),
        .future_bytes = type->size_bytes,
    };
    const char *words = leaf_name(snapshot_string(build->snapshot, state.full));
    if (words)
        state.waits_for = snapshot_intern(build, words);
    else if (is_leaf(&build->reader->plans[frame->plan], frame->type))
        state.waits_for = snapshot_type_name(build, image, frame->type, NAME_SHORT);
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
            plan_type(own->plan, plan_find_pointer(own->plan, id, &at));
        if (!pointer || !pointer->pointee.v || own->types[id.v - 1].kind == WALK_DYN)
            break;
        id = pointer->pointee;
    }
    return id;
}

/* The other names of a vtable, which the compiler merged with this one. */
static void add_also(struct snapshot_building *build, const struct image_names *image, uint32_t row,
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
        task_kind_behind_boxes(plan_string(plan, task->future), &inside);
        struct snapshot_also also = {
            .future = snapshot_raw_name(build, image, text_str(&inside), NAME_PATH)};
        uint32_t id = snapshot_add(build->snapshot, SNAPSHOT_ALSO, &also);
        kind->first_also = kind->nr_also++ ? kind->first_also : id;
    }
    text_deinit(&inside);
}

uint32_t snapshot_kind_id(struct snapshot_building *build, const struct task_cell *cell,
                          plan_type_id future)
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
    const char *raw = task_kind_future(plan, task);
    struct snapshot_kind kind = {
        .image = source->plan + 1,
        .kind = kinds[task->kind],
        .scheduler = schedulers[task->scheduler_kind],
        .cell_bytes = cell_type ? cell_type->size_bytes : UNKNOWN_BYTES,
        .future_bytes = type && (type->size_bytes || type->kind != PLAN_TYPE_OPAQUE)
                            ? type->size_bytes
                            : UNKNOWN_BYTES,
    };
    if (type) {
        kind.future = snapshot_type_name(build, image, future, NAME_PATH);
        kind.full = snapshot_type_name(build, image, future, NAME_FULL);
    } else {
        struct text inside;
        text_init(&inside);
        task_kind_behind_boxes(raw, &inside);
        kind.future = snapshot_raw_name(build, image, text_str(&inside), NAME_PATH);
        text_deinit(&inside);
        kind.full = snapshot_raw_name(build, image, raw, NAME_FULL);
    }
    if (!type || !cell_type)
        kind.reason = snapshot_intern(build, task_kind_unknown_reason(plan, task));
    add_also(build, image, source->row, &kind);
    uint32_t id = snapshot_add(build->snapshot, SNAPSHOT_KINDS, &kind);
    *map_put(&build->kinds, key, NULL) = id;
    return id;
}
