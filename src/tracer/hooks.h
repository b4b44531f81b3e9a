/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The way in and out of a hook, for hooks of libc's allocator (hooks.c) and of others (slot_functions.c):
 *
 *     struct stack_start start = start_here();
 *     enum thread_access access;
 *     if (hook_begin(&access, &start, HOOK_LIBC)) ... real call ...
 *     hook_end(access);
 *     return hook_made(access, block, bytes, align, &start);
 */
#pragma once

#include "tracer/account.h"
#include "tracer/threads.h"

/* Whose allocator is inside: glibc's calls none of its own exported functions. */
enum hook_allocator { HOOK_LIBC = 1, HOOK_OTHER = 2 };

/* The state of the function that called the hook; in the hook itself. */
static inline __attribute__((always_inline)) struct stack_start start_here(void)
{
    const uintptr_t *frame = __builtin_frame_address(0);
    return (struct stack_start){.rbp = frame[0], .pc = frame[1], .sp = (uintptr_t)(frame + 2)};
}

/*
 * Which thread counts what comes, and that it is inside the real allocator.  False: the real functions are not
 * known yet (then there is no end).
 */
bool hook_begin(enum thread_access *access, const struct stack_start *start,
                enum hook_allocator allocator);
void hook_end(enum thread_access access);

/* A block was made, outside of begin and end; returns it.  NULL: none was. */
void *hook_made(enum thread_access access, void *block, size_t bytes, size_t align,
                const struct stack_start *start);
/* A block will be freed, outside of begin and end. */
void hook_freed(void *block, const struct stack_start *start);

/* A block whose size is about to change, and that may move; between begin and end. */
struct hook_move {
    struct region_live *entry;
    struct account_gone gone;
};
struct hook_move hook_move_begin(enum thread_access access, void *old);
/* `has_failed`: the old block is as it was.  Else it is gone, and what was made is told by hook_made. */
void hook_move_end(enum thread_access access, void *old, const struct hook_move *move,
                   bool has_failed);
