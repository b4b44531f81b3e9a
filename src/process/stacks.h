/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The call stacks of a target's threads.  In the stopped target only registers and stacks are
 * copied; they are unwound afterwards from the copies, with the unwind tables in the images'
 * files, by libdwfl.  The stage before: target.  The stage after: model/root_tasks.
 *
 * A stack that cannot be followed to its end, for whatever reason, keeps the addresses up to there
 * and says so.
 */
#pragma once

#include "process/reading.h"

/* Bytes to touch before the target is stopped; a parked thread has some hundred to some thousand. */
enum { STACKS_EXPECTED_BYTES = 2 << 20 };

struct thread_stack {
    pid_t tid;
    uint64_t registers[NR_DWARF_REGISTERS]; /* all 0: unknown */
    uint64_t addr;                          /* of the copy's first byte */
    uint32_t size_bytes;                    /* 0: no copy */
    const uint8_t *bytes;                   /* borrowed from the reading */
    size_t first_pc, nr_pcs;                /* in stacks.pcs, the innermost first */
    bool is_whole;                          /* down to the thread's first function */
};

struct stacks {
    struct thread_stack *rows; /* as the target's threads */
    size_t nr;
    /* Addresses in the functions that were called: of the call, not of what comes after it. */
    uint64_t *pcs;
    size_t nr_pcs, capacity;
};

/* In the stopped target. */
void stacks_copy(struct stacks *stacks, const struct target *target, struct reading *reading);
/* When it runs again. */
void stacks_unwind(struct stacks *stacks, const struct target *target);
void stacks_deinit(struct stacks *stacks);
