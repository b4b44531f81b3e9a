/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The pause: every thread of the target is seized, then interrupted (ptrace(2), PTRACE_SEIZE).  The
 * stage before: an open target.  The stages after read its memory and registers.
 *
 * All ptrace calls are made by one thread of ours, the holder, which lives as long as the pause.
 * A thread that has not stopped cannot be detached, and waiting for it might take for ever (it may
 * be blocked in the kernel).  But when a tracer ends, the kernel detaches all that it holds, also
 * those that were asked to stop and did not: so the holder ends, and with it every bond.  The same
 * happens when asyncmem is killed.
 *
 * Invariants: nothing is ever written to the target.  A signal that reaches a thread while it is
 * held is passed on; it is looked at without taking it off the kernel (WNOWAIT), so that it is
 * delivered even if the holder dies just then.  A thread in a group-stop (SIGSTOP) stops for us in
 * that state and is back in it after the detach.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/map.h"
#include "process/live.h"
#include "process/proc.h"

enum {
    POLL_NS = 20 * 1000,
    LOOK_AGAIN_POLLS =
        50, /* then threads that do not answer are looked up in /proc: have they ended? */
    END_POLLS = 50 * 1000, /* about a second */
};

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
    sem_t ready;  /* the holder: stopped, or given up */
    sem_t resume; /* the caller: let them go */
    unsigned limit_ms;
    bool ok;
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

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void sleep_shortly(void)
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
            sleep_shortly();
    } while ((nr_new || pause->refused) && now_ns() < deadline);
    if (pause->refused)
        return error_refused(pause);
    return pause->nr_running || pause->nr_stopped ||
           live_error_gone(pause->target->pid, &pause->err);
}

static bool stop_all(struct pause *pause)
{
    uint64_t limit_ns = pause->limit_ms * 1000000ull;
    if (!seize_all(pause, now_ns() + limit_ns))
        return false;
    pause->target->stop_began_ns = now_ns();
    pause->interrupting = true;
    for (size_t i = 0; i < pause->nr_holds; i++)
        if (pause->holds[i].state == HOLD_RUNNING)
            ptrace(PTRACE_INTERRUPT, pause->holds[i].tid, NULL, NULL);
    for (unsigned polls = 1;; polls++) {
        handle_events(pause);
        if (!pause->nr_running && is_complete(pause))
            break;
        if (now_ns() - pause->target->stop_began_ns > limit_ns)
            return error_limit(pause);
        if (polls % LOOK_AGAIN_POLLS == 0)
            drop_ended(pause);
        sleep_shortly();
    }
    if (!pause->nr_stopped)
        return live_error_gone(pause->target->pid, &pause->err);
    read_registers(pause);
    return true;
}

static void *hold_threads(void *context)
{
    struct pause *pause = context;
    pause->holder_tid = (pid_t)syscall(SYS_gettid);
    prctl(PR_SET_TIMERSLACK, 1); /* the default makes a sleep of 20 us one of 70 */
    /* On a busy machine the pause would else last until the scheduler gives us a turn.  Needs
     * CAP_SYS_NICE; without it the pause is only longer. */
    pthread_setschedparam(pthread_self(), SCHED_FIFO, &(struct sched_param){.sched_priority = 1});
    pause->ok = stop_all(pause);
    if (pause->ok) {
        sem_post(&pause->ready);
        while (sem_wait(&pause->resume) != 0)
            continue;
    }
    for (size_t i = 0; i < pause->nr_holds; i++)
        if (pause->holds[i].state == HOLD_STOPPED)
            ptrace(PTRACE_DETACH, pause->holds[i].tid, NULL, NULL);
    pause->resumed_ns = now_ns();
    if (!pause->ok)
        sem_post(&pause->ready);
    return NULL;
}

/* --- our own thread ------------------------------------------------------------------------------ */

/*
 * pthread_join returns a little before the kernel lets the tracees go; the thread's id is given up
 * after that.
 */
static void end_holder(struct pause *pause)
{
    pthread_join(pause->holder, NULL);
    for (int i = 0; i < END_POLLS; i++) {
        if (syscall(SYS_tgkill, getpid(), pause->holder_tid, 0) != 0)
            return;
        sleep_shortly();
    }
}

static struct pause *pause_new(struct target *target, unsigned limit_ms)
{
    char path[64];
    struct pause *pause = memory_alloc(sizeof(*pause));
    pause->target = target;
    pause->limit_ms = limit_ms;
    sem_init(&pause->ready, 0, 0);
    sem_init(&pause->resume, 0, 0);
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
    sem_destroy(&pause->ready);
    sem_destroy(&pause->resume);
    free(pause);
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

bool target_stop(struct target *target, unsigned limit_ms, struct error *err)
{
    if (target->is_core || target->pause)
        return true;
    if (target->pid == getpid())
        return error_set(err, ERROR_TARGET,
                         "process %d: is asyncmem itself, which cannot stop itself; give another",
                         (int)target->pid);
    struct pause *pause = pause_new(target, limit_ms);
    int reason = pause->tasks ? start_holder(pause) : 0;
    bool ok = false;
    if (!pause->tasks) {
        live_error_gone(target->pid, err);
    } else if (reason) {
        error_set(err, ERROR_TARGET, "process %d: no thread to hold it with: %s; end some programs",
                  (int)target->pid, strerror(reason));
    } else {
        while (sem_wait(&pause->ready) != 0)
            continue;
        ok = pause->ok;
        if (!ok) {
            end_holder(pause);
            if (err)
                *err = pause->err;
        }
    }
    if (ok)
        target->pause = pause;
    else
        pause_free(pause);
    return ok;
}

uint64_t target_resume(struct target *target)
{
    struct pause *pause = target->pause;
    if (!pause)
        return 0;
    sem_post(&pause->resume);
    end_holder(pause);
    uint64_t still_ns = pause->resumed_ns - target->stop_began_ns;
    for (size_t i = 0; i < target->nr_threads; i++)
        target->threads[i].stopped = false;
    pause_free(pause);
    target->pause = NULL;
    return still_ns;
}
