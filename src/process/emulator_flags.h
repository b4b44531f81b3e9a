/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The flags of the emulated processor.  Values come at the top of 64 bits (value << shift), so that
 * their sign is bit 63 whatever their size.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * ZF: `zero` == 0.  SF: bit 63 of `sign`.  PF: an even number of bits in `parity`.  AF is not kept:
 * it reads as 0 in lahf and pushf.  `unknown`: what the processor leaves undefined; reading it ends
 * the run.
 */
enum flag_bit { FLAG_C = 1, FLAG_P = 2, FLAG_Z = 4, FLAG_S = 8, FLAG_O = 16 };
struct flags {
    uint64_t zero, sign;
    uint8_t parity, carry, overflow;
    uint8_t unknown; /* bits of enum flag_bit */
};

static inline void flags_set(struct flags *flags, uint64_t top, unsigned shift)
{
    flags->zero = flags->sign = top;
    flags->parity = (uint8_t)(top >> shift);
}

/* Those of and, or, xor, test. */
static inline void flags_logic(struct flags *flags, uint64_t top, unsigned shift)
{
    flags_set(flags, top, shift);
    flags->carry = flags->overflow = flags->unknown = 0;
}

static inline bool flag_zero(const struct flags *flags)
{
    return flags->zero == 0;
}

static inline bool flag_sign(const struct flags *flags)
{
    return flags->sign >> 63;
}

static inline bool flag_parity(const struct flags *flags)
{
    return !__builtin_parity(flags->parity);
}

/* What each pair of conditions reads: o b z be s p l le. */
static inline unsigned condition_reads(unsigned condition)
{
    static const uint8_t reads[8] = {FLAG_O, FLAG_C, FLAG_Z,          FLAG_C | FLAG_Z,
                                     FLAG_S, FLAG_P, FLAG_S | FLAG_O, FLAG_S | FLAG_O | FLAG_Z};
    return reads[condition / 2 % 8];
}

static inline bool condition_holds(const struct flags *flags, unsigned condition)
{
    bool holds = false;
    switch (condition / 2) {
    case 0:
        holds = flags->overflow;
        break;
    case 1:
        holds = flags->carry;
        break;
    case 2:
        holds = flag_zero(flags);
        break;
    case 3:
        holds = flags->carry || flag_zero(flags);
        break;
    case 4:
        holds = flag_sign(flags);
        break;
    case 5:
        holds = flag_parity(flags);
        break;
    case 6:
        holds = flag_sign(flags) != flags->overflow;
        break;
    default:
        holds = flag_zero(flags) || flag_sign(flags) != flags->overflow;
        break;
    }
    return holds != (condition & 1);
}
