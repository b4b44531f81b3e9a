/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Names of macros, from the source where it is at hand: DWARF tells the line inside a macro, but
 * neither its name nor, for a macro of the same crate, where it was called.
 */
#pragma once

#include "base/memory.h"
#include "base/text.h"

enum macro_answer {
    MACRO_UNKNOWN,   /* the source is not at hand or newer than the program */
    MACRO_NONE,      /* the line is in no macro's definition */
    MACRO_ATTRIBUTE, /* the line is an attribute's, such as #[tracing::instrument] */
    MACRO_FOUND,
};

/*
 * Is the line inside the definition of a macro?  Read from the file itself when it is not newer
 * than `built_ns` (else it may be another text), or known by the file's name.  When found, "name!"
 * is appended, for an attribute "#[path]".
 */
enum macro_answer macro_name_at(const char *path, uint32_t line, int64_t built_ns,
                                struct text *name);

/*
 * The line of "fn NAME" for a body that begins at `line`: the same one, or up to 64 lines before,
 * where the signature is long.  0: not found.
 */
uint32_t fn_line_before(const char *path, const char *name, uint32_t line, int64_t built_ns);

/*
 * The lines first..last of the file, those of one async function, on which "name!" is called, at
 * most `max`; returns how many.  0 where the text does not prove that these are the function's
 * calls in the order of its awaits: calls inside calls, inner async blocks, macros that call it.
 */
size_t macro_calls(const char *path, const char *name, uint32_t first, uint32_t last,
                   int64_t built_ns, uint32_t *lines, size_t max);
