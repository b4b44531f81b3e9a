/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The end of a copy.  A child that is the target's own has to be reaped by the target, which does
 * not know of it: one of its threads is stopped for a moment, and made to.
 */
#include "process/copy.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "process/live.h"
#include "process/pause.h"
#include "process/proc.h"

enum { THREAD_LIMIT_NS = 1000 * 1000 * 1000 }; /* then another one is tried */

void copy_end_traced(pid_t child)
{
    int status = 0;
    if (!child)
        return;
    kill(child, SIGKILL);
    for (;;) {
        pid_t got = waitpid(child, &status, __WALL | __WNOTHREAD);
        if ((got == child && !WIFSTOPPED(status)) || (got < 0 && errno != EINTR))
            return;
    }
}

bool copy_reap(struct injection *injection, pid_t inside)
{
    struct call_result result;
    struct system_call call = {
        SYS_wait4, {(uint32_t)inside, 0, WNOHANG | __WALL}, injection->frames.back_addr};
    return injection_call(injection, injection->thread.tid, &call, &result) &&
           (result.value == inside || result.value == -ECHILD);
}

/* Stops one thread of the running target.  False: it is not to be used, and runs. */
static bool stop_one(struct injection *injection, pid_t tid)
{
    injection->deadline_ns = pause_now_ns() + THREAD_LIMIT_NS;
    if (ptrace(PTRACE_SEIZE, tid, NULL, NULL) != 0)
        return false;
    if (injection_interrupt(injection, tid) && injection_rank(injection, tid) >= 0)
        return true;
    ptrace(PTRACE_DETACH, tid, NULL, NULL);
    return false;
}

static bool reap_by(struct injection *injection, pid_t tid, pid_t inside)
{
    if (!stop_one(injection, tid))
        return false;
    bool ok = injection_begin(injection, tid) && copy_reap(injection, inside);
    ok &= injection_end(injection);
    ptrace(PTRACE_DETACH, tid, NULL, NULL);
    return ok;
}

/* By threads in one of these states. */
static bool reap_by_any(struct injection *injection, const char *states, pid_t inside)
{
    char path[64];
    bool done = false;
    pid_t pid = injection->target->pid;
    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *tasks = opendir(path);
    for (struct dirent *entry; tasks && !done && (entry = readdir(tasks));) {
        pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);
        char letter = tid > 0 ? proc_thread_state(pid, tid) : 0;
        done = letter && strchr(states, letter) && reap_by(injection, tid, inside);
    }
    if (tasks)
        closedir(tasks);
    return done;
}

bool copy_reap_in_running(pid_t pid, pid_t inside)
{
    struct target target = {.pid = pid, .memory_tid = live_thread(pid)};
    struct error ignored;
    struct injection *injection = memory_alloc(sizeof(*injection));
    arena_init(&target.arena);
    /* Best by those that wait in the kernel. */
    bool done = target.memory_tid && live_read_mappings(&target, &ignored) &&
                injection_open(injection, &target, &ignored) &&
                (reap_by_any(injection, "S", inside) || reap_by_any(injection, "RTt", inside));
    injection_close(injection);
    free(injection);
    free(target.mappings);
    arena_deinit(&target.arena);
    return done;
}
