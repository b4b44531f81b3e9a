/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * One error: a code that the command line turns into its exit status, and one line of text that
 * says what, where and what to do.  The caller owns the struct; a function that returns false has
 * filled it.  Text from untrusted files is escaped here, so that a message is always one line.
 */
#pragma once

#include <stdbool.h>

#include "base/attributes.h"

enum error_code {
    ERROR_NONE = 0,
    ERROR_USAGE = 2,  /* wrong options or arguments */
    ERROR_INPUT = 3,  /* a file that is not what it should be */
    ERROR_TARGET = 4, /* a process that could not be read */
};

struct error {
    enum error_code code;
    char message[768];
};

/* Fills `err` (may be NULL) and returns false, so that `return error_set(...)` reads well. */
bool error_set(struct error *err, enum error_code code, const char *format, ...) PRINTF_LIKE(3, 4);

/* Puts "prefix: " before the message that is there; returns false. */
bool error_prefix(struct error *err, const char *format, ...) PRINTF_LIKE(2, 3);
