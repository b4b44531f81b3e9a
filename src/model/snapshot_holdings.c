/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * From addresses to variables: for each block that a task's end frees, the innermost future of its
 * tree in which the way to the block begins, and the slot there.  Whether a variable is there at all
 * is told by what the drop code read.
 */
#include <stdlib.h>
#include <string.h>

#include "base/search.h"
#include "base/text.h"
#include "model/snapshot_part.h"

/* A frame of one task and where it lies. */
struct placed {
    uint64_t addr, end;
    uint32_t frame;  /* position in the task's own frames, in the order of the snapshot's */
    uint32_t around; /* position + 1 of the one that it lies in; 0: none */
};

/* What a place of a frame holds: one for each slot, then the hidden ones, the awaited future, the box. */
struct tally {
    uint64_t heap_bytes, requested_bytes;
    uint32_t nr_blocks;
    uint32_t origins; /* a list of snapshot_origins.c */
};
enum { NR_TALLIES_APART = HOLDING_BOX };

/* A field of a future that is no state machine. */
struct field {
    uint32_t frame; /* position */
    uint32_t slot;  /* id */
    struct tally tally;
};

struct holding_frame {
    const struct task_frame *source;
    const struct snapshot_state *state;
    uint32_t first_tally;
    uint32_t parent; /* position + 1 */
};

struct holding {
    struct snapshot_building *build;
    const struct task_drop *drop;
    struct holding_frame *frames;
    struct placed *placed; /* by address */
    size_t nr;
    struct tally *tallies;
    struct field *fields;
    size_t nr_fields, fields_capacity;
    size_t next_field;     /* by frame: the first that has no row yet */
    struct map field_rows; /* frame and slot -> position + 1 */
};

static const struct snapshot_slot *slots_of(const struct holding *holding,
                                            const struct holding_frame *frame)
{
    return &snapshot_slots(holding->build->snapshot, NULL)[frame->state->first_slot - 1];
}

/* --- where frames lie ------------------------------------------------------------------------ */

static int placed_order(const void *a, const void *b)
{
    const struct placed *x = a, *y = b;
    if (x->addr != y->addr)
        return x->addr < y->addr ? -1 : 1;
    if (x->end != y->end)
        return x->end > y->end ? -1 : 1;
    return x->frame < y->frame ? -1 : x->frame > y->frame;
}

static void place_frames(struct holding *holding)
{
    for (uint32_t i = 0; i < holding->nr; i++) {
        const struct task_frame *source = holding->frames[i].source;
        uint64_t size = holding->frames[i].state->future_bytes;
        if (size == UNKNOWN_BYTES)
            size = 0;
        holding->placed[i] = (struct placed){source->addr, source->addr + size, i, 0};
    }
    qsort(holding->placed, holding->nr, sizeof(*holding->placed), placed_order);
    for (uint32_t i = 1; i < holding->nr; i++) {
        uint32_t around = i;
        while (around && holding->placed[around - 1].end < holding->placed[i].end)
            around = holding->placed[around - 1].around;
        holding->placed[i].around = around;
    }
}

/* The innermost frame that has the address in it, position + 1 in placed; 0: none. */
static uint32_t placed_at(const struct holding *holding, uint64_t addr)
{
    uint32_t at = (uint32_t)SEARCH_UP_TO(holding->placed, holding->nr, addr, addr);
    while (at && addr >= holding->placed[at - 1].end)
        at = holding->placed[at - 1].around;
    return at;
}

/* --- fields ---------------------------------------------------------------------------------- */

/* The member at `offset`, which becomes the offset in it; id 0: none, or several may be. */
static plan_type_id member_at(const struct plan *plan, const struct plan_type *type,
                              uint64_t *offset, struct text *path)
{
    const struct plan_member *members = plan_members(plan, type);
    for (uint32_t m = 0; m < type->nr_members; m++) {
        const struct plan_type *member = plan_type(plan, members[m].type);
        if (!member || *offset - members[m].offset_bytes >= member->size_bytes)
            continue;
        const char *name = plan_string(plan, members[m].name);
        if (!str_starts_with(name, "__")) /* of a tuple */
            text_printf(path, "%s%s", path->length ? "." : "", name);
        *offset -= members[m].offset_bytes;
        return members[m].type;
    }
    return (plan_type_id){0};
}

/* The one variant that has something there. */
static plan_type_id variant_at(const struct plan *plan, const struct plan_type *type,
                               uint64_t offset)
{
    plan_type_id found = {0};
    const struct plan_variant *variants = plan_variants(plan, type);
    for (uint32_t v = 0; v < type->nr_variants; v++) {
        uint64_t inside = offset;
        struct text unused;
        text_init(&unused);
        const struct plan_type *payload = plan_type(plan, variants[v].payload);
        bool has = payload && member_at(plan, payload, &inside, &unused).v;
        text_deinit(&unused);
        if (has && found.v)
            return (plan_type_id){0};
        if (has)
            found = variants[v].payload;
    }
    return found;
}

/*
 * "conn.io.read_buf": the way to the innermost named field at `offset` that can own heap; *id is its type,
 * *offset where it begins.
 */
static bool field_path(const struct plan *plan, plan_type_id *id, uint64_t *offset,
                       struct text *path)
{
    enum { MAX_STEPS = 32, WORD_BYTES = 8 };
    uint64_t at = *offset, start = 0;
    plan_type_id part = *id;
    for (int step = 0; step < MAX_STEPS; step++) {
        const struct plan_type *type = plan_type(plan, part);
        if (step && (type->size_bytes <= WORD_BYTES || is_owner_type(plan, type)))
            break;
        uint64_t inside = at;
        const size_t length = path->length;
        part = type->kind == PLAN_TYPE_VARIANTS ? variant_at(plan, type, at)
                                                : member_at(plan, type, &inside, path);
        if (!part.v)
            break;
        start += at - inside;
        at = inside;
        if (path->length > length) { /* else a part of the field that has a name */
            *id = part;
            *offset = start;
        }
    }
    return path->length > 0;
}

static uint32_t add_field(struct snapshot_building *build, const struct task_frame *frame,
                          uint64_t addr)
{
    const struct image_names *image = &build->images[frame->plan];
    plan_type_id type = frame->type;
    uint64_t offset = addr - frame->addr;
    uint32_t slot = 0;
    struct text path;
    text_init(&path);
    if (field_path(image->plan, &type, &offset, &path)) {
        /* The same field for all its words. */
        uint64_t key = hash_u64(type.v, hash_u64(offset, hash_u64(frame->type.v, frame->plan)));
        uint32_t *known = map_put(&build->fields, key, NULL);
        struct snapshot_slot row = {
            .name = snapshot_intern(build, text_str(&path)),
            .type = snapshot_type_name(build, image, type, NAME_SHORT),
            .offset_bytes = offset,
            .inline_bytes = plan_type(image->plan, type)->size_bytes,
        };
        if (!*known)
            *known = snapshot_add(build->snapshot, SNAPSHOT_SLOTS, &row);
        slot = *known;
    }
    text_deinit(&path);
    return slot;
}

/* Id of the slot of the field that has `addr`; 0: it has no name. */
static uint32_t field_slot(const struct holding *holding, const struct task_frame *frame,
                           uint64_t addr)
{
    struct snapshot_building *build = holding->build;
    bool is_new;
    uint64_t key = hash_u64(addr - frame->addr, hash_u64(frame->type.v, frame->plan));
    uint32_t *known = map_put(&build->fields, key, &is_new);
    if (!is_new)
        return *known;
    uint32_t slot = add_field(build, frame, addr);
    *map_put(&build->fields, key, NULL) = slot;
    return slot;
}

static struct tally *field_tally(struct holding *holding, uint32_t frame, uint32_t slot)
{
    uint32_t *known = map_put(&holding->field_rows, (uint64_t)frame << 32 | slot, NULL);
    if (*known)
        return &holding->fields[*known - 1].tally;
    holding->fields = array_reserve(holding->fields, &holding->fields_capacity,
                                    holding->nr_fields + 1, sizeof(*holding->fields));
    holding->fields[holding->nr_fields] = (struct field){.frame = frame, .slot = slot};
    *known = (uint32_t)holding->nr_fields + 1;
    return &holding->fields[holding->nr_fields++].tally;
}

/* --- which place of a frame ------------------------------------------------------------------ */

static struct tally *tally_apart(struct holding *holding, uint32_t number, enum holding_what what)
{
    const struct holding_frame *frame = &holding->frames[number];
    return &holding->tallies[frame->first_tally + frame->state->nr_slots + what - HOLDING_HIDDEN];
}

/* Of the slot of a state machine; NULL: none is there. */
static struct tally *slot_tally(struct holding *holding, const struct holding_frame *frame,
                                uint64_t addr)
{
    const uint64_t offset = addr - frame->source->addr;
    const struct snapshot_slot *slots = slots_of(holding, frame);
    for (uint32_t i = 0; i < frame->state->nr_slots; i++)
        if (offset - slots[i].offset_bytes < slots[i].inline_bytes)
            return &holding->tallies[frame->first_tally + i];
    return NULL;
}

static bool is_awaited(const struct holding *holding, const struct holding_frame *frame,
                       uint64_t addr)
{
    const struct process_plan *own = &holding->build->reader->plans[frame->source->plan];
    const struct plan_type *type = plan_type(own->plan, frame->source->type);
    const struct walk_state *state = &own->states[plan_variants(own->plan, type) +
                                                  frame->source->variant - 1 - own->plan->variants];
    const struct plan_type *awaited = plan_type(own->plan, state->awaitee);
    return state->has_awaitee && awaited &&
           addr - frame->source->addr - state->awaitee_offset < awaited->size_bytes;
}

/* Of the outermost future that lies in the block; NULL: none does. */
static struct tally *box_tally(struct holding *holding, const struct heap_block *block)
{
    size_t at = block->addr ? SEARCH_UP_TO(holding->placed, holding->nr, addr, block->addr - 1) : 0;
    if (at >= holding->nr || holding->placed[at].addr - block->addr >= block->size_bytes)
        return NULL;
    return tally_apart(holding, holding->placed[at].frame, HOLDING_BOX);
}

/*
 * To what in the frames a block belongs: a variable; else a field of a future that is no state machine;
 * else the future that lies in the block; else what is awaited, or hidden.  NULL: to none of them.
 */
static struct tally *find_tally(struct holding *holding, uint64_t place,
                                const struct heap_block *block)
{
    uint32_t inner = 0,
             outer = 0; /* number + 1: the innermost plain future, and the state machine */
    struct tally *tally = NULL;
    for (uint32_t at = place ? placed_at(holding, place) : 0; at && !outer;
         at = holding->placed[at - 1].around) {
        const uint32_t number = holding->placed[at - 1].frame;
        if (holding->frames[number].source->variant)
            outer = number + 1;
        else if (!inner)
            inner = number + 1;
    }
    if (outer)
        tally = slot_tally(holding, &holding->frames[outer - 1], place);
    if (!tally && inner) {
        uint32_t slot = field_slot(holding, holding->frames[inner - 1].source, place);
        tally = slot ? field_tally(holding, inner - 1, slot) : NULL;
    }
    if (!tally)
        tally = box_tally(holding, block);
    if (!tally && inner)
        tally = tally_apart(holding, inner - 1, HOLDING_AWAITED);
    if (!tally && outer)
        tally =
            tally_apart(holding, outer - 1,
                        is_awaited(holding, &holding->frames[outer - 1], place) ? HOLDING_AWAITED
                                                                                : HOLDING_HIDDEN);
    return tally;
}

/* As the tracer wrote it down; else as the drop code says it, which most do not. */
static uint64_t requested_bytes_of(const struct heap_account *heap, const struct drop_block *row)
{
    const uint32_t entry = heap->traced ? heap->joined.entries[row->block] : 0;
    return entry ? heap->traced->blocks[entry - 1].bytes : row->requested_bytes;
}

static void tally_blocks(struct holding *holding)
{
    const struct task_drops *drops = &holding->build->reader->heap.drops;
    const struct drop_block *rows = &drops->drops[holding->drop->first_block];
    for (uint32_t i = 0; i < holding->drop->nr_blocks; i++) {
        const struct heap_block *block = &drops->blocks->rows[rows[i].block];
        struct tally *tally = find_tally(holding, rows[i].place, block);
        if (!tally)
            continue;
        tally->nr_blocks++;
        tally->heap_bytes += block->size_bytes;
        snapshot_origin_note(holding->build, &tally->origins, rows[i].block);
        const uint64_t requested = requested_bytes_of(&holding->build->reader->heap, &rows[i]);
        if (requested == UNKNOWN_BYTES)
            tally->requested_bytes = UNKNOWN_BYTES;
        else if (tally->requested_bytes != UNKNOWN_BYTES)
            tally->requested_bytes += requested;
    }
}

/* --- is it there? ---------------------------------------------------------------------------- */

static bool was_read(const struct holding *holding, uint64_t addr, uint64_t size)
{
    const uint64_t *reads = &holding->build->reader->heap.drops.reads[holding->drop->first_read];
    size_t low = 0, high = holding->drop->nr_reads;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (reads[middle] + 8 <= addr)
            low = middle + 1;
        else
            high = middle;
    }
    return low < holding->drop->nr_reads && reads[low] < addr + size;
}

static enum slot_status status_of(const struct holding *holding, const struct holding_frame *frame,
                                  const struct state_slot *slot)
{
    if (!holding->drop->was_run)
        return SLOT_UNSURE;
    if (!slot->size_bytes ||
        was_read(holding, frame->source->addr + slot->offset_bytes, slot->size_bytes))
        return SLOT_LIVE;
    switch (needs_drop_of(&holding->build->needs_drop[frame->source->plan], slot->type)) {
    case NEEDS_NO_DROP:
        return SLOT_LIVE;
    case NEEDS_DROP:
        return holding->drop->is_exact ? SLOT_GONE : SLOT_UNSURE;
    default:
        return SLOT_UNSURE;
    }
}

/* --- rows ------------------------------------------------------------------------------------ */

static void add_holding(struct holding *holding, struct snapshot_frame *frame,
                        const struct tally *tally, struct snapshot_holding row)
{
    row.heap_bytes = tally->heap_bytes;
    row.requested_bytes = tally->requested_bytes;
    row.nr_blocks = tally->nr_blocks;
    row.is = holding->drop->is_exact ? HELD_EXACT : HELD_AT_LEAST;
    uint32_t id = snapshot_add(holding->build->snapshot, SNAPSHOT_HOLDINGS, &row);
    snapshot_origins_put(holding->build, tally->origins, id);
    frame->first_holding = frame->nr_holdings++ ? frame->first_holding : id;
}

static void add_slot_rows(struct holding *holding, uint32_t number, struct snapshot_frame *row)
{
    const struct holding_frame *frame = &holding->frames[number];
    const struct state_layout *layout =
        frame->source->variant ? snapshot_layout_of(holding->build, frame->source) : NULL;
    for (uint32_t i = 0; layout && i < frame->state->nr_slots; i++)
        add_holding(holding, row, &holding->tallies[frame->first_tally + i],
                    (struct snapshot_holding){
                        .slot = frame->state->first_slot + i,
                        .what = HOLDING_SLOT,
                        .status = status_of(holding, frame, &layout->slots[i]),
                    });
}

static void add_rows(struct holding *holding, uint32_t number, uint32_t frame_id)
{
    struct snapshot_frame *row = &snapshot_frames(holding->build->snapshot, NULL)[frame_id - 1];
    add_slot_rows(holding, number, row);
    for (uint32_t what = HOLDING_HIDDEN; what <= HOLDING_BOX; what++) {
        const struct tally *tally = tally_apart(holding, number, what);
        if (tally->nr_blocks)
            add_holding(holding, row, tally,
                        (struct snapshot_holding){.what = what, .status = SLOT_LIVE});
    }
    for (; holding->next_field < holding->nr_fields; holding->next_field++) {
        const struct field *field = &holding->fields[holding->next_field];
        if (field->frame != number)
            break;
        add_holding(holding, row, &field->tally,
                    (struct snapshot_holding){
                        .slot = field->slot, .what = HOLDING_FIELD, .status = SLOT_LIVE});
    }
}

static int field_order(const void *a, const void *b)
{
    const struct field *x = a, *y = b;
    if (x->frame != y->frame)
        return x->frame < y->frame ? -1 : 1;
    return x->slot < y->slot ? -1 : x->slot > y->slot;
}

static void set_held(struct snapshot_building *build, const struct task_drop *drop,
                     struct snapshot_task *task)
{
    const struct heap_blocks *blocks = &build->reader->heap.blocks;
    task->held_bytes = drop->held_bytes;
    task->held_is = drop->is_exact ? HELD_EXACT : HELD_AT_LEAST;
    task->held_reason = snapshot_intern(build, drop->reason);
    if (drop->cell_block != NO_BLOCK)
        task->cell_block_bytes = blocks->rows[drop->cell_block].size_bytes;
}

void snapshot_add_holdings(struct snapshot_building *build, uint32_t row,
                           struct snapshot_task *task, const uint32_t *frames)
{
    const struct task_reader *reader = build->reader;
    struct holding holding = {.build = build, .nr = task->nr_frames};
    task->held_bytes = task->maybe_held_bytes = task->shared_bytes = UNKNOWN_BYTES;
    if (!reader->heap.is_there)
        return;
    holding.drop = &reader->heap.drops.rows[row];
    set_held(build, holding.drop, task);
    holding.frames = memory_alloc((holding.nr + 1) * sizeof(*holding.frames));
    holding.placed = memory_alloc((holding.nr + 1) * sizeof(*holding.placed));
    uint32_t nr_tallies = 0;
    for (uint32_t i = 0; i < holding.nr; i++) {
        const struct snapshot_frame *frame =
            &snapshot_frames(build->snapshot, NULL)[task->first_frame - 1 + i];
        struct holding_frame *own = &holding.frames[i];
        *own = (struct holding_frame){
            .source = &reader->futures.frames[frames[i]],
            .state = &snapshot_states(build->snapshot, NULL)[frame->state - 1],
            .first_tally = nr_tallies,
            .parent = frame->parent,
        };
        nr_tallies += own->state->nr_slots + NR_TALLIES_APART;
    }
    holding.tallies = memory_alloc((nr_tallies + 1) * sizeof(*holding.tallies));
    place_frames(&holding);
    map_init(&holding.field_rows);
    tally_blocks(&holding);
    if (holding.nr_fields)
        qsort(holding.fields, holding.nr_fields, sizeof(*holding.fields), field_order);
    for (uint32_t i = 0; i < holding.nr; i++)
        add_rows(&holding, i, task->first_frame + i);
    free(holding.tallies);
    free(holding.fields);
    map_deinit(&holding.field_rows);
    free(holding.placed);
    free(holding.frames);
}
