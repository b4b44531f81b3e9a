/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The plans of images as the tracer needs them: to follow a future from a task's cell inward.
 */
#pragma once

#include "plan/plan_walk.h"
#include "tracer/tracer.h"

struct task_plan_slot {
    uint64_t addr;
    uint32_t row; /* 0: free */
    uint32_t reserved;
};

/* From addresses in the file to rows + 1. */
struct task_plan_index {
    struct task_plan_slot *slots;
    unsigned log2;
};

struct task_plan {
    struct plan plan;
    struct plan_walk walk;
    struct task_plan_index vtables; /* of trait objects: rows of plan.vtables */
    struct task_plan_index polls;   /* of coroutines: rows of plan.futures */
    struct task_plan_index tasks;   /* task vtables: rows of plan.tasks */
    size_t mapped_bytes;
};

/* NULL: the recorder has published none, or none that can be read. */
const struct task_plan *task_plan_of(const struct tracer *tracer, uint32_t image);
/* 0: unknown. */
uint32_t task_plan_find(const struct task_plan_index *index, uint64_t addr);
/* The row of the image that an address lies in; 0: none. */
uint32_t task_plan_image_at(const struct tracer *tracer, uint64_t addr);

/* Where a cell has its stage: the future, then its output, then nothing. */
struct task_stage {
    uint64_t offset; /* in the cell */
    plan_type_id type;
};
bool task_plan_stage(const struct task_plan *own, uint64_t vtable_offset, struct task_stage *stage);
