/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A snapshot for people.  One screen: what was read, then groups of tasks, most tasks first,
 * then finished tasks that are still there and why, what was left out, and notes.  --task shows
 * one whole (snapshot_task_text.c).
 */
#include <stdlib.h>

#include "report/snapshot_writer.h"

enum {
    SHOWN_GROUPS = 20,
    SHOWN_FINISHED = 8,
    NUMBER_COLUMNS = 7,
    BYTES_COLUMNS = 12,
    MAX_WAITS_COLUMNS = 24,
    NARROW_COLUMNS = 100,
    NARROW_WAITS_COLUMNS = 14,
};

/* A line of the table before it has its place; `left` holds the numbers and the status. */
struct row {
    struct text left, name, place, waits;
};

static void row_init(struct row *row)
{
    *row = (struct row){0};
}

static void row_deinit(struct row *row)
{
    text_deinit(&row->left);
    text_deinit(&row->name);
    text_deinit(&row->place);
    text_deinit(&row->waits);
}

void snapshot_put_line(const struct display *display, struct text *line)
{
    display_cut(line, display->columns);
    fprintf(display->out, "%s\n", text_str(line));
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

static void append_count(struct text *out, uint64_t count, const char *what)
{
    display_number(count, out);
    text_printf(out, " %s%s", what, count == 1 ? "" : "s");
}

void snapshot_append_status(uint32_t status, struct text *out)
{
    for (const char *at = task_status_names[status]; *at; at++)
        text_append_char(out, *at == '_' ? ' ' : *at);
}

void snapshot_append_kind(const struct snapshot *snapshot, const struct snapshot_kind *kind,
                          struct text *out)
{
    if (kind->kind == TASK_KIND_UNKNOWN)
        text_append_str(out, "unknown kind: ");
    else if (kind->kind != TASK_KIND_ASYNC)
        text_printf(out, "%s: ", snapshot_kind_name(kind->kind));
    if (kind->future.v)
        display_escape(snapshot_string(snapshot, kind->future), out);
    else
        text_append_str(out, "unknown future");
}

/* --- the opening ----------------------------------------------------------------------------- */

static void append_program(const struct snapshot *snapshot, const struct display *display,
                           struct text *out)
{
    const struct snapshot_facts *facts = snapshot_facts(snapshot);
    const char *program = snapshot_string(snapshot, facts->program);
    if (*program)
        display_escape(program, out);
    else
        text_append_str(out, "unknown program");
    display_cut_front(out, display->columns / 3);
    if (facts->pid)
        text_printf(out, " (%spid %u)", facts->is_core ? "core of " : "", facts->pid);
    else if (facts->is_core)
        text_append_str(out, " (core)");
}

static void append_counts(const struct snapshot_report *report, struct text *out)
{
    const struct snapshot_groups *groups = &report->groups;
    size_t all;
    const char *mark = ": ";
    snapshot_tasks(report->snapshot, &all);
    display_number(groups->nr_tasks, out);
    if (groups->nr_tasks < all) {
        text_append_str(out, " of ");
        display_number(all, out);
    }
    text_printf(out, " task%s", all == 1 ? "" : "s");
    for (uint32_t i = 0; i < NR_TASK_STATUSES; i++) {
        if (!groups->by_status[i])
            continue;
        text_append_str(out, mark);
        display_number(groups->by_status[i], out);
        text_append_char(out, ' ');
        snapshot_append_status(i, out);
        mark = ", ";
    }
}

static void append_runtime(const struct snapshot *snapshot, const struct snapshot_runtime *runtime,
                           struct text *out)
{
    text_append_str(out, "; ");
    display_escape(snapshot_string(snapshot, runtime->name), out);
    text_append_str(out, ": found ");
    display_number(runtime->found_tasks, out);
    if (runtime->owned_tasks == UINT64_MAX) {
        text_append_str(out, ", owned unknown");
        return;
    }
    text_append_str(out, " of ");
    display_number(runtime->owned_tasks, out);
    text_append_str(out, " owned");
}

/* "stopped for 3.1 ms; 12 threads; tokio multi_thread: found 1,204 of 1,204 owned" */
static void put_facts(const struct snapshot_report *report, const struct display *display)
{
    const struct snapshot *snapshot = report->snapshot;
    const struct snapshot_facts *facts = snapshot_facts(snapshot);
    struct text line;
    size_t nr;
    const struct snapshot_runtime *runtimes = snapshot_runtimes(snapshot, &nr);
    text_init(&line);
    if (facts->is_core)
        text_append_str(&line, "from a core");
    else
        text_printf(&line, "stopped for %.1f ms", (double)facts->stop_ns / 1e6);
    if (facts->nr_threads) {
        text_append_str(&line, "; ");
        append_count(&line, facts->nr_threads, "thread");
    }
    for (size_t i = 0; i < nr; i++)
        append_runtime(snapshot, &runtimes[i], &line);
    display_sentence(display, "", text_str(&line));
    text_deinit(&line);
    for (size_t i = 0; i < nr; i++)
        if (runtimes[i].owned_reason.v)
            display_sentence(display,
                             "Note: ", snapshot_string(snapshot, runtimes[i].owned_reason));
}

static void put_head(const struct snapshot_report *report, const struct display *display)
{
    struct text line;
    text_init(&line);
    append_program(report->snapshot, display, &line);
    text_append_str(&line, ": ");
    append_counts(report, &line);
    display_bold(display, true);
    display_sentence(display, "", text_str(&line));
    display_bold(display, false);
    text_deinit(&line);
    put_facts(report, display);
    const struct snapshot_facts *facts = snapshot_facts(report->snapshot);
    if (facts->detail_reason.v)
        display_sentence(display,
                         "Why not more: ", snapshot_string(report->snapshot, facts->detail_reason));
}

/* A process without tasks, or none selected: one line. */
static void put_none(const struct snapshot_report *report, const struct display *display)
{
    struct text line;
    size_t nr_tasks, nr_runtimes;
    snapshot_tasks(report->snapshot, &nr_tasks);
    snapshot_runtimes(report->snapshot, &nr_runtimes);
    text_init(&line);
    append_program(report->snapshot, display, &line);
    if (nr_tasks) {
        text_append_str(&line, ": none of its ");
        append_count(&line, nr_tasks, "task");
        text_append_str(&line, " is selected by --match");
    } else if (nr_runtimes) {
        text_append_str(&line, ": no tasks: ");
        append_count(&line, nr_runtimes, "runtime");
        text_append_str(&line,
                        nr_runtimes == 1 ? " was found and is empty" : " were found and are empty");
    } else {
        text_append_str(&line, ": no async tasks and no runtime were found");
    }
    display_sentence(display, "", text_str(&line));
    text_deinit(&line);
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
    if (id && states[id - 1].file.v && !is_stateless(&states[id - 1]))
        append_state_place(snapshot, &states[id - 1], narrow, out);
    else if (group->status == TASK_SUSPENDED)
        text_append_str(out, "unknown place");
}

static void append_waits(const struct snapshot *snapshot, const struct snapshot_group *group,
                         struct text *out)
{
    if (!group->await.innermost || group->status == TASK_NEVER_POLLED)
        return;
    const struct snapshot_state *state =
        &snapshot_states(snapshot, NULL)[group->await.innermost - 1];
    if (state->waits_for.v)
        display_escape(snapshot_string(snapshot, state->waits_for), out);
    else if (group->await.forks)
        text_append_str(out, "several futures");
    else if (group->await.innermost != group->await.state && !is_stateless(state))
        display_escape(snapshot_string(snapshot, state->future), out);
}

static void fill_row(const struct snapshot_report *report, const struct snapshot_group *group,
                     bool narrow, struct row *row)
{
    const struct snapshot *snapshot = report->snapshot;
    enum snapshot_grouping by = report->options->group;
    put_number(&row->left, group->nr_tasks, NUMBER_COLUMNS);
    put_sum(&row->left, &group->cells, BYTES_COLUMNS);
    text_append_str(&row->left, "  ");
    if (by == SNAPSHOT_GROUP_BOTH) {
        struct text status;
        text_init(&status);
        snapshot_append_status(group->status, &status);
        text_printf(&row->left, "%-12s  ", text_str(&status));
        text_deinit(&status);
        append_waits(snapshot, group, &row->waits);
    }
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
    text_printf(&row->left, "%*s%*s  ", NUMBER_COLUMNS, "TASKS", BYTES_COLUMNS, "CELL BYTES");
    if (by == SNAPSHOT_GROUP_BOTH)
        text_printf(&row->left, "%-12s  ", "STATUS");
    text_append_str(&row->name, by == SNAPSHOT_GROUP_AWAIT ? "FUTURE THAT AWAITS" : "FUTURE");
    if (by != SNAPSHOT_GROUP_TYPE)
        text_append_str(&row->place, "AWAIT");
    if (by == SNAPSHOT_GROUP_BOTH)
        text_append_str(&row->waits, "WAITS FOR");
}

/* Groups of finished tasks have their own table, with why they are kept. */
static bool is_listed(const struct snapshot_report *report, const struct snapshot_group *group,
                      bool finished)
{
    return report->options->group != SNAPSHOT_GROUP_BOTH ||
           (group->status == TASK_FINISHED) == finished;
}

struct left_out {
    uint64_t groups, tasks;
    uint32_t example; /* id of a task of the first group that is shown */
};

static void put_groups(const struct snapshot_report *report, const struct display *display,
                       const struct snapshot_group_list *list, struct left_out *left_out)
{
    size_t limit = report->options->top ? report->options->top : SHOWN_GROUPS, nr = 1;
    struct row *rows = memory_alloc(((limit < list->nr ? limit : list->nr) + 1) * sizeof(*rows));
    row_init(&rows[0]);
    fill_head(report->options->group, &rows[0]);
    for (size_t i = 0; i < list->nr; i++) {
        const struct snapshot_group *group = &list->rows[i];
        if (!is_listed(report, group, false))
            continue;
        if (nr > limit) {
            left_out->groups++;
            left_out->tasks += group->nr_tasks;
            continue;
        }
        if (!left_out->example)
            left_out->example = group->first_task;
        row_init(&rows[nr]);
        fill_row(report, group, display->columns < NARROW_COLUMNS, &rows[nr++]);
    }
    if (nr > 1) {
        fputs("\n", display->out);
        put_rows(rows, nr, display);
    }
    for (size_t i = 0; i < nr; i++)
        row_deinit(&rows[i]);
    free(rows);
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
    text_printf(&line, "%*s", NUMBER_COLUMNS + BYTES_COLUMNS + 4, "");
    append_because(report, group, &line);
    display_dim(display, true);
    snapshot_put_line(display, &line);
    display_dim(display, false);
    text_deinit(&line);
}

static void put_finished(const struct snapshot_report *report, const struct display *display,
                         struct left_out *left_out)
{
    const struct snapshot_group_list *list = &report->groups.by_both;
    uint64_t nr_tasks = report->groups.by_status[TASK_FINISHED];
    size_t limit = report->options->top ? report->options->top : SHOWN_FINISHED, nr = 0;
    if (!nr_tasks || report->options->group != SNAPSHOT_GROUP_BOTH)
        return;
    struct text line;
    text_init(&line);
    text_append_str(&line, "Finished, and still there: ");
    append_count(&line, nr_tasks, "task");
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
        left_out->groups++;
        left_out->tasks += list->rows[i].nr_tasks;
    }
}

/* --- the end --------------------------------------------------------------------------------- */

static void put_futures(const struct snapshot_report *report, const struct display *display)
{
    const struct snapshot_futures *futures = &report->groups.futures;
    uint64_t nr_sized = futures->nr - futures->sum.nr_unknown;
    struct text line;
    if (!futures->nr)
        return;
    text_init(&line);
    append_count(&line, futures->nr, "future");
    if (nr_sized) {
        text_append_str(&line, ", total ");
        display_number(futures->sum.bytes, &line);
        text_append_str(&line, " B, mean ");
        display_number(futures->sum.bytes / nr_sized +
                           (futures->sum.bytes % nr_sized >= (nr_sized + 1) / 2),
                       &line);
        text_append_str(&line, " B, largest ");
        display_number(futures->largest_bytes, &line);
        text_append_str(&line, " B");
    }
    if (futures->sum.nr_unknown) {
        text_append_str(&line, "; size unknown of ");
        display_number(futures->sum.nr_unknown, &line);
    }
    fputs("\n", display->out);
    display_bold(display, true);
    snapshot_put_line(display, &line);
    display_bold(display, false);
    text_deinit(&line);
}

static void put_left_out(const struct left_out *left_out, const struct display *display)
{
    struct text line;
    text_init(&line);
    display_dim(display, true);
    if (left_out->groups) {
        text_append_str(&line, "Left out: ");
        append_count(&line, left_out->groups, "group");
        text_append_str(&line, " with ");
        append_count(&line, left_out->tasks, "task");
        text_append_str(&line, "; --top N shows more");
        snapshot_put_line(display, &line);
        text_clear(&line);
    }
    if (left_out->example) {
        text_printf(&line, "More: --task %u shows one of the first group whole", left_out->example);
        text_append_str(&line, "; --json has all tasks.");
        snapshot_put_line(display, &line);
    }
    display_dim(display, false);
    text_deinit(&line);
}

static void put_notes(const struct snapshot *snapshot, const struct display *display)
{
    size_t nr;
    const struct snapshot_note *notes = snapshot_notes(snapshot, &nr);
    for (size_t i = 0; i < nr; i++)
        display_sentence(display, "Note: ", snapshot_string(snapshot, notes[i].text));
}

void snapshot_write_text(const struct snapshot_report *report, const struct display *display)
{
    const struct snapshot_groups *groups = &report->groups;
    struct left_out left_out = {0};
    size_t nr_notes;
    snapshot_notes(report->snapshot, &nr_notes);
    if (!groups->nr_tasks) {
        put_none(report, display);
        put_notes(report->snapshot, display);
        return;
    }
    if (report->options->task) {
        for (size_t i = 0; i < groups->nr_tasks; i++)
            snapshot_put_task(report, display, groups->tasks[i]);
        fputs(nr_notes ? "\n" : "", display->out);
        put_notes(report->snapshot, display);
        return;
    }
    put_head(report, display);
    put_groups(report, display,
               report->options->group == SNAPSHOT_GROUP_TYPE    ? &groups->by_type
               : report->options->group == SNAPSHOT_GROUP_AWAIT ? &groups->by_await
                                                                : &groups->by_both,
               &left_out);
    put_at_no_await(report, display);
    put_finished(report, display, &left_out);
    put_futures(report, display);
    put_notes(report->snapshot, display);
    put_left_out(&left_out, display);
}
