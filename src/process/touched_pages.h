/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Which parts of a target's memory were ever used: pages that are present or swapped out
 * (/proc/PID/pagemap, proc(5)).  Others are zeros, and of no interest to whoever looks for pointers.
 */
#pragma once

#include "process/target.h"

struct touched_pages {
    int pagemap;     /* -1: none; everything counts as used */
    uint64_t *pages; /* entries of it */
    bool is_strict;  /* also for ranges that are small: to read an unused page would make it */
};

typedef void touched_fn(void *context, uint64_t start, uint64_t end);

void touched_pages_open(struct touched_pages *touched, const struct target *target);
void touched_pages_close(struct touched_pages *touched);
/* Calls `each` for the used parts of [start, end), which are page-aligned, by address. */
void touched_pages_each(const struct touched_pages *touched, uint64_t start, uint64_t end,
                        touched_fn *each, void *context);
