/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A snapshot of an open target, whole: the plans of its images, the reading while it stands still, the
 * tables.  The stage before: process/live or process/core_file.  Used by the command and by the
 * recorder of a traced run.
 */
#pragma once

#include "model/snapshot.h"
#include "process/task_reader.h"
#include "program/plan_compile.h"

struct snapshot_request {
    /* The plan of an image, at PLAN_LEVEL_MEMORY. */
    bool (*load_plan)(void *context, struct loaded_plan *plan, const struct target_image *image,
                      struct error *err);
    void (*warn)(const struct error *err); /* a library's plan that could not be had; may be NULL */
    void *context;
    struct heap_options heap;
    struct run_symbols *symbols; /* what was looked up for earlier snapshots of the process; NULL */
    const struct region_view *region; /* of a traced run, from its recorder; NULL: looked for */
};

/* Fills an initialised snapshot.  All ptrace calls are made by the calling thread. */
MUST_CHECK bool snapshot_take(struct snapshot *snapshot, struct target *target,
                              const struct snapshot_request *request, struct error *err);
