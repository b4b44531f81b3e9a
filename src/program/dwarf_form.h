/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Attribute forms: their lengths and values.  DWARF 5 sections 7.5.5 and 7.5.6. */
#pragma once

#include "program/dwarf.h"

/* Length in bytes of a form in this unit, -1 where it varies or is unknown. */
int dwarf_form_bytes(const struct dwarf_unit *unit, uint16_t form);
/* Moves the cursor behind one value; an unknown form fails it. */
void dwarf_form_skip(const struct dwarf_unit *unit, uint16_t form, struct cursor *c);
/* The same for an attribute of an abbreviation, whose length is known. */
static inline void dwarf_attr_skip(const struct dwarf_unit *unit,
                                   const struct dwarf_attr_spec *spec, struct cursor *c)
{
    if (spec->bytes >= 0)
        cursor_skip(c, (unsigned)spec->bytes);
    else
        dwarf_form_skip(unit, spec->form, c);
}

/* Reads one value and moves behind it. */
struct dwarf_value dwarf_form_read(const struct dwarf_unit *unit,
                                   const struct dwarf_attr_spec *spec, struct cursor *c);
/* Entry `index` of the unit's part of .debug_addr. */
bool dwarf_indexed_address(const struct dwarf_unit *unit, uint64_t index, uint64_t *addr);
