/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What drop code frees in any circumstances: threads of a runtime, answers of the kernel, runs that differ. */
#include "unit.h"

#include <errno.h>
#include <sys/syscall.h>

#include "heap_world.h"
#include "process/drop_doubt.h"

enum { LOCAL = 3000, RUNTIME = 0x10000040, ALWAYS = 0x10000100, SOMETIMES = 0x10000200 };

struct doubted {
    struct world world;
    struct drop_functions functions;
    struct drop_run run;
    struct drop_threads threads;
};

static int make(void **state)
{
    struct doubted *it = calloc(1, sizeof(*it));
    world_init(&it->world, 4, 4096);
    it->world.threads[0].thread_pointer = WORLD_STACK + LOCAL;
    drop_run_init(&it->run, &it->world.target, &it->world.blocks, &it->functions);
    it->threads = (struct drop_threads){{1 << 20, 2 << 20}, 2, true};
    drop_run_set(&it->run, &(struct drop_circumstances){1 << 20, false});
    *state = it;
    return 0;
}

static int destroy(void **state)
{
    struct doubted *it = *state;
    drop_run_deinit(&it->run);
    world_free(&it->world);
    free(it);
    return 0;
}

/* --- threads --------------------------------------------------------------------------------- */

static struct drop_threads threads_now(struct doubted *it)
{
    struct drop_threads_table table;
    uint32_t block = world_add_block(&it->world, WORLD_CELL);
    uint32_t task = world_add_cell(&it->world, block, 0);
    world_add_runtime(&it->world, RUNTIME);
    it->world.cells.rows[task].runtime = 1;
    drop_threads_find(&table, &it->world.cells);
    struct drop_threads threads = *drop_threads_of(&table, &it->world.cells.rows[task]);
    drop_threads_deinit(&table);
    return threads;
}

static void knows_a_thread_by_its_memory(void **state)
{
    struct doubted *it = *state;
    it->world.stack[LOCAL / 8 - 7] = RUNTIME;
    struct drop_threads threads = threads_now(it);
    assert_true(threads.are_known);
    assert_int_equal(threads.nr, 1);
    assert_int_equal(threads.pointers[0], WORLD_STACK + LOCAL);
}

/* What is left of calls that have returned says nothing. */
static void does_not_read_dead_stack(void **state)
{
    struct doubted *it = *state;
    it->world.stack[8] = RUNTIME;
    struct drop_threads threads = threads_now(it);
    assert_false(threads.are_known);
    assert_int_equal(threads.pointers[0], WORLD_STACK + LOCAL);
}

/* --- the kernel ------------------------------------------------------------------------------ */

static int64_t asked(struct doubted *it, uint64_t number)
{
    it->run.emulator->registers[RDI] = 9;
    it->run.emulator->registers[RDX] = 20;
    assert_int_equal(drop_answer_syscall(&it->run, it->run.emulator, number), EMULATOR_ANSWERED);
    return (int64_t)it->run.emulator->registers[RAX];
}

static void doubts_what_nobody_knows(void **state)
{
    struct doubted *it = *state;
    assert_int_equal(asked(it, SYS_munmap), 0);
    assert_false(it->run.has_asked_kernel);
    assert_int_equal(asked(it, SYS_write), 20);
    assert_true(it->run.has_asked_kernel);
    drop_run_set(&it->run, &(struct drop_circumstances){1 << 20, true});
    assert_int_equal(asked(it, SYS_write), -EIO);
    assert_int_equal(asked(it, SYS_close), -EBADF); /* in a core */
    assert_int_equal(asked(it, SYS_unlink), -ENOENT);
    drop_run_reset(&it->run);
    assert_false(it->run.has_asked_kernel);
}

static void waits_only_so_often(void **state)
{
    struct doubted *it = *state;
    enum emulator_answer last = EMULATOR_ANSWERED;
    for (int i = 0; i < 5; i++)
        last = drop_answer_syscall(&it->run, it->run.emulator, SYS_sched_yield);
    assert_int_equal(last, EMULATOR_STOP);
}

/* --- runs ------------------------------------------------------------------------------------ */

struct behaviour {
    uint64_t thread_that_frees; /* 0: each */
    bool frees_if_refused, ends_if_refused;
    unsigned nr_runs;
};

static bool again(struct drop_run *run, const void *context)
{
    struct behaviour *behaviour = (struct behaviour *)(uintptr_t)context;
    const struct drop_circumstances *now = &run->circumstances;
    behaviour->nr_runs++;
    drop_run_add_free(run, ALWAYS);
    if ((!behaviour->thread_that_frees || behaviour->thread_that_frees == now->thread_pointer) &&
        (!now->are_calls_refused || behaviour->frees_if_refused))
        drop_run_add_free(run, SOMETIMES);
    return !now->are_calls_refused || behaviour->ends_if_refused;
}

static void runs_once_where_nothing_was_asked(void **state)
{
    struct doubted *it = *state;
    struct behaviour behaviour = {0};
    again(&it->run, &behaviour);
    assert_null(drop_doubt_settle(&it->run, &it->threads, again, &behaviour));
    assert_int_equal(behaviour.nr_runs, 1);
    assert_int_equal(it->run.nr_frees, 2);
}

static void says_only_what_all_threads_free(void **state)
{
    struct doubted *it = *state;
    struct behaviour behaviour = {.thread_that_frees = 1 << 20};
    again(&it->run, &behaviour);
    it->run.has_asked_thread = true;
    assert_non_null(drop_doubt_settle(&it->run, &it->threads, again, &behaviour));
    assert_int_equal(it->run.nr_frees, 1);
    assert_int_equal(it->run.frees[0].addr, ALWAYS);
    assert_int_equal(it->run.circumstances.thread_pointer, 1 << 20);
}

static void unknown_threads_are_a_doubt(void **state)
{
    struct doubted *it = *state;
    struct behaviour behaviour = {0};
    it->threads.are_known = false;
    again(&it->run, &behaviour);
    it->run.has_asked_thread = true;
    assert_non_null(drop_doubt_settle(&it->run, &it->threads, again, &behaviour));
    assert_int_equal(it->run.nr_frees, 2);
}

static void a_refused_call_may_matter(void **state)
{
    struct doubted *it = *state;
    struct behaviour behaviour = {.ends_if_refused = true};
    again(&it->run, &behaviour);
    it->run.has_asked_kernel = true;
    assert_non_null(drop_doubt_settle(&it->run, &it->threads, again, &behaviour));
    assert_int_equal(it->run.nr_frees, 1);
    assert_false(it->run.circumstances.are_calls_refused);
}

/* Code that panics when it cannot write is not code that frees less. */
static void a_run_without_end_says_nothing(void **state)
{
    struct doubted *it = *state;
    struct behaviour behaviour = {.ends_if_refused = false};
    again(&it->run, &behaviour);
    it->run.has_asked_kernel = true;
    assert_null(drop_doubt_settle(&it->run, &it->threads, again, &behaviour));
    assert_int_equal(it->run.nr_frees, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(knows_a_thread_by_its_memory, make, destroy),
        cmocka_unit_test_setup_teardown(does_not_read_dead_stack, make, destroy),
        cmocka_unit_test_setup_teardown(doubts_what_nobody_knows, make, destroy),
        cmocka_unit_test_setup_teardown(waits_only_so_often, make, destroy),
        cmocka_unit_test_setup_teardown(runs_once_where_nothing_was_asked, make, destroy),
        cmocka_unit_test_setup_teardown(says_only_what_all_threads_free, make, destroy),
        cmocka_unit_test_setup_teardown(unknown_threads_are_a_doubt, make, destroy),
        cmocka_unit_test_setup_teardown(a_refused_call_may_matter, make, destroy),
        cmocka_unit_test_setup_teardown(a_run_without_end_says_nothing, make, destroy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
