/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The socket at which a traced program asks for its live region (recording/region_socket.h). */
#pragma once

#include <sys/types.h>

#include "base/error.h"

enum { SERVE_MAX_ASKERS = 64 };

/* A program that has its region; it may still say why it steps aside. */
struct serve_asker {
    int fd;
    pid_t pid;
};

struct serve {
    int fd;        /* -1: none */
    char name[64]; /* for the environment */
    struct serve_asker askers[SERVE_MAX_ASKERS];
    size_t nr_askers;
};

MUST_CHECK bool serve_open(struct serve *serve, struct error *err);
void serve_close(struct serve *serve);

/* Who asks: connection and process id; -1: nobody any more. */
int serve_accept(struct serve *serve, pid_t *pid, uid_t *uid);
/* Gives it the region; -1: there is none for it.  Takes the connection. */
void serve_answer(struct serve *serve, int connection, pid_t pid, int region_fd);
/* Of an asker whose connection is readable: its reason in `reason` ("": none); true when it is done. */
bool serve_listen(struct serve *serve, size_t asker, char *reason, size_t size);
