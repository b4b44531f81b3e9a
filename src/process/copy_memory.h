/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The memory of a copied target: that of the child, and what a child does not have, which was read
 * while the target stood still.
 */
#pragma once

#include "process/target.h"

enum { MAX_KEPT_BYTES = 64 << 20 };

struct kept_range {
    uint64_t start, end;
    uint64_t kept_bytes; /* from the start on; the rest cannot be read */
    uint8_t *bytes;
};

struct copy_memory {
    struct kept_range *ranges; /* by address */
    size_t nr_ranges, capacity;
    size_t left_bytes; /* of mappings that were not kept */
    size_t nr_left;
};

/*
 * In the stopped target, whose child is `child`: keeps what the child does not have or what changes
 * under it.  Reads the target's table of mappings.
 */
void copy_memory_keep(struct copy_memory *memory, const struct target *target, pid_t child);
void copy_memory_deinit(struct copy_memory *memory);

/* As target_read and target_read_many; by several threads at once. */
size_t copy_read(const struct target *target, uint64_t addr, void *buffer, size_t size);
void copy_read_many(const struct target *target, struct target_range *ranges, size_t nr);
