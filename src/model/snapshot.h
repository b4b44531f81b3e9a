/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The tasks of a process or core at one moment, as dense tables by id: what `snapshot` shows and
 * what a snapshot file holds (docs/FORMAT.md).  The stage before: model/snapshot_build from plan
 * and memory, or recording/snapshot_file.  The stages after: analysis/, report/.
 *
 * Rows are fixed, little-endian and refer to each other by id: position + 1, 0 meaning none.
 * snapshot_check makes sure that every id, span, enum and string is in bounds, so that the
 * stages after need no checks.  Names are as the source writes them; no content of the target's
 * memory is kept.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "model/snapshot_origin_rows.h"
#include "model/snapshot_rows.h"
#include "model/table.h"

enum snapshot_table_id {
    SNAPSHOT_STRINGS, /* bytes; the first and the last are NUL */
    SNAPSHOT_FACTS,
    SNAPSHOT_IMAGES,
    SNAPSHOT_RUNTIMES,
    SNAPSHOT_KINDS,
    SNAPSHOT_ALSO,
    SNAPSHOT_STATES,
    SNAPSHOT_SLOTS,
    SNAPSHOT_TASKS,
    SNAPSHOT_FRAMES,
    SNAPSHOT_NOTES,
    SNAPSHOT_HOLDINGS,
    SNAPSHOT_SHARED,
    SNAPSHOT_SHARED_TASKS,
    SNAPSHOT_KEEPERS,
    SNAPSHOT_HEAP, /* one row or none */
    SNAPSHOT_SITE_FRAMES,
    SNAPSHOT_SITES,
    SNAPSHOT_MAKERS,
    SNAPSHOT_ORIGINS, /* by holding */
    SNAPSHOT_SPAWNS,  /* by task, each at most once */
    NR_SNAPSHOT_TABLES,
};

extern const uint32_t snapshot_row_bytes[NR_SNAPSHOT_TABLES];

struct snapshot {
    struct table tables[NR_SNAPSHOT_TABLES];
};

void snapshot_init(struct snapshot *snapshot); /* with the empty string and one row of facts */
void snapshot_deinit(struct snapshot *snapshot);

/* Adds a row (copied); returns its id. */
uint32_t snapshot_add(struct snapshot *snapshot, enum snapshot_table_id table, const void *row);
/* Adds a string; equal ones are not looked for. */
snapshot_str snapshot_add_string(struct snapshot *snapshot, const char *text);
/* True when every reference is in bounds; else *problem is a short constant text. */
bool snapshot_check(const struct snapshot *snapshot, const char **problem);

static inline const char *snapshot_string(const struct snapshot *snapshot, snapshot_str str)
{
    return (const char *)snapshot->tables[SNAPSHOT_STRINGS].rows + str.v;
}

/* Typed rows: pointer to the first and their number. */
#define SNAPSHOT_ROWS(name, table)                                                                 \
    static inline struct snapshot_##name *snapshot_##name##s(const struct snapshot *snapshot,      \
                                                             size_t *nr)                           \
    {                                                                                              \
        if (nr)                                                                                    \
            *nr = snapshot->tables[table].nr;                                                      \
        return snapshot->tables[table].rows;                                                       \
    }
SNAPSHOT_ROWS(image, SNAPSHOT_IMAGES)
SNAPSHOT_ROWS(runtime, SNAPSHOT_RUNTIMES)
SNAPSHOT_ROWS(kind, SNAPSHOT_KINDS)
SNAPSHOT_ROWS(also, SNAPSHOT_ALSO)
SNAPSHOT_ROWS(state, SNAPSHOT_STATES)
SNAPSHOT_ROWS(slot, SNAPSHOT_SLOTS)
SNAPSHOT_ROWS(task, SNAPSHOT_TASKS)
SNAPSHOT_ROWS(frame, SNAPSHOT_FRAMES)
SNAPSHOT_ROWS(note, SNAPSHOT_NOTES)
SNAPSHOT_ROWS(holding, SNAPSHOT_HOLDINGS)
SNAPSHOT_ROWS(shared, SNAPSHOT_SHARED)
SNAPSHOT_ROWS(shared_task, SNAPSHOT_SHARED_TASKS)
SNAPSHOT_ROWS(keeper, SNAPSHOT_KEEPERS)
SNAPSHOT_ROWS(heap, SNAPSHOT_HEAP)
SNAPSHOT_ROWS(site_frame, SNAPSHOT_SITE_FRAMES)
SNAPSHOT_ROWS(site, SNAPSHOT_SITES)
SNAPSHOT_ROWS(maker, SNAPSHOT_MAKERS)
SNAPSHOT_ROWS(origin, SNAPSHOT_ORIGINS)
SNAPSHOT_ROWS(spawn, SNAPSHOT_SPAWNS)
#undef SNAPSHOT_ROWS

static inline struct snapshot_facts *snapshot_facts(const struct snapshot *snapshot)
{
    return snapshot->tables[SNAPSHOT_FACTS].rows;
}

/* The origins of a holding, the most bytes first; none where the program was not traced. */
const struct snapshot_origin *snapshot_origins_of(const struct snapshot *snapshot, uint32_t holding,
                                                  size_t *nr);
/* Who spawned a task; NULL: unknown. */
const struct snapshot_spawn *snapshot_spawn_of(const struct snapshot *snapshot, uint32_t task);
