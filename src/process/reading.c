/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "process/reading.h"

#include <stdlib.h>

#include "base/parallel.h"

/* Requests this near are read with what lies between them. */
enum { MAX_GAP_BYTES = 1024, MAX_RANGE_BYTES = 1 << 20, MAX_BATCH = 4096 };
enum { MIN_BLOCK_BYTES = 4 << 20 };
/* A thread costs as much as reading a few hundred KB. */
enum { SHARE_BYTES = 1 << 20, WORTH_THREADS_SHARES = 4 };

struct reading_block {
    struct reading_block *older;
    size_t size_bytes, used_bytes; /* this header included */
};

static void add_block(struct reading *reading, size_t bytes)
{
    size_t size = bytes + sizeof(struct reading_block);
    if (size < MIN_BLOCK_BYTES)
        size = MIN_BLOCK_BYTES;
    struct reading_block *block = memory_alloc_touched(size);
    *block = (struct reading_block){reading->blocks, size, sizeof(*block)};
    reading->blocks = block;
}

void reading_init(struct reading *reading, const struct target *target, size_t expected_bytes)
{
    *reading = (struct reading){.target = target};
    add_block(reading, expected_bytes);
}

void reading_deinit(struct reading *reading)
{
    while (reading->blocks) {
        struct reading_block *block = reading->blocks;
        reading->blocks = block->older;
        free(block);
    }
}

static uint8_t *take(struct reading *reading, size_t bytes)
{
    bytes = (bytes + 15) & ~(size_t)15;
    if (reading->blocks->size_bytes - reading->blocks->used_bytes < bytes)
        add_block(reading, bytes);
    struct reading_block *block = reading->blocks;
    uint8_t *place = (uint8_t *)block + block->used_bytes;
    block->used_bytes += bytes;
    return place;
}

/* How many requests from `first` on go into one range, and its length. */
static size_t one_range(const struct read_request *requests, size_t nr, uint64_t *length)
{
    size_t count = 1;
    uint64_t begin = requests[0].addr, end = begin + requests[0].size_bytes;
    while (count < nr) {
        const struct read_request *next = &requests[count];
        uint64_t next_end = next->addr + next->size_bytes;
        if (next->addr < begin || next_end < next->addr || next->addr > end + MAX_GAP_BYTES ||
            next_end - begin > MAX_RANGE_BYTES)
            break;
        end = next_end > end ? next_end : end;
        count++;
    }
    *length = end - begin;
    return count;
}

/* Requests that are read at once, as ranges; the ranges shared out among workers. */
struct batch {
    struct reading *reading;
    struct read_request *requests;
    const struct read_visitor *visitor; /* may be NULL */
    struct target_range ranges[MAX_BATCH];
    size_t first_request[MAX_BATCH + 1]; /* of each range */
    size_t nr_ranges;
    size_t first_range[MAX_BATCH + 1]; /* of each share */
    size_t nr_shares;
};

static void visit(const struct batch *batch, size_t range)
{
    size_t first = batch->first_request[range];
    if (batch->visitor)
        batch->visitor->run(batch->visitor->context, first,
                            batch->first_request[range + 1] - first);
}

/* By several workers at once. */
static void read_share(void *context, unsigned worker, size_t item)
{
    struct batch *batch = context;
    size_t first = batch->first_range[item], last = batch->first_range[item + 1];
    (void)worker;
    target_read_many(batch->reading->target, &batch->ranges[first], last - first);
    for (size_t r = first; r < last; r++) {
        const struct target_range *range = &batch->ranges[r];
        if (!range->size_bytes)
            continue;
        for (size_t i = batch->first_request[r]; i < batch->first_request[r + 1]; i++)
            batch->requests[i].bytes =
                (uint8_t *)range->buffer + (batch->requests[i].addr - range->addr);
        visit(batch, r);
    }
}

/* A range was not read whole: something between its requests is not mapped. */
static void read_each(const struct batch *batch, size_t range)
{
    size_t first = batch->first_request[range], last = batch->first_request[range + 1];
    for (size_t i = first; i < last; i++) {
        struct read_request *request = &batch->requests[i];
        uint8_t *place = last - first > 1 ? take(batch->reading, request->size_bytes) : NULL;
        bool ok = place && target_read(batch->reading->target, request->addr, place,
                                       request->size_bytes) == request->size_bytes;
        request->bytes = ok ? place : NULL;
    }
    visit(batch, range);
}

/* Fills a batch with requests from position `next` on; the position behind the last. */
static size_t fill(struct batch *batch, size_t next, size_t nr)
{
    uint64_t share = SHARE_BYTES, length;
    batch->nr_ranges = batch->nr_shares = 0;
    while (next < nr && batch->nr_ranges < MAX_BATCH) {
        struct read_request *first = &batch->requests[next];
        if (share >= SHARE_BYTES) {
            batch->first_range[batch->nr_shares++] = batch->nr_ranges;
            share = 0;
        }
        batch->first_request[batch->nr_ranges] = next;
        next += one_range(first, nr - next, &length);
        batch->ranges[batch->nr_ranges++] =
            (struct target_range){first->addr, length, take(batch->reading, length)};
        batch->reading->total_bytes += length;
        share += length;
    }
    batch->first_request[batch->nr_ranges] = next;
    batch->first_range[batch->nr_shares] = batch->nr_ranges;
    return next;
}

void reading_fetch_visit(struct reading *reading, struct read_request *requests, size_t nr,
                         const struct read_visitor *visitor)
{
    struct batch batch = {.reading = reading, .requests = requests, .visitor = visitor};
    for (size_t next = 0; next < nr;) {
        next = fill(&batch, next, nr);
        if (batch.nr_shares >= WORTH_THREADS_SHARES)
            parallel_for(batch.nr_shares, read_share, &batch);
        else
            for (size_t share = 0; share < batch.nr_shares; share++)
                read_share(&batch, 0, share);
        for (size_t r = 0; r < batch.nr_ranges; r++)
            if (!batch.ranges[r].size_bytes)
                read_each(&batch, r);
    }
}

void reading_fetch(struct reading *reading, struct read_request *requests, size_t nr)
{
    reading_fetch_visit(reading, requests, nr, NULL);
}

uint64_t reading_bytes(const struct read_request *requests, size_t nr)
{
    uint64_t total = 0, length;
    for (size_t next = 0; next < nr; total += length + 16)
        next += one_range(requests + next, nr - next, &length);
    return total;
}

const uint8_t *reading_one(struct reading *reading, uint64_t addr, uint32_t size_bytes)
{
    struct read_request request = {addr, size_bytes, NULL};
    reading_fetch(reading, &request, 1);
    return request.bytes;
}
