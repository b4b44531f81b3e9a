/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "report/snapshot_report.h"

static const char *const kind_names[NR_TASK_KINDS] = {
    [TASK_KIND_ASYNC] = "async",
    [TASK_KIND_ROOT] = "root",
    [TASK_KIND_BLOCKING] = "blocking",
    [TASK_KIND_WORKER] = "worker",
};

static const char *const scheduler_names[NR_TASK_SCHEDULERS] = {
    [TASK_SCHEDULER_MULTI_THREAD] = "multi_thread",
    [TASK_SCHEDULER_CURRENT_THREAD] = "current_thread",
    [TASK_SCHEDULER_LOCAL] = "local",
    [TASK_SCHEDULER_BLOCKING] = "blocking",
};

const char *snapshot_kind_name(uint32_t kind)
{
    return kind_names[kind];
}

const char *snapshot_scheduler_name(uint32_t scheduler)
{
    return scheduler_names[scheduler];
}

void snapshot_finished_because(const struct snapshot_task *task, struct text *out)
{
    if (task->finished_because == FINISHED_UNREAD)
        text_append_str(out,
                        "its JoinHandle is kept but was not awaited: the output stays until it is");
    else if (task->finished_because == FINISHED_PINNED && task->nr_refs == 1)
        text_append_str(out, "1 waker or abort handle keeps the cell");
    else if (task->finished_because == FINISHED_PINNED && task->nr_refs)
        text_printf(out, "%u wakers or abort handles keep the cell", task->nr_refs);
    else if (task->finished_because == FINISHED_PINNED)
        text_append_str(out, "wakers or abort handles keep the cell");
}

bool snapshot_report_init(struct snapshot_report *report, const struct snapshot *snapshot,
                          const struct snapshot_options *options, struct error *err)
{
    size_t nr_tasks;
    snapshot_tasks(snapshot, &nr_tasks);
    if (options->task > nr_tasks)
        return nr_tasks ? error_set(err, ERROR_USAGE, "no task %u: its tasks are 1 to %zu",
                                    options->task, nr_tasks)
                        : error_set(err, ERROR_USAGE, "no task %u: it has no tasks", options->task);
    const struct snapshot_filter filter = {options->match, options->task};
    *report = (struct snapshot_report){.snapshot = snapshot, .options = options};
    snapshot_groups_init(&report->groups, snapshot, &filter);
    return true;
}

void snapshot_report_deinit(struct snapshot_report *report)
{
    snapshot_groups_deinit(&report->groups);
}
