/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

void text_init(struct text *text)
{
    *text = (struct text){0};
}

void text_deinit(struct text *text)
{
    free(text->data);
    text_init(text);
}

void text_clear(struct text *text)
{
    text->length = 0;
    if (text->data)
        text->data[0] = 0;
}

void text_append(struct text *text, const char *bytes, size_t length)
{
    size_t needed = text->length + length + 1;
    if (needed > text->capacity)
        text->data = array_reserve(text->data, &text->capacity, needed, 1);
    if (length)
        memcpy(text->data + text->length, bytes, length);
    text->length += length;
    text->data[text->length] = 0;
}

void text_append_str(struct text *text, const char *str)
{
    text_append(text, str, strlen(str));
}

void text_append_char(struct text *text, char c)
{
    text_append(text, &c, 1);
}

void text_printf(struct text *text, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n > 0) {
        size_t length = (size_t)n;
        text->data = array_reserve(text->data, &text->capacity, text->length + length + 1, 1);
        vsnprintf(text->data + text->length, length + 1, format, again);
        text->length += length;
    }
    va_end(again);
}

const char *text_str(const struct text *text)
{
    return text->data ? text->data : "";
}

bool str_starts_with(const char *str, const char *prefix)
{
    return strncmp(str, prefix, strlen(prefix)) == 0;
}

bool str_ends_with(const char *str, const char *suffix)
{
    size_t length = strlen(str), tail = strlen(suffix);
    return length >= tail && memcmp(str + length - tail, suffix, tail) == 0;
}
