/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A copy-on-write child of a stopped target: its memory at one moment, to be read while the target
 * goes on.  The stage before: target_stop.  The stages after read through target_read as ever.
 *
 * The sequence, all on the holder (process/pause.c), through one thread of the target:
 *
 *     thread  clone(CLONE_VM | CLONE_FILES)  -> first: a process in the target's own memory
 *     first   close_range(all, UNSHARE)         holds none of the target's files from now on
 *     first   clone(CLONE_FILES)             -> child: the copy.  It never runs.
 *     first   ends: the child is an orphan, whom the init of its namespace reaps one day
 *     thread  wait4(first)                      no zombie is left in the target
 *
 * A target that is itself the one to whom orphans are given (pid 1 of a container, a subreaper) makes the
 * child directly, and reaps it in a short stop of one thread when the copy ends.
 *
 * No exit signal is sent for any of them, so that neither SIGCHLD handlers nor waitpid(-1) of the target
 * see them.  The children are killed by the kernel when their tracer ends (PTRACE_O_EXITKILL); until that
 * is set, and for the thread, frames under the stack lead them out (process/copy_frames.c).
 *
 * The child ends with the target: it would delay the end of a container or service.
 */
#include "process/copy.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "process/copy_guard.h"
#include "process/live.h"
#include "process/pause.h"
#include "process/proc.h"

enum {
    /* Measured: 17 to 20 ms a GB of small pages, 0.6 ms a GB of huge ones. */
    NS_PER_KB = 20,
    NS_PER_HUGE_MB = 600,
    SMALL_KB = 128 * 1024, /* not worth to look for huge pages in */
};

static bool has_ended(int pidfd)
{
    struct pollfd one = {pidfd, POLLIN, 0};
    return poll(&one, 1, 0) != 0;
}

/* The holder's life after the target goes on. */
static void keep_on_holder(void *context)
{
    struct copy_state *state = context;
    struct pollfd both[2] = {{state->target_fd, POLLIN, 0}, {state->child_fd, POLLIN, 0}};
    while (poll(both, 2, -1) <= 0)
        continue;
    if (!atomic_load(&state->is_ending))
        atomic_store(&state->is_lost, true);
    copy_end_traced(state->child);
    if (state->child_inside && !has_ended(state->target_fd))
        copy_reap_in_running(state->target_pid, state->child_inside);
    copy_guard_tell(state->guard_fd, 0, 0);
}

struct ending {
    struct target *target;
    struct copy_state *state;
};

/* While the target stands still. */
static void end_on_holder(void *context)
{
    struct ending *ending = context;
    struct copy_state *state = ending->state;
    struct error ignored;
    struct injection *injection = memory_alloc(sizeof(*injection));
    struct copy_making making = {ending->target, state, injection, 0, 0, &ignored, false};
    pid_t tid;
    copy_end_traced(state->child);
    if (state->child_inside && injection_open(injection, ending->target, &ignored) &&
        (tid = copy_choose_thread(&making)) != 0 && injection_begin(injection, tid)) {
        making.ok = copy_reap(injection, state->child_inside);
        making.ok &= injection_end(injection);
    }
    copy_guard_tell(state->guard_fd, 0, 0);
    injection_close(injection);
    free(injection);
}

/* --- the outside --------------------------------------------------------------------------------- */

static void state_free(struct copy_state *state)
{
    copy_close(state);
    copy_memory_deinit(&state->memory);
    free(state);
}

static void describe_left(struct target *target)
{
    const struct copy_memory *memory = &target->copy.state->memory;
    char text[160];
    int length = snprintf(
        text, sizeof(text),
        "%zu shared mapping%s of %zu MB change%s while the copy is read: not read", memory->nr_left,
        memory->nr_left == 1 ? "" : "s", memory->left_bytes >> 20, memory->nr_left == 1 ? "s" : "");
    target->copy.problem =
        memory->nr_left ? arena_strndup(&target->arena, text, (size_t)length) : NULL;
}

bool target_fork(struct target *target, struct error *err)
{
    if (target->is_core || target->copy.pid)
        return true;
    if (!target->pause)
        return error_set(err, ERROR_TARGET, "process %d: does not stand still", (int)target->pid);
    if (!target_may_fork(target, err) || !live_read_mappings(target, err))
        return false;
    struct copy_state *state = memory_alloc(sizeof(*state));
    *state = (struct copy_state){.pause = target->pause,
                                 .target_pid = target->pid,
                                 .target_fd = -1,
                                 .child_fd = -1,
                                 .memory_fd = -1};
    struct copy_making making = {.target = target, .state = state, .err = err};
    making.injection = memory_alloc(sizeof(*making.injection));
    pause_run(target->pause, copy_make, &making);
    free(making.injection);
    if (!making.ok) {
        state_free(state);
        return false;
    }
    copy_memory_keep(&state->memory, target, state->child);
    target->pause->keep = keep_on_holder;
    target->pause->keep_context = state;
    target->copy = (struct target_copy){.pid = state->child,
                                        .memory_fd = state->memory_fd,
                                        .fork_ns = state->fork_ns,
                                        .state = state};
    describe_left(target);
    return true;
}

bool target_copy_is_whole(const struct target *target)
{
    const struct copy_state *state = target->copy.state;
    return !state || (!atomic_load(&state->is_lost) && !has_ended(state->child_fd));
}

void target_end_copy(struct target *target)
{
    struct copy_state *state = target->copy.state;
    if (!state)
        return;
    target->copy = (struct target_copy){.fork_ns = state->fork_ns};
    atomic_store(&state->is_ending, true);
    if (target->pause == state->pause) {
        struct ending ending = {target, state};
        target->pause->keep = NULL;
        pause_run(target->pause, end_on_holder, &ending);
    } else {
        syscall(SYS_pidfd_send_signal, state->child_fd, SIGKILL, NULL, 0);
        pause_end(state->pause);
    }
    state_free(state);
}

uint64_t target_fork_estimate_ns(const struct target *target)
{
    struct text text;
    if (target->is_core)
        return 0;
    text_init(&text);
    proc_read(&text, "/proc/%d/status", (int)target->memory_tid);
    uint64_t all_kb = (uint64_t)proc_status_number(text_str(&text), "RssAnon"), huge_kb = 0;
    /* This walks all page tables, as the fork does. */
    if (all_kb > SMALL_KB && proc_read(&text, "/proc/%d/smaps_rollup", (int)target->memory_tid))
        huge_kb = (uint64_t)proc_status_number(text_str(&text), "AnonHugePages");
    text_deinit(&text);
    huge_kb = huge_kb < all_kb ? huge_kb : all_kb;
    return (all_kb - huge_kb) * NS_PER_KB + huge_kb * NS_PER_HUGE_MB / 1024;
}
