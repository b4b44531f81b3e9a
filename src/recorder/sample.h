/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The timeline of a traced program: ten looks a second at its sums.  A step is kept for each look until there are
 * 2000; then of each two the one with more live bytes, and from then on for twice as many looks one step.
 *
 * Beside it the live bytes of types, for those that were large at some look; reading all rows of tasks is done as
 * often as it costs no more than some percent of a processor.
 */
#pragma once

#include <sys/types.h>

#include "model/run_build.h"

enum {
    SAMPLE_PERIOD_MS = 100,
    SAMPLE_MAX_STEPS = 2000,
    SAMPLE_MAX_COLUMNS = 128, /* types of which values are kept */
    SAMPLE_SHOWN_TYPES = 10,
};

/* Of one type: live bytes at each step; RUN_UNKNOWN where they were not looked at. */
struct sample_column {
    uint32_t type;
    uint64_t peak_bytes;
    uint64_t *values; /* SAMPLE_MAX_STEPS of them */
};

struct sampler {
    struct run_step steps[SAMPLE_MAX_STEPS];
    size_t nr_steps;
    unsigned looks_a_step, looks; /* looks: already in the last step */
    struct sample_column columns[SAMPLE_MAX_COLUMNS];
    size_t nr_columns;
    uint64_t *type_bytes; /* by row of REGION_TYPES, of the last look */
    size_t nr_types, types_capacity;
    bool has_types;         /* the last look read the rows of tasks */
    uint64_t types_next_ns; /* not before */
    uint64_t peak_rss_bytes;
    pid_t pid;
};

void sampler_init(struct sampler *sampler, pid_t pid);
void sampler_deinit(struct sampler *sampler);
/* One look, `now_ns` in the region's times.  Returns the live bytes. */
uint64_t sampler_look(struct sampler *sampler, const struct region_view *view, uint64_t now_ns);

/* The values of the types that are largest at their peak; free().  By step, then type. */
struct run_build_step_type *sampler_step_types(const struct sampler *sampler, size_t *nr);
