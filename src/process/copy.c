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

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process/copy_inject.h"
#include "process/live.h"
#include "process/pause.h"
#include "process/proc.h"

enum {
    /* Measured: 17 to 20 ms a GB of small pages, 0.6 ms a GB of huge ones. */
    NS_PER_KB = 20,
    NS_PER_HUGE_MB = 600,
    SMALL_KB = 128 * 1024, /* not worth to look for huge pages in */
};

/* One making of a copy. */
struct making {
    const struct target *target;
    struct copy_state *state;
    struct injection *injection;
    pid_t first, first_inside;
    struct error *err;
    bool ok;
};

/* --- making it ----------------------------------------------------------------------------------- */

static bool refuse(const struct making *making, const char *what, int reason)
{
    return error_set(
        making->err, ERROR_TARGET,
        "process %d: no copy can be made of it: %s: %s; read it in a longer stop instead",
        (int)making->target->pid, what, strerror(reason));
}

/* The best thread for it; 0: none. */
static pid_t choose_thread(const struct making *making)
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
static bool takes_orphans(const struct making *making, bool *answer)
{
    struct injection *injection = making->injection;
    struct call_result result;
    struct system_call call = {SYS_prctl,
                               {PR_GET_CHILD_SUBREAPER, injection->frames.word_addr},
                               injection->frames.back_addr};
    struct text status;
    uint32_t is_subreaper = 0;
    text_init(&status);
    proc_read(&status, "/proc/%d/status", (int)making->target->pid);
    const char *ids = proc_status_value(text_str(&status), "NSpid");
    size_t length = ids ? strcspn(ids, "\n") : 0;
    bool is_init = length && ids[length - 1] == '1' && (length == 1 || ids[length - 2] == '\t');
    text_deinit(&status);
    if (!injection_call(injection, injection->thread.tid, &call, &result))
        return false;
    if (!length || result.value != 0 ||
        live_read(making->target, injection->frames.word_addr, &is_subreaper, 4) != 4)
        return refuse(making, "prctl", result.value ? (int)-result.value : EFAULT);
    *answer = is_init || is_subreaper;
    return true;
}

static bool set_exit_kill(const struct making *making, pid_t child, long more)
{
    return ptrace(PTRACE_SETOPTIONS, child, NULL, PTRACE_O_EXITKILL | more) == 0 ||
           refuse(making, "ptrace", errno);
}

/* The thread's own child, standing still. */
static bool make_first(struct making *making, uint64_t flags)
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
static bool drop_files(const struct making *making, pid_t child)
{
    struct call_result result;
    struct system_call call = {
        SYS_close_range, {0, ~0u, CLOSE_RANGE_UNSHARE}, making->injection->frames.exit_addr};
    return injection_call(making->injection, child, &call, &result);
}

static bool make_orphan(struct making *making)
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

/* As its tracer. */
static void end_traced(pid_t child)
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

/* Through the thread that was begun with. */
static bool reap(struct injection *injection, pid_t inside)
{
    struct call_result result;
    struct system_call call = {
        SYS_wait4, {(uint32_t)inside, 0, WNOHANG | __WALL}, injection->frames.back_addr};
    return injection_call(injection, injection->thread.tid, &call, &result);
}

static bool make_child(struct making *making)
{
    bool is_own = false;
    if (!takes_orphans(making, &is_own) || !make_first(making, is_own ? 0 : CLONE_VM) ||
        !drop_files(making, making->first))
        return false;
    if (!is_own)
        return make_orphan(making);
    making->state->child = making->first;
    making->state->child_inside = making->first_inside;
    making->first = making->first_inside = 0;
    return true;
}

/* What is known of the child from the outside.  The kernel shall end it before anything else. */
static bool open_child(struct making *making)
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

static void close_child(struct copy_state *state)
{
    int *const files[] = {&state->memory_fd, &state->child_fd, &state->target_fd};
    for (int i = 0; i < 3; i++) {
        if (*files[i] >= 0)
            close(*files[i]);
        *files[i] = -1;
    }
}

/* Whatever was made by then goes. */
static void undo(struct making *making)
{
    struct copy_state *state = making->state;
    end_traced(making->first);
    end_traced(state->child);
    making->first = state->child = 0;
    if (state->child_inside) {
        making->first_inside = state->child_inside;
        state->child_inside = 0;
    }
    close_child(state);
}

static void make_on_holder(void *context)
{
    struct making *making = context;
    struct injection *injection = making->injection;
    pid_t tid = 0;
    making->ok = injection_open(injection, making->target, making->err) &&
                 (tid = choose_thread(making)) != 0 && injection_begin(injection, tid) &&
                 make_child(making) && open_child(making);
    if (!making->ok)
        undo(making);
    end_traced(making->first);
    if (making->first_inside)
        making->ok &= reap(injection, making->first_inside);
    making->ok &= injection_end(injection);
    if (!making->ok)
        undo(making);
    injection_close(injection);
}

/* --- keeping and ending it ----------------------------------------------------------------------- */

static struct injection *open_injection_of(struct target *target, struct error *ignored)
{
    struct injection *injection = memory_alloc(sizeof(*injection));
    if (live_read_mappings(target, ignored) && injection_open(injection, target, ignored))
        return injection;
    free(injection);
    return NULL;
}

/* Stops one thread of the running target.  False: it is not to be used, and runs. */
static bool stop_one(struct injection *injection, pid_t tid)
{
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
    bool ok = injection_begin(injection, tid) && reap(injection, inside);
    ok &= injection_end(injection);
    ptrace(PTRACE_DETACH, tid, NULL, NULL);
    return ok;
}

/* First by threads that wait in the kernel, then by any. */
static void reap_in_running(struct copy_state *state)
{
    struct target target = {.pid = state->target_pid};
    struct error ignored;
    struct injection *injection = NULL;
    char path[64];
    bool done = false;
    snprintf(path, sizeof(path), "/proc/%d/task", (int)target.pid);
    DIR *tasks = opendir(path);
    arena_init(&target.arena);
    for (int pass = 0; tasks && pass < 2 && !done; pass++) {
        rewinddir(tasks);
        for (struct dirent *entry; !done && (entry = readdir(tasks));) {
            pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);
            char letter = tid > 0 ? proc_thread_state(target.pid, tid) : 0;
            if (!letter || strchr("ZX", letter) || (pass == 0 && letter != 'S'))
                continue;
            target.memory_tid = tid;
            if (!injection)
                injection = open_injection_of(&target, &ignored);
            done = !injection || reap_by(injection, tid, state->child_inside);
        }
    }
    if (injection)
        injection_close(injection);
    free(injection);
    free(target.mappings);
    arena_deinit(&target.arena);
    if (tasks)
        closedir(tasks);
}

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
    end_traced(state->child);
    if (state->child_inside && !has_ended(state->target_fd))
        reap_in_running(state);
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
    struct making making = {ending->target, state, injection, 0, 0, &ignored, false};
    pid_t tid;
    end_traced(state->child);
    if (state->child_inside && injection_open(injection, ending->target, &ignored) &&
        (tid = choose_thread(&making)) != 0 && injection_begin(injection, tid)) {
        making.ok = reap(injection, state->child_inside);
        making.ok &= injection_end(injection);
    }
    injection_close(injection);
    free(injection);
}

/* --- the outside --------------------------------------------------------------------------------- */

static void state_free(struct copy_state *state)
{
    close_child(state);
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
    if (!live_read_mappings(target, err))
        return false;
    struct copy_state *state = memory_alloc(sizeof(*state));
    *state = (struct copy_state){.pause = target->pause,
                                 .target_pid = target->pid,
                                 .target_fd = -1,
                                 .child_fd = -1,
                                 .memory_fd = -1};
    struct making making = {.target = target, .state = state, .err = err};
    making.injection = memory_alloc(sizeof(*making.injection));
    pause_run(target->pause, make_on_holder, &making);
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
