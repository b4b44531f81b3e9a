/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Inside the text writer of `snapshot`: who allocated what is held, where the program is traced. */
#pragma once

#include "report/snapshot_writer.h"

enum { MAX_ORIGIN_LINES = 4 };

/* "read_body (src/main.rs:41)"; "an unknown place" */
void snapshot_append_site(const struct snapshot *snapshot, uint32_t site, struct text *out);
/* "task 7 accept_loop", "itself" where that is `task`, "thread main" */
void snapshot_append_maker(const struct snapshot *snapshot, uint32_t maker, uint32_t task,
                           struct text *out);
/* A line for each origin of a holding of `task`, the most bytes first; `lines` has MAX_ORIGIN_LINES. */
void snapshot_append_origins(const struct snapshot *snapshot, uint32_t holding, uint32_t task,
                             struct text *lines, size_t *nr_lines);
/* Who spawned a task, and where; nothing where that is not known. */
void snapshot_put_spawn(const struct snapshot *snapshot, const struct display *display,
                        uint32_t task);
