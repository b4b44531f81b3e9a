/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Which rows of a run --match and --task ask for.  A type matches by its names; a task by its type,
 * its thread and where it is; a site by a function or file of its stack, or its type.
 */
#pragma once

#include <stdbool.h>

#include "model/run.h"

struct run_filter {
    const char *match; /* part of a name or file, any case; NULL: all */
    uint64_t task;     /* its id; 0: all */
};

struct run_selection {
    /* By id - 1. */
    bool *types, *tasks, *sites, *awaits;
    bool is_all;
};

void run_selection_init(struct run_selection *selection, const struct run *run,
                        const struct run_filter *filter);
void run_selection_deinit(struct run_selection *selection);
