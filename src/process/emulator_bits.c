/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Shifts, rotations and single bits.  What the processor leaves undefined is marked in flags.unknown;
 * a shift by no bits changes no flag.
 */
#include <Zydis/Zydis.h>

#include "process/emulator_access.h"

#define FORM(form) (1u << FORM_##form)

enum { ALL_FLAGS = FLAG_C | FLAG_P | FLAG_Z | FLAG_S | FLAG_O };

/* --- reading and writing the first operand ----------------------------------------------------- */

static bool is_memory_first(const struct op *op)
{
    return op->form == FORM_M || op->form == FORM_MR || op->form == FORM_MI ||
           op->form == FORM_MRR || op->form == FORM_MRI;
}

static bool first_get(struct machine *machine, const struct op *op, uint64_t addr, uint64_t *value)
{
    if (is_memory_first(op))
        return memory_prepare_write(machine, addr, op->size) &&
               load(machine, addr, op->size, value);
    *value = register_get(machine, op->r[0], op->shift);
    return true;
}

static bool first_set(struct machine *machine, const struct op *op, uint64_t addr, uint64_t before,
                      uint64_t after)
{
    if (!is_memory_first(op)) {
        register_set(machine, op->r[0], op->size, after);
        return true;
    }
    if (!store(machine, addr, op->size, after))
        return false;
    tell_change(machine, op, addr, before, after);
    return true;
}

/* --- shifts and rotations ------------------------------------------------------------------------ */

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

/* --- single bits ----------------------------------------------------------------------------------- */

enum bit_test { BIT_TEST, BIT_SET, BIT_RESET, BIT_COMPLEMENT };

/* With a register as its index, bt and its like reach memory beside the operand. */
static struct op *bit_test(struct machine *machine, struct op *op)
{
    unsigned bits = op->size * 8u;
    uint64_t index = op->immediate, addr = op_address(machine, op), value;
    if (op->form == FORM_RR || op->form == FORM_MR)
        index = register_get(machine, op->r[op->form == FORM_RR], op->shift);
    if (op->form == FORM_MR) {
        int64_t extended = (int64_t)(index << op->shift) >> op->shift;
        addr += (uint64_t)(extended >> __builtin_ctz(bits)) * op->size;
    }
    if (op->aux != BIT_TEST || !is_memory_first(op)) {
        if (!first_get(machine, op, addr, &value))
            return NULL;
    } else if (!load(machine, addr, op->size, &value)) {
        return NULL;
    }
    uint64_t bit = (uint64_t)1 << index % bits, after = value;
    after = op->aux == BIT_SET ? value | bit : op->aux == BIT_RESET ? value & ~bit : value ^ bit;
    if (op->aux != BIT_TEST && !first_set(machine, op, addr, value, after))
        return NULL;
    machine->flags.carry = (value & bit) != 0;
    machine->flags.unknown &= (uint8_t)~FLAG_C;
    machine->flags.unknown |= FLAG_O | FLAG_S | FLAG_P;
    return op + 1;
}

/* The last operand, a register or memory. */
static bool source_get(struct machine *machine, const struct op *op, uint64_t *value)
{
    if (op->form == FORM_RM || op->form == FORM_RRM)
        return load(machine, op_address(machine, op), op->size, value);
    *value = register_get(machine, op->r[op->form == FORM_RRR ? 2 : 1], op->shift);
    return true;
}

enum bit_count { COUNT_TRAILING, COUNT_LEADING, COUNT_ONES };

static struct op *bit_count(struct machine *machine, struct op *op)
{
    unsigned bits = op->size * 8u;
    uint64_t value, result;
    if (!source_get(machine, op, &value))
        return NULL;
    if (op->aux == COUNT_ONES)
        result = (uint64_t)__builtin_popcountll(value);
    else if (value == 0)
        result = bits;
    else if (op->aux == COUNT_TRAILING)
        result = (uint64_t)__builtin_ctzll(value);
    else
        result = (uint64_t)__builtin_clzll(value << op->shift);
    register_set(machine, op->r[0], op->size, result);
    if (op->aux == COUNT_ONES) {
        machine->flags = (struct flags){.zero = value, .parity = 1};
        return op + 1;
    }
    machine->flags = (struct flags){.zero = result, .carry = value == 0};
    machine->flags.unknown = FLAG_O | FLAG_S | FLAG_P;
    return op + 1;
}

/* bsf, bsr: of 0 the destination stays, as all processors do it. */
static struct op *bit_scan(struct machine *machine, struct op *op)
{
    uint64_t value;
    if (!source_get(machine, op, &value))
        return NULL;
    if (value)
        register_set(machine, op->r[0], op->size,
                     op->aux ? 63 - (uint64_t)__builtin_clzll(value)
                             : (uint64_t)__builtin_ctzll(value));
    machine->flags.zero = value;
    machine->flags.unknown = ALL_FLAGS & ~FLAG_Z;
    return op + 1;
}

/* --- BMI ------------------------------------------------------------------------------------------- */

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

enum bit_trick { TRICK_ANDN, TRICK_BLSI, TRICK_BLSR, TRICK_BLSMSK, TRICK_PDEP, TRICK_PEXT };

static uint64_t deposit(uint64_t value, uint64_t mask)
{
    uint64_t result = 0;
    for (; mask; mask &= mask - 1, value >>= 1)
        if (value & 1)
            result |= mask & -mask;
    return result;
}

static uint64_t extract(uint64_t value, uint64_t mask)
{
    uint64_t result = 0;
    for (unsigned at = 0; mask; mask &= mask - 1, at++)
        if (value & mask & -mask)
            result |= (uint64_t)1 << at;
    return result;
}

static void flags_trick(struct machine *machine, const struct op *op, uint64_t result, bool carry)
{
    flags_logic(&machine->flags, result << op->shift, op->shift);
    machine->flags.carry = carry;
    machine->flags.unknown = FLAG_P;
}

static struct op *bit_trick(struct machine *machine, struct op *op)
{
    uint64_t value, result, mask = ~(uint64_t)0 >> op->shift;
    if (!source_get(machine, op, &value))
        return NULL;
    uint64_t first = register_get(machine, op->r[1], op->shift);
    switch (op->aux) {
    case TRICK_ANDN:
        result = ~first & value;
        break;
    case TRICK_BLSI:
        result = value & -value;
        break;
    case TRICK_BLSR:
        result = value & (value - 1);
        break;
    case TRICK_BLSMSK:
        result = (value ^ (value - 1)) & mask;
        break;
    case TRICK_PDEP:
        result = deposit(first, value);
        break;
    default:
        result = extract(first, value);
        break;
    }
    register_set(machine, op->r[0], op->size, result);
    if (op->aux < TRICK_PDEP) {
        bool carry = op->aux == TRICK_BLSI ? value != 0 : value == 0;
        flags_trick(machine, op, result, op->aux != TRICK_ANDN && carry);
    }
    return op + 1;
}

/* bextr and bzhi (aux 1): what is kept is told by the last operand. */
static struct op *bit_field(struct machine *machine, struct op *op)
{
    uint64_t value, bits = op->size * 8u;
    if (op->form == FORM_RMR) {
        if (!load(machine, op_address(machine, op), op->size, &value))
            return NULL;
    } else {
        value = register_get(machine, op->r[1], op->shift);
    }
    uint64_t control = register_raw(machine, op->r[op->form == FORM_RMR ? 1 : 2]);
    uint64_t from = op->aux ? 0 : control & 255,
             length = op->aux ? control & 255 : control >> 8 & 255;
    uint64_t result = from < bits ? value >> from : 0;
    if (length < 64)
        result &= ((uint64_t)1 << length) - 1;
    register_set(machine, op->r[0], op->size, result);
    flags_trick(machine, op, result, op->aux && length >= bits);
    if (!op->aux)
        machine->flags.unknown = ALL_FLAGS & ~FLAG_Z;
    return op + 1;
}

/* --- table ----------------------------------------------------------------------------------------- */

#define TURN_FORMS (FORM(RI) | FORM(RR) | FORM(MI) | FORM(MR))
#define DOUBLE_FORMS (FORM(RRI) | FORM(RRR) | FORM(MRI) | FORM(MRR))
#define SOURCE_FORMS (FORM(RR) | FORM(RM))

const struct op_rule bit_rules[] = {
    {.mnemonic = ZYDIS_MNEMONIC_SHL, .forms = TURN_FORMS, .run = turn, .aux = TURN_SHL},
    {.mnemonic = ZYDIS_MNEMONIC_SHR, .forms = TURN_FORMS, .run = turn, .aux = TURN_SHR},
    {.mnemonic = ZYDIS_MNEMONIC_SAR, .forms = TURN_FORMS, .run = turn, .aux = TURN_SAR},
    {.mnemonic = ZYDIS_MNEMONIC_ROL, .forms = TURN_FORMS, .run = turn, .aux = TURN_ROL},
    {.mnemonic = ZYDIS_MNEMONIC_ROR, .forms = TURN_FORMS, .run = turn, .aux = TURN_ROR},
    {.mnemonic = ZYDIS_MNEMONIC_RCL, .forms = TURN_FORMS, .run = turn, .aux = TURN_RCL},
    {.mnemonic = ZYDIS_MNEMONIC_RCR, .forms = TURN_FORMS, .run = turn, .aux = TURN_RCR},
    {.mnemonic = ZYDIS_MNEMONIC_SHLD, .forms = DOUBLE_FORMS, .run = turn_double, .aux = TURN_SHL},
    {.mnemonic = ZYDIS_MNEMONIC_SHRD, .forms = DOUBLE_FORMS, .run = turn_double, .aux = TURN_SHR},
    {.mnemonic = ZYDIS_MNEMONIC_BT, .forms = TURN_FORMS, .run = bit_test, .aux = BIT_TEST},
    {.mnemonic = ZYDIS_MNEMONIC_BTS, .forms = TURN_FORMS, .run = bit_test, .aux = BIT_SET},
    {.mnemonic = ZYDIS_MNEMONIC_BTR, .forms = TURN_FORMS, .run = bit_test, .aux = BIT_RESET},
    {.mnemonic = ZYDIS_MNEMONIC_BTC, .forms = TURN_FORMS, .run = bit_test, .aux = BIT_COMPLEMENT},
    {.mnemonic = ZYDIS_MNEMONIC_BSF, .forms = SOURCE_FORMS, .run = bit_scan, .aux = 0},
    {.mnemonic = ZYDIS_MNEMONIC_BSR, .forms = SOURCE_FORMS, .run = bit_scan, .aux = 1},
    {.mnemonic = ZYDIS_MNEMONIC_TZCNT,
     .forms = SOURCE_FORMS,
     .run = bit_count,
     .aux = COUNT_TRAILING},
    {.mnemonic = ZYDIS_MNEMONIC_LZCNT,
     .forms = SOURCE_FORMS,
     .run = bit_count,
     .aux = COUNT_LEADING},
    {.mnemonic = ZYDIS_MNEMONIC_POPCNT, .forms = SOURCE_FORMS, .run = bit_count, .aux = COUNT_ONES},
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
    {.mnemonic = ZYDIS_MNEMONIC_ANDN,
     .forms = FORM(RRR) | FORM(RRM),
     .run = bit_trick,
     .aux = TRICK_ANDN},
    {.mnemonic = ZYDIS_MNEMONIC_BLSI, .forms = SOURCE_FORMS, .run = bit_trick, .aux = TRICK_BLSI},
    {.mnemonic = ZYDIS_MNEMONIC_BLSR, .forms = SOURCE_FORMS, .run = bit_trick, .aux = TRICK_BLSR},
    {.mnemonic = ZYDIS_MNEMONIC_BLSMSK,
     .forms = SOURCE_FORMS,
     .run = bit_trick,
     .aux = TRICK_BLSMSK},
    {.mnemonic = ZYDIS_MNEMONIC_PDEP,
     .forms = FORM(RRR) | FORM(RRM),
     .run = bit_trick,
     .aux = TRICK_PDEP},
    {.mnemonic = ZYDIS_MNEMONIC_PEXT,
     .forms = FORM(RRR) | FORM(RRM),
     .run = bit_trick,
     .aux = TRICK_PEXT},
    {.mnemonic = ZYDIS_MNEMONIC_BEXTR, .forms = FORM(RRR) | FORM(RMR), .run = bit_field, .aux = 0},
    {.mnemonic = ZYDIS_MNEMONIC_BZHI, .forms = FORM(RRR) | FORM(RMR), .run = bit_field, .aux = 1},
    {0},
};
