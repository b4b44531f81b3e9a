/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The tables of the text of a snapshot: groups of tasks, most tasks first, then finished tasks that
 * are still there, with the reason.  Columns are as wide as their widest cell; the names of the
 * futures get what the others leave.
 */
#include <stdlib.h>
#include <string.h>

#include "report/snapshot_writer.h"

enum {
    SHOWN_GROUPS = 20,
    SHOWN_FINISHED = 8,
    NUMBER_COLUMNS = 7,
    BYTES_COLUMNS = 12,
    EACH_COLUMNS = 9,
    NARROW_COLUMNS = 100, /* a screen of fewer gets shorter cells */
    MAX_WAITS_COLUMNS = 18,
    NARROW_WAITS_COLUMNS = 14,
};

/* A line of the table, of zeros at first; `left` holds the numbers. */
struct row {
    struct text left, name, place, waits;
};

static void row_deinit(struct row *row)
{
    text_deinit(&row->left);
    text_deinit(&row->name);
    text_deinit(&row->place);
    text_deinit(&row->waits);
}

static void put_number(struct text *out, uint64_t number, int columns)
{
    struct text digits;
    text_init(&digits);
    display_number(number, &digits);
    text_printf(out, "%*s", columns, text_str(&digits));
    text_deinit(&digits);
}

/* "1,024"; ">=1,024" where more is unknown; "?" where all is. */
static void put_sum(struct text *out, const struct snapshot_sum *sum, int columns)
{
    struct text digits;
    text_init(&digits);
    if (sum->nr_unknown && sum->bytes)
        text_append_str(&digits, ">=");
    if (sum->nr_unknown && !sum->bytes)
        text_append_char(&digits, '?');
    else
        display_number(sum->bytes, &digits);
    text_printf(out, "%*s", columns, text_str(&digits));
    text_deinit(&digits);
}

/* The size of one future: a big one lies outside of its cell. */
static void put_each(struct text *out, uint64_t bytes)
{
    if (bytes == ~(uint64_t)0)
        text_printf(out, "%*s", EACH_COLUMNS, "?");
    else
        put_number(out, bytes, EACH_COLUMNS);
}

/* --- groups ---------------------------------------------------------------------------------- */

/* "demo/src/conn.rs:88 select!"; on a narrow screen "conn.rs:88". */
static void append_state_place(const struct snapshot *snapshot, const struct snapshot_state *state,
                               bool narrow, struct text *out)
{
    const char *file = snapshot_string(snapshot, state->file);
    display_place(narrow ? display_last_steps(file, 1) : file, state->line, false, out);
    if (state->macro.v && !narrow) {
        text_append_char(out, ' ');
        display_escape(snapshot_string(snapshot, state->macro), out);
    }
}

/* A future whose state is not known has the place of its fn, which is not where it stands. */
static bool is_stateless(const struct snapshot_state *state)
{
    return state->file.v && !state->state.v;
}

/* Where the task stands: its await; of one that was not polled its fn. */
static void append_place(const struct snapshot *snapshot, const struct snapshot_group *group,
                         bool narrow, struct text *out)
{
    const struct snapshot_state *states = snapshot_states(snapshot, NULL);
    uint32_t id = group->await.state ? group->await.state : group->await.innermost;
    bool is_known = id && !is_stateless(&states[id - 1]);
    if (is_known && states[id - 1].file.v)
        append_state_place(snapshot, &states[id - 1], narrow, out);
    else if (group->status == TASK_SUSPENDED && !is_known)
        text_append_str(out, "unknown place"); /* a future written by hand has no await */
}

static void append_waits(const struct snapshot *snapshot, const struct snapshot_group *group,
                         struct text *out)
{
    if (!group->await.innermost || group->status == TASK_NEVER_POLLED)
        return;
    const struct snapshot_state *state =
        &snapshot_states(snapshot, NULL)[group->await.innermost - 1];
    if (group->await.forks)
        text_append_str(out, "several futures");
    else if (state->waits_for.v)
        display_escape(display_last_words(snapshot_string(snapshot, state->waits_for), 1), out);
    else if (group->await.innermost != group->await.state && !is_stateless(state))
        display_escape(display_last_words(snapshot_string(snapshot, state->future), 1), out);
}

static void fill_row(const struct snapshot_report *report, const struct snapshot_group *group,
                     bool narrow, struct row *row)
{
    const struct snapshot *snapshot = report->snapshot;
    enum snapshot_grouping by = report->options->group;
    put_number(&row->left, group->nr_tasks, NUMBER_COLUMNS);
    put_sum(&row->left, &group->cells, BYTES_COLUMNS);
    if (by != SNAPSHOT_GROUP_AWAIT)
        put_each(&row->left, snapshot_kinds(snapshot, NULL)[group->kind - 1].future_bytes);
    text_append_str(&row->left, "  ");
    if (by == SNAPSHOT_GROUP_BOTH && group->status == TASK_SUSPENDED)
        append_waits(snapshot, group, &row->waits);
    else if (by == SNAPSHOT_GROUP_BOTH)
        snapshot_append_status(group->status, &row->waits);
    if (by == SNAPSHOT_GROUP_AWAIT)
        display_escape(group->name, &row->name);
    else
        snapshot_append_kind(snapshot, &snapshot_kinds(snapshot, NULL)[group->kind - 1],
                             &row->name);
    if (by != SNAPSHOT_GROUP_TYPE)
        append_place(snapshot, group, narrow, &row->place);
}

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

/* Of a name that is too long the last steps say most; "root: " before it stays. */
static void shorten_name(struct text *name, unsigned columns)
{
    const char *colon = strstr(text_str(name), ": ");
    const size_t from = colon ? (size_t)(colon + 2 - text_str(name)) : 0;
    for (unsigned steps = 3; steps && display_width(text_str(name)) > columns; steps--) {
        const char *path = text_str(name) + from, *last = display_last_words(path, steps);
        if (from + display_width(last) > columns && steps > 1)
            continue;
        memmove(name->data + from, last, strlen(last) + 1);
        name->length -= (size_t)(last - path);
    }
}

static void trim_end(struct text *line)
{
    while (line->length && line->data[line->length - 1] == ' ')
        line->data[--line->length] = 0;
}

static unsigned widest(const struct row *rows, size_t nr, size_t cell_offset, unsigned most)
{
    unsigned width = 0;
    for (size_t i = 0; i < nr; i++) {
        const struct text *cell = (const struct text *)((const char *)&rows[i] + cell_offset);
        unsigned own = display_width(text_str(cell));
        width = own > width ? own : width;
    }
    return width < most ? width : most;
}

/* The names get what the other columns leave; rows[0] is the head. */
static void put_rows(struct row *rows, size_t nr, const struct display *display)
{
    unsigned left = display_width(text_str(&rows[0].left));
    unsigned place = widest(rows, nr, offsetof(struct row, place), display->columns * 3 / 10);
    unsigned waits =
        widest(rows, nr, offsetof(struct row, waits),
               display->columns < NARROW_COLUMNS ? NARROW_WAITS_COLUMNS : MAX_WAITS_COLUMNS);
    unsigned others = left + (place ? place + 2 : 0) + (waits ? waits + 2 : 0);
    unsigned name = display->columns > others + 10 ? display->columns - others : 10;
    name = widest(rows, nr, offsetof(struct row, name), name);
    for (size_t i = 0; i < nr; i++) {
        struct text line;
        text_init(&line);
        text_append_str(&line, text_str(&rows[i].left));
        shorten_name(&rows[i].name, name);
        append_padded(&line, &rows[i].name, name, false);
        if (place) {
            text_append_str(&line, "  ");
            append_padded(&line, &rows[i].place, place, true);
        }
        if (waits) {
            text_append_str(&line, "  ");
            append_padded(&line, &rows[i].waits, waits, false);
        }
        trim_end(&line);
        if (i == 0)
            display_bold(display, true);
        snapshot_put_line(display, &line);
        if (i == 0)
            display_bold(display, false);
        text_deinit(&line);
    }
}

static void fill_head(enum snapshot_grouping by, struct row *row)
{
    text_printf(&row->left, "%*s%*s", NUMBER_COLUMNS, "TASKS", BYTES_COLUMNS, "CELL BYTES");
    if (by != SNAPSHOT_GROUP_AWAIT)
        text_printf(&row->left, "%*s", EACH_COLUMNS, "FUTURE B");
    text_append_str(&row->left, "  ");
    text_append_str(&row->name, by == SNAPSHOT_GROUP_AWAIT ? "FUTURE THAT AWAITS" : "FUTURE");
    if (by != SNAPSHOT_GROUP_TYPE)
        text_append_str(&row->place, "AWAIT");
    if (by == SNAPSHOT_GROUP_BOTH)
        text_append_str(&row->waits, "WAITS FOR OR IS");
}

/* Groups of finished tasks have their own table, with why they are kept. */
static bool is_listed(const struct snapshot_report *report, const struct snapshot_group *group,
                      bool finished)
{
    return report->options->group != SNAPSHOT_GROUP_BOTH ||
           (group->status == TASK_FINISHED) == finished;
}

/* Those that --group await cannot group. */
static void put_at_no_await(const struct snapshot_report *report, const struct display *display)
{
    const struct snapshot_groups *groups = &report->groups;
    size_t nr = groups->nr_tasks;
    for (size_t i = 0; i < groups->by_await.nr; i++)
        nr -= groups->by_await.rows[i].nr_tasks;
    if (!nr || report->options->group != SNAPSHOT_GROUP_AWAIT)
        return;
    struct text line;
    text_init(&line);
    put_number(&line, nr, NUMBER_COLUMNS);
    text_printf(&line, " task%s at no await, or at one that is not known", nr == 1 ? "" : "s");
    snapshot_put_line(display, &line);
    text_deinit(&line);
}

static void leave_out(struct snapshot_left_out *left_out, const struct snapshot_group *group)
{
    left_out->groups++;
    left_out->tasks += group->nr_tasks;
}

static const struct snapshot_group_list *list_of(const struct snapshot_report *report)
{
    const struct snapshot_groups *groups = &report->groups;
    return report->options->group == SNAPSHOT_GROUP_TYPE    ? &groups->by_type
           : report->options->group == SNAPSHOT_GROUP_AWAIT ? &groups->by_await
                                                            : &groups->by_both;
}

void snapshot_put_groups(const struct snapshot_report *report, const struct display *display,
                         struct snapshot_left_out *left_out)
{
    const struct snapshot_group_list *list = list_of(report);
    size_t limit = report->options->top ? report->options->top : SHOWN_GROUPS, nr = 1;
    struct row *rows = memory_alloc(((limit < list->nr ? limit : list->nr) + 1) * sizeof(*rows));
    fill_head(report->options->group, &rows[0]);
    for (size_t i = 0; i < list->nr; i++) {
        const struct snapshot_group *group = &list->rows[i];
        if (!is_listed(report, group, false))
            continue;
        if (!left_out->example)
            left_out->example = group->first_task;
        if (nr <= limit)
            fill_row(report, group, display->columns < NARROW_COLUMNS, &rows[nr++]);
        else
            leave_out(left_out, group);
    }
    if (nr > 1) {
        fputs("\n", display->out);
        put_rows(rows, nr, display);
    }
    put_at_no_await(report, display);
    for (size_t i = 0; i < nr; i++)
        row_deinit(&rows[i]);
    free(rows);
}

/* --- finished, and still there --------------------------------------------------------------- */

static void append_because(const struct snapshot_report *report, const struct snapshot_group *group,
                           struct text *out)
{
    struct snapshot_task task = snapshot_tasks(report->snapshot, NULL)[group->first_task - 1];
    if (group->nr_tasks > 1)
        task.nr_refs = 0; /* they differ */
    if (task.finished_because == FINISHED_UNKNOWN)
        text_append_str(out, "why is not known");
    snapshot_finished_because(&task, out);
}

static void put_finished_group(const struct snapshot_report *report, const struct display *display,
                               const struct snapshot_group *group)
{
    const struct snapshot *snapshot = report->snapshot;
    struct text line;
    text_init(&line);
    put_number(&line, group->nr_tasks, NUMBER_COLUMNS);
    put_sum(&line, &group->cells, BYTES_COLUMNS);
    text_append_str(&line, "  ");
    snapshot_append_kind(snapshot, &snapshot_kinds(snapshot, NULL)[group->kind - 1], &line);
    snapshot_put_line(display, &line);
    text_clear(&line);
    text_printf(&line, "%*s", NUMBER_COLUMNS, ""); /* the longest fits in 80 columns */
    append_because(report, group, &line);
    display_dim(display, true);
    snapshot_put_line(display, &line);
    display_dim(display, false);
    text_deinit(&line);
}

void snapshot_put_finished(const struct snapshot_report *report, const struct display *display,
                           struct snapshot_left_out *left_out)
{
    const struct snapshot_group_list *list = &report->groups.by_both;
    uint64_t nr_tasks = report->groups.by_status[TASK_FINISHED];
    size_t limit = report->options->top ? report->options->top : SHOWN_FINISHED, nr = 0;
    if (!nr_tasks || report->options->group != SNAPSHOT_GROUP_BOTH)
        return;
    struct text line;
    text_init(&line);
    text_append_str(&line, "Finished, and still there: ");
    snapshot_append_count(&line, nr_tasks, "task");
    fputs("\n", display->out);
    display_bold(display, true);
    snapshot_put_line(display, &line);
    display_bold(display, false);
    text_deinit(&line);
    for (size_t i = 0; i < list->nr; i++) {
        if (!is_listed(report, &list->rows[i], true))
            continue;
        if (!left_out->example)
            left_out->example = list->rows[i].first_task;
        if (nr++ < limit) {
            put_finished_group(report, display, &list->rows[i]);
            continue;
        }
        leave_out(left_out, &list->rows[i]);
    }
}
