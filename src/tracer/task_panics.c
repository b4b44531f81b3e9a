/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Which tasks panicked.  tokio catches the panic of a task inside the poll, and nothing in the cell says so
 * that does not depend on the type of the task's output.  But each panic is raised through libgcc's
 * _Unwind_RaiseException, which this file replaces: before the real one runs it looks which frames between
 * there and the hook of the poll would catch.  tokio has exactly one, the outermost; a second one is the
 * program's own, inside the future, and then the panic is not the task's.
 *
 * Panics after the task is complete (in the drop of its output, in wakers) are swallowed by tokio.  The rules
 * of the tables read here: "Exception Handling ABI" of Itanium, as Rust and C++ use it.
 */
#include "tracer/tasks_part.h"

#include <dlfcn.h>
#include <unwind.h>

enum { MAX_FRAMES = 100000 };

enum encoding {
    ENCODING_ABSOLUTE = 0,
    ENCODING_ULEB = 1,
    ENCODING_U2,
    ENCODING_U4,
    ENCODING_U8,
    ENCODING_SLEB = 9,
    ENCODING_S2,
    ENCODING_S4,
    ENCODING_S8,
    ENCODING_FORM = 0x0f,
    ENCODING_OMITTED = 0xff,
};

/* The unwinder that the program uses; NULL: it has none. */
static struct {
    _Unwind_Reason_Code (*raise)(struct _Unwind_Exception *exception);
    _Unwind_Reason_Code (*backtrace)(_Unwind_Trace_Fn each, void *context);
    uintptr_t (*ip)(struct _Unwind_Context *frame, int *is_exact);
    uintptr_t (*sp)(struct _Unwind_Context *frame);
    void *(*table)(struct _Unwind_Context *frame);
    uintptr_t (*start)(struct _Unwind_Context *frame);
} unwinder;

static void *find(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (found)
        return found;
    /* Loaded with a plugin, for it alone. */
    void *library = dlopen("libgcc_s.so.1", RTLD_LAZY | RTLD_NOLOAD);
    return library ? dlsym(library, name) : NULL;
}

static void find_unwinder(void)
{
    unwinder.backtrace =
        (_Unwind_Reason_Code(*)(_Unwind_Trace_Fn, void *))find("_Unwind_Backtrace");
    unwinder.ip = (uintptr_t(*)(struct _Unwind_Context *, int *))find("_Unwind_GetIPInfo");
    unwinder.sp = (uintptr_t(*)(struct _Unwind_Context *))find("_Unwind_GetCFA");
    unwinder.table = (void *(*)(struct _Unwind_Context *))find("_Unwind_GetLanguageSpecificData");
    unwinder.start = (uintptr_t(*)(struct _Unwind_Context *))find("_Unwind_GetRegionStart");
    __atomic_store_n(
        &unwinder.raise,
        (_Unwind_Reason_Code(*)(struct _Unwind_Exception *))find("_Unwind_RaiseException"),
        __ATOMIC_RELEASE); /* pairs with _Unwind_RaiseException below */
}

/* --- does a frame catch? ----------------------------------------------------------------------- */

static uint64_t uleb(const uint8_t **at)
{
    uint64_t value = 0;
    for (unsigned shift = 0;; shift += 7) {
        uint8_t byte = *(*at)++;
        value |= shift < 64 ? (uint64_t)(byte & 0x7f) << shift : 0;
        if (!(byte & 0x80))
            return value;
    }
}

static int64_t sleb(const uint8_t **at)
{
    uint64_t value = 0;
    unsigned shift = 0;
    uint8_t byte;
    do {
        byte = *(*at)++;
        value |= shift < 64 ? (uint64_t)(byte & 0x7f) << shift : 0;
        shift += 7;
    } while (byte & 0x80);
    if (byte & 0x40 && shift < 64)
        value |= ~(uint64_t)0 << shift;
    return (int64_t)value;
}

static unsigned encoded_bytes(uint8_t encoding)
{
    switch (encoding & ENCODING_FORM) {
    case ENCODING_U2:
    case ENCODING_S2:
        return 2;
    case ENCODING_U4:
    case ENCODING_S4:
        return 4;
    default:
        return 8;
    }
}

/* As it stands there, without what it is relative to. */
static uint64_t encoded(const uint8_t **at, uint8_t encoding)
{
    if ((encoding & ENCODING_FORM) == ENCODING_ULEB)
        return uleb(at);
    if ((encoding & ENCODING_FORM) == ENCODING_SLEB)
        return (uint64_t)sleb(at);
    uint64_t value = 0;
    __builtin_memcpy(&value, *at, encoded_bytes(encoding));
    *at += encoded_bytes(encoding);
    return value;
}

/* Is one of the actions "catch everything"?  What is only for some type of C++ does not catch a panic. */
static bool catches_all(const uint8_t *action, const uint8_t *types, uint8_t type_encoding)
{
    for (;;) {
        int64_t type = sleb(&action);
        const uint8_t *next = action;
        int64_t distance = sleb(&action);
        if (type > 0 && types) {
            const uint8_t *at = types - type * encoded_bytes(type_encoding);
            if (encoded(&at, type_encoding) == 0)
                return true;
        }
        if (!distance)
            return false;
        action = next + distance;
    }
}

/* The table of a function's call sites; is the one at `offset` in a block that catches? */
static bool table_catches(const uint8_t *at, uint64_t offset)
{
    const uint8_t *types = NULL;
    uint8_t pad_encoding = *at++;
    if (pad_encoding != ENCODING_OMITTED)
        encoded(&at, pad_encoding);
    uint8_t type_encoding = *at++;
    if (type_encoding != ENCODING_OMITTED) {
        uint64_t bytes = uleb(&at);
        types = at + bytes;
    }
    uint8_t site_encoding = *at++;
    uint64_t sites_bytes = uleb(&at);
    const uint8_t *actions = at + sites_bytes;
    while (at < actions) {
        uint64_t start = encoded(&at, site_encoding);
        uint64_t length = encoded(&at, site_encoding);
        uint64_t pad = encoded(&at, site_encoding);
        uint64_t action = uleb(&at);
        if (offset - start < length)
            return pad && action && catches_all(actions + action - 1, types, type_encoding);
    }
    return false;
}

struct catchers {
    uintptr_t hook_sp; /* an address in the frame of the hook */
    unsigned nr, nr_frames;
};

static _Unwind_Reason_Code see_frame(struct _Unwind_Context *frame, void *context)
{
    struct catchers *catchers = context;
    int is_exact = 0;
    if (unwinder.sp(frame) > catchers->hook_sp || ++catchers->nr_frames > MAX_FRAMES)
        return _URC_END_OF_STACK;
    uintptr_t ip = unwinder.ip(frame, &is_exact) - !is_exact;
    const uint8_t *table = unwinder.table(frame);
    catchers->nr += table && table_catches(table, ip - unwinder.start(frame));
    return catchers->nr > 1 ? _URC_END_OF_STACK : _URC_NO_REASON;
}

static void see_panic(struct task_call *call)
{
    struct catchers catchers = {.hook_sp = (uintptr_t)call};
    if (call->flags.is_cell_freed || task_state(call->header) & TASK_IS_COMPLETE)
        return;
    unwinder.backtrace(see_frame, &catchers);
    /* What a drop raises and catches on the way of the task's own panic does not take that back. */
    call->flags.has_panicked |= catchers.nr == 1;
}

__attribute__((visibility("default"))) _Unwind_Reason_Code
_Unwind_RaiseException(struct _Unwind_Exception *exception)
{
    struct trace_thread *thread = trace_self;
    if (!__atomic_load_n(&unwinder.raise, __ATOMIC_ACQUIRE)) /* pairs with find_unwinder */
        find_unwinder();
    if (!unwinder.raise)
        return _URC_FATAL_PHASE1_ERROR;
    if (thread && thread->ready && thread->call && unwinder.backtrace && unwinder.ip &&
        unwinder.sp && unwinder.table && unwinder.start)
        see_panic(thread->call);
    return unwinder.raise(exception);
}
