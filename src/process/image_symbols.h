/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Names of functions in a target's images, from their files' symbol tables (libelf). */
#pragma once

#include "process/target.h"

/* `addr` in the target.  Of an IFUNC: its resolver's. */
typedef void image_symbol_fn(void *context, const char *name, uint64_t addr, bool is_ifunc);

/* Every function that the image defines; nothing where its file cannot be read. */
void image_symbols_visit(const struct target_image *image, image_symbol_fn *visit, void *context);
