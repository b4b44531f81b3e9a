/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Was a signal meant for us alone, or for our whole process group or cgroup?  In the second case the
 * program has it already, and must not get it twice: many servers take a second SIGTERM for an order to give up.
 * The kernel does not tell; so a process of ours stands in the same group and says which signals it got, too.
 *
 * It also wakes us where we stopped together with the program (ctrl-Z) and only the program was continued.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

struct witness {
    pid_t pid; /* 0: none */
    int fd;    /* readable: a struct witness_report */
};

struct witness_report {
    uint32_t signal;
    uint32_t sender;
};

void witness_start(struct witness *witness);
void witness_end(struct witness *witness);
/* From now on: when `program` runs and we are stopped, SIGCONT comes to us. */
void witness_watch(const struct witness *witness, pid_t program);
