/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/rust_path.h"

#include <string.h>

/* The bracket depth behind the character at `i`; the ">" of an arrow is no bracket. */
static int depth_after(const char *path, size_t i, int depth)
{
    switch (path[i]) {
    case '<':
    case '(':
    case '[':
        return depth + 1;
    case '>':
        return i && path[i - 1] == '-' ? depth : depth - 1;
    case ')':
    case ']':
        return depth - 1;
    default:
        return depth;
    }
}

size_t rust_path_step(const char *path, size_t length)
{
    int depth = 0;
    for (size_t i = 0; i < length; i++) {
        if (depth <= 0 && i > 0 && i + 1 < length && path[i] == ':' && path[i + 1] == ':')
            return i;
        depth = depth_after(path, i, depth);
    }
    return length;
}

size_t rust_path_parent(const char *path, size_t length, unsigned steps)
{
    size_t starts[256];
    unsigned nr = 0;
    for (size_t at = 0; at < length && nr < 256;) {
        starts[nr++] = at;
        at += rust_path_step(path + at, length - at);
        if (at < length)
            at += 2;
    }
    if (steps >= nr)
        return 0;
    return steps ? starts[nr - steps] - 2 : length;
}

static bool begins(const struct text *path, size_t at, const char *words)
{
    size_t length = strlen(words);
    return path->length - at >= length && memcmp(path->data + at, words, length) == 0;
}

static void fold_turbofish(struct text *path)
{
    size_t out = 0;
    for (size_t i = 0; i < path->length; i++) {
        if (begins(path, i, "::<") && !begins(path, i, "::<impl "))
            i += 2;
        path->data[out++] = path->data[i];
    }
    path->length = out;
    if (path->data)
        path->data[out] = 0;
}

/* "impl T for X" as "<X as T>", "impl X" as "X". */
static void append_impl(const char *impl, size_t length, struct text *out)
{
    static const char word[] = " for ";
    int depth = 0;
    for (size_t i = 0; i < length; i++) {
        if (depth == 0 && length - i > strlen(word) && memcmp(impl + i, word, strlen(word)) == 0) {
            size_t type = i + strlen(word);
            text_append_char(out, '<');
            text_append(out, impl + type, length - type);
            text_append_str(out, " as ");
            text_append(out, impl, i);
            text_append_char(out, '>');
            return;
        }
        depth = depth_after(impl, i, depth);
    }
    text_append(out, impl, length);
}

void rust_path_source_form(struct text *path)
{
    static const char head[] = "<impl ";
    struct text out;
    text_init(&out);
    fold_turbofish(path);
    for (size_t at = 0; at < path->length;) {
        size_t step = rust_path_step(path->data + at, path->length - at);
        if (step > strlen(head) && begins(path, at, head) && path->data[at + step - 1] == '>') {
            text_clear(&out); /* the module of the impl says nothing of what it is */
            append_impl(path->data + at + strlen(head), step - strlen(head) - 1, &out);
        } else {
            if (out.length)
                text_append_str(&out, "::");
            text_append(&out, path->data + at, step);
        }
        at += step;
        if (at < path->length)
            at += 2;
    }
    text_deinit(path);
    *path = out;
}

void rust_path_unwrap(struct text *path)
{
    size_t length = path->length;
    if (length < 2 || path->data[0] != '<' || path->data[length - 1] != '>')
        return;
    int depth = 0;
    for (size_t i = 0; i < length; i++) {
        depth = depth_after(path->data, i, depth);
        if (depth == 0 && i + 1 < length)
            return; /* the first bracket closes earlier: no outer pair */
        if (depth == 1 && i + 4 < length && memcmp(path->data + i, " as ", 4) == 0)
            return;
    }
    memmove(path->data, path->data + 1, length - 2);
    path->length = length - 2;
    path->data[path->length] = 0;
}
