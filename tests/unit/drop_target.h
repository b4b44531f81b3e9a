/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A target whose code is the test's own: a child that is a copy of the test and waits.  Its heap is made by
 * hand, in a room of the test's memory.
 */
#pragma once

#include "process/drop_run.h"

struct drop_target {
    struct target target;
    struct heap_blocks blocks;
    uint64_t *room; /* of the blocks: the same address here and in the child */
    uint64_t used_bytes;
};

/* An empty heap. */
void drop_target_init(struct drop_target *drop);
/* Behind the one before it; at least 24 bytes, as glibc would round them. */
void *drop_target_block(struct drop_target *drop, size_t size_bytes);
/* From here on the child has what is in memory now. */
void drop_target_start(struct drop_target *drop);
void drop_target_end(struct drop_target *drop);
/* Position of the block that begins there. */
uint32_t drop_target_row(const struct drop_target *drop, const void *block);
