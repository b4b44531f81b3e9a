/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The rare parts of counting a block (tracer/account.h): publishing, entries that are in the way, lifetimes,
 * samples, shared counters.
 *
 * A sample is of bytes: each byte is in it with the same probability, so a block of s bytes with
 * 1 - exp(-s/mean).  A block in the sample stands for s / (1 - exp(-s/mean)) bytes: right on average,
 * and the same when it is freed, so that what is freed cancels out exactly.
 */
#include "tracer/account.h"

/* --- live bytes -------------------------------------------------------------------------------------- */

static void raise_peak(struct tracer *tracer, uint64_t bytes)
{
    struct region_header *region = tracer->region;
    uint64_t peak = __atomic_load_n(&region->peak_bytes, __ATOMIC_RELAXED);
    while (bytes > peak)
        if (__atomic_compare_exchange_n(&region->peak_bytes, &peak, bytes, true, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED)) {
            region->peak_ns = trace_now_coarse(tracer);
            return;
        }
}

void account_publish(struct trace_thread *self)
{
    struct tracer *tracer = tracer_page;
    int64_t change = self->row->unpublished, peak = self->row->unpublished_peak;
    self->row->unpublished = 0;
    self->row->unpublished_peak = 0;
    uint64_t before =
        __atomic_fetch_add(&tracer->region->live_bytes, (uint64_t)change, __ATOMIC_RELAXED);
    if ((int64_t)before + peak > 0)
        raise_peak(tracer, before + (uint64_t)peak);
}

/* --- the live table ---------------------------------------------------------------------------------- */

struct region_live *account_place(struct trace_thread *self, uintptr_t block, size_t bytes)
{
    struct tracer *tracer = tracer_page;
    if (bytes > BLOCK_BYTES_MASK) {
        lost_add(tracer->region, LOST_TABLE_FULL);
        return NULL;
    }
    struct region_live *entry = live_place(tracer, block, tracer->granule_log2);
    if (!entry)
        return NULL;
    uint32_t granule_log2 = tracer->live_index[block >> REGION_SPAN_BITS] >> 24;
    if (block & (granule_log2 == 3 ? 7 : 15)) {
        lost_add(tracer->region, LOST_TABLE_FULL);
        return NULL;
    }
    if (account_find(tracer, block) ==
        entry) { /* freed where nobody saw it, or by the allocator itself */
        struct account_gone gone = account_clear(self, entry, block);
        account_gone(self, block, &gone);
    }
    if (entry->owner) { /* the granule's other half: two small blocks of a foreign allocator */
        lost_add(tracer->region, LOST_TABLE_FULL);
        return NULL;
    }
    return entry;
}

/* --- samples ----------------------------------------------------------------------------------------- */

/* 2^-x for x >= 0, less 1: exact also where it is nearly 0. */
static long double exp2_minus_1(long double x)
{
    uint32_t whole = x < 16000 ? (uint32_t)x : 16000;
    long double part = whole - x, result;
    if (part < -1)
        part = -1;
    __asm__("f2xm1" : "=t"(result) : "0"(part));
    for (; whole; whole--) {
        result = (result - 1) / 2;
        if (result < -0.9999999999L)
            return -1;
    }
    return result;
}

/* For how many such blocks one in the sample stands. */
static long double sample_weight(const struct tracer *tracer, size_t bytes)
{
    static const long double log2_e = 1.44269504088896340736L;
    long double chance = -exp2_minus_1((long double)bytes / tracer->sample_bytes * log2_e);
    return chance > 0 ? 1 / chance : 0;
}

uint64_t account_sample_distance(struct trace_thread *self)
{
    static const long double ln_2 = 0.693147180559945309417L;
    uint64_t x = self->random; /* xorshift64*; never 0 */
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    self->random = x;
    long double chance = (long double)((x * 0x2545f4914f6cdd1dULL >> 11) + 1) / 9007199254740992.0L;
    long double log2_chance;
    __asm__("fyl2x" : "=t"(log2_chance) : "0"(chance), "u"(1.0L) : "st(1)");
    long double distance = -log2_chance * ln_2 * tracer_page->sample_bytes;
    uint64_t whole = (uint64_t)distance;
    return whole < distance || !whole ? whole + 1 : whole; /* rounded up: the chance stays exact */
}

uint32_t account_sample(struct trace_thread *self, size_t bytes, const struct stack_start *start)
{
    if (tracer_page->stacks != REGION_STACKS_SAMPLED)
        return 0;
    if (bytes < self->sample_left) {
        self->sample_left -= bytes;
        return 0;
    }
    self->sample_left = account_sample_distance(self);
    return stack_site(self, start);
}

/* --- counters of a site that are not plain ------------------------------------------------------------ */

struct weight {
    uint64_t blocks, bytes;
};

static struct weight weight_of(const struct tracer *tracer, size_t bytes)
{
    if (tracer->stacks == REGION_STACKS_ALL)
        return (struct weight){1, bytes};
    long double weight = sample_weight(tracer, bytes);
    return (struct weight){(uint64_t)(weight + 0.5L), (uint64_t)(weight * bytes + 0.5L)};
}

void account_site_made(struct trace_thread *self, uint32_t site, size_t bytes)
{
    if (!site)
        return;
    struct weight weight = weight_of(tracer_page, bytes);
    count_add_atomic(&self->sites[site].allocations, weight.blocks);
    count_add_atomic(&self->sites[site].allocated_bytes, weight.bytes);
}

static void site_freed(struct region_site_counts *counts, uint32_t site, size_t bytes,
                       bool is_temporary)
{
    if (!site)
        return;
    struct weight weight = weight_of(tracer_page, bytes);
    count_add_atomic(&counts[site].frees, weight.blocks);
    count_add_atomic(&counts[site].freed_bytes, weight.bytes);
    if (is_temporary)
        count_add_atomic(&counts[site].temporary, weight.blocks);
}

void account_site_freed(struct trace_thread *self, uint32_t site, size_t bytes, bool is_temporary)
{
    site_freed(self->sites, site, bytes, is_temporary);
}

static struct region_lifetimes *lifetimes_of(struct tracer *tracer, uint32_t site)
{
    uint32_t *row = &tracer->sites[site].lifetimes;
    uint32_t found = __atomic_load_n(row, __ATOMIC_ACQUIRE);
    if (found)
        return &tracer->lifetimes[found];
    uint32_t made = region_row_new(tracer->region, REGION_LIFETIMES);
    if (!made)
        return NULL;
    if (!__atomic_compare_exchange_n(row, &found, made, false, __ATOMIC_RELEASE, __ATOMIC_ACQUIRE))
        return &tracer->lifetimes[found]; /* somebody was faster; this row stays empty */
    tracer->lifetimes[made].site = site;
    return &tracer->lifetimes[made];
}

void account_lifetime(struct tracer *tracer, uint32_t site, uint64_t ticks, size_t bytes)
{
    ticks &= TICK_MASK;
    if (!site || !ticks || ticks >> (TICK_BITS - 1))
        return; /* no site; or the recorder's clock went back */
    struct region_lifetimes *row = lifetimes_of(tracer, site);
    if (!row)
        return;
    unsigned bucket = 64 - (unsigned)__builtin_clzll(ticks);
    if (bucket >= REGION_LIFETIME_BUCKETS)
        bucket = REGION_LIFETIME_BUCKETS - 1;
    __atomic_fetch_add(&row->buckets[bucket], (uint32_t)weight_of(tracer, bytes).blocks,
                       __ATOMIC_RELAXED);
}

/* --- without a thread's state, or inside of it --------------------------------------------------------- */

/* The row for what ended threads free; NULL: none. */
static struct region_thread *late_row(struct tracer *tracer)
{
    uint32_t row = __atomic_load_n(&tracer->late_row, __ATOMIC_RELAXED);
    if (row)
        return &tracer->threads[row];
    uint32_t made = region_row_new(tracer->region, REGION_THREADS);
    if (!made)
        return NULL;
    if (!__atomic_compare_exchange_n(&tracer->late_row, &row, made, false, __ATOMIC_RELAXED,
                                     __ATOMIC_RELAXED))
        made = row;
    return &tracer->threads[made];
}

static struct region_site_counts *shared_stripe(const struct tracer *tracer)
{
    return tracer->site_counts +
           (REGION_STRIPES - 1) * tracer->region->tables[REGION_SITE_COUNTS].max_rows;
}

/* All of account_gone by atomic adds. */
static void gone_shared(struct trace_thread *self, struct region_thread *row,
                        const struct account_gone *gone)
{
    struct tracer *tracer = tracer_page;
    uint64_t bytes = gone->block & BLOCK_BYTES_MASK;
    uint32_t site = (uint32_t)(gone->block >> BLOCK_SITE_SHIFT);
    count_add_atomic(&row->frees, 1);
    count_add_atomic(&row->freed_bytes, bytes);
    site_freed(shared_stripe(tracer), site, bytes, false);
    account_lifetime(tracer, site, tick_now(tracer) - gone->tick, bytes);
    task_foreign_free(self, gone->row, bytes);
    __atomic_fetch_sub(&tracer->region->live_bytes, bytes, __ATOMIC_RELAXED);
}

void account_freed_late(struct tracer *tracer, uintptr_t block)
{
    struct region_live *entry = account_find(tracer, block);
    struct region_thread *row = late_row(tracer);
    if (!row)
        return;
    if (!entry) {
        count_add_atomic(&row->unknown_frees, 1);
        return;
    }
    struct trace_thread nobody = {.row = row, .shares_stripe = 1};
    nobody.sites = shared_stripe(tracer);
    nobody.type_sums = tracer->type_sums +
                       (REGION_STRIPES - 1) * tracer->region->tables[REGION_TYPE_SUMS].max_rows;
    nobody.task = nobody.own_task = &tracer->tasks[0];
    struct account_gone gone = account_clear(&nobody, entry, block);
    gone_shared(&nobody, row, &gone);
}

/* The thread is in the middle of something: nothing of its own is touched but counters. */
void account_made_busy(struct trace_thread *self, uintptr_t block, size_t bytes)
{
    struct tracer *tracer = tracer_page;
    lost_add(tracer->region, LOST_IN_SIGNAL); /* its stack, at least */
    struct region_live *entry = live_place(tracer, block, tracer->granule_log2);
    if (!entry || entry->owner || block & 15 || bytes > BLOCK_BYTES_MASK)
        return;
    uint32_t row = self->task_id;
    uint64_t owner = owner_word(row, tick_now(tracer), block, 0);
    __atomic_store_n(&entry->block, bytes, __ATOMIC_RELAXED);
    __atomic_store_n(&entry->owner, owner, __ATOMIC_RELEASE);
    count_add(&self->row->allocations, 1);
    count_add(&self->row->allocated_bytes, bytes);
    account_task_made(&tracer->tasks[row], bytes);
    __atomic_fetch_add(&tracer->region->live_bytes, bytes, __ATOMIC_RELAXED);
}

void account_freed_busy(struct trace_thread *self, uintptr_t block)
{
    struct tracer *tracer = tracer_page;
    struct region_live *entry = account_find(tracer, block);
    if (!entry) {
        count_add(&self->row->unknown_frees, 1);
        return;
    }
    struct account_gone gone = {.block = entry->block, .owner = entry->owner};
    gone.row = (uint32_t)(gone.owner & OWNER_ROW_MASK);
    gone.tick = gone.owner >> TICK_SHIFT & TICK_MASK;
    if (gone.owner & (REGION_LIVE_CELL | REGION_LIVE_MAYBE))
        gone.tick = task_block_freed(self, entry, block);
    __atomic_store_n(&entry->owner, 0, __ATOMIC_RELEASE);
    gone_shared(self, self->row, &gone);
}
