/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A step that needs a register which walks do not follow: the loader's stub for calls that are bound late keeps
 * the frame in rbx while it looks for the function, and may allocate; a signal may interrupt
 * assembler code whose frame is in any register.
 *
 * Registers that functions must preserve are where they were at our own code, or where functions between saved
 * them.  So this walks once more, from here, with all of them, by tables that are read anew at each step: some
 * microseconds for stacks that hardly any program has.
 */
#include "tracer/stack_part.h"

#include "tracer/loaded_code.h"

enum { MAX_STEPS = 4096 };

static bool is_known(const struct stack_registers *registers, uint64_t number)
{
    return number < UNWIND_REGISTERS && (registers->known >> number & 1);
}

static void learn(struct stack_registers *registers, unsigned number, uint64_t value)
{
    registers->values[number] = value;
    registers->known |= 1u << number;
}

static bool read_memory(struct stack_memory *memory, uint64_t addr, uint64_t *value)
{
    if (!stack_may_read(memory, addr))
        return false;
    __builtin_memcpy(value, (const void *)(uintptr_t)addr, sizeof(*value)); /* may be unaligned */
    return true;
}

/* What an expression says; `cfa`: NULL where it is that which is sought. */
static bool evaluate(struct stack_memory *memory, const struct unwind_place *place,
                     const uint64_t *cfa, uint64_t *result)
{
    const struct stack_registers *registers = &memory->registers;
    struct unwind_value value;
    struct cursor c = cursor_make(place->expression, place->expression_bytes);
    if (!unwind_expression(c, cfa != NULL, registers->values[UNWIND_RETURN], &value))
        return false;
    *result = (uint64_t)value.offset;
    if (value.base == UNWIND_VALUE_CFA) {
        *result += cfa ? *cfa : 0;
    } else if (value.base >= UNWIND_VALUE_REGISTER) {
        uint32_t number = value.base - UNWIND_VALUE_REGISTER;
        if (!is_known(registers, number))
            return false;
        *result += registers->values[number];
    }
    if (value.is_in_memory) {
        if (!read_memory(memory, *result, result))
            return false;
        *result += (uint64_t)value.outer;
    }
    return true;
}

static bool find_cfa(struct stack_memory *memory, const struct unwind_row *row, uint64_t *cfa)
{
    if (row->cfa.how == UNWIND_EXPRESSION)
        return evaluate(memory, &row->cfa, NULL, cfa);
    if (!is_known(&memory->registers, row->cfa_register))
        return false;
    *cfa = memory->registers.values[row->cfa_register] + (uint64_t)row->cfa.value;
    return true;
}

/* The caller's value of one register. */
static bool find_register(struct stack_memory *memory, const struct unwind_place *place,
                          uint64_t cfa, uint64_t *value)
{
    switch (place->how) {
    case UNWIND_AT_CFA:
        return read_memory(memory, cfa + (uint64_t)place->value, value);
    case UNWIND_CFA_PLUS:
        *value = cfa + (uint64_t)place->value;
        return true;
    case UNWIND_IN:
        *value = is_known(&memory->registers, (uint64_t)place->value)
                     ? memory->registers.values[place->value]
                     : 0;
        return is_known(&memory->registers, (uint64_t)place->value);
    case UNWIND_AT:
        return evaluate(memory, place, &cfa, value) && read_memory(memory, *value, value);
    case UNWIND_EXPRESSION:
        return evaluate(memory, place, &cfa, value);
    default:
        return false;
    }
}

/* memory->registers become those of the caller. */
static bool step(struct stack_memory *memory)
{
    struct unwind_scratch *scratch = &memory->scratch;
    struct stack_registers *now = &memory->registers, *next = &memory->next_registers;
    uint64_t pc = now->values[UNWIND_RETURN] - !now->is_exact, cfa;
    if (!loaded_code_find(pc, &scratch->tables) ||
        !unwind_entry_find(&scratch->tables, pc, &scratch->entry) ||
        !unwind_row_at(&scratch->entry, pc, scratch, &scratch->row) ||
        !find_cfa(memory, &scratch->row, &cfa))
        return false;
    *next = *now;
    next->is_exact = scratch->entry.is_signal;
    learn(next, UNWIND_RSP, cfa);
    for (unsigned i = 0; i < UNWIND_REGISTERS; i++) {
        const struct unwind_place *place = &scratch->row.registers[i];
        uint64_t value;
        if (place->how == UNWIND_SAME)
            continue;
        if (find_register(memory, place, cfa, &value))
            learn(next, i, value);
        else
            next->known &= ~(1u << i);
    }
    bool has_caller = scratch->row.registers[UNWIND_RETURN].how != UNWIND_SAME;
    *now = *next;
    return has_caller && is_known(now, UNWIND_RETURN) && is_known(now, UNWIND_RSP);
}

/* The registers at this place in our own code. */
static void begin(struct stack_registers *registers)
{
    uint64_t *values = registers->values;
    __asm__ volatile("lea 0f(%%rip), %%rax\n"
                     "0: mov %%rax, 128(%0)\n"
                     "mov %%rbx, 24(%0)\n"
                     "mov %%rbp, 48(%0)\n"
                     "mov %%rsp, 56(%0)\n"
                     "mov %%r12, 96(%0)\n"
                     "mov %%r13, 104(%0)\n"
                     "mov %%r14, 112(%0)\n"
                     "mov %%r15, 120(%0)\n"
                     :
                     : "r"(values)
                     : "rax", "memory");
    registers->known =
        1u << UNWIND_RBX | 1u << UNWIND_RBP | 1u << UNWIND_RSP | 15u << 12 | 1u << UNWIND_RETURN;
    registers->is_exact = true;
}

__attribute__((noinline)) bool stack_step_with_registers(struct stack_memory *memory,
                                                         const struct stack_frame *frame,
                                                         struct stack_frame *next)
{
    struct stack_registers *registers = &memory->registers;
    const uint64_t *values = registers->values;
    begin(registers);
    for (unsigned steps = 0; steps < MAX_STEPS; steps++) {
        bool is_there =
            values[UNWIND_RSP] == frame->sp && values[UNWIND_RETURN] == unwind_pc(frame->key);
        if (!step(memory))
            return false;
        if (!is_there)
            continue;
        next->sp = values[UNWIND_RSP];
        next->rbp = is_known(registers, UNWIND_RBP) ? values[UNWIND_RBP] : 0;
        next->key = values[UNWIND_RETURN] | (registers->is_exact ? UNWIND_EXACT : 0);
        return values[UNWIND_RETURN] >> 47 == 0;
    }
    return false;
}
