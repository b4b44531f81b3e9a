/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The first operand of instructions that read, change and write it back: a register or memory. */
#pragma once

#include "process/emulator_access.h"

static inline bool is_memory_first(const struct op *op)
{
    return op->form == FORM_M || op->form == FORM_MR || op->form == FORM_MI ||
           op->form == FORM_MRR || op->form == FORM_MRI;
}

static inline bool first_get(struct machine *machine, const struct op *op, uint64_t addr,
                             uint64_t *value)
{
    if (is_memory_first(op))
        return memory_prepare_write(machine, addr, op->size) &&
               load(machine, addr, op->size, value);
    *value = register_get(machine, op->r[0], op->shift);
    return true;
}

static inline bool first_set(struct machine *machine, const struct op *op, uint64_t addr,
                             uint64_t before, uint64_t after)
{
    if (!is_memory_first(op)) {
        register_set(machine, op->r[0], op->size, after);
        return true;
    }
    if (!store(machine, addr, op->size, after))
        return false;
    tell_change(machine, op, addr, before, after);
    return true;
}
