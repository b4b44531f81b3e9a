/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Makes a rebuild's rows (--symbols) those of the program: layouts stay, addresses become the
 * program's.  The stage before: symbols_check, which found that the two agree.
 */
#pragma once

#include "program/elf_file.h"
#include "program/plan_builder.h"

/* Both files; their symbols are read already. */
struct symbols_files {
    const struct elf_file *program, *rebuild;
};

/*
 * Build id and path become the program's, and the addresses of task vtables, trait objects and
 * poll functions where code_match finds them; the others become 0 or leave, with a note.
 */
void symbols_adopt(struct plan_builder *rebuild, const struct plan *program,
                   const struct symbols_files *files);
