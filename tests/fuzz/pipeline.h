/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Everything that asyncmem does with a file, in process: what the fuzz targets and flip.c run. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plan/plan.h"
#include "program/plan_compile.h"

/*
 * Reads all of a plan: future types in every style of name, layouts, chains, both writers of
 * `types` and of `plan` into the null device.  Aborts where a promise of the layouts is broken: the
 * five shares of a state sum to the future's size.
 */
void pipeline_read_plan(const struct loaded_plan *loaded);

/* Compiles the file at `path` and reads the plan.  False: the file was refused with one line. */
bool pipeline_run(const char *path);

/* The same for bytes, through a memory file. */
bool pipeline_run_bytes(const uint8_t *bytes, size_t size);
