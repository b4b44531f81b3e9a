/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What is still allocated at the end of a run: by who allocated it (a type of task, or threads outside of
 * tasks) and at which group of sites.  "Task zero" is all that was allocated outside of tasks: by root
 * futures (block_on), by the runtime's workers between tasks, by threads that are none of a runtime's.
 */
#pragma once

#include "analysis/run_sites.h"

struct run_left_group {
    uint32_t type;         /* id; 0: unknown */
    uint32_t group;        /* position of the group of sites + 1; 0: unknown */
    uint32_t kind;         /* enum run_kind of the type */
    uint32_t biggest_site; /* id: of which most is left; 0: unknown */
    uint64_t live_bytes, live_blocks;
};

struct run_left_sum {
    uint64_t live_bytes, live_blocks;
};

struct run_lefts {
    struct run_left_group *rows; /* most bytes first */
    size_t nr;
    struct run_left_sum sum; /* of all that is selected */
    struct run_left_sum kinds[NR_RUN_KINDS];
    struct run_left_sum task_zero; /* ROOT, WORKER, THREAD and what is of no type */
};

void run_lefts_init(struct run_lefts *lefts, const struct run *run,
                    const struct run_selection *selection, const struct run_site_groups *groups);
void run_lefts_deinit(struct run_lefts *lefts);

/*
 * What threads did outside of tasks.  A runtime's loops are tasks of the blocking pool, but nobody's work:
 * they count among the tasks, and what they allocate is task zero's.
 */
static inline bool run_kind_is_thread(uint32_t kind)
{
    return kind == RUN_KIND_ROOT || kind == RUN_KIND_WORKER || kind == RUN_KIND_THREAD;
}

static inline bool run_kind_has_tasks(uint32_t kind)
{
    return kind != RUN_KIND_ROOT && kind != RUN_KIND_THREAD;
}
