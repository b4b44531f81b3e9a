/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The region takes address space, terabytes of it, though hardly any memory.  What a program says of its own
 * address space must not hit that: a limit is raised by as much, and memory is locked without the region.
 */
#pragma once

#include <sys/types.h>

/* The address space of a process (0: the caller) is limited as the program wished: before an exec (undone by
 * limits_raise if that fails), and in children, where the region is not. */
void limits_lower(pid_t process);
void limits_raise(void);
