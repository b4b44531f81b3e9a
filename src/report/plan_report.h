/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The answer of `asyncmem plan`.  The stage before: a loaded plan. */
#pragma once

#include "base/error.h"
#include "program/plan_compile.h"
#include "report/display.h"

void plan_write_text(const struct loaded_plan *loaded, const char *binary,
                     const struct display *display);
/* False when the stream fails. */
MUST_CHECK bool plan_write_json(const struct loaded_plan *loaded, const char *binary,
                                          FILE *out, struct error *err);

/* "async", "blocking" or "worker", from the types of a task row; NULL where they are unknown. */
const char *plan_task_kind(const struct plan *plan, const struct plan_task *task);
/* "multi_thread", "current_thread", "local", "blocking pool", or NULL. */
const char *plan_task_scheduler(const struct plan *plan, const struct plan_task *task);
const char *plan_name_source(const struct plan_task *task);
