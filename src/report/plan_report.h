/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The answer of `asyncmem plan`.  The stage before: a loaded plan. */
#pragma once

#include "base/error.h"
#include "program/plan_compile.h"
#include "report/display.h"

void plan_write_text(const struct loaded_plan *loaded, const char *binary,
                     const struct display *display);
/* False when the stream fails. */
MUST_CHECK bool plan_write_json(const struct loaded_plan *loaded, const char *binary, FILE *out,
                                struct error *err);
