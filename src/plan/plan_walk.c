/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the walk over a future needs of its types; see the header. */
#include "plan/plan_walk.h"

#include <string.h>

enum { MAX_DEPTH = 12, MAX_FAT_BYTES = 64, MAX_PASSES = 1000 };

/* --- finding members ------------------------------------------------------------------------- */

const struct plan_member *plan_member_named(const struct plan *plan, plan_type_id id,
                                            const char *name)
{
    const struct plan_type *type = plan_type(plan, id);
    const struct plan_member *members = type ? plan_members(plan, type) : NULL;
    for (uint32_t m = 0; type && m < type->nr_members; m++)
        if (strcmp(plan_string(plan, members[m].name), name) == 0)
            return &members[m];
    return NULL;
}

/* Types share their parts, so that a hostile plan could be searched for ever. */
enum { MAX_VISITS = 20000 };

static plan_type_id find(const struct plan *plan, plan_type_id id, const char *name,
                         uint64_t *offset, int depth, unsigned *visits)
{
    if (++*visits > MAX_VISITS)
        return (plan_type_id){0};
    const struct plan_member *own = plan_member_named(plan, id, name);
    if (own) {
        *offset += own->offset_bytes;
        return own->type;
    }
    const struct plan_type *type = plan_type(plan, id);
    if (!type || !depth)
        return (plan_type_id){0};
    const struct plan_member *members = plan_members(plan, type);
    for (uint32_t m = 0; m < type->nr_members; m++) {
        uint64_t inner = *offset + members[m].offset_bytes;
        plan_type_id found = find(plan, members[m].type, name, &inner, depth - 1, visits);
        if (found.v) {
            *offset = inner;
            return found;
        }
    }
    return (plan_type_id){0};
}

plan_type_id plan_find_member(const struct plan *plan, plan_type_id type, const char *name,
                              uint64_t *offset)
{
    unsigned visits = 0;
    *offset = 0;
    return find(plan, type, name, offset, MAX_DEPTH, &visits);
}

static plan_type_id find_pointer(const struct plan *plan, plan_type_id id, uint64_t *offset,
                                 int depth, unsigned *visits)
{
    const struct plan_type *type = plan_type(plan, id);
    if (!type || !depth || ++*visits > MAX_VISITS)
        return (plan_type_id){0};
    if (type->kind == PLAN_TYPE_POINTER)
        return id;
    const struct plan_member *members = plan_members(plan, type);
    for (uint32_t m = 0; m < type->nr_members; m++) {
        uint64_t inner = *offset + members[m].offset_bytes;
        plan_type_id found = find_pointer(plan, members[m].type, &inner, depth - 1, visits);
        if (found.v) {
            *offset = inner;
            return found;
        }
    }
    return (plan_type_id){0};
}

plan_type_id plan_find_pointer(const struct plan *plan, plan_type_id type, uint64_t *offset)
{
    unsigned visits = 0;
    *offset = 0;
    return find_pointer(plan, type, offset, MAX_DEPTH, &visits);
}

/* --- what a type is to the walk -------------------------------------------------------------- */

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static bool is_transparent(const char *name)
{
    static const char *const wrappers[] = {
        "core::pin::Pin<",
        "alloc::boxed::Box<",
        "core::future::from_generator::GenFuture<", /* up to rustc 1.66 */
        "futures_util::future::maybe_done::MaybeDone<",
        "futures_util::future::try_maybe_done::TryMaybeDone<",
        "tokio::future::maybe_done::MaybeDone<",
        "&",
        "*",
    };
    for (size_t i = 0; i < sizeof(wrappers) / sizeof(*wrappers); i++)
        if (starts_with(name, wrappers[i]))
            return true;
    return false;
}

static bool is_word(const struct plan *plan, plan_type_id id)
{
    const struct plan_type *type = plan_type(plan, id);
    return type && type->size_bytes == 8;
}

static void see_struct(const struct plan_walk *own, const struct plan_type *type, plan_type_id id,
                       struct walk_type *walk)
{
    const struct plan *plan = own->plan;
    const struct plan_member *pointer = plan_member_named(plan, id, "pointer");
    const struct plan_member *vtable = plan_member_named(plan, id, "vtable");
    const struct plan_member *data = plan_member_named(plan, id, "data_ptr");
    const struct plan_member *length = plan_member_named(plan, id, "length");
    walk->kind = WALK_MEMBERS;
    if (type->size_bytes == 16 && pointer && vtable && is_word(plan, pointer->type)) {
        walk->kind = WALK_DYN;
        walk->data_offset = (uint32_t)pointer->offset_bytes;
        walk->other_offset = (uint32_t)vtable->offset_bytes;
    } else if (type->size_bytes == 16 && data && length) {
        walk->kind = WALK_SLICE;
        walk->data_offset = (uint32_t)data->offset_bytes;
        walk->other_offset = (uint32_t)length->offset_bytes;
    } else if (type->pointee.v) {
        uint64_t at, len;
        bool ok = plan_find_pointer(plan, id, &at).v && plan_find_member(plan, id, "len", &len).v;
        /* A ring's elements are not in one piece from its first place on: not followed. */
        if (ok && starts_with(plan_string(plan, type->name), "alloc::vec::Vec<")) {
            walk->kind = WALK_VEC;
            walk->data_offset = (uint32_t)at;
            walk->other_offset = (uint32_t)len;
        }
    }
}

/* Do the words that the walk reads lie in the value?  What debug info says is not trusted. */
static bool words_fit(const struct plan_type *type, const struct walk_type *walk)
{
    uint64_t size = type->size_bytes;
    switch ((enum walk_kind)walk->kind) {
    case WALK_POINTER:
        return size == 8;
    case WALK_DYN:
    case WALK_SLICE:
    case WALK_VEC:
        return size <= MAX_FAT_BYTES && size >= 8 && walk->data_offset <= size - 8 &&
               walk->other_offset <= size - 8;
    default:
        return true;
    }
}

static void see_type(const struct plan_walk *own, uint32_t i)
{
    const struct plan_type *type = &own->plan->types[i];
    struct walk_type *walk = &own->types[i];
    static const uint8_t kinds[NR_PLAN_TYPE_KINDS] = {
        [PLAN_TYPE_COROUTINE] = WALK_COROUTINE, [PLAN_TYPE_VARIANTS] = WALK_VARIANTS,
        [PLAN_TYPE_POINTER] = WALK_POINTER,     [PLAN_TYPE_ARRAY] = WALK_ARRAY,
        [PLAN_TYPE_STRUCT] = WALK_MEMBERS,
    };
    walk->kind = kinds[type->kind];
    walk->is_transparent = is_transparent(plan_string(own->plan, type->name));
    if (type->kind == PLAN_TYPE_STRUCT)
        see_struct(own, type, (plan_type_id){i + 1}, walk);
    if (!words_fit(type, walk))
        walk->kind = WALK_NOTHING;
}

static bool leads(const struct plan_walk *own, plan_type_id id)
{
    return id.v && own->types[id.v - 1].leads;
}

/* Is the pointer of a fat one to `dyn Future` or to a trait that futures implement? */
static bool is_dyn_future(const struct plan_walk *own, const struct plan_type *type)
{
    const struct plan_member *members = plan_members(own->plan, type);
    for (uint32_t m = 0; m < type->nr_members; m++) {
        const struct plan_type *pointer = plan_type(own->plan, members[m].type);
        const struct plan_type *pointee = pointer ? plan_type(own->plan, pointer->pointee) : NULL;
        const char *name =
            pointee ? plan_string(own->plan, pointee->name) : plan_string(own->plan, type->name);
        if (strstr(name, "dyn ") && strstr(name, "Future<"))
            return true;
    }
    return strstr(plan_string(own->plan, type->name), "Future<") != NULL;
}

static bool leads_now(const struct plan_walk *own, uint32_t i)
{
    const struct plan *plan = own->plan;
    const struct plan_type *type = &plan->types[i];
    if (type->is_future)
        return true;
    switch (own->types[i].kind) {
    case WALK_POINTER:
    case WALK_VEC:
        return leads(own, type->pointee);
    case WALK_ARRAY:
        return leads(own, type->element);
    case WALK_DYN:
        return is_dyn_future(own, type);
    case WALK_NOTHING:
        return false;
    default:
        break;
    }
    const struct plan_member *members = plan_members(plan, type);
    for (uint32_t m = 0; m < type->nr_members; m++)
        if (leads(own, members[m].type))
            return true;
    const struct plan_variant *variants = plan_variants(plan, type);
    for (uint32_t v = 0; v < type->nr_variants; v++)
        if (leads(own, variants[v].payload))
            return true;
    return false;
}

/* A Pin<Box<dyn Trait>> that is a future holds a future, whatever the trait. */
static void mark_trait_objects(struct plan_walk *own, const struct plan_type *type)
{
    const struct plan_member *members = plan_members(own->plan, type);
    for (uint32_t m = 0; m < type->nr_members; m++)
        if (members[m].type.v && own->types[members[m].type.v - 1].kind == WALK_DYN)
            own->types[members[m].type.v - 1].leads = true;
}

/* Parts come before wholes, pointees anywhere: passes until nothing changes. */
static void find_leads(struct plan_walk *own)
{
    for (uint32_t i = 0; i < own->plan->nr_types; i++)
        if (own->plan->types[i].is_future && own->types[i].is_transparent)
            mark_trait_objects(own, &own->plan->types[i]);
    unsigned passes = 0;
    for (bool changed = true; changed && passes < MAX_PASSES; passes++) {
        changed = false;
        for (uint32_t i = 0; i < own->plan->nr_types; i++) {
            if (own->types[i].leads || !leads_now(own, i))
                continue;
            own->types[i].leads = true;
            changed = true;
        }
    }
    for (uint32_t i = 0; i < own->plan->nr_types; i++)
        if (!own->types[i].leads)
            own->types[i].kind = own->types[i].kind == WALK_POINTER ? WALK_POINTER : WALK_NOTHING;
}

static bool follows(const struct plan_walk *own, plan_type_id id)
{
    return id.v && own->types[id.v - 1].follows;
}

static bool members_follow(const struct plan_walk *own, const struct plan_type *type)
{
    const struct plan_member *members = plan_members(own->plan, type);
    for (uint32_t m = 0; m < type->nr_members; m++)
        if (leads(own, members[m].type) && follows(own, members[m].type))
            return true;
    return false;
}

static bool follows_now(const struct plan_walk *own, uint32_t i)
{
    const struct plan *plan = own->plan;
    const struct plan_type *type = &plan->types[i];
    const struct plan_variant *variants = plan_variants(plan, type);
    switch ((enum walk_kind)own->types[i].kind) {
    case WALK_POINTER:
    case WALK_DYN:
    case WALK_SLICE:
    case WALK_VEC:
        return true;
    case WALK_ARRAY:
        return follows(own, type->element);
    case WALK_COROUTINE:
        for (uint32_t v = 0; v < type->nr_variants; v++)
            if (follows(own, own->states[&variants[v] - plan->variants].awaitee))
                return true;
        return false;
    case WALK_VARIANTS:
        for (uint32_t v = 0; v < type->nr_variants; v++)
            if (variants[v].payload.v && members_follow(own, plan_type(plan, variants[v].payload)))
                return true;
        return members_follow(own, type);
    case WALK_MEMBERS:
        return members_follow(own, type);
    case WALK_NOTHING:
        break;
    }
    return false;
}

/* The walk's own ways, in task_futures.c. */
static void find_follows(struct plan_walk *own)
{
    unsigned passes = 0;
    for (bool changed = true; changed && passes < MAX_PASSES; passes++) {
        changed = false;
        for (uint32_t i = 0; i < own->plan->nr_types; i++) {
            if (own->types[i].follows || !follows_now(own, i))
                continue;
            own->types[i].follows = true;
            changed = true;
        }
    }
}

static void see_states(const struct plan_walk *own, const struct plan_type *type)
{
    const struct plan *plan = own->plan;
    const struct plan_variant *variants = plan_variants(plan, type);
    for (uint32_t v = 0; v < type->nr_variants; v++) {
        const char *name = plan_string(plan, variants[v].name);
        struct walk_state *state = &own->states[&variants[v] - plan->variants];
        if (strcmp(name, "Unresumed") == 0)
            state->progress = WALK_NOT_BEGUN;
        if (!starts_with(name, "Suspend"))
            continue;
        const struct plan_member *awaitee =
            plan_member_named(plan, variants[v].payload, "__awaitee");
        state->progress = WALK_SUSPENDED;
        state->has_awaitee = awaitee;
        state->awaitee_offset = awaitee ? awaitee->offset_bytes : 0;
        state->awaitee = awaitee ? awaitee->type : (plan_type_id){0};
    }
}

size_t plan_walk_bytes(const struct plan *plan)
{
    return (plan->nr_variants + 1) * sizeof(struct walk_state) +
           (plan->nr_types + 1) * sizeof(struct walk_type);
}

void plan_walk_init(struct plan_walk *own, const struct plan *plan, void *memory)
{
    own->plan = plan;
    own->states = memory;
    own->types = (struct walk_type *)(own->states + plan->nr_variants + 1);
    for (uint32_t i = 0; i < plan->nr_types; i++)
        see_type(own, i);
    find_leads(own);
    for (uint32_t i = 0; i < plan->nr_types; i++)
        if (plan->types[i].kind == PLAN_TYPE_COROUTINE)
            see_states(own, &plan->types[i]);
    find_follows(own);
}

/* --- values ------------------------------------------------------------------------------------ */

const struct plan_variant *plan_variant_of(const struct plan *plan, const struct plan_type *type,
                                           uint64_t value)
{
    const struct plan_variant *variants = plan_variants(plan, type);
    const struct plan_type *discr = plan_type(plan, type->discr_type);
    uint64_t mask = ~(uint64_t)0;
    if (discr && discr->size_bytes && discr->size_bytes < 8)
        mask >>= 64 - 8 * discr->size_bytes;
    const struct plan_variant *other = NULL;
    for (uint32_t v = 0; v < type->nr_variants; v++) {
        if (!variants[v].has_discr)
            other = &variants[v];
        else if ((variants[v].discr & mask) == value)
            return &variants[v];
    }
    return other;
}

uint64_t plan_walk_needs(const struct plan *plan, const struct plan_type *type,
                         const struct walk_type *walk_type, uint64_t *offset)
{
    const struct plan_type *discr = plan_type(plan, type->discr_type);
    *offset = 0;
    switch ((enum walk_kind)walk_type->kind) {
    case WALK_COROUTINE:
    case WALK_VARIANTS:
        *offset = discr ? type->discr_offset : 0;
        return discr ? discr->size_bytes : 0;
    case WALK_POINTER:
    case WALK_DYN:
    case WALK_SLICE:
    case WALK_VEC:
        return type->size_bytes;
    default:
        return 0;
    }
}
