/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The functions in the slots of task vtables: poll, schedule, shutdown.  Each gets the task's header, in
 * which the vtable is found, so three functions are enough for all types.
 *
 * A poll's beginning is the poller's alone, as tokio hands a task to one at a time.  Its end is not: as soon
 * as the task is idle the next thread may begin, so what is counted at the end is counted atomically.  The
 * cell may be gone by then; see task_rows.c: task_block_freed.  Polls nest (a blocking task runs a runtime, a
 * worker's loop is a task): what the thread counted for before is kept in the call.
 */
#include "tracer/tasks_part.h"

enum { SLOW_POLL_NS = 1000000 };

static inline __attribute__((always_inline)) struct trace_thread *
thread_here(const struct tracer *tracer)
{
    struct trace_thread *thread = trace_self;
    if (!tracer || !tracer->ready || !thread || !thread->ready ||
        __atomic_load_n(&tracer->region->stop_writing, __ATOMIC_RELAXED))
        return NULL;
    return thread;
}

static inline __attribute__((always_inline)) const struct task_vtable *
vtable_of(const struct task_header *header)
{
    const struct task_vtable *vtable = task_vtable_find(header->vtable);
    return __builtin_expect(vtable != NULL, 1) ? vtable : task_vtable_find_copy(header->vtable);
}

static inline void call_init(struct task_call *call, struct task_header *header,
                             const struct task_vtable *vtable)
{
    call->header = header;
    call->vtable = vtable;
    call->state = task_state(header);
    call->await = 0;
    call->flags = (struct task_call_flags){0};
}

/* From here on the thread counts for the row `id`. */
static void enter(struct trace_thread *thread, struct task_call *call, struct region_task *task,
                  uint32_t id)
{
    call->outer = thread->call;
    call->outer_task = thread->task;
    call->outer_task_id = thread->task_id;
    thread->call = call;
    thread->task = task;
    thread->task_id = id;
}

/* False: the program was forked, or the recorder wants silence: nothing more may be touched. */
static bool leave(const struct tracer *tracer, struct trace_thread *thread,
                  const struct task_call *call)
{
    if (!thread->ready)
        return false;
    thread->call = call->outer;
    thread->task = call->outer_task;
    thread->task_id = call->outer_task_id;
    return !__atomic_load_n(&tracer->region->stop_writing, __ATOMIC_RELAXED);
}

/* The last that the call does with the row: from here on another thread may free the cell and the row. */
static void let_go(struct trace_thread *thread, struct task_call *call)
{
    struct region_task *task = call->task;
    __atomic_fetch_add(task_exits(task), 1, __ATOMIC_RELEASE); /* pairs with task_block_freed */
    if (__builtin_expect(call->flags.is_cell_freed, 0))
        task_release(thread, task);
}

static __attribute__((noinline)) void see_end(struct tracer *tracer, const struct task_call *call)
{
    enum region_task_end end = task_end_of_call(call, task_state(call->header));
    if (end)
        task_note_end(tracer, call->task, end, call);
}

/* --- poll -------------------------------------------------------------------------------------- */

/* A poll that will not reach the future: its task was cancelled or has ended. */
static __attribute__((noinline)) void begin_cancel(struct tracer *tracer, struct task_call *call)
{
    call->task->polls_cancel++;
    if (!(call->state & (TASK_IS_RUNNING | TASK_IS_COMPLETE)))
        task_read_await(tracer, call);
}

static bool begin_poll(struct tracer *tracer, struct trace_thread *thread, struct task_call *call)
{
    struct region_thread *counts = thread->row;
    bool cancels = call->state & (TASK_IS_CANCELLED | TASK_IS_COMPLETE | TASK_IS_RUNNING);
    counts->polls++;
    *(cancels                     ? &counts->polls_cancel
      : call->vtable->is_blocking ? &counts->polls_blocking
                                  : &counts->polls_future) += 1;
    if (__builtin_expect(__atomic_load_n(&thread->maybe_cell, __ATOMIC_RELAXED) != 0, 0))
        task_settle(tracer, thread);
    uint32_t id = task_of_cell(tracer, call->header, call->vtable);
    if (__builtin_expect(!id, 0))
        return false;
    struct region_task *task = call->task = &tracer->tasks[id];
    call->began_ns = trace_now(tracer);
    call->nr_polls = task->polls + 1;
    __atomic_store_n(&task->polls, call->nr_polls, __ATOMIC_RELAXED);
    task->thread = thread->place;
    if (__builtin_expect(cancels, 0)) {
        begin_cancel(tracer, call);
    } else {
        task->last_poll_ns = call->began_ns;
        if (!task->first_poll_ns)
            task->first_poll_ns = call->began_ns;
    }
    enter(thread, call, task, id);
    return true;
}

static __attribute__((noinline)) void note_longest(struct region_task *task, uint64_t poll_ns)
{
    uint64_t longest = __atomic_load_n(&task->longest_poll_ns, __ATOMIC_RELAXED);
    while (longest < poll_ns &&
           !__atomic_compare_exchange_n(&task->longest_poll_ns, &longest, poll_ns, true,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
    if (poll_ns >= SLOW_POLL_NS)
        __atomic_fetch_add(&task->slow_polls, 1, __ATOMIC_RELAXED);
}

static void end_poll(struct tracer *tracer, struct trace_thread *thread, struct task_call *call)
{
    struct region_task *task = call->task;
    uint64_t poll_ns = trace_now(tracer) - call->began_ns;
    poll_ns = (int64_t)poll_ns < 0 ? 0 : poll_ns; /* the clock was adjusted */
    __atomic_fetch_add(&task->poll_ns, poll_ns, __ATOMIC_RELAXED);
    if (__builtin_expect(poll_ns >= SLOW_POLL_NS || poll_ns > task->longest_poll_ns, 0))
        note_longest(task, poll_ns);
    if (!call->flags.is_cell_freed && task_state(call->header) & TASK_IS_COMPLETE)
        see_end(tracer, call);
    let_go(thread, call);
}

void task_hook_poll(struct task_header *header)
{
    struct tracer *tracer = tracer_page;
    const struct task_vtable *vtable = vtable_of(header);
    struct trace_thread *thread = thread_here(tracer);
    if (__builtin_expect(!vtable, 0))
        return;
    if (__builtin_expect(!thread, 0)) {
        vtable->poll(header);
        return;
    }
    struct task_call call;
    call_init(&call, header, vtable);
    bool has_begun = begin_poll(tracer, thread, &call);
    vtable->poll(header);
    if (__builtin_expect(has_begun, 1) && leave(tracer, thread, &call))
        end_poll(tracer, thread, &call);
}

/* --- schedule ---------------------------------------------------------------------------------- */

void task_hook_schedule(struct task_header *header)
{
    struct tracer *tracer = tracer_page;
    const struct task_vtable *vtable = vtable_of(header);
    const struct trace_thread *thread = thread_here(tracer);
    uint32_t id = thread && vtable ? task_of_cell(tracer, header, vtable) : 0;
    if (id)
        __atomic_fetch_add(&tracer->tasks[id].scheduled, 1, __ATOMIC_RELAXED);
    if (vtable)
        vtable->schedule(header);
}

/* --- shutdown ---------------------------------------------------------------------------------- */

static bool begin_shutdown(struct tracer *tracer, struct trace_thread *thread,
                           struct task_call *call)
{
    uint32_t id = task_of_cell(tracer, call->header, call->vtable);
    if (!id)
        return false;
    call->task = &tracer->tasks[id];
    task_ask_snapshot(tracer, call->vtable);
    __atomic_fetch_sub(task_exits(call->task), 1, __ATOMIC_ACQUIRE);
    call->nr_polls = __atomic_load_n(&call->task->polls, __ATOMIC_RELAXED);
    call->state = task_state(call->header);
    __atomic_fetch_or(task_notes(call->task), TASK_NOTE_SHUTDOWN, __ATOMIC_RELAXED);
    if (call->state & (TASK_IS_RUNNING | TASK_IS_COMPLETE)) {
        /* It is another thread's, which will find it cancelled: nothing is dropped here. */
        enter(thread, call, thread->task, thread->task_id);
    } else {
        task_read_await(tracer, call);
        enter(thread, call, call->task, id);
    }
    return true;
}

void task_hook_shutdown(struct task_header *header)
{
    struct tracer *tracer = tracer_page;
    const struct task_vtable *vtable = vtable_of(header);
    struct trace_thread *thread = thread_here(tracer);
    if (!vtable)
        return;
    struct task_call call;
    call_init(&call, header, vtable);
    call.flags.is_shutdown = true;
    bool has_begun = thread && begin_shutdown(tracer, thread, &call);
    vtable->shutdown(header);
    if (!has_begun || !leave(tracer, thread, &call))
        return;
    if (!call.flags.is_cell_freed && task_state(header) & TASK_IS_COMPLETE)
        see_end(tracer, &call);
    let_go(thread, &call);
}
