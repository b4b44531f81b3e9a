/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Future types of a run: how many tasks, how they ended, what they allocated, their time. */
#include <string.h>

#include "report/run_text_part.h"

enum { FEW_TYPES = 8 };

static void append_part(struct text *out, uint64_t count, const char *words)
{
    if (!count)
        return;
    text_append_str(out, out->length ? ", " : "");
    run_append_number(out, count);
    text_append_str(out, words);
}

/* "1,204 polls took 12.3 s, the longest 4.12 ms; idle for 3 h" */
static void append_time(const struct run_type *type, struct text *out)
{
    if (!type->polls || type->kind == RUN_KIND_WORKER) /* whose one poll is its whole life */
        return;
    text_append_char(out, '\n');
    run_append_count(out, type->polls, "poll");
    text_append_str(out, " took ");
    run_append_duration(out, type->poll_ns);
    text_append_str(out, ", the longest ");
    run_append_duration(out, type->longest_poll_ns);
    text_append_str(out, "; idle for ");
    run_append_duration(out, type->idle_ns);
}

/* "each takes a cell of 384 B: future 298 B, header 56 B, padding 30 B; and a box of 65.6 kB" */
static void append_cell(const struct run_type *type, struct text *out)
{
    if (type->cell_bytes == RUN_UNKNOWN)
        return;
    text_append_str(out, "\neach takes a cell of ");
    run_append_bytes(out, type->cell_bytes);
    if (type->payload_bytes != RUN_UNKNOWN) {
        text_append_str(out, ": future ");
        run_append_bytes(out, type->payload_bytes);
        text_append_str(out, ", header ");
        run_append_bytes(out, type->header_bytes);
        text_append_str(out, ", padding ");
        run_append_bytes(out, type->padding_bytes);
    }
    if (type->boxed_bytes == RUN_UNKNOWN)
        text_append_str(out, "; the future is in a box of unknown size");
    else if (type->boxed_bytes) {
        text_append_str(out, "; the future is in a box of ");
        run_append_bytes(out, type->boxed_bytes);
    }
}

/* "104,100 finished, 30 aborted, 202 not ended; at most 230 at once" */
static void append_note(const struct run_type *type, struct text *out)
{
    append_part(out, type->ended[RUN_END_FINISHED], " finished");
    append_part(out, type->ended[RUN_END_ABORTED], " aborted");
    append_part(out, type->ended[RUN_END_PANICKED], " panicked");
    append_part(out, type->ended[RUN_END_DROPPED], " dropped unfinished");
    append_part(out, type->ended[RUN_END_NEVER_POLLED], " never polled");
    append_part(out, type->ended[RUN_END_NOT], " not ended");
    text_append_str(out, "; at most ");
    run_append_number(out, type->most_at_once);
    text_append_str(out, " at once");
    append_time(type, out);
    append_cell(type, out);
}

/* By the first lines, of the whole program. */
static bool is_said(const struct run *run, run_str reason)
{
    return strcmp(run_string(run, reason), run_string(run, run_facts(run)->detail_reason)) == 0;
}

static void add_type(struct run_table *table, const struct run_report *report, uint32_t at)
{
    const struct run_type *type = &run_types(report->run, NULL)[at];
    struct run_table_row *row = run_table_add(table);
    const bool has_tasks = run_kind_has_tasks(type->kind) && type->tasks;
    if (has_tasks) {
        run_append_number(&row->cells[0], type->tasks);
        run_append_bytes(&row->cells[1], run_type_each_bytes(type));
        run_append_bytes(&row->cells[2], type->peak_bytes_sum == RUN_UNKNOWN
                                             ? RUN_UNKNOWN
                                             : type->peak_bytes_sum / type->tasks);
        run_append_bytes(&row->cells[3], type->peak_bytes_max);
    } else {
        text_append_char(&row->cells[0], '-');
    }
    run_append_bytes(&row->cells[4], type->allocated_bytes);
    run_append_bytes(&row->cells[5], type->live_bytes);
    run_append_type(report->run, at + 1, &row->cells[6]);
    if (has_tasks)
        append_note(type, &row->note);
    if (type->reason.v && !type->future.v && has_tasks && !is_said(report->run, type->reason)) {
        text_append_str(&row->note, row->note.length ? "\n" : "");
        text_append_str(&row->note, "its name is unknown: ");
        display_escape(run_string(report->run, type->reason), &row->note);
    }
}

void run_put_types(const struct run_report *report, const struct display *display)
{
    static const struct run_table_column columns[] = {
        {"TASKS", RUN_CELL_NUMBER},     {"EACH", RUN_CELL_NUMBER},
        {"MEAN PEAK", RUN_CELL_NUMBER}, {"MAX PEAK", RUN_CELL_NUMBER},
        {"ALLOCATED", RUN_CELL_NUMBER}, {"LIVE", RUN_CELL_NUMBER},
        {"FUTURE", RUN_CELL_NAME},      {NULL, RUN_CELL_NAME}};
    const struct run_types_order *order = &report->types;
    const size_t limit = run_limit(report, order->nr_types, FEW_TYPES);
    struct run_table table;
    struct text title;
    if (!order->nr_types)
        return;
    run_table_init(&table, display, columns);
    for (size_t i = 0; i < limit; i++)
        add_type(&table, report, order->types[i]);
    text_init(&title);
    text_append_str(&title, "Who allocated: types of tasks, and threads outside of tasks");
    run_put_title(display, &title,
                  "Each: what a task takes by itself, for its future. Peak: the most that one "
                  "task had allocated and not yet freed. Live: allocated by all of them and "
                  "still not freed.");
    run_table_put(&table);
    run_put_more(report, display, limit < order->nr_types, "type");
    run_table_deinit(&table);
    text_deinit(&title);
}
