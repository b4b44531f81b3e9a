/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Where references from outside of the heap can be: registers, live stacks, thread-local memory,
 * globals of all images, and what else is mapped writable and private.  The stage before: target,
 * heap_blocks.  The stage after: heap_classes.
 *
 * Not among them: stacks below the stack pointer and those of ended threads, which glibc keeps, and
 * what lies between the blocks of a heap: free chunks and the allocator's own lists.
 */
#pragma once

#include "process/heap_scan.h"

/* Tells `scan->see` of all references in them. */
void heap_roots_read(struct heap_scan *scan);
