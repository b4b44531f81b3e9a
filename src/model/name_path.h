/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Inside model/names: paths taken apart.  names.c reads and rewrites them, future_names.c joins. */
#pragma once

#include <ctype.h>

#include "model/names.h"

/* Longer names are cut: the rest is shown as it stands. */
enum { NAME_MAX_STEPS = 64, NAME_MAX_NESTING = 64 };

struct name_step {
    const char *word;
    size_t length;
    const char *arguments; /* behind "<"; NULL: none */
    size_t arguments_length;
};

struct name_path {
    struct name_step steps[NAME_MAX_STEPS];
    unsigned nr;
};

enum step_kind {
    STEP_WORD,
    STEP_FN,      /* {async_fn_env#0}: says nothing that the fn's own step does not */
    STEP_BLOCK,   /* {async_block#1} */
    STEP_CLOSURE, /* {closure#2} */
    STEP_ASYNC_CLOSURE,
};

static inline bool name_is_word_char(char c)
{
    return isalnum((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

/* Reads one path; returns its length in `raw`, 0 where none begins. */
size_t name_path_read(const char *raw, size_t length, struct name_path *path);
bool name_step_begins(const struct name_step *step, const char *word);
enum step_kind name_step_kind(const struct name_step *step);
/* Length of the argument that begins at raw[0], up to the outer comma. */
size_t name_argument_length(const char *raw, size_t length);
/* The generic arguments of a fn stand in DWARF at its compiler-made steps: the last ones. */
const struct name_step *name_late_arguments(const struct name_path *path, unsigned from);
/* The last step that is a word of the source. */
unsigned name_last_word(const struct name_path *path);
