/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Inside the text writer of a run: what its files share. */
#pragma once

#include "report/run_report.h"
#include "report/run_table.h"

/* --- words ----------------------------------------------------------------------------------- */

/* "1,204 tasks" */
void run_append_count(struct text *out, uint64_t count, const char *what);
/* "~" before what only a sample of stacks tells. */
const char *run_estimate(const struct run_report *report);
/* "?" where it is unknown. */
void run_append_bytes(struct text *out, uint64_t bytes);
void run_append_number(struct text *out, uint64_t number);
void run_append_duration(struct text *out, uint64_t ns);
/* "serve_conn", "blocking: resize", "thread: main"; 0: "unknown". */
void run_append_type(const struct run *run, uint32_t type, struct text *out);
/* The last steps of its name, for sentences. */
void run_append_type_short(const struct run *run, uint32_t type, struct text *out);
/* Of a step of the timeline: 0 is "outside of tasks", with the root future or what else has most of that. */
void run_append_step_type(const struct run_report *report, uint32_t type, struct text *out);
/* "src/conn.rs:88", brief "conn.rs:88"; of no known await: "unknown place". */
void run_append_await(const struct run *run, uint32_t await, bool is_brief, struct text *out);
/* The name of a frame's function, or the image and place of it. */
void run_append_frame(const struct run *run, const struct run_stack_frame *frame, struct text *out);
/* "src/conn.rs:88"; where it is not known, nothing. */
void run_append_frame_place(const struct run *run, const struct run_stack_frame *frame,
                            struct text *out);
/* Where a person would look: the user's own frame, else the first outside of std; words for none. */
void run_append_group_place(const struct run *run, const struct run_site_group *group,
                            struct text *out);
/* "serve_conn → … → read_body → BytesMut::reserve" in at most that many columns (0: any). */
void run_append_stack(const struct run_stack_parts *code, uint32_t node, unsigned columns,
                      struct text *out);

/* --- lines ----------------------------------------------------------------------------------- */

/* A blank line, a title in bold, and where there is one a dim sentence. */
void run_put_title(const struct display *display, struct text *title, const char *words);
/* "label   sentence", which goes on below its first word. */
void run_put_fact(const struct display *display, const char *label, const struct text *sentence);
/* How many of `nr` lines are shown; `few` in the overview. */
size_t run_limit(const struct run_report *report, size_t nr, size_t few);
/* Is that part of what --by asks for? */
bool run_is_shown(const struct run_report *report, enum run_by by);
/* "More: --by site --all" where lines were left out. */
void run_put_more(const struct run_report *report, const struct display *display, bool is_cut,
                  const char *by);

/* --- sections -------------------------------------------------------------------------------- */

void run_put_findings(const struct run_report *report, const struct display *display);
void run_put_timeline(const struct run_report *report, const struct display *display);
void run_put_steps(const struct run_report *report, const struct display *display);
void run_put_types(const struct run_report *report, const struct display *display);
void run_put_tasks(const struct run_report *report, const struct display *display);
void run_put_task(const struct run_report *report, const struct display *display);
void run_put_sites(const struct run_report *report, const struct display *display);
void run_put_temporary(const struct run_report *report, const struct display *display);
void run_put_left(const struct run_report *report, const struct display *display);
void run_put_task_zero(const struct run_report *report, const struct display *display);
void run_put_unfinished(const struct run_report *report, const struct display *display);
void run_put_early(const struct run_report *report, const struct display *display);
void run_put_runtime(const struct run_report *report, const struct display *display);
void run_put_snapshots(const struct run_report *report, const struct display *display);
