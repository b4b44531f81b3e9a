/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "unit.h"

#include <stdio.h>
#include <unistd.h>

#include "base/file.h"
#include "model/snapshot_file.h"
#include "recording/container.h"
#include "report/snapshot_report.h"
#include "snapshot_sample.h"

struct sample {
    struct snapshot snapshot;
    struct file file;
    char path[40];
};

static int make_sample(void **state)
{
    struct sample *sample = calloc(1, sizeof(*sample));
    struct error err = {0};
    strcpy(sample->path, "/tmp/asyncmem-snapshot-XXXXXX");
    close(mkstemp(sample->path));
    sample_snapshot_held(&sample->snapshot);
    assert_true(snapshot_file_write(&sample->snapshot, sample->path, &err));
    assert_true(file_open(&sample->file, sample->path, &err));
    *state = sample;
    return 0;
}

static int free_sample(void **state)
{
    struct sample *sample = *state;
    file_close(&sample->file);
    snapshot_deinit(&sample->snapshot);
    unlink(sample->path);
    free(sample);
    return 0;
}

/* What JSON says of it, without its notes; free(). */
static char *figures(const struct snapshot *snapshot)
{
    const struct snapshot_options options = {0};
    struct snapshot_report report;
    struct error err = {0};
    char *bytes = NULL;
    size_t size;
    FILE *out = open_memstream(&bytes, &size);
    assert_true(snapshot_report_init(&report, snapshot, &options, &err));
    assert_true(snapshot_write_json(&report, out, &err));
    snapshot_report_deinit(&report);
    fclose(out);
    *strstr(bytes, ",\"notes\":") = 0;
    return bytes;
}

static bool says_damaged(const struct snapshot *snapshot)
{
    size_t nr;
    const struct snapshot_note *notes = snapshot_notes(snapshot, &nr);
    for (size_t i = 0; i < nr; i++)
        if (strstr(snapshot_string(snapshot, notes[i].text), "the file is damaged: "))
            return true;
    return false;
}

/* Reads bytes that differ from the sample's file: an error in one line, or an answer that says
 * that it is damaged, and is valid.  True for an answer. */
static bool read_damaged(const uint8_t *bytes, uint64_t size)
{
    struct snapshot snapshot;
    struct error err = {0};
    const char *problem;
    if (!snapshot_file_parse(&snapshot, bytes, size, &err)) {
        assert_int_equal(err.code, ERROR_INPUT);
        assert_true(*err.message && !strchr(err.message, '\n'));
        return false;
    }
    assert_true(snapshot_check(&snapshot, &problem));
    assert_true(says_damaged(&snapshot));
    free(figures(&snapshot)); /* and can be shown */
    snapshot_deinit(&snapshot);
    return true;
}

static void round_trip(void **state)
{
    const struct sample *sample = *state;
    struct snapshot read;
    struct error err = {0};
    assert_true(snapshot_file_read(&read, sample->path, &err));
    for (size_t i = 0; i < NR_SNAPSHOT_TABLES; i++) {
        assert_int_equal(read.tables[i].nr, sample->snapshot.tables[i].nr);
        assert_memory_equal(read.tables[i].rows, sample->snapshot.tables[i].rows,
                            read.tables[i].nr * snapshot_row_bytes[i]);
    }
    snapshot_deinit(&read);
    assert_false(snapshot_file_read(&read, "/nonexistent", &err));
    assert_non_null(strstr(err.message, "/nonexistent"));
}

static void of_an_empty_process(void **state)
{
    const struct sample *sample = *state;
    struct snapshot none, read;
    struct error err = {0};
    snapshot_init(&none);
    assert_true(snapshot_file_write(&none, sample->path, &err));
    assert_true(snapshot_file_read(&read, sample->path, &err));
    assert_int_equal(read.tables[SNAPSHOT_TASKS].nr, 0);
    assert_int_equal(read.tables[SNAPSHOT_NOTES].nr, 0);
    snapshot_deinit(&read);
    snapshot_deinit(&none);
}

static void cut_at_every_byte(void **state)
{
    const struct sample *sample = *state;
    unsigned answers = 0;
    for (uint64_t size = 0; size < sample->file.size_bytes; size++) {
        uint8_t *copy = malloc(size ? size : 1);
        memcpy(copy, sample->file.bytes, size);
        answers += read_damaged(copy, size);
        free(copy);
    }
    assert_true(answers > sample->file.size_bytes / 3); /* partial answers there are */
}

static void every_byte_flipped(void **state)
{
    const struct sample *sample = *state;
    uint64_t size = sample->file.size_bytes;
    uint8_t *copy = malloc(size);
    unsigned answers = 0;
    memcpy(copy, sample->file.bytes, size);
    for (uint64_t i = 0; i < size; i++)
        for (unsigned flip = 1; flip < 256; flip *= 2) {
            copy[i] ^= (uint8_t)flip;
            answers += read_damaged(copy, size);
            copy[i] ^= (uint8_t)flip;
        }
    assert_true(answers > 8 * size / 3);
    free(copy);
}

/* --- files that others wrote ----------------------------------------------------------------- */

static const uint32_t tags[NR_SNAPSHOT_TABLES] = {
    [SNAPSHOT_STRINGS] = CONTAINER_TAG('S', 'T', 'R', 'S'),
    [SNAPSHOT_FACTS] = CONTAINER_TAG('F', 'A', 'C', 'T'),
    [SNAPSHOT_IMAGES] = CONTAINER_TAG('I', 'M', 'A', 'G'),
    [SNAPSHOT_RUNTIMES] = CONTAINER_TAG('R', 'U', 'N', 'T'),
    [SNAPSHOT_KINDS] = CONTAINER_TAG('K', 'I', 'N', 'D'),
    [SNAPSHOT_ALSO] = CONTAINER_TAG('A', 'L', 'S', 'O'),
    [SNAPSHOT_STATES] = CONTAINER_TAG('S', 'T', 'A', 'T'),
    [SNAPSHOT_SLOTS] = CONTAINER_TAG('S', 'L', 'O', 'T'),
    [SNAPSHOT_TASKS] = CONTAINER_TAG('T', 'A', 'S', 'K'),
    [SNAPSHOT_FRAMES] = CONTAINER_TAG('F', 'R', 'A', 'M'),
    [SNAPSHOT_NOTES] = CONTAINER_TAG('N', 'O', 'T', 'E'),
    [SNAPSHOT_HOLDINGS] = CONTAINER_TAG('H', 'O', 'L', 'D'),
    [SNAPSHOT_SHARED] = CONTAINER_TAG('S', 'H', 'A', 'R'),
    [SNAPSHOT_SHARED_TASKS] = CONTAINER_TAG('S', 'H', 'T', 'A'),
    [SNAPSHOT_KEEPERS] = CONTAINER_TAG('K', 'E', 'E', 'P'),
    [SNAPSHOT_HEAP] = CONTAINER_TAG('H', 'E', 'A', 'P'),
    [SNAPSHOT_SITE_FRAMES] = CONTAINER_TAG('S', 'I', 'F', 'R'),
    [SNAPSHOT_SITES] = CONTAINER_TAG('S', 'I', 'T', 'E'),
    [SNAPSHOT_MAKERS] = CONTAINER_TAG('M', 'A', 'K', 'R'),
    [SNAPSHOT_ORIGINS] = CONTAINER_TAG('O', 'R', 'I', 'G'),
    [SNAPSHOT_SPAWNS] = CONTAINER_TAG('S', 'P', 'W', 'N'),
};

enum { ALL_LATER = NR_SNAPSHOT_TABLES }; /* tables that the first asyncmem did not have */

/* Writes the sample with rows `longer` bytes longer (or shorter), and without one table. */
static void write_as(const struct sample *sample, int longer, int without)
{
    struct container_writer writer;
    struct error err = {0};
    container_begin(&writer, "snapshot");
    for (int i = 0; i < NR_SNAPSHOT_TABLES; i++) {
        const struct table *table = &sample->snapshot.tables[i];
        size_t row = snapshot_row_bytes[i];
        size_t row_bytes = (size_t)((int)row + (i == SNAPSHOT_STRINGS ? 0 : longer));
        char *rows = malloc(table->nr * row_bytes + 1);
        memset(rows, 0xee, table->nr * row_bytes);
        for (size_t r = 0; r < table->nr; r++)
            memcpy(rows + r * row_bytes, (char *)table->rows + r * row,
                   row < row_bytes ? row : row_bytes);
        if (i != without && (without != ALL_LATER || i < SNAPSHOT_SITE_FRAMES))
            container_add(&writer, tags[i], (uint32_t)row_bytes, rows, table->nr);
        free(rows);
    }
    container_add(&writer, CONTAINER_TAG('N', 'E', 'W', '!'), 4, "new!", 1);
    assert_true(container_finish(&writer, sample->path, &err));
    container_writer_deinit(&writer);
}

static void of_a_newer_asyncmem(void **state)
{
    const struct sample *sample = *state;
    struct snapshot read;
    struct error err = {0};
    write_as(sample, 8, -1);
    assert_true(snapshot_file_read(&read, sample->path, &err));
    for (size_t i = 0; i < NR_SNAPSHOT_TABLES; i++) {
        assert_int_equal(read.tables[i].nr, sample->snapshot.tables[i].nr);
        assert_memory_equal(read.tables[i].rows, sample->snapshot.tables[i].rows,
                            read.tables[i].nr * snapshot_row_bytes[i]);
    }
    snapshot_deinit(&read);
}

static void of_an_older_asyncmem(void **state)
{
    const struct sample *sample = *state;
    struct snapshot read;
    struct error err = {0};
    write_as(sample, -2, -1);
    assert_false(snapshot_file_read(&read, sample->path, &err));
    assert_non_null(strstr(err.message, "asyncmem " ASYNCMEM_VERSION " wrote it"));
    assert_non_null(strstr(err.message, sample->path));
}

/* What is not in it was not known then: that is no damage. */
static void of_the_first_asyncmem(void **state)
{
    const struct sample *sample = *state;
    struct snapshot read;
    struct error err = {0};
    write_as(sample, 0, ALL_LATER);
    assert_true(snapshot_file_read(&read, sample->path, &err));
    assert_false(says_damaged(&read));
    assert_int_equal(read.tables[SNAPSHOT_ORIGINS].nr, 0);
    assert_int_equal(read.tables[SNAPSHOT_TASKS].nr, sample->snapshot.tables[SNAPSHOT_TASKS].nr);
    snapshot_deinit(&read);
}

/* Each table by itself: an error, or the rest with a note. */
static void without_one_table(void **state)
{
    static const bool essential[NR_SNAPSHOT_TABLES] = {
        [SNAPSHOT_STRINGS] = true,
        [SNAPSHOT_FACTS] = true,
        [SNAPSHOT_KINDS] = true,
        [SNAPSHOT_TASKS] = true,
    };
    const struct sample *sample = *state;
    for (int i = 0; i < NR_SNAPSHOT_TABLES; i++) {
        struct file file;
        struct error err = {0};
        write_as(sample, 0, i);
        assert_true(file_open(&file, sample->path, &err));
        assert_int_equal(read_damaged(file.bytes, file.size_bytes), !essential[i]);
        file_close(&file);
    }
}

static void trees_lost(void **state)
{
    const struct sample *sample = *state;
    struct snapshot read;
    struct error err = {0};
    size_t nr;
    write_as(sample, 0, SNAPSHOT_FRAMES);
    assert_true(snapshot_file_read(&read, sample->path, &err));
    const struct snapshot_task *tasks = snapshot_tasks(&read, &nr);
    assert_int_equal(nr, 9);
    for (size_t i = 0; i < nr; i++)
        assert_int_equal(tasks[i].nr_frames, 0);
    assert_string_equal(snapshot_string(&read, tasks[0].reason),
                        "the file is damaged: its await trees are missing");
    assert_string_equal(snapshot_string(&read, tasks[3].reason), ""); /* it had none */
    snapshot_deinit(&read);
}

/* Nothing is told of what variables hold, or of who shares or keeps, where that is lost. */
static void holdings_lost(void **state)
{
    static const int tables[] = {SNAPSHOT_HOLDINGS, SNAPSHOT_SLOTS, SNAPSHOT_SHARED_TASKS,
                                 SNAPSHOT_KEEPERS};
    const struct sample *sample = *state;
    for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++) {
        struct snapshot read;
        struct error err = {0};
        write_as(sample, 0, tables[i]);
        assert_true(snapshot_file_read(&read, sample->path, &err));
        bool of_variables = i < 2;
        assert_int_equal(snapshot_frames(&read, NULL)[0].nr_holdings, of_variables ? 0 : 3);
        assert_int_equal(read.tables[SNAPSHOT_SHARED].nr,
                         tables[i] == SNAPSHOT_SHARED_TASKS ? 0 : 2);
        assert_int_equal(snapshot_tasks(&read, NULL)[3].nr_keepers,
                         tables[i] == SNAPSHOT_KEEPERS ? 0 : 1);
        assert_int_equal(snapshot_tasks(&read, NULL)[0].held_bytes, 400); /* is still known */
        snapshot_deinit(&read);
    }
}

/* A file whose checksums are right and whose rows are not. */
static void wrong_rows(void **state)
{
    struct sample *sample = *state;
    struct snapshot read;
    struct error err = {0};
    snapshot_tasks(&sample->snapshot, NULL)[0].kind = 99;
    write_as(sample, 0, -1);
    assert_false(snapshot_file_read(&read, sample->path, &err));
    assert_int_equal(err.code, ERROR_INPUT);
    assert_non_null(strstr(err.message, "a task's kind does not exist"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(round_trip, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(of_an_empty_process, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(cut_at_every_byte, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(every_byte_flipped, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(of_a_newer_asyncmem, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(of_an_older_asyncmem, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(of_the_first_asyncmem, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(without_one_table, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(trees_lost, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(holdings_lost, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(wrong_rows, make_sample, free_sample),
    };
    return cmocka_run_group_tests_name("snapshot_file", tests, NULL, NULL);
}
