/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Opening a plan.  Every id and offset in it is checked here, once.  Types may refer to types
 * only with a smaller id (their parts are compiled first), so that no walk over a plan can loop.
 */
#include "plan/plan.h"

#include <string.h>

const uint32_t plan_row_bytes[NR_PLAN_SECTIONS] = {
    [PLAN_STRINGS] = 1,
    [PLAN_FACTS] = sizeof(struct plan_facts),
    [PLAN_FILES] = sizeof(struct plan_file),
    [PLAN_TYPES] = sizeof(struct plan_type),
    [PLAN_MEMBERS] = sizeof(struct plan_member),
    [PLAN_VARIANTS] = sizeof(struct plan_variant),
    [PLAN_FUTURES] = sizeof(struct plan_future),
    [PLAN_AWAITS] = sizeof(struct plan_await),
    [PLAN_TASKS] = sizeof(struct plan_task),
    [PLAN_VTABLES] = sizeof(struct plan_vtable),
    [PLAN_IMPLS] = sizeof(struct plan_impl),
    [PLAN_SOURCES] = sizeof(struct plan_source),
    [PLAN_NOTES] = sizeof(struct plan_note),
};

static bool str_ok(const struct plan *plan, plan_str str)
{
    return str.v < plan->nr_string_bytes;
}

/* Are ids first .. first+nr-1 rows of a table of `rows`? */
static bool span_ok(uint32_t first, uint32_t nr, uint32_t rows)
{
    return nr == 0 || (first >= 1 && first <= rows && nr <= rows - (first - 1));
}

static bool types_ok(const struct plan *plan)
{
    for (uint32_t i = 0; i < plan->nr_types; i++) {
        const struct plan_type *type = &plan->types[i];
        if (!str_ok(plan, type->name) || type->kind >= NR_PLAN_TYPE_KINDS ||
            !span_ok(type->first_member, type->nr_members, plan->nr_members) ||
            !span_ok(type->first_variant, type->nr_variants, plan->nr_variants) ||
            type->element.v > i || type->discr_type.v > i || type->pointee.v > plan->nr_types)
            return false;
        const struct plan_member *members = plan_members(plan, type);
        for (uint32_t m = 0; m < type->nr_members; m++)
            if (members[m].type.v > i)
                return false;
        const struct plan_variant *variants = plan_variants(plan, type);
        for (uint32_t v = 0; v < type->nr_variants; v++)
            if (variants[v].payload.v > i)
                return false;
    }
    return true;
}

static bool parts_ok(const struct plan *plan)
{
    for (uint32_t i = 0; i < plan->nr_members; i++)
        if (!str_ok(plan, plan->members[i].name))
            return false;
    for (uint32_t i = 0; i < plan->nr_variants; i++)
        if (!str_ok(plan, plan->variants[i].name) || plan->variants[i].file.v > plan->nr_files)
            return false;
    for (uint32_t i = 0; i < plan->nr_files; i++)
        if (!str_ok(plan, plan->files[i].path))
            return false;
    for (uint32_t i = 0; i < plan->nr_awaits; i++)
        if (!str_ok(plan, plan->awaits[i].macro) || plan->awaits[i].file.v > plan->nr_files)
            return false;
    for (uint32_t i = 0; i < plan->nr_impls; i++)
        if (!str_ok(plan, plan->impls[i].path) || !str_ok(plan, plan->impls[i].display))
            return false;
    for (uint32_t i = 0; i < plan->nr_vtables; i++)
        if (!str_ok(plan, plan->vtables[i].name) || plan->vtables[i].type.v > plan->nr_types)
            return false;
    for (uint32_t i = 0; i < plan->nr_sources; i++)
        if (!str_ok(plan, plan->sources[i].path) || !str_ok(plan, plan->sources[i].role))
            return false;
    for (uint32_t i = 0; i < plan->nr_notes; i++)
        if (!str_ok(plan, plan->notes[i].text))
            return false;
    return true;
}

static bool futures_ok(const struct plan *plan)
{
    for (uint32_t i = 0; i < plan->nr_futures; i++) {
        const struct plan_future *future = &plan->futures[i];
        if (!str_ok(plan, future->path) || !str_ok(plan, future->symbol) ||
            future->type.v > plan->nr_types || future->kind >= NR_PLAN_FUTURE_KINDS ||
            future->file.v > plan->nr_files)
            return false;
        const struct plan_type *type = plan_type(plan, future->type);
        if (type && (type->kind != PLAN_TYPE_COROUTINE ||
                     !span_ok(future->first_await, type->nr_variants, plan->nr_awaits)))
            return false;
    }
    for (uint32_t i = 0; i < plan->nr_tasks; i++) {
        const struct plan_task *task = &plan->tasks[i];
        if (!str_ok(plan, task->future) || !str_ok(plan, task->scheduler) ||
            task->cell.v > plan->nr_types || task->future_id.v > plan->nr_futures ||
            task->name_source >= NR_PLAN_NAME_SOURCES || task->kind >= NR_PLAN_TASK_KINDS ||
            task->scheduler_kind >= NR_PLAN_SCHEDULERS)
            return false;
    }
    return true;
}

static bool facts_ok(const struct plan *plan)
{
    return plan->facts->detail <= PLAN_DETAIL_FULL && plan->facts->level < NR_PLAN_LEVELS &&
           str_ok(plan, plan->facts->detail_reason) && str_ok(plan, plan->facts->build_id);
}

static const void *rows_of(const struct plan *plan, enum plan_section_id id, uint32_t *nr)
{
    const struct plan_header *header = (const struct plan_header *)plan->bytes;
    *nr = header->sections[id].nr_rows;
    return plan->bytes + header->sections[id].offset;
}

static bool sections_ok(const struct plan_header *header, uint64_t size)
{
    for (int i = 0; i < NR_PLAN_SECTIONS; i++) {
        const struct plan_section *section = &header->sections[i];
        if (section->row_bytes != plan_row_bytes[i] || section->offset % 8 ||
            section->offset > size ||
            (uint64_t)section->nr_rows * section->row_bytes > size - section->offset)
            return false;
    }
    return header->sections[PLAN_FACTS].nr_rows == 1 && header->sections[PLAN_STRINGS].nr_rows;
}

bool plan_open(struct plan *plan, const void *bytes, uint64_t size, const char **problem)
{
    const struct plan_header *header = bytes;
    memset(plan, 0, sizeof(*plan));
    plan->bytes = bytes;
    plan->size_bytes = size;
    *problem = "not a plan";
    if (size < sizeof(*header) || memcmp(header->magic, PLAN_MAGIC, sizeof(header->magic)) != 0)
        return false;
    *problem = "a plan of another version";
    if (header->version != PLAN_VERSION || header->nr_sections != NR_PLAN_SECTIONS)
        return false;
    *problem = "a truncated or corrupt plan";
    if (header->file_bytes != size || !sections_ok(header, size))
        return false;
    uint32_t nr_facts;
    plan->strings = rows_of(plan, PLAN_STRINGS, &plan->nr_string_bytes);
    plan->facts = rows_of(plan, PLAN_FACTS, &nr_facts);
    plan->files = rows_of(plan, PLAN_FILES, &plan->nr_files);
    plan->types = rows_of(plan, PLAN_TYPES, &plan->nr_types);
    plan->members = rows_of(plan, PLAN_MEMBERS, &plan->nr_members);
    plan->variants = rows_of(plan, PLAN_VARIANTS, &plan->nr_variants);
    plan->futures = rows_of(plan, PLAN_FUTURES, &plan->nr_futures);
    plan->awaits = rows_of(plan, PLAN_AWAITS, &plan->nr_awaits);
    plan->tasks = rows_of(plan, PLAN_TASKS, &plan->nr_tasks);
    plan->vtables = rows_of(plan, PLAN_VTABLES, &plan->nr_vtables);
    plan->impls = rows_of(plan, PLAN_IMPLS, &plan->nr_impls);
    plan->sources = rows_of(plan, PLAN_SOURCES, &plan->nr_sources);
    plan->notes = rows_of(plan, PLAN_NOTES, &plan->nr_notes);
    if (plan->strings[0] != 0 || plan->strings[plan->nr_string_bytes - 1] != 0)
        return false;
    if (!facts_ok(plan) || !types_ok(plan) || !parts_ok(plan) || !futures_ok(plan))
        return false;
    *problem = NULL;
    return true;
}
