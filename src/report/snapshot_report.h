/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The answer of `snapshot` and `report`: the tasks that are selected, counted once, and the two
 * writers that show them.  The stage before: a checked struct snapshot and
 * analysis/snapshot_groups.  The stage after: a stream.
 */
#pragma once

#include "analysis/snapshot_groups.h"
#include "base/error.h"
#include "report/display.h"

enum snapshot_grouping {
    SNAPSHOT_GROUP_BOTH,
    SNAPSHOT_GROUP_TYPE,
    SNAPSHOT_GROUP_AWAIT,
    SNAPSHOT_GROUP_VARIABLE,
    NR_SNAPSHOT_GROUPINGS,
};

struct snapshot_options {
    const char *match; /* part of a name, file or status, any case; NULL: all */
    uint32_t task;     /* its id, to be shown whole; 0: groups */
    enum snapshot_grouping group;
    unsigned top; /* groups to show; 0: the default of the writer */
};

struct snapshot_report {
    const struct snapshot *snapshot;
    const struct snapshot_options *options;
    struct snapshot_groups groups;
};

/* False when there is no such task.  Snapshot and options must stay; deinit after true. */
MUST_CHECK bool snapshot_report_init(struct snapshot_report *report,
                                     const struct snapshot *snapshot,
                                     const struct snapshot_options *options, struct error *err);
void snapshot_report_deinit(struct snapshot_report *report);

/* Why a finished task is still there: a sentence, appended; nothing where it is not known. */
void snapshot_finished_because(const struct snapshot_task *task, struct text *out);

/* As JSON says them; NULL where unknown. */
const char *snapshot_kind_name(uint32_t kind);
const char *snapshot_scheduler_name(uint32_t scheduler);

void snapshot_write_text(const struct snapshot_report *report, const struct display *display);
/* asyncmem.snapshot/1.  False when the stream fails. */
MUST_CHECK bool snapshot_write_json(const struct snapshot_report *report, FILE *out,
                                    struct error *err);
