/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "model/state_layout.h"

#include <stdlib.h>
#include <string.h>

/* --- sets of bytes --------------------------------------------------------------------------- */

struct span {
    uint64_t begin, end;
};

struct spans {
    struct span *rows;
    size_t nr, capacity;
};

static void spans_add(struct spans *spans, uint64_t offset, uint64_t size, uint64_t limit)
{
    uint64_t end = offset + size < offset || offset + size > limit ? limit : offset + size;
    if (offset >= end)
        return;
    spans->rows = array_reserve(spans->rows, &spans->capacity, spans->nr + 1, sizeof(*spans->rows));
    spans->rows[spans->nr++] = (struct span){offset, end};
}

static void spans_add_all(struct spans *to, const struct spans *from)
{
    for (size_t i = 0; i < from->nr; i++)
        spans_add(to, from->rows[i].begin, from->rows[i].end - from->rows[i].begin, UINT64_MAX);
}

static int span_order(const void *a, const void *b)
{
    const struct span *x = a, *y = b;
    return x->begin < y->begin ? -1 : x->begin > y->begin;
}

/* Sorts and joins the spans; returns how many bytes they cover. */
static uint64_t spans_join(struct spans *spans)
{
    uint64_t bytes = 0;
    size_t nr = 0;
    if (spans->nr)
        qsort(spans->rows, spans->nr, sizeof(*spans->rows), span_order);
    for (size_t i = 0; i < spans->nr; i++) {
        struct span *last = nr ? &spans->rows[nr - 1] : NULL;
        if (last && spans->rows[i].begin <= last->end) {
            if (spans->rows[i].end > last->end)
                last->end = spans->rows[i].end;
        } else {
            spans->rows[nr++] = spans->rows[i];
        }
    }
    spans->nr = nr;
    for (size_t i = 0; i < nr; i++)
        bytes += spans->rows[i].end - spans->rows[i].begin;
    return bytes;
}

/* --- members of a state ---------------------------------------------------------------------- */

struct members {
    const struct plan_member *rows;
    uint32_t nr;
};

static struct members members_of(const struct plan *plan, plan_type_id payload)
{
    const struct plan_type *type = plan_type(plan, payload);
    return type ? (struct members){plan_members(plan, type), type->nr_members}
                : (struct members){NULL, 0};
}

static uint64_t size_of(const struct plan *plan, plan_type_id id)
{
    const struct plan_type *type = plan_type(plan, id);
    return type ? type->size_bytes : 0;
}

static const struct plan_member *find_name(struct members members, plan_str name)
{
    for (uint32_t i = 0; i < members.nr; i++)
        if (members.rows[i].name.v == name.v)
            return &members.rows[i];
    return NULL;
}

/* How often a member equal to rows[i] came before it. */
static uint32_t earlier_copies(struct members members, uint32_t i)
{
    uint32_t nr = 0;
    for (uint32_t other = 0; other < i; other++)
        nr += members.rows[other].name.v == members.rows[i].name.v &&
              members.rows[other].offset_bytes == members.rows[i].offset_bytes;
    return nr;
}

static bool is_awaitee(const struct plan *plan, const struct plan_member *member)
{
    return strcmp(plan_string(plan, member->name), "__awaitee") == 0;
}

static int slot_order(const void *a, const void *b)
{
    const struct state_slot *x = a, *y = b;
    if (x->offset_bytes != y->offset_bytes)
        return x->offset_bytes < y->offset_bytes ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* What does not change from state to state. */
struct context {
    const struct plan *plan;
    const struct plan_type *type;
    struct members upvars; /* those of Unresumed ... */
    bool *is_copy;         /* ... of which some repeat an earlier one */
    bool captures_stay;    /* not an async fn: captures are used where they are ... */
    bool has_arguments;    /* ... but an async closure has arguments among them */
    struct arena *arena;
};

/* Not a local of its name, which may lie at its place where the upvar has no bytes. */
static bool is_upvar_itself(const struct plan_member *upvar, const struct plan_member *member)
{
    return upvar->offset_bytes == member->offset_bytes && upvar->type.v == member->type.v;
}

/* A closure's argument is moved into a local of its name, like that of an async fn. */
static bool is_moved_argument(const struct context *context, struct members members,
                              const struct plan_member *upvar)
{
    const struct plan_member *local = find_name(members, upvar->name);
    return context->has_arguments && local && !is_upvar_itself(upvar, local);
}

/* An upvar of a closure is an argument when some state has it moved. */
static bool is_argument(const struct context *context, const struct plan_member *upvar)
{
    const struct plan_variant *variants = plan_variants(context->plan, context->type);
    if (!context->captures_stay)
        return true;
    for (uint32_t v = 0; context->has_arguments && v < context->type->nr_variants; v++)
        if (is_moved_argument(context, members_of(context->plan, variants[v].payload), upvar))
            return true;
    return false;
}

static void add_slot(const struct context *context, struct state_layout *state,
                     const struct plan_member *member, bool is_upvar)
{
    state->slots[state->nr_slots++] = (struct state_slot){
        .name = plan_string(context->plan, member->name),
        .type = member->type,
        .offset_bytes = member->offset_bytes,
        .size_bytes = size_of(context->plan, member->type),
        .is_upvar = is_upvar,
        .is_argument = is_upvar && is_argument(context, member),
    };
}

/*
 * The slots of a suspended state.  rustc lists a state's locals, then all upvars again; LLVM
 * merges members of one name into copies of the first.  So of the copies of an upvar's name one is
 * the upvar itself, and any further copy of a name is a variable that cannot be seen.
 */
static void list_suspended(const struct context *context, struct state_layout *state,
                           struct members members)
{
    for (uint32_t i = 0; i < members.nr; i++) {
        const struct plan_member *member = &members.rows[i];
        const struct plan_member *upvar = find_name(context->upvars, member->name);
        uint32_t earlier = earlier_copies(members, i);
        if (is_awaitee(context->plan, member)) {
            if (earlier)
                state->nr_hidden++;
            else
                state->awaited = member->type;
        } else if (upvar && is_upvar_itself(upvar, member)) {
            if (!context->captures_stay)
                continue; /* the dead first place of an argument */
            if (earlier)
                state->nr_hidden++;
        } else if (!earlier) {
            add_slot(context, state, member, false);
        } else if (!upvar || earlier > 1) {
            state->nr_hidden++;
        }
    }
    for (uint32_t i = 0; context->captures_stay && i < context->upvars.nr; i++)
        if (!context->is_copy[i] && !is_moved_argument(context, members, &context->upvars.rows[i]))
            add_slot(context, state, &context->upvars.rows[i], true);
}

static void list_slots(const struct context *context, struct state_layout *state)
{
    struct members members = members_of(context->plan, state->variant->payload);
    const char *name = plan_string(context->plan, state->variant->name);
    state->slots =
        arena_alloc(context->arena, (members.nr + context->upvars.nr) * sizeof(*state->slots) + 1);
    if (strcmp(name, "Unresumed") == 0) {
        for (uint32_t i = 0; i < members.nr; i++)
            if (earlier_copies(members, i))
                state->nr_hidden++;
            else
                add_slot(context, state, &members.rows[i], true);
    } else if (state_is_suspended(context->plan, state)) {
        list_suspended(context, state, members);
    }
    if (state->nr_slots)
        qsort(state->slots, state->nr_slots, sizeof(*state->slots), slot_order);
}

/* --- the split ------------------------------------------------------------------------------- */

static void add_awaited(const struct context *context, const struct state_layout *state,
                        struct spans *spans)
{
    struct members members = members_of(context->plan, state->variant->payload);
    for (uint32_t i = 0; state->awaited.v && i < members.nr; i++)
        if (is_awaitee(context->plan, &members.rows[i]))
            spans_add(spans, members.rows[i].offset_bytes,
                      size_of(context->plan, members.rows[i].type), context->type->size_bytes);
}

static void add_slots(const struct context *context, const struct state_layout *state,
                      struct spans *spans)
{
    for (uint32_t i = 0; i < state->nr_slots; i++)
        spans_add(spans, state->slots[i].offset_bytes, state->slots[i].size_bytes,
                  context->type->size_bytes);
}

/* What some suspended state uses: slots and awaited futures. */
static void gather_used(const struct context *context, const struct future_layout *layout,
                        struct spans *used)
{
    for (uint32_t i = 0; i < layout->nr_states; i++) {
        if (!state_is_suspended(context->plan, &layout->states[i]))
            continue;
        add_awaited(context, &layout->states[i], used);
        add_slots(context, &layout->states[i], used);
    }
    spans_join(used);
}

static void split_state(const struct context *context, struct state_layout *state,
                        const struct spans *used)
{
    uint64_t size = context->type->size_bytes;
    struct spans spans = {0};
    add_awaited(context, state, &spans);
    state->awaited_bytes = spans_join(&spans);
    add_slots(context, state, &spans);
    uint64_t covered = spans_join(&spans);
    state->slot_bytes = covered - state->awaited_bytes;
    for (uint32_t i = 0; i < context->upvars.nr; i++)
        spans_add(&spans, context->upvars.rows[i].offset_bytes,
                  size_of(context->plan, context->upvars.rows[i].type), size);
    uint64_t before = covered;
    covered = spans_join(&spans);
    state->dead_upvar_bytes = covered - before;
    /* A hidden slot may lie where another state's slots do: nothing tells, so nothing is claimed. */
    if (!state->nr_hidden)
        spans_add_all(&spans, used);
    before = covered;
    covered = spans_join(&spans);
    state->other_states_bytes = covered - before;
    state->unexplained_bytes = size - covered;
    uint64_t discriminant = size_of(context->plan, context->type->discr_type);
    spans_add(&spans, context->type->discr_offset, discriminant, size);
    state->discriminant_bytes = spans_join(&spans) - covered;
    free(spans.rows);
}

static void find_fullest(struct future_layout *layout, uint64_t size)
{
    uint64_t most = 0;
    layout->has_waste = layout->nr_states > 0;
    for (uint32_t i = 0; i < layout->nr_states; i++) {
        const struct state_layout *state = &layout->states[i];
        layout->has_waste &= !state->nr_hidden;
        uint64_t used = state->slot_bytes + state->awaited_bytes + state->discriminant_bytes;
        if (used > most) {
            most = used;
            layout->fullest = i;
        }
    }
    layout->waste_bytes = layout->has_waste && size > most ? size - most : 0;
}

/* A state of thousands of variables is no program; each pair of them is compared. */
static bool is_too_large(const struct plan *plan, const struct plan_type *type)
{
    enum { MAX_COMPARISONS = 1 << 26, MAX_SLOTS = 1 << 20 };
    const struct plan_variant *variants = plan_variants(plan, type);
    uint64_t comparisons = 0, most = 0;
    for (uint32_t i = 0; i < type->nr_variants; i++) {
        uint64_t nr = members_of(plan, variants[i].payload).nr;
        most = nr > most ? nr : most;
        comparisons += nr * nr + 1;
    }
    /* Each state compares and lists the captures too. */
    return comparisons + type->nr_variants * most * most / 4 > MAX_COMPARISONS ||
           type->nr_variants * most > MAX_SLOTS;
}

void future_layout_compute(struct future_layout *layout, const struct plan *plan,
                           const struct future_type *future, struct arena *arena)
{
    const struct plan_type *type = future->type;
    const struct plan_variant *variants = plan_variants(plan, type);
    struct context context = {
        .plan = plan,
        .type = type,
        .captures_stay = future->future->kind != PLAN_FUTURE_FN,
        .has_arguments = future->future->kind == PLAN_FUTURE_CLOSURE,
        .arena = arena,
    };
    *layout = (struct future_layout){.future = future, .nr_states = type->nr_variants};
    if (is_too_large(plan, type))
        layout->nr_states = 0;
    layout->states = arena_alloc(arena, layout->nr_states * sizeof(*layout->states) + 1);
    for (uint32_t i = 0; i < layout->nr_states; i++)
        if (strcmp(plan_string(plan, variants[i].name), "Unresumed") == 0)
            context.upvars = members_of(plan, variants[i].payload);
    context.is_copy = arena_alloc(arena, context.upvars.nr + 1);
    for (uint32_t i = 0; i < context.upvars.nr; i++)
        context.is_copy[i] = earlier_copies(context.upvars, i) > 0;
    for (uint32_t i = 0; i < layout->nr_states; i++) {
        struct state_layout *state = &layout->states[i];
        state->variant = &variants[i];
        state->await = &plan->awaits[future->future->first_await - 1 + i];
        list_slots(&context, state);
    }
    struct spans used = {0};
    gather_used(&context, layout, &used);
    for (uint32_t i = 0; i < layout->nr_states; i++)
        split_state(&context, &layout->states[i], &used);
    free(used.rows);
    find_fullest(layout, type->size_bytes);
}

bool state_is_suspended(const struct plan *plan, const struct state_layout *state)
{
    return strncmp(plan_string(plan, state->variant->name), "Suspend", 7) == 0;
}

const char *state_await_file(const struct plan *plan, const struct state_layout *state,
                             uint32_t *line)
{
    if (state->await->file.v) {
        *line = state->await->line;
        return plan_file_path(plan, state->await->file);
    }
    *line = state->variant->line;
    return plan_file_path(plan, state->variant->file);
}

const char *state_macro(const struct plan *plan, const struct state_layout *state)
{
    return state->await->macro.v ? plan_string(plan, state->await->macro) : NULL;
}
