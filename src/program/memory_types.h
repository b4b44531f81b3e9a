/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What a plan needs for reading memory, beyond the layouts of futures: the types behind pointers
 * and trait objects, and which types are futures.  The stage before: all other types are compiled.
 */
#pragma once

#include "program/layout.h"

/* Adds the vtables of trait objects; at PLAN_LEVEL_MEMORY also all types that pointers lead to. */
void memory_types_compile(struct layout *layout, enum plan_level level);
