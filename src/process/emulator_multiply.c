/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Products and quotients.  A division by zero, or one whose quotient does not fit, is a trap of the
 * real program: it ends the run.
 */
#include <Zydis/Zydis.h>

#include "process/emulator_access.h"

#define FORM(form) (1u << FORM_##form)

__extension__ typedef unsigned __int128 uint128;
__extension__ typedef __int128 int128;

static void flags_product(struct machine *machine, bool is_cut)
{
    machine->flags.carry = machine->flags.overflow = is_cut;
    machine->flags.unknown = FLAG_P | FLAG_Z | FLAG_S;
}

/* The operand of forms R and M. */
static bool operand_get(struct machine *machine, const struct op *op, uint64_t *value)
{
    if (op->form == FORM_M)
        return load(machine, op_address(machine, op), op->size, value);
    *value = register_get(machine, op->r[0], op->shift);
    return true;
}

static int64_t sign_extend(uint64_t value, unsigned shift)
{
    return (int64_t)(value << shift) >> shift;
}

/* To rdx:rax, for bytes to ax. */
static void set_pair(struct machine *machine, const struct op *op, uint64_t low, uint64_t high)
{
    if (op->size == 1) {
        register_set(machine, RAX * 8, 2, (low & 0xff) | (high & 0xff) << 8);
        return;
    }
    register_set(machine, RAX * 8, op->size, low << op->shift >> op->shift);
    register_set(machine, RDX * 8, op->size, high << op->shift >> op->shift);
}

static struct op *multiply(struct machine *machine, struct op *op)
{
    uint64_t b;
    if (!operand_get(machine, op, &b))
        return NULL;
    uint64_t a = register_get(machine, RAX * 8, op->shift);
    uint128 product = (uint128)a * b;
    uint64_t low = (uint64_t)product, high = (uint64_t)(product >> (op->size * 8));
    set_pair(machine, op, low, high);
    flags_product(machine, high != 0);
    return op + 1;
}

static struct op *multiply_signed(struct machine *machine, struct op *op)
{
    uint64_t b;
    if (!operand_get(machine, op, &b))
        return NULL;
    int64_t a = sign_extend(machine->public.registers[RAX], op->shift);
    int128 product = (int128)a * sign_extend(b, op->shift);
    set_pair(machine, op, (uint64_t)product, (uint64_t)(product >> (op->size * 8)));
    flags_product(machine, product != sign_extend((uint64_t)product, op->shift));
    return op + 1;
}

/* With two and three operands: the product is cut to the size of the first. */
static struct op *multiply_cut(struct machine *machine, struct op *op)
{
    uint64_t a, b = op->immediate;
    bool has_immediate = op->form == FORM_RRI || op->form == FORM_RMI;
    if (op->form == FORM_RM || op->form == FORM_RMI) {
        if (!load(machine, op_address(machine, op), op->size, &a))
            return NULL;
    } else {
        a = register_raw(machine, op->r[1]);
    }
    if (!has_immediate)
        b = register_raw(machine, op->r[0]);
    int128 product = (int128)sign_extend(a, op->shift) * sign_extend(b, op->shift);
    register_set(machine, op->r[0], op->size, (uint64_t)product << op->shift >> op->shift);
    flags_product(machine, product != sign_extend((uint64_t)product, op->shift));
    return op + 1;
}

static op_fn *const multiply_signed_forms[NR_FORMS] = {
    [FORM_R] = multiply_signed, [FORM_M] = multiply_signed, [FORM_RR] = multiply_cut,
    [FORM_RM] = multiply_cut,   [FORM_RRI] = multiply_cut,  [FORM_RMI] = multiply_cut};

/* mulx: high, low, source; no flags.  If both are one register it gets the high half. */
static struct op *multiply_without_flags(struct machine *machine, struct op *op)
{
    uint64_t b;
    if (op->form == FORM_RRM) {
        if (!load(machine, op_address(machine, op), op->size, &b))
            return NULL;
    } else {
        b = register_get(machine, op->r[2], op->shift);
    }
    uint128 product = (uint128)register_get(machine, RDX * 8, op->shift) * b;
    register_set(machine, op->r[1], op->size, (uint64_t)product << op->shift >> op->shift);
    register_set(machine, op->r[0], op->size, (uint64_t)(product >> (op->size * 8)));
    return op + 1;
}

/* adcx, adox: aux 1 is the overflow flag's chain. */
static struct op *add_chain(struct machine *machine, struct op *op)
{
    uint64_t b;
    uint8_t *carry = op->aux ? &machine->flags.overflow : &machine->flags.carry;
    uint8_t flag = op->aux ? FLAG_O : FLAG_C;
    if (machine->flags.unknown & flag)
        return stop(machine, EMULATOR_INSTRUCTION);
    if (op->form == FORM_RM) {
        if (!load(machine, op_address(machine, op), op->size, &b))
            return NULL;
    } else {
        b = register_get(machine, op->r[1], op->shift);
    }
    uint128 total = (uint128)register_get(machine, op->r[0], op->shift) + b + *carry;
    register_set(machine, op->r[0], op->size, (uint64_t)total << op->shift >> op->shift);
    *carry = (total >> (op->size * 8)) & 1;
    return op + 1;
}

/* --- quotients -------------------------------------------------------------------------------- */

static uint128 dividend(const struct machine *machine, const struct op *op)
{
    uint64_t low = register_get(machine, RAX * 8, op->shift);
    if (op->size == 1)
        return machine->public.registers[RAX] & 0xffff;
    return low | (uint128)register_get(machine, RDX * 8, op->shift) << (op->size * 8);
}

static struct op *divide(struct machine *machine, struct op *op)
{
    uint64_t by;
    if (!operand_get(machine, op, &by))
        return NULL;
    uint128 from = dividend(machine, op);
    if (by == 0 || from / by > ~(uint64_t)0 >> op->shift)
        return stop(machine, EMULATOR_INSTRUCTION);
    set_pair(machine, op, (uint64_t)(from / by), (uint64_t)(from % by));
    machine->flags.unknown = FLAG_C | FLAG_P | FLAG_Z | FLAG_S | FLAG_O;
    return op + 1;
}

static struct op *divide_signed(struct machine *machine, struct op *op)
{
    uint64_t operand;
    if (!operand_get(machine, op, &operand))
        return NULL;
    unsigned unused = 128 - 16u * op->size;
    int128 from = (int128)(dividend(machine, op) << unused) >> unused;
    int64_t by = sign_extend(operand, op->shift);
    /* The one quotient that 128 bits cannot hold does not fit anyway. */
    if (by == 0 || (by == -1 && from == (int128)((uint128)1 << 127)))
        return stop(machine, EMULATOR_INSTRUCTION);
    int128 quotient = from / by;
    if (quotient != sign_extend((uint64_t)quotient, op->shift))
        return stop(machine, EMULATOR_INSTRUCTION);
    set_pair(machine, op, (uint64_t)quotient, (uint64_t)(from % by));
    machine->flags.unknown = FLAG_C | FLAG_P | FLAG_Z | FLAG_S | FLAG_O;
    return op + 1;
}

const struct op_rule multiply_rules[] = {
    {.mnemonic = ZYDIS_MNEMONIC_MUL, .forms = FORM(R) | FORM(M), .run = multiply},
    {.mnemonic = ZYDIS_MNEMONIC_IMUL, .by_form = multiply_signed_forms},
    {.mnemonic = ZYDIS_MNEMONIC_MULX,
     .forms = FORM(RRR) | FORM(RRM),
     .run = multiply_without_flags},
    {.mnemonic = ZYDIS_MNEMONIC_ADCX, .forms = FORM(RR) | FORM(RM), .run = add_chain, .aux = 0},
    {.mnemonic = ZYDIS_MNEMONIC_ADOX, .forms = FORM(RR) | FORM(RM), .run = add_chain, .aux = 1},
    {.mnemonic = ZYDIS_MNEMONIC_DIV, .forms = FORM(R) | FORM(M), .run = divide},
    {.mnemonic = ZYDIS_MNEMONIC_IDIV, .forms = FORM(R) | FORM(M), .run = divide_signed},
    {0},
};
