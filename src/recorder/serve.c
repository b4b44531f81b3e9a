/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "recorder/serve.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "recording/region_socket.h"

enum { BACKLOG = 128 };

/* Nobody can have taken a name that nobody can guess. */
static bool make_name(struct serve *serve)
{
    uint64_t random[2];
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return false;
    snprintf(serve->name, sizeof(serve->name), "asyncmem-%016llx%016llx",
             (unsigned long long)random[0], (unsigned long long)random[1]);
    return true;
}

bool serve_open(struct serve *serve, struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    *serve = (struct serve){.fd = -1};
    if (make_name(serve))
        serve->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    size_t length = strlen(serve->name);
    memcpy(address.sun_path + 1, serve->name, length);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
    if (serve->fd >= 0 && bind(serve->fd, (struct sockaddr *)&address, size) == 0 &&
        listen(serve->fd, BACKLOG) == 0)
        return true;
    error_set(err, ERROR_TARGET, "no socket for the tracer: %s", strerror(errno));
    serve_close(serve);
    return false;
}

void serve_close(struct serve *serve)
{
    if (serve->fd >= 0)
        close(serve->fd);
    for (size_t i = 0; i < serve->nr_askers; i++)
        close(serve->askers[i].fd);
    serve->fd = -1;
    serve->nr_askers = 0;
}

int serve_accept(struct serve *serve, pid_t *pid, uid_t *uid)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);
    int fd = accept4(serve->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return -1;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
        peer = (struct ucred){0};
    *pid = peer.pid;
    *uid = peer.uid;
    return fd;
}

static void send_hello(int connection, int region_fd)
{
    const struct region_hello hello = {REGION_HELLO_VERSION, region_fd >= 0};
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec part = {(void *)&hello, sizeof(hello)};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (region_fd >= 0) {
        message.msg_control = control;
        message.msg_controllen = sizeof(control);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &region_fd, sizeof(int));
    }
    while (sendmsg(connection, &message, MSG_NOSIGNAL) < 0 && errno == EINTR)
        continue;
}

void serve_answer(struct serve *serve, int connection, pid_t pid, int region_fd)
{
    send_hello(connection, region_fd);
    if (region_fd < 0 || serve->nr_askers == SERVE_MAX_ASKERS) {
        close(connection);
        return;
    }
    serve->askers[serve->nr_askers++] = (struct serve_asker){connection, pid};
}

bool serve_listen(struct serve *serve, size_t asker, char *reason, size_t size)
{
    ssize_t got = recv(serve->askers[asker].fd, reason, size - 1, MSG_DONTWAIT);
    reason[got > 0 ? got : 0] = 0;
    if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR)))
        return false;
    close(serve->askers[asker].fd);
    serve->askers[asker] = serve->askers[--serve->nr_askers];
    return true;
}
