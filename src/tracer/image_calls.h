/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * dlopen must run with its caller's return address (it decides where libraries are searched), so the hook
 * cannot wait for its end: it marks the thread (THREAD_ATTENTION), jumps on, and the thread looks at its next event - the
 * constructors' first allocation, or the dlsym that follows - before anything of a new image can run unseen.
 */
#pragma once

#include "tracer/stack.h"

/* At the set-up. */
void image_calls_begin(void);
/* An event of a marked thread, which was called from `start`: looks, and takes the mark if the call is over. */
void image_calls_attend(struct trace_thread *self, const struct stack_start *start);
