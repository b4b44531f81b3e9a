/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Frames as the kernel lays them down for a signal handler (x86-64, struct rt_sigframe) and takes
 * them back in rt_sigreturn.  They are written before the registers of a thread are changed.  From
 * then on the thread finds its way back alone: each injected call is `syscall; ret`, the `ret` goes to
 * the target's own `mov $15, %eax; syscall`, and the frame behind it has every register, the signal
 * mask and the vector registers.  Nothing is executed that was not there before.
 *
 *     low   [wait][back][exit][pid, word][vector state]   high, then the red zone and the stack
 *
 * The stack pointer is always at the lowest frame that is still needed: a signal that came in a moment
 * when we are gone and nothing is masked would put its own frame below.
 */
#include "process/copy_frames.h"

#include <cpuid.h>
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "process/live.h"

enum {
    FRAME_BYTES = 320, /* a multiple of 16 */
    XSTATE_AT = 1024,  /* behind the frames and words; a multiple of 64 */
    ALIGNMENT = 64,
    FXSAVE_BYTES = 512,
    XSTATE_HEADER_BYTES = 64,
    XSTATE_SOFTWARE = 464, /* offset of what the kernel notes in a frame */
    XSTATE_MAGIC1 = 0x46505853,
    XSTATE_MAGIC2 = 0x46505845,
    /* uc_flags */
    UC_XSTATE = 1,
    UC_SS = 2,
    UC_STRICT_SS = 4,
    NO_STACK_CHANGE = 4, /* an ss_flags that is none: the signal stack stays as it is */
    NO_SUCH_PID = 0x7fffffff,
    /* error codes that the kernel keeps to itself */
    FIRST_RESTART = 512,
    LAST_RESTART = 514,
    RESTART_BLOCK = 516,
};

/* struct rt_sigframe up to where rt_sigreturn reads. */
struct frame {
    uint64_t return_addr;
    uint64_t flags, link;
    uint64_t stack, stack_flags, stack_bytes;
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip;
    uint64_t eflags;
    uint16_t cs, gs, fs, ss;
    uint64_t error, trap, old_mask, cr2;
    uint64_t xstate;
    uint64_t reserved[8];
    uint64_t signal_mask;
};
_Static_assert(sizeof(struct frame) == 312 && sizeof(struct frame) <= FRAME_BYTES, "its layout");
_Static_assert(offsetof(struct frame, xstate) == 8 + 40 + 23 * 8, "struct sigcontext");

/* At XSTATE_SOFTWARE: struct _fpx_sw_bytes. */
struct xstate_software {
    uint32_t magic1, extended_bytes;
    uint64_t features;
    uint32_t xstate_bytes, padding[7];
};
_Static_assert(sizeof(struct xstate_software) == FXSAVE_BYTES - XSTATE_SOFTWARE, "its layout");

/* --- a thread's state ---------------------------------------------------------------------------- */

/* How far the components that are in use reach; 0: one is not known. */
static size_t xstate_extent(const uint8_t *xstate, size_t bytes)
{
    uint64_t in_use;
    memcpy(&in_use, xstate + FXSAVE_BYTES, sizeof(in_use));
    size_t extent = FXSAVE_BYTES + XSTATE_HEADER_BYTES;
    for (unsigned i = 2; i < 64; i++) {
        unsigned size, offset, c, d;
        if (!(in_use >> i & 1))
            continue;
        if (!__get_cpuid_count(0xd, i, &size, &offset, &c, &d) || !size ||
            offset < FXSAVE_BYTES + XSTATE_HEADER_BYTES)
            return 0;
        if (offset + size > extent)
            extent = offset + size;
    }
    return extent <= bytes ? extent : 0;
}

bool thread_state_read(struct thread_state *state, pid_t tid)
{
    struct iovec xstate = {state->xstate, sizeof(state->xstate)};
    state->tid = tid;
    if (ptrace(PTRACE_GETREGS, tid, NULL, &state->regs) != 0 ||
        ptrace(PTRACE_GETSIGMASK, tid, sizeof(state->signal_mask), &state->signal_mask) != 0 ||
        ptrace(PTRACE_GETREGSET, tid, NT_X86_XSTATE, &xstate) != 0)
        return false;
    bool fits = xstate.iov_len >= FXSAVE_BYTES + XSTATE_HEADER_BYTES &&
                xstate.iov_len < sizeof(state->xstate);
    state->xstate_bytes = fits ? xstate_extent(state->xstate, xstate.iov_len) : 0;
    errno = ENOTSUP;
    return state->xstate_bytes != 0;
}

bool thread_state_is_restarting(const struct thread_state *state)
{
    int64_t reason = -(int64_t)state->regs.rax;
    return (int64_t)state->regs.orig_rax >= 0 &&
           ((reason >= FIRST_RESTART && reason <= LAST_RESTART) || reason == RESTART_BLOCK);
}

/* --- frames -------------------------------------------------------------------------------------- */

static void frame_set(struct frame *frame, const struct user_regs_struct *r)
{
    *frame = (struct frame){
        .flags = UC_XSTATE | UC_SS | UC_STRICT_SS,
        .stack_flags = NO_STACK_CHANGE,
        .r8 = r->r8,
        .r9 = r->r9,
        .r10 = r->r10,
        .r11 = r->r11,
        .r12 = r->r12,
        .r13 = r->r13,
        .r14 = r->r14,
        .r15 = r->r15,
        .rdi = r->rdi,
        .rsi = r->rsi,
        .rbp = r->rbp,
        .rbx = r->rbx,
        .rdx = r->rdx,
        .rax = r->rax,
        .rcx = r->rcx,
        .rsp = r->rsp,
        .rip = r->rip,
        .eflags = r->eflags,
        .cs = (uint16_t)r->cs,
        .gs = (uint16_t)r->gs,
        .fs = (uint16_t)r->fs,
        .ss = (uint16_t)r->ss,
        .signal_mask = ~0ull,
    };
}

/* The vector state as a frame has it: with notes of its size, and a mark behind it. */
static void xstate_set(uint8_t *at, const struct thread_state *state)
{
    uint32_t low, high, bytes = (uint32_t)state->xstate_bytes, magic2 = XSTATE_MAGIC2;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    struct xstate_software software = {
        .magic1 = XSTATE_MAGIC1,
        .extended_bytes = bytes + (uint32_t)sizeof(magic2),
        .features = (uint64_t)high << 32 | low,
        .xstate_bytes = bytes,
    };
    memcpy(at, state->xstate, bytes);
    memcpy(at + XSTATE_SOFTWARE, &software, sizeof(software));
    memcpy(at + bytes, &magic2, sizeof(magic2));
}

static void place(struct frames *frames, const struct thread_state *state)
{
    frames->nr_bytes = XSTATE_AT + state->xstate_bytes + sizeof(uint64_t);
    frames->addr =
        (state->regs.rsp - FRAMES_MARGIN_BYTES - frames->nr_bytes) & ~(uint64_t)(ALIGNMENT - 1);
    frames->wait_addr = frames->addr;
    frames->back_addr = frames->wait_addr + FRAME_BYTES;
    frames->exit_addr = frames->back_addr + FRAME_BYTES;
    frames->word_addr = frames->exit_addr + FRAME_BYTES;
    frames->pid_addr = frames->wait_addr + offsetof(struct frame, rdi);
}

bool frames_build(struct frames *frames, const struct thread_state *state,
                  const struct code_places *code)
{
    struct frame wait, back, end;
    struct user_regs_struct regs = state->regs;
    if (!state->xstate_bytes)
        return false;
    place(frames, state);
    if (thread_state_is_restarting(state)) { /* rt_sigreturn forgets how to go on with it */
        regs.rip -= 2;
        regs.rax = regs.orig_rax;
    }
    frame_set(&back, &regs);
    back.signal_mask = state->signal_mask;
    regs = state->regs;
    regs.rip = code->call;
    regs.rax = SYS_exit_group;
    regs.rdi = 0;
    frame_set(&end, &regs);
    regs.rsp = frames->back_addr;
    regs.rax = SYS_wait4;
    regs.rdi = NO_SUCH_PID; /* until clone writes the child's there */
    regs.rsi = regs.r10 = 0;
    regs.rdx = __WALL;
    frame_set(&wait, &regs);
    back.return_addr = wait.return_addr = end.return_addr = code->restore;
    back.xstate = wait.xstate = end.xstate = frames->addr + XSTATE_AT;
    memset(frames->bytes, 0, frames->nr_bytes);
    memcpy(frames->bytes, &wait, sizeof(wait));
    memcpy(frames->bytes + FRAME_BYTES, &back, sizeof(back));
    memcpy(frames->bytes + 2 * FRAME_BYTES, &end, sizeof(end));
    xstate_set(frames->bytes + XSTATE_AT, state);
    return true;
}

/* --- code ---------------------------------------------------------------------------------------- */

enum { SEARCH_BYTES = 256 * 1024, SEARCH_OVERLAP = 16 };

static void search(struct code_places *code, const uint8_t *bytes, size_t size, uint64_t addr)
{
    static const uint8_t call[] = {0x0f, 0x05, 0xc3};
    static const uint8_t restores[2][9] = {
        {0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05}, /* mov $15, %rax; syscall: glibc */
        {0xb8, 0x0f, 0, 0, 0, 0x0f, 0x05},             /* mov $15, %eax; syscall */
    };
    const uint8_t *at = code->call ? NULL : memmem(bytes, size, call, sizeof(call));
    if (at)
        code->call = addr + (uint64_t)(at - bytes);
    for (int i = 0; i < 2 && !code->restore; i++)
        if ((at = memmem(bytes, size, restores[i], i ? 7 : 9)))
            code->restore = addr + (uint64_t)(at - bytes);
}

static void search_mapping(struct code_places *code, const struct target *target,
                           const struct mapping *m)
{
    uint8_t *bytes = memory_alloc(SEARCH_BYTES);
    for (uint64_t at = m->start; at < m->end && !(code->call && code->restore);) {
        uint64_t size = m->end - at < SEARCH_BYTES ? m->end - at : SEARCH_BYTES;
        size_t got = live_read(target, at, bytes, size);
        search(code, bytes, got, at);
        if (got < size || at + size == m->end)
            break;
        at += size - SEARCH_OVERLAP;
    }
    free(bytes);
}

bool code_places_find(struct code_places *code, const struct target *target)
{
    *code = (struct code_places){0};
    for (int pass = 0; pass < 2; pass++) /* a C library has both, near its beginning */
        for (size_t i = 0; i < target->nr_mappings && !(code->call && code->restore); i++) {
            const struct mapping *m = &target->mappings[i];
            bool likely = strstr(m->path, "libc.") || strstr(m->path, "ld-musl");
            if (m->executable && m->readable && !m->writable && !m->is_device &&
                likely == (pass == 0))
                search_mapping(code, target, m);
        }
    return code->call && code->restore;
}
