/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * xsave and its like: the dynamic linker keeps the vector registers so while it looks up a function
 * that is called for the first time.  Parts that are all zero count as unused and are not written,
 * so that nothing is written behind an area that was measured for an older processor.  Layout:
 * Intel SDM volume 1, 13.4.
 */
#include <Zydis/Zydis.h>

#include "process/emulator_vector.h"

#define FORM(form) (1u << FORM_##form)

enum {
    LEGACY_MXCSR = 24,
    LEGACY_XMM = 160,
    LEGACY_BYTES = 512,
    HEADER_IN_USE = 512,
    HEADER_COMPACT = 520,
    EXTENDED = 576,
    PART_SSE = 1,
    PART_AVX = 2,
    MXCSR_BEGIN = 0x1f80, /* the only one that is known */
};

static const uint64_t IS_COMPACT = (uint64_t)1 << 63;

/* A part beyond the legacy area: so many bytes of each of some vectors, or the masks. */
struct part {
    uint8_t number;
    uint16_t offset, bytes;            /* in the form that is not compact */
    uint8_t first, nr, skipped, taken; /* vectors; bytes skipped and taken of each; nr 0: masks */
};

static const struct part parts[] = {
    {PART_AVX, 576, 256, 0, 16, 16, 16},
    {5, 1088, 64, 0, 0, 0, 0},
    {6, 1152, 512, 0, 16, 32, 32},
    {7, 1664, 1024, 16, 16, 0, 64},
};

enum { NR_PARTS = sizeof(parts) / sizeof(*parts) };

static void part_get(const struct machine *machine, const struct part *part, uint8_t *bytes)
{
    if (!part->nr)
        memcpy(bytes, machine->masks, sizeof(machine->masks));
    for (unsigned i = 0; i < part->nr; i++)
        memcpy(bytes + i * part->taken, machine->vectors[part->first + i].bytes + part->skipped,
               part->taken);
}

static void part_set(struct machine *machine, const struct part *part, const uint8_t *bytes)
{
    if (!part->nr)
        memcpy(machine->masks, bytes, sizeof(machine->masks));
    for (unsigned i = 0; i < part->nr; i++)
        memcpy(machine->vectors[part->first + i].bytes + part->skipped, bytes + i * part->taken,
               part->taken);
}

static bool is_all_zero(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i])
            return false;
    return true;
}

static uint64_t wanted_parts(const struct machine *machine)
{
    const uint64_t *registers = machine->public.registers;
    return (uint32_t)registers[RAX] | registers[RDX] << 32;
}

/* Where a part lies: behind one another if compact. */
static uint64_t part_offset(unsigned at, uint64_t compact)
{
    uint64_t offset = EXTENDED;
    if (!(compact & IS_COMPACT))
        return parts[at].offset;
    for (unsigned i = 0; i < at; i++)
        if (compact >> parts[i].number & 1)
            offset += parts[i].bytes;
    return offset;
}

static bool save_legacy(struct machine *machine, uint64_t addr)
{
    const uint32_t mxcsr[2] = {MXCSR_BEGIN, 0xffff};
    if (!memory_write(machine, addr + LEGACY_MXCSR, mxcsr, sizeof(mxcsr)))
        return false;
    for (unsigned i = 0; i < 16; i++)
        if (!memory_write(machine, addr + LEGACY_XMM + 16 * i, &machine->vectors[i], 16))
            return false;
    return true;
}

/* aux 1: the compact form. */
static struct op *save(struct machine *machine, struct op *op)
{
    uint64_t addr = op_address(machine, op), wanted = wanted_parts(machine), in_use = 0;
    uint64_t compact = op->aux ? IS_COMPACT | wanted : 0;
    uint8_t bytes[1024];
    if (!memory_prepare_write(machine, addr, EXTENDED))
        return NULL;
    if (wanted >> PART_SSE & 1) {
        if (!save_legacy(machine, addr))
            return NULL;
        in_use |= 1u << PART_SSE;
    }
    for (unsigned i = 0; i < NR_PARTS; i++) {
        part_get(machine, &parts[i], bytes);
        if (!(wanted >> parts[i].number & 1) || is_all_zero(bytes, parts[i].bytes))
            continue;
        if (!memory_write(machine, addr + part_offset(i, compact), bytes, parts[i].bytes))
            return NULL;
        in_use |= 1u << parts[i].number;
    }
    const uint64_t header[2] = {in_use, compact};
    return memory_write(machine, addr + HEADER_IN_USE, header, op->aux ? 16 : 8) ? op + 1 : NULL;
}

static bool restore_legacy(struct machine *machine, uint64_t addr)
{
    uint8_t bytes[16 * 16];
    if (!memory_read(machine, addr + LEGACY_XMM, bytes, sizeof(bytes)))
        return false;
    for (unsigned i = 0; i < 16; i++)
        memcpy(&machine->vectors[i], bytes + 16 * i, 16);
    return true;
}

static struct op *restore(struct machine *machine, struct op *op)
{
    uint64_t addr = op_address(machine, op), wanted = wanted_parts(machine), header[2];
    uint8_t bytes[1024];
    if (!memory_read(machine, addr + HEADER_IN_USE, header, sizeof(header)))
        return NULL;
    if (wanted >> PART_SSE & 1 && !(header[0] >> PART_SSE & 1))
        return stop(machine, EMULATOR_INSTRUCTION); /* not what `save` has left */
    if (wanted >> PART_SSE & 1 && !restore_legacy(machine, addr))
        return NULL;
    for (unsigned i = 0; i < NR_PARTS; i++) {
        if (!(wanted >> parts[i].number & 1))
            continue;
        memset(bytes, 0, sizeof(bytes));
        if (header[0] >> parts[i].number & 1 &&
            !memory_read(machine, addr + part_offset(i, header[1]), bytes, parts[i].bytes))
            return NULL;
        part_set(machine, &parts[i], bytes);
    }
    return op + 1;
}

static struct op *save_fx(struct machine *machine, struct op *op)
{
    uint64_t addr = op_address(machine, op);
    if (!memory_prepare_write(machine, addr, LEGACY_BYTES) || !save_legacy(machine, addr))
        return NULL;
    return op + 1;
}

static struct op *restore_fx(struct machine *machine, struct op *op)
{
    return restore_legacy(machine, op_address(machine, op)) ? op + 1 : NULL;
}

#define ROW(name, function, number)                                                                \
    {                                                                                              \
        .mnemonic = ZYDIS_MNEMONIC_##name, .forms = FORM(M), .run = function, .aux = number        \
    }

const struct op_rule state_rules[] = {
    ROW(XSAVE, save, 0),
    ROW(XSAVE64, save, 0),
    ROW(XSAVEC, save, 1),
    ROW(XSAVEC64, save, 1),
    ROW(XRSTOR, restore, 0),
    ROW(XRSTOR64, restore, 0),
    ROW(FXSAVE, save_fx, 0),
    ROW(FXSAVE64, save_fx, 0),
    ROW(FXRSTOR, restore_fx, 0),
    ROW(FXRSTOR64, restore_fx, 0),
    {0},
};
