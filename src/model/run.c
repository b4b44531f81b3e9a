/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The tables of a run, and the one place that checks them (model/table).  What a row refers to is told by
 * `columns`, so that a new column is one line here.
 */
#include "model/run.h"

#include <string.h>

#include "model/snapshot_rows.h"

const uint32_t run_row_bytes[NR_RUN_TABLES] = {
    [RUN_STRINGS] = 1,
    [RUN_FACTS] = sizeof(struct run_facts),
    [RUN_LOSTS] = sizeof(struct run_lost),
    [RUN_NOTES] = sizeof(struct run_note),
    [RUN_IMAGES] = sizeof(struct run_image),
    [RUN_TYPES] = sizeof(struct run_type),
    [RUN_TASKS] = sizeof(struct run_task),
    [RUN_AWAITS] = sizeof(struct run_await),
    [RUN_AWAIT_ENDS] = sizeof(struct run_await_end),
    [RUN_FRAMES] = sizeof(struct run_frame),
    [RUN_PLACES] = sizeof(struct run_place),
    [RUN_NODES] = sizeof(struct run_node),
    [RUN_SITES] = sizeof(struct run_site),
    [RUN_LIFETIMES] = sizeof(struct run_lifetimes),
    [RUN_LEFTS] = sizeof(struct run_left),
    [RUN_STEPS] = sizeof(struct run_step),
    [RUN_STEP_TYPES] = sizeof(struct run_step_type),
    [RUN_SNAPSHOTS] = sizeof(struct run_snapshot),
    [RUN_SNAPSHOT_BYTES] = 1,
    [RUN_RUNTIMES] = sizeof(struct run_runtime),
};

void run_init(struct run *run)
{
    static const struct run_facts facts;
    *run = (struct run){0};
    run_add(run, RUN_FACTS, &facts);
    memcpy(table_grow(&run->tables[RUN_STRINGS], 1, 1), "", 1);
}

void run_deinit(struct run *run)
{
    tables_deinit(run->tables, NR_RUN_TABLES);
}

uint32_t run_add(struct run *run, enum run_table_id table, const void *row)
{
    return table_add(&run->tables[table], run_row_bytes[table], row);
}

run_str run_add_string(struct run *run, const char *text)
{
    return (run_str){table_add_string(&run->tables[RUN_STRINGS], text)};
}

/* --- checking -------------------------------------------------------------------------------- */

#define COLUMN(table, row, field, kind, target, problem)                                           \
    {                                                                                              \
        table, kind, offsetof(struct run_##row, field), target, problem                            \
    }
#define STRING(table, row, field)                                                                  \
    COLUMN(table, row, field, TABLE_STRING, 0, "a name of its " #row "s lies outside")

static const struct table_column columns[] = {
    STRING(RUN_FACTS, facts, program),
    STRING(RUN_FACTS, facts, command),
    STRING(RUN_FACTS, facts, detail_reason),
    COLUMN(RUN_FACTS, facts, ended_by, TABLE_ENUM, NR_RUN_ENDED_BY, "its facts are wrong"),
    COLUMN(RUN_FACTS, facts, stacks, TABLE_ENUM, NR_RUN_STACKS, "its facts are wrong"),
    COLUMN(RUN_FACTS, facts, detail, TABLE_ENUM, NR_SNAPSHOT_DETAILS, "its facts are wrong"),
    STRING(RUN_LOSTS, lost, cause),
    STRING(RUN_LOSTS, lost, text),
    STRING(RUN_NOTES, note, text),
    STRING(RUN_IMAGES, image, path),
    STRING(RUN_IMAGES, image, build_id),
    STRING(RUN_IMAGES, image, detail_reason),
    COLUMN(RUN_IMAGES, image, detail, TABLE_ENUM, NR_SNAPSHOT_DETAILS,
           "an image has no such detail"),
    STRING(RUN_TYPES, type, future),
    STRING(RUN_TYPES, type, full),
    STRING(RUN_TYPES, type, reason),
    STRING(RUN_TYPES, type, runtime),
    COLUMN(RUN_TYPES, type, kind, TABLE_ENUM, NR_RUN_KINDS, "a type's kind is unknown"),
    COLUMN(RUN_TYPES, type, image, TABLE_ID, RUN_IMAGES, "a type's image does not exist"),
    COLUMN(RUN_TASKS, task, type, TABLE_SOME, RUN_TYPES, "a task's type does not exist"),
    COLUMN(RUN_TASKS, task, end, TABLE_ENUM, NR_RUN_ENDS, "a task's end is unknown"),
    COLUMN(RUN_TASKS, task, site, TABLE_ID, RUN_SITES, "a task's spawn site does not exist"),
    COLUMN(RUN_TASKS, task, await, TABLE_ID, RUN_AWAITS, "a task's await does not exist"),
    COLUMN(RUN_TASKS, task, is_thread, TABLE_ENUM, 2, "a task is neither task nor thread"),
    STRING(RUN_TASKS, task, thread),
    STRING(RUN_TASKS, task, waits_for),
    COLUMN(RUN_AWAITS, await, parent, TABLE_PARENT, RUN_AWAITS, "an await is before its parent"),
    STRING(RUN_AWAITS, await, future),
    STRING(RUN_AWAITS, await, full),
    STRING(RUN_AWAITS, await, state),
    STRING(RUN_AWAITS, await, file),
    STRING(RUN_AWAITS, await, waits_for),
    COLUMN(RUN_AWAIT_ENDS, await_end, type, TABLE_SOME, RUN_TYPES,
           "the type of tasks that ended does not exist"),
    COLUMN(RUN_AWAIT_ENDS, await_end, await, TABLE_ID, RUN_AWAITS,
           "an await at which tasks ended does not exist"),
    COLUMN(RUN_AWAIT_ENDS, await_end, end, TABLE_ENUM, NR_RUN_ENDS,
           "how tasks ended at an await is unknown"),
    STRING(RUN_FRAMES, frame, function),
    STRING(RUN_FRAMES, frame, full),
    STRING(RUN_FRAMES, frame, file),
    COLUMN(RUN_FRAMES, frame, kind, TABLE_ENUM16, NR_RUN_FRAME_KINDS, "a frame's kind is unknown"),
    COLUMN(RUN_FRAMES, frame, is_inlined, TABLE_ENUM16, 2, "a frame is neither inlined nor not"),
    COLUMN(RUN_PLACES, place, first_frame, TABLE_SPAN, RUN_FRAMES,
           "the frames of a place lie outside"),
    COLUMN(RUN_PLACES, place, image, TABLE_ID, RUN_IMAGES, "a place's image does not exist"),
    COLUMN(RUN_NODES, node, parent, TABLE_PARENT, RUN_NODES, "a call is before its caller"),
    COLUMN(RUN_NODES, node, place, TABLE_SOME, RUN_PLACES, "a call's place does not exist"),
    COLUMN(RUN_SITES, site, node, TABLE_ID, RUN_NODES, "a site's stack does not exist"),
    COLUMN(RUN_SITES, site, lifetimes, TABLE_ID, RUN_LIFETIMES, "a site's lifetimes do not exist"),
    COLUMN(RUN_SITES, site, type, TABLE_ID, RUN_TYPES, "a site's type does not exist"),
    COLUMN(RUN_SITES, site, kind, TABLE_ENUM, NR_RUN_KINDS, "a site's kind is unknown"),
    COLUMN(RUN_LIFETIMES, lifetimes, site, TABLE_SOME, RUN_SITES,
           "the site of lifetimes does not exist"),
    COLUMN(RUN_LEFTS, left, type, TABLE_ID, RUN_TYPES, "the type of what is left does not exist"),
    COLUMN(RUN_LEFTS, left, site, TABLE_ID, RUN_SITES, "the site of what is left does not exist"),
    COLUMN(RUN_STEP_TYPES, step_type, step, TABLE_SOME, RUN_STEPS,
           "a step of the timeline does not exist"),
    COLUMN(RUN_STEP_TYPES, step_type, type, TABLE_ID, RUN_TYPES,
           "a type of the timeline does not exist"),
    COLUMN(RUN_SNAPSHOTS, snapshot, why, TABLE_ENUM, NR_RUN_SNAPSHOT_WHYS,
           "why a snapshot was taken is unknown"),
    COLUMN(RUN_SNAPSHOTS, snapshot, first_byte, TABLE_BYTES, RUN_SNAPSHOT_BYTES,
           "a snapshot lies outside"),
    STRING(RUN_RUNTIMES, runtime, name),
    COLUMN(RUN_RUNTIMES, runtime, kind, TABLE_ENUM, NR_RUN_KINDS, "a runtime's kind is unknown"),
};

static const struct table_set set = {
    .row_bytes = run_row_bytes,
    .nr_tables = NR_RUN_TABLES,
    .strings = RUN_STRINGS,
    .facts = RUN_FACTS,
    .columns = columns,
    .nr_columns = sizeof(columns) / sizeof(*columns),
};

bool run_check(const struct run *run, const char **problem)
{
    return tables_check(run->tables, &set, problem);
}
