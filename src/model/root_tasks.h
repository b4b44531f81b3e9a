/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Root tasks: the futures that Runtime::block_on, Handle::block_on, #[tokio::main] and
 * LocalSet::run_until drive.  They have no cell; what is known of them is on the stacks of threads,
 * in the names of the functions there.  The stage before: process/stacks.  The stage after:
 * model/snapshot_build.
 *
 * Reads debug info when a thread is in an image that has any; a plan has no addresses of code.
 */
#pragma once

#include "base/text.h"
#include "model/snapshot.h"
#include "process/task_reader.h"

struct root_task {
    uint32_t plan;      /* position in the reader's plans */
    plan_type_id type;  /* 0: its name is that of none of the plan's types, or of several */
    const char *name;   /* as DWARF has it */
    uint32_t scheduler; /* enum task_scheduler */
    bool is_polled;     /* right now, by its thread */
};

struct root_tasks {
    struct arena arena;
    struct root_task *rows; /* as the threads */
    size_t nr, capacity;
    const char **notes; /* why there may be more: sentences for the reader */
    size_t nr_notes, notes_capacity;
};

void root_tasks_find(struct root_tasks *roots, const struct task_reader *reader);
void root_tasks_deinit(struct root_tasks *roots);
