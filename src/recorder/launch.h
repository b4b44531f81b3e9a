/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Before the program is started: which file it is, and whether the tracer can get into it.  The stage
 * after: recorder/spawn.  A library that does not fit can do harm (musl's loader and the runtimes of
 * sanitizers end the program), so a program that is known not to fit gets none.
 */
#pragma once

#include "base/error.h"
#include "base/text.h"

struct launch {
    struct text path;    /* of the program, as exec finds it; "" not found */
    struct text binary;  /* that the kernel loads: the interpreter of a script, else `path` */
    struct text library; /* the tracer's, absolute */
    bool is_traceable;
    char reason[600]; /* why not, with the remedy */
};

/* `program` is as the user gave it; PATH is searched.  Not found is no error here: exec will tell. */
void launch_look(struct launch *launch, const char *program);
void launch_deinit(struct launch *launch);
