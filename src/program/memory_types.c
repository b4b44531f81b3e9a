/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "program/memory_types.h"

#include <dwarf.h>
#include <string.h>

/* --- trait objects --------------------------------------------------------------------------- */

static void add_vtables(struct layout *layout, enum plan_level level)
{
    const struct index_items *items = &layout->index->dyn_vtables;
    for (size_t i = 0; i < items->nr; i++) {
        struct dwarf_die variable, type;
        struct plan_vtable row = {.addr = items->rows[i].addr, .die = DIE_NONE};
        if (dwarf_die_at(layout->dwarf, items->rows[i].die, &variable) &&
            dwarf_die_at(layout->dwarf, dwarf_attr_ref(&variable, DW_AT_type), &type))
            row.die = dwarf_attr_ref(&type, DW_AT_containing_type);
        if (level == PLAN_LEVEL_MEMORY)
            row.type = layout_compile(layout, row.die);
        row.name = plan_builder_string(layout->builder, items->rows[i].name);
        plan_builder_add(layout->builder, PLAN_VTABLES, &row);
    }
}

/* --- pointers -------------------------------------------------------------------------------- */

/* The type that template parameter `name` of a DIE stands for. */
static die_ref template_parameter(const struct dwarf_die *die, const char *name)
{
    struct dwarf_die child;
    for (bool more = dwarf_child(die, &child); more; more = dwarf_sibling(&child, &child)) {
        const char *own = dwarf_attr_string(&child, DW_AT_name);
        if (dwarf_tag(&child) == DW_TAG_template_type_parameter && own && strcmp(own, name) == 0)
            return dwarf_attr_ref(&child, DW_AT_type);
    }
    return DIE_NONE;
}

/* Collections whose pointers are to plain bytes: only their parameter tells the elements' type. */
static bool has_elements(const char *name)
{
    return str_starts_with(name, "alloc::vec::Vec<") ||
           str_starts_with(name, "alloc::collections::vec_deque::VecDeque<");
}

static die_ref pointee_die(const struct layout *layout, const struct plan_type *type)
{
    struct dwarf_die die;
    if (type->die == DIE_NONE || !dwarf_die_at(layout->dwarf, type->die, &die))
        return DIE_NONE;
    if (type->kind == PLAN_TYPE_POINTER)
        return dwarf_attr_ref(&die, DW_AT_type);
    if (type->kind == PLAN_TYPE_STRUCT &&
        has_elements(plan_builder_text(layout->builder, type->name)))
        return template_parameter(&die, "T");
    return DIE_NONE;
}

/* Each pointee may bring new pointers, which are behind it in the table. */
static void compile_pointees(struct layout *layout)
{
    struct plan_builder *builder = layout->builder;
    for (uint32_t id = 1; id <= builder->tables[PLAN_TYPES].nr; id++) {
        die_ref ref = pointee_die(layout, plan_builder_row(builder, PLAN_TYPES, id));
        if (ref == DIE_NONE)
            continue;
        plan_type_id pointee = layout_compile(layout, ref);
        ((struct plan_type *)plan_builder_row(builder, PLAN_TYPES, id))->pointee = pointee;
    }
}

/* --- futures --------------------------------------------------------------------------------- */

static const char *parameter_type_name(const struct layout *layout,
                                       const struct dwarf_die *parameter)
{
    struct dwarf_die type;
    if (!dwarf_die_at(layout->dwarf, dwarf_attr_ref(parameter, DW_AT_type), &type))
        return NULL;
    return dwarf_attr_string(&type, DW_AT_name);
}

/* The name of X of `fn poll(self: Pin<&mut X>, cx: &mut Context)`. */
static bool polled_type(const struct layout *layout, die_ref function, const char **polled,
                        size_t *polled_length)
{
    static const char begin[] = "Pin<&mut ";
    struct dwarf_die die, child;
    unsigned nr = 0;
    bool is_method = false;
    if (!dwarf_die_at(layout->dwarf, function, &die))
        return false;
    for (bool more = dwarf_child(&die, &child); more; more = dwarf_sibling(&child, &child)) {
        if (dwarf_tag(&child) != DW_TAG_formal_parameter)
            continue;
        const char *name = parameter_type_name(layout, &child);
        if (!name)
            return false;
        if (nr == 1)
            return is_method && strcmp(name, "&mut core::task::wake::Context") == 0;
        size_t length = strlen(name);
        is_method = str_starts_with(name, begin) && name[length - 1] == '>';
        if (is_method)
            *polled = name + strlen(begin), *polled_length = length - strlen(begin) - 1;
        nr++;
    }
    return false;
}

/*
 * The compiler merges polls of equal code and keeps one: of a generic type with a poll all
 * instances have one.  Not of those that are futures only when what is in them is.
 */
static bool generic_hash(const char *name, size_t length, uint64_t *hash)
{
    static const char *const wrappers[] = {"core::pin::Pin<", "alloc::boxed::Box<",
                                           "core::panic::unwind_safe::AssertUnwindSafe<"};
    const char *arguments = memchr(name, '<', length);
    if (!arguments || arguments == name || *name == '&' || *name == '*')
        return false;
    for (size_t i = 0; i < sizeof(wrappers) / sizeof(*wrappers); i++)
        if (strncmp(name, wrappers[i], strlen(wrappers[i])) == 0)
            return false;
    *hash = hash_bytes(name, (size_t)(arguments - name), 1);
    return true;
}

static bool is_polled(const struct map *polled, const char *name)
{
    uint64_t generic;
    return map_find(polled, hash_str(name, 0)) ||
           (generic_hash(name, strlen(name), &generic) && map_find(polled, generic));
}

static void mark_futures(struct layout *layout)
{
    struct plan_builder *builder = layout->builder;
    const struct index_items *polls = &layout->index->polls;
    struct map polled;
    map_init(&polled);
    for (size_t i = 0; i < polls->nr; i++) {
        const char *name = NULL;
        size_t length = 0;
        uint64_t generic;
        if (!polled_type(layout, polls->rows[i].die, &name, &length))
            continue;
        map_put(&polled, hash_bytes(name, length, 0), NULL);
        if (generic_hash(name, length, &generic))
            map_put(&polled, generic, NULL);
    }
    for (uint32_t id = 1; id <= builder->tables[PLAN_TYPES].nr; id++) {
        struct plan_type *type = plan_builder_row(builder, PLAN_TYPES, id);
        type->is_future = type->kind == PLAN_TYPE_COROUTINE ||
                          is_polled(&polled, plan_builder_text(builder, type->name));
    }
    map_deinit(&polled);
}

void memory_types_compile(struct layout *layout, enum plan_level level)
{
    add_vtables(layout, level);
    if (level != PLAN_LEVEL_MEMORY)
        return;
    compile_pointees(layout);
    mark_futures(layout);
}
