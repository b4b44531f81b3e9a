/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The functions in the slots of task vtables.  Each gets the task's header, in which the vtable is found, so one
 * function a slot is enough for all types.
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
    /* A thread's state is wiped with the tracer's by a fork. */
    if (!thread || !thread->ready ||
        __atomic_load_n(&tracer->region->stop_writing, __ATOMIC_RELAXED))
        return NULL;
    return thread;
}

static const struct task_vtable *find_vtable(const struct task_header *header)
{
    const struct task_vtable *vtable = task_vtable_find(header->vtable);
    return vtable ? vtable : task_vtable_find_copy(header->vtable);
}

static inline uint32_t *guess_of(struct trace_thread *thread, const struct task_header *header)
{
    enum { NR = sizeof(thread->cells) / sizeof(*thread->cells), CELL_ALIGN_LOG2 = 7 };
    return &thread->cells[((uintptr_t)header >> CELL_ALIGN_LOG2) % NR];
}

/* The task's row as the thread met it last; 0: to be looked up.  A row has the address of its cell only as long
 * as the cell lives, so this is never another task's. */
static inline uint32_t guess(const struct tracer *tracer, struct trace_thread *thread,
                             const struct task_header *header)
{
    uint32_t id = *guess_of(thread, header);
    /* pairs with row_begin */
    uint64_t cell = __atomic_load_n(&tracer->tasks[id].cell_addr, __ATOMIC_ACQUIRE);
    return __builtin_expect(cell == (uintptr_t)header, 1) ? id : 0;
}

/* The same, for certain; 0: the cell is in no table. */
static __attribute__((noinline)) uint32_t look_up(struct trace_thread *thread,
                                                  struct task_header *header)
{
    const struct task_vtable *vtable = find_vtable(header);
    return *guess_of(thread, header) = vtable ? task_of_cell(tracer_page, header, vtable) : 0;
}

static inline const struct task_vtable *vtable_of(const struct region_task *task)
{
    return task_type_vtables[(uint16_t)task->type];
}

static inline void call_init(struct task_call *call, struct task_header *header,
                             struct region_task *task, const struct task_vtable *vtable)
{
    call->header = header;
    call->task = task;
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
    __atomic_fetch_add(&task->exits, 1, __ATOMIC_RELEASE); /* pairs with task_block_freed */
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
static __attribute__((noinline)) void begin_cancel(struct trace_thread *thread,
                                                   struct task_call *call)
{
    thread->row->polls_cancel++;
    call->task->polls_cancel++;
    call->nr_polls = call->task->polls;
    if (!(call->state & (TASK_IS_RUNNING | TASK_IS_COMPLETE)))
        task_read_await(tracer_page, call);
}

static inline void begin_poll(struct trace_thread *thread, struct task_call *call,
                              struct region_task *task, uint64_t now_ns)
{
    thread->row->polls++;
    __atomic_store_n(&task->polls, task->polls + 1, __ATOMIC_RELAXED);
    task->thread = thread->place;
    if (__builtin_expect(call->state & (TASK_IS_CANCELLED | TASK_IS_COMPLETE | TASK_IS_RUNNING),
                         0)) {
        begin_cancel(thread, call);
        return;
    }
    *(uint64_t *)((uint8_t *)thread->row + call->vtable->counter) += 1;
    task->last_poll_ns = now_ns;
    if (__builtin_expect(!task->first_poll_ns, 0))
        task->first_poll_ns = now_ns;
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

/* `longest_poll_ns` of a task that is being polled again may just grow: looked at once more in note_longest. */
static inline void end_poll(struct tracer *tracer, struct trace_thread *thread,
                            struct task_call *call, uint64_t poll_ns)
{
    struct region_task *task = call->task;
    __atomic_fetch_add(&task->poll_ns, poll_ns, __ATOMIC_RELAXED);
    if (__builtin_expect(poll_ns > task->longest_poll_ns || poll_ns >= SLOW_POLL_NS, 0))
        note_longest(task, poll_ns);
    if (__builtin_expect(!call->flags.is_cell_freed, 1) &&
        __builtin_expect(task_state(call->header) & TASK_IS_COMPLETE, 0))
        see_end(tracer, call);
    let_go(thread, call);
}

/* A cell without a row: there was no room for one, or its block is of an allocator that is not traced. */
static void lost_cell(const struct tracer *tracer, const struct task_header *header)
{
    const struct region_live *entry = live_find(tracer, (uintptr_t)header);
    bool is_seen = entry && entry->owner & REGION_LIVE_PRESENT;
    lost_add(tracer->region, is_seen ? LOST_TABLE_FULL : LOST_UNSEEN_BLOCK);
}

/* Without a thread to count for, or a row. */
static __attribute__((noinline)) void poll_plainly(struct trace_thread *thread,
                                                   struct task_header *header)
{
    const struct task_vtable *vtable = find_vtable(header);
    if (!vtable)
        return;
    if (thread) {
        bool cancels =
            task_state(header) & (TASK_IS_CANCELLED | TASK_IS_COMPLETE | TASK_IS_RUNNING);
        thread->row->polls++;
        *(cancels ? &thread->row->polls_cancel
                  : (uint64_t *)((uint8_t *)thread->row + vtable->counter)) += 1;
        lost_cell(tracer_page, header);
    }
    vtable->poll(header);
}

void task_hook_poll(struct task_header *header)
{
    struct tracer *tracer = tracer_page;
    struct trace_thread *thread = thread_here(tracer);
    if (__builtin_expect(!thread, 0)) {
        poll_plainly(NULL, header);
        return;
    }
    if (__builtin_expect(__atomic_load_n(&thread->maybe_cell, __ATOMIC_RELAXED) != 0, 0))
        task_settle(tracer, thread);
    uint32_t id = guess(tracer, thread, header);
    if (__builtin_expect(!id, 0) && !(id = look_up(thread, header))) {
        poll_plainly(thread, header);
        return;
    }
    struct region_task *task = &tracer->tasks[id];
    const struct task_vtable *vtable = vtable_of(task);
    struct task_call call;
    call_init(&call, header, task, vtable);
    uint64_t began = trace_ticks(tracer);
    begin_poll(thread, &call, task, trace_time(tracer, began));
    enter(thread, &call, task, id);
    vtable->poll(header);
    if (__builtin_expect(!leave(tracer, thread, &call), 0))
        return;
    end_poll(tracer, thread, &call, trace_ns_since(tracer, began));
}

/* --- schedule ---------------------------------------------------------------------------------- */

void task_hook_schedule(struct task_header *header)
{
    struct tracer *tracer = tracer_page;
    struct trace_thread *thread = thread_here(tracer);
    uint32_t id = thread ? guess(tracer, thread, header) : 0;
    if (__builtin_expect(!id, 0) && (!thread || !(id = look_up(thread, header)))) {
        const struct task_vtable *vtable = find_vtable(header);
        if (vtable)
            vtable->schedule(header);
        return;
    }
    struct region_task *task = &tracer->tasks[id];
    __atomic_fetch_add(&task->scheduled, 1, __ATOMIC_RELAXED);
    vtable_of(task)->schedule(header);
}

/* --- shutdown ---------------------------------------------------------------------------------- */

static void begin_shutdown(struct tracer *tracer, struct trace_thread *thread,
                           struct task_call *call, uint32_t id)
{
    struct region_task *task = call->task;
    __atomic_fetch_or(&task->notes, REGION_NOTE_DROPPING, __ATOMIC_RELAXED);
    task_ask_snapshot(tracer, call->vtable);
    __atomic_fetch_sub(&task->exits, 1, __ATOMIC_ACQUIRE);
    call->nr_polls = __atomic_load_n(&task->polls, __ATOMIC_RELAXED);
    call->state = task_state(call->header);
    call->flags.is_shutdown = true;
    __atomic_fetch_or(&task->notes, REGION_NOTE_SHUTDOWN, __ATOMIC_RELAXED);
    if (call->state & (TASK_IS_RUNNING | TASK_IS_COMPLETE)) {
        /* It is another thread's, which will find it cancelled: nothing is dropped here. */
        enter(thread, call, thread->task, thread->task_id);
    } else {
        task_read_await(tracer, call);
        enter(thread, call, task, id);
    }
}

void task_hook_shutdown(struct task_header *header)
{
    struct tracer *tracer = tracer_page;
    struct trace_thread *thread = thread_here(tracer);
    uint32_t id = thread ? look_up(thread, header) : 0;
    if (!id) {
        const struct task_vtable *vtable = find_vtable(header);
        if (vtable)
            vtable->shutdown(header);
        return;
    }
    struct region_task *task = &tracer->tasks[id];
    struct task_call call;
    call_init(&call, header, task, vtable_of(task));
    begin_shutdown(tracer, thread, &call, id);
    call.vtable->shutdown(header);
    if (!leave(tracer, thread, &call))
        return;
    if (!call.flags.is_cell_freed && task_state(header) & TASK_IS_COMPLETE)
        see_end(tracer, &call);
    let_go(thread, &call);
}

/* --- the JoinHandle ------------------------------------------------------------------------------ */

/* Only of a task that was cancelled is it not known how it ended: see task_end.c. */
static void see_output(struct task_header *header)
{
    const uint64_t both = TASK_IS_COMPLETE | TASK_IS_CANCELLED;
    struct trace_thread *thread = thread_here(tracer_page);
    uint32_t id = thread && (task_state(header) & both) == both ? look_up(thread, header) : 0;
    struct region_task *task = id ? &tracer_page->tasks[id] : NULL;
    if (task)
        task_end_read(task, vtable_of(task), header);
}

void task_hook_read_output(struct task_header *header, void *into, const void *waker)
{
    const struct task_vtable *vtable = find_vtable(header);
    see_output(header);
    if (vtable)
        vtable->read_output(header, into, waker);
}

void task_hook_drop_join_handle(struct task_header *header)
{
    const struct task_vtable *vtable = find_vtable(header);
    see_output(header);
    if (vtable)
        vtable->drop_join_handle(header);
}
