/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Inside the text writer of `snapshot`: what its files share. */
#pragma once

#include "report/snapshot_report.h"

/* One task whole: what it is, its await tree, the slots of each frame. */
void snapshot_put_task(const struct snapshot_report *report, const struct display *display,
                       uint32_t id);

/* The name of a kind's future, escaped; before it its kind where it is no plain task. */
void snapshot_append_kind(const struct snapshot *snapshot, const struct snapshot_kind *kind,
                          struct text *out);
/* "never polled" */
void snapshot_append_status(uint32_t status, struct text *out);
/* Prints one line, cut to the columns. */
void snapshot_put_line(const struct display *display, struct text *line);
/* "1,204 tasks" */
void snapshot_append_count(struct text *out, uint64_t count, const char *what);

enum { SNAPSHOT_TASKS_COLUMNS = 7 }; /* of the first number of most tables */

struct snapshot_left_out {
    uint64_t groups, tasks;
    uint64_t variables; /* with --group variable */
    uint32_t example;   /* id of a task of the first group that is shown */
};

void snapshot_leave_out(struct snapshot_left_out *left_out, const struct snapshot_group *group);
/* Where its tasks stand: their await; of those that were not polled their fn.  Nothing: not known. */
void snapshot_append_group_place(const struct snapshot *snapshot,
                                 const struct snapshot_group *group, bool narrow, struct text *out);

/* The table of groups that the options ask for; --group await tells the tasks that are at none. */
void snapshot_put_groups(const struct snapshot_report *report, const struct display *display,
                         struct snapshot_left_out *left_out);
/* Finished tasks that are still there, and why. */
void snapshot_put_finished(const struct snapshot_report *report, const struct display *display,
                           struct snapshot_left_out *left_out);
