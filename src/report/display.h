/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Text for people: safe for terminals (names come from untrusted files), numbers with separators,
 * cut to columns, colours only where they are wanted.
 */
#pragma once

#include <stdio.h>

#include "base/text.h"

struct display {
    FILE *out;
    bool colour;
    unsigned columns; /* 80 to 120 */
};

enum display_colour { COLOUR_MODE_AUTO, COLOUR_MODE_ALWAYS, COLOUR_MODE_NEVER };

/* Looks at the terminal, COLUMNS and NO_COLOR. */
void display_init(struct display *display, FILE *out, enum display_colour mode);

/* Appends `raw` with control and invalid bytes as \xNN. */
void display_escape(const char *raw, struct text *out);
/* The same for JSON: invalid UTF-8 becomes U+FFFD; the writer escapes the rest. */
void display_valid_utf8(const char *raw, struct text *out);

/* Cuts `text` to `columns` characters, with an ellipsis in place of the end. */
void display_cut(struct text *text, unsigned columns);
/* Cuts from the front: "…/src/conn.rs:88". */
void display_cut_front(struct text *text, unsigned columns);
/* Characters of valid UTF-8, one column each. */
unsigned display_width(const char *text);

/* "16,640" */
void display_number(uint64_t number, struct text *out);

/* "398 MB", of 1,000 kB: three digits, never more than the truth. */
void display_bytes(uint64_t bytes, struct text *out);

/* "812 ns", "3.14 ms", "12.3 s", "12 min 3 s", "3 h 12 min", "4 d 2 h": never more than the truth. */
void display_duration(uint64_t ns, struct text *out);

/* A variable's name, escaped; "(temporary)" for the compiler's own __3. */
void display_variable(const char *name, struct text *out);
/* The last `nr` steps of a Rust path, arguments left whole: http1::Connection<T>. */
const char *display_last_words(const char *path, unsigned nr);

/* Shortens a Rust path that is too long: its last steps say most; "root: " before it stays. */
void display_shorten_path(struct text *path, unsigned columns);

/* The last `nr` steps of a path. */
const char *display_last_steps(const char *path, unsigned nr);
/* "server/src/conn.rs:88", escaped: the end of a path, or all of it; NULL: "unknown place". */
void display_place(const char *file, uint32_t line, bool whole, struct text *out);
/* How text goes on over several lines. */
struct display_wrap {
    unsigned first;  /* the column at which it begins: what stands before is there already */
    unsigned indent; /* of the lines after */
    bool cuts;       /* words that are longer than a line */
};
/* Prints escaped text broken at spaces, but never between a number and its unit, and ends the line. */
void display_put_words(const struct display *display, const char *text, size_t length,
                       struct display_wrap wrap);
/* Prints a sentence of any length, escaped and broken at spaces. */
void display_sentence(const struct display *display, const char *head, const char *sentence);

void display_bold(const struct display *display, bool on);
void display_dim(const struct display *display, bool on);
