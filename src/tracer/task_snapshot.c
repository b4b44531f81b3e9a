/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The last look before a runtime drops its tasks: asks the recorder for a snapshot of this process and
 * waits for it, so that a program's normal end still shows who held what.
 *
 * A runtime drops its tasks one after the other, and programs drop runtimes and LocalSets all the time.
 * So it is asked for the first task only, and again after a pause that grows with what the last one took;
 * before that only if more tasks are alive than the last time, and for a part of the time.  Workers of a
 * runtime drop its tasks side by side: the others wait with the first.
 */
#include "tracer/ask.h"
#include "tracer/syscalls.h"
#include "tracer/tasks_part.h"

#define PAUSE_NS 1000000000u
enum { PAUSE_FACTOR = 20 };

/* Atomic; who has set `is_asking` writes the others. */
static struct {
    uint32_t is_asking;
    uint64_t next_ns;  /* not before, unless more tasks are alive */
    uint64_t paid_ns;  /* what was asked until now is made up for then, PAUSE_FACTOR times */
    uint64_t nr_alive; /* the last time */
} asked;

static bool is_due(uint64_t now_ns)
{
    return now_ns >= __atomic_load_n(&asked.next_ns, __ATOMIC_RELAXED) ||
           (__atomic_load_n(&task_nr_alive, __ATOMIC_RELAXED) >
                __atomic_load_n(&asked.nr_alive, __ATOMIC_RELAXED) &&
            now_ns + PAUSE_NS >= __atomic_load_n(&asked.paid_ns, __ATOMIC_RELAXED));
}

static void ask(struct tracer *tracer, uint64_t now_ns)
{
    __atomic_store_n(&asked.nr_alive, __atomic_load_n(&task_nr_alive, __ATOMIC_RELAXED),
                     __ATOMIC_RELAXED);
    ask_recorder(tracer, REGION_ASK_SNAPSHOT_SHUTDOWN);
    uint64_t end_ns = trace_now(tracer), cost_ns = (end_ns - now_ns) * PAUSE_FACTOR;
    uint64_t paid_ns = asked.paid_ns > now_ns ? asked.paid_ns : now_ns;
    __atomic_store_n(&asked.next_ns, end_ns + PAUSE_NS + cost_ns, __ATOMIC_RELAXED);
    __atomic_store_n(&asked.paid_ns, paid_ns + cost_ns, __ATOMIC_RELAXED);
}

void task_ask_snapshot(struct tracer *tracer, const struct task_vtable *vtable)
{
    uint64_t now_ns = trace_now(tracer);
    bool is_asking = __atomic_load_n(&asked.is_asking, __ATOMIC_ACQUIRE);
    if (vtable->is_blocking || (!is_asking && !is_due(now_ns)))
        return;
    if (is_asking || __atomic_exchange_n(&asked.is_asking, 1, __ATOMIC_ACQUIRE)) {
        ask_zero_wait(tracer->region, &asked.is_asking);
        return;
    }
    if (is_due(now_ns))
        ask(tracer, now_ns);
    __atomic_store_n(&asked.is_asking, 0, __ATOMIC_RELEASE);
    sys_futex_wake(&asked.is_asking);
}
