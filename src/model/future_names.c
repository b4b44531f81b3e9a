/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The name of a future: what DWARF's path says, and what only the symbol of its poll function or
 * its arguments tell (the impl, the Self of a trait's default method).
 */
#include <string.h>

#include "base/rust_path.h"
#include "model/name_path.h"

/* A generic parameter as legacy symbols write it: one capitalised word without a path. */
static bool is_parameter(const char *word, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!isalnum((unsigned char)word[i]))
            return false;
    return length && isupper((unsigned char)word[0]);
}

/* The only parameter that occurs in `text`, or NULL where there is none or several. */
static const char *only_parameter(const char *text, size_t *length)
{
    const char *found = NULL;
    for (const char *p = text; *p;) {
        const char *start = p;
        while (name_is_word_char(*p) || (p[0] == ':' && p[1] == ':'))
            p += *p == ':' ? 2 : 1;
        size_t word = (size_t)(p - start);
        if (!word) {
            p++;
            continue;
        }
        if (!is_parameter(start, word))
            continue;
        if (found && (*length != word || memcmp(found, start, word) != 0))
            return NULL;
        found = start;
        *length = word;
    }
    return found;
}

/* `text` with each word `parameter` replaced. */
static void replace_parameter(const char *text, const char *parameter, size_t length,
                              const struct name_step *by, struct text *out)
{
    for (const char *p = text; *p;) {
        const char *start = p;
        while (name_is_word_char(*p) || (p[0] == ':' && p[1] == ':'))
            p += *p == ':' ? 2 : 1;
        size_t word = (size_t)(p - start);
        if (word == length && memcmp(start, parameter, length) == 0)
            text_append(out, by->arguments, by->arguments_length);
        else if (word)
            text_append(out, start, word);
        else
            text_append_char(out, *p++);
    }
}

static unsigned last_impl(const struct name_path *path)
{
    unsigned behind = 0;
    for (unsigned i = 0; i < path->nr; i++)
        if (name_step_begins(&path->steps[i], "{impl#"))
            behind = i + 1;
    return behind;
}

static void append_step(struct text *raw, const struct name_step *step, bool with_arguments)
{
    if (raw->length)
        text_append_str(raw, "::");
    text_append(raw, step->word, step->length);
    if (with_arguments && step->arguments) {
        text_append_char(raw, '<');
        text_append(raw, step->arguments, step->arguments_length);
        text_append_char(raw, '>');
    }
}

static unsigned nr_arguments(const char *raw, size_t length)
{
    unsigned nr = 0;
    while (length) {
        size_t one = name_argument_length(raw, length);
        nr++;
        while (one < length && (raw[one] == ',' || raw[one] == ' '))
            one++;
        raw += one;
        length -= one;
    }
    return nr;
}

/*
 * A v0 symbol's "run_until<T>": DWARF has the same arguments, behind those of the impl, and knows
 * async blocks by their names, so the last ones of its list are taken.
 */
static void append_method(const char *word, size_t length, const struct name_step *late,
                          struct text *raw)
{
    const char *open = memchr(word, '<', length);
    if (!open || !late || word[length - 1] != '>') {
        text_append(raw, word, length);
        return;
    }
    unsigned wanted = nr_arguments(open + 1, (size_t)(word + length - 1 - (open + 1)));
    unsigned have = nr_arguments(late->arguments, late->arguments_length);
    const char *from = late->arguments;
    size_t left = late->arguments_length;
    for (; have > wanted; have--) {
        size_t one = name_argument_length(from, left);
        while (one < left && (from[one] == ',' || from[one] == ' '))
            one++;
        from += one;
        left -= one;
    }
    text_append(raw, word, (size_t)(open + 1 - word));
    text_append(raw, have == wanted ? from : open + 1,
                have == wanted ? left : (size_t)(word + length - 1 - (open + 1)));
    text_append_char(raw, '>');
}

/*
 * A raw name without {impl#N}, put together from the poll function's symbol, which knows the impl,
 * and DWARF's path, which knows the rest.  False: the symbol does not fit.
 */
static bool join_symbol(const struct name_path *path, unsigned behind, const char *symbol,
                        struct text *raw)
{
    struct text folded, impl;
    text_init(&folded);
    text_init(&impl);
    text_append_str(&folded, symbol);
    rust_path_source_form(&folded);
    size_t impl_length = rust_path_parent(text_str(&folded), folded.length, path->nr - behind);
    text_append(&impl, text_str(&folded), impl_length);
    if (impl_length)
        rust_path_unwrap(&impl);
    const struct name_step *late = name_late_arguments(path, behind);
    /* v0 symbols ("{closure#0}") carry the instance's arguments, legacy ones ("{{closure}}") the
     * parameters' names. */
    bool is_v0 = !strstr(symbol, "{{closure}}");
    size_t length = 0;
    const char *parameter = late && !is_v0 ? only_parameter(text_str(&impl), &length) : NULL;
    bool one = late && name_argument_length(late->arguments, late->arguments_length) ==
                           late->arguments_length;
    if (parameter && one) {
        replace_parameter(text_str(&impl), parameter, length, late, raw);
        late = NULL;
    } else {
        text_append_str(raw, text_str(&impl));
    }
    const char *rest = text_str(&folded) + impl_length + 2;
    for (unsigned i = behind; impl_length && i < path->nr; i++) {
        size_t step = rust_path_step(rest, strlen(rest));
        if (is_v0 && name_step_kind(&path->steps[i]) == STEP_WORD) {
            text_append_str(raw, "::");
            append_method(rest, step, name_late_arguments(path, behind), raw);
        } else {
            append_step(raw, &path->steps[i], late && !is_v0);
        }
        rest += rest[step] ? step + 2 : step;
    }
    text_deinit(&folded);
    text_deinit(&impl);
    return impl_length > 0;
}

/*
 * A word right before that of the fn is a module, a fn or a trait, and only traits are written in
 * CamelCase (the compiler warns of others); what a type's impl has stands below {impl#N}.
 */
static bool is_default_method(const struct name_path *path)
{
    unsigned method = name_last_word(path);
    const struct name_step *trait = method > 1 ? &path->steps[method - 1] : NULL;
    return trait && trait->length && name_step_kind(trait) == STEP_WORD && *trait->word >= 'A' &&
           *trait->word <= 'Z' && name_late_arguments(path, 0);
}

/*
 * The default method of a trait: DWARF has a::Trait::method::{async_fn_env#0}<Self, ...>, the
 * source would say <Self as a::Trait>::method.
 */
static void join_self(const struct name_path *path, struct text *raw)
{
    const struct name_step *late = name_late_arguments(path, 0);
    unsigned method = name_last_word(path);
    struct text trait;
    text_init(&trait);
    for (unsigned i = 0; i < method; i++)
        append_step(&trait, &path->steps[i], true);
    size_t self = name_argument_length(late->arguments, late->arguments_length), rest = self;
    while (rest < late->arguments_length &&
           (late->arguments[rest] == ',' || late->arguments[rest] == ' '))
        rest++;
    text_printf(raw, "<%.*s as %s>::", (int)self, late->arguments, text_str(&trait));
    text_append(raw, path->steps[method].word, path->steps[method].length);
    if (rest < late->arguments_length)
        text_printf(raw, "<%.*s>", (int)(late->arguments_length - rest), late->arguments + rest);
    for (unsigned i = method + 1; i < path->nr; i++)
        append_step(raw, &path->steps[i], false);
    text_deinit(&trait);
}

void names_future(const struct names *names, const struct plan_future *future,
                  enum name_style style, struct text *out)
{
    const char *dwarf = plan_string(names->plan, future->path);
    const char *symbol = plan_string(names->plan, future->symbol);
    enum name_style shown = style == NAME_SHORT ? NAME_PATH : style;
    struct name_path path;
    size_t used = name_path_read(dwarf, strlen(dwarf), &path);
    unsigned behind = used == strlen(dwarf) ? last_impl(&path) : 0;
    struct text raw;
    text_init(&raw);
    bool is_default = used == strlen(dwarf) && is_default_method(&path);
    if (is_default)
        join_self(&path, &raw);
    if (is_default)
        names_type(names, text_str(&raw), shown, out);
    else if (behind && *symbol && join_symbol(&path, behind, symbol, &raw))
        names_type(names, text_str(&raw), shown, out);
    else
        names_type(names, dwarf, shown, out);
    text_deinit(&raw);
}
