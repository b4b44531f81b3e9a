/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Children of the test stand in a known chain of calls; the addresses that are found must lie in
 * those functions, by the program's own symbols.
 */
#include "unit.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process/stacks.h"
#include "program/elf_file.h"

enum { LIMIT_MS = 60000, DEEP = 1000, BIG_BYTES = 400 << 10 };

struct shared {
    volatile uint64_t ready;
};

static struct shared *shared;
static struct elf_file self;

/* --- chains ---------------------------------------------------------------------------------- */

/* Not a tail call: the caller's frame is still there. */
#define CHAIN __attribute__((noinline, noclone, used))
#define AFTERWARDS __asm__ volatile("" ::: "memory")

CHAIN static void chain_end(void)
{
    shared->ready++;
    while (shared->ready) /* for ever */
        pause();
}

/* A frame of a size that is known when it runs only. */
CHAIN static void chain_middle(size_t bytes)
{
    volatile char *room = __builtin_alloca(bytes);
    room[0] = room[bytes - 1] = 1;
    chain_end();
    AFTERWARDS;
}

CHAIN static void chain_begin(void)
{
    chain_middle(1000 + (size_t)shared->ready);
    AFTERWARDS;
}

CHAIN static void chain_deep(unsigned left)
{
    if (left)
        chain_deep(left - 1);
    else
        chain_end();
    AFTERWARDS;
}

CHAIN static void chain_be_deep(void)
{
    chain_deep(DEEP);
    AFTERWARDS;
}

CHAIN static void chain_be_big(void)
{
    chain_middle(BIG_BYTES);
    AFTERWARDS;
}

CHAIN static void chain_handler(int number)
{
    (void)number;
    chain_end();
    AFTERWARDS;
}

CHAIN static void chain_signalled(void)
{
    struct sigaction action = {.sa_handler = chain_handler};
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    AFTERWARDS;
}

CHAIN static void *chain_thread(void *context)
{
    (void)context;
    chain_middle(100);
    AFTERWARDS;
    return NULL;
}

CHAIN static void chain_start_thread(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, chain_thread, NULL);
    pthread_join(thread, NULL);
    AFTERWARDS;
}

/* --- looking at them ------------------------------------------------------------------------- */

static pid_t start(void (*body)(void))
{
    shared->ready = 0;
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent)
            body();
        _exit(0);
    }
    assert_true(pid > 0);
    for (int i = 0; i < 20000 && !shared->ready; i++)
        usleep(1000);
    assert_true(shared->ready);
    return pid;
}

struct look {
    pid_t pid;
    struct target target;
    struct reading reading;
    struct stacks stacks;
};

static void look_begin(struct look *look, void (*body)(void))
{
    struct error err = {0};
    *look = (struct look){.pid = start(body)};
    if (!target_open(&look->target, look->pid, &err))
        fail_msg("%s", err.message);
    reading_init(&look->reading, &look->target, STACKS_EXPECTED_BYTES);
    if (!target_stop(&look->target, LIMIT_MS, &err))
        fail_msg("%s", err.message);
    stacks_copy(&look->stacks, &look->target, &look->reading);
    target_resume(&look->target);
}

static void look_end(struct look *look)
{
    stacks_deinit(&look->stacks);
    reading_deinit(&look->reading);
    kill(look->pid, SIGKILL);
    assert_int_equal(waitpid(look->pid, NULL, __WALL), look->pid);
    target_close(&look->target);
}

/* The test's own function at an address of the child; "" elsewhere. */
static const char *function_at(const struct look *look, uint64_t pc)
{
    const struct target_image *image = &look->target.images[0];
    if (pc < image->start || pc >= image->end)
        return "";
    const struct elf_symbol *symbol = elf_symbol_at(&self, pc - image->bias);
    return symbol ? symbol->name : "?";
}

/* The functions of this file whose names begin with "chain_", the innermost first. */
static void expect_chain(const struct look *look, const struct thread_stack *row,
                         const char *const *names)
{
    size_t nr = 0;
    for (size_t i = 0; i < row->nr_pcs; i++) {
        const char *name = function_at(look, look->stacks.pcs[row->first_pc + i]);
        if (strncmp(name, "chain_", 6) != 0)
            continue;
        assert_non_null(names[nr]);
        assert_string_equal(name, names[nr++]);
    }
    assert_null(names[nr]);
}

static void follows_a_chain(void **state)
{
    (void)state;
    struct look look;
    look_begin(&look, chain_begin);
    stacks_unwind(&look.stacks, &look.target);
    assert_int_equal(look.stacks.nr, 1);
    assert_int_equal(look.stacks.rows[0].tid, look.pid);
    assert_true(look.stacks.rows[0].is_whole);
    expect_chain(&look, &look.stacks.rows[0],
                 (const char *const[]){"chain_end", "chain_middle", "chain_begin", NULL});
    look_end(&look);
}

static void follows_each_thread(void **state)
{
    (void)state;
    struct look look;
    look_begin(&look, chain_start_thread);
    stacks_unwind(&look.stacks, &look.target);
    assert_int_equal(look.stacks.nr, 2);
    for (size_t i = 0; i < 2; i++) {
        const struct thread_stack *row = &look.stacks.rows[i];
        assert_true(row->is_whole);
        if (row->tid == look.pid)
            expect_chain(&look, row, (const char *const[]){"chain_start_thread", NULL});
        else
            expect_chain(&look, row,
                         (const char *const[]){"chain_end", "chain_middle", "chain_thread", NULL});
    }
    look_end(&look);
}

static void follows_through_a_signal(void **state)
{
    (void)state;
    struct look look;
    look_begin(&look, chain_signalled);
    stacks_unwind(&look.stacks, &look.target);
    assert_true(look.stacks.rows[0].is_whole);
    expect_chain(&look, &look.stacks.rows[0],
                 (const char *const[]){"chain_end", "chain_handler", "chain_signalled", NULL});
    look_end(&look);
}

static void tells_what_is_too_long(void **state)
{
    (void)state;
    struct look look;
    look_begin(&look, chain_be_deep);
    stacks_unwind(&look.stacks, &look.target);
    assert_false(look.stacks.rows[0].is_whole);
    assert_int_equal(look.stacks.rows[0].nr_pcs, 256);
    look_end(&look);
    look_begin(&look, chain_be_big);
    stacks_unwind(&look.stacks, &look.target);
    assert_false(look.stacks.rows[0].is_whole);
    assert_int_equal(look.stacks.rows[0].size_bytes, 256 << 10);
    expect_chain(&look, &look.stacks.rows[0],
                 (const char *const[]){"chain_end", "chain_middle", NULL});
    look_end(&look);
}

/* Whatever the registers and the stack hold: no crash, no more frames than are allowed. */
static void survives_damage(void **state)
{
    (void)state;
    struct look look;
    look_begin(&look, chain_begin);
    struct thread_stack *row = &look.stacks.rows[0];
    const struct thread_stack good = *row;
    uint8_t *bytes = memory_alloc(good.size_bytes);
    uint64_t random = 1;
    for (unsigned round = 0; round < 2000; round++) {
        memcpy(bytes, good.bytes, good.size_bytes);
        *row = good;
        row->bytes = bytes;
        for (unsigned i = 0; i < 1 + round % 40; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            uint64_t value = round % 3 ? good.addr + (random >> 40) % good.size_bytes : random;
            if (round % 5 == 0)
                row->registers[(random >> 33) % NR_DWARF_REGISTERS] = value;
            else
                memcpy(bytes + (random >> 33) % 2000, &value, 8);
        }
        if (round % 7 == 0)
            row->size_bytes = (uint32_t)(random >> 33) % good.size_bytes;
        look.stacks.nr_pcs = 0;
        row->nr_pcs = 0;
        row->is_whole = false;
        stacks_unwind(&look.stacks, &look.target);
        assert_true(row->nr_pcs <= 256);
    }
    free(bytes);
    *row = (struct thread_stack){.tid = good.tid};
    look.stacks.nr_pcs = 0;
    stacks_unwind(&look.stacks, &look.target);
    assert_int_equal(row->nr_pcs, 0);
    assert_false(row->is_whole);
    look_end(&look);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_a_chain),          cmocka_unit_test(follows_each_thread),
        cmocka_unit_test(follows_through_a_signal), cmocka_unit_test(tells_what_is_too_long),
        cmocka_unit_test(survives_damage),
    };
    struct error err = {0};
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (!elf_file_open(&self, "/proc/self/exe", &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    elf_file_symbols(&self);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    elf_file_close(&self);
    munmap(shared, sizeof(*shared));
    return failed;
}
