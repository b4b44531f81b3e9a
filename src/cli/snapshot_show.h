/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The options of `snapshot` and `report` that say what to show, and the showing. */
#pragma once

#include "cli/command.h"
#include "report/snapshot_report.h"

/* Values for getopt_long; a command's own options begin at OPTION_SNAPSHOT_FIRST_OWN. */
enum snapshot_show_option {
    OPTION_TASK = OPTION_FIRST_OWN,
    OPTION_TASK_MATCH,
    OPTION_GROUP,
    OPTION_TASK_TOP,
    OPTION_SNAPSHOT_FIRST_OWN,
};

struct snapshot_show_options {
    struct snapshot_options report;
    struct common_options common; /* of these: json, colour */
};

/* Takes one of them or a common option; false when the value is wrong (the message is printed). */
bool snapshot_show_option_take(struct snapshot_show_options *options, const struct command *command,
                               int option, const char *value);

/* Prints the snapshot on stdout; the caller ends with command_finish. */
MUST_CHECK bool snapshot_show(const struct snapshot *snapshot,
                              const struct snapshot_show_options *options, struct error *err);
