/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Inside the JSON writer of `snapshot`: what its files share. */
#pragma once

#include "report/json_stream.h"
#include "report/snapshot_report.h"

/* A document that is being written. */
struct snapshot_json {
    const struct snapshot_report *report;
    FILE *out;
    struct text text; /* not yet written */
};

/* Writes what there is much of, between two items of an array; `more`: another item comes. */
void snapshot_json_flush(struct snapshot_json *json, bool more);

/* What a task owns in the heap. */
void snapshot_json_task_held(struct text *out, const struct snapshot *snapshot,
                             const struct snapshot_task *task);
/* The same of a variable, behind its own keys; NULL: not known. */
void snapshot_json_holding(struct text *out, const struct snapshot *snapshot,
                           const struct snapshot_holding *holding);
/* The variables of a frame that debug info hides: an object. */
void snapshot_json_holdings_apart(struct text *out, const struct snapshot *snapshot,
                                  const struct snapshot_holding *rows, size_t nr);
/* Of a finished task: who has the address of its cell. */
void snapshot_json_kept_by(struct text *out, const struct snapshot *snapshot,
                           const struct snapshot_task *task);
void snapshot_json_shared(struct snapshot_json *json);
void snapshot_json_heap(struct text *out, const struct snapshot *snapshot);

/* Of a traced program: who allocated what a holding (id) has; who spawned a task; all stacks. */
void snapshot_json_allocated_by(struct text *out, const struct snapshot *snapshot,
                                uint32_t holding);
void snapshot_json_spawned_by(struct text *out, const struct snapshot *snapshot, uint32_t task);
/* "function", "file", "line" of the program's own in a site; 0: null. */
void snapshot_json_place(struct text *out, const struct snapshot *snapshot, uint32_t site);
void snapshot_json_sites(struct snapshot_json *json);

/* by_type, by_await, by_variable, futures. */
void snapshot_json_sums(struct text *out, const struct snapshot_report *report);
void snapshot_json_by_status(struct text *out, const uint64_t by_status[NR_TASK_STATUSES]);

void snapshot_json_put_is(struct text *out, const char *key, uint32_t held_is);

static inline void put_str(struct text *out, const struct snapshot *snapshot, const char *key,
                           snapshot_str str)
{
    json_key(out, key);
    json_put_string(out, snapshot_string(snapshot, str));
}
