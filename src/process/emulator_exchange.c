/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Instructions with two results: exchanges, which locks and counters are made of, and the stack.
 * With one thread a lock prefix changes nothing.
 */
#include <Zydis/Zydis.h>

#include "process/emulator_sum.h"

#define FORM(form) (1u << FORM_##form)

/* --- exchanges -------------------------------------------------------------------------------- */

static struct op *xchg(struct machine *machine, struct op *op)
{
    uint64_t first = register_get(machine, op->r[0], op->shift), other;
    if (op->form == FORM_RR) {
        other = register_get(machine, op->r[1], op->shift);
        register_set(machine, op->r[0], op->size, other);
        register_set(machine, op->r[1], op->size, first);
        return op + 1;
    }
    uint64_t addr = op_address(machine, op);
    if (!memory_prepare_write(machine, addr, op->size) || !load(machine, addr, op->size, &other) ||
        !store(machine, addr, op->size, first))
        return NULL;
    tell_change(machine, op, addr, other, first);
    register_set(machine, op->r[0], op->size, other);
    return op + 1;
}

static struct op *xadd(struct machine *machine, struct op *op)
{
    unsigned source = op->form == FORM_RR ? op->r[1] : op->r[0];
    uint64_t b = register_top(machine, source, op->shift), a, addr = 0;
    bool is_memory = op->form == FORM_MR;
    if (is_memory) {
        addr = op_address(machine, op);
        if (!memory_prepare_write(machine, addr, op->size) || !load(machine, addr, op->size, &a))
            return NULL;
    } else {
        a = register_get(machine, op->r[0], op->shift);
    }
    struct summed summed = sum(SUM_ADD, a << op->shift, b, 0);
    uint64_t after = summed.top >> op->shift;
    if (is_memory && !store(machine, addr, op->size, after))
        return NULL;
    if (is_memory)
        tell_change(machine, op, addr, a, after);
    register_set(machine, source, op->size, a);
    if (!is_memory)
        register_set(machine, op->r[0], op->size, after);
    flags_sum(machine, summed, op->shift);
    return op + 1;
}

static struct op *cmpxchg_r(struct machine *machine, struct op *op)
{
    uint64_t expected = register_top(machine, RAX * 8, op->shift);
    uint64_t is = register_get(machine, op->r[0], op->shift);
    flags_sum(machine, sum(SUM_SUB, expected, is << op->shift, 0), op->shift);
    if (flag_zero(&machine->flags))
        register_set(machine, op->r[0], op->size, register_get(machine, op->r[1], op->shift));
    else
        register_set(machine, RAX * 8, op->size, is);
    return op + 1;
}

static struct op *cmpxchg_m(struct machine *machine, struct op *op)
{
    uint64_t addr = op_address(machine, op), is;
    if (!memory_prepare_write(machine, addr, op->size) || !load(machine, addr, op->size, &is))
        return NULL;
    struct summed summed =
        sum(SUM_SUB, register_top(machine, RAX * 8, op->shift), is << op->shift, 0);
    if (summed.top == 0) {
        uint64_t after = register_get(machine, op->r[0], op->shift);
        if (!store(machine, addr, op->size, after))
            return NULL;
        tell_change(machine, op, addr, is, after);
    } else {
        register_set(machine, RAX * 8, op->size, is);
    }
    flags_sum(machine, summed, op->shift);
    return op + 1;
}

static op_fn *const cmpxchg_forms[NR_FORMS] = {[FORM_RR] = cmpxchg_r, [FORM_MR] = cmpxchg_m};

/* cmpxchg8b and 16b: aux is the size of a half.  Only ZF changes. */
static struct op *cmpxchg_pair(struct machine *machine, struct op *op)
{
    uint64_t addr = op_address(machine, op), low, high;
    unsigned half = op->aux, shift = shift_of(half);
    if (half == 8 && addr % 16) {
        machine->public.fault_addr = addr;
        return stop(machine, EMULATOR_MEMORY);
    }
    if (!memory_prepare_write(machine, addr, 2 * half) || !load(machine, addr, half, &low) ||
        !load(machine, addr + half, half, &high))
        return NULL;
    bool is_equal = low == register_get(machine, RAX * 8, shift) &&
                    high == register_get(machine, RDX * 8, shift);
    if (is_equal) {
        if (!store(machine, addr, half, register_raw(machine, RBX * 8)) ||
            !store(machine, addr + half, half, register_raw(machine, RCX * 8)))
            return NULL;
    } else {
        register_set(machine, RAX * 8, half, low);
        register_set(machine, RDX * 8, half, high);
    }
    machine->flags.zero = !is_equal;
    machine->flags.unknown &= (uint8_t)~FLAG_Z;
    return op + 1;
}

static struct op *bswap(struct machine *machine, struct op *op)
{
    uint64_t top = register_top(machine, op->r[0], op->shift);
    register_set(machine, op->r[0], op->size, __builtin_bswap64(top));
    return op + 1;
}

/* --- the stack -------------------------------------------------------------------------------- */

static struct op *push(struct machine *machine, struct op *op)
{
    uint64_t value = op->immediate;
    uint64_t *rsp = &machine->public.registers[RSP];
    if (op->form == FORM_R)
        value = register_raw(machine, op->r[0]);
    else if (op->form == FORM_M && !load(machine, op_address(machine, op), 8, &value))
        return NULL;
    if (!store(machine, *rsp - 8, 8, value))
        return NULL;
    *rsp -= 8;
    return op + 1;
}

static struct op *pop(struct machine *machine, struct op *op)
{
    uint64_t value;
    uint64_t *rsp = &machine->public.registers[RSP];
    if (!load(machine, *rsp, 8, &value))
        return NULL;
    *rsp += 8; /* before the address: pop [rsp] means the new one */
    if (op->form == FORM_M && !store(machine, op_address(machine, op), 8, value)) {
        *rsp -= 8;
        return NULL;
    }
    if (op->form == FORM_R)
        memcpy((char *)machine + op->r[0], &value, 8);
    return op + 1;
}

static struct op *leave(struct machine *machine, struct op *op)
{
    uint64_t *registers = machine->public.registers, value;
    if (!load(machine, registers[RBP], 8, &value))
        return NULL;
    registers[RSP] = registers[RBP] + 8;
    registers[RBP] = value;
    return op + 1;
}

const struct op_rule exchange_rules[] = {
    {.mnemonic = ZYDIS_MNEMONIC_XCHG, .forms = FORM(RR) | FORM(MR), .run = xchg},
    {.mnemonic = ZYDIS_MNEMONIC_XADD, .forms = FORM(RR) | FORM(MR), .run = xadd},
    {.mnemonic = ZYDIS_MNEMONIC_CMPXCHG, .by_form = cmpxchg_forms},
    {.mnemonic = ZYDIS_MNEMONIC_CMPXCHG8B, .forms = FORM(M), .run = cmpxchg_pair, .aux = 4},
    {.mnemonic = ZYDIS_MNEMONIC_CMPXCHG16B, .forms = FORM(M), .run = cmpxchg_pair, .aux = 8},
    {.mnemonic = ZYDIS_MNEMONIC_BSWAP, .forms = FORM(R), .run = bswap},
    {.mnemonic = ZYDIS_MNEMONIC_PUSH, .forms = FORM(R) | FORM(M) | FORM(I), .run = push},
    {.mnemonic = ZYDIS_MNEMONIC_POP, .forms = FORM(R) | FORM(M), .run = pop},
    {.mnemonic = ZYDIS_MNEMONIC_LEAVE, .forms = FORM(NONE), .run = leave},
    {0},
};
