/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The live region (recording/live_region.h) from the recorder's side: made here, a sealed memfd with all
 * tables' places in its header; and read here, as hostile input: the traced program can write
 * anything anywhere in it, at any time.
 *
 * A view has checked places of the tables; a row is asked for by id and is NULL where there is none.  What
 * stands in a row may change between two looks: copy first, check the copy.
 */
#pragma once

#include "base/error.h"
#include "recording/live_region.h"

/* --- making ---------------------------------------------------------------------------------- */

struct region_options {
    enum region_stacks stacks;
    bool follows_children;
    uint64_t sample_bytes; /* mean of the sample; 0: 512 KiB */
    const uint64_t
        *max_rows; /* NR_REGION_TABLES of them; NULL, or 0 for one: as much as is useful */
};

struct region {
    int fd; /* of the memfd, close-on-exec; -1: none */
    uint64_t bytes;
    struct region_header *header; /* the whole region, mapped to read and write */
    struct region_clock first;    /* where the rate of the processor's clock is measured from */
    uint64_t next_clock_ns;       /* when it is measured again */
    uint32_t clock_index;
    bool has_tsc;
    uint64_t started_ns; /* as in the header, which the program can write */
};

/* Makes a region whose zero of times is now.  On failure nothing is left. */
MUST_CHECK bool region_make(struct region *region, const struct region_options *options,
                            struct error *err);
void region_close(struct region *region);

/* A stripe's rows, for the maker itself and for the tracer's tests; tables are where they were made. */
static inline void *region_rows(const struct region *region, enum region_table_id table)
{
    return (uint8_t *)region->header + region->header->tables[table].offset_bytes;
}

/* --- reading --------------------------------------------------------------------------------- */

struct region_view {
    const uint8_t *bytes;
    uint64_t size;
    const struct region_header *header; /* the same bytes; all but tables' places unchecked */
    struct region_table
        tables[NR_REGION_TABLES]; /* checked copies; nr_rows is not kept up to date */
    int fd;                       /* borrowed; -1: bytes */
    bool is_cut;                  /* rows beyond the end of the bytes are missing */
};

/* What this version of asyncmem writes; a newer writer's rows may be longer. */
extern const uint32_t region_row_bytes[NR_REGION_TABLES];

/* Maps the memfd to read; `fd` must stay open.  Never touches a page that was not written. */
MUST_CHECK bool region_view_fd(struct region_view *view, int fd, struct error *err);
/* Over bytes at an address that is a multiple of 64, which must stay. */
MUST_CHECK bool region_view_bytes(struct region_view *view, const void *bytes, uint64_t size,
                                  struct error *err);
void region_view_close(struct region_view *view);

/* The first position that is not used (1 when empty), never above what the table can have. */
uint32_t region_nr_rows(const struct region_view *view, enum region_table_id table);
/* NULL: 0, or beyond nr_rows. */
const void *region_row(const struct region_view *view, enum region_table_id table, uint32_t id);
/* The same of a stripe, 0 to tables[table].stripes - 1; bounded by max_rows only: *_SUMS and *_COUNTS have
 * as many rows as the table that they belong to. */
const void *region_stripe_row(const struct region_view *view, enum region_table_id table,
                              uint32_t stripe, uint32_t id);
/* Bytes [offset, offset + bytes) of REGION_PLANS; NULL where they are not all there. */
const void *region_plan_bytes(const struct region_view *view, uint64_t offset, uint64_t bytes);

/*
 * The next part of [from, end), offsets in the region, that was ever written; false: there is none.  Reading
 * elsewhere is allowed, but takes memory that nothing ever gives back.
 */
bool region_data_span(const struct region_view *view, uint64_t from, uint64_t end,
                      uint64_t span[2]);
/* Where a row lies, for region_data_span. */
uint64_t region_row_offset(const struct region_view *view, enum region_table_id table,
                           uint32_t stripe, uint32_t id);

/* --- live blocks ----------------------------------------------------------------------------- */

struct region_block {
    uint64_t addr, bytes;
    uint32_t site;
    uint32_t task;  /* row of REGION_TASKS that allocated it, not checked */
    uint64_t owner; /* struct region_live, whole: flags, tick or the cell's row */
};

/* The block that starts at or before `addr` in its granule; false: none.  For cells and found pointers. */
bool region_find_block(const struct region_view *view, uint64_t addr, struct region_block *block);

/* All live blocks; by address where the index is as the tracer writes it. */
struct region_block_walk {
    const struct region_view *view;
    uint8_t *seen; /* a bit a chunk: each is walked once */
    /* Offsets in the region: the next entry of the index, and the part of it that was written. */
    uint64_t index_next, index_data[2], index_end;
    /* The same of the chunk that is walked. */
    uint64_t entry_next, entry_data[2], chunk_start, chunk_end;
    uint64_t span_addr; /* of the chunk's first granule */
    unsigned granule_log2;
    uint64_t from, end; /* addresses: blocks whose granules begin in [from, end) */
};

void region_blocks_begin(struct region_block_walk *walk, const struct region_view *view);
/* The same of the addresses [from, end), multiples of 32, so that several can share the work. */
void region_blocks_begin_at(struct region_block_walk *walk, const struct region_view *view,
                            uint64_t from, uint64_t end);
bool region_blocks_next(struct region_block_walk *walk, struct region_block *block);
void region_blocks_end(struct region_block_walk *walk);

/* --- clock ----------------------------------------------------------------------------------- */

/* Of region_make: whether the processor's clock can be used, and its rate, measured for some ms. */
void region_clock_begin(struct region *region);
/* The recorder's, every 4 ms: writes now_ns, and now and then a better rate of the processor's clock.
 * Returns now, in the region's times. */
uint64_t region_clock_tick(struct region *region);
