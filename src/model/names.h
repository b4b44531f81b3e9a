/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * From the compiler's names to those of the source: demo::{impl#0}::call::{async_fn_env#0}
 * becomes <Svc as Handler>::call.  The stage before: the plan.  The stages after: all reports.
 * Read-only after names_init; borrows the plan.
 */
#pragma once

#include "base/map.h"
#include "base/text.h"
#include "plan/plan.h"

enum name_style {
    NAME_SHORT, /* Vec<u8>: last steps only; futures keep their paths */
    NAME_PATH,  /* tokio::time::timeout::Timeout<Sleep>: the outer path, short arguments */
    NAME_FULL,  /* every path and argument */
};

struct names {
    const struct plan *plan;
    struct map impls; /* hash of an impl's path -> row + 1 of plan->impls */
};

void names_init(struct names *names, const struct plan *plan);
void names_deinit(struct names *names);

/* Appends the name of a future type. */
void names_future(const struct names *names, const struct plan_future *future,
                  enum name_style style, struct text *out);
/* Appends a type's name, given as DWARF or a demangled symbol has it. */
void names_type(const struct names *names, const char *raw, enum name_style style,
                struct text *out);
