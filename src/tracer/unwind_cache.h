/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The rules of all pcs met so far, shared by all threads.  A pc that is not there, or whose rule is of an
 * older generation (tracer/image_ranges.h), is made anew.  Nobody waits: a reader that meets a
 * half-written entry makes the rule for itself, a writer that meets another leaves the entry alone.
 */
#pragma once

#include "tracer/unwind_rules.h"

struct unwind_scratch;

/* What is known of the code at a pc. */
union unwind_code {
    struct {
        struct unwind_rule rule;
        uint32_t image; /* row of REGION_IMAGES; 0: none */
    };
    uint64_t words[2];
};

/* A key: the pc, with its highest bit set where the pc was interrupted and is no return address. */
#define UNWIND_EXACT ((uint64_t)1 << 63)

static inline uint64_t unwind_pc(uint64_t key)
{
    return key & ~UNWIND_EXACT;
}

struct unwind_cache_entry {
    uint64_t key;
    uint64_t code[2]; /* the words of union unwind_code */
    uint32_t generation;
    uint32_t sequence; /* odd while it is written */
};
_Static_assert(sizeof(struct unwind_cache_entry) == 32, "two in a cache line");

struct unwind_cache {
    uint32_t shift; /* of a hash's upper bits */
    uint32_t nr;    /* entries in use; atomic */
    uint32_t max;
    uint32_t reserved[5];
    struct unwind_cache_entry entries[]; /* a few more than max: probes go on behind the last */
};

extern struct unwind_cache *unwind_cache_now __attribute__((visibility("hidden"))); /* atomic */

static inline struct unwind_cache_entry *unwind_cache_entry(struct unwind_cache *in, uint64_t key)
{
    return &in->entries[(key * 0x9e3779b97f4a7c15ULL) >> in->shift];
}

/* What the entry says of key, if it is whole and of this generation. */
static inline bool unwind_cache_read(const struct unwind_cache_entry *entry, uint64_t key,
                                     uint32_t generation, union unwind_code *code)
{
    uint32_t before =
        __atomic_load_n(&entry->sequence, __ATOMIC_ACQUIRE); /* pairs with its writer's */
    if (__atomic_load_n(&entry->key, __ATOMIC_RELAXED) != key)
        return false;
    uint32_t entry_generation = __atomic_load_n(&entry->generation, __ATOMIC_RELAXED);
    code->words[0] = __atomic_load_n(&entry->code[0], __ATOMIC_RELAXED);
    code->words[1] = __atomic_load_n(&entry->code[1], __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return entry_generation == generation && !(before & 1) &&
           __atomic_load_n(&entry->sequence, __ATOMIC_RELAXED) == before;
}

/* Where it is not in the first place. */
union unwind_code unwind_code_search(uint64_t key, uint32_t generation,
                                     struct unwind_scratch *scratch);

static inline union unwind_code unwind_code_at(uint64_t key, uint32_t generation,
                                               struct unwind_scratch *scratch)
{
    struct unwind_cache *in = __atomic_load_n(&unwind_cache_now, __ATOMIC_ACQUIRE);
    union unwind_code code;
    if (in && unwind_cache_read(unwind_cache_entry(in, key), key, generation, &code))
        return code;
    return unwind_code_search(key, generation, scratch);
}
