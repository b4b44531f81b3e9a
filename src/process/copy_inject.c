/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * One system call after the other: registers are set to `syscall; ret` with the call's number, the
 * thread runs to the entry of the call and to its exit (ptrace(2), syscall-stops), where the result is.
 * In the end it is brought to the kind of stop it came from and gets its registers back there,
 * so that the kernel then begins the interrupted call again as if nothing had been.
 *
 * Order: frames, registers, signal mask; back: mask, registers, what was under the stack.  When we end
 * between any two of these steps, the thread goes to where its stack pointer leads
 * (process/copy_frames.c).  A stop takes a request to stop off the kernel, so that one is made anew
 * after each stop that is not the one asked for.
 */
#include "process/copy_inject.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process/live.h"
#include "process/pause.h"
#include "process/proc.h"

enum {
    LIMIT_S = 60,
    WAKE_MS = 50,
    CODE_SEGMENT_64 = 0x33,
    ERESTARTNOINTR = 513,
    ERESTART_RESTARTBLOCK = 516,
    RSEQ_CS_OFFSET = 8, /* in struct rseq */
    CLONED = SIGTRAP | PTRACE_EVENT_CLONE << 8,
    IN_CALL = SIGTRAP | 0x80,
};

static bool error_gone(struct injection *injection)
{
    return live_error_gone(injection->target->pid, injection->err);
}

/* --- waiting ------------------------------------------------------------------------------------- */

static void wake(int number)
{
    (void)number;
}

/* A timer that only makes waitpid return now and then: without it a wait has no end. */
static bool start_timer(struct injection *injection)
{
    struct sigaction action = {.sa_handler = wake};
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMAX};
    struct itimerspec each = {{0, WAKE_MS * 1000000}, {0, WAKE_MS * 1000000}};
    sigset_t set;
    event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    sigemptyset(&set);
    sigaddset(&set, SIGRTMAX);
    injection->deadline_ns = pause_now_ns() + LIMIT_S * 1000000000ull;
    if (sigaction(SIGRTMAX, &action, NULL) != 0 ||
        timer_create(CLOCK_MONOTONIC, &event, &injection->timer) != 0)
        return false;
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    injection->is_open = true;
    return timer_settime(injection->timer, 0, &each, NULL) == 0;
}

bool injection_await(struct injection *injection, pid_t tid, int *status)
{
    for (bool late = false;; late = pause_now_ns() > injection->deadline_ns) {
        pid_t got = waitpid(tid, status, __WALL | __WNOTHREAD | (late ? WNOHANG : 0));
        if (got == tid)
            return WIFSTOPPED(*status) || error_gone(injection);
        if (got < 0 && errno != EINTR)
            return error_gone(injection);
        if (late)
            return error_set(injection->err, ERROR_TARGET,
                             "process %d: thread %d does not come back from the kernel; it is let "
                             "go as it is",
                             (int)injection->target->pid, (int)tid);
    }
}

/* --- which thread -------------------------------------------------------------------------------- */

/*
 * The stack must be known as one: the process's first, or one with the thread's descriptor above, as
 * C libraries make them.  Below the pointer of any other (a coroutine's, a signal's) may be anything.
 */
static bool has_room(const struct injection *injection, const struct thread_state *state)
{
    uint64_t pointer = state->regs.rsp;
    const struct mapping *m = target_mapping_at(injection->target, pointer);
    if (!m || !m->writable || !m->readable || m->is_shared || m->is_device || m->executable)
        return false;
    bool is_first = strcmp(m->path, "[stack]") == 0;
    bool is_thread = state->regs.fs_base > pointer && state->regs.fs_base < m->end;
    return (is_first || is_thread) &&
           pointer - m->start > MAX_FRAMES_BYTES + FRAMES_MARGIN_BYTES + 4096;
}

/* Within a restartable sequence a system call would take its protection off. */
static bool is_in_rseq(const struct injection *injection, pid_t tid)
{
    struct __ptrace_rseq_configuration rseq = {0};
    uint64_t sequence = 0;
    if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, tid, sizeof(rseq), &rseq) <= 0)
        return true; /* the kernel cannot tell */
    if (!rseq.rseq_abi_pointer)
        return false;
    return live_read(injection->target, rseq.rseq_abi_pointer + RSEQ_CS_OFFSET, &sequence,
                     sizeof(sequence)) != sizeof(sequence) ||
           sequence != 0;
}

static long options_for(bool is_filtered)
{
    return PTRACE_O_TRACECLONE | PTRACE_O_TRACESYSGOOD |
           (is_filtered ? PTRACE_O_SUSPEND_SECCOMP : 0);
}

/* Shadow stacks know nothing of our frames; seccomp may kill for a system call. */
static const char *set_options(struct injection *injection, pid_t tid)
{
    struct text status;
    text_init(&status);
    bool ok = proc_read(&status, "/proc/%d/task/%d/status", (int)injection->target->pid, (int)tid);
    const char *features = proc_status_value(text_str(&status), "x86_Thread_features");
    bool has_shadow = features && memmem(features, strcspn(features, "\n"), "shstk", 5);
    bool is_filtered = proc_status_number(text_str(&status), "Seccomp") != 0;
    text_deinit(&status);
    if (!ok)
        return "its status cannot be read";
    if (has_shadow)
        return "it has a shadow stack";
    injection->options = options_for(is_filtered);
    if (ptrace(PTRACE_SETOPTIONS, tid, NULL, injection->options) == 0)
        return NULL;
    return is_filtered ? "seccomp filters its system calls, and only root may lift that"
                       : "it cannot be traced";
}

/* Threads in a call that will be begun again are the best: they are nowhere within anything. */
static int rank_of(struct injection *injection, const struct thread_state *state)
{
    uint8_t code[2];
    if (thread_state_is_restarting(state)) {
        injection->why = "it made a system call in an unknown way";
        if (live_read(injection->target, state->regs.rip - 2, code, 2) != 2 || code[0] != 0x0f ||
            code[1] != 0x05)
            return -1;
        return (int64_t)state->regs.rax == -ERESTART_RESTARTBLOCK ? 1 : 0;
    }
    if ((int64_t)state->regs.orig_rax >= 0)
        return 2;
    injection->why = "it is within a restartable sequence";
    return is_in_rseq(injection, state->tid) ? -1 : 3;
}

int injection_rank(struct injection *injection, pid_t tid)
{
    struct thread_state *state = &injection->thread;
    injection->why = NULL;
    if (!thread_state_read(state, tid))
        injection->why = "its registers cannot be read";
    else if (state->regs.cs != CODE_SEGMENT_64)
        injection->why = "it runs 32-bit code";
    else if (!has_room(injection, state))
        injection->why = "its stack is of an unknown kind or has no room";
    else
        injection->why = set_options(injection, tid);
    ptrace(PTRACE_SETOPTIONS, tid, NULL, 0);
    return injection->why ? -1 : rank_of(injection, state);
}

bool injection_refuse(struct injection *injection, pid_t tid)
{
    return error_set(injection->err, ERROR_TARGET,
                     "process %d: no copy can be made of it: thread %d: %s; read it in a longer "
                     "stop instead",
                     (int)injection->target->pid, (int)tid, injection->why);
}

/* --- calls --------------------------------------------------------------------------------------- */

bool injection_open(struct injection *injection, const struct target *target, struct error *err)
{
    injection->target = target;
    injection->err = err;
    injection->is_open = injection->is_begun = false;
    if (!code_places_find(&injection->code, target))
        return error_set(err, ERROR_TARGET,
                         "process %d: no copy can be made of it: its code has no system call to "
                         "make one with; read it in a longer stop instead",
                         (int)target->pid);
    return start_timer(injection) ||
           error_set(err, ERROR_TARGET, "process %d: no copy can be made of it: no timer: %s",
                     (int)target->pid, strerror(errno));
}

void injection_close(struct injection *injection)
{
    sigset_t set;
    if (!injection->is_open)
        return;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMAX);
    timer_delete(injection->timer);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    injection->is_open = false;
}

static bool put(pid_t tid, const void *bytes, uint64_t addr, size_t size)
{
    struct iovec local = {(void *)(uintptr_t)bytes, size};
    struct iovec remote = {(void *)(uintptr_t)addr, size};
    return process_vm_writev(tid, &local, 1, &remote, 1, 0) == (ssize_t)size;
}

bool injection_begin(struct injection *injection, pid_t tid)
{
    struct frames *frames = &injection->frames;
    injection->why = NULL;
    if (!thread_state_read(&injection->thread, tid) ||
        !frames_build(frames, &injection->thread, &injection->code) ||
        live_read(injection->target, frames->addr, frames->before, frames->nr_bytes) !=
            frames->nr_bytes)
        injection->why = "its state cannot be read";
    else if (!put(tid, frames->bytes, frames->addr, frames->nr_bytes))
        injection->why = "its stack cannot be written";
    else
        injection->why = set_options(injection, tid);
    injection->is_moved = false;
    injection->is_begun = !injection->why;
    return injection->is_begun || injection_refuse(injection, tid);
}

static bool set_call(struct injection *injection, pid_t tid, const struct system_call *call)
{
    uint64_t all = ~0ull;
    struct user_regs_struct regs = injection->thread.regs;
    /* A child has the registers of its parent, but thread pointers are its own. */
    struct user_regs_struct own;
    if (ptrace(PTRACE_GETREGS, tid, NULL, &own) != 0)
        return false;
    regs.fs_base = own.fs_base;
    regs.gs_base = own.gs_base;
    regs.rip = injection->code.call;
    regs.rax = call->number;
    regs.orig_rax = ~0ull; /* or the kernel might take it for one to begin again */
    regs.rdi = call->arguments[0];
    regs.rsi = call->arguments[1];
    regs.rdx = call->arguments[2];
    regs.r10 = call->arguments[3];
    regs.r8 = regs.r9 = 0;
    regs.rsp = call->stack;
    injection->is_moved |= tid == injection->thread.tid;
    return ptrace(PTRACE_SETREGS, tid, NULL, &regs) == 0 &&
           ptrace(PTRACE_SETSIGMASK, tid, sizeof(all), &all) == 0;
}

/* At the exit of the call.  False: a stop signal came in between, the kernel makes it again. */
static bool is_done(pid_t tid, struct call_result *result, uint64_t began_ns)
{
    struct user_regs_struct regs = {0};
    if (ptrace(PTRACE_GETREGS, tid, NULL, &regs) != 0)
        return false; /* the next request finds that it is gone */
    result->value = (int64_t)regs.rax;
    if (!result->ns)
        result->ns = pause_now_ns() - began_ns;
    return result->value != -ERESTARTNOINTR;
}

bool injection_call(struct injection *injection, pid_t tid, const struct system_call *call,
                    struct call_result *result)
{
    bool entered = false;
    uint64_t began_ns = 0;
    int status, signal_number = 0;
    *result = (struct call_result){0};
    if (!set_call(injection, tid, call))
        return error_gone(injection);
    for (;;) {
        if (ptrace(PTRACE_SYSCALL, tid, NULL, (void *)(intptr_t)signal_number) != 0)
            return error_gone(injection);
        if (!injection_await(injection, tid, &status))
            return false;
        int kind = status >> 8;
        signal_number = 0;
        if (kind == IN_CALL && !entered) {
            entered = true;
            began_ns = pause_now_ns();
        } else if (kind == IN_CALL) {
            if (is_done(tid, result, began_ns))
                return true;
            entered = false;
        } else if (kind == CLONED) {
            unsigned long child = 0;
            ptrace(PTRACE_GETEVENTMSG, tid, NULL, &child);
            result->child = (pid_t)child;
            result->ns = pause_now_ns() - began_ns;
        } else if (kind >> 8 == 0) { /* a signal that cannot be masked, on its way */
            signal_number = kind;
        }
    }
}

/* To the stop that was asked for, on the way to user mode. */
static bool await_interrupt(struct injection *injection, pid_t tid)
{
    int status;
    while (injection_await(injection, tid, &status)) {
        if (status >> 16 == PTRACE_EVENT_STOP)
            return true;
        intptr_t signal_number = status >> 16 ? 0 : status >> 8 & 0x7f;
        ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
        ptrace(PTRACE_CONT, tid, NULL, (void *)signal_number);
    }
    return false;
}

bool injection_interrupt(struct injection *injection, pid_t tid)
{
    if (ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) != 0)
        return error_gone(injection);
    return await_interrupt(injection, tid);
}

bool injection_end(struct injection *injection)
{
    struct thread_state *thread = &injection->thread;
    struct frames *frames = &injection->frames;
    if (!injection->is_begun)
        return true;
    injection->is_begun = false;
    if (injection->is_moved && (ptrace(PTRACE_INTERRUPT, thread->tid, NULL, NULL) != 0 ||
                                ptrace(PTRACE_CONT, thread->tid, NULL, NULL) != 0))
        return error_gone(injection);
    if (injection->is_moved && !await_interrupt(injection, thread->tid))
        return false;
    if (injection->is_moved && (ptrace(PTRACE_SETSIGMASK, thread->tid, sizeof(thread->signal_mask),
                                       &thread->signal_mask) != 0 ||
                                ptrace(PTRACE_SETREGS, thread->tid, NULL, &thread->regs) != 0))
        return error_gone(injection);
    ptrace(PTRACE_SETOPTIONS, thread->tid, NULL, 0);
    put(thread->tid, frames->before, frames->addr, frames->nr_bytes);
    return true;
}
