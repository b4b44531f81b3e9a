/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the plan's row of a task vtable says to people.  The stage before: the plan.  The stages after:
 * model/snapshot_types, model/run_types.
 */
#pragma once

#include "base/text.h"
#include "plan/plan.h"

/* Why a task has no name or layout, and what to do; "": it has both. */
const char *task_kind_unknown_reason(const struct plan *plan, const struct plan_task *task);
/* The future as DWARF or a symbol has it; "" where that is unknown or doubtful. */
const char *task_kind_future(const struct plan *plan, const struct plan_task *task);
/* Appends the name of a future; of a Pin<Box<F>> that of F. */
void task_kind_behind_boxes(const char *raw, struct text *out);
