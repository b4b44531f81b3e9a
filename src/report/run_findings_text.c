/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What stands out in a run: a sentence each, with the place to look at below. */
#include "report/run_text_part.h"

static const struct run_site_group *group_of(const struct run_report *report,
                                             const struct run_finding *finding)
{
    return finding->group ? &report->sites.rows[finding->group - 1] : NULL;
}

/* "tasks of serve_conn", "code outside of tasks" */
static void append_who(const struct run *run, uint32_t type, struct text *out)
{
    static const char *const words[NR_RUN_KINDS] = {[RUN_KIND_UNKNOWN] = "tasks of ",
                                                    [RUN_KIND_ASYNC] = "tasks of ",
                                                    [RUN_KIND_ROOT] = "the root future ",
                                                    [RUN_KIND_BLOCKING] = "blocking tasks of ",
                                                    [RUN_KIND_WORKER] = "the runtime's workers",
                                                    [RUN_KIND_THREAD] = "code outside of tasks"};
    const struct run_type *row = type ? &run_types(run, NULL)[type - 1] : NULL;
    if (!row || (row->kind == RUN_KIND_UNKNOWN && !row->tasks)) {
        text_append_str(out, "nobody that is known");
        return;
    }
    text_append_str(out, words[row->kind]);
    if (row->kind != RUN_KIND_WORKER && row->kind != RUN_KIND_THREAD)
        run_append_type_short(run, type, out);
}

static void append_growth(const struct run_report *report, const struct run_finding *finding,
                          struct text *out)
{
    const struct run_step *steps = run_steps(report->run, NULL);
    text_append_str(out, "The heap grew: ");
    run_append_bytes(out, finding->of_bytes);
    text_append_str(out, " after ");
    run_append_duration(out, steps[finding->from - 1].t_ns);
    text_append_str(out, ", ");
    run_append_bytes(out, finding->bytes);
    text_append_str(out, " after ");
    run_append_duration(out, steps[finding->to - 1].t_ns);
    if (!finding->type_to_bytes)
        return;
    text_append_str(out, ". Most by ");
    if (finding->type)
        append_who(report->run, finding->type, out);
    else
        run_append_step_type(report, 0, out);
    text_append_str(out, ": ");
    run_append_bytes(out, finding->type_from_bytes);
    text_append_str(out, ", then ");
    run_append_bytes(out, finding->type_to_bytes);
}

/* Cells and boxed futures are allocated by who spawns. */
static bool is_spawn(const struct run_report *report, const struct run_site_group *group)
{
    struct run_stack stack;
    run_stack_fold(&report->code, run_sites(report->run, NULL)[group->biggest - 1].node, &stack);
    const uint32_t id = stack.nr_shown ? stack.shown[stack.nr_shown - 1].frame : 0;
    const struct run_frame *frame = id ? &run_frames(report->run, NULL)[id - 1] : NULL;
    return frame && frame->kind == RUN_FRAME_RUNTIME &&
           str_starts_with(run_string(report->run, frame->function), "spawn");
}

static void append_left(const struct run_report *report, const struct run_finding *finding,
                        struct text *out)
{
    text_append_str(out, run_estimate(report));
    run_append_bytes(out, finding->bytes);
    text_append_str(out, " of the ");
    text_append_str(out, run_estimate(report));
    run_append_bytes(out, finding->of_bytes);
    text_append_str(out, " that are still allocated were allocated by ");
    append_who(report->run, finding->type, out);
    text_append_str(out, ", in ");
    text_append_str(out, run_estimate(report));
    run_append_count(out, finding->count, "block");
    if (finding->group && is_spawn(report, &report->sites.rows[finding->group - 1]))
        text_append_str(out, ", for the tasks that are spawned there");
}

static void append_unfinished(const struct run_report *report, const struct run_finding *finding,
                              struct text *out)
{
    const struct run_unfinished *row = &report->ends.unfinished[finding->at];
    run_append_count(out, finding->count, "task");
    text_append_str(out, " of ");
    run_append_type_short(report->run, finding->type, out);
    const bool is_new = row->never_polled == row->tasks;
    text_append_str(out, is_new ? " have never been polled" : " have not ended");
    if (!is_new && run_await_shown(report->run, finding->await)) {
        text_append_str(out, "; they wait at ");
        run_append_await(report->run, finding->await, false, out);
    }
    if (!is_new && row->waits_for.v) {
        text_append_str(out, run_await_shown(report->run, finding->await) ? " for: "
                                                                          : "; they wait for: ");
        display_escape(run_string(report->run, row->waits_for), out);
    }
    if (row->held_bytes != RUN_UNKNOWN && row->held_bytes) {
        text_append_str(out, row->held_unknown ? "; they held at least " : "; they held ");
        run_append_bytes(out, row->held_bytes);
        text_append_str(out, " at the last snapshot");
    }
    if (row->oldest_ns) {
        text_append_str(out, "; the oldest has been there for ");
        run_append_duration(out, run_age_ns(report->run, row->oldest_ns));
    }
}

static void append_dropped(const struct run_report *report, const struct run_finding *finding,
                           struct text *out)
{
    const struct run_type *type = &run_types(report->run, NULL)[finding->type - 1];
    run_append_count(out, finding->count, "task");
    text_append_str(out, " of ");
    run_append_type_short(report->run, finding->type, out);
    text_append_str(out, " never finished: they waited ");
    if (run_await_shown(report->run, finding->await)) {
        text_append_str(out, "at ");
        run_append_await(report->run, finding->await, false, out);
        text_append_char(out, ' ');
    }
    text_append_str(out, "until their runtime ended; at most ");
    run_append_number(out, type->most_at_once);
    text_append_str(out, " were there at once");
    if (type->cell_bytes != RUN_UNKNOWN && type->peak_bytes_sum != RUN_UNKNOWN) {
        text_append_str(out, ", each with a cell of ");
        run_append_bytes(out, type->cell_bytes);
        text_append_str(out, " and, on average, ");
        run_append_bytes(out, type->peak_bytes_sum / type->tasks);
        text_append_str(out, " allocated at its peak");
    }
}

static void append_sentence(const struct run_report *report, const struct run_finding *finding,
                            struct text *out)
{
    switch (finding->kind) {
    case RUN_FINDING_GROWTH:
        append_growth(report, finding, out);
        break;
    case RUN_FINDING_LEFT:
        append_left(report, finding, out);
        break;
    case RUN_FINDING_UNFINISHED:
        append_unfinished(report, finding, out);
        break;
    case RUN_FINDING_DROPPED:
        append_dropped(report, finding, out);
        break;
    case RUN_FINDING_KEPT:
        run_append_number(out, finding->count);
        text_append_str(out, " finished tasks of ");
        run_append_type_short(report->run, finding->type, out);
        text_append_str(out, " are still in memory, ");
        run_append_bytes(out, finding->bytes);
        text_append_str(out, ": something keeps their JoinHandles or wakers");
        break;
    case RUN_FINDING_FAT:
        text_append_str(out, "Each task of ");
        run_append_type_short(report->run, finding->type, out);
        text_append_str(out, " takes ");
        run_append_bytes(out, finding->bytes);
        text_append_str(out, " for its future alone; there were ");
        run_append_number(out, finding->count);
        text_append_str(out, " at once");
        break;
    case RUN_FINDING_TEMPORARY:
        text_append_str(out, run_estimate(report));
        run_append_number(out, finding->count);
        text_append_str(out, " of ");
        run_append_number(out, finding->of_count);
        text_append_str(out, " allocations were freed right after they were made, at one place");
        break;
    default:
        text_append_str(out, "A poll of ");
        run_append_type_short(report->run, finding->type, out);
        text_append_str(out, " took ");
        run_append_duration(out, finding->ns);
        text_append_str(out, ", during which its thread ran nothing else; polls of 1 ms or more: ");
        run_append_number(out, finding->count);
    }
}

static void put_place(const struct run_report *report, const struct display *display,
                      const struct run_site_group *group)
{
    enum { INDENT = 4 };
    struct text line;
    text_init(&line);
    text_append_str(&line, "at ");
    run_append_group_place(report->run, group, &line);
    display_cut(&line, display->columns - INDENT);
    fprintf(display->out, "%*s%s\n", INDENT, "", text_str(&line));
    text_clear(&line);
    run_append_stack(&report->code, run_sites(report->run, NULL)[group->biggest - 1].node,
                     display->columns - INDENT, &line);
    display_cut(&line, display->columns - INDENT);
    fprintf(display->out, "%*s%s\n", INDENT, "", text_str(&line));
    text_deinit(&line);
}

void run_put_findings(const struct run_report *report, const struct display *display)
{
    const struct run_findings *findings = &report->findings;
    struct text line;
    if (!findings->nr || report->options->match)
        return;
    text_init(&line);
    text_append_str(&line, "What stands out");
    run_put_title(display, &line, NULL);
    for (size_t i = 0; i < findings->nr; i++) {
        const struct run_finding *finding = &findings->rows[i];
        const struct run_site_group *group = group_of(report, finding);
        if (group && !group->outside.place)
            group = NULL; /* no stack is known */
        append_sentence(report, finding, &line);
        text_append_str(&line, group ? ":" : ".");
        display_sentence(display, "- ", text_str(&line));
        text_clear(&line);
        if (group)
            put_place(report, display, group);
    }
    text_deinit(&line);
}
