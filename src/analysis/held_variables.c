/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * One pass over the holdings of the selected tasks.  There may be millions, most of which hold
 * nothing: these are passed over first.  Variables get small numbers by their names, once for each
 * slot of a state; the row of a variable that was met last is kept beside it, since neighbours are
 * mostly of one group.
 */
#include "analysis/held_variables.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"

struct last_row {
    uint32_t group; /* + 1; 0: none yet */
    uint32_t row;
    uint32_t task; /* that was counted in it */
};

struct collector {
    const struct snapshot *snapshot;
    struct held_variables *variables;
    struct arena arena;
    uint32_t *of_slot;                      /* by id: a variable's number; [0] unused */
    uint32_t (*of_state)[NR_HOLDING_WHATS]; /* by id: of what it holds without a name */
    struct last_row *last;                  /* by number */
    struct map rows;                        /* number and group -> position + 1 */
    struct map numbers;                     /* hash of names -> number */
    size_t capacity;
    uint32_t task, group; /* that are looked at: id, position */
    /* Of a traced program: bytes of a variable by the place that allocated them. */
    bool has_origins;
    struct map places; /* hash of variable and place -> position */
    uint64_t *place_bytes;
    size_t nr_places, nr_places_room;
};

static uint32_t number_of(struct collector *collector, uint64_t hash)
{
    bool is_new;
    uint32_t *number = map_put(&collector->numbers, hash, &is_new);
    if (is_new)
        *number = (uint32_t)collector->numbers.count;
    return *number;
}

/* Fields are no state's: their future is that of a frame that has them. */
static void number_fields(struct collector *collector)
{
    size_t nr;
    const struct snapshot *snapshot = collector->snapshot;
    const struct snapshot_frame *frames = snapshot_frames(snapshot, &nr);
    const struct snapshot_state *states = snapshot_states(snapshot, NULL);
    const struct snapshot_slot *slots = snapshot_slots(snapshot, NULL);
    const struct snapshot_holding *holdings = snapshot_holdings(snapshot, NULL);
    for (size_t i = 0; i < nr; i++)
        for (uint32_t h = 0; h < frames[i].nr_holdings; h++) {
            const struct snapshot_holding *row = &holdings[frames[i].first_holding - 1 + h];
            if (row->what != HOLDING_FIELD || collector->of_slot[row->slot])
                continue;
            const char *future = snapshot_string(snapshot, states[frames[i].state - 1].future);
            const char *name = snapshot_string(snapshot, slots[row->slot - 1].name);
            collector->of_slot[row->slot] =
                number_of(collector, hash_str(name, hash_str(future, 0) + 1));
        }
}

/* What debug info hides has no name; no variable has the empty one. */
static void number_variables(struct collector *collector)
{
    const struct snapshot *snapshot = collector->snapshot;
    size_t nr_states, nr_slots;
    const struct snapshot_state *states = snapshot_states(snapshot, &nr_states);
    const struct snapshot_slot *slots = snapshot_slots(snapshot, &nr_slots);
    collector->of_slot = arena_alloc(&collector->arena, (nr_slots + 1) * sizeof(uint32_t));
    collector->of_state =
        arena_alloc(&collector->arena, (nr_states + 1) * sizeof(*collector->of_state));
    for (size_t i = 0; i < nr_states; i++) {
        uint64_t future = hash_str(snapshot_string(snapshot, states[i].future), 0);
        for (uint32_t what = HOLDING_HIDDEN; what <= HOLDING_BOX; what++)
            collector->of_state[i + 1][what] =
                number_of(collector, future + 1 + what * UINT64_C(0x9e3779b97f4a7c15));
        for (uint32_t s = 0; s < states[i].nr_slots; s++) {
            uint32_t id = states[i].first_slot + s;
            const char *name = snapshot_string(snapshot, slots[id - 1].name);
            collector->of_slot[id] = number_of(collector, hash_str(name, future + 1));
        }
    }
    number_fields(collector);
    collector->last =
        arena_alloc(&collector->arena, (collector->numbers.count + 1) * sizeof(*collector->last));
}

/* The row of the variable in the group, new ones as `first`. */
static struct last_row *find_row(struct collector *collector, uint32_t number,
                                 const struct held_variable *first)
{
    struct held_variables *variables = collector->variables;
    struct last_row *last = &collector->last[number];
    if (last->group == first->group + 1)
        return last;
    bool is_new;
    uint32_t *row = map_put(&collector->rows, (uint64_t)first->group << 32 | number, &is_new);
    if (is_new) {
        variables->rows = array_reserve(variables->rows, &collector->capacity, variables->nr + 1,
                                        sizeof(*variables->rows));
        variables->rows[variables->nr] = *first;
        *row = (uint32_t)variables->nr++;
    }
    *last = (struct last_row){.group = first->group + 1, .row = *row};
    return last;
}

/* One number for all stacks with the same place of the program's own. */
static uint64_t hash_place(const struct snapshot *snapshot, uint32_t site, uint64_t seed)
{
    const struct snapshot_site *row = &snapshot_sites(snapshot, NULL)[site - 1];
    const uint32_t at = row->own ? row->own : row->outside;
    if (!at)
        return hash_u64(site, seed);
    const struct snapshot_site_frame *frame =
        &snapshot_site_frames(snapshot, NULL)[row->first_frame - 1 + at - 1];
    return hash_u64((uint64_t)frame->function.v << 32 | frame->line,
                    hash_u64(frame->file.v, seed + 1));
}

/* Where the most of a variable was allocated: sums only grow, so that the last to be the biggest is it. */
static void add_sites(struct collector *collector, uint32_t row,
                      const struct snapshot_holding *holding)
{
    size_t nr;
    const struct snapshot *snapshot = collector->snapshot;
    const uint32_t id = (uint32_t)(holding - snapshot_holdings(snapshot, NULL)) + 1;
    const struct snapshot_origin *origins = snapshot_origins_of(snapshot, id, &nr);
    struct held_variable *variable = &collector->variables->rows[row];
    for (size_t i = 0; i < nr; i++) {
        bool is_new;
        if (!origins[i].site || origins[i].requested_bytes == UINT64_MAX)
            continue;
        uint32_t *place = map_put(
            &collector->places, hash_place(snapshot, origins[i].site, hash_u64(row, 17)), &is_new);
        if (is_new) {
            collector->place_bytes =
                array_reserve(collector->place_bytes, &collector->nr_places_room,
                              collector->nr_places + 1, sizeof(uint64_t));
            *place = (uint32_t)collector->nr_places;
            collector->place_bytes[collector->nr_places++] = 0;
        }
        uint64_t *bytes = &collector->place_bytes[*place];
        if (__builtin_add_overflow(*bytes, origins[i].requested_bytes, bytes))
            *bytes = UINT64_MAX - 1;
        if (*bytes > variable->site_bytes) {
            variable->site_bytes = *bytes;
            variable->site = origins[i].site;
        }
    }
}

static void add_holding(struct collector *collector, uint32_t state,
                        const struct snapshot_holding *holding)
{
    const struct held_variable first = {
        .group = collector->group,
        .slot = holding->slot,
        .what = holding->what,
        .future = snapshot_states(collector->snapshot, NULL)[state - 1].future};
    uint32_t number = holding->slot ? collector->of_slot[holding->slot]
                                    : collector->of_state[state][holding->what];
    struct last_row *last = find_row(collector, number, &first);
    struct held_variable *row = &collector->variables->rows[last->row];
    held_sum_add(&row->held, holding->is, holding->heap_bytes);
    if (holding->is == HELD_UNKNOWN || !holding->heap_bytes)
        return;
    if (collector->has_origins) {
        add_sites(collector, last->row, holding);
        row = &collector->variables->rows[last->row];
    }
    row->nr_tasks += last->task != collector->task;
    last->task = collector->task;
    if (holding->heap_bytes > row->largest_bytes) {
        row->largest_bytes = holding->heap_bytes;
        row->largest_task = collector->task;
    }
}

static bool counts(const struct snapshot_holding *holding)
{
    return holding->status != SLOT_GONE && (holding->heap_bytes || holding->is != HELD_EXACT);
}

static void add_task(struct collector *collector)
{
    const struct snapshot *snapshot = collector->snapshot;
    const struct snapshot_task *task = &snapshot_tasks(snapshot, NULL)[collector->task - 1];
    const struct snapshot_frame *frames = snapshot_frames(snapshot, NULL);
    const struct snapshot_holding *holdings = snapshot_holdings(snapshot, NULL);
    for (uint32_t f = 0; f < task->nr_frames; f++) {
        const struct snapshot_frame *frame = &frames[task->first_frame - 1 + f];
        for (uint32_t h = 0; h < frame->nr_holdings; h++) {
            const struct snapshot_holding *holding = &holdings[frame->first_holding - 1 + h];
            if (counts(holding))
                add_holding(collector, frame->state, holding);
        }
    }
}

/* --- the order ------------------------------------------------------------------------------- */

static int more_bytes_first(const void *a, const void *b, void *context)
{
    const struct held_variable *x = a, *y = b;
    const struct snapshot *snapshot = context;
    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    if (x->held.bytes != y->held.bytes)
        return x->held.bytes > y->held.bytes ? -1 : 1;
    int order = strcmp(snapshot_string(snapshot, x->future), snapshot_string(snapshot, y->future));
    return order ? order : x->slot < y->slot ? -1 : x->slot > y->slot;
}

static void drop_empty(struct held_variables *variables)
{
    size_t kept = 0;
    for (size_t i = 0; i < variables->nr; i++)
        if (variables->rows[i].held.bytes)
            variables->rows[kept++] = variables->rows[i];
    variables->nr = kept;
}

static void sort_rows(struct held_variables *variables, const struct snapshot *snapshot)
{
    drop_empty(variables);
    if (!variables->rows) /* so that the rows of each group are at a place */
        variables->rows = memory_alloc(sizeof(*variables->rows));
    if (variables->nr)
        qsort_r(variables->rows, variables->nr, sizeof(*variables->rows), more_bytes_first,
                (void *)snapshot);
    variables->first = memory_alloc((variables->nr_groups + 1) * sizeof(uint32_t));
    for (size_t i = 0; i < variables->nr; i++)
        variables->first[variables->rows[i].group + 1]++;
    for (size_t i = 0; i < variables->nr_groups; i++)
        variables->first[i + 1] += variables->first[i];
}

void held_variables_init(struct held_variables *variables, const struct snapshot_groups *groups,
                         const struct snapshot_group_list *list)
{
    struct collector collector = {.snapshot = groups->snapshot, .variables = variables};
    *variables = (struct held_variables){.nr_groups = list ? list->nr : 1};
    if (groups->has_held) {
        arena_init(&collector.arena);
        map_init(&collector.places);
        collector.has_origins = groups->snapshot->tables[SNAPSHOT_ORIGINS].nr > 0;
        number_variables(&collector);
        for (size_t i = 0; i < groups->nr_tasks; i++) {
            uint32_t group = list ? list->of_task[i] : 1;
            collector.task = groups->tasks[i];
            collector.group = group - 1;
            if (group)
                add_task(&collector);
        }
        arena_deinit(&collector.arena);
        map_deinit(&collector.places);
        free(collector.place_bytes);
        map_deinit(&collector.rows);
        map_deinit(&collector.numbers);
    }
    sort_rows(variables, groups->snapshot);
}

void held_variables_deinit(struct held_variables *variables)
{
    free(variables->rows);
    free(variables->first);
    *variables = (struct held_variables){0};
}
