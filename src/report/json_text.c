/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "report/json_text.h"

#include <errno.h>
#include <string.h>

#include "report/display.h"

json_t *json_text(const char *raw)
{
    if (!raw)
        return json_null();
    struct text text;
    text_init(&text);
    display_valid_utf8(raw, &text);
    json_t *json = json_stringn_nocheck(text_str(&text), text.length);
    text_deinit(&text);
    return json;
}

json_t *json_text_or_null(const char *raw)
{
    return json_text(raw && *raw ? raw : NULL);
}

json_t *json_line(uint32_t line)
{
    return line ? json_integer(line) : json_null();
}

json_t *json_bytes(uint64_t bytes)
{
    return json_integer(bytes > INT64_MAX ? INT64_MAX : (json_int_t)bytes);
}

bool json_write(json_t *json, FILE *out, struct error *err)
{
    errno = 0;
    int status = json_dumpf(json, out, JSON_COMPACT | JSON_REAL_PRECISION(12));
    json_decref(json);
    if (status != 0 || fputc('\n', out) == EOF || fflush(out) != 0)
        return error_set(err, ERROR_INPUT, "the output could not be written: %s",
                         strerror(errno ? errno : EIO));
    return true;
}
