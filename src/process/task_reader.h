/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * All that is read from a target, in order: a scan for candidate cells while it runs; the pause;
 * cells, runtimes, await trees and stacks, of a traced one its live table; the target goes on.  The stages before: target, plans.  The
 * stage after: model/snapshot_build, which needs the target no more.
 */
#pragma once

#include "process/heap_account.h"
#include "process/stacks.h"

struct task_reader {
    struct target *target;
    struct process_plan *plans;
    size_t nr_plans;
    struct task_cells cells;
    struct reading reading;
    struct task_futures futures;
    struct stacks stacks;
    struct heap_account heap;
    struct traced_blocks traced; /* of a target that runs under `asyncmem run` */
    uint64_t stop_ns;            /* how long the target stood still; 0 for a core */
    size_t nr_threads;           /* while it stood still */
    int64_t taken_at_ns;         /* since 1970 */
};

/*
 * `plans[i]` is that of `images[i]`.  ERROR_TARGET when the target could not be stopped; it goes
 * on then.  task_reader_deinit in any case.
 */
struct task_request {
    const struct target_image *const *images;
    const struct plan *const *plans;
    size_t nr_plans;
    struct heap_options heap;
    const struct region_view
        *region; /* of a traced run, from its recorder; NULL: it is looked for */
};
MUST_CHECK bool task_reader_read(struct task_reader *reader, struct target *target,
                                 const struct task_request *request, struct error *err);
void task_reader_deinit(struct task_reader *reader);
