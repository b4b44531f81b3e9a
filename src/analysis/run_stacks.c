/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "analysis/run_stacks.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/memory.h"
#include "base/text.h"

/* What a frame is to the reader. */
enum part {
    PART_HIDDEN,  /* the tracer, the runtime, the start of the program or thread */
    PART_STD,     /* alloc, core, std; allocators */
    PART_UNKNOWN, /* code of which nothing is known */
    PART_LIBRARY, /* other crates, system libraries */
    PART_ASYNC,   /* bodies of other crates' async functions: steps of the async program */
    PART_OWN,
};

/* --- parts ----------------------------------------------------------------------------------- */

static bool begins_one_of(const char *text, const char *const *prefixes)
{
    for (; *prefixes; prefixes++)
        if (strncmp(text, *prefixes, strlen(*prefixes)) == 0)
            return true;
    return false;
}

static bool is_start(const char *function)
{
    static const char *const prefixes[] = {"__libc_start_", "_start",  "start_thread",
                                           "clone",         "__clone", NULL};
    return begins_one_of(function, prefixes);
}

static bool is_system(const char *image)
{
    static const char *const folders[] = {"/lib/",       "/lib64/",     "/lib32/",
                                          "/usr/lib/",   "/usr/lib64/", "/usr/local/lib/",
                                          "/nix/store/", NULL};
    return begins_one_of(image, folders);
}

/* A #[global_allocator] of the program's own hands on every allocation: it is nobody's site. */
static bool is_allocator(const char *full)
{
    return strstr(full, "GlobalAlloc>::") || strstr(full, "GlobalAlloc for ");
}

/* A body of an async function has its short name, but is a closure in the linkage name. */
static bool is_async(const char *function, const char *full)
{
    const size_t length = strlen(full);
    return length && full[length - 1] == '}' &&
           (!strchr(function, '{') || strstr(function, "{async"));
}

/* The crate that a path begins with: of "<&mut a::B as c::D>::e" a. */
static uint64_t hash_crate(const char *full)
{
    size_t length = 0;
    for (bool more = true; more;) {
        more = false;
        static const char *const before[] = {"<", "&", "*", "(", "[", "mut ", "dyn "};
        for (size_t i = 0; i < sizeof(before) / sizeof(*before); i++)
            if (strncmp(full, before[i], strlen(before[i])) == 0) {
                full += strlen(before[i]);
                more = true;
            }
    }
    while (isalnum((unsigned char)full[length]) || full[length] == '_')
        length++;
    return strncmp(full + length, "::", 2) == 0 ? hash_bytes(full, length, 0) : 0;
}

static enum part find_part(const struct run *run, const struct run_frame *frame, const char *image)
{
    const char *full = run_string(run, frame->full), *function = run_string(run, frame->function);
    const bool has_file = frame->file.v != 0;
    if (frame->kind == RUN_FRAME_TRACER || frame->kind == RUN_FRAME_RUNTIME)
        return PART_HIDDEN;
    if (frame->kind == RUN_FRAME_STD || is_allocator(full) ||
        strstr(run_string(run, frame->file), "/rust/deps/")) /* what std itself is built of */
        return PART_STD;
    if (!strstr(full, "::") && is_start(function))
        return PART_HIDDEN;
    if (!*function || (!has_file && strstr(function, "+0x")) ||
        (!has_file && strncmp(function, "0x", 2) == 0))
        return PART_UNKNOWN;
    if (frame->kind == RUN_FRAME_LIBRARY || is_system(image))
        return is_async(function, full) ? PART_ASYNC : PART_LIBRARY;
    return PART_OWN;
}

size_t run_stack_name_bytes(const char *function)
{
    size_t length = strlen(function);
    while (length && function[length - 1] == '}') {
        size_t at = length;
        while (at > 2 && strncmp(function + at - 3, "::{", 3) != 0)
            at--;
        if (at <= 3)
            break; /* it is nothing else */
        length = at - 3;
    }
    return length;
}

static void find_parts(struct run_stack_parts *parts, const struct run_place *place)
{
    const struct run *run = parts->run;
    const struct run_frame *frames = run_frames(run, NULL);
    const char *image =
        place->image ? run_string(run, run_images(run, NULL)[place->image - 1].path) : "";
    for (uint32_t i = 0; i < place->nr_frames; i++) {
        const uint32_t at = place->first_frame - 1 + i;
        parts->parts[at] = (uint8_t)find_part(run, &frames[at], image);
        const char *function = run_string(run, frames[at].function);
        parts->names[at] = hash_bytes(function, run_stack_name_bytes(function), 0);
        parts->crates[at] = hash_crate(run_string(run, frames[at].full));
    }
}

void run_stack_parts_init(struct run_stack_parts *parts, const struct run *run)
{
    size_t nr, nr_places;
    const struct run_place *places = run_places(run, &nr_places);
    run_frames(run, &nr);
    *parts = (struct run_stack_parts){.run = run,
                                      .parts = memory_alloc(nr + 1),
                                      .names = memory_alloc((nr + 1) * sizeof(*parts->names)),
                                      .crates = memory_alloc((nr + 1) * sizeof(*parts->crates))};
    for (size_t i = 0; i < nr_places; i++)
        find_parts(parts, &places[i]);
}

void run_stack_parts_deinit(struct run_stack_parts *parts)
{
    free(parts->parts);
    free(parts->names);
    free(parts->crates);
}

static enum part part_of(const struct run_stack_parts *code, uint32_t frame_id)
{
    return frame_id ? (enum part)code->parts[frame_id - 1] : PART_UNKNOWN;
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

/* A call of itself, or a closure inside. */
static bool is_same(const struct run_stack_parts *code, const struct run_stack_frame *a,
                    const struct run_stack_frame *b)
{
    if (!a->frame || !b->frame)
        return a->place == b->place && a->frame == b->frame;
    return code->names[a->frame - 1] == code->names[b->frame - 1];
}

/* --- showing --------------------------------------------------------------------------------- */

/* Shown frames are collected innermost first. */
struct fold {
    const struct run_stack_parts *code;
    struct run_stack *stack;
    uint32_t nr_library; /* how many of the last kept ones are of other crates, in a row */
    bool is_inner;       /* no frame of the user's own was seen yet */
    struct run_stack_frame hidden; /* the last of the runtime's that was left out; place 0: none */
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
static void keep_library(struct fold *fold, const struct run_stack_frame *frame, enum part part)
{
    enum { INNER = 2, INNER_UNKNOWN = 4 }; /* of code without names addresses are all there is */
    struct run_stack *stack = fold->stack;
    const uint32_t nr_kept = !fold->is_inner ? 1 : part == PART_UNKNOWN ? INNER_UNKNOWN : INNER;
    if (fold->nr_library < nr_kept) {
        fold->nr_library += keep(fold, frame);
        return;
    }
    stack->shown[stack->nr_shown - 1] = *frame;
    if (stack->nr_shown > 1)
        stack->shown[stack->nr_shown - 2].gap_before = true;
}

/* What the user's own called of the runtime, where that allocated: "spawn". */
static void keep_called(struct fold *fold)
{
    if (fold->is_inner && !fold->stack->nr_shown && fold->hidden.frame &&
        run_frames(fold->code->run, NULL)[fold->hidden.frame - 1].kind == RUN_FRAME_RUNTIME)
        keep(fold, &fold->hidden);
}

/* Above the outermost frame that is known there is only how the program or thread began. */
static void drop_unknown_start(const struct run_stack_parts *code, struct run_stack *stack)
{
    uint32_t nr = stack->nr_shown;
    while (nr && part_of(code, stack->shown[nr - 1].frame) == PART_UNKNOWN)
        nr--;
    if (nr)
        stack->nr_shown = nr;
}

static void reverse(struct run_stack *stack)
{
    for (uint32_t i = 0, j = stack->nr_shown; i + 1 < j; i++) {
        struct run_stack_frame frame = stack->shown[i];
        stack->shown[i] = stack->shown[--j];
        stack->shown[j] = frame;
    }
}

static bool is_of_library(enum part part)
{
    return part == PART_LIBRARY || part == PART_ASYNC;
}

/* True when the walk may end: nothing more is wanted. */
static bool note_ends(struct run_stack *stack, enum part part, const struct run_stack_frame *frame)
{
    if (!stack->outside.place && part >= PART_UNKNOWN)
        stack->outside = *frame;
    if (!stack->own.place && part == PART_OWN)
        stack->own = *frame;
    return stack->own.place;
}

/*
 * Where nothing is the program's own, the crate that wrote the outermost function stands for it: what runs as
 * a task may be a library's future.
 */
static void find_stand_in(const struct run_stack_parts *code, uint32_t node,
                          struct run_stack *stack)
{
    struct walk walk = {.run = code->run, .node = node};
    uint64_t crate = 0;
    for (struct run_stack_frame frame; next_frame(&walk, &frame);)
        if (is_of_library(part_of(code, frame.frame)) && code->crates[frame.frame - 1])
            crate = code->crates[frame.frame - 1];
    walk = (struct walk){.run = code->run, .node = node};
    for (struct run_stack_frame frame; crate && next_frame(&walk, &frame);)
        if (is_of_library(part_of(code, frame.frame)) && code->crates[frame.frame - 1] == crate) {
            stack->own = frame;
            return;
        }
}

void run_stack_ends(const struct run_stack_parts *code, uint32_t node, struct run_stack *stack)
{
    struct walk walk = {.run = code->run, .node = node};
    stack->nr_shown = 0;
    stack->own = stack->outside = (struct run_stack_frame){0};
    for (struct run_stack_frame frame; next_frame(&walk, &frame);)
        if (note_ends(stack, part_of(code, frame.frame), &frame))
            return;
    find_stand_in(code, node, stack);
}

/* tokio's poll of a task: what is outside of it, on a runtime of one thread main, only drives it. */
static bool polls_task(const struct run *run, uint32_t frame)
{
    const char *full = run_string(run, run_frames(run, NULL)[frame - 1].full);
    return strstr(full, "runtime::task::harness::Harness") && str_ends_with(full, "::poll");
}

void run_stack_fold(const struct run_stack_parts *code, uint32_t node, struct run_stack *stack)
{
    struct walk walk = {.run = code->run, .node = node};
    struct fold fold = {.code = code, .stack = stack, .is_inner = true};
    run_stack_ends(code, node, stack);
    for (struct run_stack_frame frame; next_frame(&walk, &frame);) {
        const enum part part = part_of(code, frame.frame);
        if (part == PART_LIBRARY || part == PART_UNKNOWN) {
            keep_library(&fold, &frame, part);
        } else if (part == PART_HIDDEN) {
            fold.hidden = frame;
            if (polls_task(code->run, frame.frame))
                break;
        } else if (part == PART_OWN || part == PART_ASYNC) {
            keep_called(&fold);
            keep(&fold, &frame);
            fold.nr_library = 0;
            fold.is_inner = false;
        }
    }
    drop_unknown_start(code, stack);
    reverse(stack);
}
