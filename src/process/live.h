/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A live process: what target.c asks for where the target is no core. */
#pragma once

#include "process/target.h"

/* Why this process cannot be looked into, before anything of it was read. */
MUST_CHECK bool live_open(struct target *target, pid_t pid, struct error *err);
MUST_CHECK bool live_read_mappings(struct target *target, struct error *err);
/* ERROR_TARGET for EPERM: who forbids it, and the remedy. */
bool live_error_permission(pid_t pid, struct error *err);
bool live_error_gone(pid_t pid, struct error *err);
bool live_error_traced(pid_t pid, pid_t tracer, struct error *err);

/* Does another asyncmem hold it just now, as the recorder of its run may? */
bool live_is_looked_at(pid_t pid);
/* Waits until that is over, for some seconds. */
void live_wait_for_others(pid_t pid);

/* A thread of the process that has not ended; 0: none. */
pid_t live_thread(pid_t pid);

size_t live_read(const struct target *target, uint64_t addr, void *buffer, size_t size);
void live_read_many(const struct target *target, struct target_range *ranges, size_t nr);
