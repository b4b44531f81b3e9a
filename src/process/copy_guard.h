/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A small process of ours that cleans up after us when asyncmem is killed while a target has a child
 * that only the target itself can reap.
 */
#pragma once

#include "process/target.h"

/* The target is one to whom orphans are given: copies of it will need a guard.  Once is enough. */
void copy_guard_start(struct target *target);
/*
 * From now on there is this child, in our numbering and in the target's; 0: there is none any more.
 * `guard_fd` 0: no guard.
 */
void copy_guard_tell(int guard_fd, pid_t child, pid_t inside);
void copy_guard_end(struct target *target);

/* The target is the first process of its pid namespace. */
bool copy_is_namespace_init(pid_t pid);
