/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * How a value of each type of a plan is passed over on the way to futures: computed once from the plan, in
 * memory of the caller's.  Read by the walks over a task's future: process/task_futures.c from
 * outside, tracer/task_awaits.c inside the program.
 */
#pragma once

#include "plan/plan.h"

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

struct plan_walk {
    const struct plan *plan;
    struct walk_type *types;   /* by type id - 1 */
    struct walk_state *states; /* by row of plan->variants; of coroutines only */
};

/* `memory`: plan_walk_bytes of them, zeroed, at a multiple of 8; they must stay. */
size_t plan_walk_bytes(const struct plan *plan);
void plan_walk_init(struct plan_walk *walk, const struct plan *plan, void *memory);

/* The variant of a VARIANTS or COROUTINE whose discriminant reads `value`; NULL: no value of this type. */
const struct plan_variant *plan_variant_of(const struct plan *plan, const struct plan_type *type,
                                           uint64_t value);
/* Which bytes of a value say how to go on: *offset and the result's length; 0: none. */
uint64_t plan_walk_needs(const struct plan *plan, const struct plan_type *type,
                         const struct walk_type *walk_type, uint64_t *offset);

/* The member `name` of a struct; NULL: none. */
const struct plan_member *plan_member_named(const struct plan *plan, plan_type_id type,
                                            const char *name);
/*
 * The first member called `name` at any depth inside a type, at most 12 deep: its type, and in
 * *offset its place.  Id 0: none.
 */
plan_type_id plan_find_member(const struct plan *plan, plan_type_id type, const char *name,
                              uint64_t *offset);
/* The first pointer inside a type (through NonNull, Unique, Arc ...); id 0: none. */
plan_type_id plan_find_pointer(const struct plan *plan, plan_type_id type, uint64_t *offset);
