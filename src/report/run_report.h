/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The answer of `run` and of `report` on a recording of a run: all questions are answered once, and two
 * writers show the answers.  The stage before: a checked struct run and analysis/run_*.  The stage after: a
 * stream.
 */
#pragma once

#include "analysis/run_findings.h"
#include "analysis/run_timeline.h"
#include "base/error.h"
#include "report/display.h"

enum run_by {
    RUN_BY_ALL, /* a part of each table */
    RUN_BY_TYPE,
    RUN_BY_TASK,
    RUN_BY_SITE,
    RUN_BY_AWAIT,
    RUN_BY_TIME,
    NR_RUN_BYS,
};

struct run_options {
    const char *match; /* part of a name or file, any case; NULL: all */
    uint64_t task;     /* its id, to be shown whole; 0: none */
    enum run_by by;    /* concerns the text only */
    unsigned top;      /* lines of each table; 0: the default of the writer */
    bool all;          /* every line of each table */
};

struct run_report {
    const struct run *run;
    const struct run_options *options;
    struct run_stack_parts code;
    struct run_selection selection;
    struct run_site_groups sites;
    struct run_lefts left;
    struct run_ends ends;
    struct run_types_order types;
    struct run_step_tops step_tops;
    struct run_findings findings;
};

/* False when there is no such task.  Run and options must stay; deinit after true. */
MUST_CHECK bool run_report_init(struct run_report *report, const struct run *run,
                                const struct run_options *options, struct error *err);
void run_report_deinit(struct run_report *report);

void run_write_text(const struct run_report *report, const struct display *display);
/* asyncmem.report/1.  False when the stream fails. */
MUST_CHECK bool run_write_json(const struct run_report *report, FILE *out, struct error *err);

/* How long the run was, by its last times. */
uint64_t run_duration_ns(const struct run *run);
/* How long ago that was at the end of the run; 0: has not been. */
uint64_t run_age_ns(const struct run *run, uint64_t t_ns);

/* Header and padding of one task's cell; RUN_UNKNOWN. */
uint64_t run_bytes_beyond(const struct run_runtime *runtime);

/* As JSON says them. */
extern const char *const run_kind_names[NR_RUN_KINDS];
extern const char *const run_end_names[NR_RUN_ENDS];
extern const char *const run_ended_by_names[NR_RUN_ENDED_BY];
