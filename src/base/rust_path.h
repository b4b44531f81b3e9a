/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Steps of Rust paths as symbols and DWARF write them: a::<B as C>::{closure#0}<D>.  "::" parts
 * steps only outside of brackets.  Plain text functions; any input is safe.
 */
#pragma once

#include "base/text.h"

/* Length of the first step of `path` (up to the next outer "::" or the end). */
size_t rust_path_step(const char *path, size_t length);
/* Length of the path without its last `steps` steps; 0 where it has no more. */
size_t rust_path_parent(const char *path, size_t length, unsigned steps);
/*
 * A demangled symbol's path as the source would write it: v0's "f::<T>" becomes "f<T>", and the
 * legacy "a::b::<impl T for X>::f" becomes "<X as T>::f", "a::b::<impl X>::f" becomes "X::f".
 */
void rust_path_source_form(struct text *path);
/* Turns "<demo::Conn>" into "demo::Conn"; a "<X as Y>" stays. */
void rust_path_unwrap(struct text *path);
