/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A sum of held bytes that knows what it is worth: exact only where every part is, else a bound;
 * unknown where nothing is known of any part.
 */
#pragma once

#include "model/snapshot.h"

struct held_sum {
    uint64_t bytes; /* of those that are known; never more than the truth */
    uint64_t nr_exact, nr_at_least, nr_unknown;
};

static inline void held_sum_add(struct held_sum *sum, uint32_t is, uint64_t bytes)
{
    uint64_t total;
    if (is == HELD_UNKNOWN || bytes == UINT64_MAX ||
        __builtin_add_overflow(sum->bytes, bytes, &total)) {
        sum->nr_unknown++;
        return;
    }
    sum->bytes = total;
    sum->nr_exact += is == HELD_EXACT;
    sum->nr_at_least += is == HELD_AT_LEAST;
}

static inline enum held_is held_sum_is(const struct held_sum *sum)
{
    if (!sum->nr_exact && !sum->nr_at_least)
        return HELD_UNKNOWN;
    return sum->nr_at_least || sum->nr_unknown ? HELD_AT_LEAST : HELD_EXACT;
}
