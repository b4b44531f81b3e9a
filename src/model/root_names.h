/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the names of functions on a stack say of the future that tokio's block_on drives.  The stage
 * before: program/symbolize.  The stage after: model/root_tasks.  Plain text functions.
 */
#pragma once

#include "base/text.h"
#include "model/snapshot.h"
#include "program/symbolize.h"

/* A part of a longer text. */
struct name_span {
    const char *text;
    size_t length;
};

/*
 * A function by which a program enters a runtime with a future: Runtime::block_on<F>,
 * Handle::block_on<F>.  *future is F, as DWARF has it.
 */
bool root_names_entry(const struct frame *frame, struct name_span *future);
/* The scheduler whose block_on the frame is; TASK_SCHEDULER_UNKNOWN: none's. */
enum task_scheduler root_names_scheduler(const struct frame *frame);
/* The frame polls a task: what is inside of it is that task's. */
bool root_names_is_task(const struct frame *frame);

/* The thread waits in the runtime until something wakes it. */
bool root_names_is_parked(const struct frame *frame);
/* Code of neither tokio's runtime nor the standard library. */
bool root_names_is_foreign(const struct frame *frame);

/* LocalSet::run_until and what it awaits drive the future in their argument: that, in *inner. */
bool root_names_local(struct name_span future, struct name_span *inner);
/* A LocalSet itself is driven: it has no future but its tasks. */
bool root_names_is_local_set(struct name_span future);
/* The F of Pin<Box<F>> or &mut F. */
struct name_span root_names_behind_boxes(struct name_span future);

/* The frame is a future's own code: its poll, or the body of an async fn or block. */
bool root_names_is_body(const struct frame *frame, struct name_span future);
