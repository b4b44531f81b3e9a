/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Inside snapshot_build: what its files share.  snapshot_types.c makes the rows of states, slots
 * and kinds, snapshot_build.c those of tasks and their trees.
 */
#pragma once

#include "model/future_types.h"
#include "model/needs_drop.h"
#include "model/run_symbols.h"
#include "model/snapshot_build.h"
#include "model/state_layout.h"

#define UNKNOWN_BYTES (~(uint64_t)0)

/* What one image's plan gives. */
struct image_names {
    const struct plan *plan;
    struct future_types types;
    struct future_layout *layouts; /* by row of types; computed when first needed */
    struct arena arena;
};

struct snapshot_building {
    struct snapshot *snapshot;
    const struct task_reader *reader;
    struct image_names *images; /* as reader->plans */
    struct map strings;         /* hash -> offset + 1 */
    struct map kinds;           /* hash of cell kind and future type -> id */
    struct map states;          /* hash of plan, type and variant -> id */
    struct map fields;  /* hash of plan, type and offset -> id of a slot, 0: it has no name */
    uint32_t *runtimes; /* by position in cells.runtimes: id, 0: has no task */
    uint32_t *tasks;    /* by position in cells.rows: id, 0: none */
    /* While snapshot_add_heap works: frames in reader->futures, by task. */
    uint32_t *first_frame, *frames;
    struct needs_drops *needs_drop; /* as reader->plans */
    struct snapshot_making *making; /* of a traced program: who allocated; NULL */
};

/* Equal strings once; "" for NULL. */
snapshot_str snapshot_intern(struct snapshot_building *build, const char *text);
void snapshot_add_note(struct snapshot_building *build, const char *text);
/* A name as DWARF or a symbol has it, as the source writes it. */
snapshot_str snapshot_raw_name(struct snapshot_building *build, const struct image_names *image,
                               const char *raw, enum name_style style);
snapshot_str snapshot_type_name(struct snapshot_building *build, const struct image_names *image,
                                plan_type_id id, enum name_style style);
/* The row of a frame's future in its state. */
uint32_t snapshot_state_id(struct snapshot_building *build, const struct task_frame *frame);
/* The row of a cell's kind; `future` is what it runs, id 0: what its type says. */
uint32_t snapshot_kind_id(struct snapshot_building *build, const struct task_cell *cell,
                          plan_type_id future);

/* How the state of a frame's future is laid out; NULL: it is no state machine. */
const struct state_layout *snapshot_layout_of(struct snapshot_building *build,
                                              const struct task_frame *frame);
/*
 * What the task at `row` of the cells holds, into `task` and rows of its frames; `frames` are the
 * positions of its frames in reader->futures, in the order of the snapshot's.
 */
void snapshot_add_holdings(struct snapshot_building *build, uint32_t row,
                           struct snapshot_task *task, const uint32_t *frames);
/* When all tasks are there: what is shared, who keeps finished tasks, the whole heap. */
void snapshot_add_heap(struct snapshot_building *build);

/* --- snapshot_origins.c: who allocated what is held, where the program is traced --------------- */

/* Before tasks are added; `symbols` may be NULL: then of our own. */
void snapshot_origins_begin(struct snapshot_building *build, struct run_symbols *symbols);
/*
 * Notes the origin of a block (position in the account) of a holding that is being made; *list is the holding's,
 * first 0.
 */
void snapshot_origin_note(struct snapshot_building *build, uint32_t *list, uint32_t block);
/* The rows of a list.  Holdings must come in the order of their ids. */
void snapshot_origins_put(struct snapshot_building *build, uint32_t list, uint32_t holding);
/* Who spawned a task (id) and where: by the block of its cell.  In the order of the ids. */
void snapshot_origin_of_task(struct snapshot_building *build, uint32_t block, uint32_t task);
/* When all tasks are there. */
void snapshot_origins_end(struct snapshot_building *build);
