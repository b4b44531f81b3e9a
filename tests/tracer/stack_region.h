/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What stacks need of the rest of the tracer, in small, for tests: a region without a recorder, threads'
 * memory, and the images that are loaded.
 */
#pragma once

#include "tracer/stack.h"

/* Tables for stacks alone; NULL: no memory. */
struct region_header *stack_region_new(uint32_t max_nodes, uint32_t max_sites, uint32_t max_index);
void stack_region_free(struct region_header *region);

/* Everything that region_row_new and stack_site write goes there from now on. */
void stack_region_use(struct region_header *region);

/* A thread with memory for stacks. */
struct trace_thread *stack_region_thread_new(void);
void stack_region_thread_free(struct trace_thread *thread);

/* The rows of images are made as stacks meet them; each load has its own. */
void stack_region_follow_images(void);

/* The stack of a site, innermost first; returns how many frames it has, of which at most `max` are stored. */
uint32_t stack_region_frames(uint32_t site, const struct region_node **frames, uint32_t max);
