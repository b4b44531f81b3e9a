/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The code of a DIE: DWARF 5 section 2.17; range lists 7.25 (DWARF 5) and 2.17.3 (DWARF 4). */
#include <dwarf.h>

#include "program/dwarf_form.h"

/* More than any function has: corrupt lists must not fill memory. */
enum { MAX_RANGES = 1 << 20 };

static void add(struct pc_ranges *ranges, uint64_t low, uint64_t high)
{
    if (low >= high || ranges->nr >= MAX_RANGES)
        return;
    ranges->rows =
        array_reserve(ranges->rows, &ranges->capacity, ranges->nr + 1, sizeof(*ranges->rows));
    ranges->rows[ranges->nr++] = (struct pc_range){low, high};
}

static void read_ranges_4(const struct dwarf_unit *unit, uint64_t offset, struct pc_ranges *ranges)
{
    const struct dwarf_unit *owner = unit->skeleton ? unit->skeleton : unit;
    struct elf_bytes section = owner->file->elf->debug[DEBUG_RANGES];
    struct cursor c = cursor_at(section.data, section.size, offset + unit->ranges_base);
    uint64_t base = unit->low_pc;
    uint64_t max = unit->address_bytes == 4 ? UINT32_MAX : UINT64_MAX;
    while (!c.failed) {
        uint64_t low = cursor_uint(&c, unit->address_bytes);
        uint64_t high = cursor_uint(&c, unit->address_bytes);
        if (c.failed || (!low && !high))
            return;
        if (low == max)
            base = high;
        else
            add(ranges, base + low, base + high);
    }
}

static void read_rnglist(const struct dwarf_unit *unit, uint64_t offset, struct pc_ranges *ranges)
{
    struct elf_bytes section = unit->file->elf->debug[DEBUG_RNGLISTS];
    struct cursor c = cursor_at(section.data, section.size, offset);
    uint64_t base = unit->low_pc;
    while (!c.failed) {
        uint8_t kind = cursor_u8(&c);
        uint64_t low = 0, high = 0;
        bool is_range = true;
        switch (c.failed ? DW_RLE_end_of_list : kind) {
        case DW_RLE_base_addressx:
            is_range = false;
            dwarf_indexed_address(unit, cursor_uleb(&c), &base);
            break;
        case DW_RLE_startx_endx:
            dwarf_indexed_address(unit, cursor_uleb(&c), &low);
            dwarf_indexed_address(unit, cursor_uleb(&c), &high);
            break;
        case DW_RLE_startx_length:
            dwarf_indexed_address(unit, cursor_uleb(&c), &low);
            high = low + cursor_uleb(&c);
            break;
        case DW_RLE_offset_pair:
            low = base + cursor_uleb(&c);
            high = base + cursor_uleb(&c);
            break;
        case DW_RLE_base_address:
            is_range = false;
            base = cursor_uint(&c, unit->address_bytes);
            break;
        case DW_RLE_start_end:
            low = cursor_uint(&c, unit->address_bytes);
            high = cursor_uint(&c, unit->address_bytes);
            break;
        case DW_RLE_start_length:
            low = cursor_uint(&c, unit->address_bytes);
            high = low + cursor_uleb(&c);
            break;
        default:
            return;
        }
        if (is_range && !c.failed)
            add(ranges, low, high);
    }
}

static void read_ranges_5(const struct dwarf_unit *unit, struct dwarf_value list,
                          struct pc_ranges *ranges)
{
    if (list.form != DW_FORM_rnglistx) {
        read_rnglist(unit, list.number, ranges);
        return;
    }
    struct elf_bytes section = unit->file->elf->debug[DEBUG_RNGLISTS];
    if (list.number > section.size)
        return;
    struct cursor c = cursor_at(section.data, section.size,
                                unit->rnglists_base + list.number * unit->offset_bytes);
    uint64_t offset = cursor_uint(&c, unit->offset_bytes);
    if (!c.failed)
        read_rnglist(unit, unit->rnglists_base + offset, ranges);
}

void dwarf_ranges(const struct dwarf_die *die, struct pc_ranges *ranges)
{
    struct dwarf_value low = dwarf_attr(die, DW_AT_low_pc);
    struct dwarf_value high = dwarf_attr(die, DW_AT_high_pc);
    struct dwarf_value list = dwarf_attr(die, DW_AT_ranges);
    if (die->unit->address_bytes > 8)
        return;
    if (low.class == DWARF_ADDRESS && high.class == DWARF_ADDRESS)
        add(ranges, low.number, high.number);
    else if (low.class == DWARF_ADDRESS && high.class == DWARF_CONSTANT)
        add(ranges, low.number, low.number + high.number);
    if (list.class == DWARF_OFFSET || list.class == DWARF_CONSTANT) {
        if (die->unit->version >= 5)
            read_ranges_5(die->unit, list, ranges);
        else
            read_ranges_4(die->unit, list.number, ranges);
    }
}
