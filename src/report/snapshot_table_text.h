/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Inside the text writer of `snapshot`: rows of its tables. */
#pragma once

#include "report/snapshot_writer.h"

enum {
    SNAPSHOT_ROW_NUMBERS = 4,
    SNAPSHOT_NARROW_COLUMNS = 100, /* a screen of fewer gets shorter cells */
};

/* A line of a table, of zeros at first; a column that is empty in all rows is left out. */
struct snapshot_row {
    struct text numbers[SNAPSHOT_ROW_NUMBERS]; /* to the right */
    struct text name, place, waits;
    struct text note; /* dim, in lines of its own below */
};

void snapshot_row_deinit(struct snapshot_row *row);

/* "1,024"; ">= 1,024" where more is unknown; "?" where all is. */
void snapshot_append_sum(struct text *out, const struct snapshot_sum *sum);
void snapshot_append_held(struct text *out, enum held_is is, uint64_t bytes);

/* With a head, rows[0] is that.  Cuts the cells. */
void snapshot_put_rows(struct snapshot_row *rows, size_t nr, bool has_head,
                       const struct display *display);
