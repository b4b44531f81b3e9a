/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * From the registers at an allocation to the site: the row of the whole stack.  The stage before: the
 * hooks of malloc.  The stage after: the region's REGION_NODES and REGION_SITES.
 *
 * The whole stack is found anew each time, but mostly without walking it: "verify the previous stack".
 * An unwind reads a fixed list of memory cells; where the thread's last unwind passed through the same
 * state and all cells from there outward hold what they held, the rest is the same
 * (docs/ARCHITECTURE.md).  Rules come from .eh_frame, one function at a time, when it is first met.
 */
#pragma once

#include "tracer/tracer.h"

/* The registers of the function that called the hook, as they are after the call returns. */
struct stack_start {
    uintptr_t pc; /* the return address */
    uintptr_t sp; /* above it */
    uintptr_t rbp;
};

/* Bytes that a thread needs, and their set-up in zeroed memory. */
size_t stack_memory_bytes(void);
void stack_memory_init(struct stack_memory *memory);

/* The site of this stack (new or known); 0: it could not be had (counted in `lost`). */
uint32_t stack_site(struct trace_thread *thread, const struct stack_start *start);
