/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The instructions that integer code consists of: moves, sums, comparisons, exchanges, the stack.
 * Operands are computed at the top of 64 bits (emulator_access.h).  Memory is written before flags
 * and registers change, so that an op that faults has changed nothing.
 */
#include <Zydis/Zydis.h>

#include "process/emulator_sum.h"

#define FORM(form) (1u << FORM_##form)

/* --- sums and comparisons --------------------------------------------------------------------- */

static inline uint64_t carry_in(const struct machine *machine, enum sum kind, const struct op *op)
{
    return kind == SUM_ADC || kind == SUM_SBB ? (uint64_t)machine->flags.carry << op->shift : 0;
}

static inline bool needs_unknown_carry(const struct machine *machine, enum sum kind)
{
    return (kind == SUM_ADC || kind == SUM_SBB) && machine->flags.unknown & FLAG_C;
}

/* The first operand is a register; `b` is the second, at the top. */
static inline struct op *sum_to_register(struct machine *machine, struct op *op, enum sum kind,
                                         bool keeps, uint64_t b)
{
    uint64_t a = register_top(machine, op->r[0], op->shift);
    if (needs_unknown_carry(machine, kind))
        return stop(machine, EMULATOR_INSTRUCTION);
    struct summed summed = sum(kind, a, b, carry_in(machine, kind, op));
    flags_sum(machine, summed, op->shift);
    if (keeps)
        register_set(machine, op->r[0], op->size, summed.top >> op->shift);
    return op + 1;
}

static inline struct op *sum_rm(struct machine *machine, struct op *op, enum sum kind, bool keeps)
{
    uint64_t b;
    if (!load(machine, op_address(machine, op), op->size, &b))
        return NULL;
    return sum_to_register(machine, op, kind, keeps, b << op->shift);
}

static inline struct op *sum_to_memory(struct machine *machine, struct op *op, enum sum kind,
                                       bool keeps, uint64_t b)
{
    uint64_t addr = op_address(machine, op), a;
    if (needs_unknown_carry(machine, kind))
        return stop(machine, EMULATOR_INSTRUCTION);
    if (keeps && !memory_prepare_write(machine, addr, op->size))
        return NULL;
    if (!load(machine, addr, op->size, &a))
        return NULL;
    struct summed summed = sum(kind, a << op->shift, b, carry_in(machine, kind, op));
    if (keeps) {
        if (!store(machine, addr, op->size, summed.top >> op->shift))
            return NULL;
        tell_change(machine, op, addr, a, summed.top >> op->shift);
    }
    flags_sum(machine, summed, op->shift);
    return op + 1;
}

/* name, kind, is the result kept: a function for each form */
#define SUMS(X)                                                                                    \
    X(add, SUM_ADD, true)                                                                          \
    X(or, SUM_OR, true)                                                                            \
    X(adc, SUM_ADC, true)                                                                          \
    X(sbb, SUM_SBB, true)                                                                          \
    X(and, SUM_AND, true)                                                                          \
    X(sub, SUM_SUB, true)                                                                          \
    X(xor, SUM_XOR, true)                                                                          \
    X(cmp, SUM_SUB, false)                                                                         \
    X(test, SUM_AND, false)

#define SUM_FUNCTIONS(name, kind, keeps)                                                           \
    static struct op *name##_rr(struct machine *machine, struct op *op)                            \
    {                                                                                              \
        uint64_t b = register_top(machine, op->r[1], op->shift);                                   \
        return sum_to_register(machine, op, kind, keeps, b);                                       \
    }                                                                                              \
    static struct op *name##_ri(struct machine *machine, struct op *op)                            \
    {                                                                                              \
        return sum_to_register(machine, op, kind, keeps, op->immediate << op->shift);              \
    }                                                                                              \
    static struct op *name##_rm(struct machine *machine, struct op *op)                            \
    {                                                                                              \
        return sum_rm(machine, op, kind, keeps);                                                   \
    }                                                                                              \
    static struct op *name##_mr(struct machine *machine, struct op *op)                            \
    {                                                                                              \
        uint64_t b = register_top(machine, op->r[0], op->shift);                                   \
        return sum_to_memory(machine, op, kind, keeps, b);                                         \
    }                                                                                              \
    static struct op *name##_mi(struct machine *machine, struct op *op)                            \
    {                                                                                              \
        return sum_to_memory(machine, op, kind, keeps, op->immediate << op->shift);                \
    }                                                                                              \
    static op_fn *const name##_forms[NR_FORMS] = {[FORM_RR] = name##_rr,                           \
                                                  [FORM_RI] = name##_ri,                           \
                                                  [FORM_RM] = name##_rm,                           \
                                                  [FORM_MR] = name##_mr,                           \
                                                  [FORM_MI] = name##_mi};
SUMS(SUM_FUNCTIONS)

/* inc, dec, neg, not: the other operand is known. */
enum single { SINGLE_INC, SINGLE_DEC, SINGLE_NEG, SINGLE_NOT };

static struct summed single(enum single kind, uint64_t a, unsigned shift)
{
    switch (kind) {
    case SINGLE_INC:
        return sum(SUM_ADD, a, (uint64_t)1 << shift, 0);
    case SINGLE_DEC:
        return sum(SUM_SUB, a, (uint64_t)1 << shift, 0);
    case SINGLE_NEG:
        return sum(SUM_SUB, 0, a, 0);
    default:
        return (struct summed){~a >> shift << shift, 0, 0};
    }
}

static void flags_single(struct machine *machine, const struct op *op, struct summed summed)
{
    struct flags *flags = &machine->flags;
    if (op->aux == SINGLE_NOT)
        return;
    uint8_t carry = flags->carry, unknown = flags->unknown;
    flags_sum(machine, summed, op->shift);
    if (op->aux == SINGLE_NEG)
        return;
    flags->carry = carry;
    flags->unknown = unknown & FLAG_C;
}

static struct op *single_r(struct machine *machine, struct op *op)
{
    struct summed summed = single(op->aux, register_top(machine, op->r[0], op->shift), op->shift);
    flags_single(machine, op, summed);
    register_set(machine, op->r[0], op->size, summed.top >> op->shift);
    return op + 1;
}

static struct op *single_m(struct machine *machine, struct op *op)
{
    uint64_t addr = op_address(machine, op), a;
    if (!memory_prepare_write(machine, addr, op->size) || !load(machine, addr, op->size, &a))
        return NULL;
    struct summed summed = single(op->aux, a << op->shift, op->shift);
    if (!store(machine, addr, op->size, summed.top >> op->shift))
        return NULL;
    tell_change(machine, op, addr, a, summed.top >> op->shift);
    flags_single(machine, op, summed);
    return op + 1;
}

static op_fn *const single_forms[NR_FORMS] = {[FORM_R] = single_r, [FORM_M] = single_m};

/* --- moves ------------------------------------------------------------------------------------ */

static struct op *mov_rr(struct machine *machine, struct op *op)
{
    register_set(machine, op->r[0], op->size, register_get(machine, op->r[1], op->shift));
    return op + 1;
}

static struct op *mov_ri(struct machine *machine, struct op *op)
{
    register_set(machine, op->r[0], op->size, op->immediate << op->shift >> op->shift);
    return op + 1;
}

static struct op *mov_rm(struct machine *machine, struct op *op)
{
    uint64_t value;
    if (!load(machine, op_address(machine, op), op->size, &value))
        return NULL;
    register_set(machine, op->r[0], op->size, value);
    return op + 1;
}

static struct op *mov_mr(struct machine *machine, struct op *op)
{
    uint64_t value = register_raw(machine, op->r[0]);
    return store(machine, op_address(machine, op), op->size, value) ? op + 1 : NULL;
}

static struct op *mov_mi(struct machine *machine, struct op *op)
{
    return store(machine, op_address(machine, op), op->size, op->immediate) ? op + 1 : NULL;
}

static op_fn *const mov_forms[NR_FORMS] = {[FORM_RR] = mov_rr,
                                           [FORM_RI] = mov_ri,
                                           [FORM_RM] = mov_rm,
                                           [FORM_MR] = mov_mr,
                                           [FORM_MI] = mov_mi};

/* Bytes in the other order; the memory form of movbe. */
static struct op *movbe(struct machine *machine, struct op *op)
{
    uint64_t addr = op_address(machine, op), value;
    if (op->form == FORM_MR) {
        value = __builtin_bswap64(register_top(machine, op->r[0], op->shift));
        return store(machine, addr, op->size, value) ? op + 1 : NULL;
    }
    if (!load(machine, addr, op->size, &value))
        return NULL;
    register_set(machine, op->r[0], op->size, __builtin_bswap64(value << op->shift));
    return op + 1;
}

static struct op *lea(struct machine *machine, struct op *op)
{
    uint64_t addr = slot_get(machine, op->base) + (slot_get(machine, op->index) << op->scale) +
                    op->displacement;
    register_set(machine, op->r[0], op->size, addr << op->shift >> op->shift);
    return op + 1;
}

/* aux: the sign is kept.  The second operand is the smaller one. */
static struct op *extend(struct machine *machine, struct op *op)
{
    unsigned shift = shift_of(op->second_size);
    uint64_t value;
    if (op->form == FORM_RR)
        value = register_raw(machine, op->r[1]);
    else if (!load(machine, op_address(machine, op), op->second_size, &value))
        return NULL;
    value <<= shift;
    value = op->aux ? (uint64_t)((int64_t)value >> shift) : value >> shift;
    register_set(machine, op->r[0], op->size, value << op->shift >> op->shift);
    return op + 1;
}

/*
 * cbw, cwde, cdqe: aux is the size of the result; the lower half of rax is its sign-extended
 * source.
 */
static struct op *extend_rax(struct machine *machine, struct op *op)
{
    unsigned shift = shift_of(op->aux / 2);
    uint64_t value = (uint64_t)((int64_t)register_top(machine, RAX * 8, shift) >> shift);
    register_set(machine, RAX * 8, op->aux, value << shift_of(op->aux) >> shift_of(op->aux));
    return op + 1;
}

/* cwd, cdq, cqo: rdx is all sign. */
static struct op *extend_rdx(struct machine *machine, struct op *op)
{
    unsigned shift = shift_of(op->aux);
    uint64_t value = (uint64_t)((int64_t)register_top(machine, RAX * 8, shift) >> 63);
    register_set(machine, RDX * 8, op->aux, value << shift >> shift);
    return op + 1;
}

static struct op *cmov(struct machine *machine, struct op *op)
{
    uint64_t value;
    if (flags_are_unknown(machine, op->condition))
        return stop(machine, EMULATOR_INSTRUCTION);
    if (op->form == FORM_RR)
        value = register_get(machine, op->r[1], op->shift);
    else if (!load(machine, op_address(machine, op), op->size, &value))
        return NULL;
    if (!condition_holds(&machine->flags, op->condition))
        value = register_get(machine, op->r[0], op->shift); /* of 4 bytes: the rest is zeroed */
    register_set(machine, op->r[0], op->size, value);
    return op + 1;
}

static struct op *setcc(struct machine *machine, struct op *op)
{
    if (flags_are_unknown(machine, op->condition))
        return stop(machine, EMULATOR_INSTRUCTION);
    uint64_t value = condition_holds(&machine->flags, op->condition);
    if (op->form == FORM_M)
        return store(machine, op_address(machine, op), 1, value) ? op + 1 : NULL;
    register_set(machine, op->r[0], 1, value);
    return op + 1;
}

static struct op *nop(struct machine *machine, struct op *op)
{
    (void)machine;
    return op + 1;
}

/* --- table ------------------------------------------------------------------------------------ */

#define ANY_FORM 0xffffffffu
#define CONDITIONAL(X)                                                                             \
    X(O) X(NO) X(B) X(NB) X(Z) X(NZ) X(BE) X(NBE) X(S) X(NS) X(P) X(NP) X(L) X(NL) X(LE) X(NLE)
#define SUM_ROW(name, kind, keeps) {.mnemonic = SUM_MNEMONIC_##name, .by_form = name##_forms},
#define CMOV_ROW(condition)                                                                        \
    {.mnemonic = ZYDIS_MNEMONIC_CMOV##condition, .forms = FORM(RR) | FORM(RM), .run = cmov},
#define SET_ROW(condition)                                                                         \
    {.mnemonic = ZYDIS_MNEMONIC_SET##condition, .forms = FORM(R) | FORM(M), .run = setcc},

enum {
    SUM_MNEMONIC_add = ZYDIS_MNEMONIC_ADD,
    SUM_MNEMONIC_or = ZYDIS_MNEMONIC_OR,
    SUM_MNEMONIC_adc = ZYDIS_MNEMONIC_ADC,
    SUM_MNEMONIC_sbb = ZYDIS_MNEMONIC_SBB,
    SUM_MNEMONIC_and = ZYDIS_MNEMONIC_AND,
    SUM_MNEMONIC_sub = ZYDIS_MNEMONIC_SUB,
    SUM_MNEMONIC_xor = ZYDIS_MNEMONIC_XOR,
    SUM_MNEMONIC_cmp = ZYDIS_MNEMONIC_CMP,
    SUM_MNEMONIC_test = ZYDIS_MNEMONIC_TEST,
};

const struct op_rule integer_rules[] = {
    SUMS(SUM_ROW) CONDITIONAL(CMOV_ROW) CONDITIONAL(SET_ROW){
        .mnemonic = ZYDIS_MNEMONIC_INC, .by_form = single_forms, .aux = SINGLE_INC},
    {.mnemonic = ZYDIS_MNEMONIC_DEC, .by_form = single_forms, .aux = SINGLE_DEC},
    {.mnemonic = ZYDIS_MNEMONIC_NEG, .by_form = single_forms, .aux = SINGLE_NEG},
    {.mnemonic = ZYDIS_MNEMONIC_NOT, .by_form = single_forms, .aux = SINGLE_NOT},
    {.mnemonic = ZYDIS_MNEMONIC_MOV, .by_form = mov_forms},
    {.mnemonic = ZYDIS_MNEMONIC_MOVNTI, .by_form = mov_forms},
    {.mnemonic = ZYDIS_MNEMONIC_MOVBE, .forms = FORM(RM) | FORM(MR), .run = movbe},
    {.mnemonic = ZYDIS_MNEMONIC_LEA, .forms = FORM(RM), .run = lea},
    {.mnemonic = ZYDIS_MNEMONIC_MOVZX, .forms = FORM(RR) | FORM(RM), .run = extend},
    {.mnemonic = ZYDIS_MNEMONIC_MOVSX, .forms = FORM(RR) | FORM(RM), .run = extend, .aux = 1},
    {.mnemonic = ZYDIS_MNEMONIC_MOVSXD, .forms = FORM(RR) | FORM(RM), .run = extend, .aux = 1},
    {.mnemonic = ZYDIS_MNEMONIC_CBW, .forms = FORM(NONE), .run = extend_rax, .aux = 2},
    {.mnemonic = ZYDIS_MNEMONIC_CWDE, .forms = FORM(NONE), .run = extend_rax, .aux = 4},
    {.mnemonic = ZYDIS_MNEMONIC_CDQE, .forms = FORM(NONE), .run = extend_rax, .aux = 8},
    {.mnemonic = ZYDIS_MNEMONIC_CWD, .forms = FORM(NONE), .run = extend_rdx, .aux = 2},
    {.mnemonic = ZYDIS_MNEMONIC_CDQ, .forms = FORM(NONE), .run = extend_rdx, .aux = 4},
    {.mnemonic = ZYDIS_MNEMONIC_CQO, .forms = FORM(NONE), .run = extend_rdx, .aux = 8},
    {.mnemonic = ZYDIS_MNEMONIC_NOP, .forms = ANY_FORM, .run = nop},
    {.mnemonic = ZYDIS_MNEMONIC_ENDBR64, .forms = FORM(NONE), .run = nop},
    /* No shadow stack here; without one they do nothing. */
    {.mnemonic = ZYDIS_MNEMONIC_RDSSPD, .forms = FORM(R), .run = nop},
    {.mnemonic = ZYDIS_MNEMONIC_RDSSPQ, .forms = FORM(R), .run = nop},
    {.mnemonic = ZYDIS_MNEMONIC_PAUSE, .forms = FORM(NONE), .run = nop},
    {.mnemonic = ZYDIS_MNEMONIC_PREFETCH, .forms = FORM(M), .run = nop},
    {.mnemonic = ZYDIS_MNEMONIC_PREFETCHW, .forms = FORM(M), .run = nop},
    {.mnemonic = ZYDIS_MNEMONIC_PREFETCHNTA, .forms = FORM(M), .run = nop},
    {.mnemonic = ZYDIS_MNEMONIC_PREFETCHT0, .forms = FORM(M), .run = nop},
    {.mnemonic = ZYDIS_MNEMONIC_PREFETCHT1, .forms = FORM(M), .run = nop},
    {.mnemonic = ZYDIS_MNEMONIC_PREFETCHT2, .forms = FORM(M), .run = nop},
    {.mnemonic = ZYDIS_MNEMONIC_MFENCE, .forms = FORM(NONE), .run = nop},
    {.mnemonic = ZYDIS_MNEMONIC_LFENCE, .forms = FORM(NONE), .run = nop},
    {.mnemonic = ZYDIS_MNEMONIC_SFENCE, .forms = FORM(NONE), .run = nop},
    {0},
};
