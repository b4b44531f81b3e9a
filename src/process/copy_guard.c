/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The guard is made by fork when the target is opened, while asyncmem is small.  It waits at a
 * socket, whose other end only asyncmem has.  When that closes without a farewell, asyncmem was killed: the
 * kernel ends the child then, and the guard makes the target reap it, as asyncmem would have done.
 *
 * Only targets that orphans are given to need it: pid 1 of a container, above all.
 */
#include "process/copy_guard.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "process/copy.h"
#include "process/proc.h"

enum { TRIES = 2000, TRY_MS = 2, FAREWELL = -1 };

struct news {
    pid_t child, inside; /* child FAREWELL: asyncmem ends */
};

bool copy_is_namespace_init(pid_t pid)
{
    struct text status;
    text_init(&status);
    proc_read(&status, "/proc/%d/status", (int)pid);
    const char *ids = proc_status_value(text_str(&status), "NSpid");
    size_t length = ids ? strcspn(ids, "\n") : 0;
    bool is_init = length && ids[length - 1] == '1' &&
                   (length == 1 || ids[length - 2] == '\t' || ids[length - 2] == ' ');
    text_deinit(&status);
    return is_init;
}

/* --- the guard ----------------------------------------------------------------------------------- */

/* Its number is nobody else's as long as it waits to be reaped. */
static bool is_there(int child_fd)
{
    return syscall(SYS_pidfd_send_signal, child_fd, 0, NULL, 0) == 0;
}

static void clean_up(pid_t target, pid_t inside, int child_fd)
{
    struct pollfd ended = {child_fd, POLLIN, 0};
    poll(&ended, 1, TRIES * TRY_MS);
    for (int i = 0; i < TRIES && is_there(child_fd); i++) {
        copy_reap_in_running(target, inside);
        nanosleep(&(struct timespec){0, TRY_MS * 1000000}, NULL);
    }
}

/* At the socket, which is its standard input; all other files are closed. */
NO_RETURN static void guard(pid_t target)
{
    struct news news = {0}, next;
    int child_fd = -1;
    ssize_t got;
    while ((got = read(STDIN_FILENO, &next, sizeof(next))) != 0) {
        if (got != sizeof(next))
            continue;
        if (next.child == FAREWELL)
            _exit(0);
        if (child_fd >= 0)
            close(child_fd);
        news = next;
        child_fd = news.child ? (int)syscall(SYS_pidfd_open, news.child, 0) : -1;
    }
    if (news.inside)
        clean_up(target, news.inside, child_fd);
    _exit(0);
}

/* --- asyncmem ------------------------------------------------------------------------------------ */

void copy_guard_start(struct target *target)
{
    int ends[2];
    sigset_t all, old;
    if (target->guard_pid || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pid_t pid = fork();
    if (pid == 0) {
        setsid(); /* what ends asyncmem from a terminal shall not end it, too */
        prctl(PR_SET_NAME, "asyncmem-guard");
        if (dup2(ends[0], STDIN_FILENO) < 0 || syscall(SYS_close_range, 1u, ~0u, 0u) != 0)
            _exit(1);
        guard(target->pid);
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    close(ends[0]);
    if (pid < 0) {
        close(ends[1]);
        return;
    }
    target->guard_pid = pid;
    target->guard_fd = ends[1];
}

void copy_guard_tell(int guard_fd, pid_t child, pid_t inside)
{
    struct news news = {child, inside};
    if (guard_fd) /* its end is no reason for ours: no SIGPIPE */
        while (send(guard_fd, &news, sizeof(news), MSG_NOSIGNAL) < 0 && errno == EINTR)
            continue;
}

void copy_guard_end(struct target *target)
{
    if (!target->guard_pid)
        return;
    copy_guard_tell(target->guard_fd, FAREWELL, 0);
    close(target->guard_fd);
    while (waitpid(target->guard_pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    target->guard_pid = target->guard_fd = 0;
}
