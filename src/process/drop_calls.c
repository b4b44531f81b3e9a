/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * System calls of drop code.  The copy has no files, and what others would see does not happen; the
 * answer is what the kernel would say, as far as that is known: which files are open is, in a living target.
 * Where it is not known the run is told that all went well, and that it asked (drop_doubt.h).
 *
 * Sources: syscalls(2), futex(2), eventfd(2).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "process/drop_run.h"

static enum emulator_answer answer(struct emulator *emulator, uint64_t result)
{
    emulator->registers[RAX] = result;
    return EMULATOR_ANSWERED;
}

static enum emulator_answer fail(struct emulator *emulator, int number)
{
    return answer(emulator, (uint64_t) - (int64_t)number);
}

static enum emulator_answer stop(struct drop_run *run, const char *reason)
{
    run->stop_reason = reason;
    return EMULATOR_STOP;
}

/* Nobody knows how it would end: well, or with `number`. */
static enum emulator_answer doubt(struct drop_run *run, uint64_t result, int number)
{
    run->has_asked_kernel = true;
    return run->circumstances.are_calls_refused ? fail(run->emulator, number)
                                                : answer(run->emulator, result);
}

static void file_path(const struct drop_run *run, uint64_t file, char *path, size_t size)
{
    const struct target *target = run->target;
    snprintf(path, size, "/proc/%d/fd/%d",
             (int)(target->memory_tid ? target->memory_tid : target->pid), (int)file);
}

/* A core does not tell. */
static bool is_open(const struct drop_run *run, uint64_t file)
{
    char path[64], name[8];
    file_path(run, file, path, sizeof(path));
    return run->target->is_core || readlink(path, name, sizeof(name)) >= 0 || errno != ENOENT;
}

/* By which threads are woken; it has room as a rule.  In a core: by what is written to one. */
static bool is_bell(const struct drop_run *run, uint64_t file, uint64_t size)
{
    static const char eventfd[] = "anon_inode:[eventfd]";
    char path[64], name[sizeof(eventfd)];
    if (size != sizeof(uint64_t) || run->target->is_core)
        return size == sizeof(uint64_t);
    file_path(run, file, path, sizeof(path));
    ssize_t length = readlink(path, name, sizeof(name));
    return length == sizeof(eventfd) - 1 && memcmp(name, eventfd, (size_t)length) == 0;
}

static enum emulator_answer answer_write(struct drop_run *run)
{
    const uint64_t file = run->emulator->registers[RDI], size = run->emulator->registers[RDX];
    if (!is_open(run, file))
        return fail(run->emulator, EBADF);
    /* What a program cannot say to its user it says nowhere. */
    if (file == STDOUT_FILENO || file == STDERR_FILENO || is_bell(run, file, size))
        return answer(run->emulator, size);
    return doubt(run, size, EIO);
}

static enum emulator_answer answer_fcntl(struct drop_run *run)
{
    if (!is_open(run, run->emulator->registers[RDI]))
        return fail(run->emulator, EBADF);
    if (run->emulator->registers[RSI] == F_GETFD)
        return doubt(run, FD_CLOEXEC, 0);
    return doubt(run, 0, EINVAL);
}

static enum emulator_answer answer_close(struct drop_run *run)
{
    if (run->target->is_core)
        return doubt(run, 0, EBADF);
    return is_open(run, run->emulator->registers[RDI]) ? answer(run->emulator, 0)
                                                       : fail(run->emulator, EBADF);
}

static enum emulator_answer answer_epoll(struct drop_run *run)
{
    return is_open(run, run->emulator->registers[RDX]) ? answer(run->emulator, 0)
                                                       : fail(run->emulator, EBADF);
}

static enum emulator_answer answer_futex(struct drop_run *run)
{
    switch (run->emulator->registers[RSI] & FUTEX_CMD_MASK) {
    case FUTEX_WAKE:
    case FUTEX_WAKE_BITSET:
    case FUTEX_WAKE_OP:
    case FUTEX_REQUEUE:
    case FUTEX_CMP_REQUEUE:
        return answer(run->emulator, 0);
    default:
        return stop(run, "it waits for a lock that a thread holds");
    }
}

/* Once is politeness; who goes on waits for something. */
static enum emulator_answer answer_yield(struct drop_run *run)
{
    enum { MAX_YIELDS = 4 };
    return ++run->nr_yields > MAX_YIELDS ? stop(run, "it waits for another thread")
                                         : answer(run->emulator, 0);
}

enum emulator_answer drop_answer_syscall(void *context, struct emulator *emulator, uint64_t number)
{
    struct drop_run *run = context;
    switch (number) {
    case SYS_futex:
        return answer_futex(run);
    case SYS_write:
    case SYS_sendto:
        return answer_write(run);
    case SYS_close:
        return answer_close(run);
    case SYS_epoll_ctl:
        return answer_epoll(run);
    case SYS_fcntl:
        return answer_fcntl(run);
    case SYS_shutdown:
        return doubt(run, 0, ENOTCONN);
    case SYS_unlink:
    case SYS_unlinkat:
        return doubt(run, 0, ENOENT);
    case SYS_kill:
        return doubt(run, 0, ESRCH);
    case SYS_munmap:
    case SYS_madvise:
        return answer(emulator, 0);
    case SYS_sched_yield:
    case SYS_nanosleep:
    case SYS_clock_nanosleep:
        return answer_yield(run);
    default:
        return stop(run, "it makes a system call whose answer is not known");
    }
}
