/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * One step of a walk, from a frame to its caller's.  The tables' word is taken only as far as it can be
 * true: cells must be readable, and a stack may turn to lower addresses (signal stacks, code that
 * switches stacks) a few times only, so that every walk ends.
 */
#include "tracer/stack_part.h"

#include "tracer/syscalls.h"

enum { MAX_DESCENTS = 64, MAX_GUESS_BYTES = 0x4000, ADDRESS_BITS = 47 };

static inline bool may_read(struct stack_memory *memory, uintptr_t addr)
{
    const struct stack_readable *first = &memory->readable[0];
    if (addr - first->start < first->end - first->start && !(addr & 7))
        return true;
    return stack_may_read(memory, addr);
}

static bool end(struct stack_frame *frame, enum stack_end how)
{
    frame->end = (uint8_t)how;
    return false;
}

/* It depends on more than state and cells how such a stack ends: it is not to be taken as known. */
static bool end_broken(struct stack_frame *frame)
{
    frame->is_unsure = 1;
    return end(frame, STACK_ENDS_BROKEN);
}

static const uint64_t *cell(uintptr_t addr)
{
    return (const uint64_t *)addr;
}

/* The state in the caller, whose sp is `cfa`. */
static bool arrive(struct stack_memory *memory, struct stack_frame *frame, struct stack_frame *next,
                   bool was_interrupted)
{
    uint64_t pc = *frame->return_cell;
    if (next->sp <= frame->sp && ++memory->nr_descents > MAX_DESCENTS)
        return end_broken(frame);
    if (!pc) {
        frame->is_unsure |= frame->cfa_cell != NULL; /* its value is kept in the caller's frame */
        return end(frame, STACK_ENDS_AT_ROOT);
    }
    if (pc >> ADDRESS_BITS)
        return end_broken(frame);
    next->key = pc | (was_interrupted ? UNWIND_EXACT : 0);
    return true;
}

/*
 * Code without tables: if it keeps a frame pointer, that points to the caller's, and the return address is
 * behind.  A frame pointer of 0 is how the ABI marks the outermost frame.  The same test as libunwind's.
 */
static bool guess(struct stack_memory *memory, struct stack_frame *frame, struct stack_frame *next)
{
    uint64_t rbp = frame->rbp;
    if (!rbp)
        return end(frame, STACK_ENDS_AT_ROOT);
    memory->is_unsure = 1;
    frame->is_unsure = 1;
    if (rbp < frame->sp || rbp - frame->sp > MAX_GUESS_BYTES || !sys_is_readable(rbp) ||
        !sys_is_readable(rbp + 8))
        return end_broken(frame);
    frame->rbp_cell = cell(rbp);
    frame->return_cell = cell(rbp + 8);
    next->sp = rbp + 16;
    next->rbp = *frame->rbp_cell;
    return arrive(memory, frame, next, false);
}

static uintptr_t base_value(unsigned base, const struct stack_frame *frame, uintptr_t cfa)
{
    switch (base) {
    case UNWIND_FROM_SP:
    case UNWIND_FROM_SP_CELL:
        return frame->sp;
    case UNWIND_FROM_RBP:
    case UNWIND_FROM_RBP_CELL:
        return frame->rbp;
    default:
        return cfa;
    }
}

static bool follow(struct stack_memory *memory, const struct unwind_rule *rule,
                   struct stack_frame *frame, struct stack_frame *next)
{
    uintptr_t cfa = base_value(rule->cfa_base, frame, 0) + (uintptr_t)(intptr_t)rule->cfa_offset;
    if (rule->cfa_base >= UNWIND_FROM_SP_CELL) {
        if (!may_read(memory, cfa))
            return end_broken(frame);
        frame->cfa_cell = cell(cfa);
        cfa = *frame->cfa_cell;
    }
    uintptr_t at =
        base_value(unwind_return_base(rule), frame, cfa) + (uintptr_t)(intptr_t)rule->return_offset;
    if (!may_read(memory, at))
        return end_broken(frame);
    frame->return_cell = cell(at);
    next->sp = cfa;
    next->rbp = frame->rbp;
    unsigned rbp_base = unwind_rbp_base(rule);
    if (rbp_base) {
        at = base_value(rbp_base, frame, cfa) + (uintptr_t)(intptr_t)rule->rbp_offset;
        if (!may_read(memory, at))
            return end_broken(frame);
        frame->rbp_cell = cell(at);
        next->rbp = *frame->rbp_cell;
    }
    return arrive(memory, frame, next, rule->is_signal);
}

/*
 * The same for a rule of the common form, where all is as it mostly is: cells in memory that is known, a caller.
 * false: it is not.
 */
static inline bool follow_common(struct stack_memory *memory, const struct unwind_rule *rule,
                                 struct stack_frame *frame, struct stack_frame *next)
{
    const struct stack_readable *known = &memory->readable[0];
    uintptr_t cfa = (rule->cfa_base == UNWIND_FROM_RBP ? frame->rbp : frame->sp) +
                    (uintptr_t)(intptr_t)rule->cfa_offset;
    uintptr_t low = cfa + (uintptr_t)(intptr_t)rule->rbp_offset; /* the lower of the two cells */
    if ((cfa & 7) || low < known->start || low > cfa || cfa > known->end || cfa <= frame->sp)
        return false;
    uint64_t pc = *cell(cfa - 8);
    if (!pc || pc >> ADDRESS_BITS)
        return false;
    frame->return_cell = cell(cfa - 8);
    next->sp = cfa;
    next->key = pc;
    next->rbp = frame->rbp;
    if (rule->rbp_offset != -8) {
        frame->rbp_cell = cell(low);
        next->rbp = *cell(low);
    }
    return true;
}

/* What it read is not kept: the frame is walked anew each time. */
static bool follow_registers(struct stack_memory *memory, struct stack_frame *frame,
                             struct stack_frame *next)
{
    if (!stack_step_with_registers(memory, frame, next))
        return end_broken(frame);
    frame->is_unsure = 1;
    if (next->sp <= frame->sp && ++memory->nr_descents > MAX_DESCENTS)
        return end_broken(frame);
    return unwind_pc(next->key) || end(frame, STACK_ENDS_AT_ROOT);
}

bool stack_step(struct stack_memory *memory, struct stack_frame *frame, struct stack_frame *next)
{
    union unwind_code code = unwind_code_at(frame->key, memory->generation, &memory->scratch);
    frame->return_cell = frame->rbp_cell = frame->cfa_cell = NULL;
    frame->image = code.image;
    frame->uses_rbp = unwind_uses_rbp(&code.rule);
    frame->is_unsure = (uint8_t)memory->is_unsure;
    frame->end = STACK_GOES_ON;
    if (__builtin_expect(code.rule.kind == UNWIND_COMMON, 1) &&
        follow_common(memory, &code.rule, frame, next))
        return true;
    switch (code.rule.kind) {
    case UNWIND_COMMON:
    case UNWIND_STEP:
        return follow(memory, &code.rule, frame, next);
    case UNWIND_ROOT:
        return end(frame, STACK_ENDS_AT_ROOT);
    case UNWIND_OTHER:
        return follow_registers(memory, frame, next);
    case UNWIND_GUESS:
        return guess(memory, frame, next);
    default:
        return end(frame, STACK_ENDS_BROKEN);
    }
}
