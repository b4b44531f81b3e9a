/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Coroutines that allocate: eight at a time, on stacks of random sizes that are mapped and unmapped, mostly at the
 * same addresses, with holes between.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { COROUTINES = 8 };

struct coroutine {
    ucontext_t context;
    char *stack;
    size_t bytes;
    int is_done;
};

static struct coroutine all[COROUTINES];
static ucontext_t scheduler;
static int current;
static uint64_t state = 88172645463325252ULL;
static void *volatile kept[32];

static unsigned next(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)(state >> 33);
}

static void give(void)
{
    unsigned i = next() % 32;
    free(kept[i]);
    kept[i] = malloc(next() % 200);
}

static void yield(void)
{
    swapcontext(&all[current].context, &scheduler);
}

__attribute__((noinline)) static int work(int depth)
{
    volatile char bytes[100];
    bytes[depth] = 1;
    give();
    if (next() % 4 == 0)
        yield();
    if (depth < 12 && next() % 5)
        depth += work(depth + 1);
    give();
    return bytes[depth % 100] + depth;
}

static void run(void)
{
    int rounds = (int)(next() % 6);
    while (rounds-- >= 0)
        work(0);
    all[current].is_done = 1;
    yield();
}

static void begin(struct coroutine *c)
{
    c->bytes = (4 + next() % 12) * 4096;
    c->stack = mmap(NULL, c->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    c->is_done = 0;
    getcontext(&c->context);
    c->context.uc_stack.ss_sp = c->stack;
    c->context.uc_stack.ss_size = c->bytes;
    c->context.uc_link = NULL;
    makecontext(&c->context, run, 0);
}

int main(int argc, char **argv)
{
    long switches = argc > 1 ? atol(argv[1]) : 1000;
    while (switches-- > 0) {
        current = (int)(next() % COROUTINES);
        struct coroutine *c = &all[current];
        if (!c->stack)
            begin(c);
        swapcontext(&scheduler, &c->context);
        if (c->is_done) {
            munmap(c->stack, c->bytes);
            c->stack = NULL;
        }
    }
    puts("done");
}
