/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A snapshot for people.  One screen: what was read, then groups of tasks and finished tasks that
 * are still there (snapshot_groups_text.c, snapshot_finished_text.c), the heap (snapshot_heap_text.c), sums,
 * notes and what was left out.  --task shows one task whole (snapshot_task_text.c).
 */
#include "report/snapshot_held_text.h"

void snapshot_put_line(const struct display *display, struct text *line)
{
    display_cut(line, display->columns);
    fprintf(display->out, "%s\n", text_str(line));
}

void snapshot_append_count(struct text *out, uint64_t count, const char *what)
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
    if (kind->kind == TASK_KIND_WORKER) {
        text_append_str(out, "runtime worker"); /* its future is the runtime's own loop */
        return;
    }
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

/* The loops of a runtime's threads run for ever and are nobody's work. */
static size_t count_workers(const struct snapshot_groups *groups)
{
    const struct snapshot_task *tasks = snapshot_tasks(groups->snapshot, NULL);
    const struct snapshot_kind *kinds = snapshot_kinds(groups->snapshot, NULL);
    size_t nr = 0;
    for (size_t i = 0; i < groups->nr_tasks; i++)
        nr += kinds[tasks[groups->tasks[i] - 1].kind - 1].kind == TASK_KIND_WORKER;
    return nr;
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
    size_t workers = count_workers(groups);
    if (workers) {
        text_append_str(out, "; ");
        snapshot_append_count(out, workers, "runtime worker");
        text_append_str(out, " among them");
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
        snapshot_append_count(&line, facts->nr_threads, "thread");
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
        snapshot_append_count(&line, nr_tasks, "task");
        text_append_str(&line, " is selected by --match");
    } else if (nr_runtimes) {
        text_append_str(&line, ": no tasks: ");
        snapshot_append_count(&line, nr_runtimes, "runtime");
        text_append_str(&line,
                        nr_runtimes == 1 ? " was found and is empty" : " were found and are empty");
    } else {
        text_append_str(&line, ": no async tasks and no runtime were found");
    }
    display_sentence(display, "", text_str(&line));
    text_deinit(&line);
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
    snapshot_append_count(&line, futures->nr, "future");
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

static void put_left_out(const struct snapshot_left_out *left_out, const struct display *display)
{
    struct text line;
    text_init(&line);
    display_dim(display, true);
    if (left_out->groups || left_out->variables) {
        text_append_str(&line, "Left out: ");
        if (left_out->groups) {
            snapshot_append_count(&line, left_out->groups, "group");
            text_append_str(&line, " with ");
            snapshot_append_count(&line, left_out->tasks, "task");
        } else {
            snapshot_append_count(&line, left_out->variables, "variable");
        }
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
    struct snapshot_left_out left_out = {0};
    size_t nr_notes;
    snapshot_notes(report->snapshot, &nr_notes);
    if (!groups->nr_tasks) {
        put_none(report, display);
        if (!report->options->match)
            snapshot_put_heap(report, display);
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
    snapshot_put_verdict(report, display);
    snapshot_put_most(report, display);
    if (report->options->group == SNAPSHOT_GROUP_VARIABLE)
        snapshot_put_variables(report, display, &left_out);
    else
        snapshot_put_groups(report, display, &left_out);
    snapshot_put_finished(report, display, &left_out);
    if (!report->options->match)
        snapshot_put_shared(report, display);
    snapshot_put_heap(report, display);
    put_futures(report, display);
    if (!report->snapshot->tables[SNAPSHOT_HEAP].nr)
        display_sentence(display, "", "Heap: it was not looked at; what tasks hold is not known.");
    put_notes(report->snapshot, display);
    put_left_out(&left_out, display);
}
