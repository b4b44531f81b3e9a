/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The last look before a runtime drops its tasks: asks the recorder for a snapshot of this process and
 * waits for it, so that a program's normal end still shows who held what.
 *
 * A runtime drops its tasks one after the other, and programs drop runtimes and LocalSets all the time.
 * So it is asked for the first task only, and again after a pause that grows with what the last one took.
 * The wait ends when the recorder's clock stands still: then it is gone.
 */
#include "tracer/tasks_part.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PAUSE_NS 1000000000u
#define CLOCK_DEAD_NS 500000000u
enum { PAUSE_FACTOR = 20, WAIT_STEP_NS = 50000000 };

static uint64_t next_ns; /* atomic; not before */

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void wait_answer(struct region_header *region, uint32_t answered)
{
    const struct timespec step = {.tv_nsec = WAIT_STEP_NS};
    uint64_t began_ns = now_ns(), moved_ns = began_ns, clock = 0;
    while (__atomic_load_n(&region->answered, __ATOMIC_ACQUIRE) == answered) {
        uint64_t now = now_ns();
        uint64_t present = __atomic_load_n(&region->now_ns, __ATOMIC_RELAXED);
        if (present != clock)
            moved_ns = now;
        clock = present;
        if (now - moved_ns > CLOCK_DEAD_NS ||
            now - began_ns > (uint64_t)REGION_SNAPSHOT_WAIT_MS * 1000000u)
            return;
        syscall(SYS_futex, &region->answered, FUTEX_WAIT, answered, &step, NULL, 0);
    }
}

static void ask(struct region_header *region)
{
    int saved_errno = errno;
    uint32_t nothing = REGION_ASK_NOTHING, asked = REGION_ASK_SNAPSHOT_SHUTDOWN;
    uint32_t answered = __atomic_load_n(&region->answered, __ATOMIC_ACQUIRE);
    if (__atomic_compare_exchange_n(&region->asked, &nothing, asked, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_RELAXED)) {
        syscall(SYS_futex, &region->asked, FUTEX_WAKE, 1, NULL, NULL, 0);
        wait_answer(region, answered);
        __atomic_compare_exchange_n(&region->asked, &asked, nothing, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_RELAXED);
    }
    errno = saved_errno;
}

void task_ask_snapshot(struct tracer *tracer, const struct task_vtable *vtable)
{
    uint64_t now = trace_now_coarse(tracer);
    uint64_t next = __atomic_load_n(&next_ns, __ATOMIC_RELAXED);
    /* While it is asked nobody else does. */
    if (vtable->is_blocking || now < next ||
        !__atomic_compare_exchange_n(&next_ns, &next, UINT64_MAX, false, __ATOMIC_RELAXED,
                                     __ATOMIC_RELAXED))
        return;
    ask(tracer->region);
    uint64_t took = trace_now_coarse(tracer) - now;
    __atomic_store_n(&next_ns, now + took + PAUSE_NS + took * PAUSE_FACTOR, __ATOMIC_RELAXED);
}
