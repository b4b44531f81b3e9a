/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What one step of an unwind does at one pc, in 12 bytes: made from .eh_frame when a pc is first met,
 * kept in tracer/unwind_cache.h.  A state is (pc, sp, rbp); other registers are not followed, so
 * what needs them has no rule here (UNWIND_OTHER).
 *
 * One step reads: the cell of the return address; that of the caller's rbp, where it was saved; and that of the
 * CFA (the sp in the caller), where it is in memory: functions that align their stack, signal frames.
 */
#pragma once

#include "tracer/unwind_program.h"

enum unwind_kind {
    UNWIND_UNKNOWN, /* of no rule: zeroed memory */
    UNWIND_COMMON, /* UNWIND_STEP from sp or rbp, the return address at CFA - 8, rbp saved below it or not at
                    * all (then rbp_offset is -8) */
    UNWIND_STEP,
    UNWIND_ROOT,   /* nobody called this function: its return address is undefined */
    UNWIND_GUESS,  /* no unwind table: it may keep a frame pointer */
    UNWIND_OTHER,  /* a table that needs more than pc, sp and rbp */
    UNWIND_BROKEN, /* a table that cannot be read */
};

/* What a rule's offsets count from. */
enum unwind_base {
    UNWIND_FROM_NOTHING, /* of rbp: it is what it was */
    UNWIND_FROM_SP,
    UNWIND_FROM_RBP,
    UNWIND_FROM_CFA,
    UNWIND_FROM_SP_CELL, /* of the CFA: its value is in memory */
    UNWIND_FROM_RBP_CELL,
};

struct unwind_rule {
    int32_t cfa_offset;
    int16_t return_offset;
    int16_t rbp_offset;
    uint8_t kind;      /* enum unwind_kind */
    uint8_t cfa_base;  /* enum unwind_base */
    uint8_t bases;     /* of the return address; of rbp << 4 */
    uint8_t is_signal; /* the caller was interrupted at its pc */
};

static inline unsigned unwind_return_base(const struct unwind_rule *rule)
{
    return rule->bases & 15;
}

static inline unsigned unwind_rbp_base(const struct unwind_rule *rule)
{
    return rule->bases >> 4;
}

/* Does the step depend on rbp? */
static inline bool unwind_uses_rbp(const struct unwind_rule *rule)
{
    return rule->kind == UNWIND_GUESS || rule->cfa_base == UNWIND_FROM_RBP ||
           rule->cfa_base == UNWIND_FROM_RBP_CELL || unwind_rbp_base(rule) == UNWIND_FROM_RBP;
}

/*
 * The rule at pc.  `is_exact`: the pc was interrupted there; else it is a return address, and the call before it
 * counts.
 */
struct unwind_rule unwind_rule_make(const struct unwind_tables *tables, uint64_t pc, bool is_exact,
                                    struct unwind_scratch *scratch);

/* The rule of the kernel's return from a signal handler, where no table describes it. */
struct unwind_rule unwind_signal_rule(void);

/* An expression's value: base + offset, or a memory cell's content there, + `outer`. */
struct unwind_value {
    uint32_t base; /* 0: a number; else UNWIND_VALUE_REGISTER + number, or _CFA */
    bool is_in_memory;
    int64_t offset, outer;
};
enum { UNWIND_VALUE_NUMBER, UNWIND_VALUE_CFA, UNWIND_VALUE_REGISTER };

/* Without running it on a stack: false where its value is of no such form. */
bool unwind_expression(struct cursor c, bool starts_with_cfa, uint64_t pc,
                       struct unwind_value *value);
