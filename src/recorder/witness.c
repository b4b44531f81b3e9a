/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "recorder/witness.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/attributes.h"
#include "process/proc.h"
#include "recorder/manners.h"

enum { LOOK_MS = 50, OWN_FD = STDERR_FILENO + 1, SIGNAL_FD };

static bool is_stopped(pid_t pid)
{
    return proc_thread_state(pid, pid) == 'T';
}

/* True when there is nothing more to watch. */
static bool look(pid_t recorder, pid_t program)
{
    if (!is_stopped(recorder))
        return true;
    if (is_stopped(program))
        return false;
    kill(recorder, SIGCONT);
    return true;
}

static void report(int signal_fd)
{
    struct signalfd_siginfo info;
    while (read(signal_fd, &info, sizeof(info)) == sizeof(info)) {
        const struct witness_report said = {info.ssi_signo, info.ssi_pid};
        send(OWN_FD, &said, sizeof(said), MSG_NOSIGNAL | MSG_DONTWAIT);
    }
}

/* The program's id comes twice: the second time we are surely stopped, or soon. */
NO_RETURN static void stand_by(pid_t recorder)
{
    struct pollfd files[] = {{OWN_FD, POLLIN, 0}, {SIGNAL_FD, POLLIN, 0}};
    pid_t watched = 0;
    bool was_stopped = false;
    for (;;) {
        poll(files, 2, watched ? LOOK_MS : -1);
        if (files[1].revents)
            report(SIGNAL_FD);
        if (files[0].revents) {
            ssize_t got = recv(OWN_FD, &watched, sizeof(watched), MSG_DONTWAIT);
            if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
                _exit(0);
            was_stopped = false;
        }
        was_stopped |= watched && is_stopped(recorder);
        if (was_stopped && look(recorder, watched))
            watched = 0;
    }
}

NO_RETURN static void begin(int fd, pid_t recorder)
{
    sigset_t all;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != recorder)
        _exit(0);
    prctl(PR_SET_NAME, "asyncmem-signal");
    manners_leave_files(false, false);
    sigfillset(&all);
    if (dup2(fd, OWN_FD) < 0 || syscall(SYS_close_range, OWN_FD + 1, ~0u, 0u) != 0 ||
        signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK) != SIGNAL_FD)
        _exit(1);
    stand_by(recorder);
}

void witness_start(struct witness *witness)
{
    int ends[2];
    *witness = (struct witness){.fd = -1};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return;
    pid_t recorder = getpid(), pid = fork();
    if (pid == 0)
        begin(ends[0], recorder);
    close(ends[0]);
    if (pid < 0) {
        close(ends[1]);
        return;
    }
    *witness = (struct witness){pid, ends[1]};
}

void witness_watch(const struct witness *witness, pid_t program)
{
    if (witness->fd >= 0)
        send(witness->fd, &program, sizeof(program), MSG_NOSIGNAL | MSG_DONTWAIT);
}

void witness_end(struct witness *witness)
{
    if (witness->fd >= 0)
        close(witness->fd); /* it ends by itself; whoever reaps orphans reaps it */
    *witness = (struct witness){.fd = -1};
}
