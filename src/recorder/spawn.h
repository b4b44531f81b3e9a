/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The program's process: a child that finds everything as it would without asyncmem, but for two variables. */
#pragma once

#include <sys/types.h>

#include "base/error.h"
#include "recorder/manners.h"

struct spawn_request {
    char **arguments;    /* the program first; ended by NULL */
    const char *library; /* to preload; NULL: nothing */
    const char *socket;  /* name for REGION_SOCKET_VARIABLE */
    const struct manners *manners;
    /* Told the child's id before the program runs there. */
    void (*born)(void *context, pid_t pid);
    void *context;
};

/* What remains where no process can be made: becomes the program.  Returns only where that fails, as above. */
int spawn_in_place(char **arguments, const struct manners *manners, struct error *err);
/* Returns the child's id; 0: the program was not started, *exit_status as env(1) has it and err say why. */
pid_t spawn_program(const struct spawn_request *request, int *exit_status, struct error *err);
