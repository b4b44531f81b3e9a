/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Vector instructions that move, widen, pack and blend elements within 16 bytes, and those few of
 * AVX2 that move them further.
 */
#include <Zydis/Zydis.h>

#include "process/emulator_vector.h"

#define FORM(form) (1u << FORM_##form)

#define LANE(name)                                                                                 \
    static void name(union lane *to, const union lane *a, const union lane *b, uint64_t immediate)

/* --- shuffles --------------------------------------------------------------------------------- */

LANE(shuffle_dwords)
{
    (void)b;
    for (unsigned i = 0; i < 4; i++)
        to->u32[i] = a->u32[immediate >> (2 * i) & 3];
}

LANE(shuffle_low_words)
{
    (void)b;
    *to = *a;
    for (unsigned i = 0; i < 4; i++)
        to->u16[i] = a->u16[immediate >> (2 * i) & 3];
}

LANE(shuffle_high_words)
{
    (void)b;
    *to = *a;
    for (unsigned i = 0; i < 4; i++)
        to->u16[4 + i] = a->u16[4 + (immediate >> (2 * i) & 3)];
}

LANE(shuffle_two)
{
    for (unsigned i = 0; i < 4; i++)
        to->u32[i] = (i < 2 ? a : b)->u32[immediate >> (2 * i) & 3];
}

LANE(shuffle_bytes)
{
    (void)immediate;
    for (unsigned i = 0; i < 16; i++)
        to->u8[i] = b->u8[i] & 128 ? 0 : a->u8[b->u8[i] & 15];
}

LANE(align_right)
{
    for (unsigned i = 0; i < 16; i++) {
        uint64_t from = i + (immediate & 255);
        to->u8[i] = from < 16 ? b->u8[from] : from < 32 ? a->u8[from - 16] : 0;
    }
}

LANE(shift_bytes_left)
{
    (void)b;
    for (unsigned i = 0; i < 16; i++)
        to->u8[i] = i >= (immediate & 255) ? a->u8[i - (immediate & 255)] : 0;
}

LANE(shift_bytes_right)
{
    (void)b;
    for (unsigned i = 0; i < 16; i++)
        to->u8[i] = i + (immediate & 255) < 16 ? a->u8[i + (immediate & 255)] : 0;
}

/* --- interleaving ----------------------------------------------------------------------------- */

#define UNPACKS(X)                                                                                 \
    X(unpack_low_bytes, u8, 0)                                                                     \
    X(unpack_low_words, u16, 0)                                                                    \
    X(unpack_low_dwords, u32, 0)                                                                   \
    X(unpack_low_qwords, u64, 0)                                                                   \
    X(unpack_high_bytes, u8, 8)                                                                    \
    X(unpack_high_words, u16, 4)                                                                   \
    X(unpack_high_dwords, u32, 2)                                                                  \
    X(unpack_high_qwords, u64, 1)
#define UNPACK_FUNCTION(name, elements, first)                                                     \
    LANE(name)                                                                                     \
    {                                                                                              \
        (void)immediate;                                                                           \
        for (unsigned i = 0; i < 8 / sizeof(to->elements[0]); i++) {                               \
            to->elements[2 * i] = a->elements[first + i];                                          \
            to->elements[2 * i + 1] = b->elements[first + i];                                      \
        }                                                                                          \
    }
UNPACKS(UNPACK_FUNCTION)

#define PACKS(X)                                                                                   \
    X(pack_words, i8, i16, -128, 127)                                                              \
    X(pack_words_unsigned, u8, i16, 0, 255)                                                        \
    X(pack_dwords, i16, i32, -32768, 32767)                                                        \
    X(pack_dwords_unsigned, u16, i32, 0, 65535)
#define PACK_FUNCTION(name, to_elements, from_elements, least, most)                               \
    LANE(name)                                                                                     \
    {                                                                                              \
        enum { NR = 16 / sizeof(a->from_elements[0]) };                                            \
        (void)immediate;                                                                           \
        for (unsigned i = 0; i < 2 * NR; i++) {                                                    \
            int32_t x = (i < NR ? a : b)->from_elements[i % NR];                                   \
            to->to_elements[i] = (__typeof__(to->to_elements[0]))(x < (least)  ? (least)           \
                                                                  : x > (most) ? (most)            \
                                                                               : x);               \
        }                                                                                          \
    }
PACKS(PACK_FUNCTION)

/* --- duplicates ------------------------------------------------------------------------------- */

LANE(duplicate_even)
{
    (void)b, (void)immediate;
    for (unsigned i = 0; i < 4; i++)
        to->u32[i] = a->u32[i & 2];
}

LANE(duplicate_odd)
{
    (void)b, (void)immediate;
    for (unsigned i = 0; i < 4; i++)
        to->u32[i] = a->u32[i | 1];
}

LANE(duplicate_low)
{
    (void)b, (void)immediate;
    to->u64[0] = to->u64[1] = a->u64[0];
}

/* --- sums over neighbours --------------------------------------------------------------------- */

LANE(multiply_add_words)
{
    (void)immediate;
    for (unsigned i = 0; i < 4; i++) {
        int64_t sum =
            (int64_t)a->i16[2 * i] * b->i16[2 * i] + (int64_t)a->i16[2 * i + 1] * b->i16[2 * i + 1];
        to->u32[i] = (uint32_t)sum;
    }
}

LANE(multiply_add_bytes)
{
    (void)immediate;
    for (unsigned i = 0; i < 8; i++) {
        int32_t sum = a->u8[2 * i] * b->i8[2 * i] + a->u8[2 * i + 1] * b->i8[2 * i + 1];
        to->i16[i] = (int16_t)(sum < -32768 ? -32768 : sum > 32767 ? 32767 : sum);
    }
}

LANE(sum_of_differences)
{
    (void)immediate;
    for (unsigned half = 0; half < 2; half++) {
        uint64_t sum = 0;
        for (unsigned i = 8 * half; i < 8 * half + 8; i++)
            sum += (uint64_t)(a->u8[i] > b->u8[i] ? a->u8[i] - b->u8[i] : b->u8[i] - a->u8[i]);
        to->u64[half] = sum;
    }
}

LANE(add_neighbours_words)
{
    (void)immediate;
    for (unsigned i = 0; i < 8; i++) {
        const union lane *from = i < 4 ? a : b;
        to->u16[i] = (uint16_t)(from->u16[2 * (i % 4)] + from->u16[2 * (i % 4) + 1]);
    }
}

LANE(add_neighbours_dwords)
{
    (void)immediate;
    for (unsigned i = 0; i < 4; i++) {
        const union lane *from = i < 2 ? a : b;
        to->u32[i] = from->u32[2 * (i % 2)] + from->u32[2 * (i % 2) + 1];
    }
}

/* --- blends ----------------------------------------------------------------------------------- */

static struct op *blend(struct machine *machine, struct op *op)
{
    union vector buffer, value = *vector_at(machine, op->r[1]);
    const union vector *from = vector_source(machine, op, 2, &buffer);
    if (!from)
        return NULL;
    for (unsigned i = 0; i < op->size / op->aux; i++)
        if (op->immediate >> (op->aux == 2 ? i % 8 : i) & 1)
            memcpy(value.bytes + i * op->aux, from->bytes + i * op->aux, op->aux);
    vector_set(machine, op, &value, op->size);
    return op + 1;
}

/* By the top bits of a third register: of SSE that is xmm0; aux: bytes of an element. */
static struct op *blend_by_register(struct machine *machine, struct op *op)
{
    unsigned first = op->is_vex ? 1 : 0;
    union vector buffer, value = *vector_at(machine, op->r[first]);
    const union vector *from = vector_source(machine, op, first + 1, &buffer);
    unsigned at = first + 1 + !is_memory_last(op);
    const union vector *by = vector_at(machine, op->is_vex ? op->r[at] : 0);
    if (!from)
        return NULL;
    for (unsigned i = 0; i < op->size / op->aux; i++)
        if (by->bytes[(i + 1) * op->aux - 1] & 128)
            memcpy(value.bytes + i * op->aux, from->bytes + i * op->aux, op->aux);
    vector_set(machine, op, &value, op->size);
    return op + 1;
}

/* --- over the whole register ------------------------------------------------------------------ */

/* pmovzx, pmovsx: aux is the bytes of an element before, 16 times those after, 128: signed. */
static struct op *widen(struct machine *machine, struct op *op)
{
    unsigned from_size = op->aux & 15, to_size = op->aux >> 4 & 7;
    bool is_signed = op->aux & 128;
    union vector buffer, value;
    const union vector *from = vector_source(machine, op, 1, &buffer);
    to_size = to_size ? to_size : 8;
    if (!from)
        return NULL;
    for (unsigned i = 0; i < op->size / to_size; i++) {
        uint64_t element = 0;
        memcpy(&element, from->bytes + i * from_size, from_size);
        element <<= shift_of(from_size);
        element = is_signed ? (uint64_t)((int64_t)element >> shift_of(from_size))
                            : element >> shift_of(from_size);
        put_bytes(value.bytes + i * to_size, element, to_size);
    }
    vector_set(machine, op, &value, op->size);
    return op + 1;
}

static struct op *permute_qwords(struct machine *machine, struct op *op)
{
    union vector buffer, value;
    const union vector *from = vector_source(machine, op, 1, &buffer);
    if (!from)
        return NULL;
    for (unsigned i = 0; i < 4; i++) {
        unsigned at = op->immediate >> (2 * i) & 3;
        memcpy(value.bytes + 8 * i, from->bytes + 8 * at, 8);
    }
    vector_set(machine, op, &value, 32);
    return op + 1;
}

static struct op *permute_dwords(struct machine *machine, struct op *op)
{
    union vector buffer, value;
    const union vector *places = vector_at(machine, op->r[1]);
    const union vector *from = vector_source(machine, op, 2, &buffer);
    if (!from)
        return NULL;
    for (unsigned i = 0; i < 8; i++)
        memcpy(value.bytes + 4 * i, from->bytes + 4 * (places->bytes[4 * i] & 7), 4);
    vector_set(machine, op, &value, 32);
    return op + 1;
}

LANE(shuffle_two_qwords)
{
    to->u64[0] = a->u64[immediate & 1];
    to->u64[1] = b->u64[immediate >> 1 & 1];
}

/* Of more than 16 bytes each has its own two bits. */
static struct op *shuffle_pd(struct machine *machine, struct op *op)
{
    union vector buffer, value;
    const union vector *a = vector_at(machine, op->r[1]);
    const union vector *b = vector_source(machine, op, 2, &buffer);
    if (!b)
        return NULL;
    for (unsigned i = 0; i < op->size / 16u; i++)
        shuffle_two_qwords(&value.lanes[i], &a->lanes[i], &b->lanes[i], op->immediate >> (2 * i));
    vector_set(machine, op, &value, op->size);
    return op + 1;
}

/* --- table ------------------------------------------------------------------------------------ */

#define ROW(name, allowed, function, code, number, more)                                           \
    {                                                                                              \
        .mnemonic = ZYDIS_MNEMONIC_##name, .forms = allowed, .run = function, .lane = code,        \
        .aux = number, .flags = RULE_VECTOR | (more)                                               \
    }
#define TWO(name, allowed, code)                                                                   \
    ROW(name, allowed, lanes_binary, code, 0, RULE_MERGE),                                         \
        ROW(V##name, allowed, lanes_binary, code, 0, 0)
#define ONE(name, allowed, code)                                                                   \
    ROW(name, allowed, lanes_unary, code, 0, 0), ROW(V##name, allowed, lanes_unary, code, 0, 0)
#define WIDEN(name, from, to, is_signed)                                                           \
    ROW(name, FORM(RR) | FORM(RM), widen, NULL, (from) | ((to)&7) << 4 | (is_signed) << 7, 0),     \
        ROW(V##name, FORM(RR) | FORM(RM), widen, NULL, (from) | ((to)&7) << 4 | (is_signed) << 7,  \
            0)
#define BOTH(name, allowed, function, number)                                                      \
    ROW(name, allowed, function, NULL, number, RULE_MERGE),                                        \
        ROW(V##name, allowed, function, NULL, number, 0)
#define PLAIN (FORM(RRR) | FORM(RRM))
#define WITH_IMMEDIATE (FORM(RRRI) | FORM(RRMI))
#define UNARY_IMMEDIATE (FORM(RRI) | FORM(RMI))
#define BY_REGISTER (FORM(RR) | FORM(RM))
#define BY_FOURTH (FORM(RRRR) | FORM(RRMR))

const struct op_rule shuffle_rules[] = {
    ONE(PSHUFD, UNARY_IMMEDIATE, shuffle_dwords),
    ONE(PSHUFLW, UNARY_IMMEDIATE, shuffle_low_words),
    ONE(PSHUFHW, UNARY_IMMEDIATE, shuffle_high_words),
    TWO(SHUFPS, WITH_IMMEDIATE, shuffle_two),
    BOTH(SHUFPD, WITH_IMMEDIATE, shuffle_pd, 0),
    TWO(PSHUFB, PLAIN, shuffle_bytes),
    TWO(PALIGNR, WITH_IMMEDIATE, align_right),
    ROW(PSLLDQ, FORM(RRI), lanes_unary, shift_bytes_left, 0, RULE_MERGE),
    ROW(VPSLLDQ, FORM(RRI), lanes_unary, shift_bytes_left, 0, 0),
    ROW(PSRLDQ, FORM(RRI), lanes_unary, shift_bytes_right, 0, RULE_MERGE),
    ROW(VPSRLDQ, FORM(RRI), lanes_unary, shift_bytes_right, 0, 0),
    TWO(PUNPCKLBW, PLAIN, unpack_low_bytes),
    TWO(PUNPCKLWD, PLAIN, unpack_low_words),
    TWO(PUNPCKLDQ, PLAIN, unpack_low_dwords),
    TWO(PUNPCKLQDQ, PLAIN, unpack_low_qwords),
    TWO(PUNPCKHBW, PLAIN, unpack_high_bytes),
    TWO(PUNPCKHWD, PLAIN, unpack_high_words),
    TWO(PUNPCKHDQ, PLAIN, unpack_high_dwords),
    TWO(PUNPCKHQDQ, PLAIN, unpack_high_qwords),
    TWO(UNPCKLPS, PLAIN, unpack_low_dwords),
    TWO(UNPCKHPS, PLAIN, unpack_high_dwords),
    TWO(UNPCKLPD, PLAIN, unpack_low_qwords),
    TWO(UNPCKHPD, PLAIN, unpack_high_qwords),
    TWO(PACKSSWB, PLAIN, pack_words),
    TWO(PACKUSWB, PLAIN, pack_words_unsigned),
    TWO(PACKSSDW, PLAIN, pack_dwords),
    TWO(PACKUSDW, PLAIN, pack_dwords_unsigned),
    ONE(MOVSLDUP, FORM(RR) | FORM(RM), duplicate_even),
    ONE(MOVSHDUP, FORM(RR) | FORM(RM), duplicate_odd),
    ONE(MOVDDUP, FORM(RR) | FORM(RM), duplicate_low),
    TWO(PMADDWD, PLAIN, multiply_add_words),
    TWO(PMADDUBSW, PLAIN, multiply_add_bytes),
    TWO(PSADBW, PLAIN, sum_of_differences),
    TWO(PHADDW, PLAIN, add_neighbours_words),
    TWO(PHADDD, PLAIN, add_neighbours_dwords),
    BOTH(PBLENDW, WITH_IMMEDIATE, blend, 2),
    BOTH(BLENDPS, WITH_IMMEDIATE, blend, 4),
    BOTH(BLENDPD, WITH_IMMEDIATE, blend, 8),
    ROW(VPBLENDD, WITH_IMMEDIATE, blend, NULL, 4, 0),
    ROW(PBLENDVB, BY_REGISTER, blend_by_register, NULL, 1, 0),
    ROW(BLENDVPS, BY_REGISTER, blend_by_register, NULL, 4, 0),
    ROW(BLENDVPD, BY_REGISTER, blend_by_register, NULL, 8, 0),
    ROW(VPBLENDVB, BY_FOURTH, blend_by_register, NULL, 1, 0),
    ROW(VBLENDVPS, BY_FOURTH, blend_by_register, NULL, 4, 0),
    ROW(VBLENDVPD, BY_FOURTH, blend_by_register, NULL, 8, 0),
    WIDEN(PMOVZXBW, 1, 2, 0),
    WIDEN(PMOVZXBD, 1, 4, 0),
    WIDEN(PMOVZXBQ, 1, 8, 0),
    WIDEN(PMOVZXWD, 2, 4, 0),
    WIDEN(PMOVZXWQ, 2, 8, 0),
    WIDEN(PMOVZXDQ, 4, 8, 0),
    WIDEN(PMOVSXBW, 1, 2, 1),
    WIDEN(PMOVSXBD, 1, 4, 1),
    WIDEN(PMOVSXBQ, 1, 8, 1),
    WIDEN(PMOVSXWD, 2, 4, 1),
    WIDEN(PMOVSXWQ, 2, 8, 1),
    WIDEN(PMOVSXDQ, 4, 8, 1),
    ROW(VPERMQ, UNARY_IMMEDIATE, permute_qwords, NULL, 0, 0),
    ROW(VPERMPD, UNARY_IMMEDIATE, permute_qwords, NULL, 0, 0),
    ROW(VPERMD, PLAIN, permute_dwords, NULL, 0, 0),
    ROW(VPERMPS, PLAIN, permute_dwords, NULL, 0, 0),
    {0},
};
