/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Before a program replaces this one: can the tracer's library be loaded into it?  Where it cannot, its own loader
 * or the runtime of a sanitizer would complain or end it.  Nothing is allocated; errno stays.
 */
#pragma once

#include <stdbool.h>

/* As execveat finds it, flags too.  True also where it cannot be told: then exec or the loader will. */
bool exec_target_fits(int folder, const char *path, int flags);
/* As execvp finds it. */
bool exec_target_fits_name(const char *name);
