/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A raw name is rewritten path by path.  A path is a list of steps; a step has a word ("read",
 * "{impl#2}", "<X as Y>") and perhaps arguments ("<u8, Global>"), which are names again.
 */
#include "model/names.h"

#include <string.h>

#include "model/name_path.h"

struct rewrite {
    const struct names *names;
    enum name_style style;
    struct text *out;
    unsigned nesting;
    bool in_display; /* the source form of an impl, in which no further ones are looked up */
};

static void rewrite_text(struct rewrite *rewrite, const char *raw, size_t length);

/* Length of the bracketed group that begins at raw[0], its brackets included. */
static size_t group_length(const char *raw, size_t length)
{
    int depth = 0;
    for (size_t i = 0; i < length; i++) {
        char c = raw[i];
        if (c == '<' || c == '{' || c == '(' || c == '[')
            depth++;
        else if (c == '}' || c == ')' || c == ']' || (c == '>' && (!i || raw[i - 1] != '-')))
            depth--;
        if (depth == 0)
            return i + 1;
    }
    return length;
}

/* Reads one path; returns its length in `raw`, 0 where none begins. */
size_t name_path_read(const char *raw, size_t length, struct name_path *path)
{
    size_t at = 0;
    path->nr = 0;
    while (at < length && path->nr < NAME_MAX_STEPS) {
        struct name_step *step = &path->steps[path->nr];
        *step = (struct name_step){.word = raw + at};
        if (name_is_word_char(raw[at]))
            while (at < length && name_is_word_char(raw[at]))
                at++;
        else if (raw[at] == '{' || (raw[at] == '<' && path->nr == 0))
            at += group_length(raw + at, length - at);
        else
            break;
        step->length = (size_t)(raw + at - step->word);
        path->nr++;
        size_t turbofish = length - at > 2 && memcmp(raw + at, "::<", 3) == 0 ? 2 : 0;
        if (at + turbofish < length && raw[at + turbofish] == '<') {
            at += turbofish;
            size_t group = group_length(raw + at, length - at);
            step->arguments = raw + at + 1;
            step->arguments_length = group >= 2 ? group - 2 : 0;
            at += group;
        }
        if (length - at < 3 || memcmp(raw + at, "::", 2) != 0)
            break;
        at += 2;
    }
    return at;
}

static bool word_is(const struct name_step *step, const char *word)
{
    return step->length == strlen(word) && memcmp(step->word, word, step->length) == 0;
}

bool name_step_begins(const struct name_step *step, const char *word)
{
    size_t length = strlen(word);
    return step->length >= length && memcmp(step->word, word, length) == 0;
}

/* --- arguments ------------------------------------------------------------------------------- */

/* Default arguments that every reader knows are left out of short names. */
static bool is_default_argument(const char *raw, size_t length)
{
    static const char *const defaults[] = {
        "alloc::alloc::Global",
        "std::hash::random::RandomState",
        "std::collections::hash::map::RandomState",
    };
    for (size_t i = 0; i < sizeof(defaults) / sizeof(*defaults); i++)
        if (length == strlen(defaults[i]) && memcmp(raw, defaults[i], length) == 0)
            return true;
    return false;
}

/* Length of the argument that begins at raw[0], up to the outer comma. */
size_t name_argument_length(const char *raw, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (raw[i] == ',')
            return i;
        if (raw[i] == '<' || raw[i] == '(' || raw[i] == '[' || raw[i] == '{')
            i += group_length(raw + i, length - i) - 1;
    }
    return length;
}

static void emit_arguments(struct rewrite *rewrite, const char *raw, size_t length)
{
    struct rewrite inner = *rewrite;
    if (inner.style == NAME_PATH)
        inner.style = NAME_SHORT;
    bool any = false;
    while (length) {
        size_t one = name_argument_length(raw, length), skip = one;
        while (skip < length && (raw[skip] == ',' || raw[skip] == ' '))
            skip++;
        if (rewrite->style == NAME_FULL || !is_default_argument(raw, one)) {
            text_append_str(rewrite->out, any ? ", " : "<");
            any = true;
            rewrite_text(&inner, raw, one);
        }
        raw += skip;
        length -= skip;
    }
    if (any)
        text_append_char(rewrite->out, '>');
}

/* --- compiler-made steps --------------------------------------------------------------------- */

enum step_kind name_step_kind(const struct name_step *step)
{
    if (step->word[0] != '{')
        return STEP_WORD;
    if (name_step_begins(step, "{async_fn"))
        return STEP_FN;
    if (name_step_begins(step, "{async_block"))
        return STEP_BLOCK;
    if (name_step_begins(step, "{async_closure"))
        return STEP_ASYNC_CLOSURE;
    if (name_step_begins(step, "{closure") || word_is(step, "{{closure}}"))
        return STEP_CLOSURE;
    return STEP_WORD;
}

/* "{closure_env#3}" gives "#3}", "{{closure}}" gives "}". */
static void emit_number(struct rewrite *rewrite, const struct name_step *step)
{
    const char *mark = memchr(step->word, '#', step->length);
    if (mark)
        text_append(rewrite->out, mark, (size_t)(step->word + step->length - mark));
    else
        text_append_char(rewrite->out, '}');
}

/* The generic arguments of a fn stand in DWARF at its compiler-made steps: find the last ones. */
const struct name_step *name_late_arguments(const struct name_path *path, unsigned from)
{
    for (unsigned i = path->nr; i-- > from;)
        if (path->steps[i].arguments)
            return name_step_kind(&path->steps[i]) == STEP_WORD ? NULL : &path->steps[i];
    return NULL;
}

static bool next_is(const struct name_path *path, unsigned i, enum step_kind kind)
{
    return i + 1 < path->nr && name_step_kind(&path->steps[i + 1]) == kind;
}

unsigned name_last_word(const struct name_path *path)
{
    unsigned last = 0;
    for (unsigned i = 0; i < path->nr; i++)
        if (name_step_kind(&path->steps[i]) == STEP_WORD)
            last = i;
    return last;
}

static void emit_separator(struct rewrite *rewrite, bool *any)
{
    if (*any)
        text_append_str(rewrite->out, "::");
    *any = true;
}

static void emit_word(struct rewrite *rewrite, const struct name_step *step)
{
    if (step->word[0] == '<' && step->length > 2) { /* <X as Y> */
        struct rewrite inner = *rewrite;
        inner.style = rewrite->style == NAME_FULL ? NAME_FULL : NAME_SHORT;
        text_append_char(rewrite->out, '<');
        rewrite_text(&inner, step->word + 1, step->length - 2);
        text_append_char(rewrite->out, '>');
        return;
    }
    text_append(rewrite->out, step->word, step->length);
}

/* Steps from..end of a path, compiler-made ones in the source's words. */
static void emit_steps(struct rewrite *rewrite, const struct name_path *path, unsigned from,
                       bool any)
{
    const struct name_step *late = name_late_arguments(path, from);
    unsigned name = name_last_word(path);
    for (unsigned i = from; i < path->nr; i++) {
        const struct name_step *step = &path->steps[i];
        switch (name_step_kind(step)) {
        case STEP_FN:
            break;
        case STEP_BLOCK:
            emit_separator(rewrite, &any);
            text_append_str(rewrite->out, "{async block");
            emit_number(rewrite, step);
            break;
        case STEP_CLOSURE:
            emit_separator(rewrite, &any);
            text_append_str(rewrite->out,
                            next_is(path, i, STEP_ASYNC_CLOSURE) ? "{async closure" : "{closure");
            emit_number(rewrite, step);
            break;
        case STEP_ASYNC_CLOSURE:
            if (i > from && name_step_kind(step - 1) == STEP_CLOSURE)
                break;
            emit_separator(rewrite, &any);
            text_append_str(rewrite->out, "{async closure");
            emit_number(rewrite, step);
            break;
        case STEP_WORD:
            emit_separator(rewrite, &any);
            emit_word(rewrite, step);
            if (step->arguments)
                emit_arguments(rewrite, step->arguments, step->arguments_length);
            else if (i == name && late)
                emit_arguments(rewrite, late->arguments, late->arguments_length);
            break;
        }
    }
}

/* --- paths ----------------------------------------------------------------------------------- */

/* The step behind the last {impl#N} whose source form is known; 0: none.  *display is that form. */
static unsigned find_impl(const struct names *names, const struct name_path *path,
                          const char **display)
{
    uint64_t hash = 0;
    unsigned behind = 0;
    for (unsigned i = 0; i < path->nr; i++) {
        hash = hash_bytes(path->steps[i].word, path->steps[i].length, hash);
        if (!name_step_begins(&path->steps[i], "{impl#"))
            continue;
        const uint32_t *row = map_find(&names->impls, hash);
        if (!row)
            continue;
        *display = plan_string(names->plan, names->plan->impls[*row - 1].display);
        behind = i + 1;
    }
    return behind;
}

/* Short names keep the last step; those of futures and closures need their path to say anything. */
static unsigned first_shown(const struct name_path *path)
{
    enum step_kind last = name_step_kind(&path->steps[path->nr - 1]);
    if (last == STEP_WORD)
        return path->nr - 1;
    if (last == STEP_CLOSURE)
        return name_last_word(path);
    return 0;
}

/* core::future::from_generator::GenFuture<T> */
static bool is_gen_future(const struct name_path *path)
{
    const struct name_step *last = &path->steps[path->nr - 1];
    return path->nr == 4 && last->arguments && word_is(last, "GenFuture") &&
           word_is(&path->steps[2], "from_generator") && word_is(&path->steps[0], "core");
}

static void emit_path(struct rewrite *rewrite, const struct name_path *path)
{
    const struct name_step *last = &path->steps[path->nr - 1];
    if (rewrite->style != NAME_FULL && is_gen_future(path)) {
        /* Before Rust 1.67 each async fn's type was wrapped in this one. */
        rewrite_text(rewrite, last->arguments, last->arguments_length);
        return;
    }
    const char *display = NULL;
    unsigned behind = rewrite->in_display ? 0 : find_impl(rewrite->names, path, &display);
    unsigned from = rewrite->style == NAME_SHORT ? first_shown(path) : 0;
    if (behind <= from) {
        emit_steps(rewrite, path, from, false);
        return;
    }
    struct rewrite prefix = *rewrite;
    prefix.in_display = true;
    if (prefix.style == NAME_SHORT)
        prefix.style = NAME_PATH;
    rewrite_text(&prefix, display, strlen(display));
    emit_steps(rewrite, path, behind, true);
}

/* "(u8)", which DWARF writes for the tuple (u8,); not the parameters of a fn, not "(dyn T)". */
static bool is_one_tuple(const char *raw, size_t length, size_t at)
{
    if (raw[at] != '(' || (at && (name_is_word_char(raw[at - 1]) || raw[at - 1] == '\"')))
        return false;
    size_t group = group_length(raw + at, length - at);
    return group > 2 && raw[at + group - 1] == ')' &&
           name_argument_length(raw + at + 1, group - 2) == group - 2 &&
           strncmp(raw + at + 1, "dyn ", 4) != 0;
}

static void rewrite_text(struct rewrite *rewrite, const char *raw, size_t length)
{
    if (rewrite->nesting >= NAME_MAX_NESTING) {
        text_append(rewrite->out, raw, length);
        return;
    }
    rewrite->nesting++;
    struct name_path path;
    if (length > 6 && memcmp(raw, "(dyn ", 5) == 0 && group_length(raw, length) == length) {
        raw++; /* DWARF's brackets around the only thing in an argument */
        length -= 2;
    }
    for (size_t at = 0; at < length;) {
        bool may_begin = name_is_word_char(raw[at]) || raw[at] == '{' || raw[at] == '<';
        size_t used = may_begin ? name_path_read(raw + at, length - at, &path) : 0;
        if (used && path.nr) {
            emit_path(rewrite, &path);
            at += used;
        } else if (is_one_tuple(raw, length, at)) {
            size_t group = group_length(raw + at, length - at);
            text_append_char(rewrite->out, '(');
            rewrite_text(rewrite, raw + at + 1, group - 2);
            text_append_str(rewrite->out, ",)");
            at += group;
        } else if (raw[at] == '=' && at && raw[at - 1] != ' ') {
            text_append_str(rewrite->out, " = "); /* Output=T */
            at++;
        } else {
            text_append_char(rewrite->out, raw[at++]);
        }
    }
    rewrite->nesting--;
}

void names_type(const struct names *names, const char *raw, enum name_style style, struct text *out)
{
    struct rewrite rewrite = {.names = names, .style = style, .out = out};
    rewrite_text(&rewrite, raw, strlen(raw));
}

/* --- set-up ---------------------------------------------------------------------------------- */

static uint64_t hash_impl_path(const char *raw)
{
    struct name_path path;
    uint64_t hash = 0;
    name_path_read(raw, strlen(raw), &path);
    for (unsigned i = 0; i < path.nr; i++)
        hash = hash_bytes(path.steps[i].word, path.steps[i].length, hash);
    return hash;
}

void names_init(struct names *names, const struct plan *plan)
{
    *names = (struct names){.plan = plan};
    for (uint32_t i = 0; i < plan->nr_impls; i++)
        *map_put(&names->impls, hash_impl_path(plan_string(plan, plan->impls[i].path)), NULL) =
            i + 1;
}

void names_deinit(struct names *names)
{
    map_deinit(&names->impls);
}
