/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "recorder/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "recorder/manners.h"

/* --- packets with files -------------------------------------------------------------------------- */

struct packet {
    struct msghdr message;
    struct iovec part;
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(HELPER_MAX_FILES * sizeof(int))];
};

static bool send_packet(int fd, const void *bytes, size_t size, const int *files, uint32_t nr_files)
{
    struct packet packet = {.part = {(void *)bytes, size}};
    packet.message = (struct msghdr){.msg_iov = &packet.part, .msg_iovlen = 1};
    if (nr_files) {
        packet.message.msg_control = packet.control;
        packet.message.msg_controllen = CMSG_SPACE(nr_files * sizeof(int));
        struct cmsghdr *header = CMSG_FIRSTHDR(&packet.message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(nr_files * sizeof(int));
        memcpy(CMSG_DATA(header), files, nr_files * sizeof(int));
    }
    ssize_t sent;
    while ((sent = sendmsg(fd, &packet.message, MSG_NOSIGNAL)) < 0 && errno == EINTR)
        continue;
    return sent == (ssize_t)size;
}

/* How many files came with it; -1: no whole packet, the other end is gone. */
static int receive_packet(int fd, void *bytes, size_t size, int files[HELPER_MAX_FILES])
{
    struct packet packet = {.part = {bytes, size}};
    packet.message = (struct msghdr){.msg_iov = &packet.part,
                                     .msg_iovlen = 1,
                                     .msg_control = packet.control,
                                     .msg_controllen = sizeof(packet.control)};
    ssize_t got;
    while ((got = recvmsg(fd, &packet.message, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR)
        continue;
    int nr = 0;
    for (struct cmsghdr *header = got > 0 ? CMSG_FIRSTHDR(&packet.message) : NULL; header;
         header = CMSG_NXTHDR(&packet.message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        nr = (int)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(files, CMSG_DATA(header), (size_t)nr * sizeof(int));
    }
    return got == (ssize_t)size ? nr : -1;
}

/* --- the helper ---------------------------------------------------------------------------------- */

/* Memory that ends, ends us before the program. */
static void come_last(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (write(fd, "800", 3) != 3)
        errno = 0; /* it is only a wish */
    close(fd);
    sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){0});
}

NO_RETURN static void work(const struct helper *helper, int fd)
{
    void *state = NULL;
    struct helper_question question;
    int files[HELPER_MAX_FILES], nr;
    while ((nr = receive_packet(fd, &question, sizeof(question), files)) >= 0) {
        struct helper_answer answer = {.file = -1};
        question.nr_files = (uint32_t)nr;
        memcpy(question.files, files, sizeof(files));
        helper->answer(&question, &answer, &state);
        for (int i = 0; i < nr; i++)
            if (question.files[i] >= 0)
                close(question.files[i]);
        if (!send_packet(fd, &answer, sizeof(answer), &answer.file, answer.file >= 0))
            break;
        if (answer.file >= 0)
            close(answer.file);
    }
    _exit(0);
}

NO_RETURN static void begin(const struct helper *helper, int fd, pid_t recorder)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != recorder)
        _exit(0);
    char name[16];
    snprintf(name, sizeof(name), "asyncmem-%s", helper->name);
    prctl(PR_SET_NAME, name);
    manners_leave_files(false, false);
    signal(SIGBUS, SIG_DFL);
    /* Nothing of the recorder's stays open here: others wait for the ends of its files. */
    if (dup2(fd, STDERR_FILENO + 1) < 0 ||
        syscall(SYS_close_range, STDERR_FILENO + 2, ~0u, 0u) != 0)
        _exit(1);
    come_last();
    work(helper, STDERR_FILENO + 1);
}

/* --- the recorder -------------------------------------------------------------------------------- */

static bool start(struct helper *helper)
{
    int ends[2];
    if (helper->pid)
        return true;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return false;
    pid_t recorder = getpid(), pid = fork();
    if (pid == 0)
        begin(helper, ends[0], recorder);
    close(ends[0]);
    if (pid < 0) {
        close(ends[1]);
        return false;
    }
    helper->pid = pid;
    helper->pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
    helper->fd = ends[1];
    return true;
}

void helper_end(struct helper *helper)
{
    if (!helper->pid)
        return;
    /* By the file, as the number may be somebody else's by now. */
    if (helper->pid_fd >= 0) {
        syscall(SYS_pidfd_send_signal, helper->pid_fd, SIGKILL, NULL, 0);
        close(helper->pid_fd);
    }
    close(helper->fd);
    helper->pid = 0;
    helper->is_busy = false;
}

bool helper_ask(struct helper *helper, const struct helper_question *question)
{
    bool is_sent = false;
    /* Twice: it may have been killed since we looked. */
    for (int i = 0; i < 2 && !is_sent; i++) {
        if (helper->is_busy || !start(helper))
            return false;
        is_sent = send_packet(helper->fd, question, sizeof(*question), question->files,
                              question->nr_files);
        if (!is_sent)
            helper_end(helper);
    }
    if (!is_sent)
        return false;
    helper->asked_ns = clock_ns(CLOCK_MONOTONIC);
    helper->is_busy = true;
    return true;
}

void helper_take(struct helper *helper, struct helper_answer *answer)
{
    int files[HELPER_MAX_FILES];
    int nr = receive_packet(helper->fd, answer, sizeof(*answer), files);
    if (nr < 0) {
        *answer = (struct helper_answer){.file = -1};
        snprintf(answer->message, sizeof(answer->message),
                 "asyncmem's own process for it (asyncmem-%s) has ended: out of memory, or a fault "
                 "of asyncmem",
                 helper->name);
        helper_end(helper);
        return;
    }
    answer->file = nr ? files[0] : -1;
    answer->message[sizeof(answer->message) - 1] = 0;
    helper->is_busy = false;
}
