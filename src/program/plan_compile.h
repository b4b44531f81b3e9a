/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * From a program's path to its plan: debug_source, index, layouts, tasks, in this order, or the
 * cache.  This is the only door into program/ for the commands.
 */
#pragma once

#include "base/error.h"
#include "plan/plan.h"

struct plan_request {
    const char *path;
    const char *symbols_path; /* a rebuild with debug info to take layouts from, or NULL */
    enum plan_level level;
    bool use_cache;
    void (*progress)(void *context, const char *step); /* may be NULL */
    void *context;
};

/* A plan and the bytes behind it. */
struct loaded_plan {
    struct plan plan;
    void *bytes;
    uint64_t size_bytes;
    bool is_mapped;    /* from the cache */
    bool is_cacheable; /* it is there now */
};

/* ERROR_INPUT when the file cannot be read at all; missing debug info is a plan of less detail. */
bool plan_load(struct loaded_plan *loaded, const struct plan_request *request, struct error *err);
void plan_unload(struct loaded_plan *loaded);
