/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "unit.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "program/macro_source.h"

static const char source[] = "use demo::wait; // macro_rules! comment { }\n"               /* 1 */
                             "/* macro_rules! block { /* nested */ } */\n"                 /* 2 */
                             "const S: &str = \"macro_rules! string { \\\" } {\";\n"       /* 3 */
                             "const R: &str = r#\"macro_rules! raw { \" }\"#;\n"           /* 4 */
                             "const C: char = '{'; const Q: char = '\\''; fn f<'a>() {}\n" /* 5 */
                             "macro_rules! wait {\n"                                       /* 6 */
                             "    ($f:expr) => {{\n"                                       /* 7 */
                             "        macro_rules! inner { () => {} }\n"                   /* 8 */
                             "        $f.await\n"                                          /* 9 */
                             "    }};\n"                                                   /* 10 */
                             "}\n"                                                         /* 11 */
                             "macro_rules! short { () => { nap().await } }\n"              /* 12 */
                             "async fn user() {\n"                                         /* 13 */
                             "    wait!(one()); \"wait!\"; // wait!(no)\n"                 /* 14 */
                             "    let wait = 1; my_wait!(two()); waiting!();\n"            /* 15 */
                             "    wait!(\n"                                                /* 16 */
                             "        three());\n"                                         /* 17 */
                             "}\n";                                                        /* 18 */

static char folder[64], published[128], own[128];

static bool write_file(const char *path)
{
    FILE *file = fopen(path, "w");
    return file && fputs(source, file) >= 0 && fclose(file) == 0;
}

/* The same text as a published crate, which does not change, and as the user's own file. */
static int write_source(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/asyncmem-macro-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(published, sizeof(published), "%s/registry", folder);
    mkdir(published, 0700);
    snprintf(published, sizeof(published), "%s/registry/src", folder);
    mkdir(published, 0700);
    snprintf(published, sizeof(published), "%s/registry/src/lib.rs", folder);
    snprintf(own, sizeof(own), "%s/main.rs", folder);
    return write_file(published) && write_file(own) ? 0 : -1;
}

static int remove_source(void **state)
{
    (void)state;
    unlink(published);
    unlink(own);
    *strrchr(published, '/') = 0;
    rmdir(published);
    *strrchr(published, '/') = 0;
    rmdir(published);
    return rmdir(folder);
}

static void expect_macro(const char *file, uint32_t line, int64_t built_ns,
                         enum macro_answer answer, const char *name)
{
    struct text text;
    text_init(&text);
    enum macro_answer got = macro_name_at(file, line, built_ns, &text);
    if (got != answer || strcmp(text_str(&text), name) != 0)
        fail_msg("%s:%u: answer %d, name '%s'", file, line, (int)got, text_str(&text));
    text_deinit(&text);
}

static void finds_the_definition_around_a_line(void **state)
{
    (void)state;
    static const uint32_t outside[] = {1, 2, 3, 4, 5, 13, 14, 15, 16, 17, 18, 19, 4000000000u};
    for (uint32_t line = 6; line <= 11; line++) /* an outer one wins over `inner` */
        expect_macro(published, line, INT64_MAX, MACRO_FOUND, "wait!");
    expect_macro(published, 12, INT64_MAX, MACRO_FOUND, "short!");
    for (size_t i = 0; i < sizeof(outside) / sizeof(*outside); i++)
        expect_macro(published, outside[i], INT64_MAX, MACRO_NONE, "");
}

/* A file of the user's may have changed since: the line must look like an await at least. */
static void own_sources_must_fit(void **state)
{
    (void)state;
    expect_macro(own, 9, INT64_MAX, MACRO_FOUND, "wait!");
    expect_macro(own, 12, INT64_MAX, MACRO_FOUND, "short!");
    expect_macro(own, 8, INT64_MAX, MACRO_UNKNOWN, "");
    expect_macro(own, 17, INT64_MAX, MACRO_UNKNOWN, "");
}

static void newer_sources_are_not_believed(void **state)
{
    (void)state;
    uint32_t lines[4];
    expect_macro(own, 9, 1, MACRO_UNKNOWN, "");
    assert_int_equal(macro_calls(own, "wait!", 13, 18, 1, lines, 4), 0);
}

static void absent_sources_are_known_by_path(void **state)
{
    (void)state;
    expect_macro("/registry/tokio-1.40.0/src/macros/select.rs", 9, INT64_MAX, MACRO_FOUND,
                 "select!");
    expect_macro("/registry/tokio-1.40.0/src/macros/join.rs", 9, INT64_MAX, MACRO_FOUND, "join!");
    expect_macro("/registry/x/src/other.rs", 9, INT64_MAX, MACRO_UNKNOWN, "");
    expect_macro("/etc/passwd", 1, INT64_MAX, MACRO_UNKNOWN, "");
    expect_macro(NULL, 1, INT64_MAX, MACRO_UNKNOWN, "");
}

static void finds_calls(void **state)
{
    (void)state;
    uint32_t lines[4] = {0};
    assert_int_equal(macro_calls(own, "wait!", 13, 18, INT64_MAX, lines, 4), 2);
    assert_int_equal(lines[0], 14);
    assert_int_equal(lines[1], 16);
    assert_int_equal(macro_calls(own, "wait!", 15, 18, INT64_MAX, lines, 4),
                     0); /* no async fn there */
    assert_int_equal(macro_calls(own, "wait!", 13, 15, INT64_MAX, lines, 4), 1);
    assert_int_equal(macro_calls(own, "wait!", 13, 18, INT64_MAX, lines, 1), 1);
    assert_int_equal(macro_calls(own, "absent!", 1, 18, INT64_MAX, lines, 4), 0);
    assert_int_equal(macro_calls("/no/such/file.rs", "wait!", 1, 18, INT64_MAX, lines, 4), 0);
}

/* Text that ends anywhere, and any text: the reader stays inside. */
static void cut_and_random_sources_are_safe(void **state)
{
    (void)state;
    static const char *const pieces[] = {
        "macro_rules!", " m ", "{",  "}",  "\"", "\\", "'", "r#\"", "\"#",
        "/*",           "*/",  "//", "\n", "(",  ")",  "r", "#",    "wait!"};
    char file[] = "/tmp/asyncmem-macro-cut-XXXXXX.rs";
    int fd = mkstemps(file, 3);
    uint64_t random = 3;
    uint32_t lines[4];
    assert_true(fd >= 0);
    for (size_t round = 1; round < sizeof(source) + 2000; round++) {
        struct text text;
        text_init(&text);
        if (round < sizeof(source))
            text_append(&text, source, round);
        for (uint64_t n = round < sizeof(source) ? 0 : 1 + random_below(&random, 40); n; n--)
            text_append_str(&text, pieces[random_below(&random, 18)]);
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_int_equal(pwrite(fd, text_str(&text), text.length, 0), text.length);
        struct text name;
        text_init(&name);
        for (uint32_t line = 0; line < 20; line += 3)
            macro_name_at(file, line, INT64_MAX, &name);
        macro_calls(file, "wait!", 1, 20, INT64_MAX, lines, 4);
        text_deinit(&name);
        text_deinit(&text);
    }
    close(fd);
    unlink(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_definition_around_a_line),
        cmocka_unit_test(own_sources_must_fit),
        cmocka_unit_test(newer_sources_are_not_believed),
        cmocka_unit_test(absent_sources_are_known_by_path),
        cmocka_unit_test(finds_calls),
        cmocka_unit_test(cut_and_random_sources_are_safe),
    };
    return cmocka_run_group_tests_name("macro_source", tests, write_source, remove_source);
}
