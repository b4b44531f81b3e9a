/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "recorder/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SEEN_NS = 2 * SIGNALS_WAIT_MS * 1000000 };

void signals_begin(struct signals *signals, pid_t program)
{
    *signals = (struct signals){.program = program};
    witness_start(&signals->witness);
}

void signals_end(struct signals *signals)
{
    witness_end(&signals->witness);
    signals->program = 0;
}

/*
 * To whom: what the program sends to its parent is for ours, who would be its parent without us.  Values of
 * queued signals go with them.
 */
static void pass(const struct signals *signals, const struct signalfd_siginfo *info)
{
    pid_t to = (pid_t)info->ssi_pid == signals->program ? getppid() : signals->program;
    if (to <= 0 || (to == 1 && to != signals->program))
        return;
    if (info->ssi_code == SI_QUEUE)
        sigqueue(to, (int)info->ssi_signo, (union sigval){.sival_ptr = (void *)info->ssi_ptr});
    else
        kill(to, (int)info->ssi_signo);
}

/* The kernel's own: of the terminal, which told the whole foreground group, or of a session's end. */
static void take_kernels(const struct signals *signals, const struct signalfd_siginfo *info)
{
    bool is_leaders = info->ssi_signo == SIGHUP || info->ssi_signo == SIGCONT;
    if (is_leaders && getsid(0) == getpid()) /* told the leader of the session alone: us */
        kill(signals->program, (int)info->ssi_signo);
}

static bool was_seen(const struct signals *signals, const struct signalfd_siginfo *info,
                     uint64_t now_ns)
{
    for (size_t i = 0; i < SIGNALS_MAX && i < signals->nr_seen; i++)
        if (signals->seen[i].report.signal == info->ssi_signo &&
            signals->seen[i].report.sender == info->ssi_pid &&
            now_ns - signals->seen[i].at_ns < SEEN_NS)
            return true;
    return false;
}

void signals_take(struct signals *signals, const struct signalfd_siginfo *info, uint64_t now_ns)
{
    if (!signals->program || (pid_t)info->ssi_pid == signals->witness.pid)
        return;
    if (info->ssi_code == SI_KERNEL)
        take_kernels(signals, info);
    else if (was_seen(signals, info, now_ns))
        return;
    else if (signals->witness.fd < 0 || signals->nr_pending == SIGNALS_MAX)
        pass(signals, info);
    else
        signals->pending[signals->nr_pending++] =
            (struct signals_pending){*info, now_ns + (uint64_t)SIGNALS_WAIT_MS * 1000000};
}

/* What waits and was seen by the witness, too, is forgotten. */
static void forget(struct signals *signals, const struct witness_report *report)
{
    size_t nr = 0;
    for (size_t i = 0; i < signals->nr_pending; i++) {
        const struct signalfd_siginfo *info = &signals->pending[i].info;
        if (info->ssi_signo != report->signal || info->ssi_pid != report->sender)
            signals->pending[nr++] = signals->pending[i];
    }
    signals->nr_pending = nr;
}

void signals_take_report(struct signals *signals, uint64_t now_ns)
{
    struct witness_report report;
    ssize_t got = recv(signals->witness.fd, &report, sizeof(report), MSG_DONTWAIT);
    if (got == 0) { /* it was killed: from now on all is passed on */
        witness_end(&signals->witness);
        return;
    }
    if (got != sizeof(report))
        return;
    forget(signals, &report);
    size_t at = signals->nr_seen++ % SIGNALS_MAX;
    signals->seen[at].report = report;
    signals->seen[at].at_ns = now_ns;
}

int signals_pass(struct signals *signals, uint64_t now_ns)
{
    size_t nr = 0;
    uint64_t next_ns = UINT64_MAX;
    for (size_t i = 0; i < signals->nr_pending; i++) {
        const struct signals_pending *pending = &signals->pending[i];
        if (pending->until_ns <= now_ns) {
            pass(signals, &pending->info);
            continue;
        }
        next_ns = pending->until_ns < next_ns ? pending->until_ns : next_ns;
        signals->pending[nr++] = *pending;
    }
    signals->nr_pending = nr;
    return nr ? (int)((next_ns - now_ns) / 1000000) + 1 : -1;
}

/* Only a shell with job control waits for stops; nobody would ever continue us elsewhere. */
static bool has_terminal(void)
{
    int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (fd >= 0)
        close(fd);
    return fd >= 0 && getsid(0) != getpid();
}

void signals_stop_too(struct signals *signals, int signal_number)
{
    if (signal_number != SIGTSTP && signal_number != SIGTTIN && signal_number != SIGTTOU)
        return;
    if (signals->witness.fd < 0 || !has_terminal())
        return;
    witness_watch(&signals->witness, signals->program);
    kill(getpid(), SIGSTOP);
}
