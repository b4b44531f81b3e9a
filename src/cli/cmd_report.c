/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * asyncmem report: a file of asyncmem, whatever it holds: the recording of a run, or a snapshot, which is
 * shown as `snapshot` shows it.
 */
#include <signal.h>
#include <string.h>

#include "base/file.h"
#include "cli/run_show.h"
#include "cli/snapshot_show.h"
#include "model/run_file.h"
#include "model/snapshot_file.h"
#include "recording/container.h"

enum { OPTION_BY = OPTION_SNAPSHOT_FIRST_OWN, OPTION_ALL };

struct report_args {
    struct snapshot_show_options show; /* what both kinds of file have, and --group */
    enum run_by by;
    bool has_by, has_group, all;
};

static const struct option long_options[] = {
    {"json", no_argument, NULL, OPTION_JSON},
    {"by", required_argument, NULL, OPTION_BY},
    {"match", required_argument, NULL, OPTION_TASK_MATCH},
    {"task", required_argument, NULL, OPTION_TASK},
    {"top", required_argument, NULL, OPTION_TASK_TOP},
    {"all", no_argument, NULL, OPTION_ALL},
    {"group", required_argument, NULL, OPTION_GROUP},
    {"color", required_argument, NULL, OPTION_COLOR},
    {"help", no_argument, NULL, OPTION_HELP},
    {0},
};

/* --- options --------------------------------------------------------------------------------- */

static bool take_by(struct report_args *args, const char *value)
{
    static const char *const names[NR_RUN_BYS] = {
        [RUN_BY_ALL] = "", /* the default has no name */
        [RUN_BY_TYPE] = "type",   [RUN_BY_TASK] = "task", [RUN_BY_SITE] = "site",
        [RUN_BY_AWAIT] = "await", [RUN_BY_TIME] = "time",
    };
    for (unsigned i = RUN_BY_TYPE; i < NR_RUN_BYS; i++)
        if (strcmp(value, names[i]) == 0) {
            args->by = (enum run_by)i;
            args->has_by = true;
            return true;
        }
    command_usage(&cmd_report, "--by takes type, task, site, await or time, not '%s'", value);
    return false;
}

static bool take_option(struct report_args *args, int option, const char *value)
{
    switch (option) {
    case OPTION_BY:
        return take_by(args, value);
    case OPTION_ALL:
        args->all = true;
        return true;
    default:
        args->has_group = args->has_group || option == OPTION_GROUP;
        return snapshot_show_option_take(&args->show, &cmd_report, option, value);
    }
}

/* --- the two kinds of file ------------------------------------------------------------------- */

static int show_run(const struct report_args *args, const struct file *file, const char *path)
{
    const struct run_show_options options = {
        .report = {.match = args->show.report.match,
                   .task = args->show.report.task,
                   .by = args->by,
                   .top = args->show.report.top,
                   .all = args->all},
        .json = args->show.common.json,
        .colour = args->show.common.colour,
    };
    struct run run;
    struct error err = {0};
    if (args->has_group)
        return command_usage(&cmd_report, "%s is of a run: --group is for snapshots, --by for runs",
                             path);
    if (!run_file_parse(&run, file->bytes, file->size_bytes, &err)) {
        error_prefix(&err, "%s", path);
        return command_fail(&err);
    }
    bool ok = run_show(&run, &options, stdout, &err);
    run_deinit(&run);
    return ok ? command_finish() : command_fail(&err);
}

static int show_snapshot(const struct report_args *args, const struct file *file, const char *path)
{
    struct snapshot_show_options options = args->show;
    struct snapshot snapshot;
    struct error err = {0};
    if (args->all)
        options.report.top = UINT32_MAX;
    if (!snapshot_file_parse(&snapshot, file->bytes, file->size_bytes, &err)) {
        error_prefix(&err, "%s", path);
        return command_fail(&err);
    }
    if (args->has_by) {
        snapshot_deinit(&snapshot);
        return command_usage(&cmd_report,
                             "%s is a snapshot: --by is for runs, --group for snapshots", path);
    }
    bool ok = snapshot_show(&snapshot, &options, &err);
    snapshot_deinit(&snapshot);
    return ok ? command_finish() : command_fail(&err);
}

static int run(int argc, char **argv)
{
    struct report_args args = {0};
    for (int option; (option = command_next_option(&cmd_report, argc, argv, long_options)) != -1;) {
        if (option == OPTION_HELP) {
            command_help(&cmd_report, stdout);
            return command_finish();
        }
        if (!take_option(&args, option, optarg))
            return EXIT_USAGE;
    }
    if (argc - optind != 1)
        return command_usage(&cmd_report, optind == argc
                                              ? "which file? give one that run or snapshot -o wrote"
                                              : "one file at a time");
    struct file file;
    struct error err = {0};
    signal(SIGPIPE, SIG_DFL); /* a pager that was left ends the report quietly */
    if (!file_open(&file, argv[optind], &err))
        return command_fail(&err);
    int status = container_is(file.bytes, file.size_bytes, "run")
                     ? show_run(&args, &file, argv[optind])
                     : show_snapshot(&args, &file, argv[optind]);
    file_close(&file);
    return status;
}

const struct command cmd_report = {
    .name = "report",
    .summary = "what a run did, or a snapshot shows, from the file it left",
    .usage = "FILE [OPTION ...]",
    .help = "  --json            one JSON document (asyncmem.report/1; of a snapshot\n"
            "                    asyncmem.snapshot/1)\n"
            "  --by WHAT         of a run, one table longer: type, task, site, await or time\n"
            "  --match TEXT      only what has TEXT in a name, file or status\n"
            "  --task ID         one task whole\n"
            "  --top N           the first N lines of each table\n"
            "  --all             every line of each table\n"
            "  --group KEY       of a snapshot: by type or by await, not by both; or by variable\n"
            "  --color WHEN      auto (default), always or never\n"
            "  -h, --help        this text\n",
    .run = run,
};
