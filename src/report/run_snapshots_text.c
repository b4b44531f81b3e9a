/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The snapshots that a run stored on the way: who held what at the highest point and before the end, by
 * the parts of the text of `snapshot`.
 */
#include <string.h>

#include "model/snapshot_file.h"
#include "report/run_text_part.h"
#include "report/snapshot_held_text.h"

enum { FEW_GROUPS = 5 };

/* A rise that ends soon, or comes too soon after the last snapshot, is not followed to its top. */
static bool is_below_peak(const struct run *run, const struct run_snapshot *row)
{
    return row->why == RUN_SNAPSHOT_PEAK && row->live_bytes < run_facts(run)->peak_bytes / 10 * 9;
}

static const char *why_of(const struct run_snapshot *row)
{
    static const char *const words[NR_RUN_SNAPSHOT_WHYS] = {
        [RUN_SNAPSHOT_PEAK] = "near the highest point",
        [RUN_SNAPSHOT_SHUTDOWN] = "before a runtime dropped its tasks",
        [RUN_SNAPSHOT_EXIT] = "before the program's exit",
    };
    return words[row->why];
}

static void put_groups(const struct run_report *report, const struct display *display,
                       const struct snapshot *snapshot)
{
    const struct snapshot_options options = {.match = report->options->match,
                                             .top = report->options->all   ? 1000000000
                                                    : report->options->top ? report->options->top
                                                                           : FEW_GROUPS};
    struct snapshot_left_out left_out = {0};
    struct snapshot_report inner;
    struct error err = {0};
    if (!snapshot_report_init(&inner, snapshot, &options, &err))
        return;
    if (!inner.groups.nr_tasks)
        fputs(options.match ? "No task there matches.\n" : "No tasks were there.\n", display->out);
    snapshot_put_most(&inner, display);
    snapshot_put_groups(&inner, display, &left_out);
    snapshot_put_finished(&inner, display, &left_out);
    snapshot_report_deinit(&inner);
}

static void put_snapshot(const struct run_report *report, const struct display *display,
                         const struct run_snapshot *row)
{
    const char *bytes = report->run->tables[RUN_SNAPSHOT_BYTES].rows;
    struct snapshot snapshot;
    struct text title;
    struct error err = {0};
    text_init(&title);
    text_append_str(&title, "Who held what ");
    text_append_str(&title, is_below_peak(report->run, row) ? "on the way to the highest point"
                                                            : why_of(row));
    text_append_str(&title, ": snapshot after ");
    run_append_duration(&title, row->t_ns);
    text_append_str(&title, ", live heap ");
    run_append_bytes(&title, row->live_bytes);
    if (is_below_peak(report->run, row)) {
        text_append_str(&title, ", of the ");
        run_append_bytes(&title, run_facts(report->run)->peak_bytes);
        text_append_str(&title, " at the peak");
    }
    run_put_title(display, &title, NULL);
    text_deinit(&title);
    if (!snapshot_file_parse(&snapshot, bytes + row->first_byte, row->nr_bytes, &err)) {
        display_sentence(display, "It cannot be read: ", err.message);
        return;
    }
    put_groups(report, display, &snapshot);
    snapshot_deinit(&snapshot);
}

/* Of two that show nearly the same heap the later says as much. */
static bool is_repeated(const struct run_snapshot *row, const struct run_snapshot *next)
{
    enum { PART = 20 };
    const uint64_t less = row->live_bytes < next->live_bytes ? row->live_bytes : next->live_bytes,
                   more = row->live_bytes < next->live_bytes ? next->live_bytes : row->live_bytes;
    return more - less <= more / PART;
}

void run_put_snapshots(const struct run_report *report, const struct display *display)
{
    size_t nr;
    const struct run_snapshot *rows = run_snapshots(report->run, &nr);
    const bool all = report->options->by != RUN_BY_ALL || report->options->all;
    for (size_t i = 0; i < nr; i++)
        if (all || i + 1 == nr || !is_repeated(&rows[i], &rows[i + 1]))
            put_snapshot(report, display, &rows[i]);
}
