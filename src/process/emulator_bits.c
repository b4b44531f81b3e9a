/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Single bits: tests, counts, scans and BMI's tricks.  What the processor leaves undefined is
 * marked in flags.unknown.
 */
#include <Zydis/Zydis.h>

#include "process/emulator_first.h"

#define FORM(form) (1u << FORM_##form)

enum { ALL_FLAGS = FLAG_C | FLAG_P | FLAG_Z | FLAG_S | FLAG_O };

/* --- single bits ------------------------------------------------------------------------------ */

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

/* --- BMI -------------------------------------------------------------------------------------- */

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

/* --- table ------------------------------------------------------------------------------------ */

#define INDEX_FORMS (FORM(RI) | FORM(RR) | FORM(MI) | FORM(MR))
#define SOURCE_FORMS (FORM(RR) | FORM(RM))

const struct op_rule bit_rules[] = {
    {.mnemonic = ZYDIS_MNEMONIC_BT, .forms = INDEX_FORMS, .run = bit_test, .aux = BIT_TEST},
    {.mnemonic = ZYDIS_MNEMONIC_BTS, .forms = INDEX_FORMS, .run = bit_test, .aux = BIT_SET},
    {.mnemonic = ZYDIS_MNEMONIC_BTR, .forms = INDEX_FORMS, .run = bit_test, .aux = BIT_RESET},
    {.mnemonic = ZYDIS_MNEMONIC_BTC, .forms = INDEX_FORMS, .run = bit_test, .aux = BIT_COMPLEMENT},
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
