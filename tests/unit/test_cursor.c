/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "unit.h"

#include "base/cursor.h"

#define CURSOR(...) cursor_make((const uint8_t[]){__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__}))

static void reads_little_endian(void **state)
{
    (void)state;
    struct cursor c = CURSOR(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    assert_int_equal(cursor_u8(&c), 1);
    assert_int_equal(cursor_u16(&c), 0x0302);
    assert_int_equal(cursor_u32(&c), 0x07060504);
    assert_int_equal(cursor_u64(&c), 0x0f0e0d0c0b0a0908ull);
    assert_false(c.failed);
    assert_int_equal(cursor_left(&c), 0);
}

static void reads_odd_widths(void **state)
{
    (void)state;
    struct cursor c = CURSOR(1, 2, 3, 4, 5, 6, 7, 8);
    assert_int_equal(cursor_uint(&c, 0), 0);
    assert_int_equal(cursor_uint(&c, 3), 0x030201);
    assert_int_equal(cursor_uint(&c, 5), 0x0807060504ull);
    assert_false(c.failed);
}

/* An address size from a hostile unit header reaches this as a width. */
static void refuses_widths_over_8(void **state)
{
    (void)state;
    uint8_t bytes[256] = {1};
    for (unsigned width = 9; width <= 255; width++) {
        struct cursor c = cursor_make(bytes, sizeof(bytes));
        assert_int_equal(cursor_uint(&c, width), 0);
        assert_true(c.failed);
    }
}

static void failing_read_ends_the_cursor(void **state)
{
    (void)state;
    for (unsigned width = 1; width <= 8; width++) {
        uint8_t bytes[8] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
        struct cursor c = cursor_make(bytes, width - 1);
        assert_int_equal(cursor_uint(&c, width), 0);
        assert_true(c.failed);
        assert_int_equal(cursor_left(&c), 0);
        assert_int_equal(cursor_u8(&c), 0);
        assert_null(cursor_str(&c));
        assert_int_equal(cursor_uleb(&c), 0);
        assert_int_equal(cursor_sleb(&c), 0);
        assert_false(cursor_skip(&c, 1));
        assert_true(cursor_skip(&c, 0));
    }
}

static void starts_inside_only(void **state)
{
    (void)state;
    uint8_t bytes[4] = {1, 2, 3, 4};
    struct cursor c = cursor_at(bytes, 4, 3);
    assert_int_equal(cursor_u8(&c), 4);
    c = cursor_at(bytes, 4, 4);
    assert_false(c.failed);
    assert_int_equal(cursor_left(&c), 0);
    c = cursor_at(bytes, 4, 5);
    assert_true(c.failed);
    assert_int_equal(cursor_u8(&c), 0);
    c = cursor_at(bytes, 4, UINT64_MAX);
    assert_true(c.failed);
    c = cursor_at(NULL, 0, 0);
    assert_true(c.failed);
    assert_int_equal(cursor_left(&c), 0);
}

static void skips_no_further_than_the_end(void **state)
{
    (void)state;
    struct cursor c = CURSOR(1, 2, 3);
    assert_true(cursor_skip(&c, 2));
    assert_int_equal(cursor_u8(&c), 3);
    c = CURSOR(1, 2, 3);
    assert_false(cursor_skip(&c, UINT64_MAX));
    assert_true(c.failed);
}

/* DWARF 5, figures 4 and 5, and the ends of the ranges. */
static void reads_unsigned_leb128(void **state)
{
    (void)state;
    struct cursor c = CURSOR(2, 0x7f, 0x80, 0x01, 0x81, 0x01, 0xb9, 0x64);
    assert_int_equal(cursor_uleb(&c), 2);
    assert_int_equal(cursor_uleb(&c), 127);
    assert_int_equal(cursor_uleb(&c), 128);
    assert_int_equal(cursor_uleb(&c), 129);
    assert_int_equal(cursor_uleb(&c), 12857);
    assert_false(c.failed);
    c = CURSOR(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01);
    assert_int_equal(cursor_uleb(&c), UINT64_MAX);
    /* Padded with zeros, as relaxing linkers leave them. */
    c = CURSOR(0x85, 0x80, 0x80, 0x00, 9);
    assert_int_equal(cursor_uleb(&c), 5);
    assert_int_equal(cursor_u8(&c), 9);
    /* Bits beyond 64 are dropped, the length is still found. */
    c = CURSOR(0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7f, 9);
    assert_int_equal(cursor_uleb(&c), 1);
    assert_int_equal(cursor_u8(&c), 9);
    c = CURSOR(0x80, 0x80);
    assert_int_equal(cursor_uleb(&c), 0);
    assert_true(c.failed);
}

static void reads_signed_leb128(void **state)
{
    (void)state;
    struct cursor c = CURSOR(2, 0x7e, 0xff, 0x00, 0x81, 0x7f, 0x80, 0x01, 0x80, 0x7f, 0x40);
    assert_int_equal(cursor_sleb(&c), 2);
    assert_int_equal(cursor_sleb(&c), -2);
    assert_int_equal(cursor_sleb(&c), 127);
    assert_int_equal(cursor_sleb(&c), -127);
    assert_int_equal(cursor_sleb(&c), 128);
    assert_int_equal(cursor_sleb(&c), -128);
    assert_int_equal(cursor_sleb(&c), -64);
    assert_false(c.failed);
    c = CURSOR(0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7f);
    assert_true(cursor_sleb(&c) == INT64_MIN);
    c = CURSOR(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00);
    assert_true(cursor_sleb(&c) == INT64_MAX);
    c = CURSOR(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 9);
    assert_int_equal(cursor_sleb(&c), -1);
    assert_int_equal(cursor_u8(&c), 9);
    c = CURSOR(0xff);
    assert_int_equal(cursor_sleb(&c), 0);
    assert_true(c.failed);
}

static void reads_strings_that_end(void **state)
{
    (void)state;
    struct cursor c = CURSOR('a', 'b', 0, 0, 'c');
    assert_string_equal(cursor_str(&c), "ab");
    assert_string_equal(cursor_str(&c), "");
    assert_null(cursor_str(&c));
    assert_true(c.failed);
    assert_int_equal(cursor_left(&c), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_little_endian),    cmocka_unit_test(reads_odd_widths),
        cmocka_unit_test(refuses_widths_over_8),  cmocka_unit_test(failing_read_ends_the_cursor),
        cmocka_unit_test(starts_inside_only),     cmocka_unit_test(skips_no_further_than_the_end),
        cmocka_unit_test(reads_unsigned_leb128),  cmocka_unit_test(reads_signed_leb128),
        cmocka_unit_test(reads_strings_that_end),
    };
    return cmocka_run_group_tests_name("cursor", tests, NULL, NULL);
}
