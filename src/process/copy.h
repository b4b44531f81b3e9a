/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the parts of process/copy.c share: the state of a copied target, how its child is made
 * (process/copy_make.c) and how it is ended (process/copy_reap.c).
 */
#pragma once

#include <stdatomic.h>

#include "process/copy_inject.h"
#include "process/copy_memory.h"

struct pause;

struct copy_state {
    struct pause *pause; /* its holder keeps the child */
    pid_t target_pid;
    pid_t child;        /* as we see it */
    pid_t child_inside; /* as the target sees it, who has to reap it; 0: another process will */
    int target_fd, child_fd; /* pidfds */
    int memory_fd;
    int guard_fd; /* 0: none */
    uint64_t fork_ns;
    atomic_bool is_ending; /* we end the child, nobody else */
    atomic_bool is_lost;   /* the child has ended before */
    struct copy_memory memory;
};

/* One making of a copy. */
struct copy_making {
    struct target *target;
    struct copy_state *state;
    struct injection *injection;
    pid_t first, first_inside; /* the thread's child, which has to go */
    struct error *err;
    bool ok;
};

/* For pause_run, with a struct copy_making: fills its state and `ok`. */
void copy_make(void *making);
/* The best of the stopped threads for an injection; 0: none. */
pid_t copy_choose_thread(const struct copy_making *making);
/* The descriptors in it. */
void copy_close(struct copy_state *state);

/* By its tracer: kills it and waits for that.  0: none. */
void copy_end_traced(pid_t child);
/* Through the thread that was begun with.  False: it is not over, or could not be asked. */
bool copy_reap(struct injection *injection, pid_t inside);
/* In a target that runs.  By a thread that ends soon: one that does not stop stays seized by it. */
bool copy_reap_in_running(pid_t pid, pid_t inside);
