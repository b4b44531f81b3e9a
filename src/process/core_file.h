/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A core file: what target.c asks for where the target is a core. */
#pragma once

#include "process/target.h"

/* As target_open_core; fills a zeroed target. */
MUST_CHECK bool core_open(struct target *target, const char *path, const char *exe,
                          struct error *err);
/* As target_read: from the core, or from an image's file where the core left it out. */
size_t core_read(const struct target *target, uint64_t addr, void *buffer, size_t size);
