/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The await tree of each task: from the future in its cell along `__awaitee` and, in adapters,
 * along every member, pointer, slice and trait object that leads to a future, by their types.  The
 * stage before: task_cells.  The stage after: model/snapshot_build.
 *
 * All tasks are walked side by side, a round for each step through a pointer, so that the many
 * small reads of a round become few system calls while the target stands still.  Trees that no
 * pointer belongs to need only the cell's bytes: they wait until the target goes on.
 */
#pragma once

#include "process/task_cells.h"

/* A future that was met. */
struct task_frame {
    uint32_t task;   /* position in cells->rows */
    uint32_t parent; /* position + 1 in frames; 0: the task's own future */
    uint32_t plan;   /* position in cells->plans */
    plan_type_id type;
    uint32_t variant; /* position + 1 among the type's variants; 0: no state machine */
    uint64_t addr;
};

struct task_futures {
    const struct task_cells *cells;
    struct task_frame *frames; /* a parent before its children; tasks mixed */
    size_t nr, capacity;
    struct walk_item *items, *next_items; /* what this and the next round read */
    size_t nr_items, items_capacity, nr_next, next_capacity;
    struct map seen;      /* hash of task, address and type; all but the first of each task */
    uint64_t *first_seen; /* by task: the first such hash: most have no second; 0: none */
    size_t first_seen_capacity;
    struct map dyn_types; /* vtable that debug info does not name -> type id, or 0 */
    bool is_cut;          /* the walk took too long: trees are not whole */
    bool *is_partial;     /* by task: something could not be read */
};

void task_futures_init(struct task_futures *futures, const struct task_cells *cells);
/* Before the stop: so that task_futures_read needs no time for memory. */
void task_futures_make_room(struct task_futures *futures);
void task_futures_deinit(struct task_futures *futures);

/* In the stopped target; gives up at `deadline_ns` (CLOCK_MONOTONIC; 0: never). */
void task_futures_read(struct task_futures *futures, struct reading *reading, uint64_t deadline_ns);
/* Afterwards, in the running target: the trees that are whole in the bytes of their cells. */
void task_futures_finish(struct task_futures *futures);

/*
 * Frames in the order of their tasks: positions in frames; those of a task begin at first[task] and end
 * at first[task + 1].  free() both.
 */
void task_futures_by_task(const struct task_futures *futures, uint32_t **first,
                          uint32_t **positions);

/* Of a finished task: its output was taken or dropped.  False also where that is unknown. */
bool task_output_is_gone(const struct task_cells *cells, const struct task_cell *cell);
