/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The program's normal end: the last moment at which tasks that are still alive can be looked at.  The
 * recorder takes a snapshot while the exit waits for it.
 */
#include "tracer/ask.h"
#include "tracer/syscalls.h"
#include "tracer/tasks.h"

__attribute__((destructor)) static void at_exit(void)
{
    struct tracer *tracer = tracer_page;
    if (!tracer->ready || (uint32_t)sys_getpid() != tracer->pid)
        return;
    tasks_settle_all(tracer);
    if (__atomic_load_n(&task_nr_alive, __ATOMIC_RELAXED))
        ask_recorder(tracer, REGION_ASK_SNAPSHOT_EXIT);
    /* The recorder may be reading a copy that ends with the program. */
    ask_zero_wait(tracer->region, &tracer->region->snapshot_goes_on);
    __atomic_store_n(&tracer->region->state, REGION_EXITED, __ATOMIC_RELEASE);
}
