/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Line number programs: the files a unit names, and which line an address belongs to.
 * DWARF 4 section 6.2, DWARF 5 section 6.2.  Results are kept with the unit, in the arena given
 * first; not thread-safe.
 */
#pragma once

#include "program/dwarf.h"

/* Path of file `index` as DW_AT_decl_file and DW_AT_call_file count, or NULL. */
const char *dwarf_file_path(struct dwarf_unit *unit, uint64_t index, struct arena *arena);

struct line_row {
    uint64_t addr;
    uint32_t file; /* index for dwarf_file_path */
    uint32_t line;
    bool is_end; /* first address behind a sequence: no line */
};

/* The rows of the whole unit by address, *nr of them, in the arena; NULL without a program. */
const struct line_row *dwarf_line_rows(struct dwarf_unit *unit, struct arena *arena, size_t *nr);
/* The row that covers `addr`, or NULL. */
const struct line_row *dwarf_line_at(struct dwarf_unit *unit, struct arena *arena, uint64_t addr);
