/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * DWARF expressions of call frame information, with registers unknown and pc known.  Compilers write few of them:
 * "what is at rbp - 8" where a function aligned its stack, offsets from rsp in the frames of
 * signals, and in PLTs a sum with the low bits of pc.  All of these come out as a register, or what is in
 * memory near one, plus a number.
 */
#include "tracer/unwind_rules.h"

enum {
    OP_DEREF = 0x06,
    OP_CONST1U = 0x08,
    OP_CONST1S = 0x09,
    OP_CONST2U = 0x0a,
    OP_CONST2S = 0x0b,
    OP_CONST4U = 0x0c,
    OP_CONST4S = 0x0d,
    OP_CONST8U = 0x0e,
    OP_CONST8S = 0x0f,
    OP_CONSTU = 0x10,
    OP_CONSTS = 0x11,
    OP_DUP = 0x12,
    OP_DROP = 0x13,
    OP_OVER = 0x14,
    OP_SWAP = 0x16,
    OP_AND = 0x1a,
    OP_MINUS = 0x1c,
    OP_OR = 0x21,
    OP_PLUS = 0x22,
    OP_PLUS_UCONST = 0x23,
    OP_SHL = 0x24,
    OP_SHR = 0x25,
    OP_XOR = 0x27,
    OP_EQ = 0x29,
    OP_GE = 0x2a,
    OP_GT = 0x2b,
    OP_LE = 0x2c,
    OP_LT = 0x2d,
    OP_NE = 0x2e,
    OP_LIT0 = 0x30,
    OP_BREG0 = 0x70,
    OP_BREGX = 0x92,
    OP_NOP = 0x96,
    NR_LITERALS = 32,
    MAX_DEPTH = 4,
};

struct machine {
    struct cursor c;
    uint64_t pc;
    uint32_t depth;
    struct unwind_value stack[MAX_DEPTH];
};

static void push(struct machine *m, struct unwind_value value)
{
    if (m->depth == MAX_DEPTH)
        cursor_fail(&m->c);
    else
        m->stack[m->depth++] = value;
}

static struct unwind_value pop(struct machine *m)
{
    if (m->depth)
        return m->stack[--m->depth];
    cursor_fail(&m->c);
    return (struct unwind_value){0};
}

static void push_number(struct machine *m, uint64_t number)
{
    push(m, (struct unwind_value){.offset = (int64_t)number});
}

static bool is_number(const struct unwind_value *value)
{
    return value->base == UNWIND_VALUE_NUMBER && !value->is_in_memory;
}

static void push_register(struct machine *m, uint64_t number)
{
    int64_t offset = cursor_sleb(&m->c);
    if (number == UNWIND_RETURN)
        push_number(m, m->pc + (uint64_t)offset);
    else
        push(m, (struct unwind_value){.base = UNWIND_VALUE_REGISTER + (uint32_t)number,
                                      .offset = offset});
}

static void add(struct machine *m, struct unwind_value value, int64_t number)
{
    int64_t *to = value.is_in_memory ? &value.outer : &value.offset;
    *to = (int64_t)((uint64_t)*to + (uint64_t)number);
    push(m, value);
}

static void dereference(struct machine *m)
{
    struct unwind_value value = pop(m);
    if (value.is_in_memory || value.base == UNWIND_VALUE_NUMBER)
        cursor_fail(&m->c);
    value.is_in_memory = true;
    push(m, value);
}

static uint64_t compute(struct machine *m, uint8_t op, uint64_t a, uint64_t b)
{
    switch (op) {
    case OP_AND:
        return a & b;
    case OP_OR:
        return a | b;
    case OP_XOR:
        return a ^ b;
    case OP_SHL:
        return b < 64 ? a << b : 0;
    case OP_SHR:
        return b < 64 ? a >> b : 0;
    case OP_EQ:
        return a == b;
    case OP_NE:
        return a != b;
    case OP_GE:
        return (int64_t)a >= (int64_t)b;
    case OP_GT:
        return (int64_t)a > (int64_t)b;
    case OP_LE:
        return (int64_t)a <= (int64_t)b;
    case OP_LT:
        return (int64_t)a < (int64_t)b;
    default:
        cursor_fail(&m->c);
        return 0;
    }
}

static void binary(struct machine *m, uint8_t op)
{
    struct unwind_value b = pop(m), a = pop(m);
    if (op == OP_PLUS && is_number(&b))
        add(m, a, b.offset);
    else if (op == OP_PLUS && is_number(&a))
        add(m, b, a.offset);
    else if (op == OP_MINUS && is_number(&b))
        add(m, a, (int64_t)(0 - (uint64_t)b.offset));
    else if (is_number(&a) && is_number(&b))
        push_number(m, compute(m, op, (uint64_t)a.offset, (uint64_t)b.offset));
    else
        cursor_fail(&m->c);
}

static void constant(struct machine *m, uint8_t op)
{
    struct cursor *c = &m->c;
    static const uint8_t widths[] = {1, 1, 2, 2, 4, 4, 8, 8};
    if (op == OP_CONSTU) {
        push_number(m, cursor_uleb(c));
    } else if (op == OP_CONSTS) {
        push_number(m, (uint64_t)cursor_sleb(c));
    } else {
        unsigned width = widths[op - OP_CONST1U], shift = 64 - 8 * width;
        uint64_t value = cursor_uint(c, width);
        bool is_signed = op & 1;
        push_number(m, is_signed ? (uint64_t)((int64_t)(value << shift) >> shift) : value);
    }
}

static void shuffle(struct machine *m, uint8_t op)
{
    struct unwind_value top = pop(m);
    if (op == OP_DROP)
        return;
    if (op == OP_DUP) {
        push(m, top);
        push(m, top);
        return;
    }
    struct unwind_value below = pop(m);
    if (op == OP_OVER)
        push(m, below);
    push(m, top);
    push(m, below);
}

static void operate(struct machine *m, uint8_t op)
{
    if (op >= OP_LIT0 && op < OP_LIT0 + NR_LITERALS)
        push_number(m, op - OP_LIT0);
    else if (op >= OP_BREG0 && op < OP_BREG0 + NR_LITERALS)
        push_register(m, op - OP_BREG0);
    else if (op == OP_BREGX)
        push_register(m, cursor_uleb(&m->c) & 0xffffff);
    else if (op >= OP_CONST1U && op <= OP_CONSTS)
        constant(m, op);
    else if (op == OP_DUP || op == OP_DROP || op == OP_SWAP || op == OP_OVER)
        shuffle(m, op);
    else if (op == OP_DEREF)
        dereference(m);
    else if (op == OP_PLUS_UCONST)
        add(m, pop(m), (int64_t)cursor_uleb(&m->c));
    else if (op != OP_NOP)
        binary(m, op);
}

bool unwind_expression(struct cursor c, bool starts_with_cfa, uint64_t pc,
                       struct unwind_value *value)
{
    struct machine m = {.c = c, .pc = pc};
    if (starts_with_cfa)
        push(&m, (struct unwind_value){.base = UNWIND_VALUE_CFA});
    while (m.c.pos < m.c.end)
        operate(&m, cursor_u8(&m.c));
    *value = pop(&m);
    return !m.c.failed;
}
