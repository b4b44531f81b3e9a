/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Floating point: arithmetic, comparisons and conversions, with the rounding that programs start
 * with. Of two NaNs the first is the result, as the processor has it; the compiler may swap
 * operands, so that is decided before it computes.
 */
#include <emmintrin.h>

#include <Zydis/Zydis.h>

#include "process/emulator_vector.h"

#define FORM(form) (1u << FORM_##form)

/* --- arithmetic ------------------------------------------------------------------------------- */

enum float_kind { FLOAT_ADD, FLOAT_SUB, FLOAT_MUL, FLOAT_DIV, FLOAT_MIN, FLOAT_MAX, FLOAT_SQRT };

static double compute64(enum float_kind kind, double x, double y)
{
    bool takes_second = kind == FLOAT_SQRT || kind == FLOAT_MIN || kind == FLOAT_MAX;
    if (!takes_second && x != x)
        return x + 0.0; /* makes a quiet one of it */
    switch (kind) {
    case FLOAT_ADD:
        return x + y;
    case FLOAT_SUB:
        return x - y;
    case FLOAT_MUL:
        return x * y;
    case FLOAT_DIV:
        return x / y;
    case FLOAT_MIN:
        return x < y ? x : y;
    case FLOAT_MAX:
        return x > y ? x : y;
    default:
        return _mm_cvtsd_f64(_mm_sqrt_pd(_mm_set1_pd(y)));
    }
}

static float compute32(enum float_kind kind, float x, float y)
{
    bool takes_second = kind == FLOAT_SQRT || kind == FLOAT_MIN || kind == FLOAT_MAX;
    if (!takes_second && x != x)
        return x + 0.0f;
    switch (kind) {
    case FLOAT_ADD:
        return x + y;
    case FLOAT_SUB:
        return x - y;
    case FLOAT_MUL:
        return x * y;
    case FLOAT_DIV:
        return x / y;
    case FLOAT_MIN:
        return x < y ? x : y;
    case FLOAT_MAX:
        return x > y ? x : y;
    default:
        return _mm_cvtss_f32(_mm_sqrt_ps(_mm_set1_ps(y)));
    }
}

/* aux: the kind, and 16: of doubles. */
enum { OF_DOUBLES = 16 };

static void compute_element(const struct op *op, union lane *to, const union lane *from, unsigned i)
{
    enum float_kind kind = op->aux & (OF_DOUBLES - 1);
    if (op->aux & OF_DOUBLES)
        to->f64[i] = compute64(kind, to->f64[i], from->f64[i]);
    else
        to->f32[i] = compute32(kind, to->f32[i], from->f32[i]);
}

static struct op *scalar(struct machine *machine, struct op *op)
{
    union vector buffer;
    union lane lane = vector_at(machine, op->r[1])->lanes[0];
    const union vector *from = vector_source(machine, op, 2, &buffer);
    if (!from)
        return NULL;
    compute_element(op, &lane, &from->lanes[0], 0);
    vector_set(machine, op, &lane, 16);
    return op + 1;
}

static struct op *packed(struct machine *machine, struct op *op)
{
    bool is_unary = op->form == FORM_RR || op->form == FORM_RM;
    union vector buffer, value = *vector_at(machine, op->r[is_unary ? 0 : 1]);
    const union vector *from = vector_source(machine, op, is_unary ? 1 : 2, &buffer);
    if (!from)
        return NULL;
    for (unsigned i = 0; i < op->size / 16u; i++)
        for (unsigned k = 0; k < (op->aux & OF_DOUBLES ? 2 : 4); k++)
            compute_element(op, &value.lanes[i], &from->lanes[i], k);
    vector_set(machine, op, &value, op->size);
    return op + 1;
}

/* --- comparisons ------------------------------------------------------------------------------ */

enum relation { RELATION_LESS = 1, RELATION_EQUAL = 2, RELATION_GREATER = 4, RELATION_NONE = 8 };

static unsigned relation_of(double x, double y)
{
    if (x < y)
        return RELATION_LESS;
    if (x == y)
        return RELATION_EQUAL;
    return x > y ? RELATION_GREATER : RELATION_NONE;
}

static unsigned relation_at(const struct op *op, const union lane *a, const union lane *b,
                            unsigned i)
{
    if (op->aux & OF_DOUBLES)
        return relation_of(a->f64[i], b->f64[i]);
    return relation_of(a->f32[i], b->f32[i]);
}

/* ucomis, comis. */
static struct op *compare_to_flags(struct machine *machine, struct op *op)
{
    union vector buffer;
    const union vector *b = vector_source(machine, op, 1, &buffer);
    if (!b)
        return NULL;
    unsigned relation = relation_at(op, &vector_at(machine, op->r[0])->lanes[0], &b->lanes[0], 0);
    machine->flags = (struct flags){
        .zero = !(relation & (RELATION_EQUAL | RELATION_NONE)),
        .carry = (relation & (RELATION_LESS | RELATION_NONE)) != 0,
        .parity = relation != RELATION_NONE, /* one bit set: odd */
    };
    return op + 1;
}

/*
 * cmpps and its like: the immediate names the relations that give ones; SSE has the first 8 of
 * them.
 */
static bool is_wanted(const struct op *op, unsigned relation)
{
    static const uint8_t wanted[16] = {2, 1, 3, 8, 13, 14, 12, 7, 10, 9, 11, 0, 5, 6, 4, 15};
    return wanted[op->immediate & (op->is_vex ? 15 : 7)] & relation;
}

static struct op *compare(struct machine *machine, struct op *op)
{
    union vector buffer, value = *vector_at(machine, op->r[1]);
    const union vector *from = vector_source(machine, op, 2, &buffer);
    bool is_scalar = op->aux & 1;
    unsigned size = op->aux & OF_DOUBLES ? 8 : 4, nr = is_scalar ? 1 : op->size / size;
    if (!from)
        return NULL;
    for (unsigned i = 0; i < nr; i++) {
        union lane *lane = &value.lanes[i * size / 16];
        unsigned at = i % (16 / size);
        unsigned relation = relation_at(op, lane, &from->lanes[i * size / 16], at);
        memset(lane->u8 + at * size, is_wanted(op, relation) ? 0xff : 0, size);
    }
    vector_set(machine, op, &value, op->size);
    return op + 1;
}

/* --- conversions ------------------------------------------------------------------------------ */

/* cvtsi2ss, cvtsi2sd. */
static struct op *from_integer(struct machine *machine, struct op *op)
{
    union lane lane = vector_at(machine, op->r[1])->lanes[0];
    unsigned shift = shift_of(op->last_size);
    uint64_t raw;
    if (op->form == FORM_RRM) {
        if (!load(machine, op_address(machine, op), op->memory_size, &raw))
            return NULL;
    } else {
        raw = register_raw(machine, op->r[2]);
    }
    int64_t value = (int64_t)(raw << shift) >> shift;
    if (op->aux & OF_DOUBLES)
        lane.f64[0] = (double)value;
    else
        lane.f32[0] = (float)value;
    vector_set(machine, op, &lane, 16);
    return op + 1;
}

/* aux 1: cut, not rounded.  What does not fit is the least integer. */
static uint64_t to_integer_value(const struct op *op, const union lane *lane)
{
    __m128d wide = _mm_set_sd(op->aux & OF_DOUBLES ? lane->f64[0] : (double)lane->f32[0]);
    bool is_cut = op->aux & 1;
    if (op->size == 8)
        return (uint64_t)(is_cut ? _mm_cvttsd_si64(wide) : _mm_cvtsd_si64(wide));
    return (uint32_t)(is_cut ? _mm_cvttsd_si32(wide) : _mm_cvtsd_si32(wide));
}

static struct op *to_integer(struct machine *machine, struct op *op)
{
    union vector buffer;
    const union vector *from = vector_source(machine, op, 1, &buffer);
    if (!from)
        return NULL;
    register_set(machine, op->r[0], op->size, to_integer_value(op, &from->lanes[0]));
    return op + 1;
}

/* cvtss2sd; aux OF_DOUBLES: cvtsd2ss. */
static struct op *resize(struct machine *machine, struct op *op)
{
    union vector buffer;
    union lane lane = vector_at(machine, op->r[1])->lanes[0];
    const union vector *from = vector_source(machine, op, 2, &buffer);
    if (!from)
        return NULL;
    if (op->aux & OF_DOUBLES)
        lane.f32[0] = (float)from->lanes[0].f64[0];
    else
        lane.f64[0] = (double)from->lanes[0].f32[0];
    vector_set(machine, op, &lane, 16);
    return op + 1;
}

static void integers_to_floats(union lane *to, const union lane *a, const union lane *b,
                               uint64_t immediate)
{
    (void)b, (void)immediate;
    for (unsigned i = 0; i < 4; i++)
        to->f32[i] = (float)a->i32[i];
}

static void floats_to_integers(union lane *to, const union lane *a, const union lane *b,
                               uint64_t immediate)
{
    (void)b, (void)immediate;
    for (unsigned i = 0; i < 4; i++)
        to->i32[i] = _mm_cvtss_si32(_mm_set_ss(a->f32[i]));
}

static void floats_cut_to_integers(union lane *to, const union lane *a, const union lane *b,
                                   uint64_t immediate)
{
    (void)b, (void)immediate;
    for (unsigned i = 0; i < 4; i++)
        to->i32[i] = _mm_cvttss_si32(_mm_set_ss(a->f32[i]));
}

/* cvtdq2pd; aux OF_DOUBLES: cvtps2pd.  To 16 or 32 bytes. */
static struct op *widen_to_doubles(struct machine *machine, struct op *op)
{
    union vector buffer, value;
    const union vector *from = vector_source(machine, op, 1, &buffer);
    if (!from)
        return NULL;
    for (unsigned i = 0; i < op->size / 8u; i++) {
        const union lane *lane = &from->lanes[i / 4];
        value.lanes[i / 2].f64[i % 2] =
            op->aux & OF_DOUBLES ? (double)lane->f32[i % 4] : (double)lane->i32[i % 4];
    }
    vector_set(machine, op, &value, op->size);
    return op + 1;
}

/* --- table ------------------------------------------------------------------------------------ */

#define ONE(name, allowed, function, number, more)                                                 \
    {.mnemonic = ZYDIS_MNEMONIC_##name,                                                            \
     .forms = allowed,                                                                             \
     .run = function,                                                                              \
     .aux = number,                                                                                \
     .flags = more},
#define BOTH(name, allowed, function, number, more)                                                \
    ONE(name, allowed, function, number, more) ONE(V##name, allowed, function, number, more)
#define TWO_SOURCES (FORM(RRR) | FORM(RRM))
#define ONE_SOURCE (FORM(RR) | FORM(RM))
#define ARITHMETIC(name, kind)                                                                     \
    BOTH(name##SS, TWO_SOURCES, scalar, kind, RULE_MERGE)                                          \
    BOTH(name##SD, TWO_SOURCES, scalar, (kind) | OF_DOUBLES, RULE_MERGE)                           \
    BOTH(name##PS, TWO_SOURCES, packed, kind, RULE_MERGE)                                          \
    BOTH(name##PD, TWO_SOURCES, packed, (kind) | OF_DOUBLES, RULE_MERGE)
#define LANES(name, code)                                                                          \
    {.mnemonic = ZYDIS_MNEMONIC_##name,                                                            \
     .forms = ONE_SOURCE,                                                                          \
     .run = lanes_unary,                                                                           \
     .lane = code,                                                                                 \
     .flags = RULE_VECTOR},                                                                        \
        {.mnemonic = ZYDIS_MNEMONIC_V##name,                                                       \
         .forms = ONE_SOURCE,                                                                      \
         .run = lanes_unary,                                                                       \
         .lane = code,                                                                             \
         .flags = RULE_VECTOR},

const struct op_rule float_rules[] = {
    ARITHMETIC(ADD, FLOAT_ADD) ARITHMETIC(SUB, FLOAT_SUB) ARITHMETIC(MUL, FLOAT_MUL)
        ARITHMETIC(DIV, FLOAT_DIV) ARITHMETIC(MIN, FLOAT_MIN) ARITHMETIC(MAX, FLOAT_MAX)
            BOTH(SQRTSS, TWO_SOURCES, scalar, FLOAT_SQRT,
                 RULE_MERGE) BOTH(SQRTSD, TWO_SOURCES, scalar, FLOAT_SQRT | OF_DOUBLES,
                                  RULE_MERGE) BOTH(SQRTPS, ONE_SOURCE, packed, FLOAT_SQRT, 0)
                BOTH(SQRTPD, ONE_SOURCE, packed, FLOAT_SQRT | OF_DOUBLES,
                     0) BOTH(UCOMISS, ONE_SOURCE, compare_to_flags, 0,
                             0) BOTH(UCOMISD, ONE_SOURCE, compare_to_flags, OF_DOUBLES,
                                     0) BOTH(COMISS, ONE_SOURCE, compare_to_flags, 0, 0)
                    BOTH(COMISD, ONE_SOURCE, compare_to_flags, OF_DOUBLES,
                         0) BOTH(CMPPS, FORM(RRRI) | FORM(RRMI), compare, 0, RULE_MERGE)
                        BOTH(CMPPD, FORM(RRRI) | FORM(RRMI), compare, OF_DOUBLES, RULE_MERGE)
                            BOTH(CMPSS, FORM(RRRI) | FORM(RRMI), compare, 1, RULE_MERGE) BOTH(
                                CMPSD, FORM(RRRI) | FORM(RRMI), compare, OF_DOUBLES | 1,
                                RULE_MERGE) BOTH(CVTSI2SS, TWO_SOURCES, from_integer, 0, RULE_MERGE)
                                BOTH(CVTSI2SD, TWO_SOURCES, from_integer, OF_DOUBLES,
                                     RULE_MERGE) BOTH(CVTSS2SI, ONE_SOURCE, to_integer, 0, 0)
                                    BOTH(CVTTSS2SI, ONE_SOURCE, to_integer, 1,
                                         0) BOTH(CVTSD2SI, ONE_SOURCE, to_integer, OF_DOUBLES, 0)
                                        BOTH(CVTTSD2SI, ONE_SOURCE, to_integer, OF_DOUBLES | 1,
                                             0) BOTH(CVTSS2SD, TWO_SOURCES, resize, 0, RULE_MERGE)
                                            BOTH(CVTSD2SS, TWO_SOURCES, resize, OF_DOUBLES,
                                                 RULE_MERGE) LANES(CVTDQ2PS, integers_to_floats)
                                                LANES(CVTPS2DQ, floats_to_integers)
                                                    LANES(CVTTPS2DQ, floats_cut_to_integers) BOTH(
                                                        CVTDQ2PD, ONE_SOURCE, widen_to_doubles, 0,
                                                        0) BOTH(CVTPS2PD, ONE_SOURCE,
                                                                widen_to_doubles, OF_DOUBLES, 0){0},
};
