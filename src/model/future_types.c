/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "model/future_types.h"

#include <stdlib.h>
#include <string.h>

static int biggest_first(const void *a, const void *b)
{
    const struct future_type *x = a, *y = b;
    if ((x->type != NULL) != (y->type != NULL))
        return x->type ? -1 : 1;
    if (x->size_bytes != y->size_bytes)
        return x->size_bytes > y->size_bytes ? -1 : 1;
    int order = strcmp(x->path, y->path);
    if (order)
        return order;
    return x->line < y->line ? -1 : x->line > y->line;
}

static void fill_row(struct future_types *types, uint32_t i)
{
    const struct plan *plan = types->plan;
    const struct plan_future *future = &plan->futures[i];
    const struct plan_type *type = plan_type(plan, future->type);
    types->rows[i] = (struct future_type){
        .id = {i + 1},
        .future = future,
        .type = type,
        .path = plan_string(plan, future->path),
        .file = plan_file_path(plan, future->file),
        .line = future->line,
        .size_bytes = type ? type->size_bytes : 0,
        .align_bytes = type ? type->align_bytes : 0,
    };
}

void future_types_init(struct future_types *types, const struct plan *plan)
{
    *types = (struct future_types){.plan = plan, .nr = plan->nr_futures};
    arena_init(&types->arena);
    names_init(&types->names, plan);
    types->rows = arena_alloc(&types->arena, types->nr * sizeof(*types->rows) + 1);
    types->row_of_type =
        arena_alloc(&types->arena, (plan->nr_types + 1) * sizeof(*types->row_of_type));
    for (uint32_t i = 0; i < plan->nr_futures; i++)
        fill_row(types, i);
    if (types->nr)
        qsort(types->rows, types->nr, sizeof(*types->rows), biggest_first);
    for (size_t i = types->nr; i-- > 0;)
        if (types->rows[i].type)
            types->row_of_type[types->rows[i].future->type.v] = (uint32_t)i + 1;
}

void future_types_deinit(struct future_types *types)
{
    names_deinit(&types->names);
    arena_deinit(&types->arena);
}

const struct future_type *future_types_find(const struct future_types *types, plan_type_id type)
{
    uint32_t row = types->row_of_type[type.v];
    return row ? &types->rows[row - 1] : NULL;
}

const char *future_type_name(const struct future_types *types, const struct future_type *type)
{
    if (type->name)
        return type->name;
    struct future_types *cache = (struct future_types *)types;
    struct text name;
    text_init(&name);
    names_future(&types->names, type->future, NAME_SHORT, &name);
    const char *kept = arena_strndup(&cache->arena, text_str(&name), name.length);
    text_deinit(&name);
    return cache->rows[type - types->rows].name = kept;
}

const char *future_kind_name(const struct future_type *type)
{
    static const char *const names[NR_PLAN_FUTURE_KINDS] = {
        [PLAN_FUTURE_FN] = "async fn",
        [PLAN_FUTURE_BLOCK] = "async block",
        [PLAN_FUTURE_CLOSURE] = "async closure",
    };
    return names[type->future->kind];
}
