/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The time by the processor's counter, at the rate that the recorder measures (recording/region_clock.c). */
#include <time.h>
#include <x86intrin.h>

#include "tracer/tracer.h"

uint64_t trace_now(const struct tracer *tracer)
{
    const struct region_header *region = tracer->region;
    if (__builtin_expect(!tracer->has_tsc, 0)) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec - region->started_ns;
    }
    /* pairs with set_clock */
    uint32_t index = __atomic_load_n(&region->clock_index, __ATOMIC_ACQUIRE) & 1;
    const struct region_clock *clock = &region->clocks[index];
    /* The recorder read the counter on another processor, maybe a moment ahead of this one. */
    int64_t passed = (int64_t)(__rdtsc() - clock->base_tsc);
    if (passed < 0)
        passed = 0;
    return clock->base_ns + (uint64_t)((unsigned __int128)(uint64_t)passed * clock->mult >> 32);
}
