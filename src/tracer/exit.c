/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The program's normal end: the last moment at which tasks that are still alive can be looked at.  The
 * recorder takes a snapshot while the exit waits for it.
 */
#include "tracer/ask.h"
#include "tracer/syscalls.h"
#include "tracer/tasks.h"

static bool has_live_tasks(const struct tracer *tracer)
{
    uint32_t nr = __atomic_load_n(&tracer->region->tables[REGION_TYPES].nr_rows, __ATOMIC_RELAXED);
    for (uint32_t type = 2; type < nr && type < tracer->region->tables[REGION_TYPES].max_rows;
         type++)
        if (__atomic_load_n(&tracer->types[type].live_tasks, __ATOMIC_RELAXED))
            return true;
    return false;
}

__attribute__((destructor)) static void at_exit(void)
{
    struct tracer *tracer = tracer_page;
    if (!tracer->ready || (uint32_t)sys_getpid() != tracer->pid)
        return;
    tasks_settle_all(tracer);
    if (has_live_tasks(tracer))
        ask_recorder(tracer, REGION_ASK_SNAPSHOT_EXIT);
    ask_copy_wait(tracer->region);
    __atomic_store_n(&tracer->region->state, REGION_EXITED, __ATOMIC_RELEASE);
}
