/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * One traced program: its region and all that goes on beside it.  A process that replaces its program (exec) gets a new
 * one; with --follow-children each child has one, too.
 */
#pragma once

#include "recorder/clock.h"
#include "recorder/image_answers.h"
#include "recorder/sample.h"
#include "recorder/site_peaks.h"

/* A snapshot that was taken on the way. */
struct kept_snapshot {
    int file; /* its bytes, as a snapshot file; -1: none */
    uint64_t t_ns, live_bytes;
};

struct traced {
    pid_t pid;
    int pid_fd;          /* of a followed child: readable when it has ended; -1: the main program */
    uint32_t generation; /* unlike all others of this run */
    bool is_given;       /* the tracer has the region */
    bool has_ended;
    bool is_packed; /* for the last time */
    struct region region;
    struct region_view view;
    struct image_answers images;
    struct sampler sampler;
    struct site_peaks peaks;
    struct kept_snapshot snapshots[NR_RUN_SNAPSHOT_WHYS];
    uint8_t *is_planned;  /* by row of REGION_IMAGES: the planner was asked */
    uint64_t plans_bytes; /* used, of REGION_PLANS */
    char reason[256];     /* why the tracer stepped aside; "": it did not say so */
};

/* Makes the region; `pid` may be 0 until traced_start.  NULL: err says why. */
struct traced *traced_new(const struct region_options *options, struct clock *clock,
                          struct error *err);
/* The program's id is known. */
void traced_set_pid(struct traced *traced, pid_t pid);
/* The tracer is about to get the region: answers its questions from now on. */
void traced_start(struct traced *traced, uint32_t nr_execs);
/* One look at its sums, for the timeline.  Returns the live bytes. */
uint64_t traced_look(struct traced *traced);
void traced_free(struct traced *traced, struct clock *clock);

/* ns in the region's times, by the recorder's own clock. */
uint64_t traced_now_ns(const struct traced *traced);
/* True where there is something to record: the tracer came, and counted. */
bool traced_has_content(const struct traced *traced);
