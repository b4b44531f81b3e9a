/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * How ops reach registers, memory and flags: the short ways, inline.  Values of less than 8 bytes
 * are computed at the top of 64 bits ("top": value << shift), where carry, sign and overflow are
 * those of 64-bit arithmetic whatever the size.
 */
#pragma once

#include <string.h>

#include "process/emulator_flags.h"
#include "process/emulator_part.h"

/* --- registers -------------------------------------------------------------------------------- */

static inline uint64_t slot_get(const struct machine *machine, unsigned slot)
{
    uint64_t value;
    memcpy(&value, (const char *)machine + slot * 8, 8);
    return value;
}

/* Eight bytes from a register's place on; for ah its own byte is the lowest. */
static inline uint64_t register_raw(const struct machine *machine, unsigned place)
{
    uint64_t value;
    memcpy(&value, (const char *)machine + place, 8);
    return value;
}

static inline uint64_t register_top(const struct machine *machine, unsigned place, unsigned shift)
{
    return register_raw(machine, place) << shift;
}

static inline uint64_t register_get(const struct machine *machine, unsigned place, unsigned shift)
{
    return register_raw(machine, place) << shift >> shift;
}

/* `value` has no bits beyond its size: 4 bytes zero the upper half, 1 and 2 keep the rest. */
static inline void register_set(struct machine *machine, unsigned place, unsigned size,
                                uint64_t value)
{
    char *to = (char *)machine + place;
    if (size >= 4)
        memcpy(to, &value, 8);
    else if (size == 1)
        memcpy(to, &value, 1);
    else
        memcpy(to, &value, 2);
}

static inline unsigned shift_of(unsigned size)
{
    return 64 - 8 * size;
}

/* --- memory ----------------------------------------------------------------------------------- */

static inline uint64_t op_address(const struct machine *machine, const struct op *op)
{
    return slot_get(machine, op->base) + (slot_get(machine, op->index) << op->scale) +
           op->displacement + slot_get(machine, op->segment);
}

static inline struct tlb_entry *tlb_at(struct machine *machine, uint64_t addr)
{
    return &machine->tlb[(addr >> PAGE_BITS) % NR_TLB_ENTRIES];
}

static inline bool is_on_stack(const struct machine *machine, uint64_t addr)
{
    return addr - machine->stack_start < STACK_BYTES;
}

static inline void tell_read(struct machine *machine, uint64_t addr, unsigned size, uint64_t value)
{
    if (!machine->hooks.on_read || is_on_stack(machine, addr))
        return;
    machine->public.pc = machine->op->pc;
    machine->hooks.on_read(machine->hooks.context, addr, size, value);
}

static inline void tell_change(struct machine *machine, const struct op *op, uint64_t addr,
                               uint64_t before, uint64_t after)
{
    if (!machine->hooks.on_change)
        return;
    machine->public.pc = op->pc;
    machine->hooks.on_change(machine->hooks.context, addr, op->size, before, after);
}

/* Up to 8 bytes, zero-extended. */
static inline bool load(struct machine *machine, uint64_t addr, unsigned size, uint64_t *value)
{
    const struct tlb_entry *entry = tlb_at(machine, addr);
    uint64_t raw = 0;
    if (entry->read_page == addr >> PAGE_BITS && addr % PAGE_BYTES <= PAGE_BYTES - 8) {
        memcpy(&raw, entry->bytes + addr % PAGE_BYTES, 8);
        raw = raw << shift_of(size) >> shift_of(size);
    } else if (!memory_read(machine, addr, &raw, size)) {
        return false;
    }
    *value = raw;
    tell_read(machine, addr, size, raw);
    return true;
}

static inline void put_bytes(uint8_t *to, uint64_t value, unsigned size)
{
    if (size == 8)
        memcpy(to, &value, 8);
    else if (size == 4)
        memcpy(to, &value, 4);
    else if (size == 1)
        memcpy(to, &value, 1);
    else
        memcpy(to, &value, 2);
}

/* The lowest `size` (1, 2, 4, 8) bytes. */
static inline bool store(struct machine *machine, uint64_t addr, unsigned size, uint64_t value)
{
    const struct tlb_entry *entry = tlb_at(machine, addr);
    if (entry->write_page != addr >> PAGE_BITS || addr % PAGE_BYTES > PAGE_BYTES - 8)
        return memory_write(machine, addr, &value, size);
    put_bytes(entry->bytes + addr % PAGE_BYTES, value, size);
    return true;
}

/* More than 8 bytes; the hook gets them in pieces of 8. */
static inline bool load_bytes(struct machine *machine, uint64_t addr, void *buffer, unsigned size)
{
    if (!memory_read(machine, addr, buffer, size))
        return false;
    for (unsigned at = 0; machine->hooks.on_read && at < size; at += 8) {
        unsigned piece = size - at < 8 ? size - at : 8;
        uint64_t value = 0;
        memcpy(&value, (const char *)buffer + at, piece);
        tell_read(machine, addr + at, piece, value);
    }
    return true;
}

/* --- ends ------------------------------------------------------------------------------------- */

static inline struct op *stop(struct machine *machine, enum emulator_end end)
{
    machine->end = end;
    return NULL;
}

/* A conditional is about to read a flag that the processor leaves undefined: no guess. */
static inline bool flags_are_unknown(const struct machine *machine, unsigned condition)
{
    return machine->flags.unknown && (machine->flags.unknown & condition_reads(condition));
}
