/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "program/index.h"

#include <dwarf.h>
#include <stdlib.h>

#include "base/parallel.h"
#include "base/text.h"
#include "program/dwarf_form.h"

/* The scope of children of anything but a namespace. */
#define SCOPE_OPAQUE 0x80000000u
/* Deeper paths are not read: no source has them, and walks up a path stay short. */
enum { SCOPE_NONE = 0, MAX_SCOPE_DEPTH = 128 };

/* What one worker gathers; scope ids are local until the parts are merged. */
struct part {
    struct arena arena; /* abbreviations: lives as long as the index */
    struct index_scope *scopes;
    size_t nr_scopes, scopes_capacity;
    struct index_env *envs;
    size_t nr_envs, envs_capacity;
    struct index_body *bodies;
    size_t nr_bodies, bodies_capacity;
    struct index_items task_polls, task_cells, dyn_vtables;
    uint32_t *stack; /* scope of each open DIE */
    size_t stack_capacity;
    uint64_t nr_dies, nr_rust_types;
    const struct map *wanted; /* second pass: hashes of types to find */
    struct index_items found;
};

struct build {
    struct dwarf_unit **units;
    size_t nr_units;
    struct part *parts;
    unsigned *worker_of; /* which worker read a unit */
};

uint64_t index_path_hash(uint64_t outer, const char *step)
{
    return hash_str(step, outer);
}

static uint32_t add_scope(struct part *part, uint32_t parent, const char *name,
                          uint64_t begin)
{
    part->scopes = array_reserve(part->scopes, &part->scopes_capacity, part->nr_scopes + 1,
                                 sizeof(*part->scopes));
    part->scopes[part->nr_scopes] = (struct index_scope){
        .parent = {parent},
        .name = name,
        .path_hash = index_path_hash(parent ? part->scopes[parent - 1].path_hash : 0, name),
        .depth = parent ? part->scopes[parent - 1].depth + 1 : 1,
        .begin = begin,
        .end = ~(uint64_t)0,
    };
    return (uint32_t)++part->nr_scopes;
}

static void add_item(struct index_items *items, const struct dwarf_die *die, const char *name,
                     uint64_t addr)
{
    items->rows = array_reserve(items->rows, &items->capacity, items->nr + 1,
                                sizeof(*items->rows));
    items->rows[items->nr++] = (struct index_item){
        die_ref_of(die), name, dwarf_attr_string(die, DW_AT_linkage_name), addr};
}

/* Does the path of `scope` end in tokio::runtime::task::LAST? */
static bool in_tokio_task(const struct part *part, uint32_t scope, const char *last)
{
    const char *path[] = {last, "task", "runtime", "tokio"};
    for (int i = 0; i < 4; i++) {
        if (!scope || strcmp(part->scopes[scope - 1].name, path[i]) != 0)
            return false;
        scope = part->scopes[scope - 1].parent.v;
    }
    return true;
}

static uint64_t path_hash(const struct part *part, uint32_t scope, const char *name)
{
    return index_path_hash(scope ? part->scopes[scope - 1].path_hash : 0, name);
}

static bool is_coroutine_name(const char *name)
{
    return str_starts_with(name, "{async_fn") || str_starts_with(name, "{async_block") ||
           str_starts_with(name, "{async_closure");
}

static void see_structure(struct part *part, const struct dwarf_die *die, uint32_t scope)
{
    const char *name = dwarf_attr_string(die, DW_AT_name);
    if (!name)
        return;
    if (part->wanted) {
        if (map_find(part->wanted, path_hash(part, scope, name)) &&
            !dwarf_attr_flag(die, DW_AT_declaration))
            add_item(&part->found, die, name, path_hash(part, scope, name));
        return;
    }
    if (name[0] == '{' && is_coroutine_name(name)) {
        part->envs = array_reserve(part->envs, &part->envs_capacity, part->nr_envs + 1,
                                   sizeof(*part->envs));
        part->envs[part->nr_envs++] = (struct index_env){
            .die = die_ref_of(die),
            .scope = {scope},
            .name = name,
            .size_bytes = dwarf_attr_number(die, DW_AT_byte_size, 0),
            .path_hash = path_hash(part, scope, name),
            .is_declaration = dwarf_attr_flag(die, DW_AT_declaration),
        };
    } else if (name[0] == 'C' && str_starts_with(name, "Cell<") &&
               in_tokio_task(part, scope, "core") && !dwarf_attr_flag(die, DW_AT_declaration)) {
        add_item(&part->task_cells, die, name, 0);
    }
}

/* {async_fn#0}<T> is the code of {async_fn_env#0}<T>. */
static void env_name_of_body(const char *body, struct text *env)
{
    const char *mark = strchr(body, '#');
    text_clear(env);
    text_append(env, body, (size_t)(mark - body));
    text_append_str(env, "_env");
    text_append_str(env, mark);
}

static void see_body(struct part *part, const struct dwarf_die *die, uint32_t scope,
                     const char *name)
{
    if (!strchr(name, '#') || dwarf_attr_flag(die, DW_AT_declaration))
        return;
    struct text env;
    text_init(&env);
    env_name_of_body(name, &env);
    struct pc_ranges ranges = {0};
    dwarf_ranges(die, &ranges);
    part->bodies = array_reserve(part->bodies, &part->bodies_capacity, part->nr_bodies + 1,
                                 sizeof(*part->bodies));
    part->bodies[part->nr_bodies++] = (struct index_body){
        .die = die_ref_of(die),
        .path_hash = path_hash(part, scope, text_str(&env)),
        .symbol = dwarf_attr_string(die, DW_AT_linkage_name),
        .has_code = ranges.nr > 0,
    };
    free(ranges.rows);
    text_deinit(&env);
}

/* Remembers for an {impl#N} on the path a symbol from which its source name can be read. */
static void note_impl_symbol(struct part *part, const struct dwarf_die *die, uint32_t scope)
{
    uint32_t depth = 1;
    for (uint32_t at = scope; at; at = part->scopes[at - 1].parent.v, depth++) {
        struct index_scope *row = &part->scopes[at - 1];
        if (!str_starts_with(row->name, "{impl#"))
            continue;
        if (!row->impl_symbol) {
            row->impl_symbol = dwarf_attr_string(die, DW_AT_linkage_name);
            row->impl_depth = depth;
        }
        return;
    }
}

static void see_function(struct part *part, const struct dwarf_die *die, uint32_t scope)
{
    const char *name = dwarf_attr_string(die, DW_AT_name);
    if (!name)
        return;
    note_impl_symbol(part, die, scope);
    if (name[0] == '{' && is_coroutine_name(name)) {
        see_body(part, die, scope, name);
    } else if (name[0] == 'p' && str_starts_with(name, "poll<") &&
               in_tokio_task(part, scope, "raw")) {
        uint64_t low = dwarf_attr_number(die, DW_AT_low_pc, 0);
        if (low)
            add_item(&part->task_polls, die, name, low);
    }
}

static void see_variable(struct part *part, const struct dwarf_die *die)
{
    const char *name = dwarf_attr_string(die, DW_AT_name);
    if (!name || !str_ends_with(name, "::{vtable}"))
        return;
    struct dwarf_value location = dwarf_attr(die, DW_AT_location);
    if (location.class != DWARF_BLOCK || location.number < 2)
        return;
    struct cursor c = cursor_make(location.block, location.number);
    uint8_t op = cursor_u8(&c);
    uint64_t addr = 0;
    bool ok = true;
    if (op == DW_OP_addr)
        addr = cursor_uint(&c, die->unit->address_bytes);
    else if (op == DW_OP_addrx || op == DW_OP_GNU_addr_index)
        ok = dwarf_indexed_address(die->unit, cursor_uleb(&c), &addr);
    else
        ok = false;
    if (ok && !c.failed)
        add_item(&part->dyn_vtables, die, name, addr);
}

static void see_die(struct part *part, const struct dwarf_die *die, uint32_t scope)
{
    if (scope == SCOPE_OPAQUE)
        return;
    switch (die->abbrev->tag) {
    case DW_TAG_structure_type:
        part->nr_rust_types += die->unit->is_rust && die->abbrev->has_children;
        see_structure(part, die, scope);
        break;
    case DW_TAG_subprogram:
        if (!part->wanted)
            see_function(part, die, scope);
        break;
    case DW_TAG_variable:
        if (!part->wanted)
            see_variable(part, die);
        break;
    default:
        break;
    }
}

/* The scope of a DIE's children. */
static uint32_t scope_below(struct part *part, const struct dwarf_die *die, uint32_t scope,
                            bool is_root)
{
    if (is_root)
        return SCOPE_NONE;
    bool deep = scope && scope != SCOPE_OPAQUE &&
                part->scopes[scope - 1].depth >= MAX_SCOPE_DEPTH;
    if (die->abbrev->tag == DW_TAG_namespace && scope != SCOPE_OPAQUE && !deep) {
        const char *name = dwarf_attr_string(die, DW_AT_name);
        return add_scope(part, scope, name ? name : "?", die->offset);
    }
    return SCOPE_OPAQUE;
}

/* The list of children ends: so does the namespace, if the open DIE at `depth` is one. */
static void close_scope(struct part *part, size_t depth, uint64_t offset)
{
    if (depth < 2)
        return;
    uint32_t scope = part->stack[depth - 1];
    if (scope && scope != SCOPE_OPAQUE && scope != part->stack[depth - 2])
        part->scopes[scope - 1].end = offset;
}

static void read_unit(struct part *part, struct dwarf_unit *unit)
{
    size_t depth = 0;
    if (!part->wanted)
        unit->first_scope = (uint32_t)part->nr_scopes;
    uint64_t offset = unit->die_offset;
    struct dwarf_die die;
    while (offset < unit->end && dwarf_die_read(unit, offset, &die, &offset)) {
        if (!die.abbrev) {
            close_scope(part, depth, offset);
            if (!depth || !--depth)
                break;
            continue;
        }
        part->nr_dies++;
        uint32_t scope = depth ? part->stack[depth - 1] : SCOPE_NONE;
        if (depth)
            see_die(part, &die, scope);
        if (die.abbrev->has_children) {
            part->stack = array_reserve(part->stack, &part->stack_capacity, depth + 1,
                                        sizeof(*part->stack));
            part->stack[depth] = scope_below(part, &die, scope, depth == 0);
            depth++;
        } else if (!depth) {
            break;
        }
    }
    if (!part->wanted)
        unit->nr_scopes = (uint32_t)part->nr_scopes - unit->first_scope;
}

static void build_unit(void *context, unsigned worker, size_t item)
{
    struct build *build = context;
    struct part *part = &build->parts[worker];
    build->worker_of[item] = worker;
    if (dwarf_unit_load(build->units[item], &part->arena))
        read_unit(part, build->units[item]);
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

/* All units, the biggest first, so that the workers end together. */
static void list_units(struct build *build, struct dwarf *dwarf)
{
    build->units = memory_alloc(dwarf->nr_units * sizeof(*build->units));
    build->worker_of = memory_alloc(dwarf->nr_units * sizeof(*build->worker_of));
    for (size_t f = 0; f < dwarf->nr_files; f++)
        for (uint32_t i = 0; i < dwarf->files[f]->nr_units; i++)
            build->units[build->nr_units++] = &dwarf->files[f]->units[i];
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

static void count_rows(struct program_index *index, const struct part *parts, unsigned nr_parts)
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

static void merge(struct program_index *index, struct part *parts, unsigned nr_parts)
{
    size_t scopes = 0, envs = 0, bodies = 0;
    count_rows(index, parts, nr_parts);
    index->scopes = arena_alloc_raw(&index->arena, index->nr_scopes * sizeof(*index->scopes));
    index->envs = arena_alloc_raw(&index->arena, index->nr_envs * sizeof(*index->envs));
    index->bodies = arena_alloc_raw(&index->arena, index->nr_bodies * sizeof(*index->bodies));
    for (unsigned p = 0; p < nr_parts; p++) {
        struct part *part = &parts[p];
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
    }
    if (index->nr_envs)
        qsort(index->envs, index->nr_envs, sizeof(*index->envs), env_order);
    if (index->nr_bodies)
        qsort(index->bodies, index->nr_bodies, sizeof(*index->bodies), body_order);
    sort_items(&index->task_polls);
    sort_items(&index->task_cells);
    sort_items(&index->dyn_vtables);
}

/* Frees a part; its arena (abbreviations) is handed to the index. */
static void part_free(struct part *part)
{
    free(part->scopes);
    free(part->envs);
    free(part->bodies);
    free(part->task_polls.rows);
    free(part->task_cells.rows);
    free(part->dyn_vtables.rows);
    free(part->found.rows);
    free(part->stack);
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
    list_units(&build, dwarf);
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
    list_units(&build, dwarf);
    unsigned nr_parts = parallel_workers(build.nr_units);
    build.parts = memory_alloc(nr_parts * sizeof(*build.parts));
    parallel_for(build.nr_units, build_unit, &build);
    count_units(index, &build);
    merge(index, build.parts, nr_parts);
    place_scopes(&build, nr_parts);
    for (unsigned i = 0; i < nr_parts; i++) {
        arena_take(&dwarf->arena, &build.parts[i].arena);
        part_free(&build.parts[i]);
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
    arena_deinit(&index->arena);
    *index = (struct program_index){0};
}

/* The steps of a path, innermost first; at most MAX_SCOPE_DEPTH. */
static uint32_t path_steps(const struct program_index *index, scope_id scope,
                           const char *steps[MAX_SCOPE_DEPTH])
{
    uint32_t nr = 0;
    for (; scope.v && nr < MAX_SCOPE_DEPTH; scope = index->scopes[scope.v - 1].parent)
        steps[nr++] = index->scopes[scope.v - 1].name;
    return nr;
}

void index_scope_path(const struct program_index *index, scope_id scope, struct text *path)
{
    const char *steps[MAX_SCOPE_DEPTH];
    for (uint32_t nr = path_steps(index, scope, steps); nr--;) {
        if (path->length)
            text_append_str(path, "::");
        text_append_str(path, steps[nr]);
    }
}

uint64_t index_die_hash(const struct program_index *index, const struct dwarf_die *die)
{
    const char *steps[MAX_SCOPE_DEPTH];
    uint64_t hash = 0;
    for (uint32_t nr = path_steps(index, index_scope_of(index, die), steps); nr--;)
        hash = index_path_hash(hash, steps[nr]);
    const char *own = dwarf_attr_string(die, DW_AT_name);
    return index_path_hash(hash, own ? own : "?");
}

scope_id index_scope_of(const struct program_index *index, const struct dwarf_die *die)
{
    uint32_t first = die->unit->first_scope, low = 0, high = die->unit->nr_scopes;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (index->scopes[first + middle].begin < die->offset)
            low = middle + 1;
        else
            high = middle;
    }
    /* The last one that begins before; the DIE is in it or in one that holds it. */
    scope_id scope = {low ? first + low : 0};
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
    list_units(&build, dwarf);
    unsigned nr_parts = parallel_workers(build.nr_units);
    build.parts = memory_alloc(nr_parts * sizeof(*build.parts));
    for (unsigned i = 0; i < nr_parts; i++)
        build.parts[i].wanted = wanted;
    parallel_for(build.nr_units, build_unit, &build);
    struct index_items all = {0};
    for (unsigned i = 0; i < nr_parts; i++) {
        append_items(&all, &build.parts[i].found);
        part_free(&build.parts[i]);
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
