/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * How the child is made: the sequence in the head of process/copy.c, on the holder of the target's
 * threads, all of which stand still.  Whatever step fails, what was made by then is undone.
 */
#include "process/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "process/copy_guard.h"
#include "process/live.h"
#include "process/proc.h"

static bool refuse(const struct copy_making *making, const char *what, int reason)
{
    return error_set(
        making->err, ERROR_TARGET,
        "process %d: no copy can be made of it: %s: %s; read it in a longer stop instead",
        (int)making->target->pid, what, strerror(reason));
}

pid_t copy_choose_thread(const struct copy_making *making)
{
    const struct target *target = making->target;
    pid_t best = 0, tid = 0;
    int best_rank = -1;
    for (size_t i = 0; i < target->nr_threads && best_rank != 0; i++) {
        tid = target->threads[i].tid;
        int rank = injection_rank(making->injection, tid);
        if (rank >= 0 && (best_rank < 0 || rank < best_rank)) {
            best_rank = rank;
            best = tid;
        }
    }
    if (!best)
        injection_refuse(making->injection, tid);
    return best;
}

/* Orphans are given to the init of the namespace, or to a subreaper. */
static bool takes_orphans(const struct copy_making *making, bool *answer)
{
    struct injection *injection = making->injection;
    struct call_result result;
    struct system_call call = {SYS_prctl,
                               {PR_GET_CHILD_SUBREAPER, injection->frames.word_addr},
                               injection->frames.back_addr};
    uint32_t is_subreaper = 0;
    if (!injection_call(injection, injection->thread.tid, &call, &result))
        return false;
    if (result.value != 0 ||
        live_read(making->target, injection->frames.word_addr, &is_subreaper, 4) != 4)
        return refuse(making, "prctl", result.value ? (int)-result.value : EFAULT);
    *answer = is_subreaper || copy_is_namespace_init(making->target->pid);
    return true;
}

static bool set_exit_kill(const struct copy_making *making, pid_t child, long more)
{
    return ptrace(PTRACE_SETOPTIONS, child, NULL, PTRACE_O_EXITKILL | more) == 0 ||
           refuse(making, "ptrace", errno);
}

/* The thread's own child, standing still. */
static bool make_first(struct copy_making *making, uint64_t flags)
{
    struct injection *injection = making->injection;
    const struct frames *frames = &injection->frames;
    struct call_result result;
    struct system_call call = {
        SYS_clone,
        {CLONE_FILES | CLONE_PARENT_SETTID | flags, frames->exit_addr, frames->pid_addr},
        frames->wait_addr};
    int status;
    bool ok = injection_call(injection, injection->thread.tid, &call, &result);
    making->first = result.child;
    if (ok && result.value < 0)
        return refuse(making, "fork", (int)-result.value);
    making->first_inside = ok ? (pid_t)result.value : 0;
    making->state->fork_ns = result.ns;
    return ok && injection_await(injection, making->first, &status) &&
           set_exit_kill(making, making->first, injection->options);
}

/* It shall not keep files open that the target closes.  An old kernel has no such call. */
static bool drop_files(const struct copy_making *making, pid_t child)
{
    struct call_result result;
    struct system_call call = {
        SYS_close_range, {0, ~0u, CLOSE_RANGE_UNSHARE}, making->injection->frames.exit_addr};
    return injection_call(making->injection, child, &call, &result);
}

static bool make_orphan(struct copy_making *making)
{
    struct injection *injection = making->injection;
    struct call_result result;
    struct system_call call = {
        SYS_clone, {CLONE_FILES, injection->frames.exit_addr}, injection->frames.exit_addr};
    int status;
    bool ok = injection_call(injection, making->first, &call, &result);
    making->state->child = result.child;
    making->state->fork_ns = result.ns;
    if (ok && result.value < 0)
        return refuse(making, "fork", (int)-result.value);
    return ok && injection_await(injection, making->state->child, &status) &&
           set_exit_kill(making, making->state->child, 0);
}

static bool make_child(struct copy_making *making)
{
    bool is_own = false;
    if (!takes_orphans(making, &is_own) || !make_first(making, is_own ? 0 : CLONE_VM) ||
        !drop_files(making, making->first))
        return false;
    if (!is_own)
        return make_orphan(making);
    copy_guard_start(making->target); /* late, but a subreaper is rare */
    making->state->guard_fd = making->target->guard_fd;
    copy_guard_tell(making->state->guard_fd, making->first, making->first_inside);
    making->state->child = making->first;
    making->state->child_inside = making->first_inside;
    making->first = making->first_inside = 0;
    return true;
}

/* What is known of the child from the outside.  The kernel shall end it before anything else. */
static bool open_child(struct copy_making *making)
{
    struct copy_state *state = making->state;
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int)state->child);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, "1000", 4) == 4;
    if (fd >= 0)
        close(fd);
    if (!ok)
        return refuse(making, "oom_score_adj", errno);
    snprintf(path, sizeof(path), "/proc/%d/mem", (int)state->child);
    state->memory_fd = open(path, O_RDONLY | O_CLOEXEC);
    state->child_fd = (int)syscall(SYS_pidfd_open, state->child, 0);
    state->target_fd = (int)syscall(SYS_pidfd_open, state->target_pid, 0);
    return (state->memory_fd >= 0 && state->child_fd >= 0 && state->target_fd >= 0) ||
           refuse(making, "its memory cannot be opened", errno);
}

void copy_close(struct copy_state *state)
{
    int *const files[] = {&state->memory_fd, &state->child_fd, &state->target_fd};
    for (int i = 0; i < 3; i++) {
        if (*files[i] >= 0)
            close(*files[i]);
        *files[i] = -1;
    }
}

/* Whatever was made by then goes. */
static void undo(struct copy_making *making)
{
    struct copy_state *state = making->state;
    copy_end_traced(making->first);
    copy_end_traced(state->child);
    making->first = state->child = 0;
    if (state->child_inside) {
        making->first_inside = state->child_inside;
        state->child_inside = 0;
    }
    copy_close(state);
}

void copy_make(void *context)
{
    struct copy_making *making = context;
    struct injection *injection = making->injection;
    pid_t tid = 0;
    making->ok = injection_open(injection, making->target, making->err) &&
                 (tid = copy_choose_thread(making)) != 0 && injection_begin(injection, tid) &&
                 make_child(making) && open_child(making);
    if (!making->ok)
        undo(making);
    copy_end_traced(making->first);
    if (making->first_inside)
        making->ok &= copy_reap(injection, making->first_inside);
    making->ok &= injection_end(injection);
    if (!making->ok) {
        undo(making);
        copy_guard_tell(making->state->guard_fd, 0, 0);
    }
    injection_close(injection);
}
