/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * How a task ended, from what its hooks saw: the state before and after the call in which it became
 * complete, and whether tokio caught a panic in it (task_panics.c).
 *
 * One case is not in the state: a task that was cancelled while it was being polled, and was complete when
 * the poll returned.  Did its future return before it could be dropped?  Then its output was stored, else
 * a JoinError: {its panic: none, the task's id}.  A JoinHandle may take that before the poll returns: so it is
 * looked at there, too.
 */
#include "tracer/tasks_part.h"

/* A JoinError's three words come after the stage's tag and the Result's, at most. */
enum { NR_STAGE_WORDS = 5 };

/* {id, null} or {null, undefined, id}: the compiler's order of JoinError's fields is not known. */
static bool holds_cancel_error(const struct task_vtable *vtable, const struct task_header *header)
{
    const uint64_t *words = (const uint64_t *)((const uint8_t *)header + vtable->id_offset);
    uint64_t nr = (vtable->trailer_offset - vtable->id_offset) / 8;
    for (uint64_t w = 1; w < nr && w <= NR_STAGE_WORDS; w++)
        if (words[w] == words[0] &&
            ((w + 1 < nr && words[w + 1] == 0) || (w >= 3 && words[w - 2] == 0)))
            return true;
    return false;
}

void task_end_read(struct region_task *task, const struct task_vtable *vtable,
                   const struct task_header *header)
{
    if (__atomic_load_n(&task->end, __ATOMIC_RELAXED) == REGION_END_NOT)
        __atomic_fetch_or(&task->notes,
                          holds_cancel_error(vtable, header) ? REGION_NOTE_CANCEL_ERROR
                                                             : REGION_NOTE_OUTPUT,
                          __ATOMIC_RELEASE); /* pairs with was_dropped */
}

/* Of a task that was cancelled while it was being polled. */
static bool was_dropped(const struct task_call *call)
{
    if (call->vtable->is_blocking)
        return false;
    /* First what lies there, then whether it was taken meanwhile. */
    bool holds = holds_cancel_error(call->vtable, call->header);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    uint64_t notes = __atomic_load_n(&call->task->notes, __ATOMIC_ACQUIRE);
    if (notes & (REGION_NOTE_OUTPUT | REGION_NOTE_CANCEL_ERROR))
        return notes & REGION_NOTE_CANCEL_ERROR;
    return holds;
}

static bool was_polled(const struct region_task *task)
{
    return __atomic_load_n(&task->polls, __ATOMIC_RELAXED) > task->polls_cancel;
}

enum region_task_end task_end_unseen(const struct region_task *task)
{
    return was_polled(task) ? REGION_END_DROPPED : REGION_END_NEVER_POLLED;
}

enum region_task_end task_end_of_call(const struct task_call *call, uint64_t state)
{
    struct region_task *task = call->task;
    bool was_shut_down = __atomic_load_n(&task->notes, __ATOMIC_RELAXED) & REGION_NOTE_SHUTDOWN;
    bool was_idle = !(call->state & (TASK_IS_RUNNING | TASK_IS_COMPLETE));
    if (!(state & TASK_IS_COMPLETE))
        return REGION_END_NOT;
    /* A poll began after this call of shutdown, or it was another's before: that one knows. */
    if (call->flags.is_shutdown &&
        (!was_idle || __atomic_load_n(&task->polls, __ATOMIC_RELAXED) != call->nr_polls))
        return REGION_END_NOT;
    if (!was_polled(task))
        return REGION_END_NEVER_POLLED;
    if (call->flags.has_panicked)
        return REGION_END_PANICKED;
    if (call->flags.is_shutdown || !was_idle)
        return REGION_END_DROPPED;
    if (call->state & TASK_IS_CANCELLED)
        return REGION_END_ABORTED;
    if (!(state & TASK_IS_CANCELLED) || !was_dropped(call))
        return REGION_END_FINISHED;
    return was_shut_down ? REGION_END_DROPPED : REGION_END_ABORTED;
}
