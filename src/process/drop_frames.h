/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Where the futures of tasks lie: in their cells, and in boxes.  Reads of drop code are noted there: they tell
 * which variables are alive.
 */
#pragma once

#include "process/drop_run.h"
#include "process/task_futures.h"

struct drop_frames {
    const struct task_cells *cells;
    uint32_t *first;         /* by task: position in rows; one more at the end */
    struct addr_range *rows; /* of all tasks, by task */
};

void drop_frames_list(struct drop_frames *frames, const struct task_futures *futures);
void drop_frames_deinit(struct drop_frames *frames);
/* The futures of a task: by address, apart from each other.  free() it. */
struct addr_range *drop_frames_of(const struct drop_frames *frames, uint32_t task, size_t *nr);
