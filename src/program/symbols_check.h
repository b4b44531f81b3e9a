/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Is a rebuild (--symbols) the same program?  Debug info changes no code, so its task vtables must
 * come in the same order with the same cell offsets, and its poll functions must lie at the same
 * distances and, where both name them, be named alike.
 */
#pragma once

#include "base/error.h"
#include "plan/plan.h"

/* ERROR_INPUT with the first difference when they do not agree, or nothing can be compared. */
bool symbols_check(const struct plan *program, const char *program_path,
                   const struct plan *symbols, const char *symbols_path, struct error *err);
