/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The site of a stack.  Mostly it is that of the thread's last stack, or shares its outer part: the walk
 * goes outward until it comes to a state that is remembered, then compares memory cells instead of walking
 * (stack_part.h says why that is exact).  Where a cell differs it goes on walking from there.
 */
#include "tracer/stack_part.h"

#include <string.h>

#include "tracer/image_ranges.h"

static inline bool is_state_of(const struct stack_frame *frame, const struct stack_frame *state)
{
    return frame->sp == state->sp && frame->key == state->key &&
           (!frame->is_live || frame->rbp == state->rbp);
}

static inline const struct stack_cell *cells_end(const struct stack_memory *memory)
{
    return memory->cells + memory->max_cells;
}

/* The frame that the walk is at: its state is set. */
static struct stack_frame *next_fresh(struct stack_memory *memory)
{
    return &memory->fresh[memory->nr_fresh];
}

/* Makes room for one fresh frame more, at worst by taking frames out of the middle of them. */
static void make_room(struct stack_memory *memory)
{
    if (memory->nr_fresh + 2 <= memory->max_frames || stack_reserve(memory, memory->nr_fresh + 2))
        return;
    uint32_t outer = REGION_STACK_FRAMES - STACK_INNER_FRAMES;
    struct stack_frame *fresh = memory->fresh;
    memmove(&fresh[STACK_INNER_FRAMES], &fresh[memory->nr_fresh - outer],
            (outer + 1) * sizeof(*fresh)); /* and the state behind them */
    memory->nr_fresh = REGION_STACK_FRAMES;
    memory->is_torn = 1;
}

/*
 * The state is that of remembered frame n, and the cells from there to `changed` hold: these frames are
 * part of this stack too.  Their rbp may be another where it did not matter, and may matter now.
 * The state is then that of the frame whose cell changed.  Returns the next remembered frame outward.
 */
static uint32_t take_verified(struct stack_memory *memory, uint32_t n,
                              const struct stack_cell *changed)
{
    uint32_t nr_left = (uint32_t)(cells_end(memory) - changed);
    while (n > 1 && stack_frame_at(memory, n - 1)->nr_cells >= nr_left) {
        struct stack_frame *frame = next_fresh(memory);
        uint64_t rbp = frame->rbp;
        *frame = *stack_frame_at(memory, n);
        frame->rbp = rbp;
        memory->nr_fresh++;
        make_room(memory);
        const struct stack_frame *outer = stack_frame_at(memory, --n);
        struct stack_frame *state = next_fresh(memory);
        state->sp = outer->sp;
        state->key = outer->key;
        state->rbp = memory->fresh[memory->nr_fresh - 1].rbp_cell
                         ? *memory->fresh[memory->nr_fresh - 1].rbp_cell
                         : rbp;
    }
    return n - 1;
}

/* Walks until the rest is known to be the n outermost remembered frames, and returns n. */
static uint32_t walk(struct stack_memory *memory)
{
    uint32_t n = memory->nr_frames;
    for (;;) {
        struct stack_frame *frame = next_fresh(memory);
        while (n && stack_frame_at(memory, n)->sp < frame->sp)
            n--;
        if (n && is_state_of(stack_frame_at(memory, n), frame)) {
            const struct stack_cell *end = cells_end(memory);
            const struct stack_cell *changed =
                stack_first_changed(end - stack_frame_at(memory, n)->nr_cells, end);
            if (changed == end)
                return n;
            n = take_verified(memory, n, changed);
            frame = next_fresh(memory);
        }
        bool goes_on = stack_step(memory, frame, frame + 1);
        memory->nr_fresh++;
        if (!goes_on)
            return 0;
        make_room(memory);
    }
}

static void begin(struct stack_memory *memory, const struct stack_frame *state)
{
    memory->nr_fresh = 0;
    memory->is_torn = 0;
    memory->is_unsure = 0;
    memory->nr_descents = 0;
    stack_read_from(memory, state->sp);
    memory->fresh[0] = *state;
}

/* What a site of the remembered stack has to tell. */
static uint32_t site_of(const struct stack_memory *memory, struct region_header *region)
{
    if (!memory->site)
        lost_add(region, LOST_TABLE_FULL);
    if (memory->is_cut)
        lost_add(region, LOST_STACK_CUT);
    if (memory->is_broken)
        lost_add(region, LOST_STACK_BROKEN);
    else if (memory->is_guessed)
        lost_add(region, LOST_STACK_GUESSED);
    return memory->site;
}

static __attribute__((noinline)) uint32_t find_site(struct stack_memory *memory,
                                                    struct region_header *region,
                                                    const struct stack_frame *state, uint32_t *kept)
{
    begin(memory, state);
    *kept = walk(memory);
    if (!stack_join(memory, *kept)) {
        memory->nr_frames = 0;
        begin(memory, state);
        (void)walk(memory);
        *kept = 0;
        (void)stack_join(memory, 0);
    }
    memory->is_broken = stack_frame_at(memory, 1)->end == STACK_ENDS_BROKEN;
    memory->is_guessed = memory->is_unsure;
    memory->is_plain = memory->site && !memory->is_cut && !memory->is_broken && !memory->is_guessed;
    return site_of(memory, region);
}

/* Whose polls allocate here: known also where no debug info tells it from the stack.  False: not yet. */
static bool tell_owner(const struct trace_thread *thread, uint32_t site)
{
    struct region_site *rows = tracer_page->sites;
    if (!site || !rows || !thread->task)
        return true;
    if (!rows[site].type)
        rows[site].type = thread->task->type;
    return rows[site].type;
}

uint32_t stack_site(struct trace_thread *thread, const struct stack_start *start)
{
    struct stack_memory *memory = thread->stack;
    uint32_t generation = image_ranges_generation();
    if (memory->generation != generation)
        stack_begin(memory, tracer_page->region, generation);
    struct stack_frame state = {.sp = start->sp, .key = start->pc, .rbp = start->rbp};
    uint32_t nr = memory->nr_frames;
    if (nr && memory->is_plain && is_state_of(stack_frame_at(memory, nr), &state)) {
        const struct stack_cell *end = cells_end(memory);
        if (stack_first_changed(end - stack_frame_at(memory, nr)->nr_cells, end) == end)
            return memory->site;
    }
    if (stack_follow_path(memory, &state))
        return memory->site;
    uint32_t kept, site = find_site(memory, tracer_page->region, &state, &kept);
    if (tell_owner(thread, site))
        stack_keep_path(memory, kept);
    return site;
}
