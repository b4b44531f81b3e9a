/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A run for people.  The first screen says what the run was, what stands out, and how the heap went; then a
 * table for each question (run_*_text.c).  What is not exact says so where it stands.
 */
#include <inttypes.h>
#include <string.h>

#include "report/run_text_part.h"

/* --- the first lines ------------------------------------------------------------------------- */

static const char *signal_name(int32_t number)
{
    const char *name = number > 0 && number < 65 ? sigabbrev_np(number) : NULL;
    return name ? name : "?";
}

static void append_end(const struct run *run, struct text *out)
{
    const struct run_facts *facts = run_facts(run);
    switch (facts->ended_by) {
    case RUN_EXIT:
        text_printf(out, " and ended with exit status %d", facts->exit_status);
        break;
    case RUN_SIGNAL:
        text_printf(out, " and was ended by signal %d (SIG%s)", facts->exit_status,
                    signal_name(facts->exit_status));
        break;
    case RUN_RUNNING:
        text_append_str(out, " so far: it was still running when this was written");
        break;
    default:
        text_append_str(out, " up to the last record of it: how it ended is not known");
    }
}

static void put_first_line(const struct run *run, const struct display *display)
{
    const struct run_facts *facts = run_facts(run);
    const char *program = run_string(run, facts->program);
    struct text line;
    text_init(&line);
    display_escape(*program ? display_last_steps(program, 1) : "unknown program", &line);
    display_cut_front(&line, display->columns / 2);
    if (facts->pid)
        text_printf(&line, " (pid %u)", facts->pid);
    text_append_str(&line, " ran for ");
    display_duration(run_duration_ns(run), &line);
    append_end(run, &line);
    display_bold(display, true);
    display_sentence(display, "", text_str(&line));
    display_bold(display, false);
    text_deinit(&line);
}

static void put_fact(const struct display *display, const char *label, struct text *line)
{
    run_put_fact(display, label, line);
    text_clear(line);
}

static void put_command(const struct run *run, const struct display *display, struct text *line)
{
    const char *command = run_string(run, run_facts(run)->command);
    const char *program = run_string(run, run_facts(run)->program);
    if (!*command && !*program)
        return;
    display_escape(*command ? command : program, line);
    display_cut(line, 3 * display->columns);
    put_fact(display, *command ? "Command" : "Program", line);
}

/* "peak 152 MB after 41.2 s; at the end 48.0 MB in 12,004 blocks" */
static void put_heap(const struct run *run, const struct display *display, struct text *line)
{
    const struct run_facts *facts = run_facts(run);
    text_append_str(line, "peak ");
    run_append_bytes(line, facts->peak_bytes);
    if (facts->peak_error_bytes) {
        text_append_str(line, " (± ");
        run_append_bytes(line, facts->peak_error_bytes);
        text_append_str(line, ", as several threads allocate)");
    }
    text_append_str(line, " after ");
    run_append_duration(line, facts->peak_ns);
    text_append_str(line,
                    facts->ended_by == RUN_EXIT ? "; not freed at the end: " : "; at the end ");
    run_append_bytes(line, facts->live_bytes);
    text_append_str(line, " in ");
    run_append_count(line, facts->live_blocks, "block");
    put_fact(display, "Heap", line);
    if (!facts->peak_rss_bytes)
        return;
    text_append_str(line, "peak ");
    run_append_bytes(line, facts->peak_rss_bytes);
    text_append_str(line, " in memory, with code, stacks, what the allocator keeps and the "
                          "tracer's own tables");
    put_fact(display, "Resident", line);
}

static void put_allocations(const struct run *run, const struct display *display, struct text *line)
{
    const struct run_facts *facts = run_facts(run);
    run_append_number(line, facts->allocations);
    text_append_str(line, " of ");
    run_append_bytes(line, facts->allocated_bytes);
    text_append_str(line, " in all, by ");
    run_append_count(line, facts->nr_threads, "thread");
    text_append_str(line, "; ");
    run_append_number(line, facts->temporary);
    text_append_str(line, facts->temporary == 1 ? " was temporary" : " were temporary");
    put_fact(display, "Allocations", line);
}

static void put_tasks(const struct run *run, const struct display *display, struct text *line)
{
    const struct run_facts *facts = run_facts(run);
    uint64_t ends[NR_RUN_ENDS] = {0};
    size_t nr;
    const struct run_type *types = run_types(run, &nr);
    static const char *const words[NR_RUN_ENDS] = {
        "not ended", "finished", "aborted", "panicked", "dropped unfinished", "never polled", NULL};
    for (size_t i = 0; i < nr; i++)
        for (size_t j = 0; j < NR_RUN_ENDS && run_kind_has_tasks(types[i].kind); j++)
            ends[j] += types[i].ended[j];
    if (!facts->tasks) {
        text_append_str(line,
                        facts->polls
                            ? "none could be followed, though some ran: see Missing"
                            : "none was seen: no tokio runtime ran, or none that asyncmem knows");
        put_fact(display, "Tasks", line);
        return;
    }
    run_append_number(line, facts->tasks);
    const char *mark = ": ";
    for (size_t i = 0; i < NR_RUN_ENDS; i++) {
        const size_t at = i == 0 ? 1 : i == 1 ? 0 : i; /* finished ones first */
        if (!ends[at] || !words[at])
            continue;
        text_append_str(line, mark);
        run_append_number(line, ends[at]);
        text_printf(line, " %s", words[at]);
        mark = ", ";
    }
    text_append_str(line, "; ");
    run_append_count(line, facts->polls, "poll");
    put_fact(display, "Tasks", line);
}

/* What is missing, or that nothing is. */
static void put_lost(const struct run *run, const struct display *display, struct text *line)
{
    size_t nr;
    const struct run_lost *losts = run_losts(run, &nr);
    bool any = false;
    for (size_t i = 0; i < nr; i++) {
        if (!losts[i].count)
            continue;
        display_escape(run_string(run, losts[i].text), line);
        text_append_str(line, " (");
        run_append_number(line, losts[i].count);
        text_append_str(line, ")");
        put_fact(display, any ? "" : "Missing", line);
        any = true;
    }
    if (any)
        return;
    text_append_str(line, "nothing: the tracer lost no event");
    put_fact(display, "Missing", line);
}

static void put_sampling(const struct run *run, const struct display *display, struct text *line)
{
    const struct run_facts *facts = run_facts(run);
    if (facts->stacks == RUN_STACKS_ALL)
        return;
    if (facts->stacks == RUN_STACKS_SAMPLED) {
        text_append_str(line, "of a sample, one every ");
        run_append_bytes(line, facts->sample_bytes);
        text_append_str(line, " on average: figures with ~ are estimates, ± one standard "
                              "deviation; those of tasks and of the whole run are exact");
    } else {
        text_append_str(line, "none were taken (--stacks none): places are not known");
    }
    put_fact(display, "Stacks", line);
}

static void put_detail(const struct run *run, const struct display *display, struct text *line)
{
    const struct run_facts *facts = run_facts(run);
    if (!facts->detail_reason.v)
        return;
    display_escape(run_string(run, facts->detail_reason), line);
    put_fact(display, "Why not more", line);
}

static void put_head(const struct run_report *report, const struct display *display)
{
    struct text line;
    text_init(&line);
    put_first_line(report->run, display);
    put_command(report->run, display, &line);
    put_heap(report->run, display, &line);
    put_allocations(report->run, display, &line);
    put_tasks(report->run, display, &line);
    put_sampling(report->run, display, &line);
    put_lost(report->run, display, &line);
    put_detail(report->run, display, &line);
    text_deinit(&line);
}

/* --- the end --------------------------------------------------------------------------------- */

static void put_notes(const struct run *run, const struct display *display)
{
    size_t nr;
    const struct run_note *notes = run_notes(run, &nr);
    fputs(nr ? "\n" : "", display->out);
    for (size_t i = 0; i < nr; i++)
        display_sentence(display, "Note: ", run_string(run, notes[i].text));
}

static void put_hints(const struct run_report *report, const struct display *display)
{
    if (report->options->by != RUN_BY_ALL)
        return;
    display_dim(display, true);
    fputs("\n", display->out);
    display_sentence(display, "",
                     "More: --by type, task, site, await or time shows one table longer; --task ID "
                     "one task whole; --match TEXT only what has TEXT in a name or file; --all "
                     "every line; --json everything.");
    display_dim(display, false);
}

static void put_match(const struct run_report *report, const struct display *display)
{
    struct text line;
    if (!report->options->match)
        return;
    text_init(&line);
    text_append_str(&line, "Below is only what has \"");
    text_append_str(&line, report->options->match);
    text_append_str(&line, "\" in a name or file; the lines above are of the whole run.");
    fputs("\n", display->out);
    display_sentence(display, "", text_str(&line));
    text_deinit(&line);
}

void run_write_text(const struct run_report *report, const struct display *display)
{
    if (report->options->task) {
        run_put_task(report, display);
        return;
    }
    put_head(report, display);
    put_match(report, display);
    if (report->options->by == RUN_BY_ALL)
        run_put_findings(report, display);
    if (run_is_shown(report, RUN_BY_TIME))
        run_put_timeline(report, display);
    if (report->options->by == RUN_BY_TIME)
        run_put_steps(report, display);
    if (run_is_shown(report, RUN_BY_TYPE))
        run_put_types(report, display);
    if (run_is_shown(report, RUN_BY_TASK))
        run_put_tasks(report, display);
    if (run_is_shown(report, RUN_BY_SITE)) {
        run_put_sites(report, display);
        run_put_temporary(report, display);
        run_put_left(report, display);
    }
    if (run_is_shown(report, RUN_BY_TYPE) || report->options->by == RUN_BY_SITE)
        run_put_task_zero(report, display);
    if (run_is_shown(report, RUN_BY_AWAIT)) {
        run_put_unfinished(report, display);
        run_put_early(report, display);
    }
    if (run_is_shown(report, RUN_BY_TYPE))
        run_put_runtime(report, display);
    if (run_is_shown(report, RUN_BY_TIME))
        run_put_snapshots(report, display);
    put_notes(report->run, display);
    put_hints(report, display);
}
