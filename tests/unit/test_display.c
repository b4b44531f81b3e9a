/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "unit.h"

#include "report/display.h"
#include "report/json_text.h"

static void expect_escaped(const char *raw, const char *shown)
{
    struct text text;
    text_init(&text);
    display_escape(raw, &text);
    assert_string_equal(text_str(&text), shown);
    text_deinit(&text);
}

static void expect_valid(const char *raw, const char *valid)
{
    struct text text;
    text_init(&text);
    display_valid_utf8(raw, &text);
    assert_string_equal(text_str(&text), valid);
    text_deinit(&text);
}

static void controls_are_escaped(void **state)
{
    (void)state;
    expect_escaped("demo::main<u8>", "demo::main<u8>");
    expect_escaped("", "");
    expect_escaped("a\x1b[31mred\x1b[0m", "a\\x1b[31mred\\x1b[0m");
    expect_escaped("line\nnext\r\ttab\x7f", "line\\x0anext\\x0d\\x09tab\\x7f");
    expect_escaped("\xc2\x9b"
                   "31m",
                   "\\xc2\\x9b31m"); /* the 8-bit CSI, as UTF-8 */
    expect_escaped("\x9b"
                   "31m",
                   "\\x9b31m"); /* and as a byte */
}

static void valid_utf8_stays(void **state)
{
    (void)state;
    expect_escaped("größe_α_名_🦀", "größe_α_名_🦀");
    expect_valid("größe_α_名_🦀", "größe_α_名_🦀");
}

static void what_turns_or_hides_is_escaped(void **state)
{
    (void)state;
    expect_escaped("a\u202e"
                   "b",
                   "a\\xe2\\x80\\xaeb"); /* right-to-left override */
    expect_escaped("a\u2066"
                   "b",
                   "a\\xe2\\x81\\xa6b"); /* isolate */
    expect_escaped("a\u200b"
                   "b",
                   "a\\xe2\\x80\\x8bb"); /* zero width space */
    expect_escaped("a\ufeff"
                   "b",
                   "a\\xef\\xbb\\xbf"
                   "b");
    expect_escaped("a\u2028"
                   "b",
                   "a\\xe2\\x80\\xa8"
                   "b"); /* line separator */
}

/* RFC 3629: bare continuation, cut short, overlong, surrogate, too great, 0xfe. */
static void invalid_utf8_is_shown_as_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *raw, *shown, *valid;
    } rows[] = {
        {"\x80", "\\x80", "\xef\xbf\xbd"},
        {"\xc3", "\\xc3", "\xef\xbf\xbd"},
        {"\xe2\x82", "\\xe2\\x82", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xc0\xaf", "\\xc0\\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xed\xa0\x80", "\\xed\\xa0\\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80",
         "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xfe"
         "a",
         "\\xfe"
         "a",
         "\xef\xbf\xbd"
         "a"},
        {"\xc3(", "\\xc3(", "\xef\xbf\xbd("},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        expect_escaped(rows[i].raw, rows[i].shown);
        expect_valid(rows[i].raw, rows[i].valid);
    }
}

/* Any bytes: valid, without controls; JSON takes them. */
static void any_bytes_become_safe(void **state)
{
    (void)state;
    uint64_t random = 5;
    for (int round = 0; round < 20000; round++) {
        char raw[24];
        size_t length = random_below(&random, sizeof(raw));
        for (size_t i = 0; i < length; i++)
            raw[i] = (char)(1 + random_below(&random, 255));
        raw[length] = 0;
        struct text shown;
        text_init(&shown);
        display_escape(raw, &shown);
        for (size_t i = 0; i < shown.length; i++)
            assert_true((unsigned char)shown.data[i] >= 0x20 && shown.data[i] != 0x7f);
        struct text again;
        text_init(&again);
        display_valid_utf8(text_str(&shown), &again);
        assert_string_equal(text_str(&again), text_str(&shown)); /* was valid already */
        json_t *json = json_text(raw);
        char *dumped = json_dumps(json, JSON_ENCODE_ANY);
        assert_non_null(dumped);
        free(dumped);
        json_decref(json);
        text_deinit(&shown);
        text_deinit(&again);
    }
}

static void expect_cut(const char *raw, unsigned columns, const char *back, const char *front)
{
    struct text text;
    text_init(&text);
    text_append_str(&text, raw);
    display_cut(&text, columns);
    assert_string_equal(text_str(&text), back);
    assert_int_equal(strlen(text_str(&text)), text.length);
    text_clear(&text);
    text_append_str(&text, raw);
    display_cut_front(&text, columns);
    assert_string_equal(text_str(&text), front);
    text_deinit(&text);
}

static void cuts_at_characters(void **state)
{
    (void)state;
    expect_cut("abcdef", 6, "abcdef", "abcdef");
    expect_cut("abcdef", 5, "abcd…", "…cdef");
    expect_cut("abcdef", 1, "…", "…");
    expect_cut("abcdef", 0, "abcdef", "abcdef");
    expect_cut("äöüäöü", 4, "äöü…", "…äöü");
    expect_cut("", 3, "", "");
    assert_int_equal(display_width("äöü🦀"), 4);
    assert_int_equal(display_width(""), 0);
}

static void bytes_in_three_digits(void **state)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } rows[] = {{0, "0 B"},
                {999, "999 B"},
                {1000, "1.00 kB"},
                {1999, "1.99 kB"}, /* never more than the truth */
                {12345, "12.3 kB"},
                {398123456, "398 MB"},
                {999999999, "999 MB"},
                {1180000000, "1.18 GB"},
                {UINT64_MAX, "18.4 EB"}};
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct text text;
        text_init(&text);
        display_bytes(rows[i].bytes, &text);
        assert_string_equal(text_str(&text), rows[i].text);
        text_deinit(&text);
    }
}

static void numbers_have_separators(void **state)
{
    (void)state;
    static const struct {
        uint64_t number;
        const char *text;
    } rows[] = {
        {0, "0"},          {999, "999"},           {1000, "1,000"},
        {16640, "16,640"}, {1000000, "1,000,000"}, {UINT64_MAX, "18,446,744,073,709,551,615"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct text text;
        text_init(&text);
        display_number(rows[i].number, &text);
        assert_string_equal(text_str(&text), rows[i].text);
        text_deinit(&text);
    }
}

static void colours_only_where_wanted(void **state)
{
    (void)state;
    FILE *file = tmpfile();
    struct display display;
    assert_non_null(file);
    unsetenv("NO_COLOR");
    setenv("TERM", "xterm", 1);
    display_init(&display, file, COLOUR_MODE_AUTO);
    assert_false(display.colour); /* no terminal */
    display_bold(&display, true);
    display_dim(&display, false);
    assert_int_equal(ftell(file), 0);
    display_init(&display, file, COLOUR_MODE_ALWAYS);
    assert_true(display.colour);
    display_bold(&display, true);
    assert_true(ftell(file) > 0);
    display_init(&display, file, COLOUR_MODE_NEVER);
    assert_false(display.colour);
    fclose(file);
}

static void columns_are_bounded(void **state)
{
    (void)state;
    static const struct {
        const char *variable;
        unsigned columns;
    } rows[] = {{"10", 80},  {"100", 100}, {"5000", 120},
                {"-3", 100}, {"no", 100},  {"99999999999999999999", 120}};
    FILE *file = tmpfile();
    struct display display;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        setenv("COLUMNS", rows[i].variable, 1);
        display_init(&display, file, COLOUR_MODE_NEVER);
        assert_int_equal(display.columns, rows[i].columns);
    }
    unsetenv("COLUMNS");
    fclose(file);
}

static void json_values(void **state)
{
    (void)state;
    json_t *json = json_pack("[ooooo]", json_text(NULL), json_text_or_null(""), json_line(0),
                             json_bytes(UINT64_MAX), json_text("x"));
    char *dumped = json_dumps(json, JSON_COMPACT);
    assert_string_equal(dumped, "[null,null,null,9223372036854775807,\"x\"]");
    free(dumped);
    FILE *full = fopen("/dev/full", "w");
    struct error err = {0};
    assert_non_null(full);
    assert_false(json_write(json, full, &err));
    assert_non_null(strstr(err.message, "could not be written"));
    fclose(full);
}

static void durations(void **state)
{
    static const struct {
        uint64_t ns;
        const char *text;
    } rows[] = {{0, "0 ns"},
                {999, "999 ns"},
                {1000, "1.00 µs"},
                {3149999, "3.14 ms"},
                {99999999999, "99.9 s"},
                {100000000000, "1 min 40 s"},
                {3600000000000, "1 h"},
                {93784000000000, "1 d 2 h"}};
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct text text;
        text_init(&text);
        display_duration(rows[i].ns, &text);
        assert_string_equal(text_str(&text), rows[i].text);
        text_deinit(&text);
    }
}

static void numbers_stay_with_their_units(void **state)
{
    char *bytes = NULL;
    size_t size;
    (void)state;
    struct display display = {.out = open_memstream(&bytes, &size), .columns = 20};
    const char *text = "it had allocated 4.10 kB, then 12 tasks more";
    display_put_words(&display, text, strlen(text), (struct display_wrap){.indent = 2});
    fclose(display.out);
    assert_string_equal(bytes, "it had allocated\n  4.10 kB, then 12\n  tasks more\n");
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations),
        cmocka_unit_test(numbers_stay_with_their_units),
        cmocka_unit_test(controls_are_escaped),
        cmocka_unit_test(valid_utf8_stays),
        cmocka_unit_test(what_turns_or_hides_is_escaped),
        cmocka_unit_test(invalid_utf8_is_shown_as_bytes),
        cmocka_unit_test(any_bytes_become_safe),
        cmocka_unit_test(cuts_at_characters),
        cmocka_unit_test(bytes_in_three_digits),
        cmocka_unit_test(numbers_have_separators),
        cmocka_unit_test(colours_only_where_wanted),
        cmocka_unit_test(columns_are_bounded),
        cmocka_unit_test(json_values),
    };
    return cmocka_run_group_tests_name("display", tests, NULL, NULL);
}
