/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "analysis/future_chain.h"

#include <string.h>

enum { MAX_LINKS = 64 };

static uint64_t size_of(const struct plan *plan, uint32_t type)
{
    return type ? plan->types[type - 1].size_bytes : 0;
}

/* The coroutine that a value of the type is or holds. */
static uint32_t coroutine_in(const struct future_chains *chains, plan_type_id id)
{
    const struct plan_type *type = plan_type(chains->plan, id);
    if (!type)
        return 0;
    return type->kind == PLAN_TYPE_COROUTINE ? id.v : chains->biggest[id.v];
}

static void take_bigger(const struct future_chains *chains, uint32_t *best, plan_type_id part)
{
    uint32_t candidate = coroutine_in(chains, part);
    if (size_of(chains->plan, candidate) > size_of(chains->plan, *best))
        *best = candidate;
}

/* Parts have smaller ids than wholes (plan.c checks it), so one pass in order is enough. */
void future_chains_init(struct future_chains *chains, const struct plan *plan, struct arena *arena)
{
    chains->plan = plan;
    chains->biggest = arena_alloc(arena, (plan->nr_types + 1) * sizeof(*chains->biggest));
    for (uint32_t t = 1; t <= plan->nr_types; t++) {
        const struct plan_type *type = &plan->types[t - 1];
        const struct plan_member *members = plan_members(plan, type);
        const struct plan_variant *variants = plan_variants(plan, type);
        uint32_t best = 0;
        for (uint32_t m = 0; m < type->nr_members; m++)
            take_bigger(chains, &best, members[m].type);
        for (uint32_t v = 0; v < type->nr_variants; v++)
            take_bigger(chains, &best, variants[v].payload);
        take_bigger(chains, &best, type->element);
        chains->biggest[t] = best;
    }
}

/* Is a value of the type mostly something else than the future inside? */
static bool is_plain(const struct future_chains *chains, plan_type_id type)
{
    uint64_t inside = size_of(chains->plan, coroutine_in(chains, type));
    return size_of(chains->plan, type.v) / 2 > inside || !inside;
}

/* All members of all states, one after the other. */
struct slots {
    const struct plan *plan;
    const struct plan_type *type;
    uint32_t variant, member;
};

static const struct plan_member *next_slot(struct slots *slots)
{
    const struct plan_variant *variants = plan_variants(slots->plan, slots->type);
    for (; slots->variant < slots->type->nr_variants; slots->variant++, slots->member = 0) {
        const struct plan_type *payload = plan_type(slots->plan, variants[slots->variant].payload);
        if (payload && slots->member < payload->nr_members)
            return &plan_members(slots->plan, payload)[slots->member++];
    }
    return NULL;
}

/* The first member that is or holds the future. */
static const struct plan_member *slot_of_future(const struct future_chains *chains,
                                                const struct plan_type *type, uint32_t future)
{
    struct slots slots = {.plan = chains->plan, .type = type};
    const struct plan_member *member;
    while ((member = next_slot(&slots)))
        if (coroutine_in(chains, member->type) == future)
            return member;
    return NULL;
}

static const struct plan_member *biggest_plain_slot(const struct future_chains *chains,
                                                    const struct plan_type *type)
{
    struct slots slots = {.plan = chains->plan, .type = type};
    const struct plan_member *best = NULL, *member;
    while ((member = next_slot(&slots)))
        if (is_plain(chains, member->type) &&
            (!best || size_of(chains->plan, member->type.v) > size_of(chains->plan, best->type.v)))
            best = member;
    return best;
}

struct chain_link *future_chain(const struct future_chains *chains, plan_type_id type,
                                struct arena *arena, uint32_t *nr)
{
    const struct plan *plan = chains->plan;
    struct chain_link *links = arena_alloc(arena, MAX_LINKS * sizeof(*links));
    *nr = 0;
    while (type.v && *nr + 1 < MAX_LINKS) {
        const struct plan_type *whole = plan_type(plan, type);
        plan_type_id next = {chains->biggest[type.v]};
        const struct plan_member *plain = biggest_plain_slot(chains, whole);
        const struct plan_member *slot = next.v ? slot_of_future(chains, whole, next.v) : NULL;
        uint64_t plain_bytes = plain ? size_of(plan, plain->type.v) : 0;
        /* A plain variable bigger than the biggest future inside explains more. */
        if (!slot || plain_bytes > size_of(plan, next.v)) {
            if (plain_bytes)
                links[(*nr)++] = (struct chain_link){.type = plain->type,
                                                     .slot = plan_string(plan, plain->name),
                                                     .size_bytes = plain_bytes};
            break;
        }
        links[(*nr)++] = (struct chain_link){next, slot->type, plan_string(plan, slot->name),
                                             size_of(plan, next.v)};
        type = next;
    }
    return links;
}
