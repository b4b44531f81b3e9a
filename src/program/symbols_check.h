/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Is a rebuild (--symbols) the same program?  (Equal build ids settle it before.)  Debug info changes
 * no code, so both must have the same task types: as many of each cell layout and, where both have
 * symbols, of each length of poll function.
 */
#pragma once

#include "base/error.h"
#include "program/plan_builder.h"

/* ERROR_INPUT with the first difference when they do not agree, or nothing can be compared. */
bool symbols_check(const struct plan *program, const char *program_path, const struct plan *symbols,
                   const char *symbols_path, struct error *err);

/*
 * Makes the rebuild's rows those of the program: its build id and path, and the addresses of its
 * task vtables, where exactly one is of a shape, or of a shape and a name; of its poll functions,
 * where exactly one has the name.  Addresses that the rebuild alone has become 0; vtables that the
 * program alone has stay as the program's own plan knows them.
 */
void symbols_adopt(struct plan_builder *rebuild, const struct plan *program, const char *path);
