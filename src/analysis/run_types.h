/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Types of tasks and tasks of a run in the order in which a reader wants them, and what was folded. */
#pragma once

#include "analysis/run_select.h"

/* What types count and RUN_TASKS does not have: rows that ended and hold nothing. */
struct run_folded {
    uint64_t tasks, polls, allocations, allocated_bytes, frees, freed_bytes;
};

struct run_types_order {
    uint32_t
        *types; /* selected ones, positions: most bytes at their peak, futures included, first */
    size_t nr_types;
    uint32_t *tasks; /* selected ones but threads, positions: most bytes now first, then peak */
    size_t nr_tasks;
    uint32_t *threads; /* the same of threads' rows */
    size_t nr_threads;
    uint64_t *peaks; /* by type id - 1: most of live_bytes at any step and at the end */
    struct run_folded folded;
};

void run_types_order_init(struct run_types_order *order, const struct run *run,
                          const struct run_selection *selection);
/* What a task of the type takes before it allocates anything: its cell, and its future where that is boxed. */
static inline uint64_t run_type_each_bytes(const struct run_type *type)
{
    uint64_t sum;
    if (type->cell_bytes == RUN_UNKNOWN || type->boxed_bytes == RUN_UNKNOWN ||
        __builtin_add_overflow(type->cell_bytes, type->boxed_bytes, &sum))
        return RUN_UNKNOWN;
    return sum;
}
void run_types_order_deinit(struct run_types_order *order);
