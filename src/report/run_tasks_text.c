/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The tasks of a run that are still there or left something behind; one of them whole. */
#include <inttypes.h>

#include "report/run_text_part.h"

enum { FEW_TASKS = 5 };

static void append_end(const struct run_task *task, struct text *out)
{
    static const char *const words[NR_RUN_ENDS] = {
        "not ended", "finished", "aborted", "panicked", "dropped", "never polled", "thread ended"};
    text_append_str(out, words[task->end]);
}

static void add_task(struct run_table *table, const struct run *run, const struct run_task *task)
{
    struct run_table_row *row = run_table_add(table);
    text_printf(&row->cells[0], "%" PRIu64, task->id);
    run_append_bytes(&row->cells[1], task->live_bytes);
    run_append_bytes(&row->cells[2], task->peak_bytes);
    if (task->held_bytes != RUN_UNKNOWN)
        run_append_bytes(&row->cells[3], task->held_bytes);
    append_end(task, &row->cells[4]);
    run_append_type(run, task->type, &row->cells[5]);
    if (task->await && run_await_shown(run, task->await))
        run_append_await(run, task->await, true, &row->cells[6]);
}

void run_put_tasks(const struct run_report *report, const struct display *display)
{
    static const struct run_table_column columns[] = {
        {"TASK", RUN_CELL_NUMBER}, {"LIVE", RUN_CELL_NUMBER}, {"PEAK", RUN_CELL_NUMBER},
        {"HELD", RUN_CELL_NUMBER}, {"END", RUN_CELL_WORDS},   {"FUTURE", RUN_CELL_NAME},
        {"AT", RUN_CELL_PLACE},    {NULL, RUN_CELL_NAME}};
    const struct run_types_order *order = &report->types;
    const size_t limit = run_limit(report, order->nr_tasks, FEW_TASKS);
    struct run_table table;
    struct text title;
    if (!order->nr_tasks)
        return;
    run_table_init(&table, display, columns);
    for (size_t i = 0; i < limit; i++)
        add_task(&table, report->run, &run_tasks(report->run, NULL)[order->tasks[i]]);
    text_init(&title);
    run_append_count(&title, order->nr_tasks, "task");
    text_append_str(&title, " not ended, or with memory left behind");
    run_put_title(display, &title,
                  "Live: allocated by it and not freed. Held: what ending it would free, at the "
                  "last snapshot. Tasks that ended and left nothing are counted in their type.");
    run_table_put(&table);
    run_put_more(report, display, limit < order->nr_tasks, "task");
    run_table_deinit(&table);
    text_deinit(&title);
}
