/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Functions whose unwind tables are wrong: the frame is said to be larger, to be at rbp where rbp holds anything, to be
 * in memory that says anything.  They are called near the end of small stacks with nothing mapped behind.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { PAGE = 4096, STACK_PAGES = 4, LIARS = 8 };

static void *volatile kept;
static uint64_t state = 88172645463325252ULL;
static ucontext_t scheduler, coroutine;

__attribute__((used)) uint64_t anything; /* what the liars put into rbp */

static unsigned next(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)(state >> 33);
}

__attribute__((noinline, used)) void give(void)
{
    free(kept);
    kept = malloc(next() & 127);
}

/* The true frame: 16 bytes, with rbp at CFA - 16. */
#define LIAR(number, directives)                                                                   \
    ".globl liar" #number "\n"                                                                     \
    "liar" #number ":\n"                                                                           \
    ".cfi_startproc\n" directives "push %rbp\n"                                                    \
    "mov anything(%rip), %rbp\n"                                                                   \
    "call give\n"                                                                                  \
    "pop %rbp\n"                                                                                   \
    "ret\n"                                                                                        \
    ".cfi_endproc\n"
__asm__(".text\n"
        LIAR(0, ".cfi_def_cfa_offset 24\n")
        LIAR(1, ".cfi_def_cfa_offset 4096\n")
        LIAR(2, ".cfi_def_cfa_offset 0x1000000\n")
        LIAR(3, ".cfi_def_cfa rbp, 16\n.cfi_offset rbp, -16\n")
        LIAR(4, ".cfi_escape 0x0f, 3, 0x76, 0x78, 0x06\n.cfi_escape 0x10, 6, 2, 0x76, 0\n")
        LIAR(5, ".cfi_def_cfa_offset 8\n.cfi_offset rbp, 0x7000\n")
        LIAR(6, ".cfi_def_cfa_offset 0\n")
        LIAR(7, ".cfi_def_cfa rsp, 12\n"));

void liar0(void), liar1(void), liar2(void), liar3(void), liar4(void), liar5(void), liar6(void), liar7(void);
static void (*const liars[LIARS])(void) = {liar0, liar1, liar2, liar3, liar4, liar5, liar6, liar7};

__attribute__((noinline)) static void descend(unsigned depth)
{
    volatile char bytes[64];
    bytes[0] = (char)depth;
    if (depth)
        descend(depth - 1);
    uint64_t choices[] = {0, 8, next(), (uint64_t)&bytes[next() % 64], (uint64_t)&bytes + next() % 20000,
                          ~(uint64_t)0, (uint64_t)&anything, (uint64_t)give};
    anything = choices[next() % 8];
    liars[next() % LIARS]();
}

static void run(void)
{
    for (int i = 0; i < 10; i++)
        descend(next() % 5);
    swapcontext(&coroutine, &scheduler);
}

int main(int argc, char **argv)
{
    for (long i = argc > 1 ? atol(argv[1]) : 10; i > 0; i--) {
        char *memory = mmap(NULL, (STACK_PAGES + 2) * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        mprotect(memory + PAGE, STACK_PAGES * PAGE, PROT_READ | PROT_WRITE);
        getcontext(&coroutine);
        coroutine.uc_stack.ss_sp = memory + PAGE;
        coroutine.uc_stack.ss_size = STACK_PAGES * PAGE;
        makecontext(&coroutine, run, 0);
        swapcontext(&scheduler, &coroutine);
        munmap(memory, (STACK_PAGES + 2) * PAGE);
    }
    puts("done");
}
