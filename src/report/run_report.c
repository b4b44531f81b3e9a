/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "report/run_report.h"

#include <inttypes.h>

const char *const run_kind_names[NR_RUN_KINDS] = {
    [RUN_KIND_UNKNOWN] = "unknown",   [RUN_KIND_ASYNC] = "async",   [RUN_KIND_ROOT] = "root",
    [RUN_KIND_BLOCKING] = "blocking", [RUN_KIND_WORKER] = "worker", [RUN_KIND_THREAD] = "thread",
};

const char *const run_end_names[NR_RUN_ENDS] = {
    [RUN_END_NOT] = "not_ended",       [RUN_END_FINISHED] = "finished",
    [RUN_END_ABORTED] = "aborted",     [RUN_END_PANICKED] = "panicked",
    [RUN_END_DROPPED] = "dropped",     [RUN_END_NEVER_POLLED] = "never_polled",
    [RUN_END_THREAD] = "thread_ended",
};

const char *const run_ended_by_names[NR_RUN_ENDED_BY] = {
    [RUN_EXIT] = "exit",
    [RUN_SIGNAL] = "signal",
    [RUN_RUNNING] = "running",
    [RUN_LOST] = "lost",
};

uint64_t run_duration_ns(const struct run *run)
{
    const struct run_facts *facts = run_facts(run);
    int64_t between;
    if (__builtin_sub_overflow(facts->ended_at_ns, facts->started_at_ns, &between) || between < 0)
        return 0;
    return (uint64_t)between;
}

uint64_t run_age_ns(const struct run *run, uint64_t t_ns)
{
    const uint64_t end = run_duration_ns(run);
    return t_ns && end > t_ns ? end - t_ns : 0;
}

static bool has_task(const struct run *run, uint64_t id)
{
    size_t nr;
    const struct run_task *tasks = run_tasks(run, &nr);
    for (size_t i = 0; i < nr; i++)
        if (tasks[i].id == id)
            return true;
    return false;
}

bool run_report_init(struct run_report *report, const struct run *run,
                     const struct run_options *options, struct error *err)
{
    const struct run_filter filter = {options->match, options->task};
    if (options->task && !has_task(run, options->task))
        return error_set(err, ERROR_USAGE,
                         "no task %" PRIu64 " in the recording: it has those that were alive at "
                         "the end or left memory behind; --by task lists them",
                         options->task);
    report->run = run;
    report->options = options;
    run_selection_init(&report->selection, run, &filter);
    run_stack_parts_init(&report->code, run);
    run_site_groups_init(&report->sites, &report->code, &report->selection);
    run_lefts_init(&report->left, run, &report->selection, &report->sites);
    run_ends_init(&report->ends, run, &report->selection);
    run_types_order_init(&report->types, run, &report->selection);
    run_step_tops_init(&report->step_tops, run);
    const struct run_parts parts = {run, &report->sites, &report->left, &report->ends};
    run_findings_init(&report->findings, &parts);
    return true;
}

void run_report_deinit(struct run_report *report)
{
    run_step_tops_deinit(&report->step_tops);
    run_types_order_deinit(&report->types);
    run_ends_deinit(&report->ends);
    run_lefts_deinit(&report->left);
    run_site_groups_deinit(&report->sites);
    run_stack_parts_deinit(&report->code);
    run_selection_deinit(&report->selection);
}
