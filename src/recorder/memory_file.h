/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Bytes as a file in memory, without a name, to be handed from one process of ours to another. */
#pragma once

#include <stddef.h>

/* -1: no memory; errno says why. */
int memory_file_make(const char *name, const void *bytes, size_t size);
