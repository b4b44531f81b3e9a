/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What process/copy.c knows of a copied target; read by those who read its memory. */
#pragma once

#include <stdatomic.h>

#include "process/copy_memory.h"

struct pause;

struct copy_state {
    struct pause *pause; /* its holder keeps the child */
    pid_t target_pid;
    pid_t child;        /* as we see it */
    pid_t child_inside; /* as the target sees it, who has to reap it; 0: another process will */
    int target_fd, child_fd; /* pidfds */
    int memory_fd;
    uint64_t fork_ns;
    atomic_bool is_ending; /* we end the child, nobody else */
    atomic_bool is_lost;   /* the child has ended before */
    struct copy_memory memory;
};
