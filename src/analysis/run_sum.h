/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Sums over rows of a run.  Files are untrusted: a sum that would be too large stays at the largest
 * number that is not "unknown".  Orders are arrays of ids, biggest first, ties by id.
 */
#pragma once

#include <stdlib.h>

#include "base/memory.h"
#include "model/run_rows.h"

static inline void run_sum_add(uint64_t *sum, uint64_t value)
{
    if (__builtin_add_overflow(*sum, value, sum) || *sum == RUN_UNKNOWN)
        *sum = RUN_UNKNOWN - 1;
}

/* The same where values may be unknown: then the sum is. */
static inline void run_sum_add_known(uint64_t *sum, uint64_t value)
{
    if (*sum == RUN_UNKNOWN || value == RUN_UNKNOWN)
        *sum = RUN_UNKNOWN;
    else
        run_sum_add(sum, value);
}

static inline uint64_t run_sum_less(uint64_t whole, uint64_t part)
{
    return whole > part ? whole - part : 0;
}

/* Positions 0 to nr - 1 sorted by compare(a, b, context), an order of uint32_t; free(). */
static inline uint32_t *run_order(size_t nr, int (*compare)(const void *, const void *, void *),
                                  void *context)
{
    uint32_t *order = memory_alloc((nr + 1) * sizeof(*order));
    for (size_t i = 0; i < nr; i++)
        order[i] = (uint32_t)i;
    qsort_r(order, nr, sizeof(*order), compare, context);
    return order;
}

/* Biggest first; then by position. */
static inline int run_order_by(uint64_t a, uint64_t b, uint32_t a_at, uint32_t b_at)
{
    if (a != b)
        return a > b ? -1 : 1;
    return a_at < b_at ? -1 : a_at > b_at;
}
