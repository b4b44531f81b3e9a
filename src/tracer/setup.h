/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* How the tracer comes to life in a program: once, at the first call of any hook. */
#pragma once

#include "tracer/tracer.h"

/* Sets the tracer up unless that was tried before.  True: it is ready. */
bool trace_setup(void);
/* In a child of fork that is to be traced too: everything anew. */
void trace_setup_again(void);
