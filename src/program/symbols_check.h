/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Is a rebuild (--symbols) the same program?  Equal build ids settle it.  Else: debug info changes
 * no code, so both must have the same task types: as many of each cell layout and, where both have
 * symbols, of each length of poll function.
 */
#pragma once

#include "base/error.h"
#include "plan/plan.h"

/* Both have a build id, and it is one. */
bool symbols_same_build(const struct plan *program, const struct plan *symbols);

/* ERROR_INPUT with the first difference when they do not agree, or nothing can be compared. */
bool symbols_check(const struct plan *program, const char *program_path,
                   const struct plan *symbols, const char *symbols_path, struct error *err);
