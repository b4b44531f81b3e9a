/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Frames whose place only a register other than rsp and rbp knows: assembler code with its frame in rbx that
 * calls on, or in r10 when a trap interrupts it; functions that save rbx between.  argv: rounds, then a library that
 * is bound late to the one after it: the loader allocates while it binds.
 */
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static void *volatile kept;

__attribute__((noinline, used)) static void give(long bytes)
{
    free(kept);
    kept = malloc((size_t)bytes);
}

/* Uses registers that it has to save. */
__attribute__((noinline, used)) void give_in_depth(long depth)
{
    register long rbx __asm__("rbx") = depth * 3;
    register long r12 __asm__("r12") = depth + 7;
    __asm__ volatile("" : "+r"(rbx), "+r"(r12));
    give(rbx & 127);
    if (depth > 0)
        give_in_depth(depth - 1);
    __asm__ volatile("" : "+r"(rbx), "+r"(r12));
    give(r12 & 127);
}

static void trapped(int number)
{
    (void)number;
    give_in_depth(3);
}

void frame_in_rbx(long depth);
void frame_in_r10(void);
__asm__(".text\n"
        "frame_in_rbx:\n"
        ".cfi_startproc\n"
        "push %rbx\n"
        ".cfi_adjust_cfa_offset 8\n"
        ".cfi_offset rbx, -16\n"
        "mov %rsp, %rbx\n"
        ".cfi_def_cfa_register rbx\n"
        "sub $4096, %rsp\n"
        "and $-64, %rsp\n"
        "call give_in_depth\n"
        "mov %rbx, %rsp\n"
        ".cfi_def_cfa_register rsp\n"
        "pop %rbx\n"
        ".cfi_adjust_cfa_offset -8\n"
        ".cfi_restore rbx\n"
        "ret\n"
        ".cfi_endproc\n"
        "frame_in_r10:\n"
        ".cfi_startproc\n"
        "mov %rsp, %r10\n"
        ".cfi_def_cfa_register r10\n"
        "sub $256, %rsp\n"
        "and $-64, %rsp\n"
        "int3\n"
        "mov %r10, %rsp\n"
        ".cfi_def_cfa_register rsp\n"
        "ret\n"
        ".cfi_endproc\n");

int main(int argc, char **argv)
{
    signal(SIGTRAP, trapped);
    for (int i = 0; argc > 3 && i < atoi(argv[1]); i++) {
        frame_in_rbx(i % 7);
        frame_in_r10();
        void *needed = dlopen(argv[3], RTLD_LAZY | RTLD_GLOBAL);
        void *late = dlopen(argv[2], RTLD_LAZY);
        int (*call)(int) = late ? (int (*)(int))dlsym(late, "call") : NULL;
        if (!needed || !call || call(1) != 4) {
            fprintf(stderr, "%s\n", dlerror());
            return 2;
        }
        dlclose(late);
        dlclose(needed);
    }
    puts("done");
}
