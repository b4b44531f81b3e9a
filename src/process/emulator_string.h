/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* movs, stos, cmps, scas, lods, with and without a repeat prefix. */
#pragma once

#include <Zydis/Zydis.h>

#include "process/emulator_access.h"

/* False: one that is not known. */
bool string_decode(const ZydisDecodedInstruction *instruction, struct op *op);
