/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "program/demangle.h"

#include <libiberty/demangle.h>
#include <setjmp.h>
#include <string.h>

enum { MAX_NAME_BYTES = 64 * 1024, MAX_SYMBOL_BYTES = 64 * 1024 };

struct output {
    struct text *name;
    size_t start;
    jmp_buf too_long;
};

/* libiberty has no way to stop it; it holds no resources here, so a jump out is safe. */
static void append(const char *bytes, size_t length, void *opaque)
{
    struct output *output = opaque;
    if (output->name->length - output->start + length > MAX_NAME_BYTES)
        longjmp(output->too_long, 1);
    text_append(output->name, bytes, length);
}

/*
 * libiberty counts the lifetimes of a for<...> one by one, unseen where it skips text: let there
 * be at most 62^2.  A binder follows F (fn) or D (dyn) and is a number of base 62.
 */
static bool has_huge_binder(const char *symbol)
{
    static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for (const char *p = symbol; (p = strchr(p, 'G')); p++) {
        size_t length = strspn(p + 1, digits);
        bool follows = p > symbol && (p[-1] == 'F' || p[-1] == 'D');
        if (follows && length > 2 && p[1 + length] == '_')
            return true;
    }
    return false;
}

/* Legacy symbols have no character for "-": the arrow of a fn type comes out as ".>". */
static void mend_arrows(struct text *name, size_t from)
{
    for (char *at = name->data ? strstr(name->data + from, " .> ") : NULL; at;
         at = strstr(at, " .> "))
        at[1] = '-';
}

bool demangle_rust(const char *symbol, struct text *name)
{
    if (!symbol || (strncmp(symbol, "_R", 2) != 0 && strncmp(symbol, "_ZN", 3) != 0) ||
        strnlen(symbol, MAX_SYMBOL_BYTES) == MAX_SYMBOL_BYTES ||
        (symbol[1] == 'R' && has_huge_binder(symbol)))
        return false;
    struct output output = {.name = name, .start = name->length};
    int ok = 0;
    if (setjmp(output.too_long) == 0)
        ok = rust_demangle_callback(symbol, 0, append, &output);
    if (!ok) {
        name->length = output.start;
        if (name->data)
            name->data[output.start] = 0;
    } else if (symbol[1] == 'Z') {
        mend_arrows(name, output.start);
    }
    return ok != 0;
}
