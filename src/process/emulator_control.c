/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Where control goes: jumps, calls and returns, intercepts, system calls.  Beside the stack in
 * memory a list of the calls under way is kept, in which a call is known by the place of its return
 * address. That place decides what a return ends: calls below it on the stack were left (longjmp,
 * unwinding); a return from a place where no call put an address is a jump (retpolines).
 */
#include <Zydis/Zydis.h>

#include "process/emulator_access.h"

#define FORM(form) (1u << FORM_##form)

static struct op *fault(struct machine *machine, uint64_t addr)
{
    machine->public.fault_addr = addr;
    return stop(machine, EMULATOR_MEMORY);
}

/* --- what is not an instruction --------------------------------------------------------------- */

struct op *op_run_unknown(struct machine *machine, struct op *op)
{
    (void)op;
    return stop(machine, EMULATOR_INSTRUCTION);
}

struct op *op_run_no_code(struct machine *machine, struct op *op)
{
    return fault(machine, op->pc);
}

/* The block was cut here. */
struct op *op_run_continue(struct machine *machine, struct op *op)
{
    machine->left++; /* no instruction */
    return op->next ? op->next : code_follow(machine, op);
}

struct op *op_run_intercept(struct machine *machine, struct op *op)
{
    const struct intercept *intercept = code_intercept_at(machine, op->pc);
    machine->public.pc = op->pc;
    switch (intercept->run(intercept->context, &machine->public)) {
    case EMULATOR_ANSWERED:
        return machine_return(machine, 0);
    case EMULATOR_GO_ON:
        return op + 1;
    default:
        return stop(machine, EMULATOR_STOPPED);
    }
}

struct op *op_run_outermost_return(struct machine *machine, struct op *op)
{
    return machine->public.nr_calls ? fault(machine, op->pc) : stop(machine, EMULATOR_RETURNED);
}

/* --- calls ------------------------------------------------------------------------------------ */

/* Forgets the calls whose return addresses lie below `rsp`. */
static void forget_left_calls(struct machine *machine, uint64_t rsp)
{
    size_t *nr = &machine->public.nr_calls;
    while (*nr && machine->calls[*nr - 1].registers[RSP] < rsp)
        --*nr;
}

bool machine_push_call(struct machine *machine, uint64_t function, uint64_t return_addr,
                       struct op *resume)
{
    struct emulator *public = &machine->public;
    if (!is_on_stack(machine, public->registers[RSP])) {
        fault(machine, public->registers[RSP]);
        return false;
    }
    forget_left_calls(machine, public->registers[RSP] + 1);
    machine->calls = array_reserve(machine->calls, &machine->calls_capacity, public->nr_calls + 1,
                                   sizeof(*machine->calls));
    machine->resumes = array_reserve(machine->resumes, &machine->resumes_capacity,
                                     public->nr_calls + 1, sizeof(*machine->resumes));
    struct emulator_call *call = &machine->calls[public->nr_calls];
    call->function = function;
    call->return_addr = return_addr;
    memcpy(call->registers, public->registers, sizeof(call->registers));
    machine->resumes[public->nr_calls++] = resume;
    public->calls = machine->calls;
    return true;
}

struct op *machine_return(struct machine *machine, unsigned drop_bytes)
{
    struct emulator *public = &machine->public;
    uint64_t place = public->registers[RSP], addr;
    if (!is_on_stack(machine, place))
        return fault(machine, place);
    if (!load(machine, place, 8, &addr))
        return NULL;
    forget_left_calls(machine, place);
    struct op *resume = NULL;
    if (public->nr_calls && machine->calls[public->nr_calls - 1].registers[RSP] == place) {
        bool is_changed = machine->calls[public->nr_calls - 1].return_addr != addr;
        if (is_changed && public->nr_calls == 1)
            return fault(machine, place);
        public->nr_calls--;
        resume = is_changed ? NULL : machine->resumes[public->nr_calls];
    }
    public->registers[RSP] += 8 + drop_bytes;
    return resume ? resume : code_at(machine, addr);
}

static struct op *call_to(struct machine *machine, struct op *op, uint64_t function)
{
    uint64_t *rsp = &machine->public.registers[RSP], return_addr = op->pc + op->length;
    if (!store(machine, *rsp - 8, 8, return_addr))
        return NULL;
    *rsp -= 8;
    if (!machine_push_call(machine, function, return_addr, op + 1)) {
        *rsp += 8;
        return NULL;
    }
    return op;
}

static struct op *call_relative(struct machine *machine, struct op *op)
{
    if (!call_to(machine, op, op->displacement))
        return NULL;
    return op->next ? op->next : code_follow(machine, op);
}

static bool target_get(struct machine *machine, const struct op *op, uint64_t *target)
{
    if (op->form == FORM_M)
        return load(machine, op_address(machine, op), 8, target);
    *target = register_raw(machine, op->r[0]);
    return true;
}

static struct op *call_indirect(struct machine *machine, struct op *op)
{
    uint64_t target;
    if (!target_get(machine, op, &target) || !call_to(machine, op, target))
        return NULL;
    return code_at(machine, target);
}

static struct op *ret(struct machine *machine, struct op *op)
{
    return machine_return(machine, op->form == FORM_I ? op->immediate & 0xffff : 0);
}

/* --- jumps ------------------------------------------------------------------------------------ */

static struct op *jump_relative(struct machine *machine, struct op *op)
{
    return op->next ? op->next : code_follow(machine, op);
}

static struct op *jump_indirect(struct machine *machine, struct op *op)
{
    uint64_t target;
    return target_get(machine, op, &target) ? code_at(machine, target) : NULL;
}

static struct op *jump_if(struct machine *machine, struct op *op)
{
    if (flags_are_unknown(machine, op->condition))
        return stop(machine, EMULATOR_INSTRUCTION);
    if (!condition_holds(&machine->flags, op->condition))
        return op + 1;
    return op->next ? op->next : code_follow(machine, op);
}

/* jrcxz; aux: of ecx only. */
static struct op *jump_if_rcx_zero(struct machine *machine, struct op *op)
{
    uint64_t rcx = machine->public.registers[RCX];
    if (op->aux ? (uint32_t)rcx : rcx)
        return op + 1;
    return op->next ? op->next : code_follow(machine, op);
}

static op_fn *const call_forms[NR_FORMS] = {
    [FORM_I] = call_relative, [FORM_R] = call_indirect, [FORM_M] = call_indirect};
static op_fn *const jump_forms[NR_FORMS] = {
    [FORM_I] = jump_relative, [FORM_R] = jump_indirect, [FORM_M] = jump_indirect};

/* --- system calls and the flags register ------------------------------------------------------ */

static struct op *system_call(struct machine *machine, struct op *op)
{
    struct emulator *public = &machine->public;
    public->pc = op->pc;
    if (!machine->hooks.on_syscall)
        return stop(machine, EMULATOR_STOPPED);
    enum emulator_answer answer =
        machine->hooks.on_syscall(machine->hooks.context, public, public->registers[RAX]);
    if (answer == EMULATOR_STOP)
        return stop(machine, EMULATOR_STOPPED);
    if (answer == EMULATOR_GO_ON)
        return stop(machine, EMULATOR_INSTRUCTION);
    public->registers[RCX] = op->pc + op->length;
    return op + 1;
}

enum {
    EFLAGS_C = 1,
    EFLAGS_ONE = 2,
    EFLAGS_P = 4,
    EFLAGS_Z = 64,
    EFLAGS_S = 128,
    EFLAGS_I = 512,
    EFLAGS_D = 1024,
    EFLAGS_O = 2048
};

static uint64_t flags_pack(const struct flags *flags)
{
    return EFLAGS_ONE | (flags->carry ? EFLAGS_C : 0) | (flag_parity(flags) ? EFLAGS_P : 0) |
           (flag_zero(flags) ? EFLAGS_Z : 0) | (flag_sign(flags) ? EFLAGS_S : 0) |
           (flags->overflow ? EFLAGS_O : 0);
}

static void flags_unpack(struct flags *flags, uint64_t packed)
{
    flags->carry = (packed & EFLAGS_C) != 0;
    flags->parity = !(packed & EFLAGS_P);
    flags->zero = !(packed & EFLAGS_Z);
    flags->sign = packed & EFLAGS_S ? (uint64_t)1 << 63 : 0;
}

static struct op *push_flags(struct machine *machine, struct op *op)
{
    uint64_t *rsp = &machine->public.registers[RSP];
    if (machine->flags.unknown)
        return stop(machine, EMULATOR_INSTRUCTION);
    if (!store(machine, *rsp - 8, 8, flags_pack(&machine->flags) | EFLAGS_I))
        return NULL;
    *rsp -= 8;
    return op + 1;
}

static struct op *pop_flags(struct machine *machine, struct op *op)
{
    uint64_t *rsp = &machine->public.registers[RSP], packed;
    if (!load(machine, *rsp, 8, &packed))
        return NULL;
    if (packed & EFLAGS_D)
        return stop(machine, EMULATOR_INSTRUCTION);
    flags_unpack(&machine->flags, packed);
    machine->flags.overflow = (packed & EFLAGS_O) != 0;
    machine->flags.unknown = 0;
    *rsp += 8;
    return op + 1;
}

static struct op *lahf(struct machine *machine, struct op *op)
{
    if (machine->flags.unknown & ~FLAG_O)
        return stop(machine, EMULATOR_INSTRUCTION);
    register_set(machine, RAX * 8 + 1, 1, flags_pack(&machine->flags) & 0xff);
    return op + 1;
}

static struct op *sahf(struct machine *machine, struct op *op)
{
    flags_unpack(&machine->flags, register_raw(machine, RAX * 8 + 1));
    machine->flags.unknown &= FLAG_O;
    return op + 1;
}

enum carry_change { CARRY_CLEAR, CARRY_SET, CARRY_COMPLEMENT };

static struct op *change_carry(struct machine *machine, struct op *op)
{
    uint8_t *carry = &machine->flags.carry;
    if (op->aux == CARRY_COMPLEMENT && machine->flags.unknown & FLAG_C)
        return stop(machine, EMULATOR_INSTRUCTION);
    *carry = op->aux == CARRY_COMPLEMENT ? !*carry : op->aux == CARRY_SET;
    machine->flags.unknown &= (uint8_t)~FLAG_C;
    return op + 1;
}

static struct op *nothing(struct machine *machine, struct op *op)
{
    (void)machine;
    return op + 1;
}

/* Never in a transaction. */
static struct op *xtest(struct machine *machine, struct op *op)
{
    machine->flags = (struct flags){.zero = 0, .parity = 1};
    return op + 1;
}

#define CONDITIONS(X)                                                                              \
    X(O) X(NO) X(B) X(NB) X(Z) X(NZ) X(BE) X(NBE) X(S) X(NS) X(P) X(NP) X(L) X(NL) X(LE) X(NLE)
#define JUMP_ROW(condition)                                                                        \
    {.mnemonic = ZYDIS_MNEMONIC_J##condition, .forms = FORM(I), .run = jump_if},

const struct op_rule control_rules[] = {
    CONDITIONS(JUMP_ROW){.mnemonic = ZYDIS_MNEMONIC_JMP, .by_form = jump_forms, .flags = RULE_ENDS},
    {.mnemonic = ZYDIS_MNEMONIC_CALL, .by_form = call_forms},
    {.mnemonic = ZYDIS_MNEMONIC_RET, .forms = FORM(NONE) | FORM(I), .run = ret, .flags = RULE_ENDS},
    {.mnemonic = ZYDIS_MNEMONIC_JRCXZ, .forms = FORM(I), .run = jump_if_rcx_zero},
    {.mnemonic = ZYDIS_MNEMONIC_JECXZ, .forms = FORM(I), .run = jump_if_rcx_zero, .aux = 1},
    {.mnemonic = ZYDIS_MNEMONIC_SYSCALL, .forms = FORM(NONE), .run = system_call},
    {.mnemonic = ZYDIS_MNEMONIC_PUSHFQ, .forms = FORM(NONE), .run = push_flags},
    {.mnemonic = ZYDIS_MNEMONIC_POPFQ, .forms = FORM(NONE), .run = pop_flags},
    {.mnemonic = ZYDIS_MNEMONIC_LAHF, .forms = FORM(NONE), .run = lahf},
    {.mnemonic = ZYDIS_MNEMONIC_SAHF, .forms = FORM(NONE), .run = sahf},
    {.mnemonic = ZYDIS_MNEMONIC_CLC, .forms = FORM(NONE), .run = change_carry, .aux = CARRY_CLEAR},
    {.mnemonic = ZYDIS_MNEMONIC_STC, .forms = FORM(NONE), .run = change_carry, .aux = CARRY_SET},
    {.mnemonic = ZYDIS_MNEMONIC_CMC,
     .forms = FORM(NONE),
     .run = change_carry,
     .aux = CARRY_COMPLEMENT},
    {.mnemonic = ZYDIS_MNEMONIC_XTEST, .forms = FORM(NONE), .run = xtest},
    {.mnemonic = ZYDIS_MNEMONIC_CLD, .forms = FORM(NONE), .run = nothing},
    {0},
};
