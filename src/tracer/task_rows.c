/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The life of a row of REGION_TASKS: taken when a cell is first met, ended when the future is gone, released
 * when the cell is freed and nothing polls it, folded into its type when the last block that the task
 * allocated is freed.  Then the row is used again.
 *
 * Two waits, both for a few instructions of another thread: an entry of the live table with both
 * REGION_LIVE_CELL and REGION_LIVE_MAYBE is being looked at; and a cell is not given back to the
 * allocator while another thread is on its way out of a poll of it, where it reads the state.  Both
 * end after ten seconds at most, so that nothing hangs whatever a signal handler or a debugger does.
 */
#include "tracer/tasks_part.h"

#include <sched.h>

enum { SPINS = 1000 };
#define ROW_SHIFT 24
#define TICK_MASK (((uint64_t)1 << 36) - 1)
#define LONGEST_WAIT_NS ((uint64_t)10 * 1000000000)
enum { CELL_LINE = 128, NEWEST_IMAGES = 256, NEWEST_APART = 64 };
#define EXAMINED (REGION_LIVE_CELL | REGION_LIVE_MAYBE)

/* --- rows -------------------------------------------------------------------------------------- */

/* Free rows are a stack; each has the next one's id in the column parent_id. */

static uint32_t row_take(struct tracer *tracer)
{
    uint64_t head =
        __atomic_load_n(&tracer->free_tasks, __ATOMIC_ACQUIRE); /* pairs with row_give */
    while ((uint32_t)head) {
        uint64_t next =
            (uint32_t)__atomic_load_n(&tracer->tasks[(uint32_t)head].parent_id, __ATOMIC_RELAXED) |
            ((head >> 32) + 1) << 32;
        if (__atomic_compare_exchange_n(&tracer->free_tasks, &head, next, true, __ATOMIC_ACQUIRE,
                                        __ATOMIC_ACQUIRE)) {
            tracer->tasks[(uint32_t)head].parent_id = 0;
            return (uint32_t)head;
        }
    }
    return region_row_new(tracer->region, REGION_TASKS);
}

static void row_give(struct tracer *tracer, uint32_t id)
{
    struct region_task *task = &tracer->tasks[id];
    __atomic_store_n(&task->id, 0, __ATOMIC_RELEASE);
    *task = (struct region_task){.kind = REGION_TASK_FREE};
    uint64_t head = __atomic_load_n(&tracer->free_tasks, __ATOMIC_RELAXED);
    uint64_t next;
    do {
        __atomic_store_n(&task->parent_id, (uint32_t)head, __ATOMIC_RELAXED);
        next = id | ((head >> 32) + 1) << 32;
    } while (!__atomic_compare_exchange_n(&tracer->free_tasks, &head, next, true, __ATOMIC_RELEASE,
                                          __ATOMIC_RELAXED));
}

/* Apart from what each allocation reads. */
_Alignas(64) uint64_t task_nr_alive;

static void type_gains(struct region_type *type)
{
    uint64_t live = __atomic_add_fetch(&type->live_tasks, 1, __ATOMIC_RELAXED);
    uint64_t most = __atomic_load_n(&type->most_at_once, __ATOMIC_RELAXED);
    while (most < live && !__atomic_compare_exchange_n(&type->most_at_once, &most, live, true,
                                                       __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
}

/* Fills a row of the caller's.  Its cell's address last: with that another thread's guess takes the row for that
 * of the cell which it polls (task_hooks.c). */
static void row_begin(struct tracer *tracer, uint32_t id, const struct region_task *filled,
                      uint64_t cell_addr)
{
    struct region_task *task = &tracer->tasks[id];
    *task = *filled;
    __atomic_store_n(&task->id,
                     __atomic_add_fetch(&tracer->region->next_task_id, 1, __ATOMIC_RELAXED),
                     __ATOMIC_RELEASE); /* pairs with readers of the region */
    type_gains(&tracer->types[task->type]);
    __atomic_store_n(&task->cell_addr, cell_addr, __ATOMIC_RELEASE); /* pairs with guess */
}

/* --- cells ------------------------------------------------------------------------------------- */

static bool waited_long(const struct tracer *tracer, unsigned spins, uint64_t *since_ns)
{
    if (spins < SPINS) {
        __builtin_ia32_pause();
        return false;
    }
    if (spins == SPINS)
        *since_ns = trace_now(tracer);
    sched_yield();
    return trace_now(tracer) - *since_ns > LONGEST_WAIT_NS;
}

/* The entry as it is when nobody is looking at its block; 0: it stays so. */
static uint64_t settled_owner(const struct tracer *tracer, const struct region_live *entry)
{
    uint64_t since_ns = 0, owner;
    for (unsigned spins = 0;; spins++) {
        owner = __atomic_load_n(&entry->owner, __ATOMIC_ACQUIRE); /* pairs with examine_end */
        if ((owner & EXAMINED) != EXAMINED)
            return owner;
        if (waited_long(tracer, spins, &since_ns))
            return 0;
    }
}

static bool examine_begin(struct region_live *entry, uint64_t owner)
{
    return __atomic_compare_exchange_n(&entry->owner, &owner, owner | EXAMINED, false,
                                       __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static void examine_end(struct region_live *entry, uint64_t owner)
{
    __atomic_store_n(&entry->owner, owner, __ATOMIC_RELEASE);
}

static uint64_t tick_of(uint64_t owner)
{
    return owner >> ROW_SHIFT & TICK_MASK;
}

/* Makes the row of a cell whose entry is being examined by the caller; `ticks`: its making.  0: no room. */
static uint32_t begin_cell(struct tracer *tracer, struct region_live *entry, uint64_t owner,
                           const struct task_header *header, const struct task_vtable *vtable,
                           uint64_t ticks)
{
    uint32_t id = row_take(tracer);
    if (!id) {
        examine_end(entry, owner & ~REGION_LIVE_MAYBE);
        return 0;
    }
    struct region_task filled = {
        .runtime_task_id = *(const uint64_t *)((const uint8_t *)header + vtable->id_offset),
        .parent_id = tracer->tasks[owner & (REGION_MAX_ROWS - 1)].id,
        .kind = REGION_TASK_CELL,
        .type = vtable->type,
        .site = (uint32_t)(entry->block >> 40),
        .cell_bytes = entry->block & (((uint64_t)1 << 40) - 1),
        .spawned_ns = trace_time(tracer, ticks) + 1,
    };
    tracer->types[vtable->type].cell_bytes = filled.cell_bytes;
    row_begin(tracer, id, &filled, (uintptr_t)header);
    __atomic_add_fetch(&task_nr_alive, 1, __ATOMIC_RELAXED);
    examine_end(entry, (owner & ~(REGION_LIVE_MAYBE | TICK_MASK << ROW_SHIFT)) | REGION_LIVE_CELL |
                           (uint64_t)id << ROW_SHIFT);
    return id;
}

uint32_t task_of_cell(struct tracer *tracer, struct task_header *header,
                      const struct task_vtable *vtable)
{
    struct region_live *entry = live_find(tracer, (uintptr_t)header);
    for (;;) {
        uint64_t owner = entry ? settled_owner(tracer, entry) : 0;
        if (!task_block_starts_at(tracer, owner, (uintptr_t)header))
            return 0;
        uint32_t id = (uint32_t)tick_of(owner) & (REGION_MAX_ROWS - 1);
        if (owner & REGION_LIVE_CELL)
            return tracer->tasks[id].cell_addr == (uintptr_t)header ? id : 0;
        if (examine_begin(entry, owner)) /* another thread has just made it */
            return begin_cell(tracer, entry, owner, header, vtable, trace_ticks(tracer));
    }
}

/*
 * A cell ends with its trailer of 4 to 6 words and what rounds it up to its alignment, a cache line or less.  A larger block
 * has a copy of a cell's bytes in it, or what was a cell's memory.
 */
static bool is_cell_size(const struct task_vtable *vtable, uint64_t bytes)
{
    uint64_t least = vtable->trailer_offset + 4 * sizeof(uint64_t);
    uint64_t most = least + 2 * sizeof(uint64_t);
    return bytes >= least &&
           (bytes <= most || (bytes % CELL_LINE == 0 && bytes < most + CELL_LINE));
}

/* The vtable of a task that begins or is freed here; NULL: other bytes lie here. */
static const struct task_vtable *vtable_of_block(const struct region_live *entry,
                                                 const struct task_header *header, bool is_freed)
{
    uint64_t bytes = entry->block & (((uint64_t)1 << 40) - 1);
    const struct task_vtable *vtable =
        bytes >= sizeof(*header) ? task_vtable_find(header->vtable) : NULL;
    if (!vtable || !is_cell_size(vtable, bytes))
        return NULL;
    uint64_t references = task_state(header) >> TASK_REFERENCES_SHIFT;
    uint64_t id = *(const uint64_t *)((const uint8_t *)header + vtable->id_offset);
    bool has_references = is_freed ? references == 0 : references != 0 && references < 1 << 24;
    return has_references && id && id < (uint64_t)1 << 48 ? vtable : NULL;
}

/*
 * A runtime counts its tasks' ids up, and takes one right before it makes the cell: on a thread they only grow, and
 * among threads they are never far apart.  Bytes of an older cell that were copied into a block are no new task; if the
 * block is a task after all, its first poll says so.
 */
static bool is_new_id(struct tracer *tracer, struct trace_thread *thread, uint32_t type,
                      uint64_t id)
{
    static uint64_t newest[NEWEST_IMAGES]; /* atomic; by image */
    uint32_t image = tracer->types[type].image;
    if (thread->newest_cell_image == image && id <= thread->newest_cell_id)
        return false;
    if (image < NEWEST_IMAGES) {
        uint64_t seen = __atomic_load_n(&newest[image], __ATOMIC_RELAXED);
        if (id + NEWEST_APART < seen)
            return false;
        if (id > seen)
            __atomic_store_n(&newest[image], id, __ATOMIC_RELAXED); /* a lost one does no harm */
    }
    thread->newest_cell_image = image;
    thread->newest_cell_id = id;
    return true;
}

void task_settle(struct tracer *tracer, struct trace_thread *thread)
{
    uintptr_t block = __atomic_exchange_n(&thread->maybe_cell, 0, __ATOMIC_ACQUIRE);
    struct region_live *entry = block ? live_find(tracer, block) : NULL;
    uint64_t owner = entry ? __atomic_load_n(&entry->owner, __ATOMIC_ACQUIRE) : 0;
    if ((owner & EXAMINED) != REGION_LIVE_MAYBE || !task_block_starts_at(tracer, owner, block) ||
        !examine_begin(entry, owner))
        return;
    const struct task_header *header = (const struct task_header *)block;
    const struct task_vtable *vtable = vtable_of_block(entry, header, false);
    if (vtable && is_new_id(tracer, thread, vtable->type,
                            *(const uint64_t *)((const uint8_t *)header + vtable->id_offset)))
        begin_cell(tracer, entry, owner, header, vtable,
                   __atomic_load_n(&thread->maybe_ticks, __ATOMIC_RELAXED));
    else
        examine_end(entry, owner);
}

void tasks_settle_all(struct tracer *tracer)
{
    uint32_t nr =
        __atomic_load_n(&tracer->region->tables[REGION_THREADS].nr_rows, __ATOMIC_RELAXED);
    for (uint32_t place = 1; place < nr && place < tracer->region->tables[REGION_THREADS].max_rows;
         place++) {
        struct trace_thread *thread =
            __atomic_load_n(&tracer->thread_states[place], __ATOMIC_ACQUIRE);
        if (thread)
            task_settle(tracer, thread);
    }
}

void task_block_made(struct trace_thread *thread, uintptr_t block)
{
    if (__atomic_load_n(&thread->maybe_cell, __ATOMIC_RELAXED))
        task_settle(tracer_page, thread);
    __atomic_store_n(&thread->maybe_ticks, trace_ticks(tracer_page), __ATOMIC_RELAXED);
    __atomic_store_n(&thread->maybe_cell, block, __ATOMIC_RELEASE); /* pairs with task_settle */
}

/* --- the end ----------------------------------------------------------------------------------- */

void task_note_end(struct tracer *tracer, struct region_task *task, enum region_task_end end,
                   const struct task_call *call)
{
    uint32_t not_ended = REGION_END_NOT;
    if (!__atomic_compare_exchange_n(&task->end, &not_ended, end, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_RELAXED))
        return;
    __atomic_store_n(&task->ended_ns, trace_now(tracer), __ATOMIC_RELAXED);
    bool was_dropped =
        end == REGION_END_ABORTED || end == REGION_END_DROPPED || end == REGION_END_NEVER_POLLED;
    if (was_dropped && call)
        __atomic_store_n(&task->await, call->await, __ATOMIC_RELAXED);
    if (was_dropped && (!call || !call->await || call->flags.is_await_cut))
        lost_add(tracer->region, LOST_AWAIT_CUT);
    __atomic_fetch_sub(&tracer->types[task->type].live_tasks, 1, __ATOMIC_RELAXED);
    if (task->type != REGION_TYPE_THREADS)
        __atomic_fetch_sub(&task_nr_alive, 1, __ATOMIC_RELAXED);
}

/* Until all polls by other threads have let go of the cell. */
static void wait_for_polls(const struct tracer *tracer, struct region_task *task, uint64_t nr_own)
{
    uint64_t since_ns = 0;
    for (unsigned spins = 0;; spins++) {
        uint64_t exits = __atomic_load_n(&task->exits, __ATOMIC_ACQUIRE); /* with let_go */
        if (__atomic_load_n(&task->polls, __ATOMIC_RELAXED) - exits <= nr_own ||
            waited_long(tracer, spins, &since_ns))
            return;
    }
}

static void end_cell(struct tracer *tracer, struct trace_thread *thread, struct region_task *task,
                     struct task_header *header)
{
    struct task_call *call = thread->call && thread->call->task == task ? thread->call : NULL;
    wait_for_polls(tracer, task, call ? 1 : 0);
    if (task->end == REGION_END_NOT) {
        enum region_task_end end =
            call ? task_end_of_call(call, task_state(header)) : REGION_END_NOT;
        task_note_end(tracer, task, end ? end : task_end_unseen(task), call);
    }
    /* So that what is made of this memory is not taken for a task before it is written. */
    header->vtable = NULL;
    __atomic_store_n(&task->cell_addr, 0, __ATOMIC_RELAXED);
    task->freed_ns = trace_now_coarse(tracer);
    if (call)
        call->flags.is_cell_freed = true;
    else
        task_release(thread, task);
}

/* When a block was made of which nobody has seen that it is a cell. */
static uint64_t made_ticks(const struct tracer *tracer, const struct trace_thread *thread,
                           uintptr_t block)
{
    return __atomic_load_n(&thread->maybe_cell, __ATOMIC_RELAXED) == block
               ? __atomic_load_n(&thread->maybe_ticks, __ATOMIC_RELAXED)
               : trace_ticks(tracer);
}

uint64_t task_block_freed(struct trace_thread *thread, struct region_live *entry, uintptr_t block)
{
    struct tracer *tracer = tracer_page;
    struct task_header *header = (struct task_header *)block;
    uint64_t owner = settled_owner(tracer, entry);
    if (owner & REGION_LIVE_MAYBE) {
        const struct task_vtable *vtable = vtable_of_block(entry, header, true);
        if (vtable && examine_begin(entry, owner) &&
            begin_cell(tracer, entry, owner, header, vtable, made_ticks(tracer, thread, block)))
            owner = __atomic_load_n(&entry->owner, __ATOMIC_RELAXED);
        else
            owner = settled_owner(tracer, entry);
    }
    if (!(owner & REGION_LIVE_CELL))
        return tick_of(owner);
    struct region_task *task = &tracer->tasks[tick_of(owner) & (REGION_MAX_ROWS - 1)];
    if (task->cell_addr != block)
        return 0;
    const unsigned tick_log2 = tracer->region->lifetime_tick_ns_log2;
    uint64_t tick = task->spawned_ns >> tick_log2;
    uint64_t now = trace_now_coarse(tracer) >> tick_log2; /* which may be a moment behind */
    end_cell(tracer, thread, task, header);
    return tick < now ? tick : now;
}

/* --- folding ----------------------------------------------------------------------------------- */

static void add(const struct trace_thread *thread, uint64_t *sum, uint64_t value)
{
    if (thread->shares_stripe)
        __atomic_fetch_add(sum, value, __ATOMIC_RELAXED);
    else
        *sum += value;
}

static void raise(uint64_t *most, uint64_t value)
{
    uint64_t known = __atomic_load_n(most, __ATOMIC_RELAXED);
    while (known < value && !__atomic_compare_exchange_n(most, &known, value, true,
                                                         __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
}

/* All blocks of the task are freed: frees equal allocations. */
static void fold(struct trace_thread *thread, struct region_task *task)
{
    struct tracer *tracer = tracer_page;
    struct region_type_sums *sums = &thread->type_sums[task->type];
    add(thread, &sums->tasks, 1);
    add(thread, &sums->ended[task->end], 1);
    add(thread, &sums->polls, task->polls);
    add(thread, &sums->polls_cancel, task->polls_cancel);
    add(thread, &sums->slow_polls, task->slow_polls);
    add(thread, &sums->scheduled, task->scheduled);
    add(thread, &sums->poll_ns, task->poll_ns);
    raise(&sums->longest_poll_ns, task->longest_poll_ns);
    add(thread, &sums->lifetime_ns,
        task->ended_ns > task->spawned_ns ? task->ended_ns - task->spawned_ns : 0);
    add(thread, &sums->allocations, task->allocations);
    add(thread, &sums->allocated_bytes, task->allocated_bytes);
    add(thread, &sums->frees, task->allocations);
    add(thread, &sums->freed_bytes, task->allocated_bytes);
    add(thread, &sums->peak_bytes_sum, task->peak_bytes);
    raise(&sums->peak_bytes_max, task->peak_bytes);
    task_count_await_end(tracer, task);
    row_give(tracer, (uint32_t)(task - tracer->tasks));
}

void task_release(struct trace_thread *thread, struct region_task *task)
{
    int64_t rest = (int64_t)(task->allocations - task->frees) + REGION_TASK_ENDED;
    if (__atomic_add_fetch(&task->hold, rest, __ATOMIC_ACQ_REL) == REGION_TASK_ENDED)
        fold(thread, task);
}

void task_foreign_free(struct trace_thread *thread, uint32_t row, uint64_t bytes)
{
    struct region_task *task = &tracer_page->tasks[row];
    __atomic_fetch_add(&task->foreign_freed_bytes, bytes, __ATOMIC_RELAXED);
    if (__atomic_sub_fetch(&task->hold, 1, __ATOMIC_ACQ_REL) == REGION_TASK_ENDED)
        fold(thread, task);
}

/* --- threads ----------------------------------------------------------------------------------- */

uint32_t task_thread_begin(struct trace_thread *thread)
{
    struct tracer *tracer = tracer_page;
    uint32_t id = row_take(tracer), first = REGION_TYPE_THREADS;
    if (!id)
        return 0;
    /* The first row of the types is the threads', whoever comes first. */
    __atomic_compare_exchange_n(&tracer->region->tables[REGION_TYPES].nr_rows, &first,
                                REGION_TYPE_THREADS + 1, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    struct region_task filled = {
        .kind = REGION_TASK_THREAD,
        .type = REGION_TYPE_THREADS,
        .thread = thread->place,
        .spawned_ns = trace_now_coarse(tracer) + 1,
    };
    row_begin(tracer, id, &filled, 0);
    thread->own_task_id = thread->task_id = id;
    thread->own_task = thread->task = &tracer->tasks[id];
    thread->call = NULL;
    return id;
}

void task_thread_end(struct trace_thread *thread)
{
    struct tracer *tracer = tracer_page;
    struct region_task *task = thread->own_task;
    task_settle(tracer, thread);
    thread->call = NULL;
    thread->task = thread->own_task = NULL;
    thread->task_id = thread->own_task_id = 0;
    if (!task)
        return;
    task_note_end(tracer, task, REGION_END_THREAD, NULL);
    task_release(thread, task);
}
