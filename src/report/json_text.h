/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Values of JSON documents, by jansson; strings from untrusted files become valid UTF-8. */
#pragma once

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

json_t *json_text(const char *raw);         /* NULL gives null */
json_t *json_text_or_null(const char *raw); /* "" gives null too */
json_t *json_line(uint32_t line);           /* 0 gives null */
json_t *json_bytes(uint64_t bytes);

/* Writes one document and a line end, then frees it.  False when the stream fails. */
MUST_CHECK bool json_write(json_t *json, FILE *out, struct error *err);
