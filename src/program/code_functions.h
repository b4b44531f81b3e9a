/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Where the functions of a file begin and end: from the frame descriptions in .eh_frame, which
 * stripped files keep, or from symbols where there are none.  The stage before: elf_file.  The
 * stage after: code_graph.
 */
#pragma once

#include "program/elf_file.h"

struct code_range {
    uint64_t addr;
    uint64_t size_bytes; /* not 0 */
};

struct code_ranges {
    struct code_range *rows; /* by address, none twice */
    size_t nr, capacity;
};

/*
 * Adds the ranges of the frame descriptions of an .eh_frame section that lies at `addr`.  Reads
 * what it can: damaged or unknown entries are left out.  Rows are neither sorted nor unique yet.
 */
void code_ranges_of_frames(struct code_ranges *ranges, const uint8_t *bytes, uint64_t size,
                           uint64_t addr);

/* The functions of a file; its symbols are read already.  free() the rows. */
struct code_ranges code_functions(const struct elf_file *elf);
