/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* asyncmem types: the plan, its future types, one writer. */
#include <string.h>

#include "cli/command.h"
#include "report/types_report.h"

enum {
    OPTION_MIN_BYTES = OPTION_FIRST_OWN,
    OPTION_MATCH,
    OPTION_SORT,
    OPTION_TOP,
    OPTION_ALL,
    OPTION_FULL_NAMES,
};

static const struct option long_options[] = {
    {"json", no_argument, NULL, OPTION_JSON},
    {"min-bytes", required_argument, NULL, OPTION_MIN_BYTES},
    {"match", required_argument, NULL, OPTION_MATCH},
    {"sort", required_argument, NULL, OPTION_SORT},
    {"top", required_argument, NULL, OPTION_TOP},
    {"all", no_argument, NULL, OPTION_ALL},
    {"full-names", no_argument, NULL, OPTION_FULL_NAMES},
    {"symbols", required_argument, NULL, OPTION_SYMBOLS},
    {"no-cache", no_argument, NULL, OPTION_NO_CACHE},
    {"color", required_argument, NULL, OPTION_COLOR},
    {"help", no_argument, NULL, OPTION_HELP},
    {0},
};

static bool take_sort(struct types_options *types, const char *value)
{
    static const struct {
        const char *name;
        enum types_sort sort;
    } sorts[] = {
        {"size", TYPES_SORT_SIZE}, {"waste", TYPES_SORT_WASTE}, {"name", TYPES_SORT_NAME}};
    for (size_t i = 0; i < sizeof(sorts) / sizeof(*sorts); i++)
        if (strcmp(value, sorts[i].name) == 0) {
            types->sort = sorts[i].sort;
            return true;
        }
    command_usage(&cmd_types, "--sort takes size, waste or name, not '%s'", value);
    return false;
}

static bool take_number(const char *option, const char *value, uint64_t max, uint64_t *number)
{
    if (parse_number(value, number) && *number <= max)
        return true;
    command_usage(&cmd_types, "%s takes a number up to %llu, not '%s'", option,
                  (unsigned long long)max, value);
    return false;
}

static bool take_option(struct types_options *types, struct common_options *common, int option)
{
    uint64_t number;
    switch (option) {
    case OPTION_MIN_BYTES:
        return take_number("--min-bytes", optarg, UINT64_MAX, &types->min_bytes);
    case OPTION_MATCH:
        types->match = optarg;
        return true;
    case OPTION_SORT:
        return take_sort(types, optarg);
    case OPTION_TOP:
        if (!take_number("--top", optarg, 1000000000, &number))
            return false;
        types->top = (unsigned)number;
        if (!number)
            command_usage(&cmd_types, "--top takes a number from 1 on");
        return number > 0;
    case OPTION_ALL:
        types->all = true;
        return true;
    case OPTION_FULL_NAMES:
        types->full_names = true;
        return true;
    default:
        return common_option_take(common, &cmd_types, option, optarg);
    }
}

static int write_report(const char *path, const struct plan *plan,
                        const struct types_options *options, const struct common_options *common)
{
    struct future_types types;
    struct types_report report;
    struct error err = {0};
    int status = EXIT_FINE;
    future_types_init(&types, plan);
    types_report_init(&report, path, &types, options);
    if (common->json) {
        if (!types_write_json(&report, stdout, &err))
            status = command_fail(&err);
    } else {
        struct display display;
        display_init(&display, stdout, common->colour);
        types_write_text(&report, &display);
        status = command_finish();
    }
    types_report_deinit(&report);
    future_types_deinit(&types);
    return status;
}

static int run(int argc, char **argv)
{
    struct types_options options = {0};
    struct common_options common = {0};
    for (int option; (option = command_next_option(&cmd_types, argc, argv, long_options)) != -1;) {
        if (option == OPTION_HELP) {
            command_help(&cmd_types, stdout);
            return command_finish();
        }
        if (!take_option(&options, &common, option))
            return EXIT_USAGE;
    }
    if (argc - optind != 1)
        return command_usage(&cmd_types, optind == argc ? "which program? give its file"
                                                        : "one program at a time");
    struct loaded_plan plan;
    struct error err = {0};
    if (!command_load_plan(&plan, argv[optind], &common, &err))
        return command_fail(&err);
    int status = write_report(argv[optind], &plan.plan, &options, &common);
    plan_unload(&plan);
    return status;
}

const struct command cmd_types = {
    .name = "types",
    .summary = "every future of a program: its size, and what each await keeps",
    .usage = "BINARY [OPTION ...]",
    .help = "  --json            one JSON document (asyncmem.types/1)\n"
            "  --min-bytes N     only futures of at least N bytes (K = 1024, M, G allowed)\n"
            "  --match TEXT      only futures whose name or file has TEXT in it, shown whole\n"
            "  --sort KEY        size (default), waste or name\n"
            "  --top N           show the first N, whole\n"
            "  --all             show all of them, whole\n"
            "  --full-names      names with all their generics and whole paths\n"
            "  --symbols FILE    take layouts from a rebuild of the same commit with debug = 2\n"
            "  --no-cache        neither read nor write the cached plan\n"
            "  --color WHEN      auto (default), always or never\n"
            "  -h, --help        this text\n",
    .run = run,
};
