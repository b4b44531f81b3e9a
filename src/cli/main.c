/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* asyncmem: finds the command and runs it.  Only this folder prints errors and exits. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"

/* A mapped file was cut short by somebody else: say so in one line, as for any bad input. */
static void file_vanished(int signal_number)
{
    static const char line[] = "asyncmem: a file changed while it was read; try again when the "
                               "build has ended\n";
    (void)signal_number;
    if (write(STDERR_FILENO, line, sizeof(line) - 1) < 0)
        _exit(EXIT_INPUT);
    _exit(EXIT_INPUT);
}

static void print_help(FILE *out)
{
    fputs("asyncmem: which task holds which memory, at which await, and why is it still alive?\n\n"
          "Usage: asyncmem COMMAND [OPTION ...] [ARGUMENT ...]\n\nCommands:\n",
          out);
    for (const struct command *const *command = commands; *command; command++)
        fprintf(out, "  %-10s %s\n", (*command)->name, (*command)->summary);
    fputs("\nasyncmem COMMAND --help tells more; man asyncmem-COMMAND tells all.\n", out);
}

int main(int argc, char **argv)
{
    if (signal(SIGBUS, file_vanished) == SIG_IGN)
        signal(SIGBUS, SIG_IGN); /* what run starts finds it so, too */
    const char *name = argc > 1 ? argv[1] : "--help";
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        print_help(argc > 1 ? stdout : stderr);
        return argc > 1 ? command_finish() : EXIT_USAGE;
    }
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        puts("asyncmem " ASYNCMEM_VERSION);
        return command_finish();
    }
    for (const struct command *const *command = commands; *command; command++)
        if (strcmp((*command)->name, name) == 0)
            return (*command)->run(argc - 1, argv + 1);
    struct error err;
    error_set(&err, ERROR_USAGE, "no command '%.100s'; asyncmem --help lists them", name);
    return command_fail(&err);
}
