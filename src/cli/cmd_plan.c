/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* asyncmem plan: what could be read of a program and what not. */
#include "cli/command.h"
#include "report/plan_report.h"

static const struct option long_options[] = {
    {"json", no_argument, NULL, OPTION_JSON},
    {"symbols", required_argument, NULL, OPTION_SYMBOLS},
    {"no-cache", no_argument, NULL, OPTION_NO_CACHE},
    {"color", required_argument, NULL, OPTION_COLOR},
    {"help", no_argument, NULL, OPTION_HELP},
    {0},
};

static int run(int argc, char **argv)
{
    struct common_options common = {0};
    for (int option; (option = command_next_option(&cmd_plan, argc, argv, long_options)) != -1;) {
        if (option == OPTION_HELP) {
            command_help(&cmd_plan, stdout);
            return command_finish();
        }
        if (!common_option_take(&common, &cmd_plan, option, optarg))
            return EXIT_USAGE;
    }
    if (argc - optind != 1)
        return command_usage(&cmd_plan, optind == argc ? "which program? give its file"
                                                       : "one program at a time");
    struct loaded_plan plan;
    struct error err = {0};
    if (!command_load_plan(&plan, argv[optind], &common, PLAN_LEVEL_TYPES, &err))
        return command_fail(&err);
    int status = EXIT_FINE;
    if (common.json) {
        if (!plan_write_json(&plan, argv[optind], stdout, &err))
            status = command_fail(&err);
    } else {
        struct display display;
        display_init(&display, stdout, common.colour);
        plan_write_text(&plan, argv[optind], &display);
        status = command_finish();
    }
    plan_unload(&plan);
    return status;
}

const struct command cmd_plan = {
    .name = "plan",
    .summary = "what could be read of a program: task kinds, vtables, sources, what is missing",
    .usage = "BINARY [OPTION ...]",
    .help = "  --json            one JSON document (asyncmem.plan/1)\n"
            "  --symbols FILE    take layouts from a rebuild of the same commit with debug = 2\n"
            "  --no-cache        neither read nor write the cached plan\n"
            "  --color WHEN      auto (default), always or never\n"
            "  -h, --help        this text\n",
    .run = run,
};
