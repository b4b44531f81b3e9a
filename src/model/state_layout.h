/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The question: where do the bytes of each state of a future go?  The stage before:
 * model/future_types.  The stage after: report/.
 *
 * In every state each byte of the future is exactly one of:
 *   slot          a variable that lives across this await (or a capture used in place)
 *   awaited       the future being awaited (__awaitee)
 *   dead upvar    an argument's first place: an async fn moves each argument into a local when it
 *                 starts, and the first place stays allocated
 *   other states  used by variables of other states only
 *   unexplained   padding, the state's number, and slots that DWARF hides: of two variables with
 *                 one name in one state it has only the first, twice
 */
#pragma once

#include "model/future_types.h"

struct state_slot {
    const char *name;
    plan_type_id type;
    uint64_t offset_bytes;
    uint64_t size_bytes;
    bool is_upvar;    /* a capture used in place, or an argument that was not moved yet */
    bool is_argument; /* the latter */
};

struct state_layout {
    const struct plan_variant *variant;
    const struct plan_await *await; /* the user's line where the await is inside a macro */
    struct state_slot *slots;       /* by offset; without the awaited future */
    uint32_t nr_slots;
    uint32_t nr_hidden;   /* slots that DWARF hides behind another of the same name */
    plan_type_id awaited; /* 0: none */
    uint64_t slot_bytes, awaited_bytes, dead_upvar_bytes, other_states_bytes, unexplained_bytes;
    uint64_t discriminant_bytes; /* of the unexplained ones */
};

struct future_layout {
    const struct future_type *future;
    struct state_layout *states;
    uint32_t nr_states;
    uint32_t fullest;     /* the state that uses most; 0 where there is none */
    uint64_t waste_bytes; /* the size less what the fullest state uses */
    bool has_waste;       /* false: hidden slots make it unknown */
};

/* In the arena; the future must have a type. */
void future_layout_compute(struct future_layout *layout, const struct plan *plan,
                           const struct future_type *future, struct arena *arena);

/* Suspended states have an await. */
bool state_is_suspended(const struct plan *plan, const struct state_layout *state);

/* Where the user wrote the await; *line 0 and NULL where that is unknown. */
const char *state_await_file(const struct plan *plan, const struct state_layout *state,
                             uint32_t *line);
/* The macro's name with "!", or NULL. */
const char *state_macro(const struct plan *plan, const struct state_layout *state);
