/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Which programs and libraries are loaded, as rows of the region: at the start, and after each dlopen and dlclose.
 *
 * dlopen must run with its caller's return address (it decides where libraries are searched), so the hook
 * cannot wait for its end: it marks the thread, jumps on, and the thread looks at its next event - the
 * constructors' first allocation, or the dlsym that follows - before anything of a new image can run unseen.
 */
#pragma once

#include "tracer/stack.h"
#include "tracer/tracer.h"

/* All images, for the first time; waits a moment for what the recorder knows of them.  False: no memory. */
bool images_begin(struct tracer *tracer);
/* Of a marked thread (THREAD_ATTENTION): looks again, and takes the mark from it if the call is over. */
void images_attend(struct trace_thread *self, const struct stack_start *start);
