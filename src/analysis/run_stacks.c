/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "analysis/run_stacks.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/memory.h"

/* What a frame is to the reader. */
enum part {
    PART_HIDDEN,  /* the tracer, the runtime */
    PART_STD,     /* alloc, core, std */
    PART_LIBRARY, /* other crates, and code of which nothing is known */
    PART_OWN,
};

/* A future's poll has the file of the crate that wrote it: cargo keeps others' in its own folders. */
static bool is_elsewhere(const char *file)
{
    return !*file || strstr(file, "/.cargo/") || strstr(file, "/registry/src/") ||
           strstr(file, "/git/checkouts/") || strstr(file, "/rustc/") ||
           strstr(file, "/rustlib/src/") || strstr(file, "/vendor/");
}

static bool frame_is_own(const struct run *run, const struct run_frame *frame)
{
    return frame->kind == RUN_FRAME_USER ||
           (frame->kind == RUN_FRAME_POLL && !is_elsewhere(run_string(run, frame->file)));
}

static enum part find_part(const struct run *run, const struct run_frame *frame)
{
    switch (frame->kind) {
    case RUN_FRAME_STD:
        return PART_STD;
    case RUN_FRAME_RUNTIME:
    case RUN_FRAME_TRACER:
        return PART_HIDDEN;
    default:
        return frame_is_own(run, frame) ? PART_OWN : PART_LIBRARY;
    }
}

void run_code_init(struct run_code *code, const struct run *run)
{
    size_t nr;
    const struct run_frame *frames = run_frames(run, &nr);
    *code = (struct run_code){.run = run,
                              .parts = memory_alloc(nr + 1),
                              .names = memory_alloc((nr + 1) * sizeof(*code->names))};
    for (size_t i = 0; i < nr; i++) {
        code->parts[i] = (uint8_t)find_part(run, &frames[i]);
        code->names[i] = hash_str(run_string(run, frames[i].function), 0);
    }
}

void run_code_deinit(struct run_code *code)
{
    free(code->parts);
    free(code->names);
}

static enum part part_of(const struct run_code *code, uint32_t frame_id)
{
    return frame_id ? (enum part)code->parts[frame_id - 1] : PART_LIBRARY;
}

/* --- walking: innermost first ---------------------------------------------------------------- */

struct walk {
    const struct run *run;
    uint32_t node;
    uint32_t at; /* the next frame of its place */
};

static bool next_frame(struct walk *walk, struct run_stack_frame *frame)
{
    if (!walk->node)
        return false;
    const struct run_node *node = &run_nodes(walk->run, NULL)[walk->node - 1];
    const struct run_place *place =
        node->place ? &run_places(walk->run, NULL)[node->place - 1] : NULL;
    const uint32_t nr_frames = place ? place->nr_frames : 0;
    *frame = (struct run_stack_frame){
        .place = node->place,
        .frame = walk->at < nr_frames ? place->first_frame + walk->at : 0,
    };
    if (++walk->at >= nr_frames) {
        walk->node = node->parent;
        walk->at = 0;
    }
    return true;
}

/* A call of itself, or a closure inside: the same name again. */
static bool is_same(const struct run_code *code, const struct run_stack_frame *a,
                    const struct run_stack_frame *b)
{
    if (!a->frame || !b->frame)
        return a->place == b->place && a->frame == b->frame;
    return code->names[a->frame - 1] == code->names[b->frame - 1];
}

/* --- showing --------------------------------------------------------------------------------- */

/* Shown frames are collected innermost first. */
struct fold {
    const struct run_code *code;
    struct run_stack *stack;
    uint32_t nr_library; /* how many of the last kept ones are of other crates, in a row */
    bool is_inner;       /* no frame of the user's own was seen yet */
};

static bool keep(struct fold *fold, const struct run_stack_frame *frame)
{
    struct run_stack *stack = fold->stack;
    struct run_stack_frame *last = stack->nr_shown ? &stack->shown[stack->nr_shown - 1] : NULL;
    if (last && is_same(fold->code, last, frame))
        return false;
    if (stack->nr_shown == RUN_STACK_SHOWN) { /* the outermost stays to be replaced */
        *last = *frame;
        stack->shown[stack->nr_shown - 2].gap_before = true;
        return true;
    }
    stack->shown[stack->nr_shown++] = *frame;
    return true;
}

/* The first called of a row replaces what is kept of it, but for the innermost of all. */
static void keep_library(struct fold *fold, const struct run_stack_frame *frame)
{
    struct run_stack *stack = fold->stack;
    const uint32_t nr_kept = fold->is_inner ? 2 : 1;
    if (fold->nr_library < nr_kept) {
        fold->nr_library += keep(fold, frame);
        return;
    }
    stack->shown[stack->nr_shown - 1] = *frame;
    if (stack->nr_shown > 1)
        stack->shown[stack->nr_shown - 2].gap_before = true;
}

static void reverse(struct run_stack *stack)
{
    for (uint32_t i = 0, j = stack->nr_shown; i + 1 < j; i++) {
        struct run_stack_frame frame = stack->shown[i];
        stack->shown[i] = stack->shown[--j];
        stack->shown[j] = frame;
    }
}

/* True when the walk may end: nothing more is wanted. */
static bool note_ends(struct run_stack *stack, enum part part, const struct run_stack_frame *frame)
{
    if (!stack->outside.place && (part == PART_LIBRARY || part == PART_OWN))
        stack->outside = *frame;
    if (!stack->own.place && part == PART_OWN)
        stack->own = *frame;
    return stack->own.place;
}

void run_stack_ends(const struct run_code *code, uint32_t node, struct run_stack *stack)
{
    struct walk walk = {.run = code->run, .node = node};
    stack->nr_shown = 0;
    stack->own = stack->outside = (struct run_stack_frame){0};
    for (struct run_stack_frame frame; next_frame(&walk, &frame);)
        if (note_ends(stack, part_of(code, frame.frame), &frame))
            return;
}

void run_stack_fold(const struct run_code *code, uint32_t node, struct run_stack *stack)
{
    struct walk walk = {.run = code->run, .node = node};
    struct fold fold = {.code = code, .stack = stack, .is_inner = true};
    stack->nr_shown = 0;
    stack->own = stack->outside = (struct run_stack_frame){0};
    for (struct run_stack_frame frame; next_frame(&walk, &frame);) {
        const enum part part = part_of(code, frame.frame);
        note_ends(stack, part, &frame);
        if (part == PART_LIBRARY) {
            keep_library(&fold, &frame);
        } else if (part == PART_OWN) {
            keep(&fold, &frame);
            fold.nr_library = 0;
            fold.is_inner = false;
        }
    }
    reverse(stack);
}
