/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The last look before a runtime drops its tasks: asks the recorder for a snapshot of this process and
 * waits for it, so that a program's normal end still shows who held what.
 *
 * A runtime drops its tasks one after the other, and programs drop runtimes and LocalSets all the time.
 * So it is asked for the first task only, and again after a pause that grows with what the last one took.  Workers of a
 * runtime drop its tasks side by side: the others wait with the first.
 */
#include "tracer/ask.h"
#include "tracer/tasks_part.h"

#define PAUSE_NS 1000000000u
enum { PAUSE_FACTOR = 20 };

#define ASKING UINT64_MAX
static uint64_t next_ns; /* atomic; not before; ASKING: a thread asks now */

void task_ask_snapshot(struct tracer *tracer, const struct task_vtable *vtable)
{
    uint64_t now = trace_now_coarse(tracer);
    uint64_t next = __atomic_load_n(&next_ns, __ATOMIC_RELAXED);
    if (vtable->is_blocking || (now < next && next != ASKING))
        return;
    if (next == ASKING || !__atomic_compare_exchange_n(&next_ns, &next, ASKING, false,
                                                       __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
        ask_others_wait(tracer->region);
        return;
    }
    ask_recorder(tracer, REGION_ASK_SNAPSHOT_SHUTDOWN);
    uint64_t took = trace_now_coarse(tracer) - now;
    __atomic_store_n(&next_ns, now + took + PAUSE_NS + took * PAUSE_FACTOR, __ATOMIC_RELAXED);
}
