/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "trace_world.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "recording/region.h"
#include "tracer/ask.h"

enum { NOTIFIED = 4, REFERENCE = 1 << TASK_REFERENCES_SHIFT, MAX_THREADS = 64 };

struct tracer tracer_state;
__thread struct trace_thread *trace_self;
static struct region region;
static struct trace_thread *states[MAX_THREADS];
static uint64_t next_id;
/* So that the image is taken for one of a program that uses it. */
const char world_names_tokio[] = "/src/tokio-1.54.1/src/runtime/task/raw.rs";

bool ask_recorder(struct tracer *tracer, enum region_question question)
{
    (void)question;
    tracer->region->answered++;
    return true;
}

void ask_zero_wait(const struct region_header *header, const uint32_t *word)
{
    (void)header;
    (void)word;
}

/* --- the runtime ------------------------------------------------------------------------------- */

static struct script *script_of(struct task_header *header)
{
    return (struct script *)((struct cell *)header)->stage[0];
}

static void complete(struct task_header *header, bool frees)
{
    __atomic_fetch_and(&header->state, ~(uint64_t)TASK_IS_RUNNING, __ATOMIC_ACQ_REL);
    __atomic_fetch_or(&header->state, TASK_IS_COMPLETE, __ATOMIC_ACQ_REL);
    if (frees) {
        __atomic_fetch_and(&header->state, REFERENCE - 1, __ATOMIC_ACQ_REL);
        world_free((uintptr_t)header);
    }
}

static void plain_poll(struct task_header *header)
{
    struct script *script = script_of(header);
    if (header->state & (TASK_IS_RUNNING | TASK_IS_COMPLETE))
        return;
    __atomic_fetch_or(&header->state, TASK_IS_RUNNING, __ATOMIC_ACQ_REL);
    if (header->state & TASK_IS_CANCELLED) {
        complete(header, script->frees);
        return;
    }
    if (script->allocates)
        script->kept = world_allocate(script->allocates, 16);
    if (script->inside)
        script->inside(script->context);
    if (script->is_aborted_here) {
        struct cell *cell = (struct cell *)header;
        __atomic_fetch_or(&header->state, TASK_IS_CANCELLED, __ATOMIC_ACQ_REL);
        cell->stage[1] = 0;
        cell->stage[3] = cell->id;
    }
    if (script->completes || script->is_aborted_here)
        complete(header, script->frees);
    else
        __atomic_fetch_and(&header->state, ~(uint64_t)TASK_IS_RUNNING, __ATOMIC_ACQ_REL);
}

static void plain_schedule(struct task_header *header)
{
    __atomic_fetch_or(&header->state, NOTIFIED, __ATOMIC_ACQ_REL);
}

static void plain_shutdown(struct task_header *header)
{
    uint64_t before = __atomic_fetch_or(&header->state, TASK_IS_CANCELLED, __ATOMIC_ACQ_REL);
    if (!(before & (TASK_IS_RUNNING | TASK_IS_COMPLETE)))
        complete(header, script_of(header)->frees);
}

static void other_function(struct task_header *header)
{
    (void)header;
}

#define VTABLE(scheduler_bytes)                                                                    \
    {                                                                                              \
        (uint64_t) plain_poll, (uint64_t)plain_schedule, (uint64_t)other_function,                 \
            (uint64_t)other_function, (uint64_t)other_function, (uint64_t)other_function,          \
            (uint64_t)plain_shutdown, offsetof(struct cell, trailer),                              \
            offsetof(struct cell, id) - (scheduler_bytes), offsetof(struct cell, id)               \
    }
const uint64_t future_vtable[10] = VTABLE(8);
const uint64_t blocking_vtable[10] = VTABLE(16);

/* --- blocks and threads ------------------------------------------------------------------------ */

static void *map(size_t bytes)
{
    return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                -1, 0);
}

void world_begin(void)
{
    struct error err;
    /* Small: sanitizers keep much of the address space for themselves. */
    static const uint64_t max_rows[NR_REGION_TABLES] = {[REGION_LIVE_CHUNKS] = 256};
    struct region_options options = {.stacks = REGION_STACKS_NONE, .max_rows = max_rows};
    if (!region_make(&region, &options, &err))
        abort();
    tracer_state = (struct tracer){
        .region = region.header,
        .tasks = region_rows(&region, REGION_TASKS),
        .threads = region_rows(&region, REGION_THREADS),
        .live_index = region_rows(&region, REGION_LIVE_INDEX),
        .live_chunks = region_rows(&region, REGION_LIVE_CHUNKS),
        .types = region_rows(&region, REGION_TYPES),
        .type_sums = region_rows(&region, REGION_TYPE_SUMS),
        .granule_log2 = 5,
        .thread_states = states,
        .ready = 1,
    };
    region.header->now_ns = 1;
    trace_self = NULL;
}

void world_end(void)
{
    tracer_state.ready = 0;
    region_close(&region);
}

struct trace_thread *world_thread(void)
{
    if (trace_self)
        return trace_self;
    struct trace_thread *thread = map(sizeof(*thread));
    thread->place = region_row_new(region.header, REGION_THREADS);
    thread->row = &tracer_state.threads[thread->place];
    thread->shares_stripe = 1;
    thread->type_sums = tracer_state.type_sums;
    task_thread_begin(thread);
    thread->ready = THREAD_READY;
    if (thread->place < MAX_THREADS)
        states[thread->place] = thread;
    return trace_self = thread;
}

void world_thread_end(void)
{
    task_thread_end(trace_self);
    trace_self->ready = 0;
    trace_self = NULL;
}

uintptr_t world_allocate(size_t bytes, size_t align)
{
    struct trace_thread *thread = world_thread();
    void *block = NULL;
    /* One block a granule, whatever malloc does. */
    if (posix_memalign(&block, align < 32 ? 32 : align, (bytes + 31) & ~(size_t)31) != 0)
        abort();
    struct region_live *entry = live_place(&tracer_state, (uintptr_t)block, 5);
    uint64_t flags = task_may_be_cell(bytes, align) ? REGION_LIVE_MAYBE : 0;
    entry->block = bytes;
    uint64_t tick = region.header->now_ns >> region.header->lifetime_tick_ns_log2;
    __atomic_store_n(&entry->owner, REGION_LIVE_PRESENT | flags | tick << 24 | thread->task_id,
                     __ATOMIC_RELEASE);
    thread->task->allocations++;
    thread->task->allocated_bytes += bytes;
    if (flags & REGION_LIVE_MAYBE)
        task_block_made(thread, (uintptr_t)block);
    return (uintptr_t)block;
}

void world_free(uintptr_t block)
{
    struct trace_thread *thread = world_thread();
    struct region_live *entry = live_find(&tracer_state, block);
    uint64_t owner = entry->owner, bytes = entry->block & (((uint64_t)1 << 40) - 1);
    if (owner & (REGION_LIVE_CELL | REGION_LIVE_MAYBE))
        task_block_freed(thread, entry, block);
    __atomic_store_n(&entry->owner, 0, __ATOMIC_RELEASE);
    uint32_t row = owner & (REGION_MAX_ROWS - 1);
    if (row == thread->task_id) {
        thread->task->frees++;
        thread->task->freed_bytes += bytes;
    } else {
        task_foreign_free(thread, row, bytes);
    }
    free((void *)block);
}

/* --- tasks ------------------------------------------------------------------------------------- */

struct cell *world_spawn(const uint64_t *vtable)
{
    static struct script waits;
    struct cell *cell = (struct cell *)world_allocate(sizeof(*cell), _Alignof(struct cell));
    memset(cell, 0, sizeof(*cell));
    cell->id = __atomic_add_fetch(&next_id, 1, __ATOMIC_RELAXED);
    cell->stage[0] = (uintptr_t)&waits;
    cell->header.state = 3 * REFERENCE | TASK_HAS_JOIN_INTEREST | NOTIFIED;
    cell->header.vtable = vtable;
    return cell;
}

void world_script(struct cell *cell, struct script *script)
{
    cell->stage[0] = (uintptr_t)script;
}

static void call(struct cell *cell, int slot)
{
    ((task_function *)cell->header.vtable[slot])(&cell->header);
}

void world_poll(struct cell *cell)
{
    call(cell, TASK_SLOT_POLL);
}

void world_schedule(struct cell *cell)
{
    call(cell, TASK_SLOT_SCHEDULE);
}

void world_shutdown(struct cell *cell)
{
    call(cell, TASK_SLOT_SHUTDOWN);
}

void world_drop(struct cell *cell)
{
    __atomic_fetch_and(&cell->header.state, REFERENCE - 1, __ATOMIC_ACQ_REL);
    world_free((uintptr_t)cell);
}

struct region_task *world_row(const struct cell *cell)
{
    uint64_t owner = live_find(&tracer_state, (uintptr_t)cell)->owner;
    return owner & REGION_LIVE_CELL ? &tracer_state.tasks[owner >> 24 & (REGION_MAX_ROWS - 1)]
                                    : NULL;
}

static uint32_t type_of(const uint64_t *vtable)
{
    const struct task_vtable *known = task_vtable_find(vtable);
    return known ? known->type : 0;
}

const struct region_type *world_type(const uint64_t *vtable)
{
    return &tracer_state.types[type_of(vtable)];
}

const struct region_type_sums *world_sums(const uint64_t *vtable)
{
    return &tracer_state.type_sums[type_of(vtable)];
}
