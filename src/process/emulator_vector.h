/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* How vector instructions reach their operands. */
#pragma once

#include "process/emulator_access.h"

static inline union vector *vector_at(struct machine *machine, unsigned number)
{
    return &machine->vectors[number];
}

/* Reads `size` (at most 64) bytes of memory; the rest of `to` stays. */
static inline bool vector_load(struct machine *machine, uint64_t addr, void *to, unsigned size)
{
    const struct tlb_entry *entry = tlb_at(machine, addr);
    if (machine->hooks.on_read || entry->read_page != addr >> PAGE_BITS ||
        addr % PAGE_BYTES + size > PAGE_BYTES)
        return load_bytes(machine, addr, to, size);
    memcpy(to, entry->bytes + addr % PAGE_BYTES, size);
    return true;
}

/* SSE wants its memory operands of 16 bytes aligned. */
static inline bool is_misaligned(struct machine *machine, const struct op *op, uint64_t addr)
{
    if (op->is_vex || op->memory_size != 16 || addr % 16 == 0)
        return false;
    machine->public.fault_addr = addr;
    machine->end = EMULATOR_MEMORY;
    return true;
}

/* The first `size` bytes of a register; an AVX instruction zeroes the rest, one of SSE keeps it. */
static inline void vector_set(struct machine *machine, const struct op *op, const void *bytes,
                              unsigned size)
{
    union vector *to = vector_at(machine, op->r[0]);
    memcpy(to->bytes, bytes, size);
    if (op->is_vex)
        memset(to->bytes + size, 0, VECTOR_BYTES - size);
}

static inline bool is_memory_last(const struct op *op)
{
    return op->form == FORM_RM || op->form == FORM_RMI || op->form == FORM_RRM ||
           op->form == FORM_RRMI || op->form == FORM_RRMR;
}

/* The source that may lie in memory: register number `at` of the op, or memory. */
static inline const union vector *vector_source(struct machine *machine, const struct op *op,
                                                unsigned at, union vector *buffer)
{
    if (!is_memory_last(op))
        return vector_at(machine, op->r[at]);
    uint64_t addr = op_address(machine, op);
    if (is_misaligned(machine, op, addr) || !vector_load(machine, addr, buffer, op->memory_size))
        return NULL;
    return buffer;
}

/* emulator_mask.c: elements that op's mask leaves out are those of the destination, or zeros. */
void vector_apply_mask(const struct machine *machine, const struct op *op, union vector *value,
                       unsigned element_bytes);

/* `lane` for each 16 bytes, with one source or two. */
op_fn lanes_unary, lanes_binary;
