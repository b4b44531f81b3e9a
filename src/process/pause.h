/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The thread of ours that holds the threads of a target (process/pause.c), for those who have more to
 * do with them than to stop them: ptrace(2) serves only the thread that seized.
 */
#pragma once

#include <dirent.h>
#include <pthread.h>
#include <semaphore.h>

#include "base/map.h"
#include "process/target.h"

enum hold_state {
    HOLD_RUNNING, /* seized, has not stopped yet */
    HOLD_STOPPED,
    HOLD_NONE, /* has ended, or could not be seized */
};

struct hold {
    pid_t tid;
    enum hold_state state;
};

struct pause {
    struct target *target;
    pthread_t holder;
    pid_t holder_tid;
    sem_t asked;                /* the caller: do `run` */
    sem_t answered;             /* the holder: done; first: stopped, or given up */
    void (*run)(void *context); /* NULL: let them go */
    void *context;
    void (*keep)(void *keep_context); /* what the holder does when they go on; NULL: it ends */
    void *keep_context;
    unsigned limit_ms;
    bool ok;
    bool is_starved;   /* a thread did not stop for want of a processor: next time it may */
    bool interrupting; /* from now on who is seized is interrupted, too */
    DIR *tasks;        /* /proc/PID/task */
    struct hold *holds;
    size_t nr_holds, holds_capacity;
    size_t nr_running, nr_stopped;
    struct map by_tid;   /* position + 1 in holds */
    size_t nr_ended;     /* threads in the last scan that have ended, but are still listed */
    pid_t refused;       /* one of the last scan that lives and could not be seized; 0: none */
    uint64_t resumed_ns; /* CLOCK_MONOTONIC */
    struct error err;
};

/* CLOCK_MONOTONIC */
uint64_t pause_now_ns(void);
/* Some microseconds. */
void pause_sleep_shortly(void);

/* By the holder: seizes and stops all threads and reads their registers.  False: `err` is filled. */
bool pause_stop_all(struct pause *pause);
/* By the caller: the holder runs this now, while the threads stand still; waits for its end. */
void pause_run(struct pause *pause, void (*run)(void *context), void *context);
/* By the caller, when the holder is at its end: waits for that.  Frees `pause`. */
void pause_end(struct pause *pause);
