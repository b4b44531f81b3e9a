/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "process/task_futures.h"

#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/text.h"

/* Of a bigger value only what says how to go on is read at first. */
enum { MAX_VALUE_BYTES = 4096, MAX_ITEM_BYTES = 1 << 16 };
enum { MAX_DEPTH = 100, MAX_ELEMENTS = 1 << 20 };
/* Where programs have memory on x86-64. */
#define LOWEST_ADDR 4096u
#define HIGHEST_ADDR ((uint64_t)1 << 47)
enum { MAX_FRAMES = 1 << 25 };

/* A value behind a pointer that is read in the next round. */
struct walk_item {
    uint64_t addr;
    uint32_t task, parent;
    plan_type_id type;
    uint32_t count; /* elements, one behind the other */
    uint16_t plan;
    bool is_awaited; /* shown even when nothing proves it a future */
};

/* Bytes of the target at hand. */
struct window {
    uint64_t addr;
    const uint8_t *bytes;
    uint64_t size_bytes;
};

/* Where the walk stands. */
struct place {
    struct window window;
    uint32_t task, parent, plan;
    bool is_awaited;
    unsigned depth;
};

static const struct plan *plan_of(const struct task_futures *futures, const struct place *place)
{
    return futures->cells->plans[place->plan].plan;
}

/* --- what the window holds ------------------------------------------------------------------- */

static bool has_bytes(const struct place *place, uint64_t addr, uint64_t size)
{
    uint64_t offset = addr - place->window.addr;
    return addr >= place->window.addr && offset <= place->window.size_bytes &&
           size <= place->window.size_bytes - offset;
}

static uint64_t number_at(const struct place *place, uint64_t addr, unsigned size)
{
    const uint8_t *bytes = place->window.bytes + (addr - place->window.addr);
    uint64_t number = 0;
    if (size == 8)
        memcpy(&number, bytes, 8);
    else if (size == 1)
        number = *bytes;
    else
        memcpy(&number, bytes, size);
    return number;
}

static void push(struct task_futures *futures, const struct place *place, uint64_t addr,
                 plan_type_id type, uint64_t count)
{
    futures->next_items = array_reserve(futures->next_items, &futures->next_capacity,
                                        futures->nr_next + 1, sizeof(*futures->next_items));
    futures->next_items[futures->nr_next++] = (struct walk_item){.addr = addr,
                                                                 .task = place->task,
                                                                 .parent = place->parent,
                                                                 .type = type,
                                                                 .count = (uint32_t)count,
                                                                 .plan = (uint16_t)place->plan,
                                                                 .is_awaited = place->is_awaited};
}

static uint32_t add_frame(struct task_futures *futures, const struct place *place, uint64_t addr,
                          plan_type_id type, uint32_t variant)
{
    if (futures->nr >= MAX_FRAMES) {
        futures->is_cut = true;
        return place->parent;
    }
    futures->frames = array_reserve(futures->frames, &futures->capacity, futures->nr + 1,
                                    sizeof(*futures->frames));
    futures->frames[futures->nr++] =
        (struct task_frame){place->task, place->parent, place->plan, type, variant, addr};
    return (uint32_t)futures->nr;
}

/* --- the walk over one value ----------------------------------------------------------------- */

static void walk(struct task_futures *futures, const struct place *place, uint64_t addr,
                 plan_type_id type);

/* Seen before in this task?  Values behind pointers only. */
static bool is_first_visit(struct task_futures *futures, const struct place *place, uint64_t addr,
                           plan_type_id type)
{
    bool is_new;
    uint64_t key = hash_u64(addr, hash_u64(type.v, (uint64_t)place->task << 16 | place->plan));
    uint64_t *first = &futures->first_seen[place->task];
    key += !key; /* 0: none yet */
    if (!*first || *first == key) {
        is_new = !*first;
        *first = key;
        return is_new;
    }
    map_put(&futures->seen, key, &is_new);
    return is_new;
}

static void push_elements(struct task_futures *futures, const struct place *place, uint64_t addr,
                          plan_type_id type, uint64_t count)
{
    const uint64_t size = plan_type(plan_of(futures, place), type)->size_bytes;
    uint64_t at_once = size && size < MAX_ITEM_BYTES ? MAX_ITEM_BYTES / size : 1;
    if (size > MAX_VALUE_BYTES)
        at_once = 1;
    for (uint64_t i = 0; size && i < count; i += at_once)
        push(futures, place, addr + i * size, type, at_once < count - i ? at_once : count - i);
}

static void follow(struct task_futures *futures, const struct place *place, uint64_t addr,
                   plan_type_id type, uint64_t count)
{
    const struct plan_type *row = plan_type(plan_of(futures, place), type);
    /* A dangling pointer is a small number, that of an empty Weak the greatest. */
    if (addr < LOWEST_ADDR || addr >= HIGHEST_ADDR || !row || !count ||
        !is_first_visit(futures, place, addr, type))
        return;
    if (count > MAX_ELEMENTS)
        futures->is_partial[place->task] = true;
    else if (count > 1)
        push_elements(futures, place, addr, type, count);
    else
        walk(futures, place, addr, type);
}

/* The variant of the value at `addr`; NULL: the bytes are none of this type. */
static const struct plan_variant *active_variant(const struct plan *plan, const struct place *place,
                                                 uint64_t addr, const struct plan_type *type)
{
    const struct plan_type *discr = plan_type(plan, type->discr_type);
    if (discr && (!discr->size_bytes || discr->size_bytes > 8))
        return NULL;
    return plan_variant_of(
        plan, type,
        discr ? number_at(place, addr + type->discr_offset, (unsigned)discr->size_bytes) : 0);
}

static void walk_members(struct task_futures *futures, const struct place *place, uint64_t addr,
                         const struct plan_type *type)
{
    const struct plan *plan = plan_of(futures, place);
    const struct walk_type *walks = futures->cells->plans[place->plan].types;
    const struct plan_member *members = plan_members(plan, type);
    for (uint32_t m = 0; m < type->nr_members; m++)
        if (members[m].type.v && walks[members[m].type.v - 1].leads)
            walk(futures, place, addr + members[m].offset_bytes, members[m].type);
}

/* Only a suspended future awaits something: what its other variables hold is not asked here. */
static void walk_coroutine(struct task_futures *futures, const struct place *place, uint64_t addr,
                           plan_type_id id, const struct plan_type *type)
{
    const struct plan *plan = plan_of(futures, place);
    const struct plan_variant *variant = active_variant(plan, place, addr, type);
    if (!variant) {
        futures->is_partial[place->task] = true;
        return;
    }
    const struct walk_state *state =
        &futures->cells->plans[place->plan].states[variant - plan->variants];
    if (state->progress == WALK_ENDED)
        return;
    struct place inside = *place;
    inside.parent =
        add_frame(futures, place, addr, id, (uint32_t)(variant - plan_variants(plan, type)) + 1);
    inside.is_awaited = true;
    inside.depth++;
    if (state->has_awaitee)
        walk(futures, &inside, addr + state->awaitee_offset, state->awaitee);
}

static void walk_variants(struct task_futures *futures, const struct place *place, uint64_t addr,
                          const struct plan_type *type)
{
    const struct plan *plan = plan_of(futures, place);
    const struct plan_variant *variant = active_variant(plan, place, addr, type);
    const struct plan_type *payload = variant ? plan_type(plan, variant->payload) : NULL;
    walk_members(futures, place, addr, type);
    if (payload)
        walk_members(futures, place, addr, payload);
}

/* A vtable that debug info does not name: {drop, size, align, poll, ...} has the future's poll. */
static plan_type_id type_by_poll(struct task_futures *futures, const struct process_plan *own,
                                 uint64_t vtable)
{
    enum { SIZE_WORD = 1, POLL_WORD = 3, NR_VTABLE_WORDS = 4 };
    uint64_t words[NR_VTABLE_WORDS];
    if (target_read(futures->cells->target, vtable, words, sizeof(words)) != sizeof(words))
        return (plan_type_id){0};
    const uint32_t *row = map_find(&own->polls, words[POLL_WORD] - own->image.bias);
    plan_type_id type = row ? own->plan->futures[*row - 1].type : (plan_type_id){0};
    const struct plan_type *known = plan_type(own->plan, type);
    return known && known->size_bytes == words[SIZE_WORD] ? type : (plan_type_id){0};
}

/* The type behind a trait object, and in *plan whose it is. */
static plan_type_id dyn_type(struct task_futures *futures, uint64_t vtable, uint32_t *plan)
{
    const struct task_cells *cells = futures->cells;
    for (uint32_t p = 0; p < cells->nr_plans; p++) {
        const struct process_plan *own = &cells->plans[p];
        if (vtable < own->image.start || vtable >= own->image.end)
            continue;
        *plan = p;
        const uint32_t *row = map_find(&own->vtables, vtable - own->image.bias);
        if (row && own->plan->vtables[*row - 1].type.v)
            return own->plan->vtables[*row - 1].type;
        bool is_new;
        uint32_t *known = map_put(&futures->dyn_types, vtable, &is_new);
        if (is_new)
            *known = type_by_poll(futures, own, vtable).v;
        return (plan_type_id){*known};
    }
    return (plan_type_id){0};
}

static void walk_dyn(struct task_futures *futures, const struct place *place, uint64_t addr,
                     const struct walk_type *walk_type)
{
    struct place inside = *place;
    uint64_t data = number_at(place, addr + walk_type->data_offset, 8);
    uint64_t vtable = number_at(place, addr + walk_type->other_offset, 8);
    if (!data)
        return;
    plan_type_id type = dyn_type(futures, vtable, &inside.plan);
    if (type.v)
        follow(futures, &inside, data, type, 1);
    else
        futures->is_partial[place->task] = true;
}

/* A future gets a frame, and what it holds is below that. */
static struct place enter(struct task_futures *futures, const struct place *place, uint64_t addr,
                          plan_type_id id, const struct plan_type *type,
                          const struct walk_type *walk_type)
{
    struct place inside = *place;
    bool is_shown = (type->is_future || place->is_awaited) && !walk_type->is_transparent;
    inside.depth++;
    if (is_shown) {
        inside.parent = add_frame(futures, place, addr, id, 0);
        inside.is_awaited = false;
    }
    return inside;
}

static void walk(struct task_futures *futures, const struct place *place, uint64_t addr,
                 plan_type_id id)
{
    const struct plan *plan = plan_of(futures, place);
    const struct plan_type *type = plan_type(plan, id);
    if (!type)
        return;
    uint64_t offset;
    const struct walk_type *walk_type = &futures->cells->plans[place->plan].types[id.v - 1];
    uint64_t length = plan_walk_needs(plan, type, walk_type, &offset);
    if ((length && !has_bytes(place, addr + offset, length)) || place->depth >= MAX_DEPTH) {
        push(futures, place, addr, id, 1);
        return;
    }
    if (walk_type->kind == WALK_COROUTINE) {
        walk_coroutine(futures, place, addr, id, type);
        return;
    }
    struct place inside = enter(futures, place, addr, id, type, walk_type);
    switch ((enum walk_kind)walk_type->kind) {
    case WALK_VARIANTS:
        walk_variants(futures, &inside, addr, type);
        break;
    case WALK_MEMBERS:
        walk_members(futures, &inside, addr, type);
        break;
    case WALK_POINTER:
        if (inside.is_awaited || walk_type->leads)
            follow(futures, &inside, number_at(place, addr, 8), type->pointee, 1);
        break;
    case WALK_DYN:
        walk_dyn(futures, &inside, addr, walk_type);
        break;
    case WALK_SLICE:
    case WALK_VEC: {
        uint64_t off = 0;
        plan_type_id element = type->pointee;
        if (walk_type->kind == WALK_SLICE) {
            const struct plan_type *pointer = plan_type(plan, plan_find_pointer(plan, id, &off));
            element = pointer ? pointer->pointee : (plan_type_id){0};
        }
        follow(futures, &inside, number_at(place, addr + walk_type->data_offset, 8), element,
               number_at(place, addr + walk_type->other_offset, 8));
        break;
    }
    case WALK_ARRAY: {
        const struct plan_type *element = plan_type(plan, type->element);
        for (uint64_t i = 0; element && element->size_bytes && i < type->count && i < MAX_ELEMENTS;
             i++)
            walk(futures, &inside, addr + i * element->size_bytes, type->element);
        break;
    }
    case WALK_NOTHING:
    case WALK_COROUTINE:
        break;
    }
}

/* --- rounds ---------------------------------------------------------------------------------- */

/* What is read for an item: the values, or of a big one the part that says how to go on. */
static void set_request(const struct task_futures *futures, const struct walk_item *item,
                        struct read_request *request)
{
    const struct process_plan *own = &futures->cells->plans[item->plan];
    const struct plan_type *type = plan_type(own->plan, item->type);
    uint64_t offset, length = type->size_bytes * item->count;
    if (type->size_bytes > MAX_VALUE_BYTES) {
        length = plan_walk_needs(own->plan, type, &own->types[item->type.v - 1], &offset);
    } else {
        offset = 0;
    }
    request->addr = item->addr + offset;
    request->size_bytes = length ? (uint32_t)length : 1;
    request->bytes = NULL;
}

static void walk_item(struct task_futures *futures, const struct walk_item *item,
                      const struct read_request *request)
{
    struct place place = {
        .window = {request->addr, request->bytes, request->size_bytes},
        .task = item->task,
        .parent = item->parent,
        .plan = item->plan,
        .is_awaited = item->is_awaited,
    };
    const struct plan_type *type = plan_type(plan_of(futures, &place), item->type);
    if (!request->bytes) {
        futures->is_partial[item->task] = true;
        return;
    }
    for (uint32_t i = 0; i < item->count; i++)
        walk(futures, &place, item->addr + i * type->size_bytes, item->type);
}

/* Asks the processor for what is walked a few values later. */
enum { AHEAD = 8 };

static void prefetch_bytes(const uint8_t *bytes, uint32_t size)
{
    enum { LINE_BYTES = 64, MAX_PREFETCH_BYTES = 5 * LINE_BYTES };
    for (uint32_t at = 0; bytes && at < size && at < MAX_PREFETCH_BYTES; at += LINE_BYTES)
        __builtin_prefetch(bytes + at);
}

static void run_round(struct task_futures *futures, struct reading *reading)
{
    struct walk_item *items = futures->next_items;
    size_t nr = futures->nr_next;
    futures->next_items = futures->items;
    futures->items = items;
    size_t capacity = futures->next_capacity;
    futures->next_capacity = futures->items_capacity;
    futures->items_capacity = capacity;
    futures->nr_next = 0;
    struct read_request *requests = memory_alloc((nr + 1) * sizeof(*requests));
    for (size_t i = 0; i < nr; i++)
        set_request(futures, &items[i], &requests[i]);
    reading_fetch(reading, requests, nr);
    for (size_t i = 0; i < nr; i++) {
        if (i + AHEAD < nr)
            prefetch_bytes(requests[i + AHEAD].bytes, requests[i + AHEAD].size_bytes);
        walk_item(futures, &items[i], &requests[i]);
    }
    free(requests);
}

/* The variant of the task's stage; NULL: unknown, or not among the bytes at hand. */
static const struct plan_variant *stage_of(const struct task_cells *cells,
                                           const struct task_cell *cell, struct place *place)
{
    const struct cell_kind *kind = &cells->kinds[cell->kind];
    const struct cell_layout *layout = &kind->layout;
    const struct plan *plan = cells->plans[kind->plan].plan;
    const struct plan_type *stage = plan_type(plan, layout->stage_type);
    if (!stage)
        return NULL;
    *place = (struct place){
        .window = {cell->addr, cell->bytes, layout->read_bytes},
        .task = (uint32_t)(cell - cells->rows),
        .plan = kind->plan,
        .is_awaited = true,
    };
    uint64_t addr = cell->addr + layout->stage;
    const struct plan_type *discr = plan_type(plan, stage->discr_type);
    if (discr && !has_bytes(place, addr + stage->discr_offset, discr->size_bytes))
        return NULL;
    return active_variant(plan, place, addr, stage);
}

bool task_output_is_gone(const struct task_cells *cells, const struct task_cell *cell)
{
    struct place place;
    const struct plan_variant *variant = stage_of(cells, cell, &place);
    const struct plan *plan = cells->plans[cells->kinds[cell->kind].plan].plan;
    return variant && strcmp(plan_string(plan, variant->name), "Consumed") == 0;
}

/* The task's own future, when it is there and nobody polls it. */
static void walk_task(struct task_futures *futures, uint32_t task)
{
    const struct task_cells *cells = futures->cells;
    const struct task_cell *cell = &cells->rows[task];
    const struct cell_layout *layout = &cells->kinds[cell->kind].layout;
    struct place place;
    const struct plan_variant *variant = stage_of(cells, cell, &place);
    const struct plan *plan = cells->plans[cells->kinds[cell->kind].plan].plan;
    if (!variant || strcmp(plan_string(plan, variant->name), "Running") != 0) {
        futures->is_partial[task] = true;
        return;
    }
    const struct plan_member *future = plan_members(plan, plan_type(plan, variant->payload));
    walk(futures, &place, cell->addr + layout->stage + future->offset_bytes, future->type);
}

void task_futures_init(struct task_futures *futures, const struct task_cells *cells)
{
    *futures = (struct task_futures){.cells = cells};
    map_init(&futures->seen);
    map_init(&futures->dyn_types);
}

void task_futures_make_room(struct task_futures *futures)
{
    enum { FRAMES_A_TASK = 4, MAX_TASKS = 1 << 20 };
    const struct task_cells *cells = futures->cells;
    size_t nr_tasks = 0; /* whose trees are read while the target stands still */
    for (size_t i = 0; i < cells->nr_candidates; i++)
        nr_tasks += cells->kinds[cells->candidates[i].kind].layout.follows;
    nr_tasks = nr_tasks < MAX_TASKS ? nr_tasks : MAX_TASKS;
    futures->capacity =
        (cells->nr_candidates < MAX_TASKS ? cells->nr_candidates : MAX_TASKS) * FRAMES_A_TASK;
    futures->frames = memory_alloc_touched(futures->capacity * sizeof(*futures->frames));
    futures->items_capacity = futures->next_capacity = nr_tasks;
    futures->items = memory_alloc_touched(nr_tasks * sizeof(*futures->items));
    futures->next_items = memory_alloc_touched(nr_tasks * sizeof(*futures->next_items));
    map_reserve(&futures->seen, nr_tasks / 4);
    futures->first_seen_capacity = cells->capacity;
    futures->first_seen = memory_alloc_touched(cells->capacity * sizeof(*futures->first_seen));
    memset(futures->first_seen, 0, cells->capacity * sizeof(*futures->first_seen));
}

void task_futures_deinit(struct task_futures *futures)
{
    free(futures->frames);
    free(futures->items);
    free(futures->next_items);
    free(futures->is_partial);
    free(futures->first_seen);
    map_deinit(&futures->seen);
    map_deinit(&futures->dyn_types);
}

/* The tasks that have futures to see, by whether memory beside the cell must be read for them. */
static void walk_tasks(struct task_futures *futures, bool follows)
{
    const struct task_cells *cells = futures->cells;
    uint32_t *tasks = memory_alloc((cells->nr + 1) * sizeof(*tasks));
    size_t nr = 0;
    for (uint32_t i = 0; i < cells->nr; i++) {
        const struct cell_layout *layout = &cells->kinds[cells->rows[i].kind].layout;
        bool is_seen = !(cells->rows[i].state & (TOKIO_RUNNING | TOKIO_COMPLETE));
        if (is_seen && layout->stage_type.v && layout->follows == follows)
            tasks[nr++] = i;
    }
    for (size_t i = 0; i < nr; i++) {
        if (i + AHEAD < nr) {
            const struct task_cell *cell = &cells->rows[tasks[i + AHEAD]];
            prefetch_bytes(cell->bytes, cells->kinds[cell->kind].layout.read_bytes);
        }
        walk_task(futures, tasks[i]);
    }
    free(tasks);
}

void task_futures_finish(struct task_futures *futures)
{
    walk_tasks(futures, false);
    for (size_t i = 0; i < futures->nr_next; i++)
        futures->is_partial[futures->next_items[i].task] = true; /* deeper than the walk goes */
    futures->nr_next = 0;
}

void task_futures_read(struct task_futures *futures, struct reading *reading, uint64_t deadline_ns)
{
    futures->is_partial = memory_alloc(futures->cells->nr + 1);
    if (futures->cells->nr > futures->first_seen_capacity) {
        free(futures->first_seen);
        futures->first_seen = memory_alloc(futures->cells->nr * sizeof(*futures->first_seen));
    }
    walk_tasks(futures, true);
    while (futures->nr_next && !futures->is_cut) {
        if (deadline_ns && clock_ns(CLOCK_MONOTONIC) > deadline_ns)
            futures->is_cut = true;
        else
            run_round(futures, reading);
    }
}

void task_futures_by_task(const struct task_futures *futures, uint32_t **first,
                          uint32_t **positions)
{
    const size_t nr_tasks = futures->cells->nr;
    uint32_t *next = memory_alloc((nr_tasks + 2) * sizeof(*next));
    for (size_t i = 0; i < futures->nr; i++)
        next[futures->frames[i].task + 1]++;
    for (size_t i = 0; i < nr_tasks; i++)
        next[i + 1] += next[i];
    *first = memory_alloc((nr_tasks + 2) * sizeof(**first));
    memcpy(*first, next, (nr_tasks + 1) * sizeof(*next));
    *positions = memory_alloc((futures->nr + 1) * sizeof(**positions));
    for (uint32_t i = 0; i < futures->nr; i++)
        (*positions)[next[futures->frames[i].task]++] = i;
    free(next);
}
