/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The state of a thread: made at its first event, given back in the last round of its pthread key
 * destructors, and used again by a later thread with all its counters.
 */
#pragma once

#include "tracer/stack.h"
#include "tracer/tracer.h"

enum thread_access {
    THREAD_PASS,  /* do not count: the tracer is off, or in the middle of its own set-up */
    THREAD_TRACE, /* `trace_self` counts */
    THREAD_BUSY,  /* a signal handler inside the tracer: `trace_self` counts, without a stack */
    THREAD_LATE,  /* no state (any more): frees count by atomic adds, allocations are lost */
};

/* What a hook that was called from `start` does when `trace_self` is not plainly ready; may set the tracer up. */
enum thread_access thread_enter(const struct stack_start *start);

/* Once, at the set-up: what threads need in common; false: no memory. */
bool threads_init(struct tracer *tracer);
/* Reads the name that the kernel has of the calling thread. */
void thread_name_get(struct trace_thread *thread);

static inline bool thread_is_open(const struct trace_thread *self)
{
    /* Two loads, each of a word as it was stored: one wide load would wait for the last store to `busy`. */
    return __builtin_expect(self &&
                                __atomic_load_n(&self->ready, __ATOMIC_RELAXED) == THREAD_READY &&
                                !__atomic_load_n(&self->busy, __ATOMIC_RELAXED),
                            1);
}
