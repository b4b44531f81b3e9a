/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Stands in for tracer/task_*.c until they are there: threads have rows, tasks do not. */
#include "tracer/tasks.h"

#pragma weak task_thread_begin
#pragma weak task_thread_end
#pragma weak tasks_hook_image
#pragma weak task_block_freed
#pragma weak task_foreign_free

uint32_t task_thread_begin(struct trace_thread *thread)
{
    struct region_header *region = tracer_page->region;
    uint32_t id = region_row_new(region, REGION_TASKS);
    if (!id)
        return 0;
    struct region_task *row = &tracer_page->tasks[id];
    row->kind = REGION_TASK_THREAD;
    row->type = 1;
    row->thread = thread->place;
    row->id = __atomic_fetch_add(&region->next_task_id, 1, __ATOMIC_RELAXED);
    return id;
}

void task_thread_end(struct trace_thread *thread)
{
    thread->own_task->end = REGION_END_THREAD;
}

uint32_t tasks_hook_image(struct tracer *tracer, uint32_t image, uintptr_t bias)
{
    (void)tracer;
    (void)image;
    (void)bias;
    return 0;
}

uint64_t task_block_freed(struct trace_thread *thread, struct region_live *entry, uintptr_t block,
                          uint32_t *owner_row)
{
    (void)thread;
    (void)block;
    (void)owner_row;
    return entry->owner >> 24 & (((uint64_t)1 << 36) - 1);
}

void task_foreign_free(struct trace_thread *thread, uint32_t row, uint64_t bytes)
{
    (void)thread;
    struct region_task *task = &tracer_page->tasks[row];
    __atomic_fetch_add(&task->foreign_freed_bytes, bytes, __ATOMIC_RELAXED);
    __atomic_fetch_sub(&task->hold, 1, __ATOMIC_RELAXED);
}
