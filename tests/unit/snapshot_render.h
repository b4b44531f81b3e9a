/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Snapshots as text, for the tests of what is shown. */
#pragma once

#include "report/snapshot_report.h"

/* For cmocka: frees the snapshot in *state. */
int free_sample(void **state);
/* free() */
char *render(const struct snapshot *snapshot, const struct snapshot_options *options,
             unsigned columns);
/* The whole text, 100 columns wide. */
void expect(const struct snapshot *snapshot, const struct snapshot_options *options,
            const char *text);
/* A part of it. */
void expect_line(const struct snapshot *snapshot, const struct snapshot_options *options,
                 const char *line);
