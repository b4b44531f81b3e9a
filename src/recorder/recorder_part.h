/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The recorder's state, shared by the files that make it up: the start and the end, the loop, what it asks helpers for. */
#pragma once

#include "recorder/helper.h"
#include "recorder/launch.h"
#include "recorder/manners.h"
#include "recorder/recorder.h"
#include "recorder/serve.h"
#include "recorder/signals.h"
#include "recorder/traced.h"

struct recorder {
    const struct recorder_options *options;
    struct manners manners;
    struct launch launch;
    struct serve serve;
    struct clock clock;
    struct signals signals;
    struct helper packer, planner, snapshotter;
    struct text command; /* the program with its arguments */
    struct text output;  /* "": by the program's id, when that is known */
    struct traced *main; /* NULL: the program is not traced */
    struct traced **children;
    size_t nr_children, children_capacity, nr_children_recorded;
    uint32_t nr_execs;
    char reason[600]; /* why there is no recording */
    /* The program. */
    pid_t pid;
    bool has_ended;
    int wait_status;
    uint64_t max_rss_bytes; /* as the kernel counted; of its children, too */
    /* What is asked for and when next, CLOCK_MONOTONIC. */
    uint64_t next_look_ns, next_checkpoint_ns;
    uint32_t packing, planning, snapshotting; /* generation of the region in question */
    uint32_t planning_image;
    enum run_snapshot_why snapshot_why;
    struct kept_snapshot snapshot;          /* being taken: its time and live bytes */
    bool is_answer_due;                     /* the program waits for it */
    uint32_t answered_before;               /* region_header.answered when it was asked for */
    uint64_t stop_sum_ns, snapshot_free_ns; /* of all snapshots; no further one before */
    uint64_t snapshot_peak_bytes;           /* at the last one */
    bool was_write_told, was_snapshot_told;
    bool is_hurried; /* the user asked us to end while the recording is made */
    /* The last packing. */
    bool is_written;
    int recording_fd;
    char write_problem[512];
};

uint64_t recorder_clock_ns(void);
/* The traced program of that generation; NULL: it is gone. */
struct traced *recorder_find(const struct recorder *recorder, uint32_t generation);

/* events.c: until the program has ended. */
void recorder_loop(struct recorder *recorder);
/* Until the packer is idle, or the user hurries. */
void recorder_wait_packer(struct recorder *recorder);

/* checkpoint.c: asks the packer; false: it is busy or not to be had. */
bool checkpoint_ask(struct recorder *recorder, struct traced *traced, bool is_final);
void checkpoint_take(struct recorder *recorder);
/* Asks for what is due. */
void checkpoint_tick(struct recorder *recorder, uint64_t now_ns);
/* The path of a traced program's recording. */
void checkpoint_path(const struct recorder *recorder, const struct traced *traced,
                     struct text *path);
/* Says so, before the program starts, where the recording cannot be written. */
void checkpoint_check_output(struct recorder *recorder);

/* stored_snapshot.c */
void stored_snapshot_tick(struct recorder *recorder, uint64_t live_bytes);
void stored_snapshot_asked(struct recorder *recorder);
void stored_snapshot_take(struct recorder *recorder);
/* To whoever waits in the program: go on.  Of any process that has the region. */
void stored_snapshot_answer(struct region_header *header);

/* plans.c: _prepare before the program starts: its plan is in the cache then, unless it takes seconds; _tick when
 * images may have come. */
void plans_prepare(struct recorder *recorder);
void plans_tick(struct recorder *recorder);
void plans_take(struct recorder *recorder);
