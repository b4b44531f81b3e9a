/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the files of stacks share: a thread's memory of the last stack.
 *
 * The remembered stack stands at the end of its arrays, the root last, and is counted from there: frame n
 * is the n-th from the root.  `cells` are the memory cells that its unwind read, in the order of reading.  So
 * the inner part can be replaced while the outer stays where it is.  What a walk finds anew is collected in
 * `fresh`, innermost first, and joined to the remembered part where it met it.
 *
 * Why this is exact: one step of an unwind is a function of (pc, sp, rbp) and of the cells it reads.  So if the
 * state is that of a remembered frame and all cells from there outward hold what they held, the rest of the
 * stack is the same.  Cells are compared from the match outward, each after all before it: so its address
 * is that which a full unwind would read now, and is in the live stack.
 */
#pragma once

#include "tracer/stack.h"
#include "tracer/stack_nodes.h"
#include "tracer/unwind_cache.h"

enum {
    STACK_FIRST_FRAMES = 1152,  /* more than REGION_STACK_FRAMES */
    STACK_MAX_FRAMES = 1 << 18, /* beyond it a part in the middle is walked anew each time */
    STACK_FRAME_CELLS = 4,      /* at most, of one frame */
    STACK_INNER_FRAMES = 128,   /* of a stack that is cut; the others are the outermost */
    STACK_KNOWN_NODES = 4096,
    STACK_PATHS = 1024,
    STACK_PATH_SLOTS_LOG2 = 12,
    STACK_PATH_FRAMES = 8,
    STACK_PATH_CELLS = 12,
    STACK_READABLE_RANGES = 4,
};
#define STACK_NO_NODE UINT32_MAX

enum stack_end { STACK_GOES_ON, STACK_ENDS_AT_ROOT, STACK_ENDS_BROKEN };

struct stack_cell {
    const uint64_t *addr;
    uint64_t value;
};

/* A frame: the state in it, and what the step out of it reads.  One cache line. */
struct stack_frame {
    uint64_t sp;
    uint64_t key; /* the pc, as tracer/unwind_cache.h has it */
    uint64_t rbp;
    const uint64_t *return_cell, *rbp_cell, *cfa_cell; /* NULL: not read */
    uint32_t node;     /* of the stack from the root to here; STACK_NO_NODE: it has none */
    uint32_t image;    /* row of REGION_IMAGES */
    uint32_t nr_cells; /* of the steps from here to the root */
    uint8_t uses_rbp;  /* the step depends on rbp */
    uint8_t is_live;   /* some step from here outward depends on the rbp of this frame */
    uint8_t is_unsure; /* at or outside of a guess: to be walked anew each time */
    uint8_t end;       /* enum stack_end, of the last frame */
};

/* A node that was met: child of parent at key. */
struct stack_known_node {
    uint64_t key;
    uint32_t parent, node;
};

/* A path (tracer/stack_paths.c): frames and their cells, innermost first, and the frame that they lead to. */
struct stack_path {
    uint64_t outer_sp, outer_key, outer_rbp; /* that frame's, as is what follows */
    uint32_t outer, outer_node, outer_nr_cells;
    uint32_t site; /* of the whole stack */
    uint8_t is_outer_live;
    uint8_t nr_frames, nr_cells; /* of the path */
    uint16_t slot;
    uint8_t reserved[18];
    struct stack_cell cells[STACK_PATH_CELLS];
    struct stack_frame frames[STACK_PATH_FRAMES];
};

_Static_assert(sizeof(struct stack_path) % 64 == 0, "whole cache lines");

struct stack_path_slot {
    uint16_t tag;  /* of the hash that was looked for last */
    uint16_t path; /* number + 1, and whether it is that of the tag; 0: it has none yet */
};

/* Whole pages. */
struct stack_readable {
    uintptr_t start, end;
};

/* All of them, by DWARF's numbers; UNWIND_RETURN is pc. */
struct stack_registers {
    uint64_t values[UNWIND_REGISTERS];
    uint32_t known; /* a bit each */
    bool is_exact;  /* pc was interrupted */
};

struct stack_memory {
    /* The remembered stack. */
    struct stack_frame *frames; /* frame n is frames[max_frames - n] */
    struct stack_cell *cells;
    uint32_t nr_frames, max_frames; /* max_frames: of fresh too */
    uint32_t max_cells;
    uint32_t generation; /* of images, that it holds for; 0: there is none */
    uint32_t site;
    uint32_t is_cut, is_broken, is_guessed;
    uint32_t is_plain; /* it has a site and is whole: nothing to tell */
    /* The walk. */
    struct stack_frame *fresh;
    uint32_t nr_fresh;
    uint32_t is_torn;     /* fresh frames are missing behind the first STACK_INNER_FRAMES */
    uint32_t is_unsure;   /* it passed a guess */
    uint32_t nr_descents; /* steps to a lower address */
    struct stack_nodes nodes; /* the trie that it goes into */
    struct stack_readable readable[STACK_READABLE_RANGES]; /* the last used first */
    struct stack_known_node known[STACK_KNOWN_NODES];
    uint64_t path_hash; /* of this allocation; 0: paths are not looked for */
    uint32_t nr_paths;
    uint32_t path_tries, path_hits, path_pause;
    struct stack_path_slot path_slots[1 << STACK_PATH_SLOTS_LOG2];
    struct stack_path *paths; /* STACK_PATHS, from the first on; the oldest is replaced */
    struct unwind_scratch scratch;
    struct stack_registers registers, next_registers; /* of tracer/stack_registers.c */
    _Alignas(64) uint8_t arrays[];                    /* the first ones */
};

static inline struct stack_frame *stack_frame_at(const struct stack_memory *memory, uint32_t n)
{
    return &memory->frames[memory->max_frames - n];
}

/* Room for nr frames in each array; false: there is none. */
bool stack_reserve(struct stack_memory *memory, uint32_t nr);

/* Begins anew, for another generation of images: nothing is remembered. */
void stack_begin(struct stack_memory *memory, struct region_header *region, uint32_t generation);

/* May the 8 bytes there be read?  Asks the kernel where nothing is known of the page. */
bool stack_may_read(struct stack_memory *memory, uintptr_t addr);

/* The walk begins at sp: the program has just used the 8 bytes below. */
void stack_read_from(struct stack_memory *memory, uintptr_t sp);

/*
 * One step of a walk: `frame` has its state; fills in the rest, and the state of `next`.  false: the stack ends
 * here, frame->end says how.
 */
bool stack_step(struct stack_memory *memory, struct stack_frame *frame, struct stack_frame *next);

/* The state of `next`, by all registers: for rules that are UNWIND_OTHER.  false: not to be had. */
bool stack_step_with_registers(struct stack_memory *memory, const struct stack_frame *frame,
                               struct stack_frame *next);

/*
 * The stack is memory->fresh, continued by the `kept` outermost remembered frames: makes it the remembered
 * one, with its nodes and its site.  false: there is no room for all of them (there always is with kept 0).
 */
bool stack_join(struct stack_memory *memory, uint32_t kept);

/* Is the stack of this state known from a path?  Then it is the remembered one, with its site. */
bool stack_follow_path(struct stack_memory *memory, const struct stack_frame *state);

/* The state was walked from: what is inside of the `kept` outermost frames may be kept as a path. */
void stack_keep_path(struct stack_memory *memory, uint32_t kept);

/* The first of the cells from `cell` on that does not hold its value; `end` if all do. */
static inline const struct stack_cell *stack_first_changed(const struct stack_cell *cell,
                                                           const struct stack_cell *end)
{
    while (cell < end && *cell->addr == cell->value)
        cell++;
    return cell;
}
