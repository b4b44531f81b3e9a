/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "process/reading.h"

#include <stdlib.h>

#include "base/parallel.h"

/* Requests this near are read with what lies between them. */
enum { MAX_GAP_BYTES = 1024, MAX_RANGE_BYTES = 1 << 20, MAX_BATCH = 4096 };
enum { MIN_BLOCK_BYTES = 4 << 20 };
/* A thread costs as much as reading a few hundred KB. */
enum { WORTH_THREADS_BYTES = 4 << 20, SHARE_BYTES = 1 << 20 };

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

/* A range was not read whole: something between its requests is not mapped. */
static void fetch_each(struct reading *reading, struct read_request *requests, size_t nr)
{
    for (size_t i = 0; i < nr; i++) {
        uint8_t *place = take(reading, requests[i].size_bytes);
        bool ok = target_read(reading->target, requests[i].addr, place, requests[i].size_bytes) ==
                  requests[i].size_bytes;
        requests[i].bytes = ok ? place : NULL;
    }
}

/* Ranges shared out among workers. */
struct shares {
    const struct target *target;
    struct target_range *ranges;
    size_t first_of[MAX_BATCH + 1];
    size_t nr;
};

static void read_share(void *context, unsigned worker, size_t item)
{
    struct shares *shares = context;
    size_t first = shares->first_of[item];
    (void)worker;
    target_read_many(shares->target, shares->ranges + first, shares->first_of[item + 1] - first);
}

static void read_ranges(const struct target *target, struct target_range *ranges, size_t nr)
{
    struct shares shares = {.target = target, .ranges = ranges};
    uint64_t total = 0, share = SHARE_BYTES;
    for (size_t i = 0; i < nr; i++) {
        if (share >= SHARE_BYTES) {
            shares.first_of[shares.nr++] = i;
            share = 0;
        }
        share += ranges[i].size_bytes;
        total += ranges[i].size_bytes;
    }
    shares.first_of[shares.nr] = nr;
    if (total < WORTH_THREADS_BYTES)
        target_read_many(target, ranges, nr);
    else
        parallel_for(shares.nr, read_share, &shares);
}

void reading_fetch(struct reading *reading, struct read_request *requests, size_t nr)
{
    struct target_range ranges[MAX_BATCH];
    size_t first_of[MAX_BATCH + 1];
    for (size_t next = 0; next < nr;) {
        size_t nr_ranges = 0;
        while (next < nr && nr_ranges < MAX_BATCH) {
            uint64_t length;
            first_of[nr_ranges] = next;
            size_t count = one_range(requests + next, nr - next, &length);
            ranges[nr_ranges++] =
                (struct target_range){requests[next].addr, length, take(reading, length)};
            next += count;
        }
        first_of[nr_ranges] = next;
        read_ranges(reading->target, ranges, nr_ranges);
        for (size_t r = 0; r < nr_ranges; r++) {
            size_t count = first_of[r + 1] - first_of[r];
            struct read_request *request = &requests[first_of[r]];
            reading->total_bytes += ranges[r].size_bytes;
            if (!ranges[r].size_bytes && count > 1)
                fetch_each(reading, request, count);
            else
                for (size_t i = 0; i < count; i++)
                    request[i].bytes = ranges[r].size_bytes ? (uint8_t *)ranges[r].buffer +
                                                                  (request[i].addr - ranges[r].addr)
                                                            : NULL;
        }
    }
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
