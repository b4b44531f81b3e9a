/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The text of a task's generic arguments: T, its future, and S, its scheduler. */
#include "program/tasks.h"

bool task_split_arguments(const char *text, struct text *future, struct text *scheduler)
{
    int depth = 0;
    const char *comma = NULL, *p;
    for (p = text; *p; p++) {
        if (*p == '<' || *p == '(' || *p == '[')
            depth++;
        else if (*p == ')' || *p == ']')
            depth--;
        else if (*p == '>' && (p == text || p[-1] != '-')) { /* not the arrow of a fn type */
            if (depth == 0)
                break;
            depth--;
        } else if (*p == ',' && depth == 0 && !comma)
            comma = p;
    }
    if (!comma || *p != '>')
        return false;
    text_append(future, text, (size_t)(comma - text));
    const char *second = comma + 1;
    while (*second == ' ')
        second++;
    text_append(scheduler, second, (size_t)(p - second));
    return true;
}

/* Behind the bracket that closes the one at `open`. */
static const char *behind_arguments(const char *open)
{
    int depth = 0;
    const char *p = open;
    for (; *p; p++) {
        depth += *p == '<';
        depth -= *p == '>' && p[-1] != '-'; /* not the arrow of a fn type */
        if (!depth)
            return p + 1;
    }
    return p;
}

/* The name without generic arguments that have no code of their own: a closure has. */
static void append_without_arguments(const char *name, struct text *out)
{
    while (*name) {
        const char *end = *name == '<' ? behind_arguments(name) : name + 1;
        bool has_code = memchr(name, '{', (size_t)(end - name)) != NULL;
        if (*name != '<' || has_code)
            text_append(out, name, (size_t)(end - name));
        name = end;
    }
}

bool task_differ_in_arguments(const char *a, const char *b)
{
    const size_t plain = strcspn(a, "<");
    if (strncmp(a, b, plain) != 0 || !a[plain])
        return false;
    struct text x, y;
    text_init(&x);
    text_init(&y);
    append_without_arguments(a, &x);
    append_without_arguments(b, &y);
    bool same = strcmp(a, b) != 0 && strcmp(text_str(&x), text_str(&y)) == 0;
    text_deinit(&x);
    text_deinit(&y);
    return same;
}
