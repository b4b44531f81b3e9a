/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What drop code calls and what is noted of it: functions of this program and libc's, run in a copy of
 * it, against what they do natively and against malloc(3).  Nothing of it may happen in the child.
 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "drop_subjects.h"
#include "drop_target.h"

enum { BUDGET = 4000000, NR_BLOCKS = 8, BLOCK_BYTES = 136, BUFFER_BYTES = 40000 };

static struct drop_target child;
static struct drop_functions functions;
static struct drop_run run;
static uint64_t *blocks[NR_BLOCKS];
static _Alignas(16) uint8_t buffer[BUFFER_BYTES], native[BUFFER_BYTES], after[BUFFER_BYTES];
static uint64_t outside[8];
static int pipe_ends[2];

/* --- the target ------------------------------------------------------------------------------ */

static int begin(void **state)
{
    uint64_t random = 1;
    (void)state;
    drop_target_init(&child);
    for (uint64_t i = 0; i < NR_BLOCKS; i++) {
        blocks[i] = drop_target_block(&child, BLOCK_BYTES);
        for (uint64_t word = 0; word < 8; word++)
            blocks[i][word] = 10 * i + word + 1;
    }
    for (size_t i = 0; i < BUFFER_BYTES; i++)
        buffer[i] = (uint8_t)(random_next(&random) >> 24 | 1);
    if (pipe2(pipe_ends, O_NONBLOCK | O_CLOEXEC) != 0)
        return 1;
    drop_target_start(&child);
    drop_functions_find(&functions, &child.target);
    drop_run_init(&run, &child.target, &child.blocks, &functions);
    return 0;
}

static int end(void **state)
{
    (void)state;
    drop_run_deinit(&run);
    drop_functions_deinit(&functions);
    drop_target_end(&child);
    return 0;
}

static int reset(void **state)
{
    (void)state;
    drop_run_reset(&run);
    run.futures = NULL;
    run.nr_futures = 0;
    return 0;
}

/* Three arguments at most. */
static enum emulator_end run_it(const void *function, uint64_t a, uint64_t b, uint64_t c)
{
    const uint64_t args[] = {a, b, c};
    return emulator_run(run.emulator, (uint64_t)function, args, 3, BUDGET);
}

static uint64_t call(const void *function, uint64_t a, uint64_t b, uint64_t c)
{
    char text[200];
    enum emulator_end how = run_it(function, a, b, c);
    if (how != EMULATOR_RETURNED)
        fail_msg("%s (%s), pc 0x%llx, 0x%llx",
                 emulator_end_text(run.emulator, how, text, sizeof(text)),
                 run.stop_reason ? run.stop_reason : "", (unsigned long long)run.emulator->pc,
                 (unsigned long long)run.emulator->fault_addr);
    return run.emulator->registers[RAX];
}

static void call_stops(const void *function, uint64_t a, uint64_t b, uint64_t c, const char *reason)
{
    drop_run_reset(&run);
    assert_int_equal(run_it(function, a, b, c), EMULATOR_STOPPED);
    assert_non_null(run.stop_reason);
    assert_string_equal(run.stop_reason, reason);
}

static uint64_t at(const void *place)
{
    return (uint64_t)place;
}

static uint64_t word_at(const uint64_t *place)
{
    uint64_t word;
    assert_true(emulator_read(run.emulator, (uint64_t)place, &word, sizeof(word)));
    return word;
}

static bool was_loaded(const uint64_t *place, uint64_t value)
{
    for (size_t i = 0; i < run.nr_loads; i++)
        if (run.loads[i].addr == (uint64_t)place && run.loads[i].value == value)
            return true;
    return false;
}

/* --- the allocator --------------------------------------------------------------------------- */

static void test_own_memory(void **state)
{
    (void)state;
    assert_true(functions.has_free);
    assert_int_equal(call(subject_allocates, 0, 0, 0), 0);
    assert_int_equal(run.nr_frees, 0);
    drop_run_reset(&run);
    assert_int_equal(call(subject_cannot_allocate, 0, 0, 0), 0);
    assert_int_equal(run.nr_frees, 0);
}

static void test_frees(void **state)
{
    void *vec[] = {blocks[3], blocks[1], blocks[2]};
    (void)state;
    assert_true(emulator_write(run.emulator, at(blocks[0]), vec, sizeof(vec)));
    call(subject_drops_boxes, at(blocks[0]), 0, 0);
    assert_int_equal(run.nr_frees, 4);
    const int order[] = {3, 1, 2, 0};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(run.frees[i].addr, at(blocks[order[i]]));
        assert_int_equal(run.frees[i].requested_bytes, ~(uint64_t)0);
    }
    assert_int_equal(run.nr_loads, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(run.loads[i].addr, at(&blocks[0][i]));
        assert_int_equal(run.loads[i].value, at(vec[i]));
    }
}

static void test_requested_bytes(void **state)
{
    (void)state;
    call(subject_frees_sized, at(blocks[0]), at(blocks[1]), 0);
    assert_int_equal(run.nr_frees, 2);
    assert_int_equal(run.frees[0].addr, at(blocks[0]));
    assert_int_equal(run.frees[0].requested_bytes, 21);
    assert_int_equal(run.frees[1].requested_bytes, ~(uint64_t)0);
    /* What was said of a block is forgotten with the run. */
    drop_run_reset(&run);
    call(free, at(blocks[0]), 0, 0);
    assert_int_equal(run.nr_frees, 1);
    assert_int_equal(run.frees[0].requested_bytes, ~(uint64_t)0);
}

static void test_bigger_blocks(void **state)
{
    (void)state;
    blocks[2][0] = at(blocks[5]); /* here only: the child has what was there */
    uint64_t sum = 0;
    assert_true(emulator_write(run.emulator, at(blocks[2]), &blocks[2][0], 8));
    for (size_t i = 0; i < 8; i++)
        sum += blocks[2][i];
    assert_int_equal(call(subject_makes_bigger, at(blocks[2]), 0, 0), sum);
    assert_int_equal(run.nr_frees, 1);
    assert_int_equal(run.frees[0].addr, at(blocks[2]));
    assert_true(was_loaded(blocks[2], at(blocks[5])));
    blocks[2][0] = 21;
    call_stops(realloc, at(blocks[2]) + 8, 100, 0, "it makes a block bigger that is not known");
    call_stops(realloc, at(outside), 100, 0, "it makes a block bigger that is not known");
    call_stops(realloc, at(blocks[2]), (uint64_t)1 << 40, 0,
               "it makes a block bigger that is not known");
    assert_int_equal(run.nr_frees, 0);
}

static void test_usable_size(void **state)
{
    (void)state;
    assert_int_equal(call(malloc_usable_size, at(blocks[4]), 0, 0), BLOCK_BYTES);
    assert_int_equal(call(malloc_usable_size, 0, 0, 0), 0);
    call_stops(malloc_usable_size, at(blocks[4]) + 16, 0, 0,
               "it asks for the size of a block that is not known");
    call_stops(malloc_usable_size, at(outside), 0, 0,
               "it asks for the size of a block that is not known");
}

/* --- memory ---------------------------------------------------------------------------------- */

static void check_buffer(const char *what, size_t to, size_t from, size_t size)
{
    assert_true(emulator_read(run.emulator, at(buffer), after, sizeof(after)));
    if (memcmp(after, native, sizeof(after)) != 0)
        fail_msg("%s %zu <- %zu, %zu bytes", what, to, from, size);
    drop_run_reset(&run);
    memcpy(native, buffer, sizeof(native));
}

static void test_moves(void **state)
{
    static const size_t sizes[] = {0, 1, 7, 8, 100, 4095, 4096, 4097, 9001, 20000};
    static const size_t places[][2] = {{0, 20000}, {20000, 0}, {8, 0},      {0, 8},       {1, 0},
                                       {0, 1},     {3, 3},     {5000, 900}, {900, 5000},  {4096, 0},
                                       {0, 4096},  {17, 4100}, {4100, 17},  {8193, 8190}, {4, 12}};
    (void)state;
    memcpy(native, buffer, sizeof(native));
    for (size_t p = 0; p < sizeof(places) / sizeof(*places); p++)
        for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++) {
            const size_t to = places[p][0], from = places[p][1], size = sizes[s];
            assert_int_equal(call(memmove, at(buffer + to), at(buffer + from), size),
                             at(buffer + to));
            memmove(native + to, native + from, size);
            check_buffer("memmove", to, from, size);
            if ((to > from ? to - from : from - to) < size)
                continue;
            assert_int_equal(call(memcpy, at(buffer + to), at(buffer + from), size),
                             at(buffer + to));
            memmove(native + to, native + from, size);
            check_buffer("memcpy", to, from, size);
        }
}

static void test_fills(void **state)
{
    static const size_t sizes[] = {0, 1, 15, 4096, 4097, 30000};
    (void)state;
    memcpy(native, buffer, sizeof(native));
    for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++) {
        assert_int_equal(call(memset, at(buffer + 5), 0x1a5, sizes[s]), at(buffer + 5));
        memset(native + 5, 0xa5, sizes[s]);
        check_buffer("memset", 5, 0, sizes[s]);
    }
}

static void test_compares_and_searches(void **state)
{
    const uint8_t zero = 0;
    (void)state;
    assert_int_equal(call(memcmp, at(buffer), at(buffer), 10000), 0);
    assert_int_equal(call(memcmp, at(buffer), 0, 0), 0);
    assert_true(emulator_write(run.emulator, at(buffer + 9000), &zero, 1));
    assert_true(emulator_write(run.emulator, at(buffer + 100), buffer + 8990, 10));
    assert_int_equal(call(memcmp, at(buffer + 8990), at(buffer + 100), 10), 0);
    assert_true((int)call(memcmp, at(buffer + 8990), at(buffer + 100), 11) < 0);
    assert_true((int)call(memcmp, at(buffer + 100), at(buffer + 8990), 11) > 0);
    assert_int_equal(call(strlen, at(buffer), 0, 0), 9000);
    assert_int_equal(call(strlen, at(buffer + 9000), 0, 0), 0);
    assert_int_equal(call(memchr, at(buffer), 0x100, 9001), at(buffer + 9000));
    assert_int_equal(call(memchr, at(buffer), 0, 9000), 0);
    assert_int_equal(call(memchr, at(buffer + 9000), 0, 1), at(buffer + 9000));
    assert_int_equal(call(memchr, at(buffer + 9000), 0, 0), 0);
    assert_int_equal(call(memchr, at(buffer), buffer[0], SIZE_MAX), at(buffer));
}

static void test_what_is_refused(void **state)
{
    const uint64_t huge = ((uint64_t)256 << 20) + 1;
    void *hole = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    (void)state;
    /* Whichever lies before the other: one of them would begin at its begin. */
    call_stops(memcpy, at(outside), at(buffer), huge, "it copies memory that is not there");
    assert_int_equal(word_at(outside), outside[0]);
    call_stops(memcpy, at(buffer), at(outside), huge, "it copies memory that is not there");
    assert_true(emulator_read(run.emulator, at(buffer), after, 16));
    assert_memory_equal(after, buffer, 16); /* not even begun */
    call_stops(memmove, at(buffer), at(outside), UINT64_MAX, "it copies memory that is not there");
    call_stops(memset, at(buffer), 0, huge, "it fills too much memory");
    assert_true(emulator_read(run.emulator, at(buffer), after, 16));
    assert_memory_equal(after, buffer, 16);
    call_stops(memcpy, at(buffer), at(hole), 8, "it copies memory that is not there");
    call_stops(memcpy, at(hole), at(buffer), 8, "it copies memory that is not there");
    call_stops(memcpy, at(memcpy), at(buffer), 8, "it copies memory that is not there");
    call_stops(memset, 16, 0, 8, "it fills memory that is not there");
    call_stops(memcmp, at(buffer), at(hole), 8, "it compares memory that is not there");
    call_stops(strlen, 16, 0, 0, "it measures a string that has no end");
    call_stops(memchr, at(hole), 1, 8, "it searches memory that is not there");
    munmap(hole, 4096);
}

/* --- the rest -------------------------------------------------------------------------------- */

static void test_clock(void **state)
{
    struct timespec before, now, later;
    (void)state;
    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &before), 0);
    assert_int_equal((int)call(clock_gettime, CLOCK_MONOTONIC, at(outside), 0), 0);
    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &later), 0);
    assert_true(emulator_read(run.emulator, at(outside), &now, sizeof(now)));
    assert_in_range(now.tv_sec, before.tv_sec, later.tv_sec);
    assert_int_equal(call(clock_gettime, 4321, at(outside), 0), UINT64_MAX);
    call_stops(clock_gettime, CLOCK_MONOTONIC, 16, 0, "it stores the time where no memory is");
}

static void test_files(void **state)
{
    char path[64];
    struct stat status;
    (void)state;
    assert_int_equal(call(write, (uint64_t)pipe_ends[1], at(buffer), 5), 5);
    assert_int_equal(read(pipe_ends[0], after, 5), -1);
    assert_int_equal(errno, EAGAIN);
    assert_int_equal((int)call(close, (uint64_t)pipe_ends[1], 0, 0), 0);
    snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)child.target.pid, pipe_ends[1]);
    assert_int_equal(lstat(path, &status), 0);
}

static void test_waiting(void **state)
{
    (void)state;
    assert_int_equal(call(subject_wakes, at(outside), 0, 0), 0);
    call_stops(subject_waits, at(outside), 0, 0, "it waits for a lock that a thread holds");
    call_stops(subject_asks_for_parent, 0, 0, 0,
               "it makes a system call whose answer is not known");
    drop_run_reset(&run);
    assert_null(run.stop_reason);
    for (int i = 0; i < 4; i++) /* a few times are politeness */
        call(subject_yields, 0, 0, 0);
    assert_int_equal(run_it(subject_yields, 0, 0, 0), EMULATOR_STOPPED);
    assert_string_equal(run.stop_reason, "it waits for another thread");
}

static void test_ends_of_the_program(void **state)
{
    (void)state;
    call_stops(exit, 0, 0, 0, "it ends the program");
    call_stops(_exit, 0, 0, 0, "it ends the program");
    call_stops(abort, 0, 0, 0, "it ends the program");
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d", (int)child.target.pid);
    assert_int_equal(access(path, F_OK), 0);
}

/* --- what is noted --------------------------------------------------------------------------- */

static void test_loads_and_reads(void **state)
{
    uint64_t words[4] = {at(blocks[1]), at(blocks[2]), at(blocks[3]) + 8, at(blocks[4])};
    const struct addr_range futures[] = {{at(blocks[6]), at(&blocks[6][3])}};
    (void)state;
    run.futures = futures;
    run.nr_futures = 1;
    assert_true(emulator_write(run.emulator, at(blocks[6]), words, sizeof(words)));
    assert_int_equal(call(subject_reads, at(blocks[6]), 0, 0),
                     words[0] + (uint32_t)words[1] + words[2] + words[3]);
    assert_true(was_loaded(&blocks[6][0], words[0]));
    assert_true(was_loaded(&blocks[6][2], words[2]));
    assert_true(was_loaded(&blocks[6][3], words[3]));
    assert_int_equal(run.nr_loads, 3); /* half a word is no pointer */
    assert_int_equal(run.nr_reads, 3); /* the last word is in no future */
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(run.reads[i], at(&blocks[6][i]));
}

/* Copies read pointers too, whatever their own place and length. */
static void test_loads_of_copies(void **state)
{
    static const struct {
        size_t start, size, nr;
    } copies[] = {{0, 24000, 3000}, {0, 24004, 3000}, {4, 24000, 2999}, {3, 23997, 2999}};
    uint64_t *source = (uint64_t *)native;
    const struct addr_range futures[] = {{at(native), at(native + 24000)}};
    (void)state;
    for (size_t i = 0; i < sizeof(native) / 8; i++) {
        uint64_t value = at(blocks[i % NR_BLOCKS]) + i % 16;
        assert_true(emulator_write(run.emulator, at(&source[i]), &value, 8));
    }
    run.futures = futures;
    run.nr_futures = 1;
    for (size_t c = 0; c < 2 * sizeof(copies) / sizeof(*copies); c++) {
        const size_t start = copies[c / 2].start, size = copies[c / 2].size;
        run.nr_loads = run.nr_reads = 0;
        /* Forward; and into itself, which must be done from the end on. */
        uint64_t from = at(native + start), to = c % 2 ? from + 8 : at(buffer);
        call(memmove, to, from, size);
        assert_int_equal(run.nr_loads, copies[c / 2].nr);
        for (size_t i = 0; i < run.nr_loads; i++)
            assert_int_equal(run.loads[i].addr % 8, 0);
        assert_in_range(run.nr_reads, 2999, 3001);
    }
    run.nr_loads = 0;
    call(memmove, at(buffer), at(native), 7); /* no whole word */
    assert_int_equal(run.nr_loads, 0);
}

static void test_changes(void **state)
{
    const uint64_t counts[8] = {3, 1, 2, 9, 5, 0, 0, 0}, others[4] = {5, 5, 5, 0};
    (void)state;
    assert_true(emulator_write(run.emulator, at(blocks[7]), counts, sizeof(counts)));
    call(subject_counts, at(blocks[7]), 0, 0);
    assert_int_equal(run.nr_changes, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(run.changes[i].addr, at(&blocks[7][i]));
        assert_int_equal(run.changes[i].before, counts[i]);
        assert_int_equal(word_at(&blocks[7][i]), counts[i] - 1);
    }
    drop_run_reset(&run);
    assert_true(emulator_write(run.emulator, at(blocks[7]), others, sizeof(others)));
    assert_int_equal(call(subject_changes_others, at(blocks[7]), 0, 0), ~(uint64_t)0);
    call(subject_counts, at(outside), 0, 0); /* not in the heap */
    assert_int_equal(run.nr_changes, 0);
}

static void test_reset(void **state)
{
    const struct addr_range futures[] = {{at(blocks[0]), at(blocks[1])}};
    (void)state;
    run.futures = futures;
    run.nr_futures = 1;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(word_at(blocks[0]), 1);
        call(subject_writes, at(blocks[0]), 0, 0);
        assert_int_equal(word_at(blocks[0]), 100);
        call(subject_counts, at(blocks[0]), 0, 0);
        call(subject_reads, at(blocks[0]), 0, 0);
        call(free, at(blocks[0]), 0, 0);
        assert_true(run.nr_reads && run.nr_changes == 5 && run.nr_frees == 1);
        drop_run_reset(&run);
        assert_true(!run.nr_reads && !run.nr_changes && !run.nr_frees && !run.nr_loads);
    }
    for (uint64_t i = 0; i < 8; i++)
        assert_int_equal(word_at(&blocks[0][i]), i + 1);
}

static void test_glue(void **state)
{
    struct map glue;
    (void)state;
    drop_functions_list_glue(&glue, &child.target);
    assert_non_null(map_find(&glue, at(subject_glue_legacy)));
    assert_non_null(map_find(&glue, at(subject_glue_v0)));
    assert_null(map_find(&glue, at(subject_drop_legacy))); /* a part of a drop only */
    assert_null(map_find(&glue, at(subject_drop_v0)));
    assert_null(map_find(&glue, at(subject_no_glue)));
    assert_null(map_find(&glue, at(subject_counts)));
    map_deinit(&glue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_own_memory, reset),
        cmocka_unit_test_setup(test_frees, reset),
        cmocka_unit_test_setup(test_requested_bytes, reset),
        cmocka_unit_test_setup(test_bigger_blocks, reset),
        cmocka_unit_test_setup(test_usable_size, reset),
        cmocka_unit_test_setup(test_moves, reset),
        cmocka_unit_test_setup(test_fills, reset),
        cmocka_unit_test_setup(test_compares_and_searches, reset),
        cmocka_unit_test_setup(test_what_is_refused, reset),
        cmocka_unit_test_setup(test_clock, reset),
        cmocka_unit_test_setup(test_files, reset),
        cmocka_unit_test_setup(test_waiting, reset),
        cmocka_unit_test_setup(test_ends_of_the_program, reset),
        cmocka_unit_test_setup(test_loads_and_reads, reset),
        cmocka_unit_test_setup(test_loads_of_copies, reset),
        cmocka_unit_test_setup(test_changes, reset),
        cmocka_unit_test_setup(test_reset, reset),
        cmocka_unit_test_setup(test_glue, reset),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
