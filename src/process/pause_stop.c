/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * How all threads of a target come to a stop: seized while they run, interrupted together, and
 * counted until none is missing.  All of it runs on the holder (process/pause.c), which is their
 * tracer.
 */
#include "process/pause.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>

#include "base/clock.h"
#include "process/live.h"
#include "process/proc.h"

enum {
    POLL_NS = 20 * 1000,
    LOOK_AGAIN_POLLS =
        50, /* then threads that do not answer are looked up in /proc: have they ended? */
};

uint64_t pause_now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

void pause_sleep_shortly(void)
{
    nanosleep(&(struct timespec){.tv_nsec = POLL_NS}, NULL);
}

/* --- single threads ------------------------------------------------------------------------------ */

static struct hold *hold_get(struct pause *pause, pid_t tid)
{
    uint32_t *at = map_put(&pause->by_tid, (uint64_t)tid, NULL);
    if (*at)
        return &pause->holds[*at - 1];
    pause->holds = array_reserve(pause->holds, &pause->holds_capacity, pause->nr_holds + 1,
                                 sizeof(*pause->holds));
    *at = (uint32_t)++pause->nr_holds;
    struct hold *hold = &pause->holds[pause->nr_holds - 1];
    *hold = (struct hold){tid, HOLD_NONE};
    return hold;
}

static void hold_set(struct pause *pause, struct hold *hold, enum hold_state state)
{
    pause->nr_running -= hold->state == HOLD_RUNNING;
    pause->nr_stopped -= hold->state == HOLD_STOPPED;
    hold->state = state;
    pause->nr_running += hold->state == HOLD_RUNNING;
    pause->nr_stopped += hold->state == HOLD_STOPPED;
}

static bool has_ended(const struct pause *pause, pid_t tid)
{
    char state = proc_thread_state(pause->target->pid, tid);
    return !state || strchr("ZX", state);
}

/* EPERM is normal for threads that are ending; true when the thread is new. */
static bool seize(struct pause *pause, struct hold *hold)
{
    if (ptrace(PTRACE_SEIZE, hold->tid, NULL, NULL) != 0) {
        if (!has_ended(pause, hold->tid))
            pause->refused = hold->tid;
        else
            pause->nr_ended++;
        return false;
    }
    hold_set(pause, hold, HOLD_RUNNING);
    if (pause->interrupting)
        ptrace(PTRACE_INTERRUPT, hold->tid, NULL, NULL);
    return true;
}

/* Seizes all threads that are not held yet; how many that were. */
static size_t scan(struct pause *pause)
{
    size_t nr_new = 0;
    pause->nr_ended = 0;
    pause->refused = 0;
    rewinddir(pause->tasks);
    for (struct dirent *entry; (entry = readdir(pause->tasks));) {
        pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);
        struct hold *hold = tid > 0 ? hold_get(pause, tid) : NULL;
        if (hold && hold->state == HOLD_NONE)
            nr_new += seize(pause, hold);
    }
    return nr_new;
}

/* Takes the event off the kernel. */
static void consume(pid_t tid, int kind)
{
    siginfo_t info;
    waitid(P_PID, (id_t)tid, &info, kind | WNOHANG | __WALL | __WNOTHREAD);
}

static void handle_event(struct pause *pause, const siginfo_t *info)
{
    struct hold *hold = hold_get(pause, info->si_pid);
    int signal_number = info->si_status & 0xff, event = info->si_status >> 8;
    if (info->si_code != CLD_TRAPPED && info->si_code != CLD_STOPPED) {
        consume(hold->tid, WEXITED);
        hold_set(pause, hold, HOLD_NONE);
    } else if (event == PTRACE_EVENT_STOP) {
        consume(hold->tid, WSTOPPED);
        hold_set(pause, hold, HOLD_STOPPED);
    } else {
        /* A signal is about to be delivered.  The stop may have cleared the request. */
        if (pause->interrupting)
            ptrace(PTRACE_INTERRUPT, hold->tid, NULL, NULL);
        if (ptrace(PTRACE_CONT, hold->tid, NULL, (void *)(intptr_t)(event ? 0 : signal_number)))
            consume(hold->tid, WSTOPPED);
    }
}

/* All events that are there.  __WNOTHREAD: of our tracees, not of asyncmem's other children. */
static void handle_events(struct pause *pause)
{
    for (;;) {
        siginfo_t info = {0};
        int kinds = WSTOPPED | WEXITED | WNOHANG | WNOWAIT | __WALL | __WNOTHREAD;
        if (waitid(P_ALL, 0, &info, kinds) != 0 || !info.si_pid)
            return;
        handle_event(pause, &info);
    }
}

/* A thread can end without an event: the first one while others live, all but one in execve. */
static void drop_ended(struct pause *pause)
{
    for (size_t i = 0; i < pause->nr_holds; i++)
        if (pause->holds[i].state == HOLD_RUNNING && has_ended(pause, pause->holds[i].tid))
            hold_set(pause, &pause->holds[i], HOLD_NONE);
}

/* --- all threads --------------------------------------------------------------------------------- */

/*
 * True when the threads that stand still are all there are.  The kernel's own count is cheaper than
 * a scan (proc_task_getattr: links of the folder are 2 + threads), and sure where a scan is not: it
 * can step over a thread while others end.
 */
static bool is_complete(struct pause *pause)
{
    struct stat st;
    if (fstat(dirfd(pause->tasks), &st) != 0)
        return false;
    if (st.st_nlink == 2 + pause->nr_stopped)
        return true;
    return scan(pause) == 0 && !pause->refused && fstat(dirfd(pause->tasks), &st) == 0 &&
           st.st_nlink == 2 + pause->nr_stopped + pause->nr_ended;
}

static void read_registers(struct pause *pause)
{
    struct target *target = pause->target;
    target->threads = array_reserve(target->threads, &target->threads_capacity,
                                    pause->nr_stopped + 1, sizeof(*target->threads));
    target->nr_threads = 0;
    for (size_t i = 0; i < pause->nr_holds; i++) {
        struct user_regs_struct regs;
        if (pause->holds[i].state != HOLD_STOPPED)
            continue;
        struct target_thread *thread = &target->threads[target->nr_threads++];
        *thread = (struct target_thread){.tid = pause->holds[i].tid, .stopped = true};
        if (ptrace(PTRACE_GETREGS, thread->tid, NULL, &regs) == 0)
            target_thread_set(thread, &regs);
    }
}

static bool error_limit(struct pause *pause)
{
    pid_t pid = pause->target->pid, tid = pause->refused;
    size_t others = pause->nr_running;
    for (size_t i = 0; i < pause->nr_holds && pause->nr_running; i++)
        if (pause->holds[i].state == HOLD_RUNNING) {
            tid = pause->holds[i].tid;
            others--;
            break;
        }
    if (!tid)
        return error_set(&pause->err, ERROR_TARGET,
                         "process %d: makes threads faster than they can be stopped (%zu within "
                         "%u ms); it goes on; try again",
                         (int)pid, pause->nr_stopped, pause->limit_ms);
    char place[64] = "", more[64] = "", state = proc_thread_state(pid, tid);
    pause->is_starved = state == 'R';
    struct text wchan;
    text_init(&wchan);
    if (proc_read(&wchan, "/proc/%d/task/%d/wchan", (int)pid, (int)tid) && wchan.length > 1)
        snprintf(place, sizeof(place), ", waits in %s", wchan.data);
    text_deinit(&wchan);
    if (others)
        snprintf(more, sizeof(more), ", nor did %zu more", others);
    return error_set(&pause->err, ERROR_TARGET,
                     "process %d: thread %d did not stop within %u ms (state %c%s)%s; all threads "
                     "go on; try again when it does not wait in the kernel",
                     (int)pid, (int)tid, pause->limit_ms, state ? state : '?', place, more);
}

/* A living thread that may not be seized: another tracer has it, or we lack the right. */
static bool error_refused(struct pause *pause)
{
    struct text status;
    text_init(&status);
    proc_read(&status, "/proc/%d/task/%d/status", (int)pause->target->pid, (int)pause->refused);
    pid_t tracer = (pid_t)proc_status_number(text_str(&status), "TracerPid");
    text_deinit(&status);
    return tracer ? live_error_traced(pause->target->pid, tracer, &pause->err)
                  : live_error_permission(pause->target->pid, &pause->err);
}

/* First all are seized, while they run; only then does the standstill begin. */
static bool seize_all(struct pause *pause, uint64_t deadline)
{
    size_t nr_new;
    do {
        nr_new = scan(pause);
        handle_events(pause);
        if (pause->refused) /* it may be about to end */
            pause_sleep_shortly();
    } while ((nr_new || pause->refused) && pause_now_ns() < deadline);
    if (pause->refused)
        return error_refused(pause);
    return pause->nr_running || pause->nr_stopped ||
           live_error_gone(pause->target->pid, &pause->err);
}

bool pause_stop_all(struct pause *pause)
{
    uint64_t limit_ns = pause->limit_ms * 1000000ull;
    if (!seize_all(pause, pause_now_ns() + limit_ns))
        return false;
    pause->target->stop_began_ns = pause_now_ns();
    pause->interrupting = true;
    for (size_t i = 0; i < pause->nr_holds; i++)
        if (pause->holds[i].state == HOLD_RUNNING)
            ptrace(PTRACE_INTERRUPT, pause->holds[i].tid, NULL, NULL);
    for (unsigned polls = 1;; polls++) {
        handle_events(pause);
        if (!pause->nr_running && is_complete(pause))
            break;
        if (pause_now_ns() - pause->target->stop_began_ns > limit_ns)
            return error_limit(pause);
        if (polls % LOOK_AGAIN_POLLS == 0)
            drop_ended(pause);
        pause_sleep_shortly();
    }
    if (!pause->nr_stopped)
        return live_error_gone(pause->target->pid, &pause->err);
    read_registers(pause);
    return true;
}
