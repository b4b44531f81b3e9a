/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the program calls instead of libc's malloc and its relatives.  Each makes the real call and has it
 * counted (tracer/account.h); errno, results and failures are those of the real function.  The stack begins
 * above the hook's own frame, which is why these files keep frame pointers.
 */
#include "tracer/hooks.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/real.h"

#define HOOK __attribute__((visibility("default")))

/* --- where the thread is not plainly ready ------------------------------------------------------------ */

static __attribute__((noinline)) bool enter_slowly(enum thread_access *access,
                                                   const struct stack_start *start)
{
    if (!real_get()) {
        *access = THREAD_PASS;
        return false;
    }
    int saved_errno = errno;
    *access = thread_enter(start);
    errno = saved_errno;
    return true;
}

/* A block was made: what there is to count, for a thread of that access. */
static __attribute__((noinline)) void made_slowly(enum thread_access access, void *block,
                                                  size_t bytes)
{
    if (!block || !tracer_page->ready)
        return;
    if (access == THREAD_BUSY)
        account_made_busy(trace_self, (uintptr_t)block, bytes);
    else if (access == THREAD_LATE)
        lost_add(tracer_page->region, LOST_NO_THREAD);
}

static __attribute__((noinline)) void freed_slowly(enum thread_access access, void *block)
{
    if (!block || !tracer_page->ready)
        return;
    if (access == THREAD_BUSY)
        account_freed_busy(trace_self, (uintptr_t)block);
    else if (access == THREAD_LATE)
        account_freed_late(tracer_page, (uintptr_t)block);
}

/* All but malloc and free, which have their own copies, for speed. */
static __attribute__((noinline)) void count_made(struct trace_thread *self, void *block,
                                                 size_t bytes, size_t align,
                                                 const struct stack_start *start)
{
    account_made(self, (uintptr_t)block, bytes, align, start);
}

/* A free of what is in no table: made before the tracer, or by it. */
static __attribute__((noinline)) void freed_unknown(struct trace_thread *self, void *block)
{
    if (real_is_bump(block))
        return;
    if (block)
        count_add(&self->row->unknown_frees, 1);
    real.free(block);
}

/* --- malloc, free ------------------------------------------------------------------------------------- */

static __attribute__((noinline)) void *malloc_slowly(size_t bytes, const struct stack_start *start)
{
    enum thread_access access;
    if (!enter_slowly(&access, start))
        return real_bump(bytes, 16);
    void *block = real.malloc(bytes);
    if (access != THREAD_TRACE)
        made_slowly(access, block, bytes);
    else if (block)
        count_made(trace_self, block, bytes, 0, start);
    return block;
}

HOOK void *malloc(size_t bytes)
{
    struct trace_thread *self = trace_self;
    struct stack_start start = start_here();
    if (!thread_is_open(self))
        return malloc_slowly(bytes, &start);
    void *block = real.malloc(bytes);
    if (__builtin_expect(block != NULL, 1))
        account_made(self, (uintptr_t)block, bytes, 0, &start);
    return block;
}

static __attribute__((noinline)) void free_slowly(void *block, const struct stack_start *start)
{
    enum thread_access access;
    if (real_is_bump(block) || !enter_slowly(&access, start))
        return;
    if (access != THREAD_TRACE)
        freed_slowly(access, block);
    else if (block && !account_freed(trace_self, (uintptr_t)block))
        count_add(&trace_self->row->unknown_frees, 1);
    real.free(block);
}

HOOK void free(void *block)
{
    struct trace_thread *self = trace_self;
    if (!thread_is_open(self)) {
        struct stack_start start = start_here();
        free_slowly(block, &start);
    } else if (__builtin_expect(account_freed(self, (uintptr_t)block), 1)) {
        real.free(block);
    } else {
        freed_unknown(self, block);
    }
}

/* --- all others: through one way in and one way out ---------------------------------------------------- */

bool hook_begin(enum thread_access *access, const struct stack_start *start,
                enum hook_allocator allocator)
{
    *access = THREAD_TRACE;
    if (!thread_is_open(trace_self) && !enter_slowly(access, start))
        return false;
    if (*access == THREAD_TRACE) {
        trace_self->in_real = allocator;
        trace_self->busy = 1;
    }
    return true;
}

void hook_end(enum thread_access access)
{
    if (access != THREAD_TRACE)
        return;
    trace_self->in_real = 0;
    thread_release(trace_self);
}

void *hook_made(enum thread_access access, void *block, size_t bytes, size_t align,
                const struct stack_start *start)
{
    if (access != THREAD_TRACE)
        made_slowly(access, block, bytes);
    else if (block)
        count_made(trace_self, block, bytes, align, start);
    return block;
}

void hook_freed(void *block, const struct stack_start *start)
{
    enum thread_access access = THREAD_TRACE;
    if (!block || (!thread_is_open(trace_self) && !enter_slowly(&access, start)))
        return;
    if (access != THREAD_TRACE)
        freed_slowly(access, block);
    else if (!account_freed(trace_self, (uintptr_t)block))
        count_add(&trace_self->row->unknown_frees, 1);
}

/* The entry is cleared first: as soon as the old block is free, another thread may have it. */
struct hook_move hook_move_begin(enum thread_access access, void *old)
{
    struct hook_move move = {0};
    if (access != THREAD_TRACE) {
        freed_slowly(access, old);
        return move;
    }
    move.entry = old ? account_find(tracer_page, (uintptr_t)old) : NULL;
    if (move.entry)
        move.gone = account_clear(trace_self, move.entry, (uintptr_t)old);
    return move;
}

void hook_move_end(enum thread_access access, void *old, const struct hook_move *move,
                   bool has_failed)
{
    if (access != THREAD_TRACE || !old)
        return;
    if (!move->entry)
        count_add(&trace_self->row->unknown_frees, has_failed ? 0 : 1);
    else if (has_failed)
        __atomic_store_n(&move->entry->owner, move->gone.owner, __ATOMIC_RELEASE);
    else
        account_gone(trace_self, (uintptr_t)old, &move->gone);
}

HOOK void *calloc(size_t nr, size_t each_bytes)
{
    struct stack_start start = start_here();
    enum thread_access access;
    if (!hook_begin(&access, &start, HOOK_LIBC))
        return real_bump(nr * each_bytes, 16);
    void *block = real.calloc(nr, each_bytes);
    hook_end(access);
    return hook_made(access, block, nr * each_bytes, 0, &start);
}

static void *realloc_bump(void *old, size_t bytes)
{
    void *block = real_get() ? malloc(bytes) : real_bump(bytes, 16);
    size_t left = real_bump_left(old);
    return block ? memcpy(block, old, bytes < left ? bytes : left) : NULL;
}

static void *realloc_from(void *old, size_t bytes, const struct stack_start *start)
{
    if (real_is_bump(old))
        return realloc_bump(old, bytes);
    enum thread_access access;
    if (!hook_begin(&access, start, HOOK_LIBC))
        return old ? NULL : real_bump(bytes, 16);
    struct hook_move move = hook_move_begin(access, old);
    void *block = real.realloc(old, bytes);
    hook_move_end(access, old, &move, !block && bytes);
    hook_end(access);
    return hook_made(access, block, bytes, 0, start);
}

HOOK void *realloc(void *old, size_t bytes)
{
    struct stack_start start = start_here();
    return realloc_from(old, bytes, &start);
}

HOOK void *reallocarray(void *old, size_t nr, size_t each_bytes)
{
    struct stack_start start = start_here();
    size_t bytes;
    if (__builtin_mul_overflow(nr, each_bytes, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc_from(old, bytes, &start);
}

HOOK int posix_memalign(void **block, size_t align, size_t bytes)
{
    struct stack_start start = start_here();
    enum thread_access access;
    if (!hook_begin(&access, &start, HOOK_LIBC))
        return (*block = real_bump(bytes, align)) ? 0 : ENOMEM;
    int result = real.posix_memalign(block, align, bytes);
    hook_end(access);
    if (result == 0)
        hook_made(access, *block, bytes, align, &start);
    return result;
}

HOOK void *aligned_alloc(size_t align, size_t bytes)
{
    struct stack_start start = start_here();
    enum thread_access access;
    if (!hook_begin(&access, &start, HOOK_LIBC))
        return real_bump(bytes, align);
    void *block = real.aligned_alloc(align, bytes);
    hook_end(access);
    return hook_made(access, block, bytes, align, &start);
}

HOOK void *memalign(size_t align, size_t bytes)
{
    struct stack_start start = start_here();
    enum thread_access access;
    if (!hook_begin(&access, &start, HOOK_LIBC))
        return real_bump(bytes, align);
    void *block = real.memalign(align, bytes);
    hook_end(access);
    return hook_made(access, block, bytes, align, &start);
}

HOOK void *valloc(size_t bytes)
{
    struct stack_start start = start_here();
    enum thread_access access;
    if (!hook_begin(&access, &start, HOOK_LIBC))
        return real_bump(bytes, 4096);
    void *block = real.valloc(bytes);
    hook_end(access);
    return hook_made(access, block, bytes, 0, &start);
}

HOOK void *pvalloc(size_t bytes)
{
    struct stack_start start = start_here();
    enum thread_access access;
    if (!hook_begin(&access, &start, HOOK_LIBC))
        return real_bump(bytes, 4096);
    void *block = real.pvalloc(bytes);
    hook_end(access);
    return hook_made(access, block, bytes, 0, &start);
}
