/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A live region into which the traced program wrote: the bytes are edits of a region as the tracer leaves it, 8 bytes
 * each: which table (or the header), where (3 bytes) and what (4 bytes).  It is read as the recorder reads it.
 */
#include <stdlib.h>
#include <string.h>

#include "model/run_build.h"
#include "region_sample.h"

enum { MAX_BYTES = 4096, EDIT_BYTES = 8, HEADER_TABLE = NR_REGION_TABLES };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Two threads, two types of tasks, some of them ended, some blocks of each. */
static void fill(struct region_sample *sample)
{
    sample_region(sample, REGION_STACKS_ALL);
    uint32_t threads[] = {sample_thread(sample, "main"), sample_thread(sample, "worker")};
    uint32_t types[] = {sample_type(sample, 0x100), sample_type(sample, 0x200)};
    uint32_t root = sample_node(sample, 0, 0x10010), sites[4], tasks[6];
    for (uint32_t i = 0; i < 4; i++)
        sites[i] =
            sample_site(sample, sample_node(sample, root, 0x11000 + 16 * i), i ? types[i / 2] : 1);
    for (uint32_t i = 0; i < 6; i++) {
        tasks[i] = sample_task(sample, types[i % 2]);
        for (uint32_t b = 0; b < 5; b++)
            sample_allocate(sample, threads[b % 2], tasks[i], sites[1 + (i + b) % 3],
                            100 * (b + 1));
        sample_release(sample, threads[0], sample->nr_blocks - 1, i % 2);
    }
    sample_allocate(sample, threads[0], sample_own_task(sample, threads[0]), sites[0], 77);
    sample_end(sample, threads[1], tasks[0], REGION_END_FINISHED);
    sample_end(sample, threads[1], tasks[1], REGION_END_ABORTED);
    struct region_await *awaits = sample_row(sample, REGION_AWAITS, 1);
    sample->region.header->tables[REGION_AWAITS].nr_rows = 3;
    awaits[0] = (struct region_await){.image = 1, .type = 1};
    awaits[1] = (struct region_await){.image = 1, .type = 2, .parent = 1, .variant = 1};
    struct region_await_end *end = sample_row(sample, REGION_AWAIT_ENDS, 1);
    sample->region.header->tables[REGION_AWAIT_ENDS].nr_rows = 2;
    *end = (struct region_await_end){
        .type = types[0], .await = 2, .end = REGION_END_DROPPED, .tasks = 2};
}

/* `tables` are as they were made. */
static void edit(struct region_sample *sample, const struct region_table *tables,
                 const uint8_t *edit)
{
    uint32_t table = edit[0] % (NR_REGION_TABLES + 1), value;
    uint64_t at = edit[1] | (uint32_t)edit[2] << 8 | (uint32_t)edit[3] << 16;
    uint64_t begin = table == HEADER_TABLE ? 0 : tables[table].offset_bytes;
    uint64_t bytes = table == HEADER_TABLE ? sizeof(struct region_header)
                                           : tables[table].max_rows * tables[table].row_bytes;
    memcpy(&value, edit + 4, sizeof(value));
    memcpy((uint8_t *)sample->region.header + begin + at % bytes / 4 * 4, &value, sizeof(value));
}

static void build(const struct region_view *view)
{
    const struct run_build_input input = {
        .region = view, .program = "/nowhere/program", .command = "program", .ended_by = RUN_LOST};
    struct run run;
    struct error err = {0};
    const char *problem;
    run_init(&run);
    if (run_build(&run, &input, &err)) {
        if (!run_check(&run, &problem))
            abort();
    } else if (err.code != ERROR_INPUT || !*err.message) {
        abort();
    }
    run_deinit(&run);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct region_sample sample;
    struct region_view view;
    struct error err = {0};
    if (size > MAX_BYTES)
        return 0;
    fill(&sample);
    struct region_table tables[NR_REGION_TABLES];
    memcpy(tables, sample.region.header->tables, sizeof(tables));
    bool is_early = size % EDIT_BYTES; /* before the recorder has checked it, or after */
    if (is_early)
        for (size_t i = 0; i + EDIT_BYTES <= size; i += EDIT_BYTES)
            edit(&sample, tables, data + i);
    if (region_view_fd(&view, sample.region.fd, &err)) {
        for (size_t i = 0; !is_early && i + EDIT_BYTES <= size; i += EDIT_BYTES)
            edit(&sample, tables, data + i);
        build(&view);
        region_view_close(&view);
    }
    sample_region_free(&sample);
    return 0;
}
