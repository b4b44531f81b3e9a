/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Finished tasks that are still there, in the text of a snapshot: why, and which block or stack keeps
 * their cells and whose that is.
 */
#include <stdlib.h>

#include "report/snapshot_held_text.h"
#include "report/snapshot_table_text.h"

enum { SHOWN_FINISHED = 8 };

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

static void append_owner(const struct snapshot *snapshot, uint32_t task, struct text *out)
{
    const struct snapshot_kind *kinds = snapshot_kinds(snapshot, NULL);
    text_printf(out, "task %u (", task);
    snapshot_append_kind(snapshot, &kinds[snapshot_tasks(snapshot, NULL)[task - 1].kind - 1], out);
    text_append_char(out, ')');
}

/* "a block of 4,096 B" */
static void append_block(const struct snapshot_keeper *keeper, const char *before, struct text *out)
{
    text_append_str(out, before);
    text_append_str(out, "block of ");
    display_number(keeper->block_bytes, out);
    text_append_str(out, " B");
}

/* Of a task's: in which variable, or only whose. */
static void append_tasks_block(const struct snapshot *snapshot,
                               const struct snapshot_keeper *keeper, struct text *out)
{
    if (keeper->block_class == BLOCK_CELL) {
        text_append_str(out, "the cell of ");
        append_owner(snapshot, keeper->task, out);
        return;
    }
    if (keeper->slot.v) {
        text_append_char(out, '`');
        display_variable(snapshot_string(snapshot, keeper->slot), out);
        text_append_str(out, "` of ");
    }
    append_owner(snapshot, keeper->task, out);
    text_append_str(out, keeper->block_class == BLOCK_MAYBE_HELD ? ", which maybe holds" : ", in");
    append_block(keeper, " a ", out);
}

void snapshot_append_keeper(const struct snapshot *snapshot, const struct snapshot_keeper *keeper,
                            struct text *out)
{
    static const char *const behind[NR_BLOCK_CLASSES] = {
        [BLOCK_UNKNOWN] = " to which nothing points",
        [BLOCK_SHARED] = " that several own",
        [BLOCK_RUNTIME] = " of the runtime",
        [BLOCK_OTHER] = " that is no task's",
    };
    if (keeper->block_addr && keeper->task) {
        append_tasks_block(snapshot, keeper, out);
    } else if (keeper->block_addr) {
        append_block(keeper, "a ", out);
        text_append_str(out, behind[keeper->block_class] ? behind[keeper->block_class] : "");
    } else if (keeper->place.v) {
        text_append_str(out, "the ");
        display_escape(snapshot_string(snapshot, keeper->place), out);
    } else {
        text_printf(out, "a word at 0x%llx", (unsigned long long)keeper->addr);
    }
}

/* One of the group stands for all. */
static void append_kept_by(const struct snapshot *snapshot, const struct snapshot_group *group,
                           struct text *out)
{
    const struct snapshot_task *task = &snapshot_tasks(snapshot, NULL)[group->first_task - 1];
    if (!task->nr_keepers)
        return;
    text_append_char(out, '\n');
    if (group->nr_tasks > 1)
        text_printf(out, "task %u, for one, is ", group->first_task);
    text_append_str(out, "kept by ");
    snapshot_append_keeper(snapshot, &snapshot_keepers(snapshot, NULL)[task->first_keeper - 1],
                           out);
    if (task->nr_keepers > 1)
        text_printf(out, " and %u more", task->nr_keepers - 1);
}

static void fill_row(const struct snapshot_report *report, const struct snapshot_group *group,
                     struct snapshot_row *row)
{
    const struct snapshot *snapshot = report->snapshot;
    display_number(group->nr_tasks, &row->numbers[0]);
    snapshot_append_sum(&row->numbers[1], &group->cells);
    if (report->groups.has_held)
        snapshot_append_held(&row->numbers[2], held_sum_is(&group->held), group->held.bytes);
    snapshot_append_kind(snapshot, &snapshot_kinds(snapshot, NULL)[group->kind - 1], &row->name);
    append_because(report, group, &row->note);
    append_kept_by(snapshot, group, &row->note);
}

static void put_title(const struct display *display, uint64_t nr_tasks)
{
    struct text line;
    text_init(&line);
    text_append_str(&line, "Finished, and still there: ");
    snapshot_append_count(&line, nr_tasks, "task");
    fputs("\n", display->out);
    display_bold(display, true);
    snapshot_put_line(display, &line);
    display_bold(display, false);
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
    limit = limit < list->nr ? limit : list->nr;
    struct snapshot_row *rows = memory_alloc((limit + 1) * sizeof(*rows));
    for (size_t i = 0; i < list->nr; i++) {
        size_t at = report->groups.has_held ? list->by_bytes[i] : i;
        const struct snapshot_group *group = &list->rows[at];
        if (group->status != TASK_FINISHED)
            continue;
        if (!left_out->example)
            left_out->example = group->first_task;
        if (nr < limit)
            fill_row(report, group, &rows[nr++]);
        else
            snapshot_leave_out(left_out, group);
    }
    put_title(display, nr_tasks);
    snapshot_put_rows(rows, nr, false, display);
    for (size_t i = 0; i < nr; i++)
        snapshot_row_deinit(&rows[i]);
    free(rows);
}
