/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A program with a live region, as the tracer would fill it: by hand. */
#pragma once

#include "process/traced_blocks.h"

/* Zeroed memory with the header's alignment, for headers alone. */
struct traced_world {
    struct region region;
    pid_t child;
    struct target target;
    uint64_t *shared; /* a page that the child writes: TRACED_WORDS of them */
};

enum {
    TRACED_READY,  /* the child is where it stays */
    TRACED_FINISH, /* it shall end */
    TRACED_COUNT,  /* that it counts up, with the first block's size */
    TRACED_WORDS = 8,
    TRACED_SITE = 7,
    TRACED_TASK = 3,
};

/* An entry of the live table, of site TRACED_SITE and task TRACED_TASK. */
void traced_put_block(struct region *region, uint64_t addr, unsigned granule_log2, uint64_t bytes);

/* What of it the child does, until its end. */
typedef void traced_life(struct traced_world *world);
/* Makes the region and a child that has it mapped; `life` may be NULL: it only waits. */
void traced_world_start(struct traced_world *world, traced_life *life);
void traced_world_end(struct traced_world *world);
