/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "model/task_kinds.h"

#include <string.h>

const char *task_kind_unknown_reason(const struct plan *plan, const struct plan_task *task)
{
    const char *reason = plan_string(plan, plan->facts->detail_reason);
    if (*reason)
        return reason;
    if (!task->future.v)
        return "the compiler merged its functions with those of another task";
    return task->cell.v ? "" : "the debug info has no layout of it, or several that may be its own";
}

const char *task_kind_future(const struct plan *plan, const struct plan_task *task)
{
    /* The loops of all worker threads are nearly one code: merged drop glue names any of them. */
    bool is_doubtful = task->kind == PLAN_TASK_WORKER && task->name_source == PLAN_NAME_DROP_GLUE;
    return is_doubtful ? "" : plan_string(plan, task->future);
}

void task_kind_behind_boxes(const char *raw, struct text *out)
{
    static const char box[] = "core::pin::Pin<alloc::boxed::Box<";
    static const char allocator[] = ", alloc::alloc::Global";
    size_t length = strlen(raw);
    while (str_starts_with(raw, box) && length > sizeof(box) + 1 && raw[length - 1] == '>' &&
           raw[length - 2] == '>') {
        raw += sizeof(box) - 1;
        length -= sizeof(box) - 1 + 2;
        if (length >= sizeof(allocator) &&
            memcmp(raw + length - (sizeof(allocator) - 1), allocator, sizeof(allocator) - 1) == 0)
            length -= sizeof(allocator) - 1;
    }
    text_append(out, raw, length);
}
