/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/snapshot_show.h"

#include <string.h>

static bool take_number(const struct command *command, const char *option, const char *value,
                        uint32_t *number)
{
    uint64_t parsed;
    if (parse_number(value, &parsed) && parsed >= 1 && parsed <= 1000000000) {
        *number = (uint32_t)parsed;
        return true;
    }
    command_usage(command, "%s takes a number from 1 on, not '%s'", option, value);
    return false;
}

static bool take_group(struct snapshot_options *options, const struct command *command,
                       const char *value)
{
    static const char *const names[NR_SNAPSHOT_GROUPINGS] = {
        [SNAPSHOT_GROUP_BOTH] = "", /* the default has no name */
        [SNAPSHOT_GROUP_TYPE] = "type",
        [SNAPSHOT_GROUP_AWAIT] = "await",
        [SNAPSHOT_GROUP_VARIABLE] = "variable",
    };
    for (unsigned i = SNAPSHOT_GROUP_TYPE; i < NR_SNAPSHOT_GROUPINGS; i++)
        if (strcmp(value, names[i]) == 0) {
            options->group = (enum snapshot_grouping)i;
            return true;
        }
    command_usage(command, "--group takes type, await or variable, not '%s'", value);
    return false;
}

bool snapshot_show_option_take(struct snapshot_show_options *options, const struct command *command,
                               int option, const char *value)
{
    switch (option) {
    case OPTION_TASK:
        return take_number(command, "--task", value, &options->report.task);
    case OPTION_TASK_MATCH:
        options->report.match = value;
        return true;
    case OPTION_GROUP:
        return take_group(&options->report, command, value);
    case OPTION_TASK_TOP:
        return take_number(command, "--top", value, &options->report.top);
    default:
        return common_option_take(&options->common, command, option, value);
    }
}

bool snapshot_show(const struct snapshot *snapshot, const struct snapshot_show_options *options,
                   struct error *err)
{
    struct snapshot_report report;
    if (!snapshot_report_init(&report, snapshot, &options->report, err))
        return false;
    bool ok = true;
    if (options->common.json) {
        ok = snapshot_write_json(&report, stdout, err);
    } else {
        struct display display;
        display_init(&display, stdout, options->common.colour);
        snapshot_write_text(&report, &display);
    }
    snapshot_report_deinit(&report);
    return ok;
}
