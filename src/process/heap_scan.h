/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Reading blocks for the words in them that are addresses of blocks.  Nothing of the graph is kept:
 * what follows from a reference is up to the caller, who asks for further blocks while it runs, so
 * that a block is read as often as it is asked for.  The stage before: heap_blocks.  The stage
 * after: heap_classes.
 *
 * Neighbours are read together, by several threads.  Which blocks wait to be read is a bit for
 * each; a second bit for each 4,096 of them makes a step of few blocks cheap in a heap of millions.
 */
#pragma once

#include "process/heap_blocks.h"

/* An aligned word whose value lies in a block. */
struct heap_reference {
    uint64_t addr, value; /* of the word */
    uint32_t from;        /* position + 1 of the block that has it; 0: none, it is a root */
    uint32_t to;          /* position of the block that it points into */
};

/* By several threads at once. */
typedef void heap_see_fn(void *context, const struct heap_reference *reference);

struct heap_scan {
    const struct target *target;
    const struct heap_blocks *blocks;
    heap_see_fn *see;
    void *context;
    uint64_t *pending; /* by block: waits to be read */
    uint64_t *groups;  /* by group of blocks: one of them waits */
    size_t nr_groups;
    uint64_t **buffers; /* by worker */
    unsigned nr_workers;
};

void heap_scan_init(struct heap_scan *scan, const struct target *target,
                    const struct heap_blocks *blocks);
void heap_scan_deinit(struct heap_scan *scan);

/* Who is told of references from now on. */
void heap_scan_tell(struct heap_scan *scan, heap_see_fn *see, void *context);
/* The block is to be read (again).  Any thread, also in `see`. */
void heap_scan_add(struct heap_scan *scan, uint32_t block);
/* Reads until no block waits. */
void heap_scan_run(struct heap_scan *scan);
/* Reads memory that is no block; what cannot be read is passed over. */
void heap_scan_roots(struct heap_scan *scan, uint64_t start, uint64_t end);
/* The same for words that are at hand; `addr` is for `see`. */
void heap_scan_words(struct heap_scan *scan, uint64_t addr, const uint64_t *words, size_t nr);
