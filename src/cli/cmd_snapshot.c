/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * `asyncmem snapshot`: a process or core is opened, the plans of its images are loaded, its tasks
 * are read while it stands still, and the snapshot is shown or kept.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/progress.h"
#include "cli/snapshot_show.h"
#include "model/snapshot_file.h"
#include "model/snapshot_take.h"

enum {
    OPTION_CORE = OPTION_SNAPSHOT_FIRST_OWN,
    OPTION_EXE,
    OPTION_EVERY,
    OPTION_COUNT,
    OPTION_NO_HEAP,
    OPTION_STOP_LIMIT,
    OPTION_OUTPUT = 'o',
};

enum { MAX_STOP_LIMIT_MS = 3600000 };

struct snapshot_args {
    struct snapshot_show_options show;
    const char *core, *exe, *output;
    pid_t pid;
    double every_s; /* 0: once */
    uint64_t count; /* 0: without end */
    bool no_heap;
    bool has_stop_limit;
    uint64_t stop_limit_ms;
};

static void announce_stop(uint64_t stop_ns)
{
    fprintf(stderr, "asyncmem: the process stands still for about %llu ms, for the heap account\n",
            (unsigned long long)(stop_ns / 1000000));
}

static bool open_target(struct target *target, const struct snapshot_args *args, struct error *err)
{
    if (args->core)
        return target_open_core(target, args->core, args->exe, err);
    return target_open(target, args->pid, err);
}

static struct heap_options heap_options(const struct snapshot_args *args)
{
    return (struct heap_options){
        .is_off = args->no_heap,
        .stop_limit_ns = args->has_stop_limit ? args->stop_limit_ms * 1000000 : ~(uint64_t)0,
        .announce = announce_stop,
    };
}

/* --symbols is a rebuild of the program. */
static bool load_plan(void *context, struct loaded_plan *plan, const struct target_image *image,
                      struct error *err)
{
    struct common_options options = *(const struct common_options *)context;
    if (!image->is_program)
        options.symbols = NULL;
    return command_load_plan(plan, image->path, &options, PLAN_LEVEL_MEMORY, err);
}

/* Fills an initialised snapshot. */
static bool take(struct snapshot *snapshot, const struct snapshot_args *args, struct error *err)
{
    struct target target;
    const struct snapshot_request request = {
        .load_plan = load_plan,
        .warn = command_warn,
        .context = (void *)&args->show.common,
        .heap = heap_options(args),
    };
    if (!open_target(&target, args, err))
        return false;
    bool ok = snapshot_take(snapshot, &target, &request, err);
    target_close(&target);
    return ok;
}

static bool take_and_show(const struct snapshot_args *args, struct error *err)
{
    struct snapshot snapshot;
    snapshot_init(&snapshot);
    bool ok = take(&snapshot, args, err);
    if (ok && args->output)
        ok = snapshot_file_write(&snapshot, args->output, err);
    if (ok)
        ok = snapshot_show(&snapshot, &args->show, err);
    snapshot_deinit(&snapshot);
    return ok;
}

static void wait_until(struct timespec *next, double seconds)
{
    next->tv_sec += (time_t)seconds;
    next->tv_nsec += (long)((seconds - (double)(time_t)seconds) * 1e9);
    if (next->tv_nsec >= 1000000000) {
        next->tv_sec++;
        next->tv_nsec -= 1000000000;
    }
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, next, NULL) == EINTR)
        ;
}

/* With --every a process that ends is the end. */
static bool is_gone(pid_t pid)
{
    char path[64], state = 0;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *stat = fopen(path, "re");
    if (!stat)
        return true;
    bool is_read = fscanf(stat, "%*d (%*[^)]) %c", &state) == 1;
    fclose(stat);
    return is_read && (state == 'Z' || state == 'X');
}

static int run_all(const struct snapshot_args *args)
{
    struct timespec next;
    clock_gettime(CLOCK_MONOTONIC, &next);
    for (uint64_t i = 0;;) {
        struct error err = {0};
        if (!take_and_show(args, &err))
            return i && is_gone(args->pid) ? EXIT_FINE : command_fail(&err);
        int status = command_finish();
        if (status != EXIT_FINE || args->every_s == 0 || ++i == args->count)
            return status;
        wait_until(&next, args->every_s);
    }
}

/* --- options --------------------------------------------------------------------------------- */

static bool take_seconds(const char *value, double *seconds)
{
    char *end;
    errno = 0;
    *seconds = strtod(value, &end);
    return *value && !*end && !errno && *seconds >= 0.01 && *seconds <= 1e6;
}

static bool take_option(struct snapshot_args *args, int option, const char *value)
{
    switch (option) {
    case OPTION_CORE:
        args->core = value;
        return true;
    case OPTION_EXE:
        args->exe = value;
        return true;
    case OPTION_OUTPUT:
        args->output = value;
        return true;
    case OPTION_EVERY:
        if (take_seconds(value, &args->every_s))
            return true;
        command_usage(&cmd_snapshot, "--every takes seconds from 0.01 on, not '%s'", value);
        return false;
    case OPTION_COUNT:
        if (parse_number(value, &args->count) && args->count)
            return true;
        command_usage(&cmd_snapshot, "--count takes a number from 1 on, not '%s'", value);
        return false;
    case OPTION_NO_HEAP:
        args->no_heap = true;
        return true;
    case OPTION_STOP_LIMIT:
        args->has_stop_limit =
            parse_number(value, &args->stop_limit_ms) && args->stop_limit_ms <= MAX_STOP_LIMIT_MS;
        if (!args->has_stop_limit)
            command_usage(&cmd_snapshot, "--stop-limit takes milliseconds up to %d, not '%s'",
                          MAX_STOP_LIMIT_MS, value);
        return args->has_stop_limit;
    default:
        return snapshot_show_option_take(&args->show, &cmd_snapshot, option, value);
    }
}

static bool take_pid(struct snapshot_args *args, const char *value)
{
    uint64_t pid;
    if (!parse_number(value, &pid) || !pid || pid > INT32_MAX)
        return false;
    args->pid = (pid_t)pid;
    return true;
}

/* EXIT_FINE, or what was printed. */
static int check_args(struct snapshot_args *args, int nr, char **values)
{
    if (args->core && nr)
        return command_usage(&cmd_snapshot, "takes a process id or --core FILE, not both");
    if (!args->core && nr != 1)
        return command_usage(&cmd_snapshot, "takes one process id, or --core FILE");
    if (!args->core && !take_pid(args, values[0]))
        return command_usage(&cmd_snapshot, "'%s' is no process id", values[0]);
    if (args->exe && !args->core)
        return command_usage(&cmd_snapshot, "--exe goes with --core FILE");
    if (args->count && args->every_s == 0)
        return command_usage(&cmd_snapshot, "--count goes with --every S");
    if (args->every_s != 0 && args->core)
        return command_usage(&cmd_snapshot, "--every goes with a process id");
    if (args->has_stop_limit && args->core)
        return command_usage(&cmd_snapshot, "--stop-limit goes with a process id");
    if (args->every_s != 0 && args->output)
        return command_usage(&cmd_snapshot, "-o keeps one snapshot: it does not go with --every");
    return EXIT_FINE;
}

static const struct option long_options[] = {
    {"core", required_argument, NULL, OPTION_CORE},
    {"exe", required_argument, NULL, OPTION_EXE},
    {"symbols", required_argument, NULL, OPTION_SYMBOLS},
    {"json", no_argument, NULL, OPTION_JSON},
    {"task", required_argument, NULL, OPTION_TASK},
    {"match", required_argument, NULL, OPTION_TASK_MATCH},
    {"group", required_argument, NULL, OPTION_GROUP},
    {"top", required_argument, NULL, OPTION_TASK_TOP},
    {"every", required_argument, NULL, OPTION_EVERY},
    {"count", required_argument, NULL, OPTION_COUNT},
    {"no-heap", no_argument, NULL, OPTION_NO_HEAP},
    {"stop-limit", required_argument, NULL, OPTION_STOP_LIMIT},
    {"output", required_argument, NULL, OPTION_OUTPUT},
    {"no-cache", no_argument, NULL, OPTION_NO_CACHE},
    {"color", required_argument, NULL, OPTION_COLOR},
    {"help", no_argument, NULL, OPTION_HELP},
    {0},
};

static int run(int argc, char **argv)
{
    struct snapshot_args args = {0};
    for (int option;
         (option = command_next_option(&cmd_snapshot, argc, argv, long_options)) != -1;) {
        if (option == OPTION_HELP) {
            command_help(&cmd_snapshot, stdout);
            return command_finish();
        }
        if (!take_option(&args, option, optarg))
            return EXIT_USAGE;
    }
    int status = check_args(&args, argc - optind, argv + optind);
    return status == EXIT_FINE ? run_all(&args) : status;
}

const struct command cmd_snapshot = {
    .name = "snapshot",
    .summary = "every task of a running process or a core, at its await point",
    .usage = "[OPTION]... PID | --core FILE",
    .help =
        "      --core FILE     read a core file (as gcore makes it) instead of a process\n"
        "      --exe FILE      the program that left the core, where it was moved\n"
        "      --symbols FILE  layouts from a rebuild of the same commit with debug = 2\n"
        "      --json          print one JSON document (schema asyncmem.snapshot/1)\n"
        "      --task ID       one task whole: its await tree and variables\n"
        "      --match TEXT    only tasks that have TEXT in a future, file or status\n"
        "      --group WHAT    lines by future and await point; type: by future; await: by await;\n"
        "                      variable: by the variable that holds\n"
        "      --top N         at most N lines of a table\n"
        "      --every S       again every S seconds\n"
        "      --count N       with --every: N times\n"
        "      --no-heap       leave out what tasks hold in the heap; the stop is shorter\n"
        "      --stop-limit MS leave that out too where it would stop the process for longer\n"
        "  -o, --output FILE   also keep the snapshot in FILE, for asyncmem report\n"
        "      --no-cache      neither use nor write the plan cache\n"
        "      --color WHEN    auto, always or never\n"
        "  -h, --help          print this\n",
    .letters = ":ho:",
    .run = run,
};
