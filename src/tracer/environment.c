/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The environment (tracer/environment.h).  Words are changed where they stand, as setproctitle does: some
 * programs keep what main gave them. */
#include "tracer/environment.h"

#include <string.h>
#include <unistd.h>

#include "recording/region_socket.h"
#include "tracer/syscalls.h"

#define PRELOAD "LD_PRELOAD="
#define SOCKET REGION_SOCKET_VARIABLE "="

enum { PRELOAD_BYTES = sizeof(PRELOAD) - 1, SOCKET_BYTES = sizeof(SOCKET) - 1 };

static const char library_name[] = "libasyncmem-trace.so";
static char socket_word[128];   /* SOCKET and the name; empty: not traced */
static char library_path[4096]; /* as LD_PRELOAD had it */

const char *environment_socket(void)
{
    return socket_word[0] ? socket_word + SOCKET_BYTES : NULL;
}

static char **find_word(char *const *words, const char *start, size_t length)
{
    for (; words && *words; words++)
        if (strncmp(*words, start, length) == 0)
            return (char **)words;
    return NULL;
}

static bool ends_item(char c)
{
    return c == ':' || c == ' ' || c == '\0';
}

/* Our library among the items of LD_PRELOAD: where it starts, and its length; NULL: not there. */
static const char *find_library(const char *items, size_t *length)
{
    size_t name_length = sizeof(library_name) - 1;
    for (const char *at = items; *at;) {
        const char *end = at;
        while (!ends_item(*end))
            end++;
        *length = (size_t)(end - at);
        if (*length >= name_length && memcmp(end - name_length, library_name, name_length) == 0)
            return at;
        at = *end ? end + 1 : end;
    }
    return NULL;
}

bool environment_read(void)
{
    char **socket = find_word(environ, SOCKET, SOCKET_BYTES);
    if (!socket || strlen(*socket) >= sizeof(socket_word))
        return false;
    char **preload = find_word(environ, PRELOAD, PRELOAD_BYTES);
    size_t length = 0;
    const char *library = preload ? find_library(*preload + PRELOAD_BYTES, &length) : NULL;
    if (library && length < sizeof(library_path))
        memcpy(library_path, library, length);
    strcpy(socket_word, *socket);
    return true;
}

static void remove_word(char **word)
{
    if (word)
        for (; *word; word++)
            word[0] = word[1];
}

/* Takes it out of the items of LD_PRELOAD; false: it is not there. */
static bool cut_library(char *items)
{
    size_t length = 0;
    char *library = (char *)find_library(items, &length);
    if (!library)
        return false;
    char *rest = library + length;
    if (*rest)
        rest++;
    else if (library > items)
        library--; /* the separator before it */
    memmove(library, rest, strlen(rest) + 1);
    return true;
}

void environment_hide(void)
{
    remove_word(find_word(environ, SOCKET, SOCKET_BYTES));
    char **preload = find_word(environ, PRELOAD, PRELOAD_BYTES);
    if (preload && cut_library(*preload + PRELOAD_BYTES) && !(*preload)[PRELOAD_BYTES])
        remove_word(preload);
}

/* --- for a new program ------------------------------------------------------------------------------- */

static size_t count_words(char *const *words)
{
    size_t nr = 0;
    while (words && words[nr])
        nr++;
    return nr;
}

/* "LD_PRELOAD=ours", then ':' and what the program has there. */
static char *preload_with_ours(char *to, const char *own)
{
    size_t length = 0;
    if (own && find_library(own, &length))
        return strcpy(to, own - PRELOAD_BYTES);
    strcpy(to, PRELOAD);
    strcat(to, library_path);
    if (own && *own) {
        strcat(to, ":");
        strcat(to, own);
    }
    return to;
}

/* "LD_PRELOAD=" and what the program has there but ours; NULL: nothing. */
static char *preload_without_ours(char *to, const char *own)
{
    if (!own)
        return NULL;
    strcpy(to, PRELOAD);
    strcat(to, own);
    cut_library(to + PRELOAD_BYTES);
    return to[PRELOAD_BYTES] ? to : NULL;
}

static bool change(struct environment *shown, char *const *old, bool with_ours)
{
    char **preload = find_word(old, PRELOAD, PRELOAD_BYTES);
    const char *own = preload ? *preload + PRELOAD_BYTES : NULL;
    size_t nr = count_words(old), own_bytes = own ? strlen(own) : 0;
    size_t words_bytes = (nr + 3) * sizeof(char *);
    size_t bytes = words_bytes + PRELOAD_BYTES + strlen(library_path) + own_bytes + 2;
    shown->words = shown->few;
    if (bytes > sizeof(shown->few)) {
        shown->mapped_bytes = bytes;
        shown->words = shown->mapped = sys_map(bytes, -1);
        if (!shown->mapped)
            return false;
    }
    char *text = (char *)shown->words + words_bytes;
    char *word = with_ours ? preload_with_ours(text, own) : preload_without_ours(text, own);
    size_t used = 0;
    for (size_t i = 0; i < nr; i++)
        if (strncmp(old[i], PRELOAD, PRELOAD_BYTES) != 0 &&
            strncmp(old[i], SOCKET, SOCKET_BYTES) != 0)
            shown->words[used++] = old[i];
    if (word)
        shown->words[used++] = word;
    if (with_ours)
        shown->words[used] = socket_word;
    return true;
}

bool environment_show(struct environment *shown, char *const *old)
{
    *shown = (struct environment){0};
    return library_path[0] && socket_word[0] && change(shown, old, true);
}

bool environment_hide_in(struct environment *hidden, char *const *old)
{
    *hidden = (struct environment){0};
    return find_word(old, SOCKET, SOCKET_BYTES) && change(hidden, old, false);
}

void environment_free(struct environment *shown)
{
    if (shown->mapped)
        sys_unmap(shown->mapped, shown->mapped_bytes);
    shown->mapped = NULL;
}
