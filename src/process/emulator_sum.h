/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Sums, differences and logic of two values at the top of 64 bits, with their flags. */
#pragma once

#include "process/emulator_access.h"

enum sum { SUM_ADD, SUM_OR, SUM_ADC, SUM_SBB, SUM_AND, SUM_SUB, SUM_XOR };

struct summed {
    uint64_t top;
    uint8_t carry, overflow;
};

static inline struct summed sum(enum sum kind, uint64_t a, uint64_t b, uint64_t carry_in)
{
    uint64_t first, r;
    switch (kind) {
    case SUM_ADD:
    case SUM_ADC:
        first = a + b;
        r = first + carry_in;
        return (struct summed){r, first < a || r < first, ((a ^ r) & (b ^ r)) >> 63};
    case SUM_SUB:
    case SUM_SBB:
        first = a - b;
        r = first - carry_in;
        return (struct summed){r, a < b || first < carry_in, ((a ^ b) & (a ^ r)) >> 63};
    case SUM_OR:
        return (struct summed){a | b, 0, 0};
    case SUM_AND:
        return (struct summed){a & b, 0, 0};
    default:
        return (struct summed){a ^ b, 0, 0};
    }
}

static inline void flags_sum(struct machine *machine, struct summed summed, unsigned shift)
{
    flags_set(&machine->flags, summed.top, shift);
    machine->flags.carry = summed.carry;
    machine->flags.overflow = summed.overflow;
    machine->flags.unknown = 0;
}
