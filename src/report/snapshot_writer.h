/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Inside the text writer of `snapshot`: what its two files share. */
#pragma once

#include "report/snapshot_report.h"

/* One task whole: what it is, its await tree, the slots of each frame. */
void snapshot_put_task(const struct snapshot_report *report, const struct display *display,
                       uint32_t id);

/* The name of a kind's future, escaped; before it its kind where it is no plain task. */
void snapshot_append_kind(const struct snapshot *snapshot, const struct snapshot_kind *kind,
                          struct text *out);
/* "never polled" */
void snapshot_append_status(uint32_t status, struct text *out);
/* Prints one line, cut to the columns. */
void snapshot_put_line(const struct display *display, struct text *line);
