/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "report/run_table.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum { LEAST_NAME = 12, MAX_WORDS = 26 };

void run_table_init(struct run_table *table, const struct display *display,
                    const struct run_table_column *columns)
{
    *table = (struct run_table){.display = display, .columns = columns};
}

void run_table_deinit(struct run_table *table)
{
    for (size_t i = 0; i < table->nr; i++) {
        for (size_t j = 0; j < RUN_TABLE_COLUMNS; j++)
            text_deinit(&table->rows[i].cells[j]);
        text_deinit(&table->rows[i].note);
    }
    free(table->rows);
}

struct run_table_row *run_table_add(struct run_table *table)
{
    table->rows = array_reserve(table->rows, &table->capacity, table->nr + 1, sizeof(*table->rows));
    struct run_table_row *row = &table->rows[table->nr++];
    memset(row, 0, sizeof(*row));
    return row;
}

/* --- widths ---------------------------------------------------------------------------------- */

/* Of each column, without the blanks before it; 0: it is left out. */
struct widths {
    unsigned of[RUN_TABLE_COLUMNS];
    size_t nr;
};

static unsigned widest(const struct run_table *table, size_t column)
{
    unsigned width = 0;
    for (size_t i = 0; i < table->nr; i++) {
        const unsigned own = display_width(text_str(&table->rows[i].cells[column]));
        width = own > width ? own : width;
    }
    const unsigned head = display_width(table->columns[column].head);
    return width && head > width ? head : width;
}

/* Beside a name a place gives way. */
static unsigned most_of(const struct run_table *table, enum run_cell_kind kind)
{
    bool has_name = false;
    for (size_t i = 0; table->columns[i].head; i++)
        has_name |= table->columns[i].kind == RUN_CELL_NAME;
    return kind == RUN_CELL_WORDS               ? MAX_WORDS
           : kind == RUN_CELL_PLACE && has_name ? table->display->columns * 3 / 8
                                                : UINT32_MAX;
}

/* Takes what is too much from the columns of a kind, down to what still says something. */
static unsigned shrink(const struct run_table *table, struct widths *widths,
                       enum run_cell_kind kind, unsigned over)
{
    for (size_t i = 0; i < widths->nr && over; i++) {
        const unsigned own = widths->of[i], spare = own > LEAST_NAME ? own - LEAST_NAME : 0;
        if (table->columns[i].kind != kind)
            continue;
        widths->of[i] -= spare < over ? spare : over;
        over -= spare < over ? spare : over;
    }
    return over;
}

static struct widths measure(const struct run_table *table)
{
    struct widths widths = {0};
    unsigned sum = 0;
    for (size_t i = 0; table->columns[i].head; i++) {
        const unsigned own = widest(table, i), most = most_of(table, table->columns[i].kind);
        widths.of[i] = own < most ? own : most;
        widths.nr = i + 1;
        sum += widths.of[i] ? widths.of[i] + 2 : 0;
    }
    unsigned over = sum > table->display->columns ? sum - table->display->columns : 0;
    over = shrink(table, &widths, RUN_CELL_NAME, over);
    over = shrink(table, &widths, RUN_CELL_PLACE, over);
    shrink(table, &widths, RUN_CELL_WORDS, over);
    return widths;
}

/* --- drawing --------------------------------------------------------------------------------- */

static void append_cell(struct text *line, struct text *cell, enum run_cell_kind kind,
                        unsigned width)
{
    if (kind == RUN_CELL_NAME)
        display_shorten_path(cell, width);
    if (kind == RUN_CELL_PLACE)
        display_cut_front(cell, width);
    else if (kind != RUN_CELL_NUMBER)
        display_cut(cell, width);
    const unsigned own = display_width(text_str(cell)), blanks = width > own ? width - own : 0;
    text_append_str(line, "  ");
    if (kind == RUN_CELL_NUMBER)
        text_printf(line, "%*s", (int)blanks, "");
    text_append_str(line, text_str(cell));
    if (kind != RUN_CELL_NUMBER)
        text_printf(line, "%*s", (int)blanks, "");
}

static void put_cells(const struct run_table *table, const struct widths *widths,
                      struct text cells[RUN_TABLE_COLUMNS])
{
    struct text line;
    text_init(&line);
    for (size_t i = 0; i < widths->nr; i++)
        if (widths->of[i])
            append_cell(&line, &cells[i], table->columns[i].kind, widths->of[i]);
    while (line.length && line.data[line.length - 1] == ' ')
        line.data[--line.length] = 0;
    display_cut(&line, table->display->columns);
    fprintf(table->display->out, "%s\n", text_str(&line));
    text_deinit(&line);
}

static void put_head(const struct run_table *table, const struct widths *widths)
{
    struct text cells[RUN_TABLE_COLUMNS] = {0};
    for (size_t i = 0; i < widths->nr; i++)
        text_append_str(&cells[i], table->columns[i].head);
    display_bold(table->display, true);
    put_cells(table, widths, cells);
    display_bold(table->display, false);
    for (size_t i = 0; i < widths->nr; i++)
        text_deinit(&cells[i]);
}

static void put_note(const struct display *display, const struct text *note)
{
    const struct display_wrap wrap = {RUN_NOTE_COLUMNS, RUN_NOTE_COLUMNS + 2, true};
    display_dim(display, true);
    for (const char *at = text_str(note); *at;) {
        const size_t length = strcspn(at, "\n");
        fprintf(display->out, "%*s", RUN_NOTE_COLUMNS, "");
        display_put_words(display, at, length, wrap);
        at += length + (at[length] == '\n');
    }
    display_dim(display, false);
}

void run_table_put(struct run_table *table)
{
    const struct widths widths = measure(table);
    if (!table->nr)
        return;
    put_head(table, &widths);
    for (size_t i = 0; i < table->nr; i++) {
        put_cells(table, &widths, table->rows[i].cells);
        put_note(table->display, &table->rows[i].note);
    }
}
