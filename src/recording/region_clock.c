/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The region's two clocks.  `now_ns` is a word that the recorder writes every few ms: a load tells the time
 * well enough for blocks.  For polls the tracer reads the processor's time stamp counter, if it runs evenly
 * on all processors, by the rate that stands in `clocks`: first measured for 2 ms, then better and better
 * against CLOCK_MONOTONIC.  Two of them, of which one holds, so that none is changed while it is read.
 */
#include <time.h>

#include "recording/region.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <x86intrin.h>
#endif

enum {
    FIRST_NS = 2000000,      /* of measuring, at the start */
    LONGEST_NS = 2000000000, /* between two measurings */
    TRIES = 8,
};

static uint64_t monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

#if defined(__x86_64__)
static bool has_even_counter(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(0x80000007, &a, &b, &c, &d) && d & 1 << 8;
}

/* The counter and the clock at the same moment: the closest of some tries. */
static void read_both(uint64_t *tsc, uint64_t *ns)
{
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < TRIES; i++) {
        uint64_t before = __rdtsc();
        uint64_t now = monotonic_ns();
        uint64_t took = __rdtsc() - before;
        if (took >= best)
            continue;
        best = took;
        *tsc = before + took / 2;
        *ns = now;
    }
}
#else
static bool has_even_counter(void)
{
    return false;
}

static void read_both(uint64_t *tsc, uint64_t *ns)
{
    *tsc = 0;
    *ns = monotonic_ns();
}
#endif

/* A clock that is right now, at the mean rate since the first; the other one holds until it is whole. */
static void set_clock(struct region *region)
{
    struct region_header *header = region->header;
    uint64_t tsc, ns;
    read_both(&tsc, &ns);
    ns -= region->started_ns;
    uint64_t passed_tsc = tsc - region->first.base_tsc, passed_ns = ns - region->first.base_ns;
    if (!passed_tsc || !passed_ns)
        return;
    region->clock_index ^= 1;
    struct region_clock *clock = &header->clocks[region->clock_index];
    clock->base_tsc = tsc;
    clock->base_ns = ns;
    clock->mult = (uint64_t)(((unsigned __int128)passed_ns << 32) / passed_tsc);
    /* pairs with trace_now */
    __atomic_store_n(&header->clock_index, region->clock_index, __ATOMIC_RELEASE);
    region->next_clock_ns = ns + (passed_ns < LONGEST_NS ? passed_ns : LONGEST_NS);
}

void region_clock_begin(struct region *region)
{
    struct region_header *header = region->header;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    header->started_at_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    region->started_ns = header->started_ns = monotonic_ns();
    region->has_tsc = has_even_counter();
    header->has_tsc = region->has_tsc;
    if (!region->has_tsc)
        return;
    uint64_t ns;
    read_both(&region->first.base_tsc, &ns);
    region->first.base_ns = ns - region->started_ns;
    while (monotonic_ns() - ns < FIRST_NS)
        ;
    set_clock(region);
}

uint64_t region_clock_tick(struct region *region)
{
    uint64_t now = monotonic_ns() - region->started_ns;
    __atomic_store_n(&region->header->now_ns, now, __ATOMIC_RELAXED);
    if (region->has_tsc && now >= region->next_clock_ns)
        set_clock(region);
    return now;
}
