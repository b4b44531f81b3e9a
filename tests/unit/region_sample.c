/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "region_sample.h"

#include <stdlib.h>
#include <string.h>

enum { LAST_STRIPE = REGION_STRIPES - 1, FIRST_ADDR = 0x7000, GRANULE_LOG2 = 5 };

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void *stripe_row(const struct region_sample *sample, enum region_table_id table,
                        uint32_t stripe, uint32_t row)
{
    const struct region_table *place = &sample->region.header->tables[table];
    return (uint8_t *)sample->region.header + place->offset_bytes +
           (stripe * place->max_rows + row) * place->row_bytes;
}

void *sample_row(const struct region_sample *sample, enum region_table_id table, uint32_t row)
{
    return stripe_row(sample, table, 0, row);
}

static uint32_t new_row(struct region_sample *sample, enum region_table_id table)
{
    struct region_table *place = &sample->region.header->tables[table];
    must(place->nr_rows < place->max_rows);
    return place->nr_rows++;
}

void sample_region(struct region_sample *sample, enum region_stacks stacks)
{
    const uint64_t max_rows[NR_REGION_TABLES] = {
        [REGION_THREADS] = 64,
        [REGION_TASKS] = SAMPLE_TASKS,
        [REGION_TYPES] = SAMPLE_TYPES,
        [REGION_TYPE_SUMS] = SAMPLE_TYPES,
        [REGION_NODES] = 256,
        [REGION_SITES] = SAMPLE_SITES,
        [REGION_SITE_COUNTS] = SAMPLE_SITES,
        [REGION_LIFETIMES] = 32,
        [REGION_IMAGES] = 8,
        [REGION_SLOTS] = 8,
        [REGION_PLANS] = 4096,
        [REGION_AWAITS] = 64,
        [REGION_AWAIT_ENDS] = 64,
        [REGION_LIVE_CHUNKS] = 3,
        [REGION_LIVE_INDEX] = 64,
        [REGION_NODE_INDEX] = 64,
        [REGION_AWAIT_INDEX] = 64,
    };
    const struct region_options options = {.stacks = stacks, .max_rows = max_rows};
    struct error err = {0};
    memset(sample, 0, sizeof(*sample));
    must(region_make(&sample->region, &options, &err));
    sample->region.header->now_ns = 1000000000;
    sample->region.header->pid = 1234;
    struct region_image *image = sample_row(sample, REGION_IMAGES, new_row(sample, REGION_IMAGES));
    *image = (struct region_image){
        .start = 0x10000, .end = 0x20000, .bias = 0x10000, .is_written = 1, .is_program = 1};
    strcpy(image->path, "/nowhere/program");
    uint32_t *index = sample_row(sample, REGION_LIVE_INDEX, 0);
    *index = 1 | (uint32_t)GRANULE_LOG2 << 24;
    new_row(sample, REGION_LIVE_CHUNKS);
}

void sample_region_free(struct region_sample *sample)
{
    region_close(&sample->region);
}

struct region_task *sample_task_row(const struct region_sample *sample, uint32_t task)
{
    return sample_row(sample, REGION_TASKS, task);
}

static uint32_t add_task(struct region_sample *sample, uint32_t type, enum region_task_kind kind)
{
    uint32_t id = new_row(sample, REGION_TASKS);
    *sample_task_row(sample, id) = (struct region_task){
        .id = sample->region.header->next_task_id++, .kind = kind, .type = type};
    sample->tasks_of_type[type]++;
    return id;
}

uint32_t sample_task(struct region_sample *sample, uint32_t type)
{
    uint32_t id = add_task(sample, type, REGION_TASK_CELL);
    struct region_task *row = sample_task_row(sample, id);
    struct region_type *type_row = sample_row(sample, REGION_TYPES, type);
    row->cell_addr = 0x5000 + id;
    row->spawned_ns = 1000 * id;
    type_row->most_at_once++;
    return id;
}

uint32_t sample_thread(struct region_sample *sample, const char *name)
{
    uint32_t id = new_row(sample, REGION_THREADS);
    struct region_thread *row = sample_row(sample, REGION_THREADS, id);
    row->tid = 100 + id;
    row->began_ns = 1;
    strncpy(row->name, name, sizeof(row->name) - 1);
    row->task = add_task(sample, 1, REGION_TASK_THREAD);
    sample_task_row(sample, row->task)->thread = id;
    return id;
}

uint32_t sample_own_task(const struct region_sample *sample, uint32_t thread)
{
    return ((struct region_thread *)sample_row(sample, REGION_THREADS, thread))->task;
}

uint32_t sample_type(struct region_sample *sample, uint64_t vtable_offset)
{
    uint32_t id = new_row(sample, REGION_TYPES);
    *(struct region_type *)sample_row(sample, REGION_TYPES, id) =
        (struct region_type){.image = 1, .vtable_offset = vtable_offset, .cell_bytes = 256};
    return id;
}

uint32_t sample_node(struct region_sample *sample, uint32_t parent, uint64_t pc)
{
    uint32_t id = new_row(sample, REGION_NODES);
    *(struct region_node *)sample_row(sample, REGION_NODES, id) =
        (struct region_node){.pc = pc, .parent = parent, .image = 1};
    return id;
}

uint32_t sample_site(struct region_sample *sample, uint32_t node, uint32_t type)
{
    uint32_t id = new_row(sample, REGION_SITES);
    *(struct region_site *)sample_row(sample, REGION_SITES, id) =
        (struct region_site){.node = node, .type = type};
    return id;
}

/* --- events ---------------------------------------------------------------------------------- */

static struct region_site_counts *counts_of(struct region_sample *sample, uint32_t thread,
                                            uint32_t site)
{
    uint32_t stripe = thread - 1 < LAST_STRIPE ? thread - 1 : LAST_STRIPE;
    return stripe_row(sample, REGION_SITE_COUNTS, stripe, site);
}

/* Adds to all that the block counts for. */
#define FOR_TRUTH(sample, block, field, value)                                                     \
    do {                                                                                           \
        (sample)->all.field += (value);                                                            \
        (sample)->by_site[(block)->site].field += (value);                                         \
        (sample)->by_task[(block)->task].field += (value);                                         \
        (sample)->by_type[sample_task_row(sample, (block)->task)->type].field += (value);          \
    } while (0)

uint32_t sample_allocate(struct region_sample *sample, uint32_t thread, uint32_t task,
                         uint32_t site, uint64_t bytes)
{
    uint32_t id = sample->nr_blocks++;
    must(id < SAMPLE_BLOCKS);
    struct sample_block *block = &sample->blocks[id];
    *block = (struct sample_block){.addr = FIRST_ADDR + ((uint64_t)id << GRANULE_LOG2),
                                   .bytes = bytes,
                                   .task = task,
                                   .site = site};
    struct region_thread *thread_row = sample_row(sample, REGION_THREADS, thread);
    struct region_task *task_row = sample_task_row(sample, task);
    struct region_site_counts *counts = counts_of(sample, thread, site);
    thread_row->allocations++;
    thread_row->allocated_bytes += bytes;
    task_row->allocations++;
    task_row->allocated_bytes += bytes;
    counts->allocations++;
    counts->allocated_bytes += bytes;
    struct region_live *live = sample_row(sample, REGION_LIVE_CHUNKS, 1);
    live[block->addr >> GRANULE_LOG2] = (struct region_live){.block = bytes | (uint64_t)site << 40,
                                                             .owner = task | REGION_LIVE_PRESENT};
    FOR_TRUTH(sample, block, allocations, 1);
    FOR_TRUTH(sample, block, allocated_bytes, bytes);
    FOR_TRUTH(sample, block, live_blocks, 1);
    FOR_TRUTH(sample, block, live_bytes, bytes);
    return id;
}

static void fold(struct region_sample *sample, uint32_t thread, uint32_t task)
{
    struct region_task *row = sample_task_row(sample, task);
    uint32_t stripe = thread - 1 < LAST_STRIPE ? thread - 1 : LAST_STRIPE;
    struct region_type_sums *sums = stripe_row(sample, REGION_TYPE_SUMS, stripe, row->type);
    sums->tasks++;
    sums->ended[row->end]++;
    sums->polls += row->polls;
    sums->polls_cancel += row->polls_cancel;
    sums->poll_ns += row->poll_ns;
    sums->lifetime_ns += row->ended_ns - row->spawned_ns;
    sums->allocations += row->allocations;
    sums->allocated_bytes += row->allocated_bytes;
    sums->frees += row->allocations;
    sums->freed_bytes += row->allocated_bytes;
    sums->peak_bytes_sum += row->peak_bytes;
    if (row->peak_bytes > sums->peak_bytes_max)
        sums->peak_bytes_max = row->peak_bytes;
    sample->folded_of_type[row->type]++;
    *row = (struct region_task){.type = row->type}; /* free; the type is only for the truth */
}

void sample_release(struct region_sample *sample, uint32_t thread, uint32_t id, bool is_foreign)
{
    struct sample_block *block = &sample->blocks[id];
    struct region_thread *thread_row = sample_row(sample, REGION_THREADS, thread);
    struct region_task *task_row = sample_task_row(sample, block->task);
    struct region_site_counts *counts = counts_of(sample, thread, block->site);
    struct region_live *live = sample_row(sample, REGION_LIVE_CHUNKS, 1);
    live[block->addr >> GRANULE_LOG2].owner = 0;
    thread_row->frees++;
    thread_row->freed_bytes += block->bytes;
    counts->frees++;
    counts->freed_bytes += block->bytes;
    FOR_TRUTH(sample, block, frees, 1);
    FOR_TRUTH(sample, block, freed_bytes, block->bytes);
    FOR_TRUTH(sample, block, live_blocks, -1);
    FOR_TRUTH(sample, block, live_bytes, -block->bytes);
    block->addr = 0;
    if (is_foreign || task_row->end) { /* what ended is polled by nobody */
        task_row->foreign_freed_bytes += block->bytes;
        if (--task_row->hold == REGION_TASK_ENDED)
            fold(sample, thread, block->task);
    } else {
        task_row->frees++;
        task_row->freed_bytes += block->bytes;
    }
}

void sample_end(struct region_sample *sample, uint32_t thread, uint32_t task,
                enum region_task_end end)
{
    struct region_task *row = sample_task_row(sample, task);
    row->end = end;
    row->ended_ns = 500000000;
    row->cell_addr = 0;
    row->hold += (int64_t)(row->allocations - row->frees) + REGION_TASK_ENDED;
    if (row->hold == REGION_TASK_ENDED)
        fold(sample, thread, task);
}
