/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Reading much of a stopped target in little time: many small requests become few system calls,
 * into one buffer whose pages were touched before the target was stopped (reading into fresh pages
 * is several times slower); much is read by several threads.  Bytes that were read stay where they
 * are until reading_deinit.
 */
#pragma once

#include "process/target.h"

struct read_request {
    uint64_t addr;
    uint32_t size_bytes;
    const uint8_t *bytes; /* set by reading_fetch; NULL: could not be read whole */
};

struct reading_block;

struct reading {
    const struct target *target;
    struct reading_block *blocks; /* the newest first */
    uint64_t total_bytes;         /* read so far */
};

/* Touches `expected_bytes` of buffer. */
void reading_init(struct reading *reading, const struct target *target, size_t expected_bytes);
void reading_deinit(struct reading *reading);

/* Requests in the order of their addresses that lie near each other are read as one. */
void reading_fetch(struct reading *reading, struct read_request *requests, size_t nr);
/*
 * The same; each request is given to run(context, first, nr) once it is there (or could not be
 * read), while the processor still has it at hand.  Several threads may call run at once, each for
 * other requests.
 */
struct read_visitor {
    void (*run)(void *context, size_t first, size_t nr); /* positions of requests */
    void *context;
};
void reading_fetch_visit(struct reading *reading, struct read_request *requests, size_t nr,
                         const struct read_visitor *visitor);
/* What reading_fetch will take of the buffer for these, at most. */
uint64_t reading_bytes(const struct read_request *requests, size_t nr);
/* The same as reading_fetch for one. */
const uint8_t *reading_one(struct reading *reading, uint64_t addr, uint32_t size_bytes);
