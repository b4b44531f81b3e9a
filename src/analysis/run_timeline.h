/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The timeline in as many columns as a screen has.  A column has of each quantity the most in its part of
 * the time, so that no peak is lost; parts in which no step was taken go on as the one before.
 */
#pragma once

#include "model/run.h"

struct run_column {
    uint64_t live_bytes, rss_bytes, live_tasks;
    uint32_t step; /* id of the step with the most live bytes; 0: none is in this part */
};

struct run_timeline {
    struct run_column *columns;
    size_t nr;
    uint64_t end_ns; /* the last step's time */
    /* The largest of any step: ids of the first that has it; 0: there is none. */
    uint32_t most_bytes, most_tasks;
};

void run_timeline_init(struct run_timeline *timeline, const struct run *run, size_t nr_columns);
void run_timeline_deinit(struct run_timeline *timeline);

/* Of a step: the row of RUN_STEP_TYPES with the most bytes but `nr` others; NULL: there are no more. */
struct run_step_tops {
    uint32_t *first; /* by step id: position + 1 in `order` */
    uint32_t *order; /* positions of RUN_STEP_TYPES by step, then most bytes first */
    size_t nr;
};
void run_step_tops_init(struct run_step_tops *tops, const struct run *run);
void run_step_tops_deinit(struct run_step_tops *tops);
const struct run_step_type *run_step_top(const struct run_step_tops *tops, const struct run *run,
                                         uint32_t step, size_t nr);
