/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "program/impl_names.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/rust_path.h"
#include "program/demangle.h"

/* --- from a symbol to the impl --------------------------------------------------------------- */

/* v0 names one instance's arguments; another instance has others, so they are left out. */
static void strip_arguments(struct text *name)
{
    struct text out;
    text_init(&out);
    int depth = 0;
    bool whole = name->data[0] == '<'; /* <X as Trait>: the outer pair stays */
    for (size_t i = 0; i < name->length; i++) {
        char c = name->data[i];
        bool outer = whole && ((c == '<' && i == 0) || (c == '>' && depth == 0));
        if (c == '<' && !outer)
            depth++;
        if (!depth)
            text_append_char(&out, c);
        if (c == '>' && !outer && depth && name->data[i - 1] != '-')
            depth--;
    }
    text_clear(name);
    text_append_str(name, text_str(&out));
    text_deinit(&out);
}

/* The source form of an impl, from the symbol of a function `depth` steps below it. */
static bool display_of(const struct index_scope *scope, struct text *display)
{
    struct text name;
    text_init(&name);
    bool ok = demangle_rust(scope->impl_symbol, &name);
    if (ok) {
        rust_path_source_form(&name);
        size_t end = rust_path_parent(text_str(&name), name.length, scope->impl_depth);
        ok = end > 0;
        text_append(display, text_str(&name), end);
        if (ok)
            rust_path_unwrap(display);
        if (ok && str_starts_with(scope->impl_symbol, "_R"))
            strip_arguments(display);
    }
    text_deinit(&name);
    return ok && display->length;
}

/* --- the paths that are mentioned ------------------------------------------------------------ */

struct mention {
    uint64_t hash;
    const char *path; /* in the builder's strings when found; copied before anything is added */
    size_t length;
    struct text display;
    bool is_ambiguous; /* of several impls: two crates of one name */
};

struct mentions {
    struct mention *rows;
    size_t nr, capacity;
    struct map by_hash; /* path hash -> row + 1 */
};

static bool is_path_char(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == ':' || c == '{' || c == '}' || c == '#';
}

static uint64_t hash_path(const char *path, size_t length)
{
    uint64_t hash = 0;
    while (length) {
        size_t step = rust_path_step(path, length);
        hash = hash_bytes(path, step, hash);
        path += step;
        length -= step;
        if (length >= 2) {
            path += 2;
            length -= 2;
        }
    }
    return hash;
}

static void note_mentions(struct mentions *mentions, const char *string)
{
    for (const char *at = string; (at = strstr(at, "{impl#"));) {
        const char *start = at, *end = strchr(at, '}');
        if (!end)
            return;
        while (start > string && is_path_char(start[-1]))
            start--;
        size_t length = (size_t)(end + 1 - start);
        uint64_t hash = hash_path(start, length);
        bool is_new;
        uint32_t *row = map_put(&mentions->by_hash, hash, &is_new);
        if (is_new) {
            mentions->rows = array_reserve(mentions->rows, &mentions->capacity, mentions->nr + 1,
                                           sizeof(*mentions->rows));
            mentions->rows[mentions->nr++] =
                (struct mention){.hash = hash, .path = start, .length = length};
            *row = (uint32_t)mentions->nr;
        }
        at = end;
    }
}

/*
 * Copies of one impl in many units: a blanket impl has several types and one trait; where the
 * traits differ too, these are impls of two crates of one name, and the number says all there is.
 */
static void merge_display(struct mention *mention, const struct text *other)
{
    struct text *kept = &mention->display;
    if (mention->is_ambiguous || strcmp(text_str(kept), text_str(other)) == 0)
        return;
    if (!kept->length) {
        text_append_str(kept, text_str(other));
        return;
    }
    const char *trait = strstr(text_str(kept), " as ");
    const char *other_trait = strstr(text_str(other), " as ");
    mention->is_ambiguous = !trait || !other_trait || strcmp(trait, other_trait) != 0;
    struct text any;
    text_init(&any);
    if (!mention->is_ambiguous)
        text_printf(&any, "<_%s", trait);
    text_clear(kept);
    text_append_str(kept, text_str(&any));
    text_deinit(&any);
}

static void find_displays(struct mentions *mentions, const struct program_index *index)
{
    struct text display;
    text_init(&display);
    for (size_t i = 0; i < index->nr_scopes; i++) {
        const struct index_scope *scope = &index->scopes[i];
        if (!scope->impl_symbol)
            continue;
        const uint32_t *row = map_find(&mentions->by_hash, scope->path_hash);
        text_clear(&display);
        if (row && display_of(scope, &display))
            merge_display(&mentions->rows[*row - 1], &display);
    }
    text_deinit(&display);
}

/* --- impls without a symbol: by the type of `self` ------------------------------------------- */

/* "core::pin::Pin<&mut demo::Conn>" gives "demo::Conn": what `self` points to, without arguments. */
static bool self_type(const char *name, struct text *type)
{
    static const char *const wrappers[] = {
        "&mut ",         "&", "core::pin::Pin<", "alloc::boxed::Box<", "alloc::sync::Arc<",
        "alloc::rc::Rc<"};
    for (size_t i = 0; i < sizeof(wrappers) / sizeof(*wrappers); i++)
        if (str_starts_with(name, wrappers[i])) {
            name += strlen(wrappers[i]);
            i = (size_t)-1; /* again from the first */
        }
    size_t length = strcspn(name, "<>, ");
    text_append(type, name, length);
    return length && strstr(text_str(type), "::") && !strchr(text_str(type), '{');
}

static const struct plan_member *member_self(const struct plan_builder *builder,
                                             const struct plan_future *future)
{
    const struct plan_table *types = &builder->tables[PLAN_TYPES];
    const struct plan_type *rows = (const struct plan_type *)types->rows;
    const struct plan_variant *variants =
        (const struct plan_variant *)builder->tables[PLAN_VARIANTS].rows;
    const struct plan_member *members =
        (const struct plan_member *)builder->tables[PLAN_MEMBERS].rows;
    if (!future->type.v || !rows[future->type.v - 1].nr_variants)
        return NULL;
    plan_type_id payload = variants[rows[future->type.v - 1].first_variant - 1].payload;
    const struct plan_type *type = payload.v ? &rows[payload.v - 1] : NULL;
    for (uint32_t m = 0; type && m < type->nr_members; m++) {
        const struct plan_member *member = &members[type->first_member - 1 + m];
        if (member->type.v && strcmp(plan_builder_text(builder, member->name), "self") == 0)
            return member;
    }
    return NULL;
}

/* An async fn of an impl that no symbol names: Type::method is what the source could write too. */
static void name_by_self(struct mentions *mentions, const struct plan_builder *builder,
                         const struct plan_future *future)
{
    const char *path = plan_builder_text(builder, future->path), *end = NULL;
    for (const char *at = path; (at = strstr(at, "{impl#")); at = end)
        if (!(end = strchr(at, '}')))
            return;
    const struct plan_member *self = end ? member_self(builder, future) : NULL;
    const uint32_t *row =
        self ? map_find(&mentions->by_hash, hash_path(path, (size_t)(end + 1 - path))) : NULL;
    if (!row || future->kind != PLAN_FUTURE_FN)
        return;
    struct mention *mention = &mentions->rows[*row - 1];
    const struct plan_type *types = (const struct plan_type *)builder->tables[PLAN_TYPES].rows;
    struct text type;
    text_init(&type);
    bool known = self_type(plan_builder_text(builder, types[self->type.v - 1].name), &type);
    if (known && !mention->is_ambiguous && !mention->display.length)
        text_append_str(&mention->display, text_str(&type));
    text_deinit(&type);
}

void impl_names_add(struct plan_builder *builder, const struct program_index *index)
{
    struct mentions mentions = {0};
    const struct plan_table *strings = &builder->tables[PLAN_STRINGS];
    for (size_t at = 1; at < strings->nr;) {
        const char *string = (const char *)strings->rows + at;
        note_mentions(&mentions, string);
        at += strlen(string) + 1;
    }
    find_displays(&mentions, index);
    const struct plan_table *futures = &builder->tables[PLAN_FUTURES];
    for (size_t i = 0; i < futures->nr; i++)
        name_by_self(&mentions, builder, (const struct plan_future *)futures->rows + i);
    for (size_t i = 0; i < mentions.nr; i++) {
        struct mention *mention = &mentions.rows[i];
        char *path = strndup(mention->path, mention->length);
        mention->path = path;
    }
    for (size_t i = 0; i < mentions.nr; i++) {
        struct mention *mention = &mentions.rows[i];
        if (mention->display.length) {
            struct plan_impl row = {plan_builder_string(builder, mention->path),
                                    plan_builder_string(builder, text_str(&mention->display))};
            plan_builder_add(builder, PLAN_IMPLS, &row);
        }
        free((char *)mention->path);
        text_deinit(&mention->display);
    }
    free(mentions.rows);
    map_deinit(&mentions.by_hash);
}
