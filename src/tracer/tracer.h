/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What all files of the tracer share: its state, the state of a thread, and the way into the live
 * region.  This code lives in somebody else's process: no libc allocation, no stdio, no exit, no
 * blocking lock; errno and all registers are as the program left them; own stack frames are small
 * (programs have threads with 16 KB stacks, and hooks run in signal handlers).
 *
 * All memory of the tracer is mapped, never malloced; that of threads and the page of `struct tracer` are
 * wiped in a child of fork (MADV_WIPEONFORK) and the region is not there (MADV_DONTFORK): `ready`
 * reads 0 and every hook passes straight through.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "recording/live_region.h"

struct stack_memory; /* tracer/stack.h */

enum { THREAD_READY = 1, THREAD_ATTENTION = 2 /* images may have changed: tracer/image_calls.h */ };

/* One thread; mapped when it first allocates, used again by another after its end. */
struct trace_thread {
    uint32_t ready; /* THREAD_*; 0: wiped by a fork: not ours */
    uint32_t busy;  /* inside the tracer: a signal handler that allocates now is only counted */
    uint32_t place; /* row of REGION_THREADS */
    uint32_t shares_stripe; /* 1: counts by atomic adds */
    struct region_thread *row;
    struct region_site_counts *sites;   /* its stripe, by site */
    struct region_type_sums *type_sums; /* its stripe, by type */
    struct region_task *task; /* that is being polled on this thread; else the thread's own row */
    uint32_t task_id;         /* the same as a row number */
    uint32_t own_task_id;     /* the thread's own row */
    struct region_task *own_task;
    uintptr_t last_block; /* that this thread allocated last, if it still lives */
    uint64_t sample_left; /* bytes to the next sample */
    uint64_t random;
    struct stack_memory *stack;
    uint32_t newest_cell_image; /* of the last cell that this thread made, and its task's id */
    uint64_t newest_cell_id;
    uint32_t next_free;  /* place; 0: the last */
    uint32_t in_real;    /* enum hook_allocator: inside of it; 0: not */
    uint64_t last_owner; /* the live table's word of last_block */
    uintptr_t
        image_call_sp; /* THREAD_ATTENTION: the stack of the program's call of dlopen or dlclose */
    uint32_t nr_end_rounds; /* of pthread key destructors */
    uint32_t image_tries;   /* looks since that call returned */
    struct task_call *call; /* of a hooked task function, the innermost; on this thread's stack */
    uintptr_t maybe_cell;   /* atomic; a block that may become a cell: not looked at yet; 0: none */
    uint64_t maybe_ticks;   /* atomic; when it was made, by trace_ticks */
    uint32_t cells[64];     /* tasks that it met lately, by the address of their cells: a guess */
};

/* The page that a fork wipes. */
struct tracer {
    uint32_t ready;
    struct region_header *region;
    /* Bases of the region's tables, so that the hot path does not look them up. */
    struct region_task *tasks;
    struct region_thread *threads;
    uint32_t *live_index;
    uint8_t *live_chunks;
    struct region_site *sites;
    struct region_site_counts *site_counts; /* first stripe */
    struct region_lifetimes *lifetimes;
    struct region_type *types;
    struct region_type_sums *type_sums; /* first stripe */
    uint32_t stacks;                    /* enum region_stacks */
    uint32_t granule_log2;              /* of new chunks of the live table */
    uint32_t pid;
    uint32_t has_tsc;
    uint32_t real_image; /* row of REGION_IMAGES: of the malloc behind ours */
    double sample_bytes;
    uint64_t free_threads;               /* atomic; tag << 32 | place of the first; threads.c */
    uint64_t free_tasks;                 /* the same of rows of REGION_TASKS; task_rows.c */
    struct trace_thread **thread_states; /* by place */
    uint32_t late_row; /* atomic; of REGION_THREADS, for what ended threads free */
};

/* In a page of its own; `ready` is 1 once the tracer is set up (tracer/setup.c). */
extern struct tracer tracer_state __attribute__((visibility("hidden")));
static struct tracer *const tracer_page = &tracer_state;

/* The thread's state; NULL where it has none (yet), or is not to be traced. */
extern __thread struct trace_thread *trace_self
    __attribute__((tls_model("initial-exec"), visibility("hidden")));

static inline void lost_add(struct region_header *region, enum region_lost cause)
{
    __atomic_fetch_add(&region->lost[cause], 1, __ATOMIC_RELAXED);
}

/* A table's rows (first stripe). */
static inline void *region_table_rows(struct region_header *region, enum region_table_id table)
{
    return (uint8_t *)region + region->tables[table].offset_bytes;
}

/* A row of a table for the caller alone; 0: the table is full (counted). */
uint32_t region_row_new(struct region_header *region, enum region_table_id table);

/* ns since the run's start: the recorder's word, no finer than 4 ms. */
static inline uint64_t trace_now_coarse(const struct tracer *tracer)
{
    return __atomic_load_n(&tracer->region->now_ns, __ATOMIC_RELAXED);
}
/* Without the processor's clock: by the kernel's. */
uint64_t trace_now_kernel(const struct tracer *tracer);

/* The clock that holds now, at the rate that the recorder measures (recording/region_clock.c). */
static inline const struct region_clock *trace_clock(const struct tracer *tracer)
{
    /* pairs with set_clock */
    return &tracer->region
                ->clocks[__atomic_load_n(&tracer->region->clock_index, __ATOMIC_ACQUIRE) & 1];
}

/* A moment: the processor's counter, or where that cannot be used ns since the run's start. */
static inline uint64_t trace_ticks(const struct tracer *tracer)
{
    return __builtin_expect(tracer->has_tsc, 1) ? __builtin_ia32_rdtsc() : trace_now_kernel(tracer);
}

/* ns since `then` of trace_ticks.  That of another processor may be a moment ahead of this one's: 0. */
static inline uint64_t trace_ns_since(const struct tracer *tracer, uint64_t then)
{
    if (__builtin_expect(!tracer->has_tsc, 0))
        return trace_now_kernel(tracer) - then;
    uint64_t passed = __builtin_ia32_rdtsc() - then;
    if ((int64_t)passed < 0)
        return 0;
    return (uint64_t)((unsigned __int128)passed * trace_clock(tracer)->mult >> 32);
}

/* ns since the run's start. */
static inline uint64_t trace_time(const struct tracer *tracer, uint64_t ticks)
{
    if (__builtin_expect(!tracer->has_tsc, 0))
        return ticks;
    const struct region_clock *clock = trace_clock(tracer);
    uint64_t passed = ticks - clock->base_tsc;
    if ((int64_t)passed < 0)
        passed = 0;
    return clock->base_ns + (uint64_t)((unsigned __int128)passed * clock->mult >> 32);
}

/* Now, by the processor's clock. */
static inline uint64_t trace_now(const struct tracer *tracer)
{
    return trace_time(tracer, trace_ticks(tracer));
}
