/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * JSON for documents too long to hold as a tree: appended to a text piece by piece, so that a
 * piece that is there many times is made once.  A comma is put where the text does not end in
 * an opening bracket, a colon or a comma.  Strings from untrusted files become valid UTF-8.
 */
#pragma once

#include "base/text.h"

void json_open(struct text *out, char bracket); /* '{' or '['; as an item or a value */
void json_close(struct text *out, char bracket);
void json_key(struct text *out, const char *key); /* a constant that needs no escape */
/* Values: behind a key or as items of an array. */
void json_put_string(struct text *out, const char *raw); /* NULL and "" give null */
void json_put_number(struct text *out, uint64_t number); /* above INT64_MAX: null, unknown */
void json_put_word(struct text *out, const char *word);  /* null, true, -1, 0.5 */

/* A key with its value. */
static inline void json_number(struct text *out, const char *key, uint64_t number)
{
    json_key(out, key);
    json_put_number(out, number);
}

/* 0 is none. */
static inline void json_id(struct text *out, const char *key, uint64_t id)
{
    json_key(out, key);
    if (id)
        json_put_number(out, id);
    else
        json_put_word(out, "null");
}
