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

void rust_path_fold_turbofish(struct text *path)
{
    size_t out = 0;
    for (size_t i = 0; i < path->length; i++) {
        if (i + 2 < path->length && memcmp(path->data + i, "::<", 3) == 0)
            i += 2;
        path->data[out++] = path->data[i];
    }
    path->length = out;
    if (path->data)
        path->data[out] = 0;
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
