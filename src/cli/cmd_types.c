/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* asyncmem types: the plan, its future types, one writer. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "cli/command.h"
#include "program/plan_cache.h"
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
    } sorts[] = {{"size", TYPES_SORT_SIZE}, {"waste", TYPES_SORT_WASTE}, {"name", TYPES_SORT_NAME}};
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

static int write_text(const char *path, const struct plan *plan,
                      const struct types_options *options, enum display_colour colour)
{
    struct future_types types;
    struct types_report report;
    struct display display;
    future_types_init(&types, plan);
    types_report_init(&report, path, &types, options);
    display_init(&display, stdout, colour);
    types_write_text(&report, &display);
    types_report_deinit(&report);
    future_types_deinit(&types);
    return command_finish();
}

/* The JSON document in memory, *size bytes; free() it.  NULL: `err` says why. */
static char *render_json(const char *path, const struct plan *plan,
                         const struct types_options *options, size_t *size, struct error *err)
{
    struct future_types types;
    struct types_report report;
    char *bytes = NULL;
    FILE *out = open_memstream(&bytes, size);
    future_types_init(&types, plan);
    types_report_init(&report, path, &types, options);
    bool ok = out && types_write_json(&report, out, err);
    types_report_deinit(&report);
    future_types_deinit(&types);
    if (out && fclose(out) != 0)
        ok = error_set(err, ERROR_INPUT, "the output could not be made: %s", strerror(errno));
    if (ok)
        return bytes;
    free(bytes);
    return NULL;
}

/*
 * Writing the JSON of a big program takes longer than reading its cached plan, so the whole
 * document (no selection) is kept beside the plan.
 */
static int write_json(const char *path, const struct loaded_plan *plan,
                      const struct types_options *options, const struct common_options *common)
{
    const struct plan_request request = {
        .path = path, .symbols_path = common->symbols, .use_cache = !common->no_cache};
    const struct types_options whole = {0};
    struct types_options asked = *options;
    asked.all = false; /* JSON has all of them anyway */
    bool keep =
        plan->is_cacheable && request.use_cache && memcmp(&asked, &whole, sizeof(whole)) == 0;
    uint64_t question = hash_str(path, 0);
    struct file answer;
    if (keep && plan_answer_find(&request, &plan->plan, question, &answer)) {
        fwrite(answer.bytes + PLAN_ANSWER_HEADER_BYTES, 1,
               answer.size_bytes - PLAN_ANSWER_HEADER_BYTES, stdout);
        file_close(&answer);
        return command_finish();
    }
    struct error err = {0};
    size_t size = 0;
    char *bytes = render_json(path, &plan->plan, options, &size, &err);
    if (!bytes)
        return command_fail(&err);
    if (keep)
        plan_answer_store(&request, &plan->plan, question, bytes, size);
    fwrite(bytes, 1, size, stdout);
    free(bytes);
    return command_finish();
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
    if (!command_load_plan(&plan, argv[optind], &common, PLAN_LEVEL_TYPES, &err))
        return command_fail(&err);
    const char *path = argv[optind];
    int status = common.json ? write_json(path, &plan, &options, &common)
                             : write_text(path, &plan.plan, &options, common.colour);
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
