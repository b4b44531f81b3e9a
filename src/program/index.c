/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "program/index.h"

#include <dwarf.h>
#include <stdlib.h>

#include "base/parallel.h"
#include "base/search.h"
#include "base/text.h"
#include "program/index_part.h"

struct build {
    struct dwarf_unit **units;
    size_t nr_units;
    struct index_part *parts;
    unsigned *worker_of; /* which worker read a unit */
};

uint64_t index_path_hash(uint64_t outer, const char *step)
{
    return hash_str(step, outer);
}

static void build_unit(void *context, unsigned worker, size_t item)
{
    struct build *build = context;
    struct index_part *part = &build->parts[worker];
    build->worker_of[item] = worker;
    if (dwarf_unit_load(build->units[item], &part->arena))
        index_read_unit(part, build->units[item]);
}

static int bigger_first(const void *a, const void *b)
{
    const struct dwarf_unit *x = *(struct dwarf_unit *const *)a;
    const struct dwarf_unit *y = *(struct dwarf_unit *const *)b;
    uint64_t x_bytes = x->end - x->offset, y_bytes = y->end - y->offset;
    if (x_bytes != y_bytes)
        return x_bytes > y_bytes ? -1 : 1;
    return x < y ? -1 : x > y;
}

/* The units, the biggest first, so that the workers end together. */
static void list_units(struct build *build, struct dwarf *dwarf, bool only_own)
{
    build->units = memory_alloc(dwarf->nr_units * sizeof(*build->units));
    build->worker_of = memory_alloc(dwarf->nr_units * sizeof(*build->worker_of));
    for (size_t f = 0; f < dwarf->nr_files; f++)
        for (uint32_t i = 0; i < dwarf->files[f]->nr_units; i++) {
            struct dwarf_unit *unit = &dwarf->files[f]->units[i];
            /* A split unit that no skeleton names is of another build. */
            if (!only_own || !unit->file->is_split || unit->skeleton)
                build->units[build->nr_units++] = unit;
        }
    qsort(build->units, build->nr_units, sizeof(*build->units), bigger_first);
}

static void append_items(struct index_items *to, const struct index_items *from)
{
    if (!from->nr)
        return;
    to->rows = array_reserve(to->rows, &to->capacity, to->nr + from->nr, sizeof(*to->rows));
    memcpy(to->rows + to->nr, from->rows, from->nr * sizeof(*to->rows));
    to->nr += from->nr;
}

static int env_order(const void *a, const void *b)
{
    const struct index_env *x = a, *y = b;
    return x->die < y->die ? -1 : x->die > y->die;
}

static int body_order(const void *a, const void *b)
{
    const struct index_body *x = a, *y = b;
    return x->die < y->die ? -1 : x->die > y->die;
}

static int item_order(const void *a, const void *b)
{
    const struct index_item *x = a, *y = b;
    return x->die < y->die ? -1 : x->die > y->die;
}

static void sort_items(struct index_items *items)
{
    if (items->nr)
        qsort(items->rows, items->nr, sizeof(*items->rows), item_order);
}

static void count_rows(struct program_index *index, const struct index_part *parts,
                       unsigned nr_parts)
{
    for (unsigned i = 0; i < nr_parts; i++) {
        index->nr_scopes += parts[i].nr_scopes;
        index->nr_envs += parts[i].nr_envs;
        index->nr_bodies += parts[i].nr_bodies;
        index->nr_dies += parts[i].nr_dies;
        index->nr_rust_types += parts[i].nr_rust_types;
    }
}

/* Scope ids of the units: from ids of a part to ids of the whole. */
static void place_scopes(const struct build *build, unsigned nr_parts)
{
    uint32_t *base = memory_alloc(nr_parts * sizeof(*base));
    for (unsigned p = 1; p < nr_parts; p++)
        base[p] = base[p - 1] + (uint32_t)build->parts[p - 1].nr_scopes;
    for (size_t i = 0; i < build->nr_units; i++)
        build->units[i]->first_scope += base[build->worker_of[i]];
    free(base);
}

static void merge(struct program_index *index, struct index_part *parts, unsigned nr_parts)
{
    size_t scopes = 0, envs = 0, bodies = 0;
    count_rows(index, parts, nr_parts);
    index->scopes = arena_alloc_raw(&index->arena, index->nr_scopes * sizeof(*index->scopes));
    index->envs = arena_alloc_raw(&index->arena, index->nr_envs * sizeof(*index->envs));
    index->bodies = arena_alloc_raw(&index->arena, index->nr_bodies * sizeof(*index->bodies));
    for (unsigned p = 0; p < nr_parts; p++) {
        struct index_part *part = &parts[p];
        uint32_t base = (uint32_t)scopes;
        for (size_t i = 0; i < part->nr_scopes; i++, scopes++) {
            index->scopes[scopes] = part->scopes[i];
            if (part->scopes[i].parent.v)
                index->scopes[scopes].parent.v += base;
        }
        for (size_t i = 0; i < part->nr_envs; i++, envs++) {
            index->envs[envs] = part->envs[i];
            if (part->envs[i].scope.v)
                index->envs[envs].scope.v += base;
        }
        for (size_t i = 0; i < part->nr_bodies; i++)
            index->bodies[bodies++] = part->bodies[i];
        append_items(&index->task_polls, &part->task_polls);
        append_items(&index->task_cells, &part->task_cells);
        append_items(&index->dyn_vtables, &part->dyn_vtables);
        append_items(&index->polls, &part->polls);
        append_items(&index->constructors, &part->constructors);
    }
    if (index->nr_envs)
        qsort(index->envs, index->nr_envs, sizeof(*index->envs), env_order);
    if (index->nr_bodies)
        qsort(index->bodies, index->nr_bodies, sizeof(*index->bodies), body_order);
    sort_items(&index->task_polls);
    sort_items(&index->task_cells);
    sort_items(&index->dyn_vtables);
    sort_items(&index->polls);
    sort_items(&index->constructors);
}

/* Is the function the one that the coroutine is written in, and not one that passes it on? */
static bool is_own_constructor(const struct program_index *index, const struct index_env *env,
                               const struct index_item *function)
{
    if (!env || !env->scope.v)
        return false;
    const char *name = index->scopes[env->scope.v - 1].name;
    size_t length = strlen(name);
    return strncmp(function->name, name, length) == 0 &&
           (!function->name[length] || function->name[length] == '<');
}

static const struct index_env *env_of(const struct program_index *index, die_ref die)
{
    struct index_env key = {.die = die};
    return index->nr_envs ? bsearch(&key, index->envs, index->nr_envs, sizeof(key), env_order)
                          : NULL;
}

/* Keeps these; the line of an async fn goes to its coroutine. */
static void keep_own_constructors(struct program_index *index)
{
    size_t nr = 0;
    for (size_t i = 0; i < index->constructors.nr; i++) {
        const struct index_item *function = &index->constructors.rows[i];
        struct index_env *env = (struct index_env *)env_of(index, function->die);
        if (!is_own_constructor(index, env, function))
            continue;
        if (str_starts_with(env->name, "{async_fn"))
            env->fn_line = function->line;
        index->constructors.rows[nr++] = *function;
    }
    index->constructors.nr = nr;
}

/* Where no function below an {impl#N} has a symbol, an async fn that DWARF only declares may. */
static void apply_constructors(struct program_index *index)
{
    for (size_t i = 0; i < index->constructors.nr; i++) {
        const struct index_env *env = env_of(index, index->constructors.rows[i].die);
        uint32_t depth = 0;
        for (scope_id at = env ? env->scope : (scope_id){0}; at.v; depth++) {
            struct index_scope *scope = &index->scopes[at.v - 1];
            if (str_starts_with(scope->name, "{impl#") && !scope->impl_symbol &&
                index->constructors.rows[i].symbol) {
                scope->impl_symbol = index->constructors.rows[i].symbol;
                scope->impl_depth = depth;
            }
            at = scope->parent;
        }
    }
}

static void count_units(struct program_index *index, const struct build *build)
{
    index->nr_units = (uint32_t)build->nr_units;
    for (size_t i = 0; i < build->nr_units; i++) {
        index->nr_unreadable_units += !build->units[i]->readable;
        index->nr_rust_units += build->units[i]->is_rust;
    }
}

static void load_unit(void *context, unsigned worker, size_t item)
{
    struct build *build = context;
    dwarf_unit_load(build->units[item], &build->parts[worker].arena);
}

void index_load_units(struct dwarf *dwarf)
{
    struct build build = {0};
    list_units(&build, dwarf, false);
    unsigned nr_parts = parallel_workers(build.nr_units);
    build.parts = memory_alloc(nr_parts * sizeof(*build.parts));
    parallel_for(build.nr_units, load_unit, &build);
    for (unsigned i = 0; i < nr_parts; i++)
        arena_take(&dwarf->arena, &build.parts[i].arena);
    free(build.parts);
    free(build.units);
    free(build.worker_of);
}

void index_build(struct program_index *index, struct dwarf *dwarf)
{
    *index = (struct program_index){0};
    arena_init(&index->arena);
    struct build build = {0};
    list_units(&build, dwarf, true);
    unsigned nr_parts = parallel_workers(build.nr_units);
    build.parts = memory_alloc(nr_parts * sizeof(*build.parts));
    parallel_for(build.nr_units, build_unit, &build);
    count_units(index, &build);
    merge(index, build.parts, nr_parts);
    place_scopes(&build, nr_parts);
    keep_own_constructors(index);
    apply_constructors(index);
    for (unsigned i = 0; i < nr_parts; i++) {
        arena_take(&dwarf->arena, &build.parts[i].arena);
        index_part_free(&build.parts[i]);
    }
    free(build.parts);
    free(build.units);
    free(build.worker_of);
}

void index_free(struct program_index *index)
{
    free(index->task_polls.rows);
    free(index->task_cells.rows);
    free(index->dyn_vtables.rows);
    free(index->polls.rows);
    free(index->constructors.rows);
    arena_deinit(&index->arena);
    *index = (struct program_index){0};
}

/* The steps of a path, innermost first; at most INDEX_MAX_SCOPE_DEPTH. */
static uint32_t path_steps(const struct program_index *index, scope_id scope,
                           const char *steps[INDEX_MAX_SCOPE_DEPTH])
{
    uint32_t nr = 0;
    for (; scope.v && nr < INDEX_MAX_SCOPE_DEPTH; scope = index->scopes[scope.v - 1].parent)
        steps[nr++] = index->scopes[scope.v - 1].name;
    return nr;
}

void index_scope_path(const struct program_index *index, scope_id scope, struct text *path)
{
    const char *steps[INDEX_MAX_SCOPE_DEPTH];
    for (uint32_t nr = path_steps(index, scope, steps); nr--;) {
        if (path->length)
            text_append_str(path, "::");
        text_append_str(path, steps[nr]);
    }
}

uint64_t index_die_hash(const struct program_index *index, const struct dwarf_die *die)
{
    scope_id scope = index_scope_of(index, die);
    const char *own = dwarf_attr_string(die, DW_AT_name);
    return index_path_hash(scope.v ? index->scopes[scope.v - 1].path_hash : 0, own ? own : "?");
}

scope_id index_scope_of(const struct program_index *index, const struct dwarf_die *die)
{
    uint32_t first = die->unit->first_scope;
    const struct index_scope *scopes = &index->scopes[first];
    /* The last one that begins before; the DIE is in it or in one that holds it. */
    size_t before = SEARCH_UP_TO(scopes, die->unit->nr_scopes, begin, die->offset - 1);
    scope_id scope = {before ? first + (uint32_t)before : 0};
    while (scope.v && index->scopes[scope.v - 1].end <= die->offset)
        scope = index->scopes[scope.v - 1].parent;
    return scope;
}

void index_qualified_name(const struct program_index *index, const struct dwarf_die *die,
                          struct text *name)
{
    const char *own = dwarf_attr_string(die, DW_AT_name);
    index_scope_path(index, index_scope_of(index, die), name);
    if (name->length)
        text_append_str(name, "::");
    text_append_str(name, own ? own : "?");
}

size_t index_find_types(struct dwarf *dwarf, struct map *wanted, die_ref **found)
{
    struct build build = {0};
    list_units(&build, dwarf, true);
    unsigned nr_parts = parallel_workers(build.nr_units);
    build.parts = memory_alloc(nr_parts * sizeof(*build.parts));
    for (unsigned i = 0; i < nr_parts; i++)
        build.parts[i].wanted = wanted;
    parallel_for(build.nr_units, build_unit, &build);
    struct index_items all = {0};
    for (unsigned i = 0; i < nr_parts; i++) {
        append_items(&all, &build.parts[i].found);
        index_part_free(&build.parts[i]);
    }
    sort_items(&all);
    size_t nr = 0;
    *found = memory_alloc((wanted->count + 1) * sizeof(**found));
    for (size_t i = 0; i < all.nr; i++) {
        uint32_t *value = map_find(wanted, all.rows[i].addr);
        if (value && !*value) {
            (*found)[nr++] = all.rows[i].die;
            *value = (uint32_t)nr;
        }
    }
    free(all.rows);
    free(build.parts);
    free(build.units);
    free(build.worker_of);
    return nr;
}
