/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The recording of a run of these bytes: read, checked, and shown in every way. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "model/run_file.h"
#include "recording/container.h"
#include "report/run_report.h"
#include "run_sample.h"

/* Rows may share their parts, so that a small file can describe a great deal: not what is sought. */
enum { MAX_BYTES = 16384 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static FILE *nowhere(void)
{
    static FILE *file;
    if (!file)
        file = fopen("/dev/null", "w");
    if (!file)
        abort();
    return file;
}

static void show(const struct run *run, const struct run_options *options)
{
    struct run_report report;
    struct error err = {0};
    const struct display display = {.out = nowhere(), .columns = 80};
    if (!run_report_init(&report, run, options, &err))
        return;
    run_write_text(&report, &display);
    if (!run_write_json(&report, nowhere(), &err))
        abort();
    run_report_deinit(&report);
}

static void show_all(const struct run *run)
{
    size_t nr;
    const struct run_task *tasks = run_tasks(run, &nr);
    for (int by = RUN_BY_ALL; by < NR_RUN_BYS; by++) {
        const struct run_options options = {.by = (enum run_by)by, .all = by == RUN_BY_SITE};
        show(run, &options);
    }
    for (size_t i = 0; i < nr && i < 4; i++) {
        const struct run_options options = {.task = tasks[i].id};
        show(run, &options);
    }
    const struct run_options options = {.match = "a", .top = 3};
    show(run, &options);
}

/* What is read has passed the check, and can be written again. */
static void use(const struct run *run)
{
    const char *problem;
    struct run again;
    struct text bytes;
    struct error err = {0};
    if (!run_check(run, &problem))
        abort();
    text_init(&bytes);
    run_file_pack(run, &bytes);
    if (!run_file_parse(&again, bytes.data, bytes.length, &err))
        abort();
    run_deinit(&again);
    text_deinit(&bytes);
    show_all(run);
}

/* Takes over the bytes, exactly as long as they are. */
static void read_file(uint8_t *bytes, size_t size)
{
    struct run run;
    struct error err = {0};
    if (run_file_parse(&run, bytes, size, &err)) {
        use(&run);
        run_deinit(&run);
    } else if (err.code != ERROR_INPUT || !*err.message) {
        abort();
    }
    free(bytes);
}

/* Makes the checksums right, so that what they protect is reached. */
static void seal(uint8_t *bytes, size_t size)
{
    if (size < CONTAINER_HEADER_BYTES)
        return;
    uint64_t sum = XXH3_64bits(bytes, CONTAINER_HEADER_BYTES - 8);
    memcpy(bytes + CONTAINER_HEADER_BYTES - 8, &sum, 8);
    for (size_t at = CONTAINER_HEADER_BYTES; at + CONTAINER_SECTION_BYTES <= size;) {
        uint64_t stored;
        size_t left = size - at - CONTAINER_SECTION_BYTES;
        memcpy(&stored, bytes + at + 24, 8);
        if (stored > left)
            stored = left;
        sum = XXH3_64bits(bytes + at + CONTAINER_SECTION_BYTES, stored);
        memcpy(bytes + at + 32, &sum, 8);
        sum = XXH3_64bits_withSeed(bytes + at, CONTAINER_SECTION_BYTES - 8, at);
        memcpy(bytes + at + CONTAINER_SECTION_BYTES - 8, &sum, 8);
        at += CONTAINER_SECTION_BYTES + stored;
    }
}

/* A run with rows edited: two bytes say where, one which table, one what to put there. */
static void edit_rows(const uint8_t *data, size_t size)
{
    static const struct run_sample_size small = {.seed = 3,
                                                 .nr_types = 3,
                                                 .nr_tasks = 5,
                                                 .nr_sites = 5,
                                                 .nr_steps = 3,
                                                 .depth = 3,
                                                 .has_snapshot = 1};
    struct run run;
    const char *problem;
    run_sample(&run, &small);
    for (size_t i = 0; i + 4 <= size; i += 4) {
        enum run_table_id table = data[i] % NR_RUN_TABLES;
        size_t bytes = run.tables[table].nr * run_row_bytes[table];
        if (bytes)
            ((uint8_t *)run.tables[table].rows)[(data[i + 1] | data[i + 2] << 8) % bytes] =
                data[i + 3];
    }
    if (run_check(&run, &problem))
        use(&run);
    run_deinit(&run);
}

static uint8_t *copy_of(const uint8_t *data, size_t size)
{
    uint8_t *bytes = malloc(size ? size : 1);
    if (!bytes)
        abort();
    return size ? memcpy(bytes, data, size) : bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > MAX_BYTES)
        return 0;
    edit_rows(data, size);
    read_file(copy_of(data, size), size);
    uint8_t *sealed = copy_of(data, size);
    seal(sealed, size);
    read_file(sealed, size);
    return 0;
}
