/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A walk has ended: its frames join the remembered ones.  From the outermost fresh frame inward each gets its
 * node, as a child of its caller's, and adds its cells to those that will be compared next time.
 *
 * Of rbp only what matters is compared: a saved rbp counts if a step outside of it uses it
 * before it is restored again.  Code without frame pointers has one cell a frame.
 */
#include "tracer/stack_part.h"

#define KEY_CUT                                                                                    \
    ((uint64_t)1 << 62) /* of a known node: frames are missing between it and its parent */

/* A cell that never holds its value: what comes after is walked anew. */
static const uint64_t never_holds;

static uint32_t node_in_region(struct stack_memory *memory, const struct stack_known_node *wanted,
                               uint32_t image)
{
    struct stack_node_key key = {
        .pc = wanted->key & ~(UNWIND_EXACT | KEY_CUT),
        .parent = wanted->parent,
        .image = image,
        .flags = (wanted->key & UNWIND_EXACT ? REGION_NODE_EXACT : 0) |
                 (wanted->key & KEY_CUT ? REGION_NODE_CUT : 0),
    };
    uint32_t node = stack_node(&memory->nodes, &key);
    return node ? node : STACK_NO_NODE;
}

/* The node of a frame called from `parent` (0: from nobody). */
static uint32_t node_of(struct stack_memory *memory, uint32_t parent,
                        const struct stack_frame *frame, bool is_cut)
{
    if (parent == STACK_NO_NODE)
        return STACK_NO_NODE;
    struct stack_known_node wanted = {frame->key | (is_cut ? KEY_CUT : 0), parent, 0};
    uint64_t hash = (wanted.key ^ (uint64_t)parent << 24) * 0x9e3779b97f4a7c15ULL;
    struct stack_known_node *known = &memory->known[hash >> 52];
    _Static_assert(STACK_KNOWN_NODES == 1 << 12, "the hash's upper bits");
    if (known->key == wanted.key && known->parent == parent && known->node)
        return known->node;
    wanted.node = node_in_region(memory, &wanted, frame->image);
    if (wanted.node != STACK_NO_NODE)
        *known = wanted;
    return wanted.node;
}

struct joining {
    struct stack_memory *memory;
    struct stack_cell *first_cell; /* of those that are written */
};

static void add_cell(struct joining *j, const uint64_t *addr, uint64_t value)
{
    *--j->first_cell = (struct stack_cell){addr, value};
}

/* The cells of a frame, the last one first.  `caller`: NULL for the outermost. */
static void add_cells(struct joining *j, struct stack_frame *frame,
                      const struct stack_frame *caller)
{
    bool is_caller_live = caller && caller->is_live;
    frame->is_live = frame->uses_rbp || (!frame->rbp_cell && is_caller_live);
    if (frame->rbp_cell && is_caller_live)
        add_cell(j, frame->rbp_cell, caller->rbp);
    if (frame->return_cell)
        add_cell(j, frame->return_cell, caller ? unwind_pc(caller->key) : 0);
    if (frame->cfa_cell && caller)
        add_cell(j, frame->cfa_cell, caller->sp);
    if (frame->is_unsure)
        add_cell(j, &never_holds, 1);
    struct stack_cell *end = j->memory->cells + j->memory->max_cells;
    frame->nr_cells = (uint32_t)(end - j->first_cell);
}

/* The node of a stack that is cut: the outermost frames, then the innermost. */
static uint32_t node_of_cut(struct stack_memory *memory)
{
    const struct stack_frame *inner =
        memory->is_torn ? memory->fresh : stack_frame_at(memory, memory->nr_frames);
    uint32_t node = stack_frame_at(memory, REGION_STACK_FRAMES - STACK_INNER_FRAMES)->node;
    for (uint32_t i = STACK_INNER_FRAMES; i-- > 0;)
        node = node_of(memory, node, &inner[i], i == STACK_INNER_FRAMES - 1);
    return node;
}

/* Adds the fresh frames from the outermost inward, down to `first`. */
static void add_frames(struct stack_memory *memory, uint32_t kept, uint32_t first)
{
    const struct stack_frame *caller = kept ? stack_frame_at(memory, kept) : NULL;
    struct joining j = {memory,
                        memory->cells + memory->max_cells - (caller ? caller->nr_cells : 0)};
    uint32_t parent = caller ? caller->node : 0;
    for (uint32_t i = memory->nr_fresh; i-- > first;) {
        struct stack_frame *frame = stack_frame_at(memory, ++kept);
        *frame = memory->fresh[i];
        add_cells(&j, frame, caller);
        frame->node =
            kept > REGION_STACK_FRAMES ? STACK_NO_NODE : node_of(memory, parent, frame, false);
        parent = frame->node;
        caller = frame;
    }
    memory->nr_frames = kept;
}

bool stack_join(struct stack_memory *memory, uint32_t kept)
{
    if (!stack_reserve(memory, kept + memory->nr_fresh))
        return false;
    add_frames(memory, kept, memory->is_torn ? STACK_INNER_FRAMES : 0);
    memory->is_cut = memory->is_torn || memory->nr_frames > REGION_STACK_FRAMES;
    uint32_t node =
        memory->is_cut ? node_of_cut(memory) : stack_frame_at(memory, memory->nr_frames)->node;
    memory->site =
        node == STACK_NO_NODE ? 0 : stack_node_site(&memory->nodes, node);
    return true;
}
