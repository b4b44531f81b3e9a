/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Recordings of runs that never were: random, but consistent as those of the recorder are (model/run_build.h):
 * facts are sums of types, types of tasks and what was folded, sites and what is left add up to the facts.
 * Names have no digits, so that every number in a report is a figure.
 */
#pragma once

#include "model/run.h"

struct run_sample_size {
    uint64_t seed;
    uint32_t nr_types; /* of tasks; threads' come besides */
    uint32_t nr_tasks, nr_sites, nr_steps;
    uint32_t depth;      /* of stacks, at most */
    uint32_t is_sampled; /* stacks are; figures of sites are estimates */
    uint32_t is_hostile; /* names with escapes, huge ones, none at all */
    uint32_t is_unknown; /* what can be unknown is */
    uint32_t has_snapshot;
};

/* Fills a run that is not initialised yet. */
void run_sample(struct run *run, const struct run_sample_size *size);
