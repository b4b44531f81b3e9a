/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/command.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/progress.h"

const struct command *const commands[] = {&cmd_types, &cmd_snapshot, &cmd_run, &cmd_report, &cmd_plan, NULL};

int command_fail(const struct error *err)
{
    fprintf(stderr, "asyncmem: %s\n", err->message);
    return (int)err->code;
}

void command_warn(const struct error *err)
{
    fprintf(stderr, "asyncmem: warning: %s\n", err->message);
}

int command_usage(const struct command *command, const char *format, ...)
{
    char message[512];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    struct error err;
    error_set(&err, ERROR_USAGE, "%s: %s; see asyncmem %s --help", command->name, message,
              command->name);
    return command_fail(&err);
}

void command_help(const struct command *command, FILE *out)
{
    fprintf(out, "asyncmem %s: %s\n\nUsage: asyncmem %s %s\n\n%s", command->name, command->summary,
            command->name, command->usage, command->help);
}

bool common_option_take(struct common_options *options, const struct command *command, int option,
                        const char *value)
{
    switch (option) {
    case OPTION_JSON:
        options->json = true;
        return true;
    case OPTION_NO_CACHE:
        options->no_cache = true;
        return true;
    case OPTION_SYMBOLS:
        options->symbols = value;
        return true;
    case OPTION_COLOR:
        options->colour = strcmp(value, "always") == 0  ? COLOUR_MODE_ALWAYS
                          : strcmp(value, "never") == 0 ? COLOUR_MODE_NEVER
                                                        : COLOUR_MODE_AUTO;
        if (options->colour == COLOUR_MODE_AUTO && strcmp(value, "auto") != 0) {
            command_usage(command, "--color takes auto, always or never, not '%s'", value);
            return false;
        }
        return true;
    default: /* command_next_option has said what is wrong */
        return false;
    }
}

int command_next_option(const struct command *command, int argc, char **argv,
                        const struct option *options)
{
    opterr = 0; /* our own line, with the remedy */
    const char *letters = command->letters ? command->letters : ":h";
    int option = getopt_long(argc, argv, letters, options, NULL);
    if (option == ':')
        command_usage(command, "%s needs a value", argv[optind - 1]);
    else if (option == '?')
        command_usage(command, "no option '%s'", argv[optind - 1]);
    return option;
}

bool parse_number(const char *text, uint64_t *number)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    uintmax_t value = strtoumax(text, &end, 10);
    unsigned shift = *end == 'K' || *end == 'k'   ? 10
                     : *end == 'M' || *end == 'm' ? 20
                     : *end == 'G' || *end == 'g' ? 30
                                                  : 0;
    end += shift != 0;
    if (errno || *end || value > (UINT64_MAX >> shift))
        return false;
    *number = value << shift;
    return true;
}

bool command_load_plan(struct loaded_plan *plan, const char *path,
                       const struct common_options *options, enum plan_level level,
                       struct error *err)
{
    struct progress progress;
    struct plan_request request = {
        .path = path,
        .level = level,
        .symbols_path = options->symbols,
        .use_cache = !options->no_cache,
        .progress = progress_step,
        .context = &progress,
    };
    progress_begin(&progress, path);
    bool ok = plan_load(plan, &request, err);
    progress_end(&progress);
    return ok;
}

int command_finish(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return EXIT_FINE;
    struct error err;
    error_set(&err, ERROR_INPUT, "the output could not be written: %s", strerror(errno));
    return command_fail(&err);
}
