/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * System calls made through a thread of a target that stands still.  All by the thread of ours that
 * holds it.  One at a time in a process.
 */
#pragma once

#include <time.h>

#include "process/copy_frames.h"

struct injection {
    const struct target *target; /* its mappings are those of now; reads are of itself */
    struct code_places code;
    struct thread_state thread; /* as it was */
    struct frames frames;       /* under its stack */
    timer_t timer;              /* ends waits */
    uint64_t deadline_ns;
    long options; /* of ptrace, for the thread and its children */
    bool is_open, is_begun;
    bool is_moved;   /* the thread's registers are ours */
    const char *why; /* why the last thread cannot be used */
    struct error *err;
};

struct system_call {
    uint64_t number;
    uint64_t arguments[4]; /* the fourth is r10 */
    uint64_t stack;        /* of the frames: where the thread goes if it is left alone */
};

struct call_result {
    int64_t value;
    pid_t child; /* as we see it; 0: none was made */
    uint64_t ns; /* from the entry until the child was there, or to the end */
};

/* Finds the code for it.  injection_close afterwards, also after an error. */
MUST_CHECK bool injection_open(struct injection *injection, const struct target *target,
                               struct error *err);
void injection_close(struct injection *injection);

/*
 * How good this thread is for it: 0 best; -1: it must not be used (its stack is not known, it is
 * within a restartable sequence, it is filtered by seccomp and we may not lift that, ...).
 */
int injection_rank(struct injection *injection, pid_t tid);
/* ERROR_TARGET with `why`. */
bool injection_refuse(struct injection *injection, pid_t tid);
/* Lays the frames down.  False: the thread is as it was. */
MUST_CHECK bool injection_begin(struct injection *injection, pid_t tid);
/* By the thread that was begun with, or by a child of it that stands still. */
MUST_CHECK bool injection_call(struct injection *injection, pid_t tid,
                               const struct system_call *call, struct call_result *result);
/* The thread is as it was, and stands still. */
MUST_CHECK bool injection_end(struct injection *injection);

/* Stops a running thread that was seized. */
MUST_CHECK bool injection_interrupt(struct injection *injection, pid_t tid);
/* Waits for a stop (true) or for the end (false) of a thread that we trace. */
bool injection_await(struct injection *injection, pid_t tid, int *status);
