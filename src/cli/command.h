/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* One command of asyncmem: a row of the table in commands.c and a file cmd_*.c. */
#pragma once

#include <getopt.h>
#include <stdbool.h>

#include "base/error.h"
#include "program/plan_compile.h"
#include "report/display.h"

enum exit_status {
    EXIT_FINE = 0,
    EXIT_FINDING = 1,
    EXIT_USAGE = 2,
    EXIT_INPUT = 3,
    EXIT_TARGET = 4,
};

struct command {
    const char *name;
    const char *summary;               /* one line */
    const char *usage;                 /* behind the name */
    const char *help;                  /* the options, a line each */
    const char *letters;               /* for getopt; NULL: only -h */
    int (*run)(int argc, char **argv); /* argv[0] is the command's name; returns an exit status */
};

extern const struct command cmd_types;
extern const struct command cmd_snapshot;
extern const struct command cmd_plan;
extern const struct command cmd_report;
extern const struct command cmd_run;

/* All commands, ended by NULL. */
extern const struct command *const commands[];

/* Prints the error on stderr, as "asyncmem: ...", and returns its exit status. */
int command_fail(const struct error *err);
/* The same for what the command can do without. */
void command_warn(const struct error *err);
/* A wrong option or argument: one line, EXIT_USAGE. */
int command_usage(const struct command *command, const char *format, ...) PRINTF_LIKE(2, 3);
void command_help(const struct command *command, FILE *out);

/* Options that several commands have; values for getopt_long above the letters. */
enum common_option {
    OPTION_HELP = 'h',
    OPTION_JSON = 256,
    OPTION_NO_CACHE,
    OPTION_SYMBOLS,
    OPTION_COLOR,
    OPTION_FIRST_OWN, /* a command's own options begin here */
};

struct common_options {
    bool json;
    bool no_cache;
    const char *symbols;
    enum display_colour colour;
};

/* Takes one of them; false when the value is wrong (the message is printed). */
bool common_option_take(struct common_options *options, const struct command *command, int option,
                        const char *value);

/* getopt_long, with errors as one line of ours; -1 at the end. */
int command_next_option(const struct command *command, int argc, char **argv,
                        const struct option *options);

/* A number of bytes or rows: digits with an optional K, M or G; false when it is none. */
bool parse_number(const char *text, uint64_t *number);

/* Loads a plan with a progress line on stderr for steps that take over a second. */
bool command_load_plan(struct loaded_plan *plan, const char *path,
                       const struct common_options *options, enum plan_level level,
                       struct error *err);
/* Flushes stdout; a failure is an error with its exit status. */
int command_finish(void);
