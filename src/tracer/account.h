/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * One block made or freed: its entry in the live table, and the counters of thread, site and task.  The stage
 * before: hooks.c and slots.c, around the real allocator; the stage after: the region.
 *
 * A block is entered after it was made and its entry cleared before it is freed, so that an entry belongs to
 * one thread at a time.  A signal handler may come between any two instructions: counters grow by single
 * ones (count_add), and `busy` keeps the handler away from the rest.
 */
#pragma once

#include "tracer/live_table.h"
#include "tracer/stack.h"
#include "tracer/tasks.h"

enum { TICK_BITS = 36, BLOCK_SITE_SHIFT = 40, TICK_SHIFT = 24 };
#define ALWAYS __attribute__((always_inline))
#define OWNER_ROW_MASK ((uint64_t)0xffffff)
#define BLOCK_BYTES_MASK (((uint64_t)1 << BLOCK_SITE_SHIFT) - 1)
#define TICK_MASK (((uint64_t)1 << TICK_BITS) - 1)

/* One instruction: a signal handler on the same thread sees it before or after. */
static inline void count_add(uint64_t *counter, uint64_t value)
{
    __asm__("addq %1, %0" : "+m"(*counter) : "er"(value) : "cc");
}

static inline void count_add_atomic(uint64_t *counter, uint64_t value)
{
    __atomic_fetch_add(counter, value, __ATOMIC_RELAXED);
}

/* What a signal handler must not see half done lies between these. */
static inline void thread_hold(struct trace_thread *self)
{
    self->busy = 1;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static inline void thread_release(struct trace_thread *self)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    self->busy = 0;
}

/* --- the rare parts: account.c ---------------------------------------------------------------------- */

/* Adds what this thread has not told yet to the region's live bytes and peak. */
void account_publish(struct trace_thread *self);
/* The place for a block whose granule has no chunk, is taken, or cannot name it; NULL: none (counted). */
struct region_live *account_place(struct trace_thread *self, uintptr_t block, size_t bytes);
/* A block with an entry lived for so many ticks. */
void account_lifetime(struct tracer *tracer, uint32_t site, uint64_t ticks, size_t bytes);
/* Bytes to the next sample. */
uint64_t account_sample_distance(struct trace_thread *self);
/* The site if this allocation is in the sample, else 0. */
uint32_t account_sample(struct trace_thread *self, size_t bytes, const struct stack_start *start);
/* A site's counters where they are not plain: a shared stripe, or weights of a sample. */
void account_site_made(struct trace_thread *self, uint32_t site, size_t bytes);
void account_site_freed(struct trace_thread *self, uint32_t site, size_t bytes, bool is_temporary);
/* By a thread without a state; by a handler inside the tracer. */
void account_freed_late(struct tracer *tracer, uintptr_t block);
void account_made_busy(struct trace_thread *self, uintptr_t block, size_t bytes);
void account_freed_busy(struct trace_thread *self, uintptr_t block);

/* --- made ------------------------------------------------------------------------------------------- */

static inline uint64_t tick_now(const struct tracer *tracer)
{
    return trace_now_coarse(tracer) >> 20 & TICK_MASK;
}

static inline uint64_t owner_word(uint32_t row, uint64_t tick, uintptr_t block, uint64_t flags)
{
    return REGION_LIVE_PRESENT | flags | (uint64_t)(block & 16) << 57 | tick << TICK_SHIFT | row;
}

static inline uint32_t account_site(struct trace_thread *self, size_t bytes,
                                    const struct stack_start *start)
{
    if (__builtin_expect(tracer_page->stacks == REGION_STACKS_ALL, 1))
        return stack_site(self, start);
    return account_sample(self, bytes, start);
}

static inline void account_live_bytes(struct trace_thread *self, int64_t change)
{
    struct region_thread *row = self->row;
    int64_t unpublished = row->unpublished + change;
    row->unpublished = unpublished;
    if (unpublished > row->unpublished_peak)
        row->unpublished_peak = unpublished;
    if (__builtin_expect(unpublished > REGION_PUBLISH_BYTES || unpublished < -REGION_PUBLISH_BYTES,
                         0))
        account_publish(self);
}

static inline void account_task_made(struct region_task *task, size_t bytes)
{
    count_add(&task->allocations, 1);
    count_add(&task->allocated_bytes, bytes);
    uint64_t live = task->allocated_bytes - task->freed_bytes -
                    __atomic_load_n(&task->foreign_freed_bytes, __ATOMIC_RELAXED);
    if (live > task->peak_bytes)
        task->peak_bytes = live;
}

static inline uint64_t account_flags(size_t bytes, size_t align)
{
    return __builtin_expect(task_may_be_cell(bytes, align), 0) ? REGION_LIVE_MAYBE : 0;
}

/* With the thread held.  `align`: what was asked for; 0: nothing special. */
static inline ALWAYS void account_made_held(struct trace_thread *self, uintptr_t block,
                                            size_t bytes, size_t align, uint32_t site)
{
    struct tracer *tracer = tracer_page;
    uint64_t flags = account_flags(bytes, align);
    struct region_live *entry = live_find(tracer, block);
    if (__builtin_expect(!entry || entry->owner || block & 15 || bytes > BLOCK_BYTES_MASK, 0)) {
        entry = account_place(self, block, bytes);
        if (!entry)
            return;
    }
    uint64_t owner = owner_word(self->task_id, tick_now(tracer), block, flags);
    __atomic_store_n(&entry->block, bytes | (uint64_t)site << BLOCK_SITE_SHIFT, __ATOMIC_RELAXED);
    __atomic_store_n(&entry->owner, owner, __ATOMIC_RELEASE); /* pairs with region_blocks.c */
    self->last_block = block;
    self->last_owner = owner;
    struct region_thread *row = self->row;
    count_add(&row->allocations, 1);
    count_add(&row->allocated_bytes, bytes);
    if (__builtin_expect(self->shares_stripe || tracer->stacks != REGION_STACKS_ALL, 0)) {
        account_site_made(self, site, bytes);
    } else {
        struct region_site_counts *counts = &self->sites[site];
        count_add(&counts->allocations, 1);
        count_add(&counts->allocated_bytes, bytes);
    }
    account_task_made(self->task, bytes);
    account_live_bytes(self, (int64_t)bytes);
    if (__builtin_expect(flags != 0, 0))
        task_block_made(self, block);
}

static inline ALWAYS void account_made(struct trace_thread *self, uintptr_t block, size_t bytes,
                                       size_t align, const struct stack_start *start)
{
    thread_hold(self);
    account_made_held(self, block, bytes, align, account_site(self, bytes, start));
    thread_release(self);
}

/* --- freed ------------------------------------------------------------------------------------------ */

/* The entry of a live block; NULL: it is in no table. */
static inline struct region_live *account_find(const struct tracer *tracer, uintptr_t block)
{
    struct region_live *entry = live_find(tracer, block);
    if (!entry || (entry->owner & (REGION_LIVE_PRESENT | REGION_LIVE_HALF)) !=
                      (REGION_LIVE_PRESENT | (uint64_t)(block & 16) << 57))
        return NULL;
    return entry;
}

/* What stood in an entry that was cleared. */
struct account_gone {
    uint64_t block, owner; /* the entry's words */
    uint64_t tick;         /* of its making */
    uint32_t row;          /* who made it */
};

/* Clears the entry; with the thread held.  A task whose cell it is ends. */
static inline ALWAYS struct account_gone account_clear(struct trace_thread *self,
                                                       struct region_live *entry, uintptr_t block)
{
    /* Word by word, as they were stored: see thread_is_open. */
    struct account_gone gone = {.block = __atomic_load_n(&entry->block, __ATOMIC_RELAXED),
                                .owner = __atomic_load_n(&entry->owner, __ATOMIC_RELAXED)};
    gone.row = (uint32_t)(gone.owner & OWNER_ROW_MASK);
    gone.tick = gone.owner >> TICK_SHIFT & TICK_MASK;
    if (__builtin_expect(gone.owner & (REGION_LIVE_CELL | REGION_LIVE_MAYBE), 0))
        gone.tick = task_block_freed(self, entry, block);
    __atomic_store_n(&entry->owner, 0, __ATOMIC_RELEASE);
    return gone;
}

/* Counts a block whose entry was cleared; with the thread held. */
static inline ALWAYS void account_gone(struct trace_thread *self, uintptr_t block,
                                       const struct account_gone *gone)
{
    struct tracer *tracer = tracer_page;
    uint64_t bytes = gone->block & BLOCK_BYTES_MASK;
    uint32_t site = (uint32_t)(gone->block >> BLOCK_SITE_SHIFT);
    bool is_temporary = self->last_block == block && self->last_owner == gone->owner;
    self->last_block = 0;
    struct region_thread *row = self->row;
    count_add(&row->frees, 1);
    count_add(&row->freed_bytes, bytes);
    if (is_temporary)
        count_add(&row->temporary, 1);
    if (__builtin_expect(self->shares_stripe || tracer->stacks != REGION_STACKS_ALL, 0)) {
        account_site_freed(self, site, bytes, is_temporary);
    } else {
        struct region_site_counts *counts = &self->sites[site];
        count_add(&counts->frees, 1);
        count_add(&counts->freed_bytes, bytes);
        if (is_temporary)
            count_add(&counts->temporary, 1);
    }
    uint64_t now = tick_now(tracer);
    if (__builtin_expect(now != gone->tick, 0))
        account_lifetime(tracer, site, now - gone->tick, bytes);
    if (__builtin_expect(gone->row == self->task_id, 1)) {
        struct region_task *task = self->task;
        count_add(&task->frees, 1);
        count_add(&task->freed_bytes, bytes);
    } else {
        task_foreign_free(self, gone->row, bytes);
    }
    account_live_bytes(self, -(int64_t)bytes);
}

/* False: the block is in no table. */
static inline ALWAYS bool account_freed(struct trace_thread *self, uintptr_t block)
{
    struct region_live *entry = account_find(tracer_page, block);
    if (__builtin_expect(!entry, 0))
        return false;
    thread_hold(self);
    struct account_gone gone = account_clear(self, entry, block);
    account_gone(self, block, &gone);
    thread_release(self);
    return true;
}
