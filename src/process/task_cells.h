/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * tokio's task cells in memory: where they are, their headers, the runtimes that own them.  The
 * stage before: process_plan and target.  The stage after: process/task_futures.
 *
 * task_cells_scan looks for candidates while the target runs; task_cells_read, in the stopped
 * target, reads them and keeps what is a task.  A word that points to a task vtable is a candidate;
 * it counts as a task when its state, id and owner can be true, when it lies in no thread's stack,
 * and when the runtime's own list of tasks, where that can be read, agrees.
 */
#pragma once

#include <string.h>

#include "process/process_plan.h"
#include "process/traced_blocks.h"
#include "process/reading.h"

/* The state word, tokio/src/runtime/task/state.rs, the same from 1.0 to 1.53. */
enum tokio_state {
    TOKIO_RUNNING = 1,
    TOKIO_COMPLETE = 2,
    TOKIO_NOTIFIED = 4,
    TOKIO_JOIN_INTEREST = 8,
    TOKIO_JOIN_WAKER = 16,
    TOKIO_CANCELLED = 32,
    TOKIO_REF_SHIFT = 6,
};

#define OFFSET_UNKNOWN UINT32_MAX

/* Offsets in the cells of one vtable, bytes; from debug info where there is some. */
struct cell_layout {
    uint32_t state, vtable, owner_id, id, scheduler, trailer;
    uint32_t prev, next;     /* links of the runtime's list; OFFSET_UNKNOWN */
    uint32_t stage;          /* OFFSET_UNKNOWN */
    plan_type_id stage_type; /* VARIANTS with Running(T); 0: unknown */
    plan_type_id future;     /* T */
    plan_type_id scheduler_type;
    uint32_t read_bytes; /* from the cell's start on: as much as is read at once */
    bool follows;        /* the future's tree may lead out of these bytes */
};

/* One task vtable. */
struct cell_kind {
    uint64_t vtable; /* in the target */
    uint32_t plan;   /* position in task_cells.plans */
    uint32_t row;    /* position in that plan's tasks */
    struct cell_layout layout;
};

struct cell_candidate {
    uint64_t addr;
    uint32_t kind;
};

struct task_cell {
    uint64_t addr;
    uint32_t kind;    /* position in task_cells.kinds */
    uint32_t runtime; /* position + 1; 0: unknown */
    uint64_t state, id, owner_id;
    uint64_t next;        /* in its runtime's list, if layout.next is within the bytes; 0: none */
    const uint8_t *bytes; /* layout.read_bytes of them */
    bool is_listed;       /* its runtime's list has it */
    bool is_copy;         /* it turned out to be none */
};

struct task_runtime {
    uint64_t addr; /* of the Arc's block */
    uint32_t plan;
    uint8_t scheduler; /* enum plan_scheduler */
    uint64_t id; /* that its cells have as owner_id, where it is known; never 0 in a runtime */
    bool is_id_known;
    uint64_t owned; /* its own count; ~0: unknown */
    const char *owned_reason;
    bool is_unreadable; /* nothing is at its address */
    uint64_t nr_listed;
    bool
        is_list_whole; /* the list was walked to its end and agrees with the count, but for what the
                         * threads were just changing */
};

struct task_cells {
    const struct target *target;
    const struct process_plan *plans;
    size_t nr_plans;
    struct cell_kind *kinds; /* by vtable */
    size_t nr_kinds;
    struct cell_candidate *candidates;
    size_t nr_candidates, candidates_capacity;
    /*
     * While task_cells_read works, rows[i] is of candidates[i], addr 0 where that is no cell; by_addr
     * and links are valid for that long.  Afterwards only cells are in it.
     */
    struct task_cell *rows;
    size_t nr, capacity;
    struct map by_addr;            /* -> position + 1 in candidates and rows; the latest counts */
    struct read_request *requests; /* of the candidates that the scan found */
    uint32_t *links; /* of the same: the row of the next in its runtime's list + 1; 0: unknown */
    size_t nr_links;
    struct task_runtime *runtimes;
    size_t nr_runtimes, runtimes_capacity;
    uint64_t scanned_bytes;
};

void task_cells_init(struct task_cells *cells, const struct target *target,
                     const struct process_plan *plans, size_t nr_plans);
void task_cells_deinit(struct task_cells *cells);

/* Reads all writable memory. */
void task_cells_scan(struct task_cells *cells);
/* Afterwards, before the stop: makes what task_cells_read needs no time for then. */
void task_cells_make_room(struct task_cells *cells);
/* Bytes that task_cells_read will read, roughly. */
size_t task_cells_expected_bytes(const struct task_cells *cells);
/* `traced`: what the tracer knows of a traced target. */
void task_cells_read(struct task_cells *cells, struct reading *reading,
                     const struct traced_blocks *traced);

/* Afterwards, in the running target: finds copies of finished cells. */
void task_cells_mark_copies(struct task_cells *cells);

/* Inside this part: */
void cell_scan(struct task_cells *cells);                                 /* cell_scan.c */
void owned_tasks_read(struct task_cells *cells, struct reading *reading); /* owned_tasks.c */
void task_cells_add_candidate(struct task_cells *cells, uint64_t addr, uint32_t kind);
/* Reads a cell that the scan did not see; its position in rows + 1, 0: it is none. */
uint32_t task_cells_read_one(struct task_cells *cells, struct reading *reading, uint64_t addr,
                             uint32_t kind);
/* Position + 1 of the kind with this vtable; 0: none. */
uint32_t task_cells_kind_of(const struct task_cells *cells, uint64_t vtable);
const struct plan_task *task_cells_task(const struct task_cells *cells, uint32_t kind);

static inline uint64_t cell_word(const uint8_t *bytes, uint32_t offset)
{
    uint64_t word;
    memcpy(&word, bytes + offset, sizeof(word));
    return word;
}
