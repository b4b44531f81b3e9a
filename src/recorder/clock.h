/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The clock of the live regions: a thread that writes the time every 4 ms, and sees meanwhile whether a program asks
 * for something.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "recording/region.h"

enum { CLOCK_TICK_NS = 4000000, CLOCK_MAX_REGIONS = 256 };

struct clock {
    pthread_t thread;
    pthread_mutex_t lock; /* of the regions */
    struct region *regions[CLOCK_MAX_REGIONS];
    size_t nr_regions;
    int asked_fd; /* an eventfd: readable when a program asks (region_header.asked); -1: none */
    atomic_bool stops;
    bool runs;
};

MUST_CHECK bool clock_start(struct clock *clock, struct error *err);
void clock_stop(struct clock *clock);
/* False: too many.  The region must stay until clock_remove. */
bool clock_add(struct clock *clock, struct region *region);
void clock_remove(struct clock *clock, const struct region *region);
