/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A plan made ready for one process: where the image lies, which types lead to futures, and what
 * is behind a vtable.  The stage before: plan and target.  Read-only after process_plan_init.
 */
#pragma once

#include "base/map.h"
#include "base/memory.h"
#include "plan/plan.h"
#include "process/target.h"

/* How a value of a type is passed over on the way to futures. */
enum walk_kind {
    WALK_NOTHING, /* no future is reached from here */
    WALK_COROUTINE,
    WALK_VARIANTS,
    WALK_MEMBERS,
    WALK_POINTER,
    WALK_DYN,   /* {pointer, vtable} */
    WALK_SLICE, /* {data_ptr, length} */
    WALK_VEC,
    WALK_ARRAY,
};

struct walk_type {
    uint8_t kind;           /* enum walk_kind */
    uint8_t is_transparent; /* a Pin, Box or reference to a future is not shown itself */
    uint8_t leads;          /* to futures */
    uint8_t follows;        /* the way to them may be through a pointer */
    uint32_t data_offset, other_offset; /* DYN: of the pointers; SLICE, VEC: pointer and length */
};

enum walk_progress {
    WALK_ENDED, /* nothing is left to wait for */
    WALK_NOT_BEGUN,
    WALK_SUSPENDED,
};

/* A state of a coroutine. */
struct walk_state {
    uint8_t progress; /* enum walk_progress */
    bool has_awaitee;
    uint64_t awaitee_offset; /* from the coroutine's start on */
    plan_type_id awaitee;
};

struct process_plan {
    struct target_image image; /* a copy: the target's own move */
    const struct plan *plan;
    struct arena arena;
    struct walk_type *types;   /* by type id - 1 */
    struct walk_state *states; /* by row of plan->variants; of coroutines only */
    struct map vtables;        /* address in the file -> row + 1 of plan->vtables */
    struct map polls;          /* address in the file of a coroutine's poll -> row + 1 of futures */
};

void process_plan_init(struct process_plan *process_plan, const struct target_image *image,
                       const struct plan *plan);
void process_plan_deinit(struct process_plan *process_plan);

/* The member `name` of a struct, through wrappers of one member; NULL: none. */
const struct plan_member *process_plan_member(const struct plan *plan, plan_type_id type,
                                              const char *name);
/*
 * The first member called `name` at any depth inside a type, at most 12 deep: its type, and in
 * *offset its place.  Id 0: none.
 */
plan_type_id process_plan_find(const struct plan *plan, plan_type_id type, const char *name,
                               uint64_t *offset);
/* The first pointer inside a type (through NonNull, Unique, Arc ...); id 0: none. */
plan_type_id process_plan_pointer(const struct plan *plan, plan_type_id type, uint64_t *offset);
