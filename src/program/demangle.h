/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Rust symbol names, legacy and v0, by libiberty.  Output is bounded: a v0 name can be a bomb. */
#pragma once

#include <stdbool.h>

#include "base/text.h"

/* Appends the demangled name without its hash; false (nothing appended) for other symbols. */
bool demangle_rust(const char *symbol, struct text *name);
