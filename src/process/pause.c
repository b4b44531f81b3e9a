/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The pause: every thread of the target is seized, then interrupted (ptrace(2), PTRACE_SEIZE;
 * process/pause_stop.c).  The stage before: an open target.  The stages after read its memory and
 * registers.
 *
 * All ptrace calls are made by one thread of ours, the holder, which lives as long as the pause.
 * A thread that has not stopped cannot be detached, and waiting for it might take for ever (it may
 * be blocked in the kernel).  But when a tracer ends, the kernel detaches all that it holds, also
 * those that were asked to stop and did not: so the holder ends, and with it every bond.  The same
 * happens when asyncmem is killed.  Where a copy of the target was made (process/copy.c) the holder
 * lives on for that one, if all threads could be detached.
 *
 * Invariants: nothing here is ever written to the target.  A signal that reaches a thread while it is
 * held is passed on; it is looked at without taking it off the kernel (WNOWAIT), so that it is
 * delivered even if the holder dies just then.  A thread in a group-stop (SIGSTOP) stops for us in
 * that state and is back in it after the detach.
 */
#include "process/pause.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "process/live.h"

enum { END_POLLS = 50 * 1000 }; /* about a second */

/* --- the holder ---------------------------------------------------------------------------------- */

static void wait_for(sem_t *semaphore)
{
    while (sem_wait(semaphore) != 0)
        continue;
}

/* What is asked of it, until it shall let go. */
static void serve(struct pause *pause)
{
    for (;;) {
        wait_for(&pause->asked);
        if (!pause->run)
            return;
        pause->run(pause->context);
        sem_post(&pause->answered);
    }
}

/* False: one could not be detached: it is being killed, or does not stand still. */
static bool detach_all(struct pause *pause)
{
    bool ok = true;
    for (size_t i = 0; i < pause->nr_holds; i++)
        if (pause->holds[i].state == HOLD_STOPPED)
            ok &= ptrace(PTRACE_DETACH, pause->holds[i].tid, NULL, NULL) == 0;
    pause->resumed_ns = pause_now_ns();
    return ok;
}

static void *hold_threads(void *context)
{
    struct pause *pause = context;
    pause->holder_tid = (pid_t)syscall(SYS_gettid);
    prctl(PR_SET_TIMERSLACK, 1); /* the default makes a sleep of 20 us one of 70 */
    /* On a busy machine the pause would else last until the scheduler gives us a turn.  Needs
     * CAP_SYS_NICE; without it the pause is only longer. */
    pthread_setschedparam(pthread_self(), SCHED_FIFO, &(struct sched_param){.sched_priority = 1});
    pause->ok = pause_stop_all(pause);
    if (pause->ok) {
        sem_post(&pause->answered);
        serve(pause);
    }
    bool all = detach_all(pause);
    void (*keep)(void *) = pause->keep; /* the caller may use `pause` after the post */
    sem_post(&pause->answered);
    if (all && keep)
        keep(pause->keep_context);
    return NULL;
}

/* --- the caller ---------------------------------------------------------------------------------- */

static struct pause *pause_new(struct target *target, unsigned limit_ms)
{
    char path[64];
    struct pause *pause = memory_alloc(sizeof(*pause));
    pause->target = target;
    pause->limit_ms = limit_ms;
    sem_init(&pause->asked, 0, 0);
    sem_init(&pause->answered, 0, 0);
    map_init(&pause->by_tid);
    snprintf(path, sizeof(path), "/proc/%d/task", (int)target->pid);
    pause->tasks = opendir(path);
    return pause;
}

static void pause_free(struct pause *pause)
{
    if (pause->tasks)
        closedir(pause->tasks);
    map_deinit(&pause->by_tid);
    free(pause->holds);
    sem_destroy(&pause->asked);
    sem_destroy(&pause->answered);
    free(pause);
}

/*
 * pthread_join returns a little before the kernel lets the tracees go; the thread's id is given up
 * after that.
 */
void pause_end(struct pause *pause)
{
    pthread_join(pause->holder, NULL);
    for (int i = 0; i < END_POLLS; i++) {
        if (syscall(SYS_tgkill, getpid(), pause->holder_tid, 0) != 0)
            break;
        pause_sleep_shortly();
    }
    pause_free(pause);
}

void pause_run(struct pause *pause, void (*run)(void *context), void *context)
{
    pause->run = run;
    pause->context = context;
    sem_post(&pause->asked);
    wait_for(&pause->answered);
    pause->run = NULL;
}

/* Signals to asyncmem are for its other threads. */
static int start_holder(struct pause *pause)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int reason = pthread_create(&pause->holder, NULL, hold_threads, pause);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return reason;
}

static bool stop_once(struct target *target, unsigned limit_ms, bool *is_starved, struct error *err)
{
    struct pause *pause = pause_new(target, limit_ms);
    int reason = pause->tasks ? start_holder(pause) : 0;
    if (!pause->tasks || reason) {
        if (!pause->tasks)
            live_error_gone(target->pid, err);
        else
            error_set(err, ERROR_TARGET,
                      "process %d: no thread to hold it with: %s; end some programs",
                      (int)target->pid, strerror(reason));
        pause_free(pause);
        return false;
    }
    wait_for(&pause->answered);
    if (pause->ok) {
        target->pause = pause;
        return true;
    }
    if (err)
        *err = pause->err;
    *is_starved = pause->is_starved;
    pause_end(pause);
    return false;
}

bool target_stop(struct target *target, unsigned limit_ms, struct error *err)
{
    enum { MAX_TRIES = 10, REST_NS = 20 * 1000000 };
    if (target->is_core || target->pause)
        return true;
    if (target->pid == getpid())
        return error_set(err, ERROR_TARGET,
                         "process %d: is asyncmem itself, which cannot stop itself; give another",
                         (int)target->pid);
    for (int i = 0; i < MAX_TRIES; i++) {
        bool is_starved = false;
        live_wait_for_others(target->pid);
        if (stop_once(target, limit_ms, &is_starved, err))
            return true;
        if (!is_starved && !live_is_looked_at(target->pid)) /* by one that was faster */
            break;
        nanosleep(&(struct timespec){.tv_nsec = REST_NS}, NULL); /* the target's turn */
    }
    return false;
}

uint64_t target_resume(struct target *target)
{
    struct pause *pause = target->pause;
    if (!pause)
        return 0;
    sem_post(&pause->asked);
    wait_for(&pause->answered);
    uint64_t still_ns = pause->resumed_ns - target->stop_began_ns;
    if (!pause->keep) /* else whoever set it ends it */
        pause_end(pause);
    for (size_t i = 0; i < target->nr_threads; i++)
        target->threads[i].stopped = false;
    target->pause = NULL;
    return still_ns;
}
