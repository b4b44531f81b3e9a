/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Tables of the text of a snapshot: numbers to the right, then names.  Columns are as wide as their
 * widest cell; the first name gets what the others leave, the line below a row what the screen has.
 */
#include <string.h>

#include "report/snapshot_table_text.h"

enum {
    MAX_WAITS_COLUMNS = 18,
    NARROW_WAITS_COLUMNS = 14,
    NOTE_COLUMNS = 7, /* left of what stands below a row */
};

void snapshot_row_deinit(struct snapshot_row *row)
{
    for (size_t i = 0; i < SNAPSHOT_ROW_NUMBERS; i++)
        text_deinit(&row->numbers[i]);
    text_deinit(&row->name);
    text_deinit(&row->place);
    text_deinit(&row->waits);
    text_deinit(&row->note);
}

void snapshot_append_sum(struct text *out, const struct snapshot_sum *sum)
{
    if (sum->nr_unknown && !sum->bytes) {
        text_append_char(out, '?');
        return;
    }
    text_append_str(out, sum->nr_unknown ? ">= " : "");
    display_number(sum->bytes, out);
}

void snapshot_append_held(struct text *out, enum held_is is, uint64_t bytes)
{
    if (is == HELD_UNKNOWN) {
        text_append_char(out, '?');
        return;
    }
    text_append_str(out, is == HELD_AT_LEAST ? ">= " : "");
    display_number(bytes, out);
}

/* --- drawing --------------------------------------------------------------------------------- */

/* Fills up to `columns`, at least one blank. */
static void append_padded(struct text *line, struct text *cell, unsigned columns, bool cut_front)
{
    if (cut_front)
        display_cut_front(cell, columns);
    else
        display_cut(cell, columns);
    text_append_str(line, text_str(cell));
    for (unsigned width = display_width(text_str(cell)); width < columns; width++)
        text_append_char(line, ' ');
}

static void trim_end(struct text *line)
{
    while (line->length && line->data[line->length - 1] == ' ')
        line->data[--line->length] = 0;
}

static unsigned widest(const struct snapshot_row *rows, size_t nr, size_t cell_offset,
                       unsigned most)
{
    unsigned width = 0;
    for (size_t i = 0; i < nr; i++) {
        const struct text *cell = (const struct text *)((const char *)&rows[i] + cell_offset);
        unsigned own = display_width(text_str(cell));
        width = own > width ? own : width;
    }
    return width < most ? width : most;
}

/* Of each column, the blank before it included. */
struct widths {
    unsigned numbers[SNAPSHOT_ROW_NUMBERS];
    unsigned name, place, waits;
};

static struct widths measure(const struct snapshot_row *rows, size_t nr,
                             const struct display *display)
{
    static const unsigned blanks[SNAPSHOT_ROW_NUMBERS] = {2, 2, 2, 1},
                          least[SNAPSHOT_ROW_NUMBERS] = {7, 12, 12, 9};
    bool narrow = display->columns < SNAPSHOT_NARROW_COLUMNS;
    struct widths widths = {0};
    unsigned others = 2;
    for (size_t i = 0; i < SNAPSHOT_ROW_NUMBERS; i++) {
        unsigned own = widest(rows, nr, offsetof(struct snapshot_row, numbers[i]), UINT32_MAX);
        widths.numbers[i] = !own ? 0 : own + blanks[i] < least[i] ? least[i] : own + blanks[i];
        others += widths.numbers[i];
    }
    widths.place =
        widest(rows, nr, offsetof(struct snapshot_row, place), display->columns * 3 / 10);
    widths.waits = widest(rows, nr, offsetof(struct snapshot_row, waits),
                          narrow ? NARROW_WAITS_COLUMNS : MAX_WAITS_COLUMNS);
    others += (widths.place ? widths.place + 2 : 0) + (widths.waits ? widths.waits + 2 : 0);
    unsigned left = display->columns > others + 10 ? display->columns - others : 10;
    widths.name = widest(rows, nr, offsetof(struct snapshot_row, name), left);
    return widths;
}

static void append_numbers(struct text *line, const struct snapshot_row *row,
                           const struct widths *widths)
{
    for (size_t i = 0; i < SNAPSHOT_ROW_NUMBERS; i++)
        text_printf(line, "%*s", (int)widths->numbers[i], text_str(&row->numbers[i]));
    text_append_str(line, "  ");
}

static void put_row(struct snapshot_row *row, const struct widths *widths,
                    const struct display *display)
{
    struct text line;
    text_init(&line);
    append_numbers(&line, row, widths);
    display_shorten_path(&row->name, widths->name);
    append_padded(&line, &row->name, widths->name, false);
    if (widths->place) {
        text_append_str(&line, "  ");
        append_padded(&line, &row->place, widths->place, true);
    }
    if (widths->waits) {
        text_append_str(&line, "  ");
        append_padded(&line, &row->waits, widths->waits, false);
    }
    trim_end(&line);
    snapshot_put_line(display, &line);
    text_deinit(&line);
}

static void put_note(const struct text *note, const struct display *display)
{
    const char *at = text_str(note);
    if (!*at)
        return;
    display_dim(display, true);
    while (*at) {
        size_t length = strcspn(at, "\n");
        struct text line;
        text_init(&line);
        text_printf(&line, "%*s", NOTE_COLUMNS, "");
        text_append(&line, at, length);
        snapshot_put_line(display, &line);
        text_deinit(&line);
        at += length + (at[length] == '\n');
    }
    display_dim(display, false);
}

void snapshot_put_rows(struct snapshot_row *rows, size_t nr, bool has_head,
                       const struct display *display)
{
    const struct widths widths = measure(rows, nr, display);
    for (size_t i = 0; i < nr; i++) {
        bool is_head = has_head && i == 0;
        if (is_head)
            display_bold(display, true);
        put_row(&rows[i], &widths, display);
        if (is_head)
            display_bold(display, false);
        put_note(&rows[i].note, display);
    }
}
