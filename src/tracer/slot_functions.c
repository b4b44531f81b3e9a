/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What an image calls instead of the mimalloc or jemalloc that it brings along (tracer/slots.h).  As nobody
 * tells such a function which image it was called from, this file is compiled once for each set
 * (meson.build: SLOTS_SET), and a set belongs to one image.
 */
#include "tracer/slots.h"

#include "tracer/hooks.h"

enum { JE_ALIGN_MASK = 0x3f }; /* of jemalloc's flags: log2 of the alignment */

#define INLINE static inline __attribute__((always_inline))

static void *behind(enum region_slot_function function)
{
    return slots_behind[SLOTS_SET][function];
}

static size_t je_align(int flags)
{
    return flags & JE_ALIGN_MASK ? (size_t)1 << (flags & JE_ALIGN_MASK) : 0;
}

/* --- in and out ------------------------------------------------------------------------------------------ */

struct call {
    struct stack_start start;
    enum thread_access access;
    bool has_begun;
    struct hook_move move;
};

INLINE struct call begin(void)
{
    struct call call = {.start = start_here()};
    call.has_begun = hook_begin(&call.access, &call.start, HOOK_OTHER);
    return call;
}

INLINE void *end(struct call *call, void *block, size_t bytes, size_t align)
{
    if (!call->has_begun)
        return block;
    hook_end(call->access);
    return hook_made(call->access, block, bytes, align, &call->start);
}

INLINE struct call begin_move(void *old)
{
    struct call call = begin();
    if (call.has_begun)
        call.move = hook_move_begin(call.access, old);
    return call;
}

INLINE void *end_move(struct call *call, void *old, void *block, size_t bytes, size_t align)
{
    if (call->has_begun)
        hook_move_end(call->access, old, &call->move, !block && bytes);
    return end(call, block, bytes, align);
}

INLINE void begin_free(void *block)
{
    struct stack_start start = start_here();
    hook_freed(block, &start);
}

/* --- made ------------------------------------------------------------------------------------------------ */

typedef void *make_function(size_t bytes);
typedef void *make_two_function(size_t a, size_t b);

static void *mi_malloc(size_t bytes)
{
    struct call call = begin();
    return end(&call, ((make_function *)behind(REGION_SLOT_MI_MALLOC))(bytes), bytes, 0);
}

static void *mi_zalloc(size_t bytes)
{
    struct call call = begin();
    return end(&call, ((make_function *)behind(REGION_SLOT_MI_ZALLOC))(bytes), bytes, 0);
}

static void *mi_malloc_aligned(size_t bytes, size_t align)
{
    struct call call = begin();
    void *block = ((make_two_function *)behind(REGION_SLOT_MI_MALLOC_ALIGNED))(bytes, align);
    return end(&call, block, bytes, align);
}

static void *mi_zalloc_aligned(size_t bytes, size_t align)
{
    struct call call = begin();
    void *block = ((make_two_function *)behind(REGION_SLOT_MI_ZALLOC_ALIGNED))(bytes, align);
    return end(&call, block, bytes, align);
}

static void *je_malloc(size_t bytes)
{
    struct call call = begin();
    return end(&call, ((make_function *)behind(REGION_SLOT_JE_MALLOC))(bytes), bytes, 0);
}

static void *je_calloc(size_t nr, size_t each_bytes)
{
    struct call call = begin();
    void *block = ((make_two_function *)behind(REGION_SLOT_JE_CALLOC))(nr, each_bytes);
    return end(&call, block, nr * each_bytes, 0);
}

static void *je_mallocx(size_t bytes, int flags)
{
    struct call call = begin();
    void *block = ((void *(*)(size_t, int))behind(REGION_SLOT_JE_MALLOCX))(bytes, flags);
    return end(&call, block, bytes, je_align(flags));
}

static void *je_aligned_alloc(size_t align, size_t bytes)
{
    struct call call = begin();
    void *block = ((make_two_function *)behind(REGION_SLOT_JE_ALIGNED_ALLOC))(align, bytes);
    return end(&call, block, bytes, align);
}

static int je_posix_memalign(void **block, size_t align, size_t bytes)
{
    struct call call = begin();
    int result = ((int (*)(void **, size_t, size_t))behind(REGION_SLOT_JE_POSIX_MEMALIGN))(
        block, align, bytes);
    end(&call, result == 0 ? *block : NULL, bytes, align);
    return result;
}

/* --- moved ----------------------------------------------------------------------------------------------- */

typedef void *move_function(void *old, size_t bytes);

static void *mi_realloc(void *old, size_t bytes)
{
    struct call call = begin_move(old);
    void *block = ((move_function *)behind(REGION_SLOT_MI_REALLOC))(old, bytes);
    return end_move(&call, old, block, bytes, 0);
}

static void *mi_realloc_aligned(void *old, size_t bytes, size_t align)
{
    struct call call = begin_move(old);
    void *block = ((void *(*)(void *, size_t, size_t))behind(REGION_SLOT_MI_REALLOC_ALIGNED))(
        old, bytes, align);
    return end_move(&call, old, block, bytes, align);
}

static void *je_realloc(void *old, size_t bytes)
{
    struct call call = begin_move(old);
    void *block = ((move_function *)behind(REGION_SLOT_JE_REALLOC))(old, bytes);
    return end_move(&call, old, block, bytes, 0);
}

static void *je_rallocx(void *old, size_t bytes, int flags)
{
    struct call call = begin_move(old);
    void *block =
        ((void *(*)(void *, size_t, int))behind(REGION_SLOT_JE_RALLOCX))(old, bytes, flags);
    return end_move(&call, old, block, bytes, je_align(flags));
}

/* In place: the block is its owner's all the time. */
static size_t je_xallocx(void *block, size_t bytes, size_t extra, int flags)
{
    size_t usable = ((size_t(*)(void *, size_t, size_t, int))behind(REGION_SLOT_JE_XALLOCX))(
        block, bytes, extra, flags);
    if (usable < bytes)
        return usable;
    struct call call = begin_move(block);
    end_move(&call, block, block, bytes, je_align(flags));
    return usable;
}

/* --- freed ----------------------------------------------------------------------------------------------- */

static void mi_free(void *block)
{
    begin_free(block);
    ((void (*)(void *))behind(REGION_SLOT_MI_FREE))(block);
}

static void je_free(void *block)
{
    begin_free(block);
    ((void (*)(void *))behind(REGION_SLOT_JE_FREE))(block);
}

static void je_sdallocx(void *block, size_t bytes, int flags)
{
    begin_free(block);
    ((void (*)(void *, size_t, int))behind(REGION_SLOT_JE_SDALLOCX))(block, bytes, flags);
}

static void je_dallocx(void *block, int flags)
{
    begin_free(block);
    ((void (*)(void *, int))behind(REGION_SLOT_JE_DALLOCX))(block, flags);
}

/* --- the set --------------------------------------------------------------------------------------------- */

void *const SLOTS_TABLE[NR_REGION_SLOT_FUNCTIONS] = {
    [REGION_SLOT_MI_MALLOC_ALIGNED] = mi_malloc_aligned,
    [REGION_SLOT_MI_ZALLOC_ALIGNED] = mi_zalloc_aligned,
    [REGION_SLOT_MI_REALLOC_ALIGNED] = mi_realloc_aligned,
    [REGION_SLOT_MI_MALLOC] = mi_malloc,
    [REGION_SLOT_MI_ZALLOC] = mi_zalloc,
    [REGION_SLOT_MI_REALLOC] = mi_realloc,
    [REGION_SLOT_MI_FREE] = mi_free,
    [REGION_SLOT_JE_MALLOC] = je_malloc,
    [REGION_SLOT_JE_CALLOC] = je_calloc,
    [REGION_SLOT_JE_REALLOC] = je_realloc,
    [REGION_SLOT_JE_FREE] = je_free,
    [REGION_SLOT_JE_MALLOCX] = je_mallocx,
    [REGION_SLOT_JE_RALLOCX] = je_rallocx,
    [REGION_SLOT_JE_XALLOCX] = je_xallocx,
    [REGION_SLOT_JE_SDALLOCX] = je_sdallocx,
    [REGION_SLOT_JE_DALLOCX] = je_dallocx,
    [REGION_SLOT_JE_POSIX_MEMALIGN] = je_posix_memalign,
    [REGION_SLOT_JE_ALIGNED_ALLOC] = je_aligned_alloc,
};
