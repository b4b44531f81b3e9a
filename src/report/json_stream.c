/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "report/json_stream.h"

#include <string.h>

#include "report/display.h"

static void separate(struct text *out)
{
    char last = out->length ? out->data[out->length - 1] : '[';
    if (last != '[' && last != '{' && last != ':' && last != ',')
        text_append_char(out, ',');
}

void json_open(struct text *out, char bracket)
{
    separate(out);
    text_append_char(out, bracket);
}

void json_close(struct text *out, char bracket)
{
    text_append_char(out, bracket);
}

void json_key(struct text *out, const char *key)
{
    separate(out);
    text_append_char(out, '"');
    text_append_str(out, key);
    text_append(out, "\":", 2);
}

void json_put_word(struct text *out, const char *word)
{
    separate(out);
    text_append_str(out, word);
}

void json_put_number(struct text *out, uint64_t number)
{
    char digits[24], *at = digits + sizeof(digits);
    if (number > INT64_MAX) {
        json_put_word(out, "null");
        return;
    }
    *--at = 0;
    do
        *--at = (char)('0' + number % 10);
    while (number /= 10);
    json_put_word(out, at);
}

static bool needs_escape(unsigned char c)
{
    return c < 0x20 || c == '"' || c == '\\';
}

static void append_escaped(struct text *out, const char *valid)
{
    for (const char *at = valid; *at;) {
        const char *from = at;
        while (*at && !needs_escape((unsigned char)*at))
            at++;
        text_append(out, from, (size_t)(at - from));
        if (*at == '"' || *at == '\\') {
            text_append_char(out, '\\');
            text_append_char(out, *at++);
        } else if (*at) {
            text_printf(out, "\\u%04x", (unsigned char)*at++);
        }
    }
}

/* Bytes of a string that stand in JSON as they are; 0 where there are others. */
static size_t plain_bytes(const char *raw)
{
    const char *at = raw;
    while ((unsigned char)*at < 0x80 && !needs_escape((unsigned char)*at))
        at++;
    return *at ? 0 : (size_t)(at - raw);
}

void json_put_string(struct text *out, const char *raw)
{
    struct text valid;
    if (!raw || !*raw) {
        json_put_word(out, "null");
        return;
    }
    const size_t plain = plain_bytes(raw);
    if (plain) { /* most are: no copy */
        separate(out);
        text_append_char(out, '"');
        text_append(out, raw, plain);
        text_append_char(out, '"');
        return;
    }
    text_init(&valid);
    display_valid_utf8(raw, &valid);
    separate(out);
    text_append_char(out, '"');
    append_escaped(out, text_str(&valid));
    text_append_char(out, '"');
    text_deinit(&valid);
}
