/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Stacks made by hand: the memory of one is written cell by cell, for functions of known frames, and what
 * stack_site says must be the frames that were written.  From one stack to the next little changes: a frame
 * in the middle, the value of a saved rbp that matters or does not, the inner part.  Real programs hardly ever
 * show these differences (tests/tracer compares with real ones).
 */
#include "unit.h"

#include <sys/mman.h>

#include "../tracer/stack_region.h"
#include "tracer/stack_part.h"

/* Functions of 64 bytes that never run; their frames are what the directives say. */
#define BODY ".skip 64, 0x90\n.cfi_endproc\n"
__asm__(".text\n.p2align 6\n"
        "subject_plain:\n.cfi_startproc\n.cfi_def_cfa_offset 48\n" BODY
        "subject_small:\n.cfi_startproc\n.cfi_def_cfa_offset 32\n" BODY
        /* rbp as any other register that is saved */
        "subject_saves:\n.cfi_startproc\n.cfi_def_cfa_offset 48\n.cfi_offset rbp, -24\n" BODY
        "subject_pointer:\n.cfi_startproc\n.cfi_def_cfa rbp, 16\n.cfi_offset rbp, -16\n" BODY
        /* CFA = *(rbp - 8), the caller's rbp at rbp: as gcc aligns a stack */
        "subject_aligned:\n.cfi_startproc\n.cfi_escape 0x0f, 3, 0x76, 0x78, 0x06\n"
        ".cfi_escape 0x10, 6, 2, 0x76, 0\n" BODY
        "subject_root:\n.cfi_startproc\n.cfi_undefined rip\n" BODY);

extern const char subject_plain[], subject_small[], subject_saves[], subject_pointer[],
    subject_aligned[], subject_root[];

enum kind { PLAIN, SMALL, SAVES, POINTER, ALIGNED, NR_KINDS, ROOT = NR_KINDS };
enum { STACK_BYTES = 1 << 20, MAX_DEPTH = 60, CALLS = 3 };

struct frame {
    enum kind kind;
    unsigned call;   /* which of its return addresses */
    uint64_t unused; /* rbp where no function depends on it */
    uint64_t extra;  /* bytes: of POINTER below rbp, of ALIGNED above it */
};

/* frames[0] is the root. */
struct stack {
    uint8_t *memory;
    struct frame frames[MAX_DEPTH];
    unsigned depth;
    uint64_t random;
    struct trace_thread *thread;
    struct region_header *region;
};

static uint64_t pc_of(const struct frame *frame)
{
    static const char *const subjects[] = {subject_plain,   subject_small,   subject_saves,
                                           subject_pointer, subject_aligned, subject_root};
    return (uint64_t)subjects[frame->kind] + 8 + frame->call;
}

static void put(uint64_t addr, uint64_t value)
{
    *(uint64_t *)addr = value;
}

/*
 * One frame, called from one whose state is *state: its cells, and its state to *state.  `needs_rbp`: some function
 * further out depends on the rbp that it is to find.
 */
static void write_frame(const struct frame *frame, struct stack_start *state, bool *needs_rbp)
{
    uint64_t cfa = state->sp;
    uint64_t caller_rbp = *needs_rbp ? state->rbp : frame->unused;
    put(cfa - 8, state->pc);
    state->pc = pc_of(frame);
    switch (frame->kind) {
    case PLAIN:
    case SMALL:
        state->sp = cfa - (frame->kind == PLAIN ? 48 : 32);
        state->rbp = caller_rbp;
        return;
    case SAVES:
        put(cfa - 24, caller_rbp);
        state->sp = cfa - 48;
        state->rbp = frame->unused ^ 8;
        *needs_rbp = false;
        return;
    case POINTER:
        put(cfa - 16, caller_rbp);
        state->rbp = cfa - 16;
        break;
    default:
        state->rbp = cfa - 24 - frame->extra;
        put(state->rbp, caller_rbp);
        put(state->rbp - 8, cfa);
        break;
    }
    state->sp = cfa - 48 - frame->extra;
    *needs_rbp = true;
}

static struct stack_start write_stack(struct stack *stack)
{
    bool needs_rbp = false;
    struct stack_start state = {pc_of(&stack->frames[0]),
                                (uint64_t)stack->memory + STACK_BYTES - 64,
                                stack->frames[0].unused};
    for (unsigned i = 1; i < stack->depth; i++)
        write_frame(&stack->frames[i], &state, &needs_rbp);
    return state;
}

static void check(struct stack *stack)
{
    const struct region_node *found[MAX_DEPTH];
    struct stack_start start = write_stack(stack);
    uint32_t site = stack_site(stack->thread, &start);
    assert_int_equal(stack_region_frames(site, found, MAX_DEPTH), stack->depth);
    for (unsigned i = 0; i < stack->depth; i++)
        assert_int_equal(found[i]->pc, pc_of(&stack->frames[stack->depth - 1 - i]));
}

static struct frame random_frame(struct stack *stack)
{
    return (struct frame){(enum kind)random_below(&stack->random, NR_KINDS),
                          (unsigned)random_below(&stack->random, CALLS),
                          16 * random_below(&stack->random, 3), 0};
}

/* Two frames share their bytes in another way: what is inside of them stays where it is. */
static void share_otherwise(struct stack *stack, unsigned at)
{
    struct frame *frame = &stack->frames[at], *caller = &stack->frames[at - 1];
    if (at < 2)
        return;
    if (frame->kind != POINTER && frame->kind != ALIGNED)
        frame->kind = POINTER + (enum kind)random_below(&stack->random, 2);
    frame->extra ^= 16;
    *caller = (struct frame){.kind = frame->extra ? SMALL : PLAIN, .unused = caller->unused};
}

/* A little other stack. */
static void change(struct stack *stack)
{
    unsigned at = 1 + (unsigned)random_below(&stack->random, stack->depth - 1);
    switch (random_below(&stack->random, 7)) {
    case 0: /* a new inner part */
        stack->depth = at + 1 + (unsigned)random_below(&stack->random, MAX_DEPTH - at);
        if (stack->depth > MAX_DEPTH)
            stack->depth = MAX_DEPTH;
        for (unsigned i = at; i < stack->depth; i++)
            stack->frames[i] = random_frame(stack);
        return;
    case 1:
        stack->frames[at].unused ^= 16;
        return;
    case 2:
        stack->frames[at].call = (unsigned)random_below(&stack->random, CALLS);
        return;
    case 3: /* of the same size: all inside of it stays where it is */
        stack->frames[at].kind = stack->frames[at].kind == SAVES ? PLAIN : SAVES;
        return;
    case 4: /* rbp matters, or no longer */
        stack->frames[at].kind = stack->frames[at].kind == POINTER ? PLAIN : POINTER;
        return;
    case 5:
        share_otherwise(stack, at);
        return;
    default:
        stack->frames[at] = random_frame(stack);
        return;
    }
}

static void open_stack(struct stack *stack, uint64_t seed)
{
    stack->memory =
        mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(stack->memory, MAP_FAILED);
    stack->random = seed;
    stack->region = stack_region_new(1 << 22, 1 << 20, 1 << 23);
    stack->thread = stack_region_thread_new();
    stack_region_use(stack->region);
    stack->frames[0] = (struct frame){.kind = ROOT};
    stack->depth = 2;
    stack->frames[1] = random_frame(stack);
}

static void close_stack(struct stack *stack)
{
    stack_region_thread_free(stack->thread);
    stack_region_free(stack->region);
    munmap(stack->memory, STACK_BYTES);
}

static void little_changes(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct stack stack;
        open_stack(&stack, seed * 0x9e3779b97f4a7c15ULL);
        for (int i = 0; i < 5000; i++) {
            change(&stack);
            check(&stack);
        }
        assert_int_equal(stack.region->lost[LOST_STACK_BROKEN], 0);
        close_stack(&stack);
    }
}

enum { NR_PLACES = 6, OUTER = 30, INNER = 6 };

/* Stacks that share their outer frames, as those of the places in a loop that allocate. */
static void make_places(struct stack *stack, struct frame places[NR_PLACES][MAX_DEPTH],
                        unsigned depths[NR_PLACES])
{
    for (unsigned i = 1; i < OUTER; i++)
        places[0][i] = random_frame(stack);
    places[0][0] = stack->frames[0];
    for (unsigned place = 0; place < NR_PLACES; place++) {
        memcpy(places[place], places[0], OUTER * sizeof(**places));
        depths[place] = OUTER + 1 + (unsigned)random_below(&stack->random, INNER);
        for (unsigned i = OUTER; i < depths[place]; i++)
            places[place][i] = random_frame(stack);
    }
}

static void visit(struct stack *stack, struct frame *place, unsigned depth)
{
    memcpy(stack->frames, place, MAX_DEPTH * sizeof(*place));
    stack->depth = depth;
    check(stack);
}

/* One place changes, or what all share does. */
static void change_places(struct stack *stack, struct frame places[NR_PLACES][MAX_DEPTH],
                          unsigned depths[NR_PLACES])
{
    unsigned chosen = (unsigned)random_below(&stack->random, NR_PLACES);
    memcpy(stack->frames, places[chosen], sizeof(places[chosen]));
    stack->depth = depths[chosen];
    change(stack);
    memcpy(places[chosen], stack->frames, sizeof(places[chosen]));
    depths[chosen] = stack->depth;
    if (random_below(&stack->random, 2))
        for (unsigned place = 0; place < NR_PLACES; place++)
            memcpy(places[place], stack->frames,
                   (stack->depth < OUTER ? stack->depth : OUTER) * sizeof(**places));
}

static void same_places_again(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct stack stack;
        struct frame places[NR_PLACES][MAX_DEPTH] = {0};
        unsigned depths[NR_PLACES];
        open_stack(&stack, seed * 0xd6e8feb86659fd93ULL);
        make_places(&stack, places, depths);
        for (int round = 0; round < 400; round++) {
            for (unsigned place = 0; place < NR_PLACES; place++)
                visit(&stack, places[place], depths[place]);
            if (random_below(&stack.random, 4) == 0)
                change_places(&stack, places, depths);
        }
        assert_int_equal(stack.region->lost[LOST_STACK_BROKEN], 0);
        close_stack(&stack);
    }
}

/* In the fourth round at the latest they are known from their paths. */
static void places_are_known(void **state)
{
    (void)state;
    struct stack stack;
    struct frame places[NR_PLACES][MAX_DEPTH] = {0};
    unsigned depths[NR_PLACES];
    open_stack(&stack, 11);
    make_places(&stack, places, depths);
    for (unsigned place = 0; place < NR_PLACES; place++)
        for (unsigned i = OUTER; i < depths[place]; i++)
            places[place][i] = (struct frame){.kind = PLAIN, .call = place % CALLS};
    for (int round = 0; round < 8; round++)
        for (unsigned place = 0; place < NR_PLACES; place++) {
            uint32_t tries = stack.thread->stack->path_tries, hits = stack.thread->stack->path_hits;
            visit(&stack, places[place], depths[place]);
            if (round >= 4)
                assert_int_equal(stack.thread->stack->path_hits - hits,
                                 stack.thread->stack->path_tries - tries);
        }
    assert_true(stack.thread->stack->path_hits >= 4);
    close_stack(&stack);
}

/* The same site for the same stack, another for another, whatever lay between. */
static void sites_are_stacks(void **state)
{
    (void)state;
    struct stack stack;
    open_stack(&stack, 7);
    stack.depth = 20;
    for (unsigned i = 1; i < stack.depth; i++)
        stack.frames[i] = (struct frame){.kind = i % NR_KINDS};
    struct stack_start start = write_stack(&stack);
    uint32_t first = stack_site(stack.thread, &start);
    assert_int_not_equal(first, 0);
    stack.frames[10].call = 1;
    start = write_stack(&stack);
    uint32_t second = stack_site(stack.thread, &start);
    assert_int_not_equal(second, 0);
    assert_int_not_equal(second, first);
    stack.frames[10].call = 0;
    start = write_stack(&stack);
    assert_int_equal(stack_site(stack.thread, &start), first);
    struct trace_thread *other = stack_region_thread_new();
    assert_int_equal(stack_site(other, &start), first);
    stack_region_thread_free(other);
    close_stack(&stack);
}

/* A stack that leads out of its memory ends there, and is counted. */
static void ends_where_memory_does(void **state)
{
    (void)state;
    struct stack stack;
    open_stack(&stack, 9);
    stack.depth = 30;
    for (unsigned i = 1; i < stack.depth; i++)
        stack.frames[i] = (struct frame){.kind = PLAIN};
    struct stack_start start = write_stack(&stack);
    assert_int_equal(munmap(stack.memory + STACK_BYTES / 2, STACK_BYTES / 2), 0);
    uint64_t half = (uint64_t)stack.memory + STACK_BYTES / 2;
    struct frame plain = {.kind = PLAIN};
    start.sp = half - 48 * 4;
    start.pc = pc_of(&plain);
    for (uint64_t at = start.sp + 40; at < half; at += 48)
        put(at, pc_of(&plain));
    const struct region_node *found[MAX_DEPTH];
    for (int i = 0; i < 3; i++) {
        assert_int_equal(stack_region_frames(stack_site(stack.thread, &start), found, MAX_DEPTH),
                         5);
        assert_int_equal(stack.region->lost[LOST_STACK_BROKEN], i + 1);
    }
    close_stack(&stack);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(little_changes),         cmocka_unit_test(same_places_again),
        cmocka_unit_test(places_are_known),       cmocka_unit_test(sites_are_stacks),
        cmocka_unit_test(ends_where_memory_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
