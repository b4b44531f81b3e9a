/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "recorder/manners.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* A memfd counts as a file for the first, the region's place counts for the second: as much as may be had.  A core of ours
 * would hold the region. */
static const struct {
    int resource;
    bool is_raised; /* to the most that is allowed; else none at all */
} limits[NR_MANNERS_LIMITS] = {
    {RLIMIT_FSIZE, true}, {RLIMIT_AS, true}, {RLIMIT_NOFILE, true}, {RLIMIT_CORE, false}};

/* Closed standard files are filled until exec: else a socket of ours could be what somebody prints to. */
static void fill_standard_files(void)
{
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
            open("/dev/null", O_RDWR | O_CLOEXEC) > STDERR_FILENO)
            return;
}

static void ignore(int signal_number, struct sigaction *old, __sighandler_t handler)
{
    struct sigaction action = {.sa_handler = handler};
    sigaction(signal_number, &action, old);
}

void manners_begin(struct manners *manners)
{
    sigset_t all;
    fill_standard_files();
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &manners->mask);
    ignore(SIGPIPE, &manners->pipe, SIG_IGN);
    ignore(SIGXFSZ, &manners->xfsz, SIG_IGN);
    ignore(SIGCHLD, &manners->chld, SIG_DFL); /* ignored, it would take the program's status away */
    manners->signal_fd = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
    for (int i = 0; i < NR_MANNERS_LIMITS; i++) {
        getrlimit(limits[i].resource, &manners->limits[i]);
        rlim_t most = manners->limits[i].rlim_max;
        const struct rlimit ours = {limits[i].is_raised ? most : 0, most};
        setrlimit(limits[i].resource, &ours);
    }
}

void manners_restore(const struct manners *manners)
{
    for (int i = 0; i < NR_MANNERS_LIMITS; i++)
        setrlimit(limits[i].resource, &manners->limits[i]);
    sigaction(SIGPIPE, &manners->pipe, NULL);
    sigaction(SIGXFSZ, &manners->xfsz, NULL);
    sigaction(SIGCHLD, &manners->chld, NULL);
    sigprocmask(SIG_SETMASK, &manners->mask, NULL);
}

void manners_leave_files(bool keeps_stdout, bool keeps_stderr)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0)
        return;
    dup3(null, STDIN_FILENO, O_CLOEXEC);
    if (!keeps_stdout)
        dup3(null, STDOUT_FILENO, O_CLOEXEC);
    if (!keeps_stderr)
        dup3(null, STDERR_FILENO, O_CLOEXEC);
    close(null);
}
