/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What tasks hold, by their variables: the sentence that names the biggest, the line below a group,
 * the table of --group variable.  A figure that is a bound says so; bytes of tasks whose blocks lie in
 * none of their variables are told as such, so that the parts never seem to be all.
 */
#include <stdlib.h>
#include <string.h>

#include "report/snapshot_held_text.h"
#include "report/snapshot_origins_text.h"
#include "report/snapshot_table_text.h"

enum {
    SHOWN_VARIABLES = 20,
    NAMED_VARIABLES = 3, /* of one group */
    LEAST_PART = 20,     /* what is less than 1/20 of a group's bytes is not named */
};

const char *snapshot_holding_words(uint32_t what)
{
    switch ((enum holding_what)what) {
    case HOLDING_AWAITED:
        return "(awaited future)";
    case HOLDING_BOX:
        return "(the future's own box)";
    default:
        return "(hidden variable)";
    }
}

static void append_variable(const struct snapshot *snapshot, const struct held_variable *variable,
                            struct text *out)
{
    const struct snapshot_slot *slots = snapshot_slots(snapshot, NULL);
    if (variable->slot)
        display_variable(snapshot_string(snapshot, slots[variable->slot - 1].name), out);
    else
        text_append_str(out, snapshot_holding_words(variable->what));
}

/* --- the variables of a group ---------------------------------------------------------------- */

/*
 * "request_buf", or "buf of read_frame" where it is not of the group's own future, whose arguments are left
 * out.  `quote` is around names, not around words.
 */
static void append_of(const struct snapshot *snapshot, const struct snapshot_group *group,
                      const struct held_variable *variable, const char *quote, struct text *out)
{
    const char *future = snapshot_string(snapshot, variable->future);
    const char *around = variable->slot ? quote : "";
    text_append_str(out, around);
    append_variable(snapshot, variable, out);
    text_append_str(out, around);
    if (strcmp(future, group->name) == 0)
        return;
    const char *name = display_last_words(future, 1);
    size_t length = strcspn(name, "<");
    struct text head;
    text_init(&head);
    text_append(&head, name, length ? length : strlen(name));
    text_printf(out, " of %s", quote);
    display_escape(text_str(&head), out);
    text_append_str(out, quote);
    text_deinit(&head);
}

static bool is_big(uint64_t bytes, uint64_t whole)
{
    return bytes && bytes >= whole / LEAST_PART;
}

size_t snapshot_nr_named(const struct snapshot_group *group, const struct held_variable *rows,
                         size_t nr)
{
    size_t named = nr > 0;
    while (named < nr && named < NAMED_VARIABLES &&
           is_big(rows[named].held.bytes, group->held.bytes))
        named++;
    return named;
}

static uint64_t sum_of(const struct held_variable *rows, size_t nr)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < nr; i++)
        if (__builtin_add_overflow(sum, rows[i].held.bytes, &sum))
            return UINT64_MAX;
    return sum;
}

static void append_rest(uint64_t bytes, const char *where, struct text *out)
{
    text_append_str(out, out->length ? ", " : "");
    display_number(bytes, out);
    text_append_str(out, where);
}

void snapshot_append_group_variables(const struct snapshot *snapshot,
                                     const struct snapshot_group *group,
                                     const struct held_variables *variables, size_t at,
                                     struct text *out)
{
    size_t nr;
    const struct held_variable *rows = held_variables_of(variables, at, &nr);
    size_t named = snapshot_nr_named(group, rows, nr);
    uint64_t others = sum_of(rows + named, nr - named), all = sum_of(rows, nr);
    for (size_t i = 0; i < named; i++) {
        text_append_str(out, i ? ", " : "");
        snapshot_append_held(out, held_sum_is(&rows[i].held), rows[i].held.bytes);
        text_append_str(out, " B in ");
        append_of(snapshot, group, &rows[i], "", out);
    }
    if (is_big(others, group->held.bytes))
        append_rest(others, " B in other variables", out);
    if (all < group->held.bytes && is_big(group->held.bytes - all, group->held.bytes))
        append_rest(group->held.bytes - all, " B in no variable (boxed futures, outputs)", out);
}

/* --- the sentence ---------------------------------------------------------------------------- */

/* Position + 1 of the group that holds most; 0: none holds anything. */
static size_t find_most(const struct snapshot_group_list *list)
{
    size_t most = 0;
    for (size_t i = 0; i < list->nr; i++)
        if (list->rows[i].held.bytes > (most ? list->rows[most - 1].held.bytes : 0))
            most = i + 1;
    return most;
}

/* "wait at conn.rs:88"; of tasks that do not: "are running". */
static void append_standing(const struct snapshot *snapshot, const struct snapshot_group *group,
                            struct text *out)
{
    bool is_one = group->nr_tasks == 1;
    size_t before;
    if (group->status != TASK_SUSPENDED) {
        text_append_str(out, is_one ? " is " : " are ");
        snapshot_append_status(group->status, out);
        return;
    }
    text_append_str(out, is_one ? " waits at " : " wait at ");
    before = out->length;
    snapshot_append_group_place(snapshot, group, true, out);
    if (out->length == before)
        text_append_str(out, "an unknown place");
}

static void append_parts(const struct snapshot *snapshot, const struct snapshot_group *group,
                         const struct held_variable *rows, size_t nr, struct text *out)
{
    for (size_t i = 0; i < snapshot_nr_named(group, rows, nr); i++) {
        text_append_str(out, i ? ", " : ": ");
        text_append_str(out, held_sum_is(&rows[i].held) == HELD_EXACT ? "" : "at least ");
        display_bytes(rows[i].held.bytes, out);
        text_append_str(out, " in ");
        append_of(snapshot, group, &rows[i], "`", out);
    }
}

void snapshot_put_most(const struct snapshot_report *report, const struct display *display)
{
    const struct snapshot *snapshot = report->snapshot;
    const struct snapshot_group_list *list = &report->groups.by_both;
    size_t most = find_most(list), nr;
    struct held_variables variables;
    struct text line;
    if (!most)
        return;
    const struct snapshot_group *group = &list->rows[most - 1];
    held_variables_init(&variables, &report->groups, list);
    const struct held_variable *rows = held_variables_of(&variables, most - 1, &nr);
    text_init(&line);
    snapshot_append_count(&line, group->nr_tasks, "task");
    text_append_str(&line, " of `");
    text_append_str(&line, *group->name ? display_last_words(group->name, 1) : "unknown future");
    text_append_char(&line, '`');
    append_standing(snapshot, group, &line);
    text_append_str(&line, group->nr_tasks == 1 ? " and holds " : " and hold ");
    text_append_str(&line, held_sum_is(&group->held) == HELD_EXACT ? "" : "at least ");
    display_bytes(group->held.bytes, &line);
    append_parts(snapshot, group, rows, nr, &line);
    text_append_char(&line, '.');
    display_sentence(display, "", text_str(&line));
    text_deinit(&line);
    held_variables_deinit(&variables);
}

/* --- by variable ----------------------------------------------------------------------------- */

static void fill_head(struct snapshot_row *row)
{
    text_append_str(&row->numbers[0], "TASKS");
    text_append_str(&row->numbers[1], "HEAP BYTES");
    text_append_str(&row->numbers[2], "BIGGEST");
    text_append_str(&row->name, "FUTURE");
    text_append_str(&row->place, "VARIABLE");
    text_append_str(&row->waits, "TYPE");
}

static void fill_row(const struct snapshot *snapshot, const struct held_variable *variable,
                     struct snapshot_row *row)
{
    const struct snapshot_slot *slots = snapshot_slots(snapshot, NULL);
    display_number(variable->nr_tasks, &row->numbers[0]);
    snapshot_append_held(&row->numbers[1], held_sum_is(&variable->held), variable->held.bytes);
    display_number(variable->largest_bytes, &row->numbers[2]);
    if (variable->future.v)
        display_escape(snapshot_string(snapshot, variable->future), &row->name);
    else
        text_append_str(&row->name, "unknown future");
    append_variable(snapshot, variable, &row->place);
    if (variable->slot)
        display_escape(snapshot_string(snapshot, slots[variable->slot - 1].type), &row->waits);
    if (!variable->site)
        return;
    text_append_str(&row->note, "most of it from ");
    snapshot_append_site(snapshot, variable->site, &row->note);
}

void snapshot_put_variables(const struct snapshot_report *report, const struct display *display,
                            struct snapshot_left_out *left_out)
{
    struct held_variables variables;
    if (!report->groups.has_held)
        return;
    held_variables_init(&variables, &report->groups, NULL);
    size_t limit = report->options->top ? report->options->top : SHOWN_VARIABLES;
    size_t nr = variables.nr < limit ? variables.nr : limit;
    struct snapshot_row *rows = memory_alloc((nr + 1) * sizeof(*rows));
    fill_head(&rows[0]);
    for (size_t i = 0; i < nr; i++)
        fill_row(report->snapshot, &variables.rows[i], &rows[i + 1]);
    fputs("\n", display->out);
    if (nr) {
        snapshot_put_rows(rows, nr + 1, true, display);
        left_out->example = variables.rows[0].largest_task;
    } else {
        fputs("No variable holds anything in the heap.\n", display->out);
    }
    left_out->variables = variables.nr - nr;
    for (size_t i = 0; i <= nr; i++)
        snapshot_row_deinit(&rows[i]);
    free(rows);
    held_variables_deinit(&variables);
}
