/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "report/display.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { MIN_COLUMNS = 80, DEFAULT_COLUMNS = 100, MAX_COLUMNS = 120 };

static unsigned columns_of(FILE *out)
{
    const char *variable = getenv("COLUMNS");
    struct winsize size;
    long columns = variable ? strtol(variable, NULL, 10) : 0;
    if (columns <= 0 && isatty(fileno(out)) && ioctl(fileno(out), TIOCGWINSZ, &size) == 0)
        columns = size.ws_col;
    if (columns <= 0)
        columns = DEFAULT_COLUMNS;
    return columns < MIN_COLUMNS   ? MIN_COLUMNS
           : columns > MAX_COLUMNS ? MAX_COLUMNS
                                   : (unsigned)columns;
}

void display_init(struct display *display, FILE *out, enum display_colour mode)
{
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    bool dumb = term && strcmp(term, "dumb") == 0;
    display->out = out;
    display->columns = columns_of(out);
    display->colour =
        mode == COLOUR_MODE_ALWAYS ||
        (mode == COLOUR_MODE_AUTO && isatty(fileno(out)) && !dumb && !(no_color && *no_color));
}

/*
 * The length of the valid UTF-8 character at `s` (1 to 4) and its code point; 0 where it is not
 * valid (RFC 3629: no surrogates, no overlong forms, at most U+10FFFF).
 */
static unsigned decode(const unsigned char *s, uint32_t *code)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned length = s[0] < 0x80       ? 1
                      : s[0] >> 5 == 6  ? 2
                      : s[0] >> 4 == 14 ? 3
                      : s[0] >> 3 == 30 ? 4
                                        : 0;
    if (!length)
        return 0;
    *code = length == 1 ? s[0] : s[0] & (0x7fu >> length);
    for (unsigned i = 1; i < length; i++) {
        if (s[i] >> 6 != 2)
            return 0;
        *code = *code << 6 | (s[i] & 0x3f);
    }
    bool surrogate = *code >= 0xd800 && *code <= 0xdfff;
    return *code < least[length] || *code > 0x10ffff || surrogate ? 0 : length;
}

/* Controls, and what turns the direction of writing or shows nothing. */
static bool is_unsafe(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0xad || code == 0x61c ||
           (code >= 0xe0000 && code <= 0xe007f) || (code >= 0x200b && code <= 0x200f) ||
           (code >= 0x2028 && code <= 0x202e) || (code >= 0x2060 && code <= 0x206f) ||
           code == 0xfeff;
}

void display_escape(const char *raw, struct text *out)
{
    for (const unsigned char *s = (const unsigned char *)raw; *s;) {
        uint32_t code;
        unsigned length = decode(s, &code);
        if (length && !is_unsafe(code)) {
            text_append(out, (const char *)s, length);
            s += length;
            continue;
        }
        for (unsigned i = 0; i < (length ? length : 1); i++)
            text_printf(out, "\\x%02x", *s++);
    }
}

void display_valid_utf8(const char *raw, struct text *out)
{
    for (const unsigned char *s = (const unsigned char *)raw; *s;) {
        uint32_t code;
        unsigned length = decode(s, &code);
        if (length)
            text_append(out, (const char *)s, length);
        else
            text_append_str(out, "\xef\xbf\xbd");
        s += length ? length : 1;
    }
}

unsigned display_width(const char *text)
{
    unsigned width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

/* The byte offset of character `index`. */
static size_t offset_of(const char *text, unsigned index)
{
    const char *at = text;
    for (unsigned seen = 0; *at; at++)
        if (((unsigned char)*at & 0xc0) != 0x80 && seen++ == index)
            break;
    return (size_t)(at - text);
}

void display_cut(struct text *text, unsigned columns)
{
    if (display_width(text_str(text)) <= columns || columns == 0)
        return;
    text->length = offset_of(text->data, columns - 1);
    text->data[text->length] = 0;
    text_append_str(text, "…");
}

void display_cut_front(struct text *text, unsigned columns)
{
    unsigned width = display_width(text_str(text));
    if (width <= columns || columns == 0)
        return;
    struct text rest;
    text_init(&rest);
    text_append_str(&rest, "…");
    text_append_str(&rest, text->data + offset_of(text->data, width - columns + 1));
    text_clear(text);
    text_append_str(text, text_str(&rest));
    text_deinit(&rest);
}

void display_number(uint64_t number, struct text *out)
{
    char digits[24];
    int length = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)number);
    for (int i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0)
            text_append_char(out, ',');
        text_append_char(out, digits[i]);
    }
}

void display_bytes(uint64_t bytes, struct text *out)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    unsigned unit = 0;
    uint64_t whole = bytes, rest = 0; /* rest: thousandths */
    for (; whole >= 1000; unit++) {
        rest = whole % 1000;
        whole /= 1000;
    }
    text_printf(out, "%llu", (unsigned long long)whole);
    if (unit && whole < 10)
        text_printf(out, ".%02llu", (unsigned long long)rest / 10);
    else if (unit && whole < 100)
        text_printf(out, ".%llu", (unsigned long long)rest / 100);
    text_printf(out, " %s", units[unit]);
}

/* "2 h 5 min" */
static void append_two(uint64_t whole, const char *unit, uint64_t part, const char *part_unit,
                       struct text *out)
{
    text_printf(out, "%llu %s", (unsigned long long)whole, unit);
    if (part)
        text_printf(out, " %llu %s", (unsigned long long)part, part_unit);
}

void display_duration(uint64_t ns, struct text *out)
{
    static const char *const units[] = {"ns", "µs", "ms", "s"};
    const uint64_t seconds = ns / 1000000000;
    unsigned unit = 0;
    uint64_t whole = ns, rest = 0; /* rest: thousandths */
    if (seconds >= 86400) {
        append_two(seconds / 86400, "d", seconds / 3600 % 24, "h", out);
    } else if (seconds >= 3600) {
        append_two(seconds / 3600, "h", seconds / 60 % 60, "min", out);
    } else if (seconds >= 100) {
        append_two(seconds / 60, "min", seconds % 60, "s", out);
    } else {
        for (; unit < 3 && whole >= 1000; unit++) {
            rest = whole % 1000;
            whole /= 1000;
        }
        text_printf(out, "%llu", (unsigned long long)whole);
        if (unit && whole < 10)
            text_printf(out, ".%02llu", (unsigned long long)rest / 10);
        else if (unit && whole < 100)
            text_printf(out, ".%llu", (unsigned long long)rest / 100);
        text_printf(out, " %s", units[unit]);
    }
}

void display_variable(const char *name, struct text *out)
{
    if (name[0] == '_' && name[1] == '_' && name[2] >= '0' && name[2] <= '9')
        text_append_str(out, "(temporary)");
    else
        display_escape(name, out);
}

const char *display_last_words(const char *path, unsigned nr)
{
    const char *end = path + strcspn(path, "<{(");
    unsigned words = 0;
    for (const char *at = end; at > path + 1; at--)
        if (at[-1] == ':' && at[-2] == ':' && at < end && ++words == nr)
            return at;
    return path;
}

void display_shorten_path(struct text *path, unsigned columns)
{
    const char *colon = strstr(text_str(path), ": ");
    const size_t from = colon ? (size_t)(colon + 2 - text_str(path)) : 0;
    for (unsigned steps = 3; steps && display_width(text_str(path)) > columns; steps--) {
        const char *tail = text_str(path) + from, *last = display_last_words(tail, steps);
        if (from + display_width(last) > columns && steps > 1)
            continue;
        memmove(path->data + from, last, strlen(last) + 1);
        path->length -= (size_t)(last - tail);
    }
}

const char *display_last_steps(const char *path, unsigned nr)
{
    unsigned slashes = 0;
    const char *at = path + strlen(path);
    for (; at > path; at--)
        if (at[-1] == '/' && ++slashes == nr)
            break;
    return at;
}

void display_place(const char *file, uint32_t line, bool whole, struct text *out)
{
    if (!file) {
        text_append_str(out, "unknown place");
        return;
    }
    const char *shown = file;
    if (!whole) {
        shown = display_last_steps(file, 2);
        if (strncmp(shown, "src/", 4) == 0)
            shown = display_last_steps(file, 3); /* whose src? */
    }
    display_escape(shown, out);
    if (line)
        text_printf(out, ":%u", line);
}

/* "kB", "ms," */
static bool is_unit(const char *word, size_t length)
{
    static const char *const units[] = {"B",  "kB", "MB", "GB", "TB", "PB",  "EB",
                                        "ns", "µs", "ms", "s",  "d",  "min", "h"};
    while (length && strchr(",;.:)", word[length - 1]))
        length--;
    for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++)
        if (strlen(units[i]) == length && memcmp(units[i], word, length) == 0)
            return true;
    return false;
}

/* Bytes of the word at `at`, with the unit behind it where it is a number. */
static size_t word_bytes(const char *at, const char *end)
{
    size_t bytes = 0;
    while (at + bytes < end && at[bytes] != ' ')
        bytes++;
    if (!bytes || at + bytes >= end || at[bytes - 1] < '0' || at[bytes - 1] > '9')
        return bytes;
    size_t unit = 0;
    while (at + bytes + 1 + unit < end && at[bytes + 1 + unit] != ' ')
        unit++;
    return is_unit(at + bytes + 1, unit) ? bytes + 1 + unit : bytes;
}

void display_put_words(const struct display *display, const char *text, size_t length,
                       struct display_wrap wrap)
{
    unsigned column = wrap.first;
    bool is_first = true;
    for (const char *at = text, *end = text + length; at < end;) {
        const size_t bytes = word_bytes(at, end);
        struct text word;
        text_init(&word);
        text_append(&word, at, bytes);
        display_cut(&word, wrap.cuts ? display->columns - wrap.indent : 0);
        const unsigned width = display_width(text_str(&word));
        if (!is_first && column + 1 + width > display->columns) {
            fprintf(display->out, "\n%*s", (int)wrap.indent, "");
            column = wrap.indent;
        } else if (!is_first) {
            fputs(" ", display->out);
            column++;
        }
        fputs(text_str(&word), display->out);
        column += width;
        is_first = false;
        text_deinit(&word);
        at += bytes + (at + bytes < end);
    }
    fputs("\n", display->out);
}

void display_sentence(const struct display *display, const char *head, const char *sentence)
{
    struct text safe;
    text_init(&safe);
    text_append_str(&safe, head);
    display_escape(sentence, &safe);
    display_put_words(display, text_str(&safe), safe.length, (struct display_wrap){.indent = 2});
    text_deinit(&safe);
}

void display_bold(const struct display *display, bool on)
{
    if (display->colour)
        fputs(on ? "\x1b[1m" : "\x1b[0m", display->out);
}

void display_dim(const struct display *display, bool on)
{
    if (display->colour)
        fputs(on ? "\x1b[2m" : "\x1b[0m", display->out);
}
