/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Does a value of a type own something, so that code must run when it goes?  Debug info does not say
 * which types have a Drop; names of the standard library's owners do, and types without any pointer
 * own nothing that is memory.
 */
#pragma once

#include "plan/plan.h"

enum needs_drop {
    NEEDS_DROP_UNKNOWN, /* raw pointers: only its own code knows */
    NEEDS_NO_DROP,
    NEEDS_DROP,
};

struct needs_drops {
    uint8_t *types; /* by type id - 1: enum needs_drop */
};

/* Is it one of the standard library's (or bytes') types that always own something? */
bool is_owner_type(const struct plan *plan, const struct plan_type *type);

void needs_drops_init(struct needs_drops *drops, const struct plan *plan);
void needs_drops_deinit(struct needs_drops *drops);

static inline enum needs_drop needs_drop_of(const struct needs_drops *drops, plan_type_id type)
{
    return type.v ? (enum needs_drop)drops->types[type.v - 1] : NEEDS_DROP_UNKNOWN;
}
