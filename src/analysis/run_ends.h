/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Tasks that did not run to their end: those that are still there, by future type and await point
 * (of rows of RUN_TASKS), and those that were aborted, dropped or panicked (of RUN_AWAIT_ENDS, which counts
 * the folded ones too).
 */
#pragma once

#include "analysis/run_select.h"

struct run_unfinished {
    uint32_t type;
    uint32_t await;   /* the place at which they wait: its innermost; 0: unknown */
    uint32_t example; /* position of the oldest in RUN_TASKS + 1 */
    uint64_t tasks, never_polled;
    uint64_t held_bytes;   /* of those that the last snapshot has; RUN_UNKNOWN: of none */
    uint64_t held_unknown; /* tasks of which it is not known */
    uint64_t live_bytes;   /* that they allocated */
    uint64_t cell_bytes;
    uint64_t oldest_ns, newest_ns; /* times of spawning; 0: unknown */
    uint64_t last_poll_ns;         /* the latest of any; 0: none was polled */
    uint64_t first_last_poll_ns;   /* of the one that was not polled for longest; 0: none was */
    run_str waits_for;
};

struct run_ended_early {
    uint32_t type;
    uint32_t await; /* 0: unknown */
    uint32_t end;   /* enum run_end */
    uint64_t tasks;
};

struct run_ends {
    struct run_unfinished *unfinished; /* most held first, then most cells, then most tasks */
    size_t nr_unfinished;
    uint64_t unfinished_tasks;
    struct run_ended_early *early; /* most tasks first */
    size_t nr_early;
    uint64_t early_tasks;
};

void run_ends_init(struct run_ends *ends, const struct run *run,
                   const struct run_selection *selection);
void run_ends_deinit(struct run_ends *ends);

/*
 * The await of a chain to show: the innermost that has a place of the user's own, or else the innermost with
 * a place; 0: none has.
 */
uint32_t run_await_shown(const struct run *run, uint32_t innermost);
