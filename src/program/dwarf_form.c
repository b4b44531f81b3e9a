/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "program/dwarf_form.h"

#include <dwarf.h>

int dwarf_form_bytes(const struct dwarf_unit *unit, uint16_t form)
{
    switch (form) {
    case DW_FORM_flag_present:
    case DW_FORM_implicit_const:
        return 0;
    case DW_FORM_data1:
    case DW_FORM_ref1:
    case DW_FORM_flag:
    case DW_FORM_strx1:
    case DW_FORM_addrx1:
        return 1;
    case DW_FORM_data2:
    case DW_FORM_ref2:
    case DW_FORM_strx2:
    case DW_FORM_addrx2:
        return 2;
    case DW_FORM_strx3:
    case DW_FORM_addrx3:
        return 3;
    case DW_FORM_data4:
    case DW_FORM_ref4:
    case DW_FORM_strx4:
    case DW_FORM_addrx4:
    case DW_FORM_ref_sup4:
        return 4;
    case DW_FORM_data8:
    case DW_FORM_ref8:
    case DW_FORM_ref_sig8:
    case DW_FORM_ref_sup8:
        return 8;
    case DW_FORM_data16:
        return 16;
    case DW_FORM_addr:
        return unit->address_bytes;
    case DW_FORM_ref_addr:
        return unit->version == 2 ? unit->address_bytes : unit->offset_bytes;
    case DW_FORM_strp:
    case DW_FORM_line_strp:
    case DW_FORM_sec_offset:
    case DW_FORM_strp_sup:
    case DW_FORM_GNU_strp_alt:
    case DW_FORM_GNU_ref_alt:
        return unit->offset_bytes;
    default:
        return -1;
    }
}

void dwarf_form_skip(const struct dwarf_unit *unit, uint16_t form, struct cursor *c)
{
    int bytes = dwarf_form_bytes(unit, form);
    if (bytes >= 0) {
        cursor_skip(c, (unsigned)bytes);
        return;
    }
    switch (form) {
    case DW_FORM_exprloc:
    case DW_FORM_block:
        cursor_skip(c, cursor_uleb(c));
        return;
    case DW_FORM_block1:
        cursor_skip(c, cursor_u8(c));
        return;
    case DW_FORM_block2:
        cursor_skip(c, cursor_u16(c));
        return;
    case DW_FORM_block4:
        cursor_skip(c, cursor_u32(c));
        return;
    case DW_FORM_string:
        cursor_str(c);
        return;
    case DW_FORM_udata:
    case DW_FORM_sdata:
    case DW_FORM_ref_udata:
    case DW_FORM_strx:
    case DW_FORM_addrx:
    case DW_FORM_loclistx:
    case DW_FORM_rnglistx:
    case DW_FORM_GNU_addr_index:
    case DW_FORM_GNU_str_index:
        cursor_uleb(c);
        return;
    default:
        /* DW_FORM_indirect too: no producer of Rust code writes it. */
        cursor_fail(c);
    }
}

/* A string at an offset of a string section; NULL where it does not end inside. */
static const char *string_at(const struct dwarf_unit *unit, enum debug_section which,
                             uint64_t offset)
{
    struct elf_bytes section = unit->file->elf->debug[which];
    if (!section.data || offset >= section.size)
        return NULL;
    /* Linkers end these sections with a NUL, which bounds every string at once. */
    if (section.data[section.size - 1] != 0 &&
        !memchr(section.data + offset, 0, section.size - offset))
        return NULL;
    return (const char *)section.data + offset;
}

static const char *indexed_string(const struct dwarf_unit *unit, uint64_t index)
{
    struct elf_bytes table = unit->file->elf->debug[DEBUG_STR_OFFSETS];
    if (index > table.size)
        return NULL;
    struct cursor c =
        cursor_at(table.data, table.size, unit->str_offsets_base + index * unit->offset_bytes);
    uint64_t offset = cursor_uint(&c, unit->offset_bytes);
    return c.failed ? NULL : string_at(unit, DEBUG_STR, offset);
}

bool dwarf_indexed_address(const struct dwarf_unit *unit, uint64_t index, uint64_t *addr)
{
    const struct dwarf_unit *owner = unit->skeleton ? unit->skeleton : unit;
    struct elf_bytes table = owner->file->elf->debug[DEBUG_ADDR];
    if (index > table.size || unit->address_bytes > 8)
        return false;
    struct cursor c =
        cursor_at(table.data, table.size, unit->addr_base + index * unit->address_bytes);
    *addr = c.failed ? 0 : cursor_uint(&c, unit->address_bytes);
    return !c.failed;
}

static void set_string(struct dwarf_value *value, const char *string)
{
    value->class = string ? DWARF_STRING : DWARF_NONE;
    value->string = string;
}

static void set_block(struct dwarf_value *value, struct cursor *c, uint64_t bytes)
{
    value->class = DWARF_BLOCK;
    value->block = c->pos;
    value->number = bytes;
    cursor_skip(c, bytes);
}

static void set_number(struct dwarf_value *value, enum dwarf_class class, uint64_t number)
{
    value->class = class;
    value->number = number;
}

static void set_reference(const struct dwarf_unit *unit, struct dwarf_value *value, uint64_t offset)
{
    if (offset >> 44)
        return;
    set_number(value, DWARF_REFERENCE, die_ref_make(unit, offset));
}

static void set_address(const struct dwarf_unit *unit, struct dwarf_value *value, uint64_t index)
{
    uint64_t addr;
    if (dwarf_indexed_address(unit, index, &addr))
        set_number(value, DWARF_ADDRESS, addr);
}

/* Forms whose length varies; see dwarf_form_skip. */
static void read_varying(const struct dwarf_unit *unit, uint16_t form, struct cursor *c,
                         struct dwarf_value *value)
{
    switch (form) {
    case DW_FORM_exprloc:
    case DW_FORM_block:
        set_block(value, c, cursor_uleb(c));
        return;
    case DW_FORM_block1:
        set_block(value, c, cursor_u8(c));
        return;
    case DW_FORM_block2:
        set_block(value, c, cursor_u16(c));
        return;
    case DW_FORM_block4:
        set_block(value, c, cursor_u32(c));
        return;
    case DW_FORM_string:
        set_string(value, cursor_str(c));
        return;
    case DW_FORM_udata:
    case DW_FORM_rnglistx:
    case DW_FORM_loclistx:
        set_number(value, DWARF_CONSTANT, cursor_uleb(c));
        return;
    case DW_FORM_sdata:
        set_number(value, DWARF_CONSTANT, (uint64_t)cursor_sleb(c));
        value->is_signed = true;
        return;
    case DW_FORM_ref_udata:
        set_reference(unit, value, unit->offset + cursor_uleb(c));
        return;
    case DW_FORM_strx:
    case DW_FORM_GNU_str_index:
        set_string(value, indexed_string(unit, cursor_uleb(c)));
        return;
    case DW_FORM_addrx:
    case DW_FORM_GNU_addr_index:
        set_address(unit, value, cursor_uleb(c));
        return;
    default:
        cursor_fail(c);
    }
}

static void set_fixed(const struct dwarf_unit *unit, uint16_t form, uint64_t number,
                      struct dwarf_value *value)
{
    switch (form) {
    case DW_FORM_strp:
        set_string(value, string_at(unit, DEBUG_STR, number));
        return;
    case DW_FORM_line_strp:
        set_string(value, string_at(unit, DEBUG_LINE_STR, number));
        return;
    case DW_FORM_strx1:
    case DW_FORM_strx2:
    case DW_FORM_strx3:
    case DW_FORM_strx4:
        set_string(value, indexed_string(unit, number));
        return;
    case DW_FORM_addrx1:
    case DW_FORM_addrx2:
    case DW_FORM_addrx3:
    case DW_FORM_addrx4:
        set_address(unit, value, number);
        return;
    case DW_FORM_addr:
        set_number(value, DWARF_ADDRESS, number);
        return;
    case DW_FORM_ref1:
    case DW_FORM_ref2:
    case DW_FORM_ref4:
    case DW_FORM_ref8:
        set_reference(unit, value, unit->offset + number);
        return;
    case DW_FORM_ref_addr:
        set_reference(unit, value, number);
        return;
    case DW_FORM_sec_offset:
        set_number(value, DWARF_OFFSET, number);
        return;
    case DW_FORM_data1:
    case DW_FORM_data2:
    case DW_FORM_data4:
    case DW_FORM_data8:
    case DW_FORM_flag:
        set_number(value, DWARF_CONSTANT, number);
        return;
    default: /* type signatures and supplementary files: not resolved */
        return;
    }
}

struct dwarf_value dwarf_form_read(const struct dwarf_unit *unit,
                                   const struct dwarf_attr_spec *spec, struct cursor *c)
{
    struct dwarf_value value = {.class = DWARF_NONE, .form = spec->form};
    int bytes = spec->bytes;
    if (spec->form == DW_FORM_flag_present) {
        set_number(&value, DWARF_CONSTANT, 1);
    } else if (spec->form == DW_FORM_implicit_const) {
        set_number(&value, DWARF_CONSTANT, (uint64_t)(int64_t)spec->implicit);
        value.is_signed = true;
    } else if (bytes < 0) {
        read_varying(unit, spec->form, c, &value);
    } else if (bytes > 8) {
        set_block(&value, c, (uint64_t)bytes);
    } else {
        uint64_t number = cursor_uint(c, (unsigned)bytes);
        if (!c->failed)
            set_fixed(unit, spec->form, number, &value);
    }
    if (c->failed)
        value.class = DWARF_NONE;
    return value;
}

struct dwarf_value dwarf_attr(const struct dwarf_die *die, uint16_t name)
{
    const struct dwarf_value none = {.class = DWARF_NONE};
    if (!die->abbrev)
        return none;
    const struct dwarf_unit *unit = die->unit;
    const struct dwarf_attr_spec *spec = &unit->attrs[die->abbrev->first_attr];
    struct cursor c = {die->attrs, unit->file->elf->debug[DEBUG_INFO].data + unit->end, false};
    for (uint32_t i = 0; i < die->abbrev->nr_attrs && !c.failed; i++) {
        if (spec[i].name == name)
            return dwarf_form_read(unit, &spec[i], &c);
        dwarf_attr_skip(unit, &spec[i], &c);
    }
    return none;
}

const char *dwarf_attr_string(const struct dwarf_die *die, uint16_t name)
{
    struct dwarf_value value = dwarf_attr(die, name);
    return value.class == DWARF_STRING ? value.string : NULL;
}

die_ref dwarf_attr_ref(const struct dwarf_die *die, uint16_t name)
{
    struct dwarf_value value = dwarf_attr(die, name);
    return value.class == DWARF_REFERENCE ? value.number : DIE_NONE;
}

uint64_t dwarf_attr_number(const struct dwarf_die *die, uint16_t name, uint64_t absent)
{
    struct dwarf_value value = dwarf_attr(die, name);
    return value.class == DWARF_CONSTANT || value.class == DWARF_ADDRESS ||
                   value.class == DWARF_OFFSET
               ? value.number
               : absent;
}

bool dwarf_attr_flag(const struct dwarf_die *die, uint16_t name)
{
    return dwarf_attr_number(die, name, 0) != 0;
}
