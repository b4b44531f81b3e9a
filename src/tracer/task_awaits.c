/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "tracer/tasks_part.h"
void task_read_await(struct tracer *tracer, struct task_call *call)
{
    (void)tracer;
    call->is_await_cut = true;
}
void task_count_await_end(struct tracer *tracer, const struct region_task *task)
{
    (void)tracer;
    (void)task;
}
