/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "recorder/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/text.h"
#include "recording/region_socket.h"

enum { STATUS_FAILED = 125, STATUS_CANNOT = 126, STATUS_NOT_FOUND = 127 };

#define PRELOAD "LD_PRELOAD="
#define SOCKET REGION_SOCKET_VARIABLE "="

/* The environment as it is, with the two variables; one block, free(). */
static char **make_environment(const struct spawn_request *request, struct text *preload,
                               struct text *socket)
{
    size_t nr = 0, nr_new = 0;
    while (environ[nr])
        nr++;
    char **environment = memory_alloc((nr + 3) * sizeof(*environment));
    const char *users = "";
    for (size_t i = 0; i < nr; i++) {
        if (request->library && str_starts_with(environ[i], PRELOAD))
            users = environ[i] + strlen(PRELOAD);
        else if (!request->library || !str_starts_with(environ[i], SOCKET))
            environment[nr_new++] = environ[i];
    }
    if (!request->library)
        return environment;
    text_printf(preload, PRELOAD "%s%s%s", request->library, *users ? ":" : "", users);
    text_printf(socket, SOCKET "%s", request->socket);
    environment[nr_new++] = preload->data;
    environment[nr_new++] = socket->data;
    return environment;
}

/*
 * systemd tells a service by its process id that sockets or a watchdog are meant for it (sd_listen_fds(3),
 * sd_watchdog_enabled(3), systemd.exec(5)).  What was meant for us is meant for the program.
 */
static void set_own_id(char **environment, pid_t was)
{
    static const char *const names[] = {"LISTEN_PID=", "WATCHDOG_PID=", "SYSTEMD_EXEC_PID="};
    enum { NR = sizeof(names) / sizeof(*names), BYTES = 40 };
    static char ours[NR][BYTES];
    for (unsigned n = 0; n < NR; n++) {
        char theirs[BYTES];
        snprintf(theirs, sizeof(theirs), "%s%d", names[n], (int)was);
        snprintf(ours[n], sizeof(ours[n]), "%s%d", names[n], (int)getpid());
        for (char **variable = environment; *variable; variable++)
            if (!strcmp(*variable, theirs))
                *variable = ours[n];
    }
}

/* Waits until the parent knows us, and becomes the program. */
NO_RETURN static void become_program(const struct spawn_request *request, char **environment,
                                     const int begin[2], int failure)
{
    char byte;
    close(begin[1]);
    while (read(begin[0], &byte, 1) < 0 && errno == EINTR)
        continue;
#ifdef PR_SET_PTRACER
    prctl(PR_SET_PTRACER, getppid(), 0, 0, 0); /* yama: snapshots are taken by a process of ours */
#endif
    set_own_id(environment, getppid());
    manners_restore(request->manners);
    execvpe(request->arguments[0], request->arguments, environment);
    int number = errno;
    if (write(failure, &number, sizeof(number)) != sizeof(number))
        number = 0;
    _exit(STATUS_FAILED);
}

static int explain(const char *program, int number, struct error *err)
{
    bool is_missing = number == ENOENT;
    error_set(err, ERROR_INPUT, "%s: %s%s", program, strerror(number),
              is_missing         ? "; check the name, and PATH"
              : number == EACCES ? "; is it executable?"
                                 : "");
    return is_missing ? STATUS_NOT_FOUND : STATUS_CANNOT;
}

int spawn_in_place(char **arguments, const struct manners *manners, struct error *err)
{
    manners_restore(manners);
    execvp(arguments[0], arguments);
    return explain(arguments[0], errno, err);
}

static pid_t fork_program(const struct spawn_request *request, char **environment,
                          const int begin[2], const int failure[2])
{
    pid_t pid = fork();
    if (pid == 0)
        become_program(request, environment, begin, failure[1]);
    close(begin[0]);
    close(failure[1]);
    if (pid > 0)
        request->born(request->context, pid);
    close(begin[1]);
    return pid;
}

pid_t spawn_program(const struct spawn_request *request, int *exit_status, struct error *err)
{
    int begin[2], failure[2], number = 0;
    struct text preload = {0}, socket = {0};
    *exit_status = STATUS_FAILED;
    if (pipe2(begin, O_CLOEXEC) != 0) {
        error_set(err, ERROR_TARGET, "the program cannot be started: %s", strerror(errno));
        return 0;
    }
    if (pipe2(failure, O_CLOEXEC) != 0) {
        error_set(err, ERROR_TARGET, "the program cannot be started: %s", strerror(errno));
        close(begin[0]);
        close(begin[1]);
        return 0;
    }
    char **environment = make_environment(request, &preload, &socket);
    pid_t pid = fork_program(request, environment, begin, failure);
    if (pid < 0) {
        error_set(err, ERROR_TARGET, "the program cannot be started: fork: %s", strerror(errno));
        pid = 0;
    } else if (read(failure[0], &number, sizeof(number)) == sizeof(number)) {
        *exit_status = explain(request->arguments[0], number, err);
        waitpid(pid, NULL, 0);
        pid = 0;
    }
    close(failure[0]);
    free(environment);
    text_deinit(&preload);
    text_deinit(&socket);
    return pid;
}
