/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the recorder changes of its own process, so that the program finds everything as it would without it:
 * signals (all blocked and read from a file descriptor), limits, standard files that are closed.
 */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>

#include "base/attributes.h"

enum { NR_MANNERS_LIMITS = 4 };

struct manners {
    int signal_fd; /* of all signals; -1: none could be had */
    sigset_t mask;
    struct sigaction pipe, xfsz, chld;
    struct rlimit limits[NR_MANNERS_LIMITS];
};

void manners_begin(struct manners *manners);
/* In the child, before exec: all as it was. */
void manners_restore(const struct manners *manners);
/* Standard input and output are the program's alone from now on: who waits for their end shall not wait for us. */
void manners_leave_files(bool keeps_stdout, bool keeps_stderr);
