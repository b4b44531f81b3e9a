/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "program/macro_source.h"

#include <ctype.h>
#include <string.h>

#include "base/file.h"

enum { MAX_SOURCE_BYTES = 8 << 20 };

/* Macros that await, of crates whose source may not be on the machine: by end of the path. */
static const struct {
    const char *path_end;
    const char *name;
} known_macros[] = {
    {"/src/macros/join.rs", "join!"},
    {"/src/macros/try_join.rs", "try_join!"},
    {"/src/macros/select.rs", "select!"},
    {"/src/async_await/select_mod.rs", "select!"},
};

/* One step of a reader of Rust text that knows what is not code: comments and literals. */
struct lexer {
    const char *at, *end;
    uint32_t line;
};

static void step(struct lexer *lexer)
{
    lexer->line += *lexer->at == '\n';
    lexer->at++;
}

static bool ahead(const struct lexer *lexer, const char *text)
{
    size_t length = strlen(text);
    return (size_t)(lexer->end - lexer->at) >= length && memcmp(lexer->at, text, length) == 0;
}

static void skip_block_comment(struct lexer *lexer)
{
    unsigned depth = 0;
    while (lexer->at < lexer->end) {
        if (ahead(lexer, "/*")) {
            depth++;
            lexer->at += 2;
        } else if (ahead(lexer, "*/")) {
            lexer->at += 2;
            if (--depth == 0)
                return;
        } else {
            step(lexer);
        }
    }
}

static void skip_string(struct lexer *lexer)
{
    for (step(lexer); lexer->at < lexer->end && *lexer->at != '"'; step(lexer))
        if (*lexer->at == '\\' && lexer->at + 1 < lexer->end)
            step(lexer);
    if (lexer->at < lexer->end)
        step(lexer);
}

/* r"...", r#"..."#: true when one began here. */
static bool skip_raw_string(struct lexer *lexer)
{
    const char *p = lexer->at + 1;
    size_t hashes = 0;
    while (p < lexer->end && *p == '#') {
        hashes++;
        p++;
    }
    if (p >= lexer->end || *p != '"')
        return false;
    while (lexer->at <= p)
        step(lexer);
    while (lexer->at < lexer->end) {
        bool quote = *lexer->at == '"';
        step(lexer);
        size_t seen = 0;
        while (quote && seen < hashes && lexer->at < lexer->end && *lexer->at == '#') {
            step(lexer);
            seen++;
        }
        if (quote && seen == hashes)
            return true;
    }
    return true;
}

/* 'x' or '\n' but not the lifetime 'a. */
static void skip_quote(struct lexer *lexer)
{
    const char *p = lexer->at;
    bool literal = p + 2 < lexer->end && (p[1] == '\\' || p[2] == '\'');
    step(lexer);
    if (!literal)
        return;
    while (lexer->at < lexer->end && *lexer->at != '\'' && *lexer->at != '\n') {
        if (*lexer->at == '\\' && lexer->at + 1 < lexer->end)
            step(lexer);
        step(lexer);
    }
    if (lexer->at < lexer->end && *lexer->at == '\'')
        step(lexer);
}

/* Passes over what is no code; true while something was skipped. */
static bool skip_no_code(struct lexer *lexer)
{
    if (ahead(lexer, "//")) {
        while (lexer->at < lexer->end && *lexer->at != '\n')
            step(lexer);
    } else if (ahead(lexer, "/*")) {
        skip_block_comment(lexer);
    } else if (*lexer->at == '"') {
        skip_string(lexer);
    } else if (*lexer->at == 'r' && lexer->at + 1 < lexer->end &&
               (lexer->at[1] == '"' || lexer->at[1] == '#')) {
        return skip_raw_string(lexer);
    } else if (*lexer->at == '\'') {
        skip_quote(lexer);
    } else {
        return false;
    }
    return true;
}

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* Takes a word; its length, 0 where there is none. */
static size_t take_word(struct lexer *lexer, const char **word)
{
    *word = lexer->at;
    while (lexer->at < lexer->end && is_word(*lexer->at))
        lexer->at++;
    return (size_t)(lexer->at - *word);
}

static void skip_space(struct lexer *lexer)
{
    while (lexer->at < lexer->end && isspace((unsigned char)*lexer->at))
        step(lexer);
}

struct macro_definition {
    const char *name;
    size_t length; /* 0: none */
    int depth;     /* of the brackets around it */
    uint32_t first_line;
};

/* After the word macro_rules: "! name". */
static void begin_macro(struct lexer *lexer, struct macro_definition *macro, int depth)
{
    uint32_t line = lexer->line;
    skip_space(lexer);
    if (lexer->at >= lexer->end || *lexer->at != '!')
        return;
    step(lexer);
    skip_space(lexer);
    const char *word;
    size_t length = take_word(lexer, &word);
    *macro = (struct macro_definition){word, length, depth, line};
}

/* The macro whose definition holds `line`; length 0: none.  An outer one wins. */
static struct macro_definition find_definition(struct lexer lexer, uint32_t line)
{
    struct macro_definition macro = {0};
    int depth = 0;
    while (lexer.at < lexer.end && (lexer.line <= line || macro.length)) {
        const char *word;
        if (skip_no_code(&lexer))
            continue;
        char c = *lexer.at;
        if (is_word(c)) {
            size_t length = take_word(&lexer, &word);
            if (length == 11 && memcmp(word, "macro_rules", 11) == 0 && !macro.length)
                begin_macro(&lexer, &macro, depth);
            continue;
        }
        if (c == '{' || c == '(' || c == '[')
            depth++;
        bool closes = (c == '}' || c == ')' || c == ']') && --depth == macro.depth;
        if (closes && macro.length) {
            if (macro.first_line <= line && lexer.line >= line)
                return macro;
            macro.length = 0;
        }
        step(&lexer);
    }
    return (struct macro_definition){0};
}

static bool open_source(const char *path, int64_t built_ns, struct file *file, struct lexer *lexer)
{
    if (!path || !str_ends_with(path, ".rs") || !file_open(file, path, NULL))
        return false;
    if (file->size_bytes > MAX_SOURCE_BYTES || file->identity.modified_ns > built_ns) {
        file_close(file);
        return false;
    }
    *lexer =
        (struct lexer){(const char *)file->bytes, (const char *)file->bytes + file->size_bytes, 1};
    return true;
}

/* Is the word on that line?  A source that was edited since the build seldom has it there. */
static bool line_has(struct lexer lexer, uint32_t line, const char *word)
{
    for (; lexer.at < lexer.end && lexer.line < line; lexer.at++)
        lexer.line += *lexer.at == '\n';
    const char *end = memchr(lexer.at, '\n', (size_t)(lexer.end - lexer.at));
    size_t length = (size_t)((end ? end : lexer.end) - lexer.at);
    return memmem(lexer.at, length, word, strlen(word)) != NULL;
}

/* Appends "#[path]" when the line begins with an attribute. */
static bool attribute_at(struct lexer lexer, uint32_t line, struct text *name)
{
    for (; lexer.at < lexer.end && lexer.line < line; lexer.at++)
        lexer.line += *lexer.at == '\n';
    while (lexer.at < lexer.end && (*lexer.at == ' ' || *lexer.at == '\t'))
        lexer.at++;
    if (!ahead(&lexer, "#["))
        return false;
    const char *start = lexer.at;
    for (lexer.at += 2; lexer.at < lexer.end && (is_word(*lexer.at) || *lexer.at == ':');)
        lexer.at++;
    text_append(name, start, (size_t)(lexer.at - start));
    text_append_char(name, ']');
    return true;
}

enum macro_answer macro_name_at(const char *path, uint32_t line, int64_t built_ns,
                                struct text *name)
{
    struct file file;
    struct lexer lexer;
    enum macro_answer answer = MACRO_UNKNOWN;
    if (open_source(path, built_ns, &file, &lexer)) {
        struct macro_definition macro = find_definition(lexer, line);
        /* cargo's copy of a published crate does not change; another source may have. */
        if (strstr(path, "/registry/src/") || line_has(lexer, line, "await"))
            answer = macro.length ? MACRO_FOUND : MACRO_NONE;
        else if (attribute_at(lexer, line, name))
            answer = MACRO_ATTRIBUTE;
        if (answer == MACRO_FOUND)
            text_printf(name, "%.*s!", (int)macro.length, macro.name);
        file_close(&file);
    }
    for (size_t i = 0;
         answer < MACRO_ATTRIBUTE && path && i < sizeof(known_macros) / sizeof(*known_macros);
         i++) {
        if (!str_ends_with(path, known_macros[i].path_end))
            continue;
        text_append_str(name, known_macros[i].name);
        answer = MACRO_FOUND;
    }
    return answer;
}

/* Is "name!" called by a macro of the file? Then its calls are not all in the text of functions. */
static bool is_called_by_macros(struct lexer lexer, const char *name)
{
    struct macro_definition macro = {0};
    size_t length = strlen(name) - 1;
    int depth = 0;
    while (lexer.at < lexer.end) {
        const char *word;
        if (skip_no_code(&lexer))
            continue;
        char c = *lexer.at;
        if (is_word(c)) {
            size_t word_length = take_word(&lexer, &word);
            if (macro.length && word_length == length && memcmp(word, name, length) == 0 &&
                lexer.at < lexer.end && *lexer.at == '!')
                return true;
            if (word_length == 11 && memcmp(word, "macro_rules", 11) == 0 && !macro.length)
                begin_macro(&lexer, &macro, depth);
            continue;
        }
        if (c == '{' || c == '(' || c == '[')
            depth++;
        if ((c == '}' || c == ')' || c == ']') && --depth == macro.depth)
            macro.length = 0;
        step(&lexer);
    }
    return false;
}

/* What has been seen of one function's text. */
struct calls {
    uint32_t *lines;
    size_t nr, max;
    unsigned nr_asyncs; /* words `async`: one is the function's own */
    int depth;          /* of brackets */
    int call_depth;     /* of the call that is open; 0: none */
    bool is_nested;     /* a call in another's arguments: it awaits first */
};

static void see_word(struct calls *calls, const struct lexer *lexer, const char *word,
                     size_t length, const char *name, uint32_t line)
{
    calls->nr_asyncs += length == 5 && memcmp(word, "async", 5) == 0;
    if (length + 1 != strlen(name) || memcmp(word, name, length) != 0 || lexer->at >= lexer->end ||
        *lexer->at != '!' || calls->nr == calls->max)
        return;
    calls->is_nested |= calls->call_depth != 0;
    calls->call_depth = calls->depth + 1;
    calls->lines[calls->nr++] = line;
}

size_t macro_calls(const char *path, const char *name, uint32_t first, uint32_t last,
                   int64_t built_ns, uint32_t *lines, size_t max)
{
    struct file file;
    struct lexer lexer;
    struct calls calls = {.lines = lines, .max = max};
    if (!open_source(path, built_ns, &file, &lexer))
        return 0;
    bool is_plain = line_has(lexer, first, "async") && !is_called_by_macros(lexer, name);
    while (is_plain && lexer.at < lexer.end && lexer.line <= last) {
        const char *word;
        uint32_t line = lexer.line;
        if (skip_no_code(&lexer))
            continue;
        char c = *lexer.at;
        if (is_word(c)) {
            size_t length = take_word(&lexer, &word);
            if (line >= first)
                see_word(&calls, &lexer, word, length, name, line);
            continue;
        }
        if (c == '{' || c == '(' || c == '[')
            calls.depth++;
        if ((c == '}' || c == ')' || c == ']') && --calls.depth + 1 == calls.call_depth)
            calls.call_depth = 0;
        step(&lexer);
    }
    file_close(&file);
    return is_plain && calls.nr_asyncs == 1 && !calls.is_nested ? calls.nr : 0;
}

uint32_t fn_line_before(const char *path, const char *name, uint32_t line, int64_t built_ns)
{
    enum { MAX_SIGNATURE_LINES = 64 };
    struct file file;
    struct lexer lexer;
    uint32_t found = 0;
    bool after_fn = false;
    size_t length = strlen(name);
    if (!open_source(path, built_ns, &file, &lexer))
        return 0;
    while (lexer.at < lexer.end && lexer.line <= line) {
        const char *word;
        uint32_t at = lexer.line;
        if (skip_no_code(&lexer))
            continue;
        if (!is_word(*lexer.at)) {
            step(&lexer);
            continue;
        }
        size_t taken = take_word(&lexer, &word);
        if (after_fn && taken == length && memcmp(word, name, length) == 0)
            found = at;
        after_fn = taken == 2 && memcmp(word, "fn", 2) == 0;
    }
    file_close(&file);
    return found && line - found <= MAX_SIGNATURE_LINES ? found : 0;
}
