/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "program/awaits.h"

#include <dwarf.h>
#include <stdlib.h>

#include "program/macro_source.h"

/* A variable __awaitee in the code of a future. */
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

/* Gathers the variables named __awaitee below a body. */
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
        const char *name =
            die.abbrev->tag == DW_TAG_variable ? dwarf_attr_string(&die, DW_AT_name) : NULL;
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

/* One future while its awaits are placed. */
struct placing {
    struct layout *layout;
    const struct plan_future *future;
    const struct plan_variant *variants; /* a copy: the tables move */
    bool *in_macro;                      /* of each variant */
    bool head_is_macro;                  /* a foreign macro wrote the `async` around it */
    plan_type_id *awaited;               /* of each variant: the type of its __awaitee */
    uint32_t nr_variants;
    uint32_t last_line; /* of the function: where Returned is; 0: unknown */
    struct awaitees awaitees;
    struct plan_await *awaits;
    struct awaits *owner;
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
static const struct macro_place *ask_macro(const struct placing *placing, plan_file_id file,
                                           uint32_t line)
{
    struct awaits *awaits = placing->owner;
    bool is_new;
    uint32_t *row = map_put(&awaits->macros, (uint64_t)file.v << 32 | line, &is_new);
    if (is_new) {
        struct text name;
        text_init(&name);
        awaits->places = array_reserve(awaits->places, &awaits->places_capacity,
                                       awaits->nr_places + 1, sizeof(*awaits->places));
        struct macro_place *place = &awaits->places[awaits->nr_places++];
        place->answer = macro_name_at(file_path(placing, file), line, awaits->built_ns, &name);
        place->name = plan_builder_string(placing->layout->builder, text_str(&name));
        text_deinit(&name);
        *row = (uint32_t)awaits->nr_places;
    }
    return &awaits->places[*row - 1];
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

/* A file of another crate than the user's own: cargo's copies and the compiler's. */
static bool is_foreign(const struct placing *placing, plan_file_id file)
{
    const char *path = file_path(placing, file);
    return path && (strstr(path, "/registry/src/") || strstr(path, "/git/checkouts/") ||
                    strstr(path, "/rustc/"));
}

static bool is_outside(const struct placing *placing, uint32_t v)
{
    const struct plan_variant *variant = &placing->variants[v];
    if (!is_suspend(placing, v) || !variant->line || !placing->future->line ||
        !placing->future->file.v)
        return false;
    return (placing->head_is_macro && is_foreign(placing, variant->file)) ||
           !in_function(placing, variant->file, variant->line);
}

/*
 * The line of an await is where its tokens stand: for an await that a macro writes, in the macro.
 * Outside of the function's lines it may still be the user's: attributes such as #[instrument]
 * give a body their own extent, and a macro may write the `async` around a user's block.  The
 * source decides, where it is at hand; else, for the block of a foreign macro, the variable
 * __awaitee, whose line is the user's there.
 */
static bool find_in_macro(const struct placing *placing, uint32_t v)
{
    const struct plan_variant *variant = &placing->variants[v];
    if (!is_outside(placing, v))
        return false;
    enum macro_answer answer = ask_macro(placing, variant->file, variant->line)->answer;
    if (answer == MACRO_UNKNOWN && is_foreign(placing, placing->future->file) &&
        !is_foreign(placing, variant->file))
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
        if (placing->in_macro[other] && placing->awaited[other].v == type.v &&
            !has_awaitee_there(placing, other)) {
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
    size_t nr = !placing->last_line ? 0
                                    : macro_calls(file_path(placing, placing->future->file), macro,
                                                  placing->future->line, placing->last_line,
                                                  placing->owner->built_ns, lines, MAX_CALLS);
    return nr == nr_awaits ? lines[rank] : 0;
}

/* The user's line of an await in a macro; 0: unknown. */
static uint32_t find_line(const struct placing *placing, uint32_t v,
                          const struct macro_place *place)
{
    const char *name = plan_builder_text(placing->layout->builder, place->name);
    if (place->answer == MACRO_ATTRIBUTE)
        return placing->variants[v].line;
    /* The variable of an await in a macro of the same crate has the inner line: no help. */
    const struct awaitee *awaitee =
        has_awaitee_there(placing, v) ? NULL : match_awaitee(placing, v);
    if (awaitee)
        return awaitee->line;
    return place->answer == MACRO_FOUND ? line_by_calls(placing, v, name) : 0;
}

static void place_await(struct placing *placing, uint32_t v)
{
    struct plan_builder *builder = placing->layout->builder;
    const struct plan_variant *variant = &placing->variants[v];
    struct plan_await *await = &placing->awaits[v];
    struct macro_place place = *ask_macro(placing, variant->file, variant->line);
    if (place.answer < MACRO_ATTRIBUTE) {
        const char *path = file_path(placing, variant->file);
        const char *slash = path ? strrchr(path, '/') : NULL;
        struct text name;
        text_init(&name);
        text_printf(&name, "macro in %s", slash ? slash + 1 : "unknown file");
        place.name = plan_builder_string(builder, text_str(&name));
        text_deinit(&name);
    }
    uint32_t line = find_line(placing, v, &place);
    await->file = placing->future->file;
    await->line = line ? line : placing->future->line;
    await->is_exact = line != 0;
    await->macro = place.name;
}

static int by_line(const void *a, const void *b)
{
    const struct awaitee *x = a, *y = b;
    if (x->line != y->line)
        return x->line < y->line ? -1 : 1;
    return x->type.v < y->type.v ? -1 : x->type.v > y->type.v;
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
    /* States are numbered in the order of the source; DWARF nests scopes in another. */
    if (placing->awaitees.nr)
        qsort(placing->awaitees.rows, placing->awaitees.nr, sizeof(*placing->awaitees.rows),
              by_line);
    for (uint32_t v = 0; v < placing->nr_variants; v++)
        placing->in_macro[v] = find_in_macro(placing, v);
    take_plain_awaits(placing);
    for (uint32_t v = 0; v < placing->nr_variants; v++)
        if (placing->in_macro[v])
            place_await(placing, v);
    free(placing->awaitees.rows);
}

/*
 * A macro such as try_stream! writes the block around the user's awaits: the block is then where
 * the first of these is.
 */
static void find_head(struct placing *placing, struct plan_future *future)
{
    uint32_t first = 0;
    if (!is_foreign(placing, future->file))
        return;
    for (uint32_t v = 0; v < placing->nr_variants; v++) {
        const struct plan_variant *variant = &placing->variants[v];
        if (!is_suspend(placing, v) || !variant->file.v || !variant->line ||
            is_foreign(placing, variant->file))
            continue;
        if (!placing->head_is_macro || variant->line < first) {
            future->file = variant->file;
            future->line = first = variant->line;
        }
        placing->head_is_macro = true;
    }
    if (placing->head_is_macro)
        placing->last_line = 0;
}

/* DWARF has the line of the body's brace; a long signature begins before. */
static void find_fn(const struct placing *placing, struct plan_future *future)
{
    const char *path = plan_builder_text(placing->layout->builder, future->path), *name = NULL;
    if (future->kind != PLAN_FUTURE_FN || is_foreign(placing, future->file))
        return;
    /* a::b::NAME::{async_fn_env#0}<...> */
    const char *end = strstr(path, "::{async_fn_env");
    for (name = end; name && name > path && name[-1] != ':'; name--)
        ;
    if (!name)
        return;
    struct text text;
    text_init(&text);
    text_append(&text, name, (size_t)(end - name));
    uint32_t line = fn_line_before(file_path(placing, future->file), text_str(&text), future->line,
                                   placing->owner->built_ns);
    if (line)
        future->line = line;
    text_deinit(&text);
}

void awaits_compile(struct awaits *owner, const struct dwarf_die *body, struct plan_future *future)
{
    struct plan_builder *builder = owner->layout->builder;
    const struct plan_type *type =
        future->type.v ? plan_builder_row(builder, PLAN_TYPES, future->type.v) : NULL;
    uint32_t nr = type ? type->nr_variants : 0, first = type ? type->first_variant : 0;
    struct plan_variant *variants = memory_alloc((nr + 1) * sizeof(*variants));
    struct plan_await *awaits = memory_alloc((nr + 1) * sizeof(*awaits));
    bool *in_macro = memory_alloc((nr + 1) * sizeof(*in_macro));
    plan_type_id *awaited = memory_alloc((nr + 1) * sizeof(*awaited));
    struct placing placing = {
        .layout = owner->layout,
        .future = future,
        .variants = variants,
        .nr_variants = nr,
        .awaits = awaits,
        .in_macro = in_macro,
        .awaited = awaited,
        .owner = owner,
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
    find_head(&placing, future);
    find_fn(&placing, future);
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

void awaits_init(struct awaits *awaits, struct layout *layout, int64_t built_ns)
{
    *awaits = (struct awaits){.layout = layout, .built_ns = built_ns};
}

void awaits_deinit(struct awaits *awaits)
{
    map_deinit(&awaits->macros);
    free(awaits->places);
    *awaits = (struct awaits){0};
}
