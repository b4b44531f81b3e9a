/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Inside the text writer of `types`: lines and places, and one future whole or in brief. */
#pragma once

#include "report/types_report.h"

struct types_writer {
    const struct types_report *report;
    const struct display *display;
    bool whole;
    size_t hidden_states, hidden_slots; /* not shown, of futures that are */
};

void types_put(const struct types_writer *writer, const char *text);
void types_put_number(const struct types_writer *writer, uint64_t number, unsigned columns);
/* One line: `left` cut to fit, `right` at the right edge. */
void types_put_line(const struct types_writer *writer, struct text *left, const struct text *right);
/* One line, cut to the columns. */
void types_put_cut(const struct types_writer *writer, struct text *line);
/* "server/src/conn.rs:88": the end of a path, or all of it with --full-names. */
void types_append_place(const struct types_writer *writer, const char *file, uint32_t line,
                        struct text *out);

/* One future: all its states when writer->whole, else those that use most. */
void types_put_future(struct types_writer *writer, const struct future_layout *layout);
