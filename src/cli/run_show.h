/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Showing a run, for `run` and `report`. */
#pragma once

#include "cli/command.h"
#include "report/run_report.h"

struct run_show_options {
    struct run_options report;
    bool json;
    enum display_colour colour;
};

/* Prints the report; the caller looks after the stream's end (stdout: command_finish). */
MUST_CHECK bool run_show(const struct run *run, const struct run_show_options *options, FILE *out,
                         struct error *err);
/* The same into a file, which is there whole or not at all; without colour. */
MUST_CHECK bool run_show_file(const struct run *run, const struct run_show_options *options,
                              const char *path, struct error *err);
