/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What AVX-512 code has beside AVX: mask registers, comparisons into them, moves under a mask; as
 * much as the string functions of C libraries use.  Under a mask only elements whose bit is set are
 * read, written and able to fault.
 */
#include <Zydis/Zydis.h>

#include "process/emulator_vector.h"

#define FORM(form) (1u << FORM_##form)

/* --- moves under a mask ----------------------------------------------------------------------- */

/* Without a mask register all elements take part. */
static uint64_t mask_of(const struct machine *machine, const struct op *op)
{
    return op->mask ? machine->masks[op->mask] : ~(uint64_t)0;
}

/* Elements of `value` that the mask leaves out get what the destination has, or zeros. */
void vector_apply_mask(const struct machine *machine, const struct op *op, union vector *value,
                       unsigned element_bytes)
{
    const union vector *old = &machine->vectors[op->r[0]];
    uint64_t mask = mask_of(machine, op);
    for (unsigned i = 0; i < op->size / element_bytes; i++) {
        uint8_t *element = value->bytes + i * element_bytes;
        if (mask >> i & 1)
            continue;
        if (op->is_zeroing)
            memset(element, 0, element_bytes);
        else
            memcpy(element, old->bytes + i * element_bytes, element_bytes);
    }
}

/* aux & 15: bytes of an element. */
static bool load_masked(struct machine *machine, const struct op *op, union vector *value)
{
    uint64_t addr = op_address(machine, op), mask = mask_of(machine, op);
    if (!op->mask)
        return vector_load(machine, addr, value, op->memory_size);
    memset(value, 0, sizeof(*value));
    for (unsigned i = 0; i < op->memory_size / (op->aux & 15); i++) {
        uint64_t element = 0;
        if (!(mask >> i & 1))
            continue;
        if (!load(machine, addr + i * (op->aux & 15), op->aux & 15, &element))
            return false;
        put_bytes(value->bytes + i * (op->aux & 15), element, op->aux & 15);
    }
    return true;
}

static struct op *store_masked(struct machine *machine, struct op *op)
{
    uint64_t addr = op_address(machine, op), mask = mask_of(machine, op);
    const union vector *from = vector_at(machine, op->r[0]);
    unsigned element_bytes = op->aux & 15, nr = op->size / element_bytes;
    if (!op->mask)
        return memory_write(machine, addr, from, op->size) ? op + 1 : NULL;
    for (unsigned i = 0; i < nr; i++)
        if (mask >> i & 1 &&
            !memory_prepare_write(machine, addr + i * element_bytes, element_bytes))
            return NULL;
    for (unsigned i = 0; i < nr; i++)
        if (mask >> i & 1 && !memory_write(machine, addr + i * element_bytes,
                                           from->bytes + i * element_bytes, element_bytes))
            return NULL;
    return op + 1;
}

/* aux: bytes of an element, and 16: the address must be aligned. */
static struct op *move(struct machine *machine, struct op *op)
{
    union vector value;
    uint64_t wanted = mask_of(machine, op) << (64 - op->size / (op->aux & 15));
    if (op->aux & 16 && op->form != FORM_RR && wanted && op_address(machine, op) % op->size) {
        machine->public.fault_addr = op_address(machine, op);
        return stop(machine, EMULATOR_MEMORY);
    }
    if (op->form == FORM_MR)
        return store_masked(machine, op);
    if (op->form == FORM_RR)
        value = *vector_at(machine, op->r[1]);
    else if (!load_masked(machine, op, &value))
        return NULL;
    vector_apply_mask(machine, op, &value, op->aux & 15);
    vector_set(machine, op, &value, op->size);
    return op + 1;
}

/* --- comparisons into a mask ------------------------------------------------------------------ */

enum { COMPARE_SIGNED = 16, COMPARE_EQUAL = 32, COMPARE_GREATER = 64, TEST_ANY = 128 };

/* vpcmp's immediate: equal, less, less or equal, never, and the contrary of each. */
static bool holds(uint64_t immediate, bool is_less, bool is_equal)
{
    const bool relations[4] = {is_equal, is_less, is_less || is_equal, false};
    return relations[immediate & 3] != (immediate >> 2 & 1);
}

static bool compare_element(const struct op *op, uint64_t x, uint64_t y)
{
    unsigned shift = shift_of(op->aux & 15);
    x <<= shift;
    y <<= shift;
    if (op->aux & TEST_ANY)
        return ((x & y) != 0) == (op->aux & COMPARE_EQUAL ? false : true);
    if (op->aux & COMPARE_EQUAL)
        return x == y;
    bool is_signed = op->aux & (COMPARE_SIGNED | COMPARE_GREATER);
    bool is_less = is_signed ? (int64_t)x < (int64_t)y : x < y;
    if (op->aux & COMPARE_GREATER)
        return !is_less && x != y;
    return holds(op->immediate, is_less, x == y);
}

/* aux: bytes of an element and what is asked.  Elements out of the mask give 0. */
static struct op *compare(struct machine *machine, struct op *op)
{
    union vector buffer;
    unsigned size = op->aux & 15;
    const union vector *a = vector_at(machine, op->r[1]);
    const union vector *b = is_memory_last(op) ? &buffer : vector_at(machine, op->r[2]);
    uint64_t result = 0;
    if (b == &buffer && !load_masked(machine, op, &buffer))
        return NULL;
    for (unsigned i = 0; i < op->second_size / size; i++) {
        uint64_t x = 0, y = 0;
        memcpy(&x, a->bytes + i * size, size);
        memcpy(&y, b->bytes + i * size, size);
        result |= (uint64_t)compare_element(op, x, y) << i;
    }
    machine->masks[op->r[0]] = result & mask_of(machine, op);
    return op + 1;
}

/* --- mask registers --------------------------------------------------------------------------- */

static uint64_t cut(uint64_t value, unsigned bytes)
{
    return value << shift_of(bytes) >> shift_of(bytes);
}

/* kmovb, w, d, q; aux: bytes. */
static struct op *move_mask(struct machine *machine, struct op *op)
{
    uint64_t value;
    if (op->form == FORM_MR) {
        value = machine->masks[op->r[0]];
        return store(machine, op_address(machine, op), op->aux, value) ? op + 1 : NULL;
    }
    if (op->form == FORM_RM) {
        if (!load(machine, op_address(machine, op), op->aux, &value))
            return NULL;
    } else {
        value = op->masks & 2 ? machine->masks[op->r[1]] : register_raw(machine, op->r[1]);
    }
    if (op->masks & 1)
        machine->masks[op->r[0]] = cut(value, op->aux);
    else
        register_set(machine, op->r[0], 8, cut(value, op->aux));
    return op + 1;
}

/* kortest: are all bits zero, are all set?  ktest (aux 16): with and, with andn. */
static struct op *test_masks(struct machine *machine, struct op *op)
{
    unsigned bytes = op->aux & 15;
    uint64_t a = cut(machine->masks[op->r[0]], bytes), b = cut(machine->masks[op->r[1]], bytes);
    bool is_test = op->aux & 16;
    bool is_carry = is_test ? (~a & b) == 0 : (a | b) == cut(~(uint64_t)0, bytes);
    machine->flags =
        (struct flags){.zero = is_test ? a & b : a | b, .carry = is_carry, .parity = 1};
    return op + 1;
}

enum mask_kind { MASK_AND, MASK_ANDN, MASK_OR, MASK_XOR, MASK_XNOR, MASK_ADD, MASK_UNPACK };

/* aux: bytes (of a half for kunpck), and 16 times the kind. */
static struct op *combine_masks(struct machine *machine, struct op *op)
{
    unsigned bytes = op->aux & 15;
    uint64_t a = machine->masks[op->r[1]], b = machine->masks[op->r[2]], result;
    switch (op->aux >> 4) {
    case MASK_AND:
        result = a & b;
        break;
    case MASK_ANDN:
        result = ~a & b;
        break;
    case MASK_OR:
        result = a | b;
        break;
    case MASK_XOR:
        result = a ^ b;
        break;
    case MASK_XNOR:
        result = ~(a ^ b);
        break;
    case MASK_ADD:
        result = a + b;
        break;
    default:
        result = a << (8 * bytes) | cut(b, bytes);
        bytes *= 2;
        break;
    }
    machine->masks[op->r[0]] = cut(result, bytes);
    return op + 1;
}

static struct op *invert_mask(struct machine *machine, struct op *op)
{
    machine->masks[op->r[0]] = cut(~machine->masks[op->r[1]], op->aux);
    return op + 1;
}

/* kshiftl; aux 16: kshiftr. */
static struct op *shift_mask(struct machine *machine, struct op *op)
{
    unsigned bytes = op->aux & 15;
    uint64_t value = cut(machine->masks[op->r[1]], bytes), amount = op->immediate & 255;
    if (amount >= 8 * bytes)
        value = 0;
    else
        value = op->aux & 16 ? value >> amount : cut(value << amount, bytes);
    machine->masks[op->r[0]] = value;
    return op + 1;
}

/* vpternlog: a table of 8 bits says what three bits give.  aux: bytes of an element. */
static struct op *ternary_logic(struct machine *machine, struct op *op)
{
    union vector buffer, value;
    const union vector *a = vector_at(machine, op->r[0]), *b = vector_at(machine, op->r[1]);
    const union vector *c = vector_source(machine, op, 2, &buffer);
    if (!c)
        return NULL;
    for (unsigned i = 0; i < op->size; i++) {
        unsigned byte = 0;
        for (unsigned bit = 0; bit < 8; bit++) {
            unsigned at = (a->bytes[i] >> bit & 1u) << 2 | (b->bytes[i] >> bit & 1u) << 1 |
                          (c->bytes[i] >> bit & 1u);
            byte |= (unsigned)(op->immediate >> at & 1) << bit;
        }
        value.bytes[i] = (uint8_t)byte;
    }
    vector_apply_mask(machine, op, &value, op->aux);
    vector_set(machine, op, &value, op->size);
    return op + 1;
}

/* --- table ------------------------------------------------------------------------------------ */

#define MOVE(name, bytes)                                                                          \
    {                                                                                              \
        .mnemonic = ZYDIS_MNEMONIC_##name, .forms = FORM(RR) | FORM(RM) | FORM(MR), .run = move,   \
        .aux = bytes, .flags = RULE_VECTOR | RULE_EVEX | RULE_MASK | RULE_MASK_MEMORY              \
    }
#define COMPARE(name, allowed, number)                                                             \
    {                                                                                              \
        .mnemonic = ZYDIS_MNEMONIC_##name, .forms = allowed, .run = compare, .aux = number,        \
        .flags = RULE_EVEX | RULE_MASK | RULE_MASK_MEMORY | RULE_TO_MASK                           \
    }
#define BY_IMMEDIATE(name, number) COMPARE(name, FORM(RRRI) | FORM(RRMI), number)
#define PLAIN(name, number) COMPARE(name, FORM(RRR) | FORM(RRM), number)
#define MASKS(name, allowed, function, number)                                                     \
    {                                                                                              \
        .mnemonic = ZYDIS_MNEMONIC_##name, .forms = allowed, .run = function, .aux = number        \
    }
#define SIZES(name, allowed, function, number)                                                     \
    MASKS(name##B, allowed, function, (number) | 1),                                               \
        MASKS(name##W, allowed, function, (number) | 2),                                           \
        MASKS(name##D, allowed, function, (number) | 4),                                           \
        MASKS(name##Q, allowed, function, (number) | 8)

const struct op_rule mask_rules[] = {
    MOVE(VMOVDQU8, 1),
    MOVE(VMOVDQU16, 2),
    MOVE(VMOVDQU32, 4),
    MOVE(VMOVDQU64, 8),
    MOVE(VMOVDQA32, 4 | 16),
    MOVE(VMOVDQA64, 8 | 16),
    BY_IMMEDIATE(VPCMPB, 1 | COMPARE_SIGNED),
    BY_IMMEDIATE(VPCMPW, 2 | COMPARE_SIGNED),
    BY_IMMEDIATE(VPCMPD, 4 | COMPARE_SIGNED),
    BY_IMMEDIATE(VPCMPQ, 8 | COMPARE_SIGNED),
    BY_IMMEDIATE(VPCMPUB, 1),
    BY_IMMEDIATE(VPCMPUW, 2),
    BY_IMMEDIATE(VPCMPUD, 4),
    BY_IMMEDIATE(VPCMPUQ, 8),
    PLAIN(VPCMPEQB, 1 | COMPARE_EQUAL),
    PLAIN(VPCMPEQW, 2 | COMPARE_EQUAL),
    PLAIN(VPCMPEQD, 4 | COMPARE_EQUAL),
    PLAIN(VPCMPEQQ, 8 | COMPARE_EQUAL),
    PLAIN(VPCMPGTB, 1 | COMPARE_GREATER),
    PLAIN(VPCMPGTW, 2 | COMPARE_GREATER),
    PLAIN(VPCMPGTD, 4 | COMPARE_GREATER),
    PLAIN(VPCMPGTQ, 8 | COMPARE_GREATER),
    PLAIN(VPTESTMB, 1 | TEST_ANY),
    PLAIN(VPTESTMW, 2 | TEST_ANY),
    PLAIN(VPTESTMD, 4 | TEST_ANY),
    PLAIN(VPTESTMQ, 8 | TEST_ANY),
    PLAIN(VPTESTNMB, 1 | TEST_ANY | COMPARE_EQUAL),
    PLAIN(VPTESTNMW, 2 | TEST_ANY | COMPARE_EQUAL),
    PLAIN(VPTESTNMD, 4 | TEST_ANY | COMPARE_EQUAL),
    PLAIN(VPTESTNMQ, 8 | TEST_ANY | COMPARE_EQUAL),
    SIZES(KMOV, FORM(RR) | FORM(RM) | FORM(MR), move_mask, 0),
    SIZES(KORTEST, FORM(RR), test_masks, 0),
    SIZES(KTEST, FORM(RR), test_masks, 16),
    SIZES(KAND, FORM(RRR), combine_masks, MASK_AND * 16),
    SIZES(KANDN, FORM(RRR), combine_masks, MASK_ANDN * 16),
    SIZES(KOR, FORM(RRR), combine_masks, MASK_OR * 16),
    SIZES(KXOR, FORM(RRR), combine_masks, MASK_XOR * 16),
    SIZES(KXNOR, FORM(RRR), combine_masks, MASK_XNOR * 16),
    SIZES(KADD, FORM(RRR), combine_masks, MASK_ADD * 16),
    MASKS(KUNPCKBW, FORM(RRR), combine_masks, MASK_UNPACK * 16 + 1),
    MASKS(KUNPCKWD, FORM(RRR), combine_masks, MASK_UNPACK * 16 + 2),
    MASKS(KUNPCKDQ, FORM(RRR), combine_masks, MASK_UNPACK * 16 + 4),
    SIZES(KNOT, FORM(RR), invert_mask, 0),
    SIZES(KSHIFTL, FORM(RRI), shift_mask, 0),
    SIZES(KSHIFTR, FORM(RRI), shift_mask, 16),
    {.mnemonic = ZYDIS_MNEMONIC_VPTERNLOGD,
     .forms = FORM(RRRI) | FORM(RRMI),
     .run = ternary_logic,
     .aux = 4,
     .flags = RULE_VECTOR | RULE_EVEX | RULE_MASK},
    {.mnemonic = ZYDIS_MNEMONIC_VPTERNLOGQ,
     .forms = FORM(RRRI) | FORM(RRMI),
     .run = ternary_logic,
     .aux = 8,
     .flags = RULE_VECTOR | RULE_EVEX | RULE_MASK},
    {0},
};
