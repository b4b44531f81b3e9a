/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Sites by the place that a person can change: the user's own innermost frame and, where that called
 * another crate, the frame of that crate which allocates (the innermost outside of alloc, core and std).
 * Stacks that differ elsewhere are one group.  Where no stacks were taken a group is a type.
 */
#pragma once

#include "analysis/run_select.h"
#include "analysis/run_stacks.h"

struct run_site_group {
    struct run_stack_frame own, outside; /* place 0: none */
    uint32_t biggest;                    /* id of the site that allocated most of it */
    uint32_t type;                       /* of all its sites; 0: of several, or none */
    uint32_t kind;                       /* enum run_kind of all; RUN_KIND_UNKNOWN: several */
    uint32_t nr_stacks;
    uint64_t allocations, allocated_bytes, frees, freed_bytes, temporary;
    uint64_t live_bytes, live_blocks;
    uint64_t peak_bytes;  /* RUN_UNKNOWN */
    uint64_t error_bytes; /* of allocated_bytes, one standard deviation; 0: exact */
};

struct run_site_groups {
    struct run_site_group *rows;
    size_t nr;
    uint32_t *of_site; /* of each site: position + 1; 0: it is not selected */
    /* Positions, biggest first. */
    uint32_t *by_allocated, *by_temporary;
    struct run_site_group sum; /* of all selected sites */
    bool is_sampled;
};

void run_site_groups_init(struct run_site_groups *groups, const struct run_stack_parts *code,
                          const struct run_selection *selection);
void run_site_groups_deinit(struct run_site_groups *groups);
