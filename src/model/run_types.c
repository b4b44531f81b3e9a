/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Inside run_build: images, and types with their names.  The name of a task's type comes from the plan's row of
 * its vtable; that of a root future from the frame of block_on.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/run_build_part.h"
#include "model/task_kinds.h"

/* --- images ---------------------------------------------------------------------------------- */

static struct run_names *names_of(struct run_building *build, const struct plan *plan)
{
    for (size_t i = 0; i < build->nr_names; i++)
        if (build->names[i]->plan == plan)
            return build->names[i];
    struct run_names *names = memory_alloc(sizeof(*names));
    names->plan = plan;
    future_types_init(&names->types, plan);
    arena_init(&names->arena);
    names->layouts = arena_alloc(&names->arena, (names->types.nr + 1) * sizeof(*names->layouts));
    map_init(&names->vtables);
    map_init(&names->by_name);
    for (uint32_t i = plan->nr_tasks; i-- > 0;)
        if (plan->tasks[i].vtable_addr && !plan->tasks[i].is_other_name)
            *map_put(&names->vtables, plan->tasks[i].vtable_addr, NULL) = i + 1;
    build->names = array_reserve(build->names, &build->names_capacity, build->nr_names + 1,
                                 sizeof(*build->names));
    return build->names[build->nr_names++] = names;
}

static uint32_t image_id(struct run_building *build, const struct run_load *load)
{
    bool is_new;
    uint64_t key = hash_bytes(load->build_id, load->build_id_bytes, hash_str(load->path, 0));
    uint32_t *id = map_put(&build->images, key, &is_new);
    if (!is_new)
        return *id;
    char hex[2 * REGION_BUILD_ID_BYTES + 1] = "";
    for (uint32_t i = 0; i < load->build_id_bytes; i++)
        snprintf(hex + 2 * (size_t)i, 3, "%02x", load->build_id[i]);
    struct run_image image = {.path = run_intern(build, load->path),
                              .build_id = run_intern(build, hex)};
    return *id = run_add(build->run, RUN_IMAGES, &image);
}

static void add_load(struct run_building *build, struct run_load *load,
                     const struct region_image *row)
{
    *load = (struct run_load){.start = row->start, .end = row->end, .bias = row->bias};
    load->path = arena_strndup(&build->arena, row->path, strnlen(row->path, sizeof(row->path)));
    if (row->build_id_bytes <= sizeof(load->build_id)) {
        load->build_id_bytes = row->build_id_bytes;
        memcpy(load->build_id, row->build_id, row->build_id_bytes);
    }
    load->image = image_id(build, load);
}

/* What the plan of one of its loads says. */
static void set_detail(struct run_building *build, struct run_load *load, const struct plan *plan)
{
    struct run_image *image = &run_images(build->run, NULL)[load->image - 1];
    struct run_facts *facts = run_facts(build->run);
    run_str reason = run_intern(build, plan_string(plan, plan->facts->detail_reason));
    load->names = names_of(build, plan);
    image = &run_images(build->run, NULL)[load->image - 1];
    image->detail = plan->facts->detail;
    image->detail_reason = reason;
    facts = run_facts(build->run);
    if (image->detail > facts->detail || !facts->detail_reason.v) {
        facts->detail = image->detail > facts->detail ? image->detail : facts->detail;
        facts->detail_reason = reason;
    }
}

void run_images_add(struct run_building *build)
{
    struct run_row_walk walk;
    struct region_image row;
    build->nr_loads = region_nr_rows(build->region, REGION_IMAGES);
    build->loads = memory_alloc((build->nr_loads + 1) * sizeof(*build->loads));
    run_row_walk_begin(&walk, build->region, REGION_IMAGES, 0);
    for (uint32_t id; (id = run_row_walk_next(&walk, &row)) && id < build->nr_loads;) {
        if (!row.is_written)
            continue;
        struct run_load *load = &build->loads[id];
        add_load(build, load, &row);
        if (id < build->input->nr_plans && build->input->plans[id])
            set_detail(build, load, build->input->plans[id]);
    }
}

/* --- names ----------------------------------------------------------------------------------- */

/* The only type of this name. */
static plan_type_id type_by_name(struct run_names *names, const char *raw)
{
    const struct plan *plan = names->plan;
    for (uint32_t i = 0; !names->has_by_name && i < plan->nr_types; i++) {
        bool is_new;
        uint32_t *id =
            map_put(&names->by_name, hash_str(plan_string(plan, plan->types[i].name), 0), &is_new);
        *id = is_new ? i + 1 : 0;
    }
    names->has_by_name = true;
    const uint32_t *id = map_find(&names->by_name, hash_str(raw, 0));
    return (plan_type_id){id ? *id : 0};
}

void run_type_set_names(struct run_building *build, struct run_names *names, const char *raw,
                        struct run_type *type)
{
    static const struct names no_impls;
    struct text inside, name;
    text_init(&inside);
    text_init(&name);
    task_kind_behind_boxes(raw, &inside);
    const struct future_type *future =
        names ? future_types_find(&names->types, type_by_name(names, text_str(&inside))) : NULL;
    const struct names *impls = names ? &names->types.names : &no_impls;
    if (future)
        text_append_str(&name, future_type_name(&names->types, future));
    else
        names_type(impls, text_str(&inside), NAME_PATH, &name);
    type->future = run_intern(build, text_str(&name));
    text_clear(&name);
    if (future)
        names_future(impls, future->future, NAME_FULL, &name);
    else
        names_type(impls, raw, NAME_FULL, &name);
    type->full = run_intern(build, text_str(&name));
    text_deinit(&name);
    text_deinit(&inside);
}

/* The compiler merged equal code: "may be one of X, Y". */
static void set_reason(struct run_building *build, struct run_names *names,
                       const struct plan_task *task, struct run_type *type)
{
    struct text reason;
    bool any = false;
    text_init(&reason);
    text_append_str(&reason, task_kind_unknown_reason(names->plan, task));
    for (uint32_t i = 0; i < names->plan->nr_tasks; i++) {
        const struct plan_task *other = &names->plan->tasks[i];
        struct run_type also = {0};
        if (!other->is_other_name || other->vtable_addr != task->vtable_addr)
            continue;
        run_type_set_names(build, names, plan_string(names->plan, other->future), &also);
        text_printf(&reason, "%s%s",
                    any             ? ", "
                    : reason.length ? "; some may be "
                                    : "the compiler merged its code: some may be ",
                    run_string(build->run, also.future));
        any = true;
    }
    type->reason = run_intern(build, text_str(&reason));
    text_deinit(&reason);
}

const char *run_runtime_name(uint32_t scheduler)
{
    static const char *const names[NR_PLAN_SCHEDULERS] = {
        [PLAN_SCHEDULER_UNKNOWN] = "",
        [PLAN_SCHEDULER_MULTI_THREAD] = "tokio multi_thread",
        [PLAN_SCHEDULER_CURRENT_THREAD] = "tokio current_thread",
        [PLAN_SCHEDULER_LOCAL] = "tokio LocalSet",
        [PLAN_SCHEDULER_BLOCKING] = "tokio blocking pool",
    };
    return scheduler < NR_PLAN_SCHEDULERS ? names[scheduler] : "";
}

/* --- what a cell is made of ------------------------------------------------------------------ */

/* Bytes of a type's innermost members, the future left out; enums count whole. */
static uint64_t used_bytes(const struct plan *plan, plan_type_id id, plan_type_id future,
                           unsigned *visits)
{
    const struct plan_type *type = plan_type(plan, id);
    uint64_t sum = 0;
    if (!type || id.v == future.v || ++*visits > 4096)
        return 0;
    if (type->kind != PLAN_TYPE_STRUCT || !type->nr_members)
        return type->size_bytes;
    const struct plan_member *members = plan_members(plan, type);
    for (uint32_t m = 0; m < type->nr_members; m++)
        sum += used_bytes(plan, members[m].type, future, visits);
    return sum < type->size_bytes ? sum : type->size_bytes;
}

static plan_type_id member_type(const struct plan *plan, plan_type_id id, const char *name)
{
    const struct plan_type *type = plan_type(plan, id);
    const struct plan_member *members = type ? plan_members(plan, type) : NULL;
    for (uint32_t m = 0; type && m < type->nr_members; m++)
        if (strcmp(plan_string(plan, members[m].name), name) == 0)
            return members[m].type;
    return (plan_type_id){0};
}

/* The parts beside the stage, which has the future: header, scheduler, id, trailer. */
static uint64_t header_bytes(const struct plan *plan, const struct plan_task *task)
{
    unsigned visits = 0;
    plan_type_id core = member_type(plan, task->cell, "core");
    plan_type_id stage = member_type(plan, core, "stage");
    if (!core.v || !stage.v)
        return RUN_UNKNOWN;
    const struct plan_type *cell = plan_type(plan, task->cell);
    const struct plan_member *members = plan_members(plan, cell);
    uint64_t sum = 0;
    for (uint32_t m = 0; m < cell->nr_members; m++)
        sum += used_bytes(plan, members[m].type, stage, &visits);
    return sum;
}

static void set_cell(struct run_names *names, const struct plan_task *task, struct run_type *type)
{
    const struct plan *plan = names->plan;
    const struct plan_type *cell = plan_type(plan, task->cell);
    if (cell && cell->size_bytes)
        type->cell_bytes = cell->size_bytes;
    if (!type->cell_bytes)
        type->cell_bytes = RUN_UNKNOWN;
    const struct plan_type *future =
        plan_type(plan, type_by_name(names, plan_string(plan, task->future)));
    type->header_bytes = type->padding_bytes = type->payload_bytes = RUN_UNKNOWN;
    uint64_t header = cell && future ? header_bytes(plan, task) : RUN_UNKNOWN;
    if (header == RUN_UNKNOWN || header + future->size_bytes > type->cell_bytes)
        return;
    type->header_bytes = header;
    type->payload_bytes = future->size_bytes;
    type->padding_bytes = type->cell_bytes - header - future->size_bytes;
}

/* A runtime boxes big futures, and programs those that they keep in lists. */
static void set_boxed(struct run_names *names, const struct plan_task *task, struct run_type *type)
{
    const char *raw = plan_string(names->plan, task->future);
    struct text inside;
    text_init(&inside);
    task_kind_behind_boxes(raw, &inside);
    if (strcmp(text_str(&inside), raw) != 0) {
        const struct plan_type *future =
            plan_type(names->plan, type_by_name(names, text_str(&inside)));
        type->boxed_bytes = future ? future->size_bytes : RUN_UNKNOWN;
    }
    text_deinit(&inside);
}

/* --- types ----------------------------------------------------------------------------------- */

static uint64_t hash_task_type(const char *future, const char *scheduler)
{
    return hash_str(scheduler, hash_str(future, 0));
}

/* As the tracer tells it by the cell's layout, without names: a worker is a blocking task, too. */
static uint32_t kind_by_layout(const struct region_type *row)
{
    static const uint8_t kinds[] = {RUN_KIND_ASYNC, RUN_KIND_BLOCKING, RUN_KIND_UNKNOWN};
    return kinds[row->is_blocking < 2 ? row->is_blocking : 2];
}

/* What the plan says of the vtable; false: nothing. */
static bool describe(struct run_building *build, const struct run_load *load,
                     const struct region_type *row, struct run_type *type)
{
    static const uint8_t kinds[NR_PLAN_TASK_KINDS] = {[PLAN_TASK_UNKNOWN] = RUN_KIND_UNKNOWN,
                                                      [PLAN_TASK_ASYNC] = RUN_KIND_ASYNC,
                                                      [PLAN_TASK_BLOCKING] = RUN_KIND_BLOCKING,
                                                      [PLAN_TASK_WORKER] = RUN_KIND_WORKER};
    struct run_names *names = load ? load->names : NULL;
    const uint32_t *at = names ? map_find(&names->vtables, row->vtable_offset) : NULL;
    if (!at)
        return false;
    const struct plan_task *task = &names->plan->tasks[*at - 1];
    type->kind = task->kind == PLAN_TASK_UNKNOWN ? kind_by_layout(row) : kinds[task->kind];
    type->runtime = run_intern(build, run_runtime_name(task->scheduler_kind));
    run_type_set_names(build, names, task_kind_future(names->plan, task), type);
    set_reason(build, names, task, type);
    set_cell(names, task, type);
    set_boxed(names, task, type);
    return true;
}

static void set_unknown(struct run_building *build, const struct run_load *load,
                        const struct region_type *row, struct run_type *type)
{
    type->kind = kind_by_layout(row);
    type->reason = run_intern(build, !load          ? "its image is not known"
                                     : !load->names ? "nothing of its image was read (yet)"
                                                    : "the image's debug info does not name it");
    type->header_bytes = type->padding_bytes = type->payload_bytes = RUN_UNKNOWN;
    if (!type->cell_bytes)
        type->cell_bytes = RUN_UNKNOWN;
}

/* `type` has its counts. */
static uint32_t add_type(struct run_building *build, const struct region_type *row,
                         struct run_type *type)
{
    const struct run_load *load = run_load_get(build, row->image);
    type->image = load ? load->image : 0;
    type->cell_bytes = row->cell_bytes;
    type->most_at_once =
        row->most_at_once > type->live_tasks ? row->most_at_once : type->live_tasks;
    if (type->most_at_once > type->tasks)
        type->most_at_once = type->tasks; /* tasks that are just being folded */
    if (!describe(build, load, row, type))
        set_unknown(build, load, row, type);
    uint32_t id = run_add(build->run, RUN_TYPES, type);
    const uint32_t *at =
        load && load->names ? map_find(&load->names->vtables, row->vtable_offset) : NULL;
    if (at) {
        const struct plan *plan = load->names->plan;
        const struct plan_task *task = &plan->tasks[*at - 1];
        *map_put(
            &build->task_types,
            hash_task_type(plan_string(plan, task->future), plan_string(plan, task->scheduler)),
            NULL) = id;
    }
    return id;
}

void run_types_add(struct run_building *build)
{
    struct run_row_walk walk;
    struct region_type row;
    build->nr_types = region_nr_rows(build->region, REGION_TYPES);
    if (build->nr_types < 2)
        build->nr_types = 2; /* threads have the first, whatever the region says */
    build->types = memory_alloc((build->nr_types + 1) * sizeof(*build->types));
    struct run_type *rows = memory_alloc((build->nr_types + 1) * sizeof(*rows));
    run_tasks_add(build, rows);
    run_row_walk_begin(&walk, build->region, REGION_TYPES, 0);
    for (uint32_t id; (id = run_row_walk_next(&walk, &row)) && id < build->nr_types;)
        if (id > 1 && rows[id].tasks)
            build->types[id] = add_type(build, &row, &rows[id]);
    free(rows);
    if (build->threads.tasks)
        build->types[REGION_TYPE_THREADS] = run_thread_type(build);
    size_t nr;
    struct run_task *tasks = run_tasks(build->run, &nr);
    for (size_t i = 0; i < nr; i++) {
        uint32_t type = build->types[tasks[i].type];
        tasks[i].type = type ? type : run_unknown_type(build);
    }
}

/* --- types that are no vtable ---------------------------------------------------------------- */

static uint32_t plain_type(struct run_building *build, uint32_t *id, enum run_kind kind,
                           const char *reason)
{
    if (*id)
        return *id;
    struct run_type type = {.kind = kind,
                            .reason = run_intern(build, reason),
                            .cell_bytes = RUN_UNKNOWN,
                            .header_bytes = RUN_UNKNOWN,
                            .padding_bytes = RUN_UNKNOWN,
                            .payload_bytes = RUN_UNKNOWN};
    return *id = run_add(build->run, RUN_TYPES, &type);
}

uint32_t run_thread_type(struct run_building *build)
{
    return plain_type(build, &build->thread_type, RUN_KIND_THREAD, "");
}

uint32_t run_worker_type(struct run_building *build)
{
    return plain_type(build, &build->worker_type, RUN_KIND_WORKER, "");
}

uint32_t run_unknown_type(struct run_building *build)
{
    return plain_type(build, &build->unknown_type, RUN_KIND_UNKNOWN,
                      "made while this was written, or by what the tracer could not give a row");
}

uint32_t run_root_type(struct run_building *build, struct run_names *names, const char *raw)
{
    bool is_new;
    uint32_t *known = map_put(&build->root_types, hash_str(raw, 0), &is_new);
    if (!is_new)
        return *known;
    uint32_t id = 0;
    plain_type(build, &id, RUN_KIND_ROOT, "");
    struct run_type type = run_types(build->run, NULL)[id - 1];
    run_type_set_names(build, names, raw, &type);
    run_types(build->run, NULL)[id - 1] = type;
    return *map_put(&build->root_types, hash_str(raw, 0), NULL) = id;
}
