/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Tables of the text of a run: columns as wide as their widest cell, numbers to the right, names and places
 * in what is left of the screen.  A column that is empty in all rows is left out.
 */
#pragma once

#include "report/display.h"

enum run_cell_kind {
    RUN_CELL_NUMBER, /* to the right; never cut */
    RUN_CELL_NAME,   /* a Rust path: shortened to its last steps; gets what is left */
    RUN_CELL_PLACE,  /* cut from the front */
    RUN_CELL_WORDS,  /* cut at the end */
};

enum { RUN_TABLE_COLUMNS = 8, RUN_NOTE_COLUMNS = 7 }; /* blanks before what stands below a row */

struct run_table_column {
    const char *head;
    enum run_cell_kind kind;
};

struct run_table_row {
    struct text cells[RUN_TABLE_COLUMNS];
    struct text note; /* lines of its own below, each broken at spaces; "\n" ends one */
};

struct run_table {
    const struct display *display;
    const struct run_table_column *columns; /* ended by head NULL */
    struct run_table_row *rows;
    size_t nr, capacity;
};

void run_table_init(struct run_table *table, const struct display *display,
                    const struct run_table_column *columns);
void run_table_deinit(struct run_table *table);
/* A new row of empty cells; holds until the next. */
struct run_table_row *run_table_add(struct run_table *table);
void run_table_put(struct run_table *table);
