/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * One line on stderr for work that takes over a second: what is being done, for how long.  A
 * thread of its own draws it, so that the work needs no clock.  On a terminal the line is redrawn
 * and wiped at the end; elsewhere it is printed once.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>

struct progress {
    const char *subject;
    const char *step; /* under `lock`, as `done` */
    bool done, is_terminal, drawn, started;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
};

void progress_begin(struct progress *progress, const char *subject);
/* `context` is the struct progress; `step` a constant. */
void progress_step(void *context, const char *step);
void progress_end(struct progress *progress);
