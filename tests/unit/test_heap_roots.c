/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A child has the address of one block in each kind of place: where references from outside count, it
 * must be found, where nothing lives any more it must not.  Its blocks are parts of a mapping, so that
 * malloc has no word of them; their addresses are made where they are used and nowhere kept.
 */
#include "unit.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "heap_world.h"
#include "process/heap_roots.h"

enum { LIMIT_MS = 60000, BLOCK_BYTES = 48, BLOCK_STEP = 64, PAGE_BYTES = 4096 };

/* Where the child has the address of the block of this number. */
enum place {
    IN_GLOBAL,
    IN_STACK,
    IN_THREAD_LOCAL,
    IN_THREADS_STACK,
    IN_THREADS_LOCAL,
    IN_MAPPING,
    IN_REGISTER,
    NR_COUNTED,
    BELOW_STACK_POINTER = NR_COUNTED,
    IN_ENDED_STACK,
    IN_ENDED_LOCAL,
    BETWEEN_BLOCKS,
    IN_READ_ONLY,
    NR_PLACES,
};

/* What the child tells; no address of a block is in it. */
struct shared {
    volatile uint64_t ready;
    volatile uint64_t places[NR_PLACES]; /* addresses of the words; 0: a register */
};

static struct shared *shared;
static volatile uint64_t heap_below; /* the heap's address less one page, which is no block's */
static volatile uint64_t global_word;
static __thread volatile uint64_t local_word;

#define APART __attribute__((noinline, noclone))

APART static void put(volatile uint64_t *word, enum place place)
{
    shared->places[place] = (uint64_t)word;
    *word = heap_below + PAGE_BYTES + (uint64_t)place * BLOCK_STEP;
}

/* --- the child ------------------------------------------------------------------------------- */

APART static void *end_at_once(void *context)
{
    volatile uint64_t words[64] = {0};
    put(&words[32], IN_ENDED_STACK);
    put(&local_word, IN_ENDED_LOCAL);
    return context;
}

APART static void *wait_in_thread(void *context)
{
    volatile uint64_t words[64] = {0};
    put(&words[32], IN_THREADS_STACK);
    put(&local_word, IN_THREADS_LOCAL);
    __atomic_fetch_add(&shared->ready, 1, __ATOMIC_SEQ_CST);
    for (;;)
        pause();
    return context;
}

APART static void leave_below(void)
{
    volatile uint64_t words[2048];
    for (size_t i = 0; i < 2048; i++)
        words[i] = 0;
    put(&words[512], BELOW_STACK_POINTER);
}

static volatile uint64_t *map_page(void)
{
    void *page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return page;
}

/* For ever, with the address of a block in a register alone. */
APART static void pause_with_register(void)
{
    __asm__ volatile("mov %0, %%rbx\n\t"
                     "add %1, %%rbx\n\t"
                     "1: mov $34, %%eax\n\t" /* pause */
                     "syscall\n\t"
                     "jmp 1b"
                     :
                     : "m"(heap_below), "i"(PAGE_BYTES + IN_REGISTER * BLOCK_STEP)
                     : "rax", "rbx", "rcx", "r11", "memory");
}

static void be_everywhere(void)
{
    volatile uint64_t words[64] = {0};
    pthread_t thread;
    pthread_create(&thread, NULL, end_at_once, NULL);
    pthread_join(thread, NULL);
    /* Another size, so that it gets a stack of its own. */
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 32 << 20);
    pthread_create(&thread, &attr, wait_in_thread, NULL);
    put(&global_word, IN_GLOBAL);
    put(&words[32], IN_STACK);
    put(&local_word, IN_THREAD_LOCAL);
    put(map_page(), IN_MAPPING);
    volatile uint64_t *constant = map_page();
    put(constant, IN_READ_ONLY);
    mprotect((void *)constant, PAGE_BYTES, PROT_READ);
    put((volatile uint64_t *)(heap_below + PAGE_BYTES + BLOCK_STEP - 8), BETWEEN_BLOCKS);
    leave_below();
    __atomic_fetch_add(&shared->ready, 1, __ATOMIC_SEQ_CST);
    pause_with_register();
}

static pid_t start(void)
{
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent)
            be_everywhere();
        _exit(0);
    }
    assert_true(pid > 0);
    for (int i = 0; i < LIMIT_MS && shared->ready < 2; i++)
        usleep(1000);
    assert_int_equal(shared->ready, 2);
    return pid;
}

/* --- the test -------------------------------------------------------------------------------- */

static void see(void *context, const struct heap_reference *reference)
{
    bool *seen = context;
    assert_int_equal(reference->from, 0);
    assert_true(reference->to < NR_PLACES);
    seen[reference->to] = true;
}

static void make_blocks(struct heap_blocks *blocks, struct heap_block *rows, size_t nr)
{
    *blocks = (struct heap_blocks){.rows = rows, .nr = nr, .allocator = HEAP_GLIBC};
    for (size_t i = 0; i < nr; i++)
        rows[i] = (struct heap_block){heap_below + PAGE_BYTES + i * BLOCK_STEP, BLOCK_BYTES};
    blocks->lowest = rows[0].addr;
    blocks->highest = rows[nr - 1].addr + BLOCK_BYTES;
}

/* The thread that the test is about stands in pause, not on the way there. */
static void wait_for_register(struct target *target)
{
    struct error err;
    const uint64_t value = heap_below + PAGE_BYTES + IN_REGISTER * BLOCK_STEP;
    for (int i = 0; i < LIMIT_MS; i++) {
        assert_true(target_stop(target, LIMIT_MS, &err));
        for (size_t t = 0; t < target->nr_threads; t++)
            if (target->threads[t].registers[3] == value) /* rbx */
                return;
        target_resume(target);
        usleep(1000);
    }
    fail_msg("the child does not wait");
}

static void finds_what_lives(void **state)
{
    (void)state;
    struct target target;
    struct error err;
    struct heap_blocks blocks;
    struct heap_block rows[NR_PLACES];
    struct heap_scan scan;
    bool seen[NR_PLACES] = {false};
    pid_t pid = start();
    assert_true(target_open(&target, pid, &err));
    wait_for_register(&target);
    make_blocks(&blocks, rows, NR_PLACES);
    for (size_t i = 0; i < NR_PLACES; i++) {
        uint64_t word = 0;
        if (i == IN_REGISTER)
            continue;
        assert_int_equal(target_read(&target, shared->places[i], &word, 8), 8);
        assert_int_equal(word, rows[i].addr); /* it is there, dead or alive */
    }
    heap_scan_init(&scan, &target, &blocks);
    heap_scan_tell(&scan, see, seen);
    heap_roots_read(&scan);
    for (size_t i = 0; i < NR_PLACES; i++)
        if (seen[i] != (i < NR_COUNTED))
            fail_msg("place %zu: %s", i, seen[i] ? "counted" : "not found");
    heap_scan_deinit(&scan);
    target_close(&target);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, __WALL);
}

/* Chunks that were mapped one by one and what the program mapped beside them are one mapping. */
static void reads_between_mapped_chunks(void **state)
{
    (void)state;
    struct world world;
    struct heap_scan scan;
    bool seen[NR_PLACES] = {false};
    world_init(&world, 2, 4 * PAGE_BYTES);
    struct heap_block *rows = world.blocks.rows;
    rows[0] = (struct heap_block){WORLD_HEAP + 16, PAGE_BYTES - 16};
    rows[1] = (struct heap_block){WORLD_HEAP + 2 * PAGE_BYTES + 16, PAGE_BYTES - 16};
    world.blocks.nr = 2;
    world.blocks.lowest = rows[0].addr;
    world.blocks.highest = rows[1].addr + rows[1].size_bytes;
    heap_scan_init(&scan, &world.target, &world.blocks);
    heap_scan_tell(&scan, see, seen);
    world.heap[8] = rows[1].addr; /* in a block */
    heap_roots_read(&scan);
    assert_false(seen[0] || seen[1]);
    world.heap[PAGE_BYTES / 8 + 8] = rows[0].addr;
    world.heap[3 * PAGE_BYTES / 8 + 8] = rows[1].addr;
    heap_roots_read(&scan);
    assert_true(seen[0] && seen[1]);
    /* With another block it is a heap: what lies between is free. */
    memset(seen, 0, sizeof(seen));
    rows[1].size_bytes = 56;
    heap_roots_read(&scan);
    assert_false(seen[0] || seen[1]);
    /* But for a stack there, up to the next block; so it is beside mapped chunks. */
    for (int i = 0; i < 2; i++) {
        world.threads[0].stack_pointer = WORLD_HEAP + PAGE_BYTES + 16;
        memset(seen, 0, sizeof(seen));
        heap_roots_read(&scan);
        assert_true(seen[0] && !seen[1]);
        rows[1].size_bytes = PAGE_BYTES - 16;
    }
    heap_scan_deinit(&scan);
    world_free(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_lives),
        cmocka_unit_test(reads_between_mapped_chunks),
    };
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint8_t *heap = mmap(NULL, 4 * PAGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(heap + PAGE_BYTES, PAGE_BYTES, PROT_READ | PROT_WRITE);
    heap_below = (uint64_t)heap;
    heap = NULL;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
