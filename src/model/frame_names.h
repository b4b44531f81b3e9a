/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What a reader of stacks wants to know of a function: a short name, and what it is good for.  The stage
 * before: program/symbolize.  The stage after: model/run_symbols.  Plain text functions.
 */
#pragma once

#include "base/text.h"
#include "model/run_rows.h"
#include "program/symbolize.h"

/*
 * Appends the short name of a function: type and method, or the function's own name, without arguments.  The
 * body of an async fn has the name of the fn, that of an async block "serve::{async block#0}".
 */
void frame_short_name(const struct frame *frame, struct text *out);

/* `image` is the path of the file that has the code. */
enum run_frame_kind frame_kind(const struct frame *frame, const char *image);
