/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Inside the text writer of `snapshot`: what tasks hold, by their variables. */
#pragma once

#include "analysis/held_variables.h"
#include "report/snapshot_writer.h"

/* "331,350,016 B in request_buf, 60,000,000 B in response": the variables of a group that hold most. */
void snapshot_append_group_variables(const struct snapshot *snapshot,
                                     const struct snapshot_group *group,
                                     const struct held_variables *variables, size_t at,
                                     struct text *out);
/* How many of a group's variables are named there: at least the first; the others are summed. */
size_t snapshot_nr_named(const struct snapshot_group *group, const struct held_variable *rows,
                         size_t nr);
/* One sentence: which tasks hold most, where they wait, and in which variables. */
void snapshot_put_most(const struct snapshot_report *report, const struct display *display);
/* The table of --group variable. */
void snapshot_put_variables(const struct snapshot_report *report, const struct display *display,
                            struct snapshot_left_out *left_out);

/* What has no name of its own: "(hidden variable)"; `what` is an enum holding_what. */
const char *snapshot_holding_words(uint32_t what);

/* Of one task: what it holds and shares, behind its sizes. */
void snapshot_put_task_held(const struct snapshot *snapshot, const struct display *display,
                            uint32_t id);
/* "`names` of task 8 (main), in a block of 4,096 B" */
void snapshot_append_keeper(const struct snapshot *snapshot, const struct snapshot_keeper *keeper,
                            struct text *out);

/* The whole heap: whether it is in use, what is in it, what is shared. */
void snapshot_put_verdict(const struct snapshot_report *report, const struct display *display);
void snapshot_put_heap(const struct snapshot_report *report, const struct display *display);
void snapshot_put_shared(const struct snapshot_report *report, const struct display *display);
