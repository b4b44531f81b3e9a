/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Which image holds a pc, and where its unwind tables are: asked of the loader each time, because what a list of
 * ours says may have been unmapped by a dlclose that nobody saw (libc loads and unloads by itself).
 */
#pragma once

#include "tracer/unwind_table.h"

/* false: no loaded image holds pc.  Any thread, also in signal handlers. */
bool loaded_code_find(uintptr_t pc, struct unwind_tables *tables);
