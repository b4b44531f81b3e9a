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

union unwind_code unwind_code_at(uint64_t key, uint32_t generation, struct unwind_scratch *scratch);
