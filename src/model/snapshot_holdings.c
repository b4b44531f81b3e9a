/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * From addresses to variables: for each block that a task's end frees, the innermost future of its
 * tree in which the way to the block begins, and the slot there.  Whether a variable is there at all
 * is told by what the drop code read.
 */
#include <stdlib.h>
#include <string.h>

#include "base/search.h"
#include "model/snapshot_part.h"

/* A frame of one task and where it lies. */
struct placed {
    uint64_t addr, end;
    uint32_t frame;  /* position in the task's own frames, in the order of the snapshot's */
    uint32_t around; /* position + 1 of the one that it lies in; 0: none */
};

/* What a place of a frame holds: one for each slot, then the hidden ones, then the awaited future. */
struct tally {
    uint64_t heap_bytes, requested_bytes;
    uint32_t nr_blocks;
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

/* --- which place of a frame ------------------------------------------------------------------ */

/* Position of the tally; the frame is a state machine. */
static uint32_t tally_in(const struct holding *holding, const struct holding_frame *frame,
                         uint64_t addr)
{
    const struct process_plan *own = &holding->build->reader->plans[frame->source->plan];
    const struct plan_type *type = plan_type(own->plan, frame->source->type);
    const struct walk_state *state = &own->states[plan_variants(own->plan, type) +
                                                  frame->source->variant - 1 - own->plan->variants];
    const uint32_t nr_slots = frame->state->nr_slots;
    const uint64_t offset = addr - frame->source->addr;
    const struct snapshot_slot *slots = slots_of(holding, frame);
    for (uint32_t i = 0; i < nr_slots; i++)
        if (offset - slots[i].offset_bytes < slots[i].inline_bytes)
            return frame->first_tally + i;
    const struct plan_type *awaited = plan_type(own->plan, state->awaitee);
    bool is_awaited =
        state->has_awaitee && awaited && offset - state->awaitee_offset < awaited->size_bytes;
    return frame->first_tally + nr_slots + is_awaited;
}

/*
 * A future that is no state machine (a Sleep, a Box) has no variables: what it holds belongs to who
 * has it.  Position + 1 of the tally; 0: no frame has it.
 */
static uint32_t find_tally(const struct holding *holding, uint64_t addr)
{
    uint32_t at = placed_at(holding, addr), last = 0;
    for (; at; at = holding->placed[at - 1].around) {
        const struct holding_frame *frame = &holding->frames[holding->placed[at - 1].frame];
        if (frame->source->variant)
            return tally_in(holding, frame, addr) + 1;
        last = holding->placed[at - 1].frame + 1;
    }
    for (; last; last = holding->frames[last - 1].parent) {
        const struct holding_frame *frame = &holding->frames[last - 1];
        if (frame->source->variant)
            return frame->first_tally + frame->state->nr_slots + 2; /* awaited */
    }
    return 0;
}

static void tally_blocks(struct holding *holding)
{
    const struct task_drops *drops = &holding->build->reader->heap.drops;
    const struct drop_block *rows = &drops->drops[holding->drop->first_block];
    for (uint32_t i = 0; i < holding->drop->nr_blocks; i++) {
        uint32_t at = rows[i].place ? find_tally(holding, rows[i].place) : 0;
        if (!at)
            continue;
        struct tally *tally = &holding->tallies[at - 1];
        tally->nr_blocks++;
        tally->heap_bytes += drops->blocks->rows[rows[i].block].size_bytes;
        if (rows[i].requested_bytes == UNKNOWN_BYTES)
            tally->requested_bytes = UNKNOWN_BYTES;
        else if (tally->requested_bytes != UNKNOWN_BYTES)
            tally->requested_bytes += rows[i].requested_bytes;
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
    frame->first_holding = frame->nr_holdings++ ? frame->first_holding : id;
}

static void add_rows(struct holding *holding, uint32_t number, uint32_t frame_id)
{
    const struct holding_frame *frame = &holding->frames[number];
    struct snapshot_frame *row = &snapshot_frames(holding->build->snapshot, NULL)[frame_id - 1];
    if (!frame->source->variant)
        return;
    const struct tally *tallies = &holding->tallies[frame->first_tally];
    const uint32_t nr_slots = frame->state->nr_slots;
    const struct state_layout *layout = snapshot_layout_of(holding->build, frame->source);
    for (uint32_t i = 0; i < nr_slots; i++)
        add_holding(holding, row, &tallies[i],
                    (struct snapshot_holding){
                        .slot = frame->state->first_slot + i,
                        .what = HOLDING_SLOT,
                        .status = status_of(holding, frame, &layout->slots[i]),
                    });
    for (uint32_t i = 0; i < 2; i++)
        if (tallies[nr_slots + i].nr_blocks)
            add_holding(holding, row, &tallies[nr_slots + i],
                        (struct snapshot_holding){.what = i ? HOLDING_AWAITED : HOLDING_HIDDEN,
                                                  .status = SLOT_LIVE});
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
        nr_tallies += own->state->nr_slots + 2;
    }
    holding.tallies = memory_alloc((nr_tallies + 1) * sizeof(*holding.tallies));
    place_frames(&holding);
    tally_blocks(&holding);
    for (uint32_t i = 0; i < holding.nr; i++)
        add_rows(&holding, i, task->first_frame + i);
    free(holding.tallies);
    free(holding.placed);
    free(holding.frames);
}
