/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A snapshot file of these bytes: read, and, where it reads, shown in every way. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "model/snapshot_file.h"
#include "recording/container.h"
#include "report/snapshot_report.h"
#include "snapshot_sample.h"

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

static void show(const struct snapshot *snapshot, const struct snapshot_options *options)
{
    struct snapshot_report report;
    struct error err;
    const struct display display = {.out = nowhere(), .columns = 80};
    if (!snapshot_report_init(&report, snapshot, options, &err))
        return;
    snapshot_write_text(&report, &display);
    if (!snapshot_write_json(&report, nowhere(), &err))
        abort();
    snapshot_report_deinit(&report);
}

static void show_all(const struct snapshot *snapshot)
{
    const char *problem;
    if (!snapshot_check(snapshot, &problem))
        abort(); /* what is read has passed the check */
    for (int group = SNAPSHOT_GROUP_BOTH; group < NR_SNAPSHOT_GROUPINGS; group++) {
        const struct snapshot_options options = {.group = (enum snapshot_grouping)group};
        show(snapshot, &options);
    }
    size_t nr;
    snapshot_tasks(snapshot, &nr);
    for (uint32_t task = 1; task <= nr && task <= 16; task++) {
        const struct snapshot_options options = {.task = task};
        show(snapshot, &options);
    }
    const struct snapshot_options options = {.match = "a", .top = 3};
    show(snapshot, &options);
}

/* Takes over the bytes, exactly as long as they are. */
static void read_file(uint8_t *bytes, size_t size)
{
    struct snapshot snapshot;
    struct error err = {0};
    if (snapshot_file_parse(&snapshot, bytes, size, &err)) {
        show_all(&snapshot);
        snapshot_deinit(&snapshot);
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

/* A snapshot with rows edited: two bytes say where, one which table, one what to put there. */
static void edit_rows(const uint8_t *data, size_t size)
{
    struct snapshot snapshot;
    const char *problem;
    sample_snapshot_held(&snapshot);
    for (size_t i = 0; i + 4 <= size; i += 4) {
        enum snapshot_table_id table = data[i] % NR_SNAPSHOT_TABLES;
        size_t bytes = snapshot.tables[table].nr * snapshot_row_bytes[table];
        ((uint8_t *)snapshot.tables[table].rows)[(data[i + 1] | data[i + 2] << 8) % bytes] =
            data[i + 3];
    }
    if (snapshot_check(&snapshot, &problem))
        show_all(&snapshot);
    snapshot_deinit(&snapshot);
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
