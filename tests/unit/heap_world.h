/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A heap with tasks, made by hand: a core of one thread, one page of globals and one of stack. */
#pragma once

#include "process/heap_classes.h"

#define WORLD_GLOBALS UINT64_C(0x20000)
#define WORLD_HEAP UINT64_C(0x10000000)
#define WORLD_STACK UINT64_C(0x7f0000000000)
enum { WORLD_PAGE = 4096 };
/* The cells of a world have the shape of tokio's. */
enum { WORLD_STAGE = 48, WORLD_TRAILER = 96, WORLD_PREV = 96, WORLD_NEXT = 104, WORLD_CELL = 136 };

struct world {
    struct target target;
    struct mapping mappings[4];
    struct core_segment segments[3];
    struct target_thread threads[1];
    uint64_t *heap, globals[WORLD_PAGE / 8], stack[WORLD_PAGE / 8];
    uint64_t heap_bytes;
    struct heap_blocks blocks;
    uint32_t *owners; /* for each 8 bytes of the heap: position + 1 of the block */
    struct plan plan;
    struct process_plan plans[1];
    struct cell_kind kinds[1];
    struct task_cells cells;
    struct task_drops drops;
};

/* Room for blocks, which world_add_block adds; nothing in it. */
void world_init(struct world *world, size_t max_blocks, uint64_t heap_bytes);
void world_free(struct world *world);
/* Behind the one before it, as glibc would place it; its position. */
uint32_t world_add_block(struct world *world, uint64_t size_bytes);
/* Makes a block a cell; the task's position. */
uint32_t world_add_cell(struct world *world, uint32_t block, uint64_t state);
void world_add_share(struct world *world, uint32_t block, uint32_t task);
/* The end of the counted block of the last share alone frees this one too. */
void world_add_part(struct world *world, uint32_t block);
void world_add_runtime(struct world *world, uint64_t addr);

/* Position + 1; 0: none. */
uint32_t world_block_at(const struct world *world, uint64_t addr);
/* The place of a word of the heap, the globals or the stack. */
uint64_t *world_word(struct world *world, uint64_t addr);

/* `nr` blocks with cells, held and counted ones among them, and words that are mostly addresses. */
void world_random(struct world *world, uint64_t *random, size_t nr);
