/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Tasks of a run that did not end, by where they wait, and those that were stopped before their end. */
#include "report/run_text_part.h"

enum { FEW_UNFINISHED = 8, FEW_EARLY = 5 };

static void append_held(const struct run_unfinished *row, struct text *out)
{
    if (row->held_bytes != RUN_UNKNOWN && row->held_unknown)
        text_append_str(out, ">= ");
    run_append_bytes(out, row->held_bytes);
}

/* 0: none was taken. */
static uint64_t last_snapshot_ns(const struct run *run)
{
    size_t nr;
    uint64_t last_ns = 0;
    const struct run_snapshot *rows = run_snapshots(run, &nr);
    for (size_t i = 0; i < nr; i++)
        last_ns = rows[i].t_ns > last_ns ? rows[i].t_ns : last_ns;
    return last_ns;
}

static void append_ages(const struct run *run, const struct run_unfinished *row, struct text *out)
{
    const uint64_t seen_ns = last_snapshot_ns(run);
    if (row->never_polled == row->tasks) {
        text_append_str(out, "never polled");
    } else if (row->waits_for.v) {
        text_append_str(out, "waits for: ");
        display_escape(run_string(run, row->waits_for), out);
    } else if (!row->await && seen_ns && row->oldest_ns > seen_ns) {
        text_append_str(out, "began after the last snapshot, which was taken after ");
        run_append_duration(out, seen_ns);
    } else if (!row->await && seen_ns && row->first_last_poll_ns > seen_ns) {
        text_append_str(out, "polled since the last snapshot, which was taken after ");
        run_append_duration(out, seen_ns);
    } else if (!row->await && !seen_ns) {
        text_append_str(out, "no snapshot was taken that could tell where it waits");
    } else {
        text_append_str(out, "what it waits for is not known");
    }
    if (row->last_poll_ns) {
        text_append_str(out, "; last polled ");
        run_append_duration(out, run_age_ns(run, row->last_poll_ns));
        text_append_str(out, " before the end");
    }
    const uint64_t age_ns = run_age_ns(run, row->last_poll_ns);
    if (row->first_last_poll_ns && run_age_ns(run, row->first_last_poll_ns) / 5 * 4 > age_ns) {
        text_append_str(out, ", one of them ");
        run_append_duration(out, run_age_ns(run, row->first_last_poll_ns));
    }
}

static void add_unfinished(struct run_table *table, const struct run *run,
                           const struct run_unfinished *row)
{
    struct run_table_row *cells = run_table_add(table);
    run_append_number(&cells->cells[0], row->tasks);
    append_held(row, &cells->cells[1]);
    run_append_bytes(&cells->cells[2], row->cell_bytes);
    if (row->oldest_ns)
        run_append_duration(&cells->cells[3], run_age_ns(run, row->oldest_ns));
    run_append_type(run, row->type, &cells->cells[4]);
    run_append_await(run, row->await, false, &cells->cells[5]);
    append_ages(run, row, &cells->note);
}

void run_put_unfinished(const struct run_report *report, const struct display *display)
{
    static const struct run_table_column columns[] = {
        {"TASKS", RUN_CELL_NUMBER},  {"HELD", RUN_CELL_NUMBER}, {"CELLS", RUN_CELL_NUMBER},
        {"OLDEST", RUN_CELL_NUMBER}, {"FUTURE", RUN_CELL_NAME}, {"WAITS AT", RUN_CELL_PLACE},
        {NULL, RUN_CELL_NAME}};
    const struct run_ends *ends = &report->ends;
    const size_t limit = run_limit(report, ends->nr_unfinished, FEW_UNFINISHED);
    struct run_table table;
    struct text title;
    if (!ends->nr_unfinished)
        return;
    run_table_init(&table, display, columns);
    for (size_t i = 0; i < limit; i++)
        add_unfinished(&table, report->run, &ends->unfinished[i]);
    text_init(&title);
    run_append_count(&title, ends->unfinished_tasks, "task");
    text_append_str(&title, " had not ended");
    run_put_title(display, &title,
                  "Held: what ending them would free, at the last snapshot. Cells: their futures. "
                  "Oldest: how long ago the first was spawned.");
    run_table_put(&table);
    run_put_more(report, display, limit < ends->nr_unfinished, "await");
    run_table_deinit(&table);
    text_deinit(&title);
}

/* --- ended early ----------------------------------------------------------------------------- */

static void add_early(struct run_table *table, const struct run *run,
                      const struct run_ended_early *early)
{
    static const char *const words[NR_RUN_ENDS] = {
        [RUN_END_ABORTED] = "aborted",
        [RUN_END_PANICKED] = "panicked",
        [RUN_END_DROPPED] = "dropped",
        [RUN_END_NEVER_POLLED] = "never polled",
    };
    struct run_table_row *row = run_table_add(table);
    run_append_number(&row->cells[0], early->tasks);
    text_append_str(&row->cells[1], words[early->end]);
    run_append_type(run, early->type, &row->cells[2]);
    if (early->end == RUN_END_NEVER_POLLED && !early->await)
        return;
    run_append_await(run, early->await, false, &row->cells[3]);
}

void run_put_early(const struct run_report *report, const struct display *display)
{
    static const struct run_table_column columns[] = {{"TASKS", RUN_CELL_NUMBER},
                                                      {"END", RUN_CELL_WORDS},
                                                      {"FUTURE", RUN_CELL_NAME},
                                                      {"AT", RUN_CELL_PLACE},
                                                      {NULL, RUN_CELL_NAME}};
    const struct run_ends *ends = &report->ends;
    const size_t limit = run_limit(report, ends->nr_early, FEW_EARLY);
    struct run_table table;
    struct text title;
    if (!ends->nr_early)
        return;
    run_table_init(&table, display, columns);
    for (size_t i = 0; i < limit; i++)
        add_early(&table, report->run, &ends->early[i]);
    text_init(&title);
    run_append_count(&title, ends->early_tasks, "task");
    text_append_str(&title, ends->early_tasks == 1 ? " ended before its work was done"
                                                   : " ended before their work was done");
    run_put_title(display, &title,
                  "Aborted: by abort or a JoinSet. Dropped: with their runtime. Never polled: "
                  "ended before they began.");
    run_table_put(&table);
    run_put_more(report, display, limit < ends->nr_early, "await");
    run_table_deinit(&table);
    text_deinit(&title);
}
