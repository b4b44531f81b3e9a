/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Inside the JSON writer of a run: what its files share. */
#pragma once

#include "report/json_stream.h"
#include "report/run_report.h"

/* A document that is being written. */
struct run_json {
    const struct run_report *report;
    const struct run *run;
    FILE *out;
    struct text text; /* not yet written */
};

/* Writes what there is much of, between two items of an array; `more`: another item comes. */
void run_json_flush(struct run_json *json, bool more);

/* Each puts keys of its own. */
void run_json_types(struct run_json *json);
void run_json_tasks(struct run_json *json);
void run_json_sites(struct run_json *json);
void run_json_site_groups(struct run_json *json);
void run_json_left(struct run_json *json);
void run_json_ends(struct run_json *json);
void run_json_findings(struct run_json *json);
void run_json_runtimes(struct run_json *json);
void run_json_timeline(struct run_json *json);
/* False when the stream fails. */
bool run_json_snapshots(struct run_json *json, struct error *err);

/* "await_tree": outermost first; each the child of the one before. */
void run_json_await_tree(struct text *out, const struct run *run, uint32_t await);
/* A frame as an object. */
void run_json_frame(struct text *out, const struct run *run, uint32_t place, uint32_t frame);
/* "future", "kind" of a type; 0: null. */
void run_json_type(struct text *out, const struct run *run, uint32_t type);

static inline void run_json_string(struct text *out, const struct run *run, const char *key,
                                   run_str str)
{
    json_key(out, key);
    json_put_string(out, run_string(run, str));
}

static inline void run_json_word(struct text *out, const char *key, const char *word)
{
    json_key(out, key);
    json_put_string(out, word);
}
