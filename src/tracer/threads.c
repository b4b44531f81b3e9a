/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Threads come and go (tracer/threads.h).  Free states are a stack without locks, whose head carries a tag, so
 * that a state which was taken and given back meanwhile is noticed.
 *
 * glibc calls key destructors in at most four rounds.  Destructors of thread-locals ran before, those of
 * other keys run in the same rounds; so a state that is given back in the fourth has seen nearly everything.
 * What comes later (glibc's own freeing of the thread) is counted without a state.
 */
#include "tracer/threads.h"

#include <limits.h>
#include <pthread.h>
#include <sys/prctl.h>

#include "tracer/hooks.h"
#include "tracer/image_calls.h"
#include "tracer/image_ranges.h"
#include "tracer/real.h"
#include "tracer/setup.h"
#include "tracer/stack.h"
#include "tracer/syscalls.h"
#include "tracer/tasks.h"

__thread struct trace_thread *trace_self;

enum stage { NOT_BEGUN, BEGINNING, BEGUN, ENDED };
/* Of the calling thread.  A child of fork goes on with it, and has no state: BEGUN without `ready`. */
static __thread uint32_t stage __attribute__((tls_model("initial-exec")));

static pthread_key_t key;
static uint32_t has_key;

static void give_back(void *state);

bool threads_init(struct tracer *tracer)
{
    uint64_t max = tracer->region->tables[REGION_THREADS].max_rows;
    tracer->thread_states = sys_map_wiped(max * sizeof(*tracer->thread_states));
    if (!has_key)
        has_key = pthread_key_create(&key, give_back) == 0;
    return tracer->thread_states;
}

/* --- free states --------------------------------------------------------------------------------- */

static struct trace_thread *take_free(struct tracer *tracer)
{
    uint64_t head = __atomic_load_n(&tracer->free_threads, __ATOMIC_ACQUIRE);
    for (;;) {
        uint32_t place = (uint32_t)head;
        if (!place)
            return NULL;
        struct trace_thread *state = tracer->thread_states[place];
        uint64_t next = (head & ~(uint64_t)UINT32_MAX) + ((uint64_t)1 << 32) + /* a new tag */
                        __atomic_load_n(&state->next_free, __ATOMIC_RELAXED);
        if (__atomic_compare_exchange_n(&tracer->free_threads, &head, next, false, __ATOMIC_ACQUIRE,
                                        __ATOMIC_ACQUIRE)) /* pairs with put_free */
            return state;
    }
}

static void put_free(struct tracer *tracer, struct trace_thread *state)
{
    uint64_t head = __atomic_load_n(&tracer->free_threads, __ATOMIC_RELAXED);
    uint64_t next;
    do {
        __atomic_store_n(&state->next_free, (uint32_t)head, __ATOMIC_RELAXED);
        next = (head & ~(uint64_t)UINT32_MAX) + ((uint64_t)1 << 32) + state->place;
    } while (!__atomic_compare_exchange_n(&tracer->free_threads, &head, next, false,
                                          __ATOMIC_RELEASE, __ATOMIC_RELAXED));
}

static struct trace_thread *make_state(struct tracer *tracer)
{
    uint32_t place = region_row_new(tracer->region, REGION_THREADS);
    if (!place)
        return NULL;
    size_t head_bytes = (sizeof(struct trace_thread) + 63) & ~(size_t)63;
    struct trace_thread *state = sys_map_wiped(head_bytes + stack_memory_bytes());
    if (!state)
        return NULL;
    state->place = place;
    state->row = &tracer->threads[place];
    uint32_t stripe = place - 1;
    state->shares_stripe = stripe >= REGION_STRIPES - 1;
    if (state->shares_stripe)
        stripe = REGION_STRIPES - 1;
    state->sites =
        tracer->site_counts + stripe * tracer->region->tables[REGION_SITE_COUNTS].max_rows;
    state->type_sums =
        tracer->type_sums + stripe * tracer->region->tables[REGION_TYPE_SUMS].max_rows;
    state->stack = (struct stack_memory *)((char *)state + head_bytes);
    stack_memory_init(state->stack);
    tracer->thread_states[place] = state;
    return state;
}

/* --- a thread's life ------------------------------------------------------------------------------ */

void thread_name_get(struct trace_thread *thread)
{
    sys_call(SYS_prctl, PR_GET_NAME, (long)thread->row->name, 0);
}

static struct trace_thread *begin(struct tracer *tracer)
{
    struct trace_thread *self = take_free(tracer);
    if (!self)
        self = make_state(tracer);
    if (!self)
        return NULL;
    uint64_t now = trace_now(tracer);
    self->row->began_ns = now;
    thread_name_get(self);
    __atomic_store_n(&self->row->tid, (uint32_t)sys_gettid(), __ATOMIC_RELEASE);
    self->nr_end_rounds = 0;
    self->in_real = 0;
    self->last_block = 0;
    self->image_call_sp = 0;
    self->random = (now + 1) * 0x9e3779b97f4a7c15u ^ (uint64_t)self->place << 32 ^ (uintptr_t)&self;
    self->sample_left = account_sample_distance(self);
    self->busy = 1;
    self->own_task_id = self->task_id = task_thread_begin(self);
    self->own_task = self->task = &tracer->tasks[self->own_task_id];
    self->ready = THREAD_READY;
    trace_self = self;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    self->busy = 0;
    return self;
}

/* The key's destructor: in the last round the state is free for another thread. */
static void give_back(void *state)
{
    struct trace_thread *self = state;
    struct tracer *tracer = tracer_page;
    if (self != trace_self || !self->ready || !tracer->ready)
        return; /* a child of fork, or the tracer went away */
    if (++self->nr_end_rounds < PTHREAD_DESTRUCTOR_ITERATIONS &&
        pthread_setspecific(key, self) == 0)
        return;
    self->busy = 1;
    thread_name_get(self);
    account_publish(self);
    task_thread_end(self);
    __atomic_store_n(&self->row->tid, 0, __ATOMIC_RELEASE);
    stage = ENDED;
    trace_self = NULL;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    self->ready = 0;
    self->busy = 0;
    put_free(tracer, self);
}

/* --- the way in ----------------------------------------------------------------------------------- */

static enum thread_access begin_here(void)
{
    if (stage == BEGINNING)
        return THREAD_PASS; /* what the set-up itself allocates */
    if (stage == ENDED)
        return THREAD_LATE;
    stage = BEGINNING;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    bool is_ready = trace_setup();
    struct trace_thread *self = is_ready ? begin(tracer_page) : NULL;
    stage = self ? BEGUN : is_ready ? ENDED : NOT_BEGUN;
    if (self && has_key)
        pthread_setspecific(key, self); /* may allocate: that is traced */
    return self ? THREAD_TRACE : is_ready ? THREAD_LATE : THREAD_PASS;
}

/* The allocator behind ours calls functions that are hooked, too; glibc's does not. */
static bool is_nested(const struct trace_thread *self, const struct stack_start *start)
{
    return self->in_real == HOOK_LIBC && !real_is_glibc() &&
           image_ranges_find(start->pc).image == tracer_page->real_image;
}

enum thread_access thread_enter(const struct stack_start *start)
{
    struct trace_thread *self = trace_self;
    if (!self || !self->ready)
        return begin_here();
    if (self->busy && is_nested(self, start))
        return THREAD_PASS;
    if (self->busy)
        return THREAD_BUSY;
    image_calls_attend(self, start);
    return THREAD_TRACE;
}
