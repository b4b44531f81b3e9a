/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Code without unwind tables in the middle of stacks: of this program, and made at run time (written anew in the same
 * place), with and without frame pointers.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static void *volatile kept;

__attribute__((noinline)) static void give(long bytes)
{
    free(kept);
    kept = malloc((size_t)bytes & 255);
}

__attribute__((noinline)) void give_in_depth(long depth)
{
    give(depth * 5);
    if (depth > 0)
        give_in_depth(depth - 1);
    give(depth);
}

/* rdi: how deep; rsi: whom to call. */
void with_pointer(long depth, void (*function)(long));
void without_pointer(long depth, void (*function)(long));
extern const char with_end[], without_end[];
__asm__(".text\n"
        "with_pointer:\n"
        "push %rbp\n"
        "mov %rsp, %rbp\n"
        "sub $32, %rsp\n"
        "call *%rsi\n"
        "leave\n"
        "ret\n"
        "with_end:\n"
        "without_pointer:\n"
        "sub $24, %rsp\n"
        "call *%rsi\n"
        "add $24, %rsp\n"
        "ret\n"
        "without_end:\n");

typedef void code(long depth, void (*function)(long));

/* Also with a frame pointer of its own, which the code that has none passes over. */
__attribute__((noinline, optimize("no-omit-frame-pointer"))) static void call(code *made,
                                                                              long depth)
{
    made(depth, give_in_depth);
    give(depth);
}

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? atol(argv[1]) : 10;
    char *memory =
        mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (long i = 0; i < rounds; i++) {
        call(with_pointer, i % 5);
        call(without_pointer, i % 4);
        char *at = memory + i % 3 * 16;
        memcpy(at, (const char *)with_pointer, (size_t)(with_end - (const char *)with_pointer));
        call((code *)at, i % 6);
        memcpy(at, (const char *)without_pointer,
               (size_t)(without_end - (const char *)without_pointer));
        call((code *)at, i % 3);
    }
    puts("done");
}
