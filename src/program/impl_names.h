/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the source writes where DWARF has only {impl#2}: read from the symbols of functions below
 * it.  The stage before: the plan's strings.  The stage after: model/names.
 */
#pragma once

#include "program/index.h"
#include "program/plan_builder.h"

/* Adds a plan_impl row for each path with an {impl#N} that a string of the plan mentions. */
void impl_names_add(struct plan_builder *builder, const struct program_index *index);
