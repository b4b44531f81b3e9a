/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* asyncmem report: a snapshot file, shown as `snapshot` shows it. */
#include "cli/snapshot_show.h"
#include "model/snapshot_file.h"

static const struct option long_options[] = {
    {"json", no_argument, NULL, OPTION_JSON},
    {"task", required_argument, NULL, OPTION_TASK},
    {"match", required_argument, NULL, OPTION_TASK_MATCH},
    {"group", required_argument, NULL, OPTION_GROUP},
    {"top", required_argument, NULL, OPTION_TASK_TOP},
    {"color", required_argument, NULL, OPTION_COLOR},
    {"help", no_argument, NULL, OPTION_HELP},
    {0},
};

static int run(int argc, char **argv)
{
    struct snapshot_show_options options = {0};
    for (int option; (option = command_next_option(&cmd_report, argc, argv, long_options)) != -1;) {
        if (option == OPTION_HELP) {
            command_help(&cmd_report, stdout);
            return command_finish();
        }
        if (!snapshot_show_option_take(&options, &cmd_report, option, optarg))
            return EXIT_USAGE;
    }
    if (argc - optind != 1)
        return command_usage(&cmd_report, optind == argc
                                              ? "which file? give one that snapshot -o wrote"
                                              : "one file at a time");
    struct snapshot snapshot;
    struct error err = {0};
    if (!snapshot_file_read(&snapshot, argv[optind], &err))
        return command_fail(&err);
    bool ok = snapshot_show(&snapshot, &options, &err);
    snapshot_deinit(&snapshot);
    return ok ? command_finish() : command_fail(&err);
}

const struct command cmd_report = {
    .name = "report",
    .summary = "a snapshot file: its tasks, as snapshot showed them",
    .usage = "FILE [OPTION ...]",
    .help = "  --json            one JSON document (asyncmem.snapshot/1)\n"
            "  --task ID         one task whole: its await tree with every slot\n"
            "  --match TEXT      only tasks with TEXT in a name, file or status\n"
            "  --group KEY       by type or by await, not by both; or by variable\n"
            "  --top N           show the first N groups\n"
            "  --color WHEN      auto (default), always or never\n"
            "  -h, --help        this text\n",
    .run = run,
};
