/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Inside run_build: what its files share.  run_types.c makes images and types, run_tasks.c tasks and what was
 * folded, run_sites.c sites with their stacks, run_live.c what is still allocated, run_awaits.c where tasks
 * ended or are, run_runtimes.c what the runtimes need, run_sums.c the totals.
 *
 * Rows of the region are copied before they are looked at, and nothing in them is believed.
 */
#pragma once

#include "base/map.h"
#include "base/memory.h"
#include "model/future_types.h"
#include "model/run_build.h"
#include "model/state_layout.h"

/* --- rows of the region ---------------------------------------------------------------------- */

/* The rows of a table (of a stripe of it) that were ever written. */
struct run_row_walk {
    const struct region_view *region;
    enum region_table_id table;
    uint32_t stripe, nr; /* below which positions are looked at */
    uint32_t next;
    uint64_t data[2]; /* offsets of what was written */
};

void run_row_walk_begin(struct run_row_walk *walk, const struct region_view *region,
                        enum region_table_id table, uint32_t stripe);
/* Copies the next row; returns its position, 0 at the end. */
uint32_t run_row_walk_next(struct run_row_walk *walk, void *row);
/* Copies one row; false: there is none. */
bool run_row_copy(const struct region_view *region, enum region_table_id table, uint32_t id,
                  void *row);

/* --- what is being built --------------------------------------------------------------------- */

/* What one plan gives. */
struct run_names {
    const struct plan *plan;
    struct future_types types;
    struct future_layout *layouts; /* by row of types; computed when first needed */
    struct arena arena;
    struct map vtables; /* address -> position + 1 in plan->tasks */
    struct map
        by_name; /* hash of a type's name -> id of the only one, 0: several; made when first needed */
    bool has_by_name;
};

/* A row of REGION_IMAGES. */
struct run_load {
    uint64_t start, end, bias;
    uint32_t image; /* id in RUN_IMAGES */
    const char *path;
    uint8_t build_id[REGION_BUILD_ID_BYTES];
    uint32_t build_id_bytes;
    struct run_names *names; /* NULL: there is no plan */
};

/* Who allocates at a node and inside of it. */
struct run_node_owner {
    uint32_t kind;    /* enum run_kind; RUN_KIND_UNKNOWN: nothing is known yet, so a thread */
    uint32_t type;    /* id in RUN_TYPES; 0: unknown */
    uint32_t is_task; /* a task is being polled */
};

struct run_building {
    struct run *run;
    const struct run_build_input *input;
    const struct region_view *region;
    uint64_t now_ns;
    struct arena arena;
    struct map strings;  /* hash of a text -> offset + 1 */
    struct map pointers; /* a string of `symbols` -> offset + 1 */
    struct run_load *loads;
    uint32_t nr_loads; /* position 0 is none */
    struct map images; /* hash of path and build id -> id */
    struct run_names **names;
    size_t nr_names, names_capacity;

    uint32_t *types; /* by row of REGION_TYPES: id; 0: had no task */
    uint32_t nr_types;
    struct map task_types;                           /* hash of T and S, as DWARF has them -> id */
    struct map root_types;                           /* hash of a future's name -> id */
    uint32_t thread_type, worker_type, unknown_type; /* ids; 0: not needed so far */

    uint32_t *tasks; /* by row of REGION_TASKS: id; 0: none */
    uint32_t nr_tasks;
    struct run_type threads; /* sums over the rows of threads, folded ones too */

    uint32_t *sites; /* by row of REGION_SITES: id */
    uint32_t nr_sites;
    uint32_t unknown_site; /* id; 0: not needed so far */
    uint32_t *nodes;       /* by row of REGION_NODES: id */
    uint32_t nr_nodes;
    struct run_node_owner *owners; /* by id of RUN_NODES */
    size_t owners_capacity;
    struct map places; /* hash of image, offset and exactness -> id */
    struct map lefts;  /* type and site -> id */

    uint32_t *awaits; /* by row of REGION_AWAITS: id */
    uint32_t nr_awaits;
    struct map await_ends; /* hash of type, await and end -> id */

    uint64_t nr_wrong_rows; /* rows that were left out, or in part, for being damaged */
};

/* Equal strings once; "" for NULL. */
run_str run_intern(struct run_building *build, const char *text);
/* The same of a string of `symbols`, whose pointer is enough to know it. */
run_str run_intern_symbol(struct run_building *build, const char *text);
void run_note_add(struct run_building *build, const char *text);

/* The load that a code address belongs to; NULL: none. */
const struct run_load *run_load_get(const struct run_building *build, uint32_t row);

/* --- steps, in this order -------------------------------------------------------------------- */

void run_images_add(struct run_building *build);
void run_types_add(struct run_building *build);
void run_sites_add(struct run_building *build);
void run_live_add(struct run_building *build);
void run_awaits_add(struct run_building *build);
void run_sums_add(struct run_building *build);
void run_runtimes_add(struct run_building *build);

/* --- between them ---------------------------------------------------------------------------- */

/* Rows of tasks are in RUN_TASKS with rows of REGION_TYPES as their types; counts are added to `rows`, by
 * row of REGION_TYPES, and to build->threads. */
void run_tasks_add(struct run_building *build, struct run_type *rows);

/* Fills future and full from a name as DWARF has it. */
void run_type_set_names(struct run_building *build, struct run_names *names, const char *raw,
                        struct run_type *type);
/* The row of a root future; `names` may be NULL. */
uint32_t run_root_type(struct run_building *build, struct run_names *names, const char *raw);
/* Rows that are made when they are needed. */
uint32_t run_thread_type(struct run_building *build);
uint32_t run_worker_type(struct run_building *build);
uint32_t run_unknown_type(struct run_building *build);
uint32_t run_unknown_site(struct run_building *build);
/* "tokio multi_thread"; enum plan_scheduler. */
const char *run_runtime_name(uint32_t scheduler);

/* The row of a site of the region, made when it is first asked for; 0: there is none. */
uint32_t run_site_id(struct run_building *build, uint32_t row);
/* The row of an await of the region; 0: there is none. */
uint32_t run_await_id(struct run_building *build, uint32_t row);
