/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The program's own calls of dlopen, dlmopen, dlclose and dlsym (tracer/images.h).  A thread is marked from its
 * call on until it was seen outside again and all images are hooked.
 */
#include "tracer/image_calls.h"

#include <dlfcn.h>

#include "tracer/images.h"
#include "tracer/real.h"
#include "tracer/setup.h"

enum {
    MAX_TRIES = 64
}; /* events for which a thread waits for others that never come back from the loader */

static uint32_t threads_in_loader; /* atomic; marked ones */

/* For the calling thread, which is marked. */
static bool nobody_else(void)
{
    return __atomic_load_n(&threads_in_loader, __ATOMIC_ACQUIRE) <= 1;
}

typedef void *dlsym_function(void *handle, const char *name);

/* dlsym waits for whoever is in the loader; here it is about to be called anyway. */
static bool nobody_after_waiting(void)
{
    ((dlsym_function *)real.dlsym)(RTLD_DEFAULT, "malloc");
    return true;
}

static void attend(struct trace_thread *self, uintptr_t sp, bool (*is_quiet)(void))
{
    self->busy = 1;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    if (images_have_news())
        images_look(tracer_page, is_quiet);
    bool has_returned = sp >= self->image_call_sp;
    if (has_returned && (images_are_hooked() || ++self->image_tries > MAX_TRIES)) {
        self->image_call_sp = 0;
        self->image_tries = 0;
        self->ready = THREAD_READY;
        __atomic_fetch_sub(&threads_in_loader, 1, __ATOMIC_RELEASE);
    }
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    self->busy = 0;
}

void image_calls_attend(struct trace_thread *self, const struct stack_start *start)
{
    if (!images_is_loader(start->pc))
        attend(self, start->sp, nobody_else);
}

void image_calls_begin(void)
{
    threads_in_loader = 0; /* in a child of fork nobody else is there */
}

static void mark(struct trace_thread *self, uintptr_t sp)
{
    self->image_call_sp = sp;
    self->image_tries = 0;
    __atomic_fetch_add(&threads_in_loader, 1, __ATOMIC_ACQ_REL);
    self->ready = THREAD_ATTENTION;
}

/* Called with the stack pointer of the program's call. */
static void call_begins(struct trace_thread *self, uintptr_t sp)
{
    if (self->ready == THREAD_ATTENTION && sp >= self->image_call_sp)
        attend(self, sp, nobody_else); /* the last call, which nothing followed but this one */
    if (self->ready == THREAD_READY)
        mark(self, sp);
    else if (sp > self->image_call_sp)
        self->image_call_sp = sp;
}

enum image_call { CALL_OPEN, CALL_OPEN_SPACE, CALL_CLOSE, CALL_SYMBOL };

/* The function to jump to. */
__attribute__((used)) static void *image_call(uintptr_t sp, enum image_call which)
{
    real_get();
    struct trace_thread *self = trace_self;
    bool is_traced = self && self->ready && !self->busy && tracer_page->ready;
    if (is_traced && which != CALL_SYMBOL)
        call_begins(self, sp);
    else if (is_traced && self->ready == THREAD_ATTENTION)
        attend(self, sp, nobody_after_waiting);
    void *const functions[] = {real.dlopen, real.dlmopen, real.dlclose, real.dlsym};
    return functions[which];
}

/* Keeps the arguments, and jumps: the real function sees its caller's return address. */
__asm__(".macro image_call_hook name, which\n"
        ".globl \\name\n"
        ".type \\name, @function\n"
        "\\name:\n"
        "    .cfi_startproc\n"
        "    push %rdi\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    push %rsi\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    push %rdx\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    lea 32(%rsp), %rdi\n"
        "    mov $\\which, %esi\n"
        "    call image_call\n"
        "    pop %rdx\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    pop %rsi\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    pop %rdi\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    jmp *%rax\n"
        "    .cfi_endproc\n"
        ".size \\name, . - \\name\n"
        ".endm\n"
        ".text\n"
        "image_call_hook dlopen, 0\n"
        "image_call_hook dlmopen, 1\n"
        "image_call_hook dlclose, 2\n"
        "image_call_hook dlsym, 3\n");
