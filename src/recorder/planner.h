/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The helper that compiles plans of images with tasks, in the background, and puts them where the tracer finds them
 * (region_image.plan_offset).  The tracer reads await trees by them.
 */
#pragma once

#include "recorder/helper.h"
#include "recording/region.h"

struct planner_question {
    uint32_t
        image; /* row of REGION_IMAGES; 0: only see to it that the plan of the file, which comes in place of the
                      * region, is in the cache */
    uint32_t pid;    /* that has it loaded */
    uint64_t offset; /* where REGION_PLANS is free */
};

/* Of struct helper: the file is the region's.  The answer's number 0: where REGION_PLANS is free now. */
void planner_answer(const struct helper_question *question, struct helper_answer *answer,
                    void **state);
