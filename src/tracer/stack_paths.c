/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Paths: the inner parts of stacks, kept by the state of the innermost frame and the site before.  A server allocates
 * at the same few places in the same order for each request, and all of these stacks share their outer
 * frames: then the walk from the place to the first frame that is remembered is known, with its nodes.
 *
 * It is exact for the reason that the remembered stack is: the state is that of the path's first frame, and all
 * cells that its walk read hold what they held, so the walk would read them again, and come to the state of
 * the remembered frame, whose cells outward are compared too.  Cells are compared from the innermost
 * outward, each after all before it.
 *
 * A path is kept when its walk is made for the second time in a row by what is known of the slot.  Where
 * few are found, as no two stacks follow each other twice, they are not looked for most of the time.
 */
#include "tracer/stack_part.h"

#include <string.h>

#include "tracer/syscalls.h"

enum { TRIES = 1 << 10, LEAST_HITS = TRIES / 2, PAUSE = 1 << 14 };
enum { PATH_IS_FILLED = 1 << 15 };

static inline struct stack_path *path_at(struct stack_memory *memory, uint16_t number)
{
    return &memory->paths[(number & ~PATH_IS_FILLED) - 1];
}

static inline struct stack_path_slot *slot_at(struct stack_memory *memory, uint64_t hash)
{
    return &memory->path_slots[hash >> (64 - STACK_PATH_SLOTS_LOG2)];
}

static inline uint16_t tag_of(uint64_t hash)
{
    return (uint16_t)(hash >> 32);
}

/* Paths are looked for; counts this time. */
static inline bool is_looked_for(struct stack_memory *memory)
{
    if (memory->path_pause) {
        memory->path_pause--;
        return false;
    }
    if (++memory->path_tries < TRIES)
        return true;
    if (memory->path_hits < LEAST_HITS)
        memory->path_pause = PAUSE;
    memory->path_tries = 0;
    memory->path_hits = 0;
    return true;
}

static inline bool begins_at(const struct stack_path *path, const struct stack_frame *state)
{
    const struct stack_frame *inner = &path->frames[0];
    return inner->sp == state->sp && inner->key == state->key &&
           (!inner->is_live || inner->rbp == state->rbp);
}

/* The frame that it leads to is a remembered one, of the same node and outer part. */
static inline bool leads_to_known(const struct stack_memory *memory, const struct stack_path *path)
{
    const struct stack_frame *outer = stack_frame_at(memory, path->outer);
    return path->outer <= memory->nr_frames && outer->sp == path->outer_sp &&
           outer->key == path->outer_key && outer->is_live == path->is_outer_live &&
           (!outer->is_live || outer->rbp == path->outer_rbp) &&
           outer->nr_cells == path->outer_nr_cells && outer->node == path->outer_node;
}

/* Its cells are in memory that is known to be the stack that the thread is on. */
static inline bool is_on_this_stack(const struct stack_memory *memory,
                                    const struct stack_path *path)
{
    const struct stack_readable *stack = &memory->readable[0];
    return path->frames[0].sp > stack->start && path->outer_sp <= stack->end;
}

/* The path becomes the inner part of the remembered stack. */
static void take(struct stack_memory *memory, const struct stack_path *path)
{
    uint32_t nr = path->outer + path->nr_frames;
    struct stack_frame *to = stack_frame_at(memory, nr);
    for (uint32_t i = 0; i < path->nr_frames; i++)
        to[i] = path->frames[i];
    struct stack_cell *cells =
        memory->cells + memory->max_cells - path->outer_nr_cells - path->nr_cells;
    for (uint32_t i = 0; i < path->nr_cells; i++)
        cells[i] = path->cells[i];
    memory->nr_frames = nr;
    memory->site = path->site;
    memory->path_hits++;
}

bool stack_follow_path(struct stack_memory *memory, const struct stack_frame *state)
{
    memory->path_hash = 0;
    if (!memory->is_plain || !memory->nr_frames || !is_looked_for(memory))
        return false;
    uint64_t hash =
        (state->key ^ state->sp << 20 ^ (uint64_t)memory->site << 40) * 0x9e3779b97f4a7c15ULL | 1;
    memory->path_hash = hash;
    const struct stack_path_slot *slot = slot_at(memory, hash);
    if (slot->tag != tag_of(hash) || !(slot->path & PATH_IS_FILLED))
        return false;
    const struct stack_path *path = path_at(memory, slot->path);
    const struct stack_cell *end = path->cells + path->nr_cells;
    if (!begins_at(path, state) || !leads_to_known(memory, path) ||
        !is_on_this_stack(memory, path) || stack_first_changed(path->cells, end) != end)
        return false;
    end = memory->cells + memory->max_cells;
    if (stack_first_changed(end - path->outer_nr_cells, end) != end)
        return false;
    take(memory, path);
    return true;
}

/* Is it worth being kept: found for the second time, where nothing else is? */
static bool is_wanted(struct stack_path_slot *slot, uint16_t tag)
{
    bool is_second = slot->tag == tag && !(slot->path & PATH_IS_FILLED);
    slot->tag = tag;
    slot->path &= (uint16_t)~PATH_IS_FILLED;
    return is_second;
}

/* Are the frames such as a path can have? */
static bool is_path(const struct stack_memory *memory, const struct stack_frame *inner,
                    const struct stack_frame *outer)
{
    const struct stack_cell *cell = memory->cells + memory->max_cells - inner->nr_cells;
    const struct stack_cell *end = memory->cells + memory->max_cells - outer->nr_cells;
    if (inner >= outer || outer - inner > STACK_PATH_FRAMES || end - cell > STACK_PATH_CELLS)
        return false;
    for (; cell < end; cell++)
        if ((uintptr_t)cell->addr < inner->sp || (uintptr_t)cell->addr >= outer->sp)
            return false;
    return true;
}

/* The next of the paths; who had it before loses it.  False: no memory. */
static bool give_path(struct stack_memory *memory, struct stack_path_slot *slot)
{
    if (!memory->paths)
        memory->paths = sys_map_wiped(STACK_PATHS * sizeof(*memory->paths));
    if (!memory->paths) {
        memory->path_pause = UINT32_MAX;
        return false;
    }
    uint32_t number = memory->nr_paths++ % STACK_PATHS;
    struct stack_path *path = &memory->paths[number];
    if (memory->nr_paths > STACK_PATHS)
        memory->path_slots[path->slot].path = 0;
    path->slot = (uint16_t)(slot - memory->path_slots);
    slot->path = (uint16_t)(number + 1);
    return true;
}

void stack_keep_path(struct stack_memory *memory, uint32_t kept)
{
    const struct stack_frame *inner = stack_frame_at(memory, memory->nr_frames);
    const struct stack_frame *outer = stack_frame_at(memory, kept);
    struct stack_path_slot *slot = slot_at(memory, memory->path_hash);
    if (!memory->path_hash || !memory->is_plain || !kept ||
        !is_wanted(slot, tag_of(memory->path_hash)) || !is_path(memory, inner, outer))
        return;
    if (!slot->path && !give_path(memory, slot))
        return;
    struct stack_path *path = path_at(memory, slot->path);
    *path = (struct stack_path){
        .outer_sp = outer->sp,
        .outer_key = outer->key,
        .outer_rbp = outer->rbp,
        .outer = kept,
        .outer_node = outer->node,
        .outer_nr_cells = outer->nr_cells,
        .site = memory->site,
        .slot = path->slot,
        .is_outer_live = outer->is_live,
        .nr_frames = (uint8_t)(outer - inner),
        .nr_cells = (uint8_t)(inner->nr_cells - outer->nr_cells),
    };
    memcpy(path->cells, memory->cells + memory->max_cells - inner->nr_cells,
           path->nr_cells * sizeof(*path->cells));
    memcpy(path->frames, inner, path->nr_frames * sizeof(*path->frames));
    slot->path |= PATH_IS_FILLED;
}
