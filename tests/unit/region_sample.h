/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A live region filled as the tracer fills it, by events whose sums are known: threads that allocate and free for
 * tasks or for themselves, tasks that end and are folded.
 */
#pragma once

#include "recording/region.h"

enum { SAMPLE_TASKS = 64, SAMPLE_BLOCKS = 4096, SAMPLE_TYPES = 8, SAMPLE_SITES = 64 };

struct sample_block {
    uint64_t addr, bytes; /* addr 0: freed */
    uint32_t task, site;
};

struct sample_counts {
    uint64_t allocations, allocated_bytes, frees, freed_bytes, live_blocks, live_bytes;
};

struct region_sample {
    struct region region;
    struct sample_block blocks[SAMPLE_BLOCKS];
    uint32_t nr_blocks;
    /* What is true, by row of the region. */
    struct sample_counts all, by_site[SAMPLE_SITES], by_type[SAMPLE_TYPES], by_task[SAMPLE_TASKS];
    uint64_t tasks_of_type[SAMPLE_TYPES], folded_of_type[SAMPLE_TYPES];
};

/* With small tables and one image, /nowhere/program, whose code is at 0x10000 (bias 0x10000). */
void sample_region(struct region_sample *sample, enum region_stacks stacks);
void sample_region_free(struct region_sample *sample);

/* Rows; each returns its position. */
uint32_t sample_thread(struct region_sample *sample, const char *name);
uint32_t sample_type(struct region_sample *sample, uint64_t vtable_offset);
uint32_t sample_node(struct region_sample *sample, uint32_t parent, uint64_t pc);
/* `type`: of what allocates there; 0: not said. */
uint32_t sample_site(struct region_sample *sample, uint32_t node, uint32_t type);
uint32_t sample_task(struct region_sample *sample, uint32_t type);

/* The row of REGION_TASKS of a thread. */
uint32_t sample_own_task(const struct region_sample *sample, uint32_t thread);
struct region_task *sample_task_row(const struct region_sample *sample, uint32_t task);

/* A block, by `thread` for `task`; returns its position in `blocks`. */
uint32_t sample_allocate(struct region_sample *sample, uint32_t thread, uint32_t task,
                         uint32_t site, uint64_t bytes);
/* `is_foreign`: by somebody who is not polling the block's task. */
void sample_release(struct region_sample *sample, uint32_t thread, uint32_t block, bool is_foreign);
/* Ends the task; folds it if it holds nothing, and else when its last block is freed. */
void sample_end(struct region_sample *sample, uint32_t thread, uint32_t task,
                enum region_task_end end);

/* Rows of the region, to break them. */
void *sample_row(const struct region_sample *sample, enum region_table_id table, uint32_t row);
