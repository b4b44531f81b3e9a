/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Where a task stands that is about to be dropped: the chain of futures from its cell to the innermost one,
 * as process/task_futures.c finds it from outside.  Of several that are awaited at once (join!) the first
 * that still waits.  Chains are rows of REGION_AWAITS, a trie, so that equal ones are one row.
 *
 * Nobody else touches the future meanwhile, or so it should be: a runtime may be shut down just when
 * another thread begins a poll.  So only the cell itself, to which the caller has a reference, is read
 * plainly; other blocks must be live, and the kernel reads them for us, which cannot fail badly.  The
 * caller's look at the state afterwards tells whether what was read was true.
 */
#include "tracer/task_plans.h"
#include "tracer/tasks_part.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum { MAX_DEPTH = 120, MAX_STEPS = 4000, MAX_ELEMENTS = 256, MAX_PROBES = 64, ARC_BYTES = 16 };

struct place {
    const struct task_plan *plan;
    uint32_t image;
    uint32_t await; /* the frame that it is inside of */
    uint32_t depth;
    bool is_awaited;
};

struct chain {
    struct tracer *tracer;
    uint64_t cell, cell_bytes;
    uint64_t block, block_bytes; /* where the walk is; outside of the cell */
    unsigned nr_steps;
    bool is_cut;
};

/* --- reading ----------------------------------------------------------------------------------- */

static bool is_within(uint64_t addr, uint64_t bytes, uint64_t start, uint64_t length)
{
    return addr >= start && bytes <= length && addr - start <= length - bytes;
}

/* Is there a live block from `addr` (or the counts of an Arc before it) on? */
static bool enter_block(struct chain *chain, uint64_t addr, uint64_t bytes)
{
    for (uint64_t before = 0; before <= ARC_BYTES; before += ARC_BYTES) {
        uint64_t start = addr - before;
        const struct region_live *entry = live_find(chain->tracer, start);
        uint64_t owner = entry ? __atomic_load_n(&entry->owner, __ATOMIC_ACQUIRE) : 0;
        uint64_t length = entry ? entry->block & (((uint64_t)1 << 40) - 1) : 0;
        if (owner && task_block_starts_at(chain->tracer, owner, start) &&
            is_within(addr, bytes, start, length)) {
            chain->block = start;
            chain->block_bytes = length;
            return true;
        }
    }
    return false;
}

static bool read_bytes(struct chain *chain, uint64_t addr, void *into, size_t bytes)
{
    if (is_within(addr, bytes, chain->cell, chain->cell_bytes)) {
        memcpy(into, (const void *)addr, bytes);
        return true;
    }
    struct iovec here = {into, bytes}, there = {(void *)addr, bytes};
    if (is_within(addr, bytes, chain->block, chain->block_bytes) &&
        process_vm_readv(getpid(), &here, 1, &there, 1, 0) == (ssize_t)bytes)
        return true;
    chain->is_cut = true;
    return false;
}

static uint64_t read_word(struct chain *chain, uint64_t addr)
{
    uint64_t word = 0;
    return read_bytes(chain, addr, &word, sizeof(word)) ? word : 0;
}

/* --- the trie ---------------------------------------------------------------------------------- */

/* The row of a future below `place`; 0: no room. */
static uint32_t await_row(struct chain *chain, const struct place *place, plan_type_id type,
                          uint32_t variant)
{
    struct region_header *region = chain->tracer->region;
    struct region_await *rows = region_table_rows(region, REGION_AWAITS);
    uint32_t *index = region_table_rows(region, REGION_AWAIT_INDEX);
    uint64_t size = region->tables[REGION_AWAIT_INDEX].max_rows;
    uint64_t hash = ((uint64_t)place->await << 32 ^ type.v) * 0x9e3779b97f4a7c15u;
    hash = (hash ^ hash >> 29 ^ (uint64_t)variant << 16 ^ place->image) * 0xbf58476d1ce4e5b9u;
    uint32_t made = 0;
    for (unsigned probe = 0; size && probe < MAX_PROBES; probe++) {
        uint32_t *slot = &index[((hash >> 20) + probe) % size];
        uint32_t id = __atomic_load_n(slot, __ATOMIC_ACQUIRE); /* pairs with the exchange below */
        if (!id) {
            if (!made && !(made = region_row_new(region, REGION_AWAITS)))
                return 0;
            rows[made] = (struct region_await){place->await, place->image, type.v, variant};
            if (__atomic_compare_exchange_n(slot, &id, made, false, __ATOMIC_RELEASE,
                                            __ATOMIC_ACQUIRE))
                return made;
        }
        if (id < region->tables[REGION_AWAITS].max_rows && rows[id].parent == place->await &&
            rows[id].image == place->image && rows[id].type == type.v &&
            rows[id].variant == variant)
            return id;
    }
    lost_add(region, LOST_TABLE_FULL);
    return 0;
}

/* --- the walk ---------------------------------------------------------------------------------- */

/* All return the innermost row that they came to; 0: no future is down there. */
static uint32_t walk(struct chain *chain, const struct place *place, uint64_t addr,
                     plan_type_id id);

static uint32_t follow(struct chain *chain, const struct place *place, uint64_t addr,
                       plan_type_id id)
{
    const struct plan_type *type = plan_type(&place->plan->plan, id);
    uint64_t block = chain->block, block_bytes = chain->block_bytes;
    if (!type || addr < 4096)
        return 0;
    if (!is_within(addr, type->size_bytes, chain->cell, chain->cell_bytes) &&
        !is_within(addr, type->size_bytes, block, block_bytes) &&
        !enter_block(chain, addr, type->size_bytes)) {
        chain->is_cut = true;
        return 0;
    }
    uint32_t found = walk(chain, place, addr, id);
    chain->block = block;
    chain->block_bytes = block_bytes;
    return found;
}

static const struct plan_variant *active_variant(struct chain *chain, const struct place *place,
                                                 uint64_t addr, const struct plan_type *type)
{
    const struct plan_type *discr = plan_type(&place->plan->plan, type->discr_type);
    uint64_t value = 0;
    if (discr && (!discr->size_bytes || discr->size_bytes > 8 ||
                  !read_bytes(chain, addr + type->discr_offset, &value, discr->size_bytes)))
        return NULL;
    return plan_variant_of(&place->plan->plan, type, value);
}

static uint32_t walk_members(struct chain *chain, const struct place *place, uint64_t addr,
                             const struct plan_type *type)
{
    const struct plan *plan = &place->plan->plan;
    const struct plan_member *members = plan_members(plan, type);
    uint32_t found = 0;
    for (uint32_t m = 0; m < type->nr_members && !found; m++)
        if (members[m].type.v && place->plan->walk.types[members[m].type.v - 1].leads)
            found = walk(chain, place, addr + members[m].offset_bytes, members[m].type);
    return found;
}

static uint32_t walk_coroutine(struct chain *chain, const struct place *place, uint64_t addr,
                               plan_type_id id)
{
    const struct plan *plan = &place->plan->plan;
    const struct plan_type *type = plan_type(plan, id);
    const struct plan_variant *variant = active_variant(chain, place, addr, type);
    if (!variant)
        return 0;
    const struct walk_state *state = &place->plan->walk.states[variant - plan->variants];
    if (state->progress == WALK_ENDED)
        return 0;
    struct place inside = *place;
    inside.await = await_row(chain, place, id, (uint32_t)(variant - plan->variants) + 1);
    inside.is_awaited = true;
    inside.depth++;
    uint32_t found = state->has_awaitee && inside.await
                         ? walk(chain, &inside, addr + state->awaitee_offset, state->awaitee)
                         : 0;
    return found ? found : inside.await;
}

static uint32_t walk_variants(struct chain *chain, const struct place *place, uint64_t addr,
                              const struct plan_type *type)
{
    const struct plan *plan = &place->plan->plan;
    const struct plan_variant *variant = active_variant(chain, place, addr, type);
    const struct plan_type *payload = variant ? plan_type(plan, variant->payload) : NULL;
    uint32_t found = walk_members(chain, place, addr, type);
    return found || !payload ? found : walk_members(chain, place, addr, payload);
}

/* The type behind a trait object, by its vtable or by the poll function there, and whose it is. */
static plan_type_id dyn_type(struct chain *chain, uint64_t vtable, struct place *inside)
{
    enum { SIZE_WORD = 1, POLL_WORD = 3, NR_WORDS = 4 };
    inside->image = task_plan_image_at(chain->tracer, vtable);
    inside->plan = inside->image ? task_plan_of(chain->tracer, inside->image) : NULL;
    if (!inside->plan)
        return (plan_type_id){0};
    const struct region_image *image =
        (const struct region_image *)region_table_rows(chain->tracer->region, REGION_IMAGES) +
        inside->image;
    const struct plan *plan = &inside->plan->plan;
    uint32_t row = task_plan_find(&inside->plan->vtables, vtable - image->bias);
    if (row)
        return plan->vtables[row - 1].type;
    uint64_t words[NR_WORDS];
    struct iovec here = {words, sizeof(words)}, there = {(void *)vtable, sizeof(words)};
    if (process_vm_readv(getpid(), &here, 1, &there, 1, 0) != sizeof(words))
        return (plan_type_id){0};
    row = task_plan_find(&inside->plan->polls, words[POLL_WORD] - image->bias);
    plan_type_id type = row ? plan->futures[row - 1].type : (plan_type_id){0};
    const struct plan_type *known = plan_type(plan, type);
    return known && known->size_bytes == words[SIZE_WORD] ? type : (plan_type_id){0};
}

static uint32_t walk_dyn(struct chain *chain, const struct place *place, uint64_t addr,
                         const struct walk_type *walk_type)
{
    struct place inside = *place;
    uint64_t data = read_word(chain, addr + walk_type->data_offset);
    uint64_t vtable = read_word(chain, addr + walk_type->other_offset);
    plan_type_id type = data ? dyn_type(chain, vtable, &inside) : (plan_type_id){0};
    if (type.v)
        return follow(chain, &inside, data, type);
    chain->is_cut |= data != 0;
    return 0;
}

/* The first element that waits. */
static uint32_t walk_elements(struct chain *chain, const struct place *place, uint64_t addr,
                              plan_type_id id, uint64_t count)
{
    const struct plan_type *type = plan_type(&place->plan->plan, id);
    uint32_t found = 0;
    for (uint64_t i = 0; type && type->size_bytes && i < count && i < MAX_ELEMENTS && !found; i++)
        found = walk(chain, place, addr + i * type->size_bytes, id);
    return found;
}

static uint32_t walk_slice(struct chain *chain, const struct place *place, uint64_t addr,
                           plan_type_id id)
{
    const struct plan *plan = &place->plan->plan;
    const struct plan_type *type = plan_type(plan, id);
    const struct walk_type *walk_type = &place->plan->walk.types[id.v - 1];
    plan_type_id element = type->pointee;
    uint64_t offset, data = read_word(chain, addr + walk_type->data_offset);
    uint64_t count = read_word(chain, addr + walk_type->other_offset);
    if (walk_type->kind == WALK_SLICE) {
        const struct plan_type *pointer = plan_type(plan, plan_find_pointer(plan, id, &offset));
        element = pointer ? pointer->pointee : (plan_type_id){0};
    }
    const struct plan_type *row = plan_type(plan, element);
    uint64_t block = chain->block, block_bytes = chain->block_bytes;
    if (!row || !count || data < 4096)
        return 0;
    if (!is_within(data, row->size_bytes, chain->cell, chain->cell_bytes) &&
        !enter_block(chain, data, row->size_bytes)) {
        chain->is_cut = true;
        return 0;
    }
    uint32_t found = walk_elements(chain, place, data, element, count);
    chain->block = block;
    chain->block_bytes = block_bytes;
    return found;
}

static uint32_t walk_inside(struct chain *chain, const struct place *place, uint64_t addr,
                            plan_type_id id)
{
    const struct plan_type *type = plan_type(&place->plan->plan, id);
    const struct walk_type *walk_type = &place->plan->walk.types[id.v - 1];
    switch ((enum walk_kind)walk_type->kind) {
    case WALK_VARIANTS:
        return walk_variants(chain, place, addr, type);
    case WALK_MEMBERS:
        return walk_members(chain, place, addr, type);
    case WALK_POINTER:
        return place->is_awaited || walk_type->leads
                   ? follow(chain, place, read_word(chain, addr), type->pointee)
                   : 0;
    case WALK_DYN:
        return walk_dyn(chain, place, addr, walk_type);
    case WALK_SLICE:
    case WALK_VEC:
        return walk_slice(chain, place, addr, id);
    case WALK_ARRAY:
        return walk_elements(chain, place, addr, type->element, type->count);
    case WALK_COROUTINE:
    case WALK_NOTHING:
        break;
    }
    return 0;
}

static uint32_t walk(struct chain *chain, const struct place *place, uint64_t addr, plan_type_id id)
{
    const struct plan_type *type = plan_type(&place->plan->plan, id);
    if (!type)
        return 0;
    if (place->depth >= MAX_DEPTH || ++chain->nr_steps > MAX_STEPS) {
        chain->is_cut = true;
        return 0;
    }
    const struct walk_type *walk_type = &place->plan->walk.types[id.v - 1];
    if (walk_type->kind == WALK_COROUTINE)
        return walk_coroutine(chain, place, addr, id);
    struct place inside = *place;
    inside.depth++;
    if ((!type->is_future && !place->is_awaited) || walk_type->is_transparent)
        return walk_inside(chain, &inside, addr, id);
    /* A future that is no state machine: shown, and then what it waits for. */
    inside.await = await_row(chain, place, id, 0);
    inside.is_awaited = false;
    uint32_t found = inside.await ? walk_inside(chain, &inside, addr, id) : 0;
    return found ? found : inside.await;
}

/* --- a task ------------------------------------------------------------------------------------ */

static uint32_t walk_task(struct chain *chain, const struct task_call *call)
{
    const struct region_type *type = &chain->tracer->types[call->vtable->type];
    struct place place = {.image = type->image, .is_awaited = true};
    struct task_stage stage;
    place.plan = task_plan_of(chain->tracer, type->image);
    if (!place.plan || !task_plan_stage(place.plan, type->vtable_offset, &stage)) {
        chain->is_cut = true;
        return 0;
    }
    const struct plan *plan = &place.plan->plan;
    uint64_t addr = chain->cell + stage.offset;
    const struct plan_variant *variant =
        active_variant(chain, &place, addr, plan_type(plan, stage.type));
    const struct plan_type *payload = variant ? plan_type(plan, variant->payload) : NULL;
    if (!payload || payload->nr_members != 1 ||
        strcmp(plan_string(plan, variant->name), "Running") != 0) {
        chain->is_cut = true;
        return 0;
    }
    const struct plan_member *future = plan_members(plan, payload);
    return walk(chain, &place, addr + future->offset_bytes, future->type);
}

void task_read_await(struct tracer *tracer, struct task_call *call)
{
    int saved_errno = errno;
    const uint64_t mask = TASK_IS_RUNNING | TASK_IS_COMPLETE;
    struct chain chain = {
        .tracer = tracer,
        .cell = (uintptr_t)call->header,
        .cell_bytes = call->task->cell_bytes,
    };
    call->await = walk_task(&chain, call);
    /* Was it polled or dropped meanwhile?  Then the chain may be none that ever was.  One that could not be
     * followed to its end is true as far as it goes. */
    if (task_state(call->header) & mask ||
        __atomic_load_n(&call->task->polls, __ATOMIC_RELAXED) != call->nr_polls) {
        chain.is_cut = true;
        call->await = 0;
    }
    call->flags.is_await_cut = chain.is_cut;
    errno = saved_errno;
}
