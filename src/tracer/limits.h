/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The region takes address space, terabytes of it, though hardly any memory.  What a program says of its own
 * address space must not hit that: a limit is raised by as much, and memory is locked without the region.
 */
#pragma once

/* The address space is limited as the program wished: before an exec (undone by limits_raise if that fails), and
 * in a child of fork, where the region is not. */
void limits_lower(void);
void limits_raise(void);
