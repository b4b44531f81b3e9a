/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Vector instructions that do the same to each element of two sources (x and y): a row each, from
 * which the function and the rules of its SSE and AVX forms are made.
 */
#include <Zydis/Zydis.h>

#include "process/emulator_vector.h"

#define FORM(form) (1u << FORM_##form)

static int32_t clamp(int32_t value, int32_t least, int32_t most)
{
    return value < least ? least : value > most ? most : value;
}

/* name, elements, what becomes of x and y */
#define ELEMENTS(X)                                                                                \
    X(PAND, u64, x &y)                                                                             \
    X(PANDN, u64, ~x &y)                                                                           \
    X(POR, u64, x | y)                                                                             \
    X(PXOR, u64, x ^ y)                                                                            \
    X(ANDPS, u32, x &y)                                                                            \
    X(ANDPD, u64, x &y)                                                                            \
    X(ANDNPS, u32, ~x &y)                                                                          \
    X(ANDNPD, u64, ~x &y)                                                                          \
    X(ORPS, u32, x | y)                                                                            \
    X(ORPD, u64, x | y)                                                                            \
    X(XORPS, u32, x ^ y)                                                                           \
    X(XORPD, u64, x ^ y)                                                                           \
    X(PADDB, u8, x + y)                                                                            \
    X(PADDW, u16, x + y)                                                                           \
    X(PADDD, u32, x + y)                                                                           \
    X(PADDQ, u64, x + y)                                                                           \
    X(PSUBB, u8, x - y)                                                                            \
    X(PSUBW, u16, x - y)                                                                           \
    X(PSUBD, u32, x - y)                                                                           \
    X(PSUBQ, u64, x - y)                                                                           \
    X(PADDUSB, u8, x + y > 255 ? 255 : x + y)                                                      \
    X(PADDUSW, u16, x + y > 65535 ? 65535 : x + y)                                                 \
    X(PSUBUSB, u8, x > y ? x - y : 0)                                                              \
    X(PSUBUSW, u16, x > y ? x - y : 0)                                                             \
    X(PADDSB, i8, clamp(x + y, -128, 127))                                                         \
    X(PADDSW, i16, clamp(x + y, -32768, 32767))                                                    \
    X(PSUBSB, i8, clamp(x - y, -128, 127))                                                         \
    X(PSUBSW, i16, clamp(x - y, -32768, 32767))                                                    \
    X(PCMPEQB, u8, x == y ? -1 : 0)                                                                \
    X(PCMPEQW, u16, x == y ? -1 : 0)                                                               \
    X(PCMPEQD, u32, x == y ? -1 : 0)                                                               \
    X(PCMPEQQ, u64, x == y ? -1 : 0)                                                               \
    X(PCMPGTB, i8, x > y ? -1 : 0)                                                                 \
    X(PCMPGTW, i16, x > y ? -1 : 0)                                                                \
    X(PCMPGTD, i32, x > y ? -1 : 0)                                                                \
    X(PCMPGTQ, i64, x > y ? -1 : 0)                                                                \
    X(PMINUB, u8, x < y ? x : y)                                                                   \
    X(PMINUW, u16, x < y ? x : y)                                                                  \
    X(PMINUD, u32, x < y ? x : y)                                                                  \
    X(PMINSB, i8, x < y ? x : y)                                                                   \
    X(PMINSW, i16, x < y ? x : y)                                                                  \
    X(PMINSD, i32, x < y ? x : y)                                                                  \
    X(PMAXUB, u8, x > y ? x : y)                                                                   \
    X(PMAXUW, u16, x > y ? x : y)                                                                  \
    X(PMAXUD, u32, x > y ? x : y)                                                                  \
    X(PMAXSB, i8, x > y ? x : y)                                                                   \
    X(PMAXSW, i16, x > y ? x : y)                                                                  \
    X(PMAXSD, i32, x > y ? x : y)                                                                  \
    X(PAVGB, u8, (x + y + 1) >> 1)                                                                 \
    X(PAVGW, u16, (x + y + 1) >> 1)                                                                \
    X(PMULLW, u16, (uint32_t)x *y)                                                                 \
    X(PMULLD, u32, x *y)                                                                           \
    X(PMULHW, i16, (x * y) >> 16)                                                                  \
    X(PMULHUW, u16, ((uint32_t)x * y) >> 16)                                                       \
    X(PMULHRSW, i16, ((x * y >> 14) + 1) >> 1)                                                     \
    X(PMULUDQ, u64, (x & 0xffffffff) * (y & 0xffffffff))                                           \
    X(PMULDQ, i64, (int64_t)(int32_t)x *(int32_t)y)                                                \
    X(PSIGNB, i8, y < 0 ? -x : y ? x : 0)                                                          \
    X(PSIGNW, i16, y < 0 ? -x : y ? x : 0)                                                         \
    X(PSIGND, i32, y < 0 ? (int32_t) - (uint32_t)x : y ? x : 0)

/* AVX2's shifts by an amount of each element's own. */
#define ELEMENTS_AVX(X)                                                                            \
    X(VPSLLVD, u32, y < 32 ? x << y : 0)                                                           \
    X(VPSLLVQ, u64, y < 64 ? x << y : 0)                                                           \
    X(VPSRLVD, u32, y < 32 ? x >> y : 0)                                                           \
    X(VPSRLVQ, u64, y < 64 ? x >> y : 0)                                                           \
    X(VPSRAVD, i32, x >> ((uint32_t)y < 31 ? y : 31))

/* EVEX names of the logic. */
#define ELEMENTS_EVEX(X)                                                                           \
    X(VPANDD, u32, x &y)                                                                           \
    X(VPANDQ, u64, x &y)                                                                           \
    X(VPANDND, u32, ~x &y)                                                                         \
    X(VPANDNQ, u64, ~x &y)                                                                         \
    X(VPORD, u32, x | y)                                                                           \
    X(VPORQ, u64, x | y)                                                                           \
    X(VPXORD, u32, x ^ y)                                                                          \
    X(VPXORQ, u64, x ^ y)

#define ELEMENT_FUNCTION(name, elements, result)                                                   \
    static void lane_##name(union lane *to, const union lane *a, const union lane *b,              \
                            uint64_t immediate)                                                    \
    {                                                                                              \
        (void)immediate;                                                                           \
        for (unsigned i = 0; i < 16 / sizeof(to->elements[0]); i++) {                              \
            __auto_type x = a->elements[i];                                                        \
            __auto_type y = b->elements[i];                                                        \
            to->elements[i] = (__typeof__(x))(result);                                             \
        }                                                                                          \
    }
ELEMENTS(ELEMENT_FUNCTION)
ELEMENTS_AVX(ELEMENT_FUNCTION)
ELEMENTS_EVEX(ELEMENT_FUNCTION)

/* --- one source ------------------------------------------------------------------------------- */

#define SINGLES(X)                                                                                 \
    X(PABSB, i8, x < 0 ? -x : x)                                                                   \
    X(PABSW, i16, x < 0 ? -x : x)                                                                  \
    X(PABSD, i32, x < 0 ? (int32_t) - (uint32_t)x : x)

#define SINGLE_FUNCTION(name, elements, result)                                                    \
    static void lane_##name(union lane *to, const union lane *a, const union lane *b,              \
                            uint64_t immediate)                                                    \
    {                                                                                              \
        (void)b, (void)immediate;                                                                  \
        for (unsigned i = 0; i < 16 / sizeof(to->elements[0]); i++) {                              \
            __auto_type x = a->elements[i];                                                        \
            to->elements[i] = (__typeof__(x))(result);                                             \
        }                                                                                          \
    }
SINGLES(SINGLE_FUNCTION)

/* --- shifts by one amount --------------------------------------------------------------------- */

/* name, elements, the shift by n, which is less than the bits of an element, what more bits give */
#define SHIFTS(X)                                                                                  \
    X(PSLLW, u16, x << n, 0)                                                                       \
    X(PSLLD, u32, x << n, 0)                                                                       \
    X(PSLLQ, u64, x << n, 0)                                                                       \
    X(PSRLW, u16, x >> n, 0)                                                                       \
    X(PSRLD, u32, x >> n, 0)                                                                       \
    X(PSRLQ, u64, x >> n, 0)                                                                       \
    X(PSRAW, i16, x >> n, x < 0 ? -1 : 0)                                                          \
    X(PSRAD, i32, x >> n, x < 0 ? -1 : 0)

#define SHIFT_FUNCTION(name, elements, shifted, beyond)                                            \
    static void lane_##name(union lane *to, const union lane *a, const union lane *b,              \
                            uint64_t immediate)                                                    \
    {                                                                                              \
        (void)b;                                                                                   \
        unsigned bits = 8 * sizeof(to->elements[0]);                                               \
        for (unsigned i = 0; i < 16 / sizeof(to->elements[0]); i++) {                              \
            __auto_type x = a->elements[i];                                                        \
            unsigned n = immediate < bits ? (unsigned)immediate : 0;                               \
            to->elements[i] = (__typeof__(x))(immediate < bits ? (shifted) : (beyond));            \
        }                                                                                          \
    }
SHIFTS(SHIFT_FUNCTION)

/* By an immediate (0 to 255), or by the low half of the last operand, which is 16 bytes always. */
static struct op *shift_lanes(struct machine *machine, struct op *op)
{
    uint64_t amount = op->immediate & 0xff;
    union vector buffer, value;
    const union vector *from = vector_at(machine, op->r[1]);
    if (op->form != FORM_RRI) {
        const union vector *by = vector_source(machine, op, 2, &buffer);
        if (!by)
            return NULL;
        amount = by->lanes[0].u64[0];
    }
    for (unsigned i = 0; i < op->size / 16u; i++)
        op->lane(&value.lanes[i], &from->lanes[i], NULL, amount);
    vector_set(machine, op, &value, op->size);
    return op + 1;
}

/* --- table ------------------------------------------------------------------------------------ */

/* aux: bytes of an element, for masks. */
#define ROW(name, elements, allowed, function, code, more)                                         \
    {.mnemonic = ZYDIS_MNEMONIC_##name,                                                            \
     .forms = allowed,                                                                             \
     .run = function,                                                                              \
     .lane = code,                                                                                 \
     .aux = sizeof(((union lane *)0)->elements[0]),                                                \
     .flags = RULE_VECTOR | (more)},
#define ELEMENT_ROWS(name, elements, result)                                                       \
    ROW(name, elements, FORM(RRR) | FORM(RRM), lanes_binary, lane_##name, RULE_MERGE)              \
    ROW(V##name, elements, FORM(RRR) | FORM(RRM), lanes_binary, lane_##name, RULE_EVEX | RULE_MASK)
#define ELEMENT_ROW(name, elements, result)                                                        \
    ROW(name, elements, FORM(RRR) | FORM(RRM), lanes_binary, lane_##name, RULE_EVEX | RULE_MASK)
#define SINGLE_ROWS(name, elements, result)                                                        \
    ROW(name, elements, FORM(RR) | FORM(RM), lanes_unary, lane_##name, 0)                          \
    ROW(V##name, elements, FORM(RR) | FORM(RM), lanes_unary, lane_##name, RULE_EVEX | RULE_MASK)
#define SHIFT_ROWS(name, elements, shifted, beyond)                                                \
    ROW(name, elements, FORM(RRR) | FORM(RRM) | FORM(RRI), shift_lanes, lane_##name, RULE_MERGE)   \
    ROW(V##name, elements, FORM(RRR) | FORM(RRM) | FORM(RRI), shift_lanes, lane_##name, RULE_EVEX)

const struct op_rule lane_rules[] = {
    ELEMENTS(ELEMENT_ROWS) ELEMENTS_AVX(ELEMENT_ROW) ELEMENTS_EVEX(ELEMENT_ROW) SINGLES(SINGLE_ROWS)
        SHIFTS(SHIFT_ROWS){0},
};
