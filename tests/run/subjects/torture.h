/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the parts of the subject `torture` share: see torture.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A row of the table of modes: `run` prints its result, which does not depend on time or on addresses. */
struct torture_mode {
    const char *name;
    int (*run)(unsigned long amount, const char *file);
};

extern const struct torture_mode torture_process_modes[]; /* the last has no name */
extern const struct torture_mode torture_signal_modes[];

/* How many blocks torture_churn and the storm's handlers made and gave back; atomic.  A realloc does both. */
extern uint64_t torture_made, torture_gone;
void torture_count(uint64_t *counter);

/* The same numbers in each run. */
static inline uint64_t torture_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* So many allocations and frees of all kinds, with at most 64 blocks alive; what the blocks held, summed. */
uint64_t torture_churn(unsigned long nr_events, uint64_t seed);

/* Ends the process with a sentence if it does not hold. */
void torture_check(bool holds, const char *what);
