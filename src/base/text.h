/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A growing string.  `data` is always NUL-terminated after the first append and may move with
 * each; text_deinit frees it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attributes.h"

struct text {
    char *data;
    size_t length;
    size_t capacity;
};

void text_init(struct text *text);
void text_deinit(struct text *text);
void text_clear(struct text *text);
void text_append(struct text *text, const char *bytes, size_t length);
void text_append_str(struct text *text, const char *str);
void text_append_char(struct text *text, char c);
void text_printf(struct text *text, const char *format, ...) PRINTF_LIKE(2, 3);
/* The string so far, "" when nothing was appended. */
const char *text_str(const struct text *text);

bool str_starts_with(const char *str, const char *prefix);
bool str_ends_with(const char *str, const char *suffix);
