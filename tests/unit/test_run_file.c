/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "unit.h"

#include <stdio.h>
#include <unistd.h>

#include "base/file.h"
#include "model/run_file.h"
#include "recording/container.h"
#include "run_sample.h"

struct sample {
    struct run run;
    struct text bytes;
    char path[40];
};

static int make_sample(void **state)
{
    static const struct run_sample_size size = {.seed = 11,
                                                .nr_types = 3,
                                                .nr_tasks = 6,
                                                .nr_sites = 6,
                                                .nr_steps = 4,
                                                .depth = 4,
                                                .has_snapshot = 1};
    struct sample *sample = calloc(1, sizeof(*sample));
    strcpy(sample->path, "/tmp/asyncmem-run-XXXXXX");
    close(mkstemp(sample->path));
    run_sample(&sample->run, &size);
    const struct run_lost lost = {run_add_string(&sample->run, "stack_cut"), {0}, 1};
    const struct run_lifetimes lifetimes = {.site = 1};
    run_add(&sample->run, RUN_LOSTS, &lost);
    run_add(&sample->run, RUN_LIFETIMES, &lifetimes);
    run_sites(&sample->run, NULL)[0].lifetimes = 1;
    run_file_pack(&sample->run, &sample->bytes);
    *state = sample;
    return 0;
}

static int free_sample(void **state)
{
    struct sample *sample = *state;
    text_deinit(&sample->bytes);
    run_deinit(&sample->run);
    unlink(sample->path);
    free(sample);
    return 0;
}

static bool says_damaged(const struct run *run)
{
    size_t nr;
    const struct run_note *notes = run_notes(run, &nr);
    for (size_t i = 0; i < nr; i++)
        if (strstr(run_string(run, notes[i].text), "the file is damaged: "))
            return true;
    return false;
}

/* Bytes that differ from the sample's file: an error in one line, or an answer that is valid and says that it is
 * damaged.  True for an answer. */
static bool read_damaged(const void *bytes, uint64_t size)
{
    struct run run;
    struct error err = {0};
    const char *problem;
    if (!run_file_parse(&run, bytes, size, &err)) {
        assert_int_equal(err.code, ERROR_INPUT);
        assert_true(*err.message && !strchr(err.message, '\n'));
        return false;
    }
    assert_true(run_check(&run, &problem));
    assert_true(says_damaged(&run));
    run_deinit(&run);
    return true;
}

static void check_equal(const struct run *a, const struct run *b)
{
    for (size_t i = 0; i < NR_RUN_TABLES; i++) {
        assert_int_equal(a->tables[i].nr, b->tables[i].nr);
        if (a->tables[i].nr)
            assert_memory_equal(a->tables[i].rows, b->tables[i].rows,
                                a->tables[i].nr * run_row_bytes[i]);
    }
}

static void round_trip(void **state)
{
    const struct sample *sample = *state;
    struct run read;
    struct file file;
    struct error err = {0};
    assert_true(run_file_write(&sample->run, sample->path, &err));
    assert_true(file_open(&file, sample->path, &err));
    assert_int_equal(file.size_bytes, sample->bytes.length);
    assert_memory_equal(file.bytes, sample->bytes.data, file.size_bytes);
    file_close(&file);
    assert_true(run_file_read(&read, sample->path, &err));
    check_equal(&read, &sample->run);
    run_deinit(&read);
    assert_false(run_file_read(&read, "/nonexistent", &err));
    assert_non_null(strstr(err.message, "/nonexistent"));
}

static void cut_at_every_byte(void **state)
{
    const struct sample *sample = *state;
    unsigned answers = 0;
    for (uint64_t size = 0; size < sample->bytes.length; size++) {
        uint8_t *copy = malloc(size ? size : 1);
        memcpy(copy, sample->bytes.data, size);
        answers += read_damaged(copy, size);
        free(copy);
    }
    assert_true(answers > sample->bytes.length / 3); /* partial answers there are */
}

static void every_byte_flipped(void **state)
{
    const struct sample *sample = *state;
    uint64_t size = sample->bytes.length;
    uint8_t *copy = malloc(size);
    unsigned answers = 0;
    memcpy(copy, sample->bytes.data, size);
    for (uint64_t i = 0; i < size; i++)
        for (unsigned flip = 1; flip < 256; flip *= 4) {
            copy[i] ^= (uint8_t)flip;
            answers += read_damaged(copy, size);
            copy[i] ^= (uint8_t)flip;
        }
    assert_true(answers > 2 * size);
    free(copy);
}

/* --- files that others wrote ----------------------------------------------------------------- */

static const char tags[NR_RUN_TABLES][5] = {
    [RUN_STRINGS] = "STRS",        [RUN_FACTS] = "FACT",      [RUN_LOSTS] = "LOST",
    [RUN_NOTES] = "NOTE",          [RUN_IMAGES] = "IMAG",     [RUN_TYPES] = "TYPE",
    [RUN_TASKS] = "TASK",          [RUN_AWAITS] = "AWAI",     [RUN_AWAIT_ENDS] = "AEND",
    [RUN_FRAMES] = "FRAM",         [RUN_PLACES] = "PLAC",     [RUN_NODES] = "NODE",
    [RUN_SITES] = "SITE",          [RUN_LIFETIMES] = "LIFE",  [RUN_LEFTS] = "LEFT",
    [RUN_STEPS] = "STEP",          [RUN_STEP_TYPES] = "STTY", [RUN_SNAPSHOTS] = "SNAP",
    [RUN_SNAPSHOT_BYTES] = "SNBY", [RUN_RUNTIMES] = "RUNT",
};

/* The sample with rows `longer` bytes longer (or shorter), and without one table; text_deinit. */
static struct text write_as(const struct run *run, int longer, int without)
{
    struct container_writer writer;
    container_begin(&writer, "run");
    for (int i = 0; i < NR_RUN_TABLES; i++) {
        const struct table *table = &run->tables[i];
        size_t row = run_row_bytes[i], row_bytes = row == 1 ? 1 : row + (size_t)longer;
        char *rows = malloc(table->nr * row_bytes + 1);
        memset(rows, 0xee, table->nr * row_bytes);
        for (size_t r = 0; r < table->nr; r++)
            memcpy(rows + r * row_bytes, (char *)table->rows + r * row,
                   row < row_bytes ? row : row_bytes);
        uint32_t tag;
        memcpy(&tag, tags[i], sizeof(tag));
        if (i != without)
            container_add(&writer, tag, (uint32_t)row_bytes, rows, table->nr);
        free(rows);
    }
    container_add(&writer, CONTAINER_TAG('N', 'E', 'W', '!'), 4, "new!", 1);
    container_end(&writer);
    return writer.bytes;
}

static void of_a_newer_asyncmem(void **state)
{
    const struct sample *sample = *state;
    struct run read;
    struct error err = {0};
    struct text bytes = write_as(&sample->run, 8, -1);
    assert_true(run_file_parse(&read, bytes.data, bytes.length, &err));
    check_equal(&read, &sample->run);
    run_deinit(&read);
    text_deinit(&bytes);
}

static void of_an_older_asyncmem(void **state)
{
    const struct sample *sample = *state;
    struct run read;
    struct error err = {0};
    struct text bytes = write_as(&sample->run, -4, -1);
    assert_false(run_file_parse(&read, bytes.data, bytes.length, &err));
    assert_non_null(strstr(err.message, "asyncmem " ASYNCMEM_VERSION " wrote it"));
    text_deinit(&bytes);
}

/* Each table by itself: an error, or the rest with a note. */
static void without_one_table(void **state)
{
    const struct sample *sample = *state;
    for (int i = 0; i < NR_RUN_TABLES; i++) {
        struct text bytes = write_as(&sample->run, 0, i);
        assert_int_equal(read_damaged(bytes.data, bytes.length),
                         i != RUN_STRINGS && i != RUN_FACTS);
        text_deinit(&bytes);
    }
}

static void what_a_lost_table_costs(void **state)
{
    const struct sample *sample = *state;
    struct run read;
    struct error err = {0};
    struct text bytes = write_as(&sample->run, 0, RUN_TYPES);
    assert_true(run_file_parse(&read, bytes.data, bytes.length, &err));
    assert_int_equal(read.tables[RUN_TASKS].nr, 0);
    assert_int_equal(read.tables[RUN_SITES].nr, sample->run.tables[RUN_SITES].nr);
    assert_int_equal(run_facts(&read)->allocations, run_facts(&sample->run)->allocations);
    run_deinit(&read);
    text_deinit(&bytes);
    bytes = write_as(&sample->run, 0, RUN_FRAMES);
    assert_true(run_file_parse(&read, bytes.data, bytes.length, &err));
    assert_int_equal(read.tables[RUN_NODES].nr, sample->run.tables[RUN_NODES].nr);
    assert_int_equal(run_places(&read, NULL)[0].nr_frames, 0);
    run_deinit(&read);
    text_deinit(&bytes);
}

/* A file whose checksums are right and whose rows are not. */
static void wrong_rows(void **state)
{
    struct sample *sample = *state;
    struct run read;
    struct error err = {0};
    run_tasks(&sample->run, NULL)[0].type = 99;
    struct text bytes = write_as(&sample->run, 0, -1);
    assert_false(run_file_parse(&read, bytes.data, bytes.length, &err));
    assert_int_equal(err.code, ERROR_INPUT);
    assert_non_null(strstr(err.message, "a task's type does not exist"));
    text_deinit(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(round_trip, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(cut_at_every_byte, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(every_byte_flipped, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(of_a_newer_asyncmem, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(of_an_older_asyncmem, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(without_one_table, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(what_a_lost_table_costs, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(wrong_rows, make_sample, free_sample),
    };
    return cmocka_run_group_tests_name("run_file", tests, NULL, NULL);
}
