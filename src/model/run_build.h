/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * From a live region and what the recorder knows to the tables of a run.  The stage before:
 * recording/region, recorder/.  The stages after: model/run_file, analysis/, report/.
 *
 * The region is hostile input and may be written to meanwhile: each counter is read once, and each sum is
 * made of the parts that are shown, so that totals equal the sums of their parts at any moment:
 *
 *   facts.polls, allocations, frees, bytes, temporary = the sums over threads' places (REGION_THREADS);
 *   facts.tasks = sum of types' tasks over all kinds but ROOT, WORKER, THREAD;
 *   a type's counts = its rows in RUN_TASKS + what was folded;
 *   facts.live_bytes, live_blocks = sums of sites = sums of lefts = sums of types, from one walk over the
 *   live table.
 *
 * Allocations by type and by site are counted in other rows than those of threads, a few instructions later; while the
 * program runs they may differ from the facts by what is just being counted (at most one event a thread).
 */
#pragma once

#include "base/error.h"
#include "model/run.h"
#include "model/run_symbols.h"
#include "recording/region.h"

/* Live bytes of a type at a step of the timeline. */
struct run_build_step_type {
    uint32_t step; /* id: position in `steps` + 1 */
    uint32_t type; /* row of REGION_TYPES */
    uint64_t live_bytes;
};

/* A stored snapshot: the bytes of a snapshot file. */
struct run_build_snapshot {
    uint64_t t_ns, live_bytes;
    enum run_snapshot_why why;
    const void *bytes;
    uint64_t nr_bytes;
};

/* What only the recorder knows; everything is borrowed. */
struct run_build_input {
    const struct region_view *region;
    const char *program; /* its path */
    const char *command; /* as it was called, with its arguments */
    uint32_t pid;        /* 0: as the region says */
    enum run_ended_by ended_by;
    int32_t exit_status; /* or the signal's number */
    int64_t ended_at_ns; /* since 1970; of a run that goes on: now */
    uint64_t peak_rss_bytes;
    const struct plan *const *plans; /* by row of REGION_IMAGES; NULL: none (yet) */
    size_t nr_plans;                 /* 0: none; position 0 is not used */
    const struct run_step *steps;
    size_t nr_steps;
    const struct run_build_step_type *step_types;
    size_t nr_step_types;
    const struct run_build_snapshot *snapshots;
    size_t nr_snapshots;
    const uint64_t
        *site_peaks; /* by row of REGION_SITES: live bytes at the run's peak; NULL: unknown */
    size_t nr_site_peaks;
    const char *const *notes; /* sentences for the reader */
    size_t nr_notes;
    struct run_symbols *symbols; /* NULL: places get no names */
};

/*
 * Fills an initialised run, which passes run_check.  What of the region is damaged is left out and a note says
 * so.  On false nothing is lost but the run, which is empty again.
 */
MUST_CHECK bool run_build(struct run *run, const struct run_build_input *input, struct error *err);
