/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * `asyncmem run`: the program runs, traced, to its end; then the report of its recording is shown, and
 * asyncmem ends as the program did.  The report is made by a process of its own, so that nothing in the
 * recording can change how we end.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/run_show.h"
#include "model/run_file.h"
#include "recorder/recorder.h"

enum {
    OPTION_REPORT = OPTION_FIRST_OWN,
    OPTION_NO_REPORT,
    OPTION_FOLLOW_CHILDREN,
    OPTION_STACKS,
    OPTION_CHECKPOINT,
    OPTION_OUTPUT = 'o',
};

enum { EXIT_OWN_FAILURE = 125, MAX_CHECKPOINT_S = 86400 };

struct run_args {
    struct common_options common; /* of these: json */
    struct recorder_options recorder;
    const char *report; /* NULL: to stderr */
    bool no_report;
};

/* --- messages ------------------------------------------------------------------------------------ */

/* One write, so that the program's own lines do not get in between. */
static void tell(const struct error *err)
{
    char line[sizeof(err->message) + 16];
    int n = snprintf(line, sizeof(line), "asyncmem: %s\n", err->message);
    if (write(STDERR_FILENO, line, (size_t)n) != n)
        return; /* nobody listens */
}

static void tell_where(const struct recorder_result *result)
{
    struct error line;
    const char *path = text_str(&result->path);
    if (!result->path.length)
        return;
    error_set(&line, ERROR_NONE, "recorded in %s; asyncmem report %s shows it", path, path);
    tell(&line);
    if (!result->nr_children)
        return;
    error_set(&line, ERROR_NONE, "%zu more process%s recorded in %s.PID", result->nr_children,
              result->nr_children == 1 ? " is" : "es are", path);
    tell(&line);
}

/* --- the report ---------------------------------------------------------------------------------- */

/* Of our own files: where the program wrote before, too; opened anew it would be written over. */
static int own_file(const char *path)
{
    static const char *const folders[] = {"/dev/fd/", "/proc/self/fd/"};
    uint64_t number;
    if (strcmp(path, "/dev/stdout") == 0)
        return STDOUT_FILENO;
    if (strcmp(path, "/dev/stderr") == 0)
        return STDERR_FILENO;
    for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++)
        if (str_starts_with(path, folders[i]) && parse_number(path + strlen(folders[i]), &number) &&
            number <= INT32_MAX)
            return (int)number;
    return -1;
}

static bool show_to_stream(const struct run *run, const struct run_show_options *options, int fd,
                           struct error *err)
{
    FILE *out = fdopen(fd, "w");
    bool ok =
        out ? run_show(run, options, out, err)
            : error_set(err, ERROR_INPUT, "the report could not be written: %s", strerror(errno));
    if (ok && (fflush(out) != 0 || ferror(out)))
        ok = error_set(err, ERROR_INPUT, "the report could not be written: %s", strerror(errno));
    return ok;
}

/* In a process of its own: returns its exit status. */
static int report(const struct run_args *args, const char *recording)
{
    const struct run_show_options options = {.json = args->common.json};
    struct error err = {0};
    struct run run;
    signal(SIGPIPE, SIG_DFL); /* who reads the report may leave */
    signal(SIGBUS, SIG_DFL);
    signal(SIGXFSZ, SIG_IGN);
    bool ok = run_file_read(&run, recording, &err);
    if (ok) {
        int fd = args->report ? own_file(args->report) : STDERR_FILENO;
        ok = fd >= 0 ? show_to_stream(&run, &options, fd, &err)
                     : run_show_file(&run, &options, args->report, &err);
        run_deinit(&run);
    }
    if (!ok)
        tell(&err);
    return ok ? EXIT_FINE : EXIT_INPUT;
}

static void show_report(const struct run_args *args, const struct recorder_result *result)
{
    struct error err;
    if (args->no_report || !result->recording[0])
        return;
    pid_t pid = fork();
    if (pid == 0) {
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL); /* a long report can be interrupted */
        _exit(report(args, result->recording));
    }
    int status = 0;
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (pid >= 0 && (!WIFSIGNALED(status) || WTERMSIG(status) == SIGPIPE ||
                     WTERMSIG(status) == SIGINT || WTERMSIG(status) == SIGTERM))
        return;
    error_set(&err, ERROR_INPUT, "the report could not be made; asyncmem report %s tries again",
              text_str(&result->path));
    tell(&err);
}

/* --- the end ------------------------------------------------------------------------------------- */

/* As the program did; it has had its core dump. */
NO_RETURN static void end_by_signal(int signal_number)
{
    sigset_t set;
    const struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    prctl(PR_SET_DUMPABLE, 0);
    signal(signal_number, SIG_DFL);
    sigemptyset(&set);
    sigaddset(&set, signal_number);
    raise(signal_number);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    _exit(128 + signal_number); /* process 1 cannot end by a signal */
}

static int run_program(struct run_args *args)
{
    struct recorder_result result;
    struct error err = {0};
    if (!recorder_run(&result, &args->recorder, &err)) {
        tell(&err);
        return result.exit_status;
    }
    show_report(args, &result);
    tell_where(&result);
    int signal_number = result.signal, status = result.exit_status;
    text_deinit(&result.path);
    if (signal_number)
        end_by_signal(signal_number);
    return status;
}

/* --- options ------------------------------------------------------------------------------------- */

static bool take_stacks(struct region_options *options, const char *value)
{
    options->stacks = strcmp(value, "all") == 0    ? REGION_STACKS_ALL
                      : strcmp(value, "none") == 0 ? REGION_STACKS_NONE
                                                   : REGION_STACKS_SAMPLED;
    if (options->stacks != REGION_STACKS_SAMPLED || strcmp(value, "sampled") == 0)
        return true;
    if (strncmp(value, "sampled=", 8) == 0 && parse_number(value + 8, &options->sample_bytes) &&
        options->sample_bytes)
        return true;
    command_usage(&cmd_run, "--stacks takes all, sampled, sampled=BYTES or none, not '%s'", value);
    return false;
}

static bool take_option(struct run_args *args, int option, const char *value)
{
    switch (option) {
    case OPTION_OUTPUT:
        args->recorder.output = value;
        return true;
    case OPTION_REPORT:
        args->report = value;
        return true;
    case OPTION_NO_REPORT:
        args->no_report = true;
        return true;
    case OPTION_FOLLOW_CHILDREN:
        args->recorder.region.follows_children = true;
        return true;
    case OPTION_STACKS:
        return take_stacks(&args->recorder.region, value);
    case OPTION_CHECKPOINT:
        if (parse_number(value, &args->recorder.checkpoint_s) && args->recorder.checkpoint_s &&
            args->recorder.checkpoint_s <= MAX_CHECKPOINT_S)
            return true;
        command_usage(&cmd_run, "--checkpoint takes seconds from 1 to %d, not '%s'",
                      MAX_CHECKPOINT_S, value);
        return false;
    default:
        return common_option_take(&args->common, &cmd_run, option, value);
    }
}

static const struct option long_options[] = {
    {"output", required_argument, NULL, OPTION_OUTPUT},
    {"report", required_argument, NULL, OPTION_REPORT},
    {"json", no_argument, NULL, OPTION_JSON},
    {"no-report", no_argument, NULL, OPTION_NO_REPORT},
    {"follow-children", no_argument, NULL, OPTION_FOLLOW_CHILDREN},
    {"stacks", required_argument, NULL, OPTION_STACKS},
    {"checkpoint", required_argument, NULL, OPTION_CHECKPOINT},
    {"help", no_argument, NULL, OPTION_HELP},
    {0},
};

static int run(int argc, char **argv)
{
    struct run_args args = {.recorder = {.checkpoint_s = 10, .tell = tell}};
    for (int option; (option = command_next_option(&cmd_run, argc, argv, long_options)) != -1;) {
        if (option == OPTION_HELP) {
            command_help(&cmd_run, stdout);
            return command_finish();
        }
        if (!take_option(&args, option, optarg))
            return EXIT_OWN_FAILURE;
    }
    if (optind == argc) {
        command_usage(&cmd_run, "which program? give it and its arguments behind --");
        return EXIT_OWN_FAILURE;
    }
    if (args.no_report && (args.report || args.common.json)) {
        command_usage(&cmd_run, "--no-report does not go with --report or --json");
        return EXIT_OWN_FAILURE;
    }
    if (args.recorder.output && own_file(args.recorder.output) >= 0) {
        command_usage(&cmd_run, "-o takes a file of its own, not %s", args.recorder.output);
        return EXIT_OWN_FAILURE;
    }
    args.recorder.program = argv + optind;
    args.recorder.keeps_stdout = args.report && own_file(args.report) == STDOUT_FILENO;
    return run_program(&args);
}

const struct command cmd_run = {
    .name = "run",
    .summary = "runs a program and records every allocation, by the task that made it",
    .usage = "[OPTION ...] [--] PROGRAM [ARGUMENT ...]",
    .help = "  -o, --output FILE   keep the recording there (default: asyncmem.PID.rec)\n"
            "  --report FILE       write the report there, not to stderr\n"
            "  --json              the report as one JSON document (asyncmem.report/1)\n"
            "  --no-report         record only; asyncmem report FILE shows it later\n"
            "  --follow-children   record its children, too, each in FILE.PID\n"
            "  --stacks WHICH      all (default), sampled, sampled=BYTES (a stack for so many\n"
            "                      bytes on the average; 512K) or none\n"
            "  --checkpoint S      write the recording every S seconds (default 10)\n"
            "  -h, --help          this text\n",
    .letters = "+:ho:",
    .run = run,
};
