/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A plan made ready for one process: where the image lies, which types lead to futures, and what
 * is behind a vtable.  The stage before: plan and target.  Read-only after process_plan_init.
 */
#pragma once

#include "base/map.h"
#include "base/memory.h"
#include "plan/plan_walk.h"
#include "process/target.h"

struct process_plan {
    struct target_image image; /* a copy: the target's own move */
    const struct plan *plan;
    struct arena arena;
    struct walk_type *types;   /* by type id - 1 */
    struct walk_state *states; /* by row of plan->variants; of coroutines only */
    struct map vtables;        /* address in the file -> row + 1 of plan->vtables */
    struct map polls;          /* address in the file of a coroutine's poll -> row + 1 of futures */
};

void process_plan_init(struct process_plan *process_plan, const struct target_image *image,
                       const struct plan *plan);
void process_plan_deinit(struct process_plan *process_plan);
