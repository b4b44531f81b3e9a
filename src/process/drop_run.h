/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * One run of drop code in an emulator, and what was seen of it.  Inside task_drops.  One thread.
 */
#pragma once

#include "process/drop_functions.h"
#include "process/heap_blocks.h"

struct addr_range {
    uint64_t start, end;
};

/* A word that was read and is an address in the heap. */
struct drop_load {
    uint64_t value, addr;
};

struct drop_free {
    uint64_t addr, requested_bytes; /* ~0: unknown */
};

/* A count that was lowered by one. */
struct drop_change {
    uint64_t addr, before;
};

/*
 * What a run was told that another might be told otherwise: by the thread on which it is made, by
 * the kernel.  drop_doubt.h makes it again, to see whether it matters.
 */
struct drop_circumstances {
    uint64_t thread_pointer;
    bool are_calls_refused; /* system calls fail whose outcome nobody can know */
};

struct drop_run {
    struct emulator *emulator;
    const struct target *target;
    struct drop_circumstances circumstances;
    bool has_asked_thread, has_asked_kernel; /* it depends on them, maybe */
    unsigned nr_yields;
    const struct heap_blocks *blocks;
    const struct addr_range *futures; /* whose reads are noted; by address, apart from each other */
    size_t nr_futures;
    struct drop_load *loads;
    size_t nr_loads, loads_capacity;
    struct drop_free *frees;
    size_t nr_frees, frees_capacity;
    struct drop_change *changes;
    size_t nr_changes, changes_capacity;
    uint64_t *reads; /* addresses of words */
    size_t nr_reads, reads_capacity;
    uint64_t sized_addr, sized_bytes; /* what the last sized deallocation said */
    const char *stop_reason;          /* of EMULATOR_STOPPED */
};

/* `functions` and `blocks` must outlive it. */
void drop_run_init(struct drop_run *run, const struct target *target,
                   const struct heap_blocks *blocks, const struct drop_functions *functions);
void drop_run_deinit(struct drop_run *run);
/* For all runs from now on. */
void drop_run_set(struct drop_run *run, const struct drop_circumstances *circumstances);
/* Forgets what was seen and written. */
void drop_run_reset(struct drop_run *run);

/* For drop_functions: */
void drop_run_add_free(struct drop_run *run, uint64_t addr);
/* A read that the emulator's hook does not see: by a function that is answered. */
void drop_run_note_words(struct drop_run *run, uint64_t addr, const uint8_t *bytes, size_t size);

bool addr_in_ranges(const struct addr_range *ranges, size_t nr, uint64_t addr);
