/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The question: which futures inside a future make it big?  From each future to the biggest one
 * that lies inline in any of its states, through whatever structs and enums, and at the end the
 * biggest plain variable.
 */
#pragma once

#include "model/future_types.h"

struct chain_link {
    plan_type_id future; /* a coroutine; 0 for the last link, a plain variable */
    plan_type_id type;   /* the type of the slot through which it is held */
    const char *slot;    /* its name, "__awaitee" for an awaited future */
    uint64_t size_bytes; /* of the future, or of the slot in the last link */
};

struct future_chains {
    const struct plan *plan;
    uint32_t *biggest; /* by type id: the biggest coroutine inside, its type id; 0: none */
};

void future_chains_init(struct future_chains *chains, const struct plan *plan, struct arena *arena);

/* The links below `type`; *nr of them, in the arena. */
struct chain_link *future_chain(const struct future_chains *chains, plan_type_id type,
                                struct arena *arena, uint32_t *nr);
