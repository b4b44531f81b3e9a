/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/progress.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "report/display.h"

static void draw(struct progress *progress, unsigned seconds)
{
    if (!progress->step || (progress->drawn && !progress->is_terminal))
        return;
    struct text subject;
    text_init(&subject);
    display_escape(progress->subject, &subject);
    display_cut_front(&subject, 40);
    if (progress->is_terminal)
        fprintf(stderr, "\r\x1b[Kasyncmem: %s: %s (%u s)", text_str(&subject), progress->step,
                seconds);
    else
        fprintf(stderr, "asyncmem: %s: %s ...\n", text_str(&subject), progress->step);
    progress->drawn = true;
    text_deinit(&subject);
}

static void *watch(void *argument)
{
    struct progress *progress = argument;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    pthread_mutex_lock(&progress->lock);
    for (unsigned seconds = 1; !progress->done; seconds++) {
        until.tv_sec++;
        int status = 0;
        while (!progress->done && status != ETIMEDOUT)
            status = pthread_cond_timedwait(&progress->wake, &progress->lock, &until);
        if (!progress->done)
            draw(progress, seconds);
    }
    pthread_mutex_unlock(&progress->lock);
    return NULL;
}

void progress_begin(struct progress *progress, const char *subject)
{
    pthread_condattr_t attributes;
    *progress = (struct progress){.subject = subject, .is_terminal = isatty(STDERR_FILENO)};
    pthread_mutex_init(&progress->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&progress->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    progress->started = pthread_create(&progress->thread, NULL, watch, progress) == 0;
}

void progress_step(void *context, const char *step)
{
    struct progress *progress = context;
    pthread_mutex_lock(&progress->lock);
    progress->step = step;
    pthread_mutex_unlock(&progress->lock);
}

void progress_end(struct progress *progress)
{
    pthread_mutex_lock(&progress->lock);
    progress->done = true;
    pthread_cond_signal(&progress->wake);
    pthread_mutex_unlock(&progress->lock);
    if (progress->started)
        pthread_join(progress->thread, NULL);
    if (progress->drawn && progress->is_terminal)
        fputs("\r\x1b[K", stderr);
    pthread_cond_destroy(&progress->wake);
    pthread_mutex_destroy(&progress->lock);
}
