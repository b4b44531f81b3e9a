/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "program/coroutines.h"

#include <dwarf.h>
#include <stdlib.h>

#include "base/parallel.h"
#include "program/awaits.h"
#include "program/demangle.h"

/* --- choosing one of many copies ------------------------------------------------------------- */

/* Hash of a type by its path, or for an array by its element and count. */
static uint64_t type_hash(const struct layout *layout, die_ref ref)
{
    uint64_t hash = 0;
    struct dwarf_die die, range;
    for (int i = 0; i < 4 && dwarf_die_at(layout->dwarf, ref, &die); i++) {
        if (dwarf_tag(&die) != DW_TAG_array_type)
            return hash_u64(index_die_hash(layout->index, &die), hash);
        for (bool more = dwarf_child(&die, &range); more; more = dwarf_sibling(&range, &range))
            hash = hash_u64(dwarf_attr_number(&range, DW_AT_count, 0) ^
                                dwarf_attr_number(&range, DW_AT_upper_bound, 0),
                            hash);
        ref = dwarf_attr_ref(&die, DW_AT_type);
    }
    return hash;
}

/* Hash of the members of one state: names, places and types. */
static uint64_t payload_hash(const struct layout *layout, die_ref payload, uint64_t hash)
{
    struct dwarf_die die, member;
    if (!dwarf_die_at(layout->dwarf, payload, &die))
        return hash;
    for (bool more = dwarf_child(&die, &member); more; more = dwarf_sibling(&member, &member)) {
        const char *name = dwarf_attr_string(&member, DW_AT_name);
        if (dwarf_tag(&member) != DW_TAG_member)
            continue;
        hash = hash_str(name ? name : "", hash);
        hash = hash_u64(dwarf_attr_number(&member, DW_AT_data_member_location, 0), hash);
        hash = hash_u64(type_hash(layout, dwarf_attr_ref(&member, DW_AT_type)), hash);
    }
    return hash;
}

/*
 * What tells two types of one path apart: the lines of their states and what lives in them.  The
 * line of the first variant (Unresumed) is that of the `fn` or `async`.
 */
static void read_shape(const struct layout *layout, struct coroutine *coroutine)
{
    struct dwarf_die die, part, variant, member;
    die_ref last = DIE_NONE; /* hostile variants may share one payload */
    if (!dwarf_die_at(layout->dwarf, coroutine->env->die, &die))
        return;
    for (bool more = dwarf_child(&die, &part); more; more = dwarf_sibling(&part, &part)) {
        if (dwarf_tag(&part) != DW_TAG_variant_part)
            continue;
        for (bool next = dwarf_child(&part, &variant); next;
             next = dwarf_sibling(&variant, &variant)) {
            if (dwarf_tag(&variant) != DW_TAG_variant || !dwarf_child(&variant, &member))
                continue;
            uint32_t line = (uint32_t)dwarf_attr_number(&member, DW_AT_decl_line, 0);
            coroutine->line = coroutine->line ? coroutine->line : line;
            die_ref payload = dwarf_attr_ref(&member, DW_AT_type);
            coroutine->shape = hash_u64(line, coroutine->shape);
            if (payload != last)
                coroutine->shape = payload_hash(layout, payload, coroutine->shape);
            last = payload;
        }
        return;
    }
}

enum { SHAPES_AT_ONCE = 64 };

struct shapes {
    const struct layout *layout;
    struct coroutine *rows;
    size_t nr;
};

/* One block of rows; reading DIEs of loaded units needs no lock. */
static void read_shapes(void *context, unsigned worker, size_t item)
{
    const struct shapes *shapes = context;
    (void)worker;
    for (size_t i = item * SHAPES_AT_ONCE; i < shapes->nr && i < (item + 1) * SHAPES_AT_ONCE; i++)
        if (!shapes->rows[i].env->is_declaration)
            read_shape(shapes->layout, &shapes->rows[i]);
}

static int coroutine_order(const void *a, const void *b)
{
    const struct coroutine *x = a, *y = b;
    if (x->env->path_hash != y->env->path_hash)
        return x->env->path_hash < y->env->path_hash ? -1 : 1;
    if (x->env->is_declaration != y->env->is_declaration)
        return x->env->is_declaration ? 1 : -1; /* complete ones first */
    if (x->env->size_bytes != y->env->size_bytes)
        return x->env->size_bytes < y->env->size_bytes ? -1 : 1;
    if (x->shape != y->shape)
        return x->shape < y->shape ? -1 : 1;
    return x->env->die < y->env->die ? -1 : x->env->die > y->env->die;
}

/* A declaration belongs to the complete type of its path, if there is one. */
static bool same_type(const struct coroutine *chosen, const struct coroutine *copy)
{
    return chosen->env->path_hash == copy->env->path_hash &&
           (copy->env->is_declaration ||
            (chosen->env->size_bytes == copy->env->size_bytes && chosen->shape == copy->shape));
}

void coroutines_choose(struct coroutines *coroutines, struct layout *layout)
{
    const struct program_index *index = layout->index;
    struct coroutine *all = memory_alloc(index->nr_envs * sizeof(*all));
    for (size_t i = 0; i < index->nr_envs; i++)
        all[i] = (struct coroutine){.env = &index->envs[i], .nr_copies = 1};
    struct shapes shapes = {layout, all, index->nr_envs};
    parallel_for((index->nr_envs + SHAPES_AT_ONCE - 1) / SHAPES_AT_ONCE, read_shapes, &shapes);
    if (index->nr_envs)
        qsort(all, index->nr_envs, sizeof(*all), coroutine_order);
    size_t nr = 0;
    for (size_t i = 0; i < index->nr_envs; i++) {
        if (!nr || !same_type(&all[nr - 1], &all[i]))
            all[nr++] = all[i];
        else
            all[nr - 1].nr_copies++;
        if (all[i].env->fn_line)
            all[nr - 1].fn_line = all[i].env->fn_line;
        const struct index_env *chosen = all[nr - 1].env;
        *map_put(&coroutines->by_die, all[i].env->die, NULL) = (uint32_t)nr;
        if (chosen != all[i].env && !chosen->is_declaration)
            layout_replace(layout, all[i].env->die, chosen->die);
    }
    coroutines->rows = all;
    coroutines->nr = nr;
}

void coroutines_free(struct coroutines *coroutines)
{
    free(coroutines->rows);
    map_deinit(&coroutines->by_die);
    *coroutines = (struct coroutines){0};
}

/* --- rows of the plan ------------------------------------------------------------------------ */

struct compiling {
    struct layout *layout;
    const struct coroutines *coroutines;
    struct map bodies;         /* row + 1 of a coroutine -> row + 1 of its best body */
    struct map bodies_by_path; /* path hash -> row + 1 of the best body of that path */
    struct map symbols;        /* hash of a mangled name -> symbol + 1 */
    const struct elf_file *symbol_file;
    struct awaits awaits;
};

/* Better: has an address, has a symbol. */
static int body_worth(const struct index_body *body)
{
    return 2 * body->has_code + (body->symbol != NULL);
}

/* What a pointer or a struct around one (Pin) points to. */
static die_ref pointee(const struct dwarf *dwarf, die_ref type)
{
    struct dwarf_die die, member;
    for (int i = 0; i < 4 && dwarf_die_at(dwarf, type, &die); i++) {
        if (dwarf_tag(&die) == DW_TAG_pointer_type)
            return dwarf_attr_ref(&die, DW_AT_type);
        bool more = dwarf_child(&die, &member);
        while (more && dwarf_tag(&member) != DW_TAG_member)
            more = dwarf_sibling(&member, &member);
        if (!more)
            break;
        type = dwarf_attr_ref(&member, DW_AT_type);
    }
    return DIE_NONE;
}

/* The coroutine that a body runs: its first parameter is a Pin<&mut env>.  Row + 1; 0: unknown. */
static uint32_t coroutine_of_body(const struct compiling *compiling, const struct index_body *body)
{
    const struct dwarf *dwarf = compiling->layout->dwarf;
    struct dwarf_die die, child;
    if (!dwarf_die_at(dwarf, body->die, &die))
        return 0;
    for (bool more = dwarf_child(&die, &child); more; more = dwarf_sibling(&child, &child)) {
        if (dwarf_tag(&child) != DW_TAG_formal_parameter)
            continue;
        const uint32_t *row = map_find(&compiling->coroutines->by_die,
                                       pointee(dwarf, dwarf_attr_ref(&child, DW_AT_type)));
        return row ? *row : 0;
    }
    return 0;
}

static void map_body(struct compiling *compiling, struct map *map, uint64_t key, uint32_t row)
{
    const struct index_body *bodies = compiling->layout->index->bodies;
    bool is_new;
    uint32_t *best = map_put(map, key, &is_new);
    if (is_new || body_worth(&bodies[row]) > body_worth(&bodies[*best - 1]))
        *best = row + 1;
}

/* The body of a coroutine; by its path alone only where no other has that path. */
static const struct index_body *find_body(const struct compiling *compiling, uint32_t row,
                                          bool is_only_one)
{
    const struct coroutine *coroutine = &compiling->coroutines->rows[row];
    const uint32_t *body = map_find(&compiling->bodies, row + 1);
    if (!body && is_only_one)
        body = map_find(&compiling->bodies_by_path, coroutine->env->path_hash);
    return body ? &compiling->layout->index->bodies[*body - 1] : NULL;
}

static void map_bodies(struct compiling *compiling)
{
    const struct program_index *index = compiling->layout->index;
    for (uint32_t i = 0; i < index->nr_bodies; i++) {
        const struct index_body *body = &index->bodies[i];
        uint32_t row = coroutine_of_body(compiling, body);
        if (row)
            map_body(compiling, &compiling->bodies, row, i);
        map_body(compiling, &compiling->bodies_by_path, body->path_hash, i);
    }
    for (uint32_t i = 0; i < compiling->symbol_file->nr_symbols; i++)
        if (compiling->symbol_file->symbols[i].type == STT_FUNC)
            *map_put(&compiling->symbols, hash_str(compiling->symbol_file->symbols[i].name, 0),
                     NULL) = i + 1;
}

static enum plan_future_kind kind_of(const char *env_name)
{
    if (str_starts_with(env_name, "{async_block"))
        return PLAN_FUTURE_BLOCK;
    return str_starts_with(env_name, "{async_closure") ? PLAN_FUTURE_CLOSURE : PLAN_FUTURE_FN;
}

static void set_code(struct compiling *compiling, const struct index_body *body,
                     const struct dwarf_die *die, struct plan_future *future)
{
    struct text name;
    text_init(&name);
    if (body->symbol && demangle_rust(body->symbol, &name))
        future->symbol = plan_builder_string(compiling->layout->builder, text_str(&name));
    text_deinit(&name);
    struct pc_ranges ranges = {0};
    dwarf_ranges(die, &ranges);
    const uint32_t *symbol =
        body->symbol ? map_find(&compiling->symbols, hash_str(body->symbol, 0)) : NULL;
    if (symbol)
        future->poll_addr = compiling->symbol_file->symbols[*symbol - 1].addr;
    else if (ranges.nr)
        future->poll_addr = ranges.rows[0].low;
    free(ranges.rows);
}

static void compile_one(struct compiling *compiling, uint32_t row, bool is_only_one)
{
    const struct coroutine *coroutine = &compiling->coroutines->rows[row];
    struct layout *layout = compiling->layout;
    struct plan_builder *builder = layout->builder;
    const struct index_env *env = coroutine->env;
    struct text path;
    text_init(&path);
    index_scope_path(layout->index, env->scope, &path);
    text_printf(&path, "%s%s", path.length ? "::" : "", env->name);
    struct plan_future future = {
        .path = plan_builder_string(builder, text_str(&path)),
        .kind = kind_of(env->name),
        .nr_copies = coroutine->nr_copies,
        .type = env->is_declaration ? (plan_type_id){0} : layout_compile(layout, env->die),
    };
    text_deinit(&path);
    const struct index_body *body_row = find_body(compiling, row, is_only_one);
    struct dwarf_die body;
    bool has_body = body_row && dwarf_die_at(layout->dwarf, body_row->die, &body);
    if (has_body)
        set_code(compiling, body_row, &body, &future);

    const struct plan_type *type =
        future.type.v ? plan_builder_row(builder, PLAN_TYPES, future.type.v) : NULL;
    if (type && type->kind != PLAN_TYPE_COROUTINE)
        future.type.v = 0; /* an env without states: corrupt */
    awaits_compile(&compiling->awaits, has_body ? &body : NULL, &future);
    /* DWARF has the line of the body's brace; a long signature begins before. */
    if (coroutine->fn_line && coroutine->fn_line < future.line)
        future.line = coroutine->fn_line;
    plan_builder_add(builder, PLAN_FUTURES, &future);
}

void coroutines_compile(const struct coroutines *coroutines, struct layout *layout,
                        const struct elf_file *symbols)
{
    struct compiling compiling = {
        .layout = layout, .coroutines = coroutines, .symbol_file = symbols};
    awaits_init(&compiling.awaits, layout, symbols->file.identity.modified_ns);
    map_bodies(&compiling);
    for (uint32_t i = 0; i < coroutines->nr; i++) {
        const struct coroutine *row = &coroutines->rows[i];
        bool same_before = i > 0 && row[-1].env->path_hash == row->env->path_hash;
        bool same_after = i + 1 < coroutines->nr && row[1].env->path_hash == row->env->path_hash;
        compile_one(&compiling, i, !same_before && !same_after);
    }
    map_deinit(&compiling.bodies);
    map_deinit(&compiling.bodies_by_path);
    awaits_deinit(&compiling.awaits);
    map_deinit(&compiling.symbols);
}
