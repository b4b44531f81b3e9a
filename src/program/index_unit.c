/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * One unit, every DIE once.  Only DIEs directly in namespaces are looked at, and methods declared
 * inside types; all others are passed over.
 */
#include "program/index_part.h"

#include <dwarf.h>
#include <stdlib.h>

#include "program/dwarf_form.h"

/* The scope of children of anything but a namespace: of a type, and of all else. */
#define SCOPE_OPAQUE 0x80000000u
#define SCOPE_OF_TYPE (SCOPE_OPAQUE | 1)
enum { SCOPE_NONE = 0 };

static uint32_t add_scope(struct index_part *part, uint32_t parent, const char *name,
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
    items->rows = array_reserve(items->rows, &items->capacity, items->nr + 1, sizeof(*items->rows));
    items->rows[items->nr++] = (struct index_item){
        .die = die_ref_of(die),
        .name = name,
        .symbol = dwarf_attr_string(die, DW_AT_linkage_name),
        .addr = addr,
    };
}

/* Does the path of `scope` end in tokio::runtime::task::LAST? */
static bool in_tokio_task(const struct index_part *part, uint32_t scope, const char *last)
{
    const char *path[] = {last, "task", "runtime", "tokio"};
    for (int i = 0; i < 4; i++) {
        if (!scope || strcmp(part->scopes[scope - 1].name, path[i]) != 0)
            return false;
        scope = part->scopes[scope - 1].parent.v;
    }
    return true;
}

static uint64_t path_hash(const struct index_part *part, uint32_t scope, const char *name)
{
    return index_path_hash(scope ? part->scopes[scope - 1].path_hash : 0, name);
}

static bool is_coroutine_name(const char *name)
{
    return (str_starts_with(name, "{async_fn") || str_starts_with(name, "{async_block") ||
            str_starts_with(name, "{async_closure")) &&
           strnlen(name, INDEX_MAX_NAME_BYTES) < INDEX_MAX_NAME_BYTES;
}

static void see_structure(struct index_part *part, const struct dwarf_die *die, uint32_t scope)
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
        part->envs =
            array_reserve(part->envs, &part->envs_capacity, part->nr_envs + 1, sizeof(*part->envs));
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

static void see_body(struct index_part *part, const struct dwarf_die *die, uint32_t scope,
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
static void note_impl_symbol(struct index_part *part, const struct dwarf_die *die, uint32_t scope)
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

/* Moves to the type of a wrapper's only member; its name, or NULL in another unit. */
static const char *inner_of_wrapper(struct dwarf_die *type)
{
    struct dwarf_die child;
    uint64_t after;
    int tries = 4; /* the member, and a template parameter or two */
    for (bool more = dwarf_child(type, &child); more && tries--;
         more = dwarf_sibling(&child, &child)) {
        if (dwarf_tag(&child) != DW_TAG_member)
            continue;
        die_ref ref = dwarf_attr_ref(&child, DW_AT_type);
        bool here = ref != DIE_NONE && ref >= die_ref_make(type->unit, type->unit->die_offset) &&
                    ref < die_ref_make(type->unit, type->unit->end);
        return here && dwarf_die_read(type->unit, ref - die_ref_make(type->unit, 0), type, &after)
                   ? dwarf_attr_string(type, DW_AT_name)
                   : NULL;
    }
    return NULL;
}

/*
 * A function that returns a coroutine of this unit: perhaps the async fn itself, whose symbol tells
 * the source form of an {impl#N} on the coroutine's path, and whose line is that of its `fn`.
 */
static void see_constructor(struct index_part *part, const struct dwarf_die *die)
{
    struct dwarf_die type;
    uint64_t after;
    die_ref ref = dwarf_attr_ref(die, DW_AT_type);
    if (ref == DIE_NONE || ref < die_ref_make(die->unit, die->unit->die_offset) ||
        ref >= die_ref_make(die->unit, die->unit->end))
        return; /* another unit's, which may not be loaded yet */
    if (!dwarf_die_read(die->unit, ref - die_ref_make(die->unit, 0), &type, &after) ||
        dwarf_tag(&type) != DW_TAG_structure_type)
        return;
    const char *name = dwarf_attr_string(&type, DW_AT_name);
    if (name && str_starts_with(name, "GenFuture<")) /* before Rust 1.67 */
        name = inner_of_wrapper(&type);
    const char *own = dwarf_attr_string(die, DW_AT_name);
    if (!name || !own || name[0] != '{' || !is_coroutine_name(name))
        return;
    add_item(&part->constructors, &type, own, 0);
    struct index_item *item = &part->constructors.rows[part->constructors.nr - 1];
    item->symbol = dwarf_attr_string(die, DW_AT_linkage_name);
    item->line = (uint32_t)dwarf_attr_number(die, DW_AT_decl_line, 0);
}

static bool is_poll_name(const char *name)
{
    return str_starts_with(name, "poll") && (!name[4] || name[4] == '<');
}

static void see_function(struct index_part *part, const struct dwarf_die *die, uint32_t scope)
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
    } else if (is_poll_name(name)) {
        add_item(&part->polls, die, name, 0);
    } else if (name[0] != '{') {
        see_constructor(part, die);
    }
}

static void see_variable(struct index_part *part, const struct dwarf_die *die)
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

static void see_die(struct index_part *part, const struct dwarf_die *die, uint32_t scope)
{
    if (scope == SCOPE_OF_TYPE && die->abbrev->tag == DW_TAG_subprogram && !part->wanted)
        see_constructor(part, die);
    if (scope & SCOPE_OPAQUE)
        return;
    switch (die->abbrev->tag) {
    case DW_TAG_structure_type:
        part->nr_rust_types +=
            die->unit->is_rust && !die->unit->is_std && die->abbrev->has_children;
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
static uint32_t scope_below(struct index_part *part, const struct dwarf_die *die, uint32_t scope,
                            bool is_root)
{
    if (is_root)
        return SCOPE_NONE;
    bool opaque = scope & SCOPE_OPAQUE;
    bool deep = scope && !opaque && part->scopes[scope - 1].depth >= INDEX_MAX_SCOPE_DEPTH;
    if (die->abbrev->tag == DW_TAG_namespace && !opaque && !deep) {
        const char *name = dwarf_attr_string(die, DW_AT_name);
        return add_scope(part, scope, name ? name : "?", die->offset);
    }
    bool is_type = die->abbrev->tag == DW_TAG_structure_type ||
                   die->abbrev->tag == DW_TAG_enumeration_type ||
                   die->abbrev->tag == DW_TAG_union_type;
    return is_type ? SCOPE_OF_TYPE : SCOPE_OPAQUE;
}

/* The list of children ends: so does the namespace, if the open DIE at `depth` is one. */
static void close_scope(struct index_part *part, size_t depth, uint64_t offset)
{
    if (depth < 2)
        return;
    uint32_t scope = part->stack[depth - 1];
    if (scope && !(scope & SCOPE_OPAQUE) && scope != part->stack[depth - 2])
        part->scopes[scope - 1].end = offset;
}

void index_read_unit(struct index_part *part, struct dwarf_unit *unit)
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
            uint32_t below = scope_below(part, &die, scope, depth == 0);
            if (below == SCOPE_OPAQUE) { /* nothing in there is looked at */
                if (!dwarf_skip_list(unit, &offset, &part->nr_dies))
                    break;
                continue;
            }
            part->stack =
                array_reserve(part->stack, &part->stack_capacity, depth + 1, sizeof(*part->stack));
            part->stack[depth] = below;
            depth++;
        } else if (!depth) {
            break;
        }
    }
    if (!part->wanted)
        unit->nr_scopes = (uint32_t)part->nr_scopes - unit->first_scope;
}

void index_part_free(struct index_part *part)
{
    free(part->scopes);
    free(part->envs);
    free(part->bodies);
    free(part->task_polls.rows);
    free(part->task_cells.rows);
    free(part->dyn_vtables.rows);
    free(part->polls.rows);
    free(part->constructors.rows);
    free(part->found.rows);
    free(part->stack);
}
