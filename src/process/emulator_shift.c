/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Shifts and rotations.  What the processor leaves undefined is marked in flags.unknown; a shift by
 * no bits changes no flag.
 */
#include <Zydis/Zydis.h>

#include "process/emulator_first.h"

#define FORM(form) (1u << FORM_##form)

/* --- shifts and rotations --------------------------------------------------------------------- */

enum turn { TURN_SHL, TURN_SHR, TURN_SAR, TURN_ROL, TURN_ROR, TURN_RCL, TURN_RCR };

struct turned {
    uint64_t value;
    uint8_t carry, overflow; /* of one bit */
};

static struct turned shift_value(enum turn kind, uint64_t value, unsigned count, unsigned bits)
{
    uint64_t sign = value >> (bits - 1) & 1, mask = ~(uint64_t)0 >> (64 - bits), result;
    if (kind == TURN_SHL) {
        uint64_t carry = count > bits ? 0 : value >> (bits - count) & 1;
        result = count >= bits ? 0 : value << count & mask;
        return (struct turned){result, carry, (result >> (bits - 1) & 1) ^ carry};
    }
    if (kind == TURN_SHR) {
        uint64_t carry = count > bits ? 0 : value >> (count - 1) & 1;
        return (struct turned){count >= bits ? 0 : value >> count, carry, sign};
    }
    int64_t extended = (int64_t)(value << (64 - bits)) >> (64 - bits);
    unsigned most = count > 63 ? 63 : count;
    return (struct turned){(uint64_t)(extended >> most) & mask, extended >> (most - 1) & 1, 0};
}

static struct turned rotate_value(enum turn kind, uint64_t value, unsigned count, unsigned bits)
{
    uint64_t mask = ~(uint64_t)0 >> (64 - bits), result = value;
    unsigned left = (kind == TURN_ROL ? count : bits - count % bits) % bits;
    if (left)
        result = (value << left | value >> (bits - left)) & mask;
    uint64_t top = result >> (bits - 1) & 1;
    if (kind == TURN_ROL)
        return (struct turned){result, result & 1, (result & 1) ^ top};
    return (struct turned){result, top, top ^ (result >> (bits - 2) & 1)};
}

/* Through the carry, bit by bit. */
static struct turned rotate_carry(enum turn kind, uint64_t value, unsigned count, uint8_t carry)
{
    unsigned bits = count >> 8;
    uint64_t mask = ~(uint64_t)0 >> (64 - bits);
    uint8_t overflow = 0;
    for (count = (count & 255) % (bits + 1); count; count--) {
        uint8_t top = value >> (bits - 1) & 1, low = value & 1;
        if (kind == TURN_RCL) {
            value = (value << 1 | carry) & mask;
            carry = top;
            overflow = (value >> (bits - 1) & 1) ^ carry;
        } else {
            value = value >> 1 | (uint64_t)carry << (bits - 1);
            overflow = (value >> (bits - 1) & 1) ^ top;
            carry = low;
        }
    }
    return (struct turned){value, carry, overflow};
}

static struct turned turn_value(const struct machine *machine, const struct op *op, uint64_t value,
                                unsigned count)
{
    unsigned bits = op->size * 8u;
    if (op->aux <= TURN_SAR)
        return shift_value(op->aux, value, count, bits);
    if (op->aux <= TURN_ROR)
        return rotate_value(op->aux, value, count, bits);
    return rotate_carry(op->aux, value, count | bits << 8, machine->flags.carry);
}

static void flags_turn(struct machine *machine, const struct op *op, struct turned turned,
                       unsigned count)
{
    struct flags *flags = &machine->flags;
    if (op->aux <= TURN_SAR) {
        flags_set(flags, turned.value << op->shift, op->shift);
        flags->unknown = 0;
    }
    flags->unknown &= (uint8_t) ~(FLAG_C | FLAG_O);
    flags->carry = turned.carry;
    flags->overflow = turned.overflow;
    if (count != 1)
        flags->unknown |= FLAG_O;
    if (op->aux <= TURN_SHR && count > op->size * 8u)
        flags->unknown |= FLAG_C;
}

static struct op *turn(struct machine *machine, struct op *op)
{
    bool by_register = op->form == FORM_RR || op->form == FORM_MR;
    uint64_t amount = by_register ? machine->public.registers[RCX] : op->immediate;
    unsigned count = amount & (op->size == 8 ? 63 : 31);
    uint64_t addr = op_address(machine, op), value;
    bool reads_carry = op->aux >= TURN_RCL;
    if (reads_carry && count && machine->flags.unknown & FLAG_C)
        return stop(machine, EMULATOR_INSTRUCTION);
    if (!first_get(machine, op, addr, &value))
        return NULL;
    if (count == 0) {
        if (!is_memory_first(op))
            register_set(machine, op->r[0], op->size, value);
        return op + 1;
    }
    struct turned turned = turn_value(machine, op, value, count);
    if (!first_set(machine, op, addr, value, turned.value))
        return NULL;
    flags_turn(machine, op, turned, count);
    return op + 1;
}

/* shld, shrd: aux is TURN_SHL or TURN_SHR.  Bits come from the second operand. */
static struct op *turn_double(struct machine *machine, struct op *op)
{
    bool by_immediate = op->form == FORM_RRI || op->form == FORM_MRI;
    uint64_t amount = by_immediate ? op->immediate : machine->public.registers[RCX];
    unsigned count = amount & (op->size == 8 ? 63 : 31), bits = op->size * 8u;
    unsigned other_at = is_memory_first(op) ? 0 : 1;
    uint64_t addr = op_address(machine, op), value, after;
    uint64_t other = register_get(machine, op->r[other_at], op->shift);
    if (count > bits)
        return stop(machine, EMULATOR_INSTRUCTION); /* the result is undefined */
    if (!first_get(machine, op, addr, &value))
        return NULL;
    if (count == 0) {
        if (!is_memory_first(op))
            register_set(machine, op->r[0], op->size, value);
        return op + 1;
    }
    uint64_t mask = ~(uint64_t)0 >> op->shift;
    bool is_left = op->aux == TURN_SHL;
    if (count == bits)
        after = other;
    else if (is_left)
        after = (value << count | other >> (bits - count)) & mask;
    else
        after = (value >> count | other << (bits - count)) & mask;
    if (!first_set(machine, op, addr, value, after))
        return NULL;
    flags_logic(&machine->flags, after << op->shift, op->shift);
    machine->flags.carry = value >> (is_left ? bits - count : count - 1) & 1;
    machine->flags.overflow = (value ^ after) >> (bits - 1) & 1;
    machine->flags.unknown = count == 1 ? 0 : FLAG_O;
    return op + 1;
}

/* shlx, shrx, sarx, rorx: aux is the turn; no flags. */
static struct op *turn_without_flags(struct machine *machine, struct op *op)
{
    uint64_t value, result;
    if (op->form == FORM_RMR || op->form == FORM_RMI) {
        if (!load(machine, op_address(machine, op), op->size, &value))
            return NULL;
    } else {
        value = register_get(machine, op->r[1], op->shift);
    }
    uint64_t amount = op->immediate;
    if (op->aux != TURN_ROR)
        amount = register_raw(machine, op->r[op->form == FORM_RMR ? 1 : 2]);
    unsigned count = amount & (op->size * 8u - 1);
    result = value;
    if (count)
        result = op->aux == TURN_ROR ? rotate_value(TURN_ROR, value, count, op->size * 8u).value
                                     : shift_value(op->aux, value, count, op->size * 8u).value;
    register_set(machine, op->r[0], op->size, result);
    return op + 1;
}

#define TURN_FORMS (FORM(RI) | FORM(RR) | FORM(MI) | FORM(MR))
#define DOUBLE_FORMS (FORM(RRI) | FORM(RRR) | FORM(MRI) | FORM(MRR))

const struct op_rule shift_rules[] = {
    {.mnemonic = ZYDIS_MNEMONIC_SHL, .forms = TURN_FORMS, .run = turn, .aux = TURN_SHL},
    {.mnemonic = ZYDIS_MNEMONIC_SHR, .forms = TURN_FORMS, .run = turn, .aux = TURN_SHR},
    {.mnemonic = ZYDIS_MNEMONIC_SAR, .forms = TURN_FORMS, .run = turn, .aux = TURN_SAR},
    {.mnemonic = ZYDIS_MNEMONIC_ROL, .forms = TURN_FORMS, .run = turn, .aux = TURN_ROL},
    {.mnemonic = ZYDIS_MNEMONIC_ROR, .forms = TURN_FORMS, .run = turn, .aux = TURN_ROR},
    {.mnemonic = ZYDIS_MNEMONIC_RCL, .forms = TURN_FORMS, .run = turn, .aux = TURN_RCL},
    {.mnemonic = ZYDIS_MNEMONIC_RCR, .forms = TURN_FORMS, .run = turn, .aux = TURN_RCR},
    {.mnemonic = ZYDIS_MNEMONIC_SHLD, .forms = DOUBLE_FORMS, .run = turn_double, .aux = TURN_SHL},
    {.mnemonic = ZYDIS_MNEMONIC_SHRD, .forms = DOUBLE_FORMS, .run = turn_double, .aux = TURN_SHR},
    {.mnemonic = ZYDIS_MNEMONIC_SHLX,
     .forms = FORM(RRR) | FORM(RMR),
     .run = turn_without_flags,
     .aux = TURN_SHL},
    {.mnemonic = ZYDIS_MNEMONIC_SHRX,
     .forms = FORM(RRR) | FORM(RMR),
     .run = turn_without_flags,
     .aux = TURN_SHR},
    {.mnemonic = ZYDIS_MNEMONIC_SARX,
     .forms = FORM(RRR) | FORM(RMR),
     .run = turn_without_flags,
     .aux = TURN_SAR},
    {.mnemonic = ZYDIS_MNEMONIC_RORX,
     .forms = FORM(RRI) | FORM(RMI),
     .run = turn_without_flags,
     .aux = TURN_ROR},
    {0},
};
