/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A repeated instruction does a piece of its work and returns itself until it is done, so that each
 * piece counts to the budget; between two pieces the registers are as the processor would have them
 * at an interrupt.  The direction is always upward: `std` is not known.
 */
#include "process/emulator_string.h"

enum { PIECE_BYTES = 64 };
enum string_kind { STRING_MOVS, STRING_STOS, STRING_LODS, STRING_CMPS, STRING_SCAS };
enum string_repeat { REPEAT_NOT, REPEAT_ALWAYS, REPEAT_EQUAL, REPEAT_UNEQUAL };

struct string_rule {
    uint16_t mnemonic;
    uint8_t kind, size;
};

static const struct string_rule rules[] = {
    {ZYDIS_MNEMONIC_MOVSB, STRING_MOVS, 1}, {ZYDIS_MNEMONIC_MOVSW, STRING_MOVS, 2},
    {ZYDIS_MNEMONIC_MOVSD, STRING_MOVS, 4}, {ZYDIS_MNEMONIC_MOVSQ, STRING_MOVS, 8},
    {ZYDIS_MNEMONIC_STOSB, STRING_STOS, 1}, {ZYDIS_MNEMONIC_STOSW, STRING_STOS, 2},
    {ZYDIS_MNEMONIC_STOSD, STRING_STOS, 4}, {ZYDIS_MNEMONIC_STOSQ, STRING_STOS, 8},
    {ZYDIS_MNEMONIC_LODSB, STRING_LODS, 1}, {ZYDIS_MNEMONIC_LODSW, STRING_LODS, 2},
    {ZYDIS_MNEMONIC_LODSD, STRING_LODS, 4}, {ZYDIS_MNEMONIC_LODSQ, STRING_LODS, 8},
    {ZYDIS_MNEMONIC_CMPSB, STRING_CMPS, 1}, {ZYDIS_MNEMONIC_CMPSW, STRING_CMPS, 2},
    {ZYDIS_MNEMONIC_CMPSD, STRING_CMPS, 4}, {ZYDIS_MNEMONIC_CMPSQ, STRING_CMPS, 8},
    {ZYDIS_MNEMONIC_SCASB, STRING_SCAS, 1}, {ZYDIS_MNEMONIC_SCASW, STRING_SCAS, 2},
    {ZYDIS_MNEMONIC_SCASD, STRING_SCAS, 4}, {ZYDIS_MNEMONIC_SCASQ, STRING_SCAS, 8},
};

/* After `bytes` of `nr` elements are done. */
static struct op *advance(struct machine *machine, struct op *op, uint64_t bytes)
{
    uint64_t *registers = machine->public.registers;
    if (op->aux != STRING_SCAS && op->aux != STRING_STOS)
        registers[RSI] += bytes;
    if (op->aux != STRING_LODS)
        registers[RDI] += bytes;
    if (op->condition == REPEAT_NOT)
        return op + 1;
    registers[RCX] -= bytes / op->size;
    if (!registers[RCX])
        return op + 1;
    if (op->condition == REPEAT_EQUAL && !flag_zero(&machine->flags))
        return op + 1;
    if (op->condition == REPEAT_UNEQUAL && flag_zero(&machine->flags))
        return op + 1;
    return op;
}

/* How much is done at once: whole elements. */
static uint64_t piece_bytes(const struct machine *machine, const struct op *op)
{
    const uint64_t *registers = machine->public.registers;
    if (op->condition == REPEAT_NOT || registers[RCX] == 1)
        return op->size;
    uint64_t piece = PIECE_BYTES;
    if (registers[RCX] < piece / op->size)
        piece = registers[RCX] * op->size;
    /* What is read must not have been written by an element before it. */
    if (op->aux == STRING_MOVS && registers[RDI] - registers[RSI] < piece)
        return op->size;
    return piece;
}

static bool is_done(const struct machine *machine, const struct op *op)
{
    return op->condition != REPEAT_NOT && machine->public.registers[RCX] == 0;
}

static struct op *movs(struct machine *machine, struct op *op)
{
    const uint64_t *registers = machine->public.registers;
    uint8_t buffer[PIECE_BYTES];
    if (is_done(machine, op))
        return op + 1;
    uint64_t piece = piece_bytes(machine, op);
    if (!memory_prepare_write(machine, registers[RDI], piece) ||
        !memory_read(machine, registers[RSI], buffer, piece))
        piece = op->size; /* the first element that faults ends the run */
    if (!memory_prepare_write(machine, registers[RDI], piece) ||
        !load_bytes(machine, registers[RSI], buffer, (unsigned)piece) ||
        !memory_write(machine, registers[RDI], buffer, piece))
        return NULL;
    return advance(machine, op, piece);
}

static struct op *stos(struct machine *machine, struct op *op)
{
    const uint64_t *registers = machine->public.registers;
    uint8_t buffer[PIECE_BYTES];
    if (is_done(machine, op))
        return op + 1;
    uint64_t piece = piece_bytes(machine, op);
    for (unsigned at = 0; at < PIECE_BYTES; at += op->size)
        put_bytes(buffer + at, registers[RAX], op->size);
    if (!memory_prepare_write(machine, registers[RDI], piece))
        piece = op->size;
    if (!memory_write(machine, registers[RDI], buffer, piece))
        return NULL;
    return advance(machine, op, piece);
}

static struct op *lods(struct machine *machine, struct op *op)
{
    uint64_t value;
    if (is_done(machine, op))
        return op + 1;
    if (!load(machine, machine->public.registers[RSI], op->size, &value))
        return NULL;
    register_set(machine, RAX * 8, op->size, value);
    return advance(machine, op, op->size);
}

/* cmps compares [rsi] with [rdi], scas rax with [rdi]. */
static struct op *compare(struct machine *machine, struct op *op)
{
    const uint64_t *registers = machine->public.registers;
    unsigned shift = shift_of(op->size);
    uint64_t a = register_get(machine, RAX * 8, shift), b;
    if (is_done(machine, op))
        return op + 1;
    if (op->aux == STRING_CMPS && !load(machine, registers[RSI], op->size, &a))
        return NULL;
    if (!load(machine, registers[RDI], op->size, &b))
        return NULL;
    a <<= shift;
    b <<= shift;
    flags_set(&machine->flags, a - b, shift);
    machine->flags.carry = a < b;
    machine->flags.overflow = ((a ^ b) & (a ^ (a - b))) >> 63;
    machine->flags.unknown = 0;
    return advance(machine, op, op->size);
}

/* Only cmps and scas look at ZF: for the others either prefix is a plain repeat. */
static uint8_t repeat_of(const ZydisDecodedInstruction *instruction, uint8_t kind)
{
    const ZydisInstructionAttributes any =
        ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE;
    if (!(instruction->attributes & any))
        return REPEAT_NOT;
    if (kind != STRING_CMPS && kind != STRING_SCAS)
        return REPEAT_ALWAYS;
    return instruction->attributes & ZYDIS_ATTRIB_HAS_REPNE ? REPEAT_UNEQUAL : REPEAT_EQUAL;
}

bool string_decode(const ZydisDecodedInstruction *instruction, struct op *op)
{
    static op_fn *const runs[] = {[STRING_MOVS] = movs,
                                  [STRING_STOS] = stos,
                                  [STRING_LODS] = lods,
                                  [STRING_CMPS] = compare,
                                  [STRING_SCAS] = compare};
    if (instruction->attributes & ZYDIS_ATTRIB_HAS_SEGMENT)
        return false;
    for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++) {
        if (rules[i].mnemonic != instruction->mnemonic)
            continue;
        op->run = runs[rules[i].kind];
        op->aux = rules[i].kind;
        op->size = rules[i].size;
        op->condition = repeat_of(instruction, op->aux);
        return true;
    }
    return false;
}
