/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Vector registers and memory: whole moves, halves, single elements, masks of signs, broadcasts.
 */
#include <Zydis/Zydis.h>

#include "process/emulator_vector.h"

#define FORM(form) (1u << FORM_##form)

/* --- whole registers -------------------------------------------------------------------------- */

static struct op *move_rr(struct machine *machine, struct op *op)
{
    union vector value = *vector_at(machine, op->r[1]);
    vector_set(machine, op, &value, op->size);
    return op + 1;
}

static bool fault_if_misaligned(struct machine *machine, const struct op *op, uint64_t addr)
{
    if (!op->aux || addr % op->size == 0)
        return false;
    machine->public.fault_addr = addr;
    machine->end = EMULATOR_MEMORY;
    return true;
}

/* aux: the address must be aligned. */
static struct op *move_rm(struct machine *machine, struct op *op)
{
    union vector value;
    uint64_t addr = op_address(machine, op);
    if (fault_if_misaligned(machine, op, addr) || !vector_load(machine, addr, &value, op->size))
        return NULL;
    vector_set(machine, op, &value, op->size);
    return op + 1;
}

static struct op *move_mr(struct machine *machine, struct op *op)
{
    uint64_t addr = op_address(machine, op);
    const union vector *from = vector_at(machine, op->r[0]);
    const struct tlb_entry *entry = tlb_at(machine, addr);
    if (fault_if_misaligned(machine, op, addr))
        return NULL;
    if (entry->write_page != addr >> PAGE_BITS || addr % PAGE_BYTES + op->size > PAGE_BYTES)
        return memory_write(machine, addr, from, op->size) ? op + 1 : NULL;
    memcpy(entry->bytes + addr % PAGE_BYTES, from, op->size);
    return op + 1;
}

static op_fn *const move_forms[NR_FORMS] = {
    [FORM_RR] = move_rr, [FORM_RM] = move_rm, [FORM_MR] = move_mr};

/* --- movd, movq ------------------------------------------------------------------------------- */

/* aux: bytes that are moved; the rest of a vector register is zeroed. */
static struct op *move_low(struct machine *machine, struct op *op)
{
    unsigned shift = shift_of(op->aux);
    uint64_t value;
    if (op->form == FORM_RM) {
        if (!load(machine, op_address(machine, op), op->aux, &value))
            return NULL;
    } else if (op->form == FORM_MR) {
        value = vector_at(machine, op->r[0])->lanes[0].u64[0];
        return store(machine, op_address(machine, op), op->aux, value) ? op + 1 : NULL;
    } else if (op->vectors & 2) {
        value = vector_at(machine, op->r[1])->lanes[0].u64[0] << shift >> shift;
    } else {
        value = register_get(machine, op->r[1], shift);
    }
    const union lane lane = {.u64 = {value, 0}};
    if (op->vectors & 1)
        vector_set(machine, op, &lane, 16);
    else
        register_set(machine, op->r[0], op->size, value);
    return op + 1;
}

/* movss, movsd; aux: 4 or 8 bytes.  From memory the rest is zeroed, from a register it is kept. */
static struct op *move_scalar(struct machine *machine, struct op *op)
{
    union lane lane = {0};
    uint64_t value;
    if (op->form == FORM_MR) {
        value = vector_at(machine, op->r[0])->lanes[0].u64[0];
        return store(machine, op_address(machine, op), op->aux, value) ? op + 1 : NULL;
    }
    if (op->form == FORM_RM) {
        if (!load(machine, op_address(machine, op), op->aux, &lane.u64[0]))
            return NULL;
    } else {
        lane = vector_at(machine, op->r[op->form == FORM_RRR])->lanes[0];
        const union vector *from = vector_at(machine, op->r[op->form == FORM_RRR ? 2 : 1]);
        if (op->form == FORM_RR)
            lane = vector_at(machine, op->r[0])->lanes[0];
        memcpy(&lane, from, op->aux);
    }
    vector_set(machine, op, &lane, 16);
    return op + 1;
}

/* --- halves ----------------------------------------------------------------------------------- */

/* movlps, movhps (and pd); aux: the half.  Of three operands the second gives the other half. */
static struct op *move_half(struct machine *machine, struct op *op)
{
    uint64_t addr = op_address(machine, op), value;
    if (op->form == FORM_MR) {
        value = vector_at(machine, op->r[0])->lanes[0].u64[op->aux];
        return store(machine, addr, 8, value) ? op + 1 : NULL;
    }
    union lane lane = vector_at(machine, op->r[op->form == FORM_RRM])->lanes[0];
    if (!load(machine, addr, 8, &lane.u64[op->aux]))
        return NULL;
    vector_set(machine, op, &lane, 16);
    return op + 1;
}

/* movhlps (aux 1) and movlhps. */
static struct op *move_half_register(struct machine *machine, struct op *op)
{
    union lane lane = vector_at(machine, op->r[1])->lanes[0];
    const union lane *from = &vector_at(machine, op->r[2])->lanes[0];
    if (op->aux)
        lane.u64[0] = from->u64[1];
    else
        lane.u64[1] = from->u64[0];
    vector_set(machine, op, &lane, 16);
    return op + 1;
}

/* vextracti128 and its like: the first operand gets 16 bytes of a longer one. */
static struct op *extract_half(struct machine *machine, struct op *op)
{
    bool to_memory = op->form == FORM_MRI;
    const union vector *from = vector_at(machine, op->r[to_memory ? 0 : 1]);
    union lane lane = from->lanes[op->immediate & 1];
    if (to_memory)
        return memory_write(machine, op_address(machine, op), &lane, 16) ? op + 1 : NULL;
    vector_set(machine, op, &lane, 16);
    return op + 1;
}

static struct op *insert_half(struct machine *machine, struct op *op)
{
    union vector buffer, value = *vector_at(machine, op->r[1]);
    const union vector *from = vector_source(machine, op, 2, &buffer);
    if (!from)
        return NULL;
    union lane lane = from->lanes[0];
    value.lanes[op->immediate & 1] = lane;
    vector_set(machine, op, &value, 32);
    return op + 1;
}

/* vperm2i128: each half is one of the four of both sources, or zero. */
static struct op *permute_halves(struct machine *machine, struct op *op)
{
    union vector buffer, value = {0};
    const union vector *a = vector_at(machine, op->r[1]);
    const union vector *b = vector_source(machine, op, 2, &buffer);
    if (!b)
        return NULL;
    for (unsigned i = 0; i < 2; i++) {
        unsigned control = op->immediate >> (4 * i) & 15;
        if (!(control & 8))
            value.lanes[i] = (control & 2 ? b : a)->lanes[control & 1];
    }
    vector_set(machine, op, &value, 32);
    return op + 1;
}

/* --- elements --------------------------------------------------------------------------------- */

/* pinsrb, w, d, q; aux: bytes of an element. */
static struct op *insert(struct machine *machine, struct op *op)
{
    union lane lane = vector_at(machine, op->r[1])->lanes[0];
    uint64_t value;
    if (op->form == FORM_RRMI) {
        if (!load(machine, op_address(machine, op), op->aux, &value))
            return NULL;
    } else {
        value = register_raw(machine, op->r[2]);
    }
    put_bytes(lane.u8 + (op->immediate * op->aux & 15), value, op->aux);
    vector_set(machine, op, &lane, 16);
    return op + 1;
}

/* pextrb, w, d, q, extractps. */
static struct op *extract(struct machine *machine, struct op *op)
{
    bool to_memory = op->form == FORM_MRI;
    const union vector *from = vector_at(machine, op->r[to_memory ? 0 : 1]);
    uint64_t value = 0;
    memcpy(&value, from->bytes + (op->immediate * op->aux & 15), op->aux);
    if (to_memory)
        return store(machine, op_address(machine, op), op->aux, value) ? op + 1 : NULL;
    register_set(machine, op->r[0], 8, value);
    return op + 1;
}

/* pmovmskb, movmskps, movmskpd; aux: bytes of an element. */
static struct op *sign_mask(struct machine *machine, struct op *op)
{
    const uint8_t *bytes = vector_at(machine, op->r[1])->bytes;
    uint64_t mask = 0;
    for (unsigned i = 0; i < op->second_size / op->aux; i++)
        mask |= (uint64_t)(bytes[(i + 1) * op->aux - 1] >> 7) << i;
    register_set(machine, op->r[0], 8, mask);
    return op + 1;
}

/* One element everywhere, from memory, a vector, or (EVEX) a general register. */
static struct op *broadcast(struct machine *machine, struct op *op)
{
    union vector value;
    uint8_t element[16];
    if (op->form == FORM_RM) {
        if (!vector_load(machine, op_address(machine, op), element, op->aux))
            return NULL;
    } else if (op->vectors & 2) {
        memcpy(element, vector_at(machine, op->r[1]), op->aux);
    } else {
        put_bytes(element, register_raw(machine, op->r[1]), op->aux);
    }
    for (unsigned at = 0; at < op->size; at += op->aux)
        memcpy(value.bytes + at, element, op->aux);
    vector_set(machine, op, &value, op->size);
    return op + 1;
}

/* --- others ----------------------------------------------------------------------------------- */

static struct op *test_bits(struct machine *machine, struct op *op)
{
    union vector buffer;
    const union vector *a = vector_at(machine, op->r[0]);
    const union vector *b = vector_source(machine, op, 1, &buffer);
    if (!b)
        return NULL;
    uint64_t both = 0, only_b = 0;
    for (unsigned i = 0; i < op->size / 16u; i++) {
        for (unsigned k = 0; k < 2; k++) {
            both |= a->lanes[i].u64[k] & b->lanes[i].u64[k];
            only_b |= ~a->lanes[i].u64[k] & b->lanes[i].u64[k];
        }
    }
    machine->flags = (struct flags){.zero = both, .carry = only_b == 0, .parity = 1};
    return op + 1;
}

/* vzeroupper; aux 16: what is kept of each; vzeroall: 0. */
static struct op *zero_upper(struct machine *machine, struct op *op)
{
    for (unsigned i = 0; i < 16; i++)
        memset(machine->vectors[i].bytes + op->aux, 0, VECTOR_BYTES - op->aux);
    return op + 1;
}

struct op *lanes_unary(struct machine *machine, struct op *op)
{
    union vector buffer, value;
    const union vector *a = vector_source(machine, op, 1, &buffer);
    if (!a)
        return NULL;
    for (unsigned i = 0; i < op->size / 16u; i++)
        op->lane(&value.lanes[i], &a->lanes[i], NULL, op->immediate);
    if (op->mask)
        vector_apply_mask(machine, op, &value, op->aux);
    vector_set(machine, op, &value, op->size);
    return op + 1;
}

struct op *lanes_binary(struct machine *machine, struct op *op)
{
    union vector buffer, value;
    const union vector *a = vector_at(machine, op->r[1]);
    const union vector *b = vector_source(machine, op, 2, &buffer);
    if (!b)
        return NULL;
    for (unsigned i = 0; i < op->size / 16u; i++)
        op->lane(&value.lanes[i], &a->lanes[i], &b->lanes[i], op->immediate);
    if (op->mask) /* aux: bytes of an element */
        vector_apply_mask(machine, op, &value, op->aux);
    vector_set(machine, op, &value, op->size);
    return op + 1;
}

/* --- table ------------------------------------------------------------------------------------ */

#define MOVE(name, is_aligned, more)                                                               \
    {                                                                                              \
        .mnemonic = ZYDIS_MNEMONIC_##name, .by_form = move_forms, .aux = is_aligned,               \
        .flags = RULE_VECTOR | (more)                                                              \
    }
/* The two names of one instruction: SSE's and AVX's. */
#define BOTH(name, allowed, function, number, more)                                                \
    {.mnemonic = ZYDIS_MNEMONIC_##name,                                                            \
     .forms = allowed,                                                                             \
     .run = function,                                                                              \
     .aux = number,                                                                                \
     .flags = more},                                                                               \
    {                                                                                              \
        .mnemonic = ZYDIS_MNEMONIC_V##name, .forms = allowed, .run = function, .aux = number,      \
        .flags = more                                                                              \
    }
#define ONE(name, allowed, function, number, more)                                                 \
    {                                                                                              \
        .mnemonic = ZYDIS_MNEMONIC_##name, .forms = allowed, .run = function, .aux = number,       \
        .flags = more                                                                              \
    }
#define HALF_FORMS (FORM(RM) | FORM(RRM) | FORM(MR))
#define LOW_FORMS (FORM(RR) | FORM(RM) | FORM(MR))
#define SCALAR_FORMS (FORM(RR) | FORM(RM) | FORM(MR) | FORM(RRR))

const struct op_rule vector_rules[] = {
    MOVE(MOVUPS, 0, 0),
    MOVE(VMOVUPS, 0, RULE_EVEX),
    MOVE(MOVUPD, 0, 0),
    MOVE(VMOVUPD, 0, RULE_EVEX),
    MOVE(MOVDQU, 0, 0),
    MOVE(VMOVDQU, 0, 0),
    MOVE(LDDQU, 0, 0),
    MOVE(VLDDQU, 0, 0),
    MOVE(MOVAPS, 1, 0),
    MOVE(VMOVAPS, 1, RULE_EVEX),
    MOVE(MOVAPD, 1, 0),
    MOVE(VMOVAPD, 1, RULE_EVEX),
    MOVE(MOVDQA, 1, 0),
    MOVE(VMOVDQA, 1, 0),
    MOVE(MOVNTDQ, 1, 0),
    MOVE(VMOVNTDQ, 1, RULE_EVEX),
    MOVE(MOVNTPS, 1, 0),
    MOVE(VMOVNTPS, 1, RULE_EVEX),
    MOVE(MOVNTPD, 1, 0),
    MOVE(VMOVNTPD, 1, RULE_EVEX),
    MOVE(MOVNTDQA, 1, 0),
    MOVE(VMOVNTDQA, 1, RULE_EVEX),
    BOTH(MOVD, LOW_FORMS, move_low, 4, RULE_EVEX),
    BOTH(MOVQ, LOW_FORMS, move_low, 8, RULE_EVEX),
    BOTH(MOVSS, SCALAR_FORMS, move_scalar, 4, RULE_EVEX),
    BOTH(MOVSD, SCALAR_FORMS, move_scalar, 8, RULE_EVEX),
    BOTH(MOVLPS, HALF_FORMS, move_half, 0, 0),
    BOTH(MOVLPD, HALF_FORMS, move_half, 0, 0),
    BOTH(MOVHPS, HALF_FORMS, move_half, 1, 0),
    BOTH(MOVHPD, HALF_FORMS, move_half, 1, 0),
    BOTH(MOVHLPS, FORM(RRR), move_half_register, 1, RULE_MERGE),
    BOTH(MOVLHPS, FORM(RRR), move_half_register, 0, RULE_MERGE),
    ONE(VEXTRACTI128, FORM(RRI) | FORM(MRI), extract_half, 0, 0),
    ONE(VEXTRACTF128, FORM(RRI) | FORM(MRI), extract_half, 0, 0),
    ONE(VINSERTI128, FORM(RRRI) | FORM(RRMI), insert_half, 0, 0),
    ONE(VINSERTF128, FORM(RRRI) | FORM(RRMI), insert_half, 0, 0),
    ONE(VPERM2I128, FORM(RRRI) | FORM(RRMI), permute_halves, 0, 0),
    ONE(VPERM2F128, FORM(RRRI) | FORM(RRMI), permute_halves, 0, 0),
    BOTH(PINSRB, FORM(RRRI) | FORM(RRMI), insert, 1, RULE_MERGE),
    BOTH(PINSRW, FORM(RRRI) | FORM(RRMI), insert, 2, RULE_MERGE),
    BOTH(PINSRD, FORM(RRRI) | FORM(RRMI), insert, 4, RULE_MERGE),
    BOTH(PINSRQ, FORM(RRRI) | FORM(RRMI), insert, 8, RULE_MERGE),
    BOTH(PEXTRB, FORM(RRI) | FORM(MRI), extract, 1, 0),
    BOTH(PEXTRW, FORM(RRI) | FORM(MRI), extract, 2, 0),
    BOTH(PEXTRD, FORM(RRI) | FORM(MRI), extract, 4, 0),
    BOTH(PEXTRQ, FORM(RRI) | FORM(MRI), extract, 8, 0),
    BOTH(EXTRACTPS, FORM(RRI) | FORM(MRI), extract, 4, 0),
    BOTH(PMOVMSKB, FORM(RR), sign_mask, 1, 0),
    BOTH(MOVMSKPS, FORM(RR), sign_mask, 4, 0),
    BOTH(MOVMSKPD, FORM(RR), sign_mask, 8, 0),
    ONE(VPBROADCASTB, FORM(RR) | FORM(RM), broadcast, 1, RULE_EVEX),
    ONE(VPBROADCASTW, FORM(RR) | FORM(RM), broadcast, 2, RULE_EVEX),
    ONE(VPBROADCASTD, FORM(RR) | FORM(RM), broadcast, 4, RULE_EVEX),
    ONE(VPBROADCASTQ, FORM(RR) | FORM(RM), broadcast, 8, RULE_EVEX),
    ONE(VBROADCASTSS, FORM(RR) | FORM(RM), broadcast, 4, RULE_EVEX),
    ONE(VBROADCASTSD, FORM(RR) | FORM(RM), broadcast, 8, RULE_EVEX),
    ONE(VBROADCASTI128, FORM(RM), broadcast, 16, 0),
    ONE(VBROADCASTF128, FORM(RM), broadcast, 16, 0),
    BOTH(PTEST, FORM(RR) | FORM(RM), test_bits, 0, 0),
    ONE(VZEROUPPER, FORM(NONE), zero_upper, 16, 0),
    ONE(VZEROALL, FORM(NONE), zero_upper, 0, 0),
    {0},
};
