/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A traced run as dense tables by id: what `run` records and `report` shows (docs/FORMAT.md).  The
 * stage before: model/run_build from a live region, or model/run_file.  The stages after: analysis/,
 * report/.
 *
 * Rows are fixed, little-endian and refer to each other by id: position + 1, 0 meaning none.
 * run_check makes sure that every id, span, enum and string is in bounds, that parents come before
 * their children (nodes, awaits), and so that the stages after need no checks.  No content of the
 * program's memory is kept.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "model/run_rows.h"
#include "model/table.h"

enum run_table_id {
    RUN_STRINGS, /* bytes; the first and the last are NUL */
    RUN_FACTS,
    RUN_LOSTS,
    RUN_NOTES,
    RUN_IMAGES,
    RUN_TYPES,
    RUN_TASKS,
    RUN_AWAITS,
    RUN_AWAIT_ENDS,
    RUN_FRAMES,
    RUN_PLACES,
    RUN_NODES,
    RUN_SITES,
    RUN_LIFETIMES,
    RUN_LEFTS,
    RUN_STEPS,
    RUN_STEP_TYPES,
    RUN_SNAPSHOTS,
    RUN_SNAPSHOT_BYTES, /* bytes */
    RUN_RUNTIMES,
    NR_RUN_TABLES,
};

extern const uint32_t run_row_bytes[NR_RUN_TABLES];

struct run {
    struct table tables[NR_RUN_TABLES];
};

void run_init(struct run *run); /* with the empty string and one row of facts */
void run_deinit(struct run *run);

/* Adds a row (copied); returns its id. */
uint32_t run_add(struct run *run, enum run_table_id table, const void *row);
/* Adds a string; equal ones are not looked for. */
run_str run_add_string(struct run *run, const char *text);
/* True when every reference is in bounds; else *problem is a short constant text. */
bool run_check(const struct run *run, const char **problem);

static inline const char *run_string(const struct run *run, run_str str)
{
    return (const char *)run->tables[RUN_STRINGS].rows + str.v;
}

/* Typed rows: pointer to the first and their number. */
#define RUN_ROWS(name, plural, table)                                                              \
    static inline struct run_##name *run_##plural(const struct run *run, size_t *nr)               \
    {                                                                                              \
        if (nr)                                                                                    \
            *nr = run->tables[table].nr;                                                           \
        return run->tables[table].rows;                                                            \
    }
RUN_ROWS(lost, losts, RUN_LOSTS)
RUN_ROWS(note, notes, RUN_NOTES)
RUN_ROWS(image, images, RUN_IMAGES)
RUN_ROWS(type, types, RUN_TYPES)
RUN_ROWS(task, tasks, RUN_TASKS)
RUN_ROWS(await, awaits, RUN_AWAITS)
RUN_ROWS(await_end, await_ends, RUN_AWAIT_ENDS)
RUN_ROWS(frame, frames, RUN_FRAMES)
RUN_ROWS(place, places, RUN_PLACES)
RUN_ROWS(node, nodes, RUN_NODES)
RUN_ROWS(site, sites, RUN_SITES)
RUN_ROWS(lifetimes, lifetimes_rows, RUN_LIFETIMES)
RUN_ROWS(left, lefts, RUN_LEFTS)
RUN_ROWS(step, steps, RUN_STEPS)
RUN_ROWS(step_type, step_types, RUN_STEP_TYPES)
RUN_ROWS(snapshot, snapshots, RUN_SNAPSHOTS)
RUN_ROWS(runtime, runtimes, RUN_RUNTIMES)
#undef RUN_ROWS

static inline struct run_facts *run_facts(const struct run *run)
{
    return run->tables[RUN_FACTS].rows;
}
