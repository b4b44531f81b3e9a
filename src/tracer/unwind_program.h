/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the call frame instructions of a function say of one pc: where the caller's frame address and
 * registers are.  The instructions are untrusted; what they ask for that has no place here fails.
 */
#pragma once

#include "tracer/unwind_table.h"

/* Where the caller's value of a register is. */
enum unwind_how {
    UNWIND_SAME, /* where nothing is said */
    UNWIND_UNDEFINED,
    UNWIND_AT_CFA,    /* in memory, at CFA + value */
    UNWIND_CFA_PLUS,  /* CFA + value itself */
    UNWIND_IN,        /* in register `value` */
    UNWIND_AT,        /* in memory, where the expression says */
    UNWIND_EXPRESSION /* what the expression says */
};

struct unwind_place {
    union {
        int64_t value;
        const uint8_t *expression;
    };
    uint32_t expression_bytes;
    uint32_t how; /* enum unwind_how */
};

struct unwind_row {
    struct unwind_place cfa; /* UNWIND_IN: register `cfa_register` + value; or UNWIND_EXPRESSION */
    uint64_t cfa_register;
    struct unwind_place registers[UNWIND_REGISTERS];
};

/* Room for it: not on the program's stack. */
struct unwind_scratch {
    struct unwind_tables tables;
    struct unwind_entry entry;
    struct unwind_row row;
    struct unwind_row first; /* as the CIE has it */
    struct unwind_row remembered[4];
};

/* The row in effect at pc, which `entry` covers. */
bool unwind_row_at(const struct unwind_entry *entry, uint64_t pc, struct unwind_scratch *scratch,
                   struct unwind_row *row);
