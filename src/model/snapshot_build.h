/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * From what was read of a target to the tables of a snapshot: names, lines and slots come in here.
 * The stage before: process/task_reader.  The stages after: analysis/, report/.
 */
#pragma once

#include "model/snapshot.h"
#include "process/task_reader.h"

struct run_symbols;

/*
 * Fills an initialised snapshot.  `program` is its path as the user knows it.  `symbols` has names of functions
 * that were looked up for earlier snapshots of the same process; NULL: none were.
 */
void snapshot_build(struct snapshot *snapshot, const struct task_reader *reader,
                    const char *program, struct run_symbols *symbols);
