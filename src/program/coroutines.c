/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "program/coroutines.h"

#include <dwarf.h>
#include <stdlib.h>

#include "program/demangle.h"
#include "program/macro_source.h"

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
                                dwarf_attr_number(&range, DW_AT_upper_bound, 0), hash);
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
            coroutine->shape = payload_hash(layout, dwarf_attr_ref(&member, DW_AT_type),
                                            hash_u64(line, coroutine->shape));
        }
        return;
    }
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
    for (size_t i = 0; i < index->nr_envs; i++) {
        const struct index_env *env = &index->envs[i];
        all[i] = (struct coroutine){.env = env, .nr_copies = 1};
        if (!env->is_declaration)
            read_shape(layout, &all[i]);
    }
    if (index->nr_envs)
        qsort(all, index->nr_envs, sizeof(*all), coroutine_order);
    size_t nr = 0;
    for (size_t i = 0; i < index->nr_envs; i++) {
        if (!nr || !same_type(&all[nr - 1], &all[i]))
            all[nr++] = all[i];
        else
            all[nr - 1].nr_copies++;
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

/* --- bodies: the code of a coroutine ---------------------------------------------------------- */

struct awaitee {
    plan_type_id type;
    plan_file_id file;
    uint32_t line;
    bool taken;
};

struct awaitees {
    struct awaitee *rows;
    size_t nr, capacity;
};

/* Gathers the variables named __awaitee below a body, in the order of the source's scopes. */
static void gather_awaitees(struct layout *layout, const struct dwarf_die *body,
                            struct awaitees *awaitees)
{
    struct dwarf_die die;
    uint64_t offset = body->offset, depth = 0;
    while (dwarf_die_read(body->unit, offset, &die, &offset)) {
        if (!die.abbrev) {
            if (!--depth)
                return;
            continue;
        }
        depth += die.abbrev->has_children;
        if (!depth)
            return;
        const char *name = die.abbrev->tag == DW_TAG_variable
                               ? dwarf_attr_string(&die, DW_AT_name)
                               : NULL;
        if (!name || strcmp(name, "__awaitee") != 0)
            continue;
        awaitees->rows = array_reserve(awaitees->rows, &awaitees->capacity, awaitees->nr + 1,
                                       sizeof(*awaitees->rows));
        awaitees->rows[awaitees->nr++] = (struct awaitee){
            .type = layout_compile(layout, dwarf_attr_ref(&die, DW_AT_type)),
            .file = layout_file(layout, &die, DW_AT_decl_file),
            .line = (uint32_t)dwarf_attr_number(&die, DW_AT_decl_line, 0),
        };
    }
}

/* --- awaits inside macros --------------------------------------------------------------------- */

/* One future while its awaits are placed. */
struct placing {
    struct layout *layout;
    const struct plan_future *future;
    const struct plan_variant *variants; /* a copy: the tables move */
    bool *in_macro;                      /* of each variant */
    plan_type_id *awaited;               /* of each variant: the type of its __awaitee */
    uint32_t nr_variants;
    uint32_t last_line; /* of the function: where Returned is; 0: unknown */
    struct awaitees awaitees;
    struct plan_await *awaits;
    struct map *macros; /* file id and line -> what ask_macro found */
    int64_t built_ns;
};

static const char *file_path(const struct placing *placing, plan_file_id file)
{
    struct plan_builder *builder = placing->layout->builder;
    const struct plan_file *row = file.v ? plan_builder_row(builder, PLAN_FILES, file.v) : NULL;
    return row ? plan_builder_text(builder, row->path) : NULL;
}

static bool is_suspend(const struct placing *placing, uint32_t v)
{
    return str_starts_with(plan_builder_text(placing->layout->builder, placing->variants[v].name),
                           "Suspend");
}

static bool in_function(const struct placing *placing, plan_file_id file, uint32_t line)
{
    return file.v == placing->future->file.v && line >= placing->future->line &&
           (!placing->last_line || line <= placing->last_line);
}

/* Is the line inside a macro's definition?  The answer is kept: the same places come often. */
static enum macro_answer ask_macro(const struct placing *placing, plan_file_id file,
                                   uint32_t line, plan_str *name)
{
    bool is_new;
    struct text text;
    text_init(&text);
    uint32_t *answer = map_put(placing->macros, (uint64_t)file.v << 32 | line, &is_new);
    if (is_new) {
        enum macro_answer found =
            macro_name_at(file_path(placing, file), line, placing->built_ns, &text);
        plan_str str = plan_builder_string(placing->layout->builder, text_str(&text));
        *answer = found == MACRO_FOUND ? str.v + MACRO_FOUND : found;
    }
    text_deinit(&text);
    *name = (plan_str){*answer > MACRO_FOUND ? *answer - MACRO_FOUND : 0};
    return *answer >= MACRO_FOUND ? MACRO_FOUND : (enum macro_answer)*answer;
}

static plan_type_id find_awaited(const struct placing *placing, uint32_t v)
{
    struct plan_builder *builder = placing->layout->builder;
    plan_type_id payload = placing->variants[v].payload;
    const struct plan_type *type =
        payload.v ? plan_builder_row(builder, PLAN_TYPES, payload.v) : NULL;
    for (uint32_t m = 0; type && m < type->nr_members; m++) {
        const struct plan_member *member =
            plan_builder_row(builder, PLAN_MEMBERS, type->first_member + m);
        if (strcmp(plan_builder_text(builder, member->name), "__awaitee") == 0)
            return member->type;
    }
    return (plan_type_id){0};
}

static bool has_awaitee_there(const struct placing *placing, uint32_t v)
{
    const struct plan_variant *variant = &placing->variants[v];
    plan_type_id type = placing->awaited[v];
    for (size_t i = 0; i < placing->awaitees.nr; i++) {
        const struct awaitee *row = &placing->awaitees.rows[i];
        if (row->type.v == type.v && row->file.v == variant->file.v && row->line == variant->line)
            return true;
    }
    return false;
}

static bool is_outside(const struct placing *placing, uint32_t v)
{
    const struct plan_variant *variant = &placing->variants[v];
    return is_suspend(placing, v) && variant->line && placing->future->line &&
           placing->future->file.v && !in_function(placing, variant->file, variant->line);
}

/*
 * The line of an await is where its tokens stand: for an await that a macro writes, in the macro.
 * Outside of the function's lines it may still be the user's: attributes such as #[instrument]
 * give a body their own extent, and a macro may write the `async` around a user's block.  The
 * source decides, where it is at hand; else the variable __awaitee, whose line is the user's.
 */
static bool find_in_macro(const struct placing *placing, uint32_t v)
{
    const struct plan_variant *variant = &placing->variants[v];
    plan_str name;
    if (!is_outside(placing, v))
        return false;
    enum macro_answer answer = ask_macro(placing, variant->file, variant->line, &name);
    if (answer == MACRO_UNKNOWN && variant->file.v != placing->future->file.v)
        return !has_awaitee_there(placing, v);
    return answer != MACRO_NONE;
}

/* Awaits that are no macro's use up their own variables, so that those left over are macros'. */
static void take_plain_awaits(struct placing *placing)
{
    struct awaitees *awaitees = &placing->awaitees;
    for (uint32_t v = 0; v < placing->nr_variants; v++) {
        if (!is_suspend(placing, v) || placing->in_macro[v])
            continue;
        plan_type_id type = placing->awaited[v];
        for (size_t i = 0; i < awaitees->nr; i++) {
            struct awaitee *row = &awaitees->rows[i];
            if (row->taken || row->type.v != type.v || row->line != placing->variants[v].line)
                continue;
            row->taken = true;
            break;
        }
    }
}

/*
 * The user's line of await `v`: that of the variable __awaitee of the same type.  With several
 * of one type they are paired in order, if there are as many as awaits; else the line is unknown.
 */
static const struct awaitee *match_awaitee(const struct placing *placing, uint32_t v)
{
    plan_type_id type = placing->awaited[v];
    const struct awaitees *awaitees = &placing->awaitees;
    uint32_t rank = 0, nr_awaits = 0, nr_rows = 0;
    const struct awaitee *ranked = NULL, *first = NULL;
    bool all_equal = true;
    if (!type.v)
        return NULL;
    for (uint32_t other = 0; other < placing->nr_variants; other++)
        if (placing->in_macro[other] && placing->awaited[other].v == type.v) {
            rank += other < v;
            nr_awaits++;
        }
    for (size_t i = 0; i < awaitees->nr; i++) {
        const struct awaitee *row = &awaitees->rows[i];
        if (row->taken || row->type.v != type.v || !in_function(placing, row->file, row->line))
            continue;
        first = first ? first : row;
        all_equal &= row->line == first->line;
        if (nr_rows++ == rank)
            ranked = row;
    }
    if (!nr_rows)
        return NULL;
    return all_equal ? first : nr_rows == nr_awaits ? ranked : NULL;
}

/* For a macro of the same crate the compiler keeps only its inner line: look at the calls. */
static uint32_t line_by_calls(const struct placing *placing, uint32_t v, const char *macro)
{
    enum { MAX_CALLS = 256 };
    uint32_t lines[MAX_CALLS], rank = 0, nr_awaits = 0;
    const struct plan_variant *variant = &placing->variants[v];
    for (uint32_t other = 0; other < placing->nr_variants; other++)
        if (placing->in_macro[other] && placing->variants[other].line == variant->line &&
            placing->variants[other].file.v == variant->file.v) {
            rank += other < v;
            nr_awaits++;
        }
    size_t nr = !placing->last_line
                    ? 0
                    : macro_calls(file_path(placing, placing->future->file), macro,
                                  placing->future->line, placing->last_line, placing->built_ns,
                                  lines, MAX_CALLS);
    return nr == nr_awaits ? lines[rank] : 0;
}

static void place_await(struct placing *placing, uint32_t v)
{
    struct plan_builder *builder = placing->layout->builder;
    const struct plan_variant *variant = &placing->variants[v];
    struct plan_await *await = &placing->awaits[v];
    struct text macro;
    plan_str name;
    text_init(&macro);
    bool named = ask_macro(placing, variant->file, variant->line, &name) == MACRO_FOUND;
    if (named) {
        text_append_str(&macro, plan_builder_text(builder, name));
    } else {
        const char *path = file_path(placing, variant->file);
        const char *slash = path ? strrchr(path, '/') : NULL;
        text_printf(&macro, "macro in %s", slash ? slash + 1 : "unknown file");
    }
    const struct awaitee *awaitee = match_awaitee(placing, v);
    uint32_t line = awaitee ? awaitee->line
                    : named ? line_by_calls(placing, v, text_str(&macro))
                            : 0;
    await->file = placing->future->file;
    await->line = line ? line : placing->future->line;
    await->is_exact = line != 0;
    await->macro = plan_builder_string(builder, text_str(&macro));
    text_deinit(&macro);
}

static void place_awaits(struct placing *placing, const struct dwarf_die *body)
{
    bool any = false;
    for (uint32_t v = 0; v < placing->nr_variants; v++)
        any |= is_outside(placing, v);
    if (!any)
        return;
    for (uint32_t v = 0; v < placing->nr_variants; v++)
        placing->awaited[v] = find_awaited(placing, v);
    if (body)
        gather_awaitees(placing->layout, body, &placing->awaitees);
    for (uint32_t v = 0; v < placing->nr_variants; v++)
        placing->in_macro[v] = find_in_macro(placing, v);
    take_plain_awaits(placing);
    for (uint32_t v = 0; v < placing->nr_variants; v++)
        if (placing->in_macro[v])
            place_await(placing, v);
    free(placing->awaitees.rows);
}

/* --- rows of the plan ------------------------------------------------------------------------- */

struct compiling {
    struct layout *layout;
    const struct coroutines *coroutines;
    struct map bodies;         /* row + 1 of a coroutine -> row + 1 of its best body */
    struct map bodies_by_path; /* path hash -> row + 1 of the best body of that path */
    struct map symbols; /* hash of a mangled name -> symbol + 1 */
    const struct elf_file *symbol_file;
    struct map macros; /* see struct placing */
    int64_t built_ns;
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
static uint32_t coroutine_of_body(const struct compiling *compiling,
                                  const struct index_body *body)
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
            *map_put(&compiling->symbols,
                     hash_str(compiling->symbol_file->symbols[i].name, 0), NULL) = i + 1;
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

/* The await rows of a future whose variants begin at `first`; also its file and line. */
static void compile_awaits(struct compiling *compiling, const struct dwarf_die *body,
                           struct plan_future *future)
{
    struct plan_builder *builder = compiling->layout->builder;
    const struct plan_type *type =
        future->type.v ? plan_builder_row(builder, PLAN_TYPES, future->type.v) : NULL;
    uint32_t nr = type ? type->nr_variants : 0, first = type ? type->first_variant : 0;
    struct plan_variant *variants = memory_alloc((nr + 1) * sizeof(*variants));
    struct plan_await *awaits = memory_alloc((nr + 1) * sizeof(*awaits));
    bool *in_macro = memory_alloc((nr + 1) * sizeof(*in_macro));
    plan_type_id *awaited = memory_alloc((nr + 1) * sizeof(*awaited));
    struct placing placing = {
        .layout = compiling->layout, .future = future, .variants = variants, .nr_variants = nr,
        .awaits = awaits, .in_macro = in_macro, .awaited = awaited,
        .macros = &compiling->macros, .built_ns = compiling->built_ns,
    };
    for (uint32_t v = 0; v < nr; v++) {
        variants[v] = *(struct plan_variant *)plan_builder_row(builder, PLAN_VARIANTS, first + v);
        const char *name = plan_builder_text(builder, variants[v].name);
        if (strcmp(name, "Unresumed") == 0) {
            future->file = variants[v].file;
            future->line = variants[v].line;
        } else if (strcmp(name, "Returned") == 0) {
            placing.last_line = variants[v].line;
        }
    }
    /* An attribute's extent, not the body's. */
    if (placing.last_line <= future->line)
        placing.last_line = 0;
    place_awaits(&placing, body);
    for (uint32_t v = 0; v < nr; v++) {
        uint32_t id = plan_builder_add(builder, PLAN_AWAITS, &awaits[v]);
        future->first_await = v ? future->first_await : id;
    }
    free(variants);
    free(awaits);
    free(in_macro);
    free(awaited);
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
    compile_awaits(compiling, has_body ? &body : NULL, &future);
    plan_builder_add(builder, PLAN_FUTURES, &future);
}

void coroutines_compile(const struct coroutines *coroutines, struct layout *layout,
                        const struct elf_file *symbols)
{
    struct compiling compiling = {.layout = layout, .coroutines = coroutines,
                                  .symbol_file = symbols,
                                  .built_ns = symbols->file.identity.modified_ns};
    map_bodies(&compiling);
    for (uint32_t i = 0; i < coroutines->nr; i++) {
        const struct coroutine *row = &coroutines->rows[i];
        bool same_before = i > 0 && row[-1].env->path_hash == row->env->path_hash;
        bool same_after =
            i + 1 < coroutines->nr && row[1].env->path_hash == row->env->path_hash;
        compile_one(&compiling, i, !same_before && !same_after);
    }
    map_deinit(&compiling.bodies);
    map_deinit(&compiling.bodies_by_path);
    map_deinit(&compiling.macros);
    map_deinit(&compiling.symbols);
}
