/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The time where the processor's counter cannot be used: asked of the kernel. */
#include <time.h>

#include "tracer/tracer.h"

uint64_t trace_now_kernel(const struct tracer *tracer)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec - tracer->region->started_ns;
}
