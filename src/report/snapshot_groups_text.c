/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The table of groups in the text of a snapshot.  Where the heap was looked at, those that keep most come
 * first, each with the variables that hold it below; else those of most tasks.
 */
#include <stdlib.h>
#include <string.h>

#include "report/snapshot_held_text.h"
#include "report/snapshot_table_text.h"

enum {
    SHOWN_GROUPS = 20,
    WIDE_COLUMNS = 120, /* a screen of fewer has no room for every number */
};

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

void snapshot_append_group_place(const struct snapshot *snapshot,
                                 const struct snapshot_group *group, bool narrow, struct text *out)
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

/* The size of one future, a big one of which lies outside of its cell, gives way to what is held. */
static bool shows_each(const struct snapshot_report *report, const struct display *display)
{
    return report->options->group != SNAPSHOT_GROUP_AWAIT &&
           (!report->groups.has_held || display->columns >= WIDE_COLUMNS);
}

static void fill_numbers(const struct snapshot_report *report, const struct snapshot_group *group,
                         bool each, struct snapshot_row *row)
{
    uint64_t bytes = snapshot_kinds(report->snapshot, NULL)[group->kind - 1].future_bytes;
    display_number(group->nr_tasks, &row->numbers[0]);
    snapshot_append_sum(&row->numbers[1], &group->cells);
    if (report->groups.has_held)
        snapshot_append_held(&row->numbers[2], held_sum_is(&group->held), group->held.bytes);
    if (each && bytes == UINT64_MAX)
        text_append_char(&row->numbers[3], '?');
    else if (each)
        display_number(bytes, &row->numbers[3]);
}

static void fill_row(const struct snapshot_report *report, const struct snapshot_group *group,
                     bool narrow, struct snapshot_row *row)
{
    const struct snapshot *snapshot = report->snapshot;
    enum snapshot_grouping by = report->options->group;
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
        snapshot_append_group_place(snapshot, group, narrow, &row->place);
}

static void fill_head(const struct snapshot_report *report, bool each, struct snapshot_row *row)
{
    enum snapshot_grouping by = report->options->group;
    text_append_str(&row->numbers[0], "TASKS");
    text_append_str(&row->numbers[1], "CELL BYTES");
    if (report->groups.has_held)
        text_append_str(&row->numbers[2], "HELD BYTES");
    if (each)
        text_append_str(&row->numbers[3], "FUTURE B");
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
    struct text digits;
    text_init(&digits);
    display_number(nr, &digits);
    text_printf(&line, "%*s", SNAPSHOT_TASKS_COLUMNS, text_str(&digits));
    text_deinit(&digits);
    text_printf(&line, " task%s at no await, or at one that is not known", nr == 1 ? "" : "s");
    snapshot_put_line(display, &line);
    text_deinit(&line);
}

void snapshot_leave_out(struct snapshot_left_out *left_out, const struct snapshot_group *group)
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

/* Fills rows behind the head, up to `limit`; how many. */
static size_t fill_rows(const struct snapshot_report *report, const struct display *display,
                        struct snapshot_row *rows, size_t limit, struct snapshot_left_out *left_out)
{
    const struct snapshot_group_list *list = list_of(report);
    struct held_variables variables;
    size_t nr = 1;
    held_variables_init(&variables, &report->groups, list);
    for (size_t i = 0; i < list->nr; i++) {
        size_t at = report->groups.has_held ? list->by_bytes[i] : i;
        const struct snapshot_group *group = &list->rows[at];
        if (!is_listed(report, group, false))
            continue;
        if (!left_out->example)
            left_out->example = group->first_task;
        if (nr > limit) {
            snapshot_leave_out(left_out, group);
            continue;
        }
        fill_numbers(report, group, shows_each(report, display), &rows[nr]);
        fill_row(report, group, display->columns < SNAPSHOT_NARROW_COLUMNS, &rows[nr]);
        snapshot_append_group_variables(report->snapshot, group, &variables, at, &rows[nr++].note);
    }
    held_variables_deinit(&variables);
    return nr;
}

void snapshot_put_groups(const struct snapshot_report *report, const struct display *display,
                         struct snapshot_left_out *left_out)
{
    size_t nr_groups = list_of(report)->nr;
    size_t limit = report->options->top ? report->options->top : SHOWN_GROUPS;
    limit = limit < nr_groups ? limit : nr_groups;
    struct snapshot_row *rows = memory_alloc((limit + 1) * sizeof(*rows));
    fill_head(report, shows_each(report, display), &rows[0]);
    size_t nr = fill_rows(report, display, rows, limit, left_out);
    if (nr > 1) {
        fputs("\n", display->out);
        snapshot_put_rows(rows, nr, true, display);
    }
    put_at_no_await(report, display);
    for (size_t i = 0; i < nr; i++)
        snapshot_row_deinit(&rows[i]);
    free(rows);
}
