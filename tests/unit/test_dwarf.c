/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "unit.h"

#include <dwarf.h>
#include <stdio.h>
#include <unistd.h>

#include "dwarf_build.h"
#include "program/dwarf_form.h"
#include "program/dwarf_line.h"

#define ATTRS(...)                                                                                 \
    (const struct attr[])                                                                          \
    {                                                                                              \
        __VA_ARGS__,                                                                               \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }

/* An opened file with all of its units loaded. */
struct opened {
    struct elf_file elf;
    struct dwarf dwarf;
    struct dwarf_file *file;
};

static void open_more(struct opened *opened, struct elf_build *build)
{
    struct error err;
    char *path = elf_build_write(build);
    assert_true(elf_file_open(&opened->elf, path, &err));
    unlink(path);
    free(path);
    elf_build_free(build);
}

static void open_dwarf(struct opened *opened, struct dwarf_build *dwarf)
{
    struct elf_build build;
    elf_build_init(&build);
    dwarf_build_finish(dwarf, &build);
    dwarf_build_free(dwarf);
    open_more(opened, &build);
    dwarf_init(&opened->dwarf);
    opened->file = dwarf_add_file(&opened->dwarf, &opened->elf);
    for (uint32_t i = 0; opened->file && i < opened->file->nr_units; i++)
        dwarf_unit_load(&opened->file->units[i], &opened->dwarf.arena);
}

static void close_dwarf(struct opened *opened)
{
    dwarf_deinit(&opened->dwarf);
    elf_file_close(&opened->elf);
}

static struct dwarf_die root_of(const struct opened *opened, uint32_t unit)
{
    struct dwarf_die die;
    uint64_t after;
    assert_true(unit < opened->file->nr_units);
    assert_true(dwarf_die_read(&opened->file->units[unit], opened->file->units[unit].die_offset,
                               &die, &after));
    return die;
}

static struct dwarf_die child_of(const struct dwarf_die *die)
{
    struct dwarf_die child;
    assert_true(dwarf_child(die, &child));
    return child;
}

/* --- trees ----------------------------------------------------------------------------------- */

static void walk_tree(unsigned version, bool is_64, uint32_t code_step)
{
    struct dwarf_build b;
    struct opened opened;
    dwarf_build_init(&b, version);
    b.is_64 = is_64;
    b.code_step = code_step;
    for (int unit = 0; unit < 2; unit++) {
        dwarf_build_unit(&b);
        dwarf_build_die(&b, DW_TAG_compile_unit, true,
                        ATTRS({DW_AT_name, DW_FORM_strp, 0, unit ? "second" : "first", 0},
                              {DW_AT_language, DW_FORM_data2, DW_LANG_Rust, NULL, 0}));
        dwarf_build_die(&b, DW_TAG_namespace, true,
                        ATTRS({DW_AT_name, DW_FORM_string, 0, "outer", 0}));
        dwarf_build_die(&b, DW_TAG_namespace, true,
                        ATTRS({DW_AT_name, DW_FORM_string, 0, "inner", 0}));
        dwarf_build_die(&b, DW_TAG_base_type, false, ATTRS({DW_AT_name, DW_FORM_strp, 0, "u8", 0}));
        dwarf_build_end(&b);
        dwarf_build_die(&b, DW_TAG_base_type, false,
                        ATTRS({DW_AT_name, DW_FORM_string, 0, "u16", 0}));
        dwarf_build_end(&b);
        dwarf_build_die(&b, DW_TAG_base_type, false, NULL);
        dwarf_build_end(&b);
        dwarf_build_unit_end(&b);
    }
    open_dwarf(&opened, &b);
    assert_int_equal(opened.file->nr_units, 2);
    assert_int_equal(opened.dwarf.nr_corrupt_files, 0);
    for (uint32_t unit = 0; unit < 2; unit++) {
        const struct dwarf_unit *row = &opened.file->units[unit];
        assert_true(row->readable && row->is_rust);
        assert_int_equal(row->version, version);
        assert_int_equal(row->offset_bytes, is_64 ? 8 : 4);
        assert_int_equal(row->dense, code_step == 1);
        assert_string_equal(row->name, unit ? "second" : "first");
        struct dwarf_die root = root_of(&opened, unit), outer = child_of(&root);
        struct dwarf_die inner = child_of(&outer), leaf = child_of(&inner), next;
        assert_string_equal(dwarf_attr_string(&leaf, DW_AT_name), "u8");
        assert_false(dwarf_sibling(&leaf, &next));
        assert_false(dwarf_child(&leaf, &next));
        assert_true(dwarf_sibling(&inner, &next)); /* over its children */
        assert_string_equal(dwarf_attr_string(&next, DW_AT_name), "u16");
        assert_true(dwarf_sibling(&outer, &next));
        assert_int_equal(dwarf_tag(&next), DW_TAG_base_type);
        assert_null(dwarf_attr_string(&next, DW_AT_name));
        assert_false(dwarf_sibling(&next, &next));
        struct dwarf_die again;
        assert_true(dwarf_die_at(&opened.dwarf, die_ref_of(&leaf), &again));
        assert_int_equal(again.offset, leaf.offset);
        assert_ptr_equal(again.unit, row);
    }
    struct dwarf_die none;
    assert_false(dwarf_die_at(&opened.dwarf, DIE_NONE, &none));
    assert_false(dwarf_die_at(&opened.dwarf, 0, &none)); /* a unit's header */
    assert_false(dwarf_die_at(&opened.dwarf, 1ull << 44, &none));
    assert_false(dwarf_die_at(&opened.dwarf, (1ull << 44) - 1, &none));
    close_dwarf(&opened);
}

static void walks_trees(void **state)
{
    (void)state;
    for (unsigned version = 4; version <= 5; version++)
        for (int is_64 = 0; is_64 < 2; is_64++) {
            walk_tree(version, is_64, 1);
            walk_tree(version, is_64, 3); /* sparse abbreviation codes */
            walk_tree(version, is_64, 1000);
        }
}

/* --- forms ----------------------------------------------------------------------------------- */

static void reads_forms(void **state)
{
    (void)state;
    struct dwarf_build b;
    struct opened opened;
    dwarf_build_init(&b, 5);
    dwarf_build_unit(&b);
    dwarf_build_die(&b, DW_TAG_compile_unit, true, NULL);
    dwarf_build_die(
        &b, DW_TAG_variable, false,
        ATTRS({1, DW_FORM_data1, 0xff, NULL, 0}, {2, DW_FORM_data2, 0xfffe, NULL, 0},
              {3, DW_FORM_data4, 0xfffffffd, NULL, 0}, {4, DW_FORM_data8, UINT64_MAX, NULL, 0},
              {5, DW_FORM_sdata, (uint64_t)-5, NULL, 0}, {6, DW_FORM_udata, 300, NULL, 0},
              {7, DW_FORM_implicit_const, (uint64_t)-7, NULL, 0},
              {8, DW_FORM_flag_present, 0, NULL, 0}, {9, DW_FORM_flag, 1, NULL, 0},
              {10, DW_FORM_string, 0, "inline", 0}, {11, DW_FORM_strp, 0, "pool", 0},
              {12, DW_FORM_line_strp, 0, "line", 0},
              {13, DW_FORM_exprloc, 0,
               "\x03"
               "abc",
               4},
              {14, DW_FORM_block1, 0, "xy", 2}, {15, DW_FORM_block2, 0, "xyz", 3},
              {16, DW_FORM_block4, 0, "x", 1}, {17, DW_FORM_data16, 0, "0123456789abcdef", 16},
              {18, DW_FORM_addr, 0x123456789, NULL, 0}, {19, DW_FORM_sec_offset, 77, NULL, 0}));
    dwarf_build_end(&b);
    dwarf_build_unit_end(&b);
    open_dwarf(&opened, &b);
    struct dwarf_die root = root_of(&opened, 0), die = child_of(&root);
    static const struct {
        uint16_t name;
        enum dwarf_class class;
        uint64_t number;
    } numbers[] = {
        {1, DWARF_CONSTANT, 0xff},
        {2, DWARF_CONSTANT, 0xfffe},
        {3, DWARF_CONSTANT, 0xfffffffd},
        {4, DWARF_CONSTANT, UINT64_MAX},
        {5, DWARF_CONSTANT, (uint64_t)-5},
        {6, DWARF_CONSTANT, 300},
        {7, DWARF_CONSTANT, (uint64_t)-7},
        {8, DWARF_CONSTANT, 1},
        {9, DWARF_CONSTANT, 1},
        {13, DWARF_BLOCK, 4},
        {14, DWARF_BLOCK, 2},
        {15, DWARF_BLOCK, 3},
        {16, DWARF_BLOCK, 1},
        {17, DWARF_BLOCK, 16},
        {18, DWARF_ADDRESS, 0x123456789},
        {19, DWARF_OFFSET, 77},
        {20, DWARF_NONE, 0},
    };
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
        struct dwarf_value value = dwarf_attr(&die, numbers[i].name);
        assert_int_equal(value.class, numbers[i].class);
        if (value.class != DWARF_NONE)
            assert_int_equal(value.number, numbers[i].number);
    }
    assert_true(dwarf_attr(&die, 5).is_signed && dwarf_attr(&die, 7).is_signed);
    assert_memory_equal(dwarf_attr(&die, 13).block,
                        "\x03"
                        "abc",
                        4);
    assert_string_equal(dwarf_attr_string(&die, 10), "inline");
    assert_string_equal(dwarf_attr_string(&die, 11), "pool");
    assert_string_equal(dwarf_attr_string(&die, 12), "line");
    assert_null(dwarf_attr_string(&die, 1));
    assert_int_equal(dwarf_attr_number(&die, 20, 99), 99);
    assert_int_equal(dwarf_attr_number(&die, 10, 99), 99);
    assert_int_equal(dwarf_attr_ref(&die, 1), DIE_NONE);
    close_dwarf(&opened);
}

static void reads_indexed_forms(void **state)
{
    (void)state;
    struct dwarf_build b;
    struct opened opened;
    dwarf_build_init(&b, 5);
    put_zeros(&b.str_offsets, 8); /* the header */
    put_uint(&b.str_offsets, dwarf_build_string(&b, "zero"), 4);
    put_uint(&b.str_offsets, dwarf_build_string(&b, "one"), 4);
    put_uint(&b.str_offsets, 0xffffff, 4); /* outside of .debug_str */
    put_zeros(&b.addr, 8);
    put_uint(&b.addr, 0x1000, 8);
    put_uint(&b.addr, 0x2000, 8);
    dwarf_build_unit(&b);
    dwarf_build_die(&b, DW_TAG_compile_unit, true,
                    ATTRS({DW_AT_name, DW_FORM_strx1, 1, NULL, 0}, /* before its base is known */
                          {DW_AT_str_offsets_base, DW_FORM_sec_offset, 8, NULL, 0},
                          {DW_AT_addr_base, DW_FORM_sec_offset, 8, NULL, 0},
                          {DW_AT_low_pc, DW_FORM_addrx, 0, NULL, 0}));
    dwarf_build_die(&b, DW_TAG_variable, false,
                    ATTRS({1, DW_FORM_strx, 0, NULL, 0}, {2, DW_FORM_strx2, 1, NULL, 0},
                          {3, DW_FORM_strx3, 1, NULL, 0}, {4, DW_FORM_strx4, 1, NULL, 0},
                          {5, DW_FORM_strx1, 2, NULL, 0}, {6, DW_FORM_strx, UINT64_MAX, NULL, 0},
                          {7, DW_FORM_strx, 3, NULL, 0}, {8, DW_FORM_addrx1, 1, NULL, 0},
                          {9, DW_FORM_addrx, UINT64_MAX / 8, NULL, 0},
                          {10, DW_FORM_addrx4, 2, NULL, 0}));
    dwarf_build_end(&b);
    dwarf_build_unit_end(&b);
    open_dwarf(&opened, &b);
    struct dwarf_die root = root_of(&opened, 0), die = child_of(&root);
    assert_string_equal(opened.file->units[0].name, "one");
    assert_int_equal(opened.file->units[0].low_pc, 0x1000);
    assert_string_equal(dwarf_attr_string(&die, 1), "zero");
    for (uint16_t name = 2; name <= 4; name++)
        assert_string_equal(dwarf_attr_string(&die, name), "one");
    for (uint16_t name = 5; name <= 7; name++)
        assert_null(dwarf_attr_string(&die, name));
    assert_int_equal(dwarf_attr(&die, 8).number, 0x2000);
    assert_int_equal(dwarf_attr(&die, 9).class, DWARF_NONE);
    assert_int_equal(dwarf_attr(&die, 10).class, DWARF_NONE);
    close_dwarf(&opened);
}

static void follows_references(void **state)
{
    (void)state;
    struct dwarf_build b;
    struct opened opened;
    dwarf_build_init(&b, 4);
    for (unsigned unit = 0; unit < 2; unit++) {
        dwarf_build_unit(&b);
        dwarf_build_die(&b, DW_TAG_compile_unit, true, NULL);
        dwarf_build_die(&b, DW_TAG_variable, false,
                        ATTRS({1, DW_FORM_ref4, 1 + unit, NULL, 0},
                              {2, DW_FORM_ref_addr, 2 - unit, NULL, 0},
                              {3, DW_FORM_ref8, 1 + unit, NULL, 0}));
        dwarf_build_label(&b, 1 + unit);
        dwarf_build_die(&b, DW_TAG_structure_type, false,
                        ATTRS({DW_AT_name, DW_FORM_string, 0, unit ? "second" : "first", 0},
                              {DW_AT_declaration, DW_FORM_flag_present, 0, NULL, 0}));
        dwarf_build_end(&b);
        dwarf_build_unit_end(&b);
    }
    open_dwarf(&opened, &b);
    for (uint32_t unit = 0; unit < 2; unit++) {
        struct dwarf_die root = root_of(&opened, unit), die = child_of(&root), target;
        for (uint16_t name = 1; name <= 3; name++) {
            assert_true(dwarf_die_at(&opened.dwarf, dwarf_attr_ref(&die, name), &target));
            assert_string_equal(dwarf_attr_string(&target, DW_AT_name),
                                (name == 2) != (unit == 1) ? "second" : "first");
            assert_true(dwarf_attr_flag(&target, DW_AT_declaration));
        }
    }
    close_dwarf(&opened);
}

/* --- ranges ---------------------------------------------------------------------------------- */

static void expect_ranges(const struct dwarf_die *die, const struct pc_range *rows, size_t nr)
{
    struct pc_ranges ranges = {0};
    dwarf_ranges(die, &ranges);
    assert_int_equal(ranges.nr, nr);
    for (size_t i = 0; i < nr; i++) {
        assert_int_equal(ranges.rows[i].low, rows[i].low);
        assert_int_equal(ranges.rows[i].high, rows[i].high);
    }
    free(ranges.rows);
}

static void reads_ranges_4(void **state)
{
    (void)state;
    struct dwarf_build b;
    struct opened opened;
    dwarf_build_init(&b, 4);
    const uint64_t words[] = {0x10, 0x20, UINT64_MAX, 0x5000, 1, 2, 7, 7, 0, 0};
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        put_uint(&b.ranges, words[i], 8);
    dwarf_build_unit(&b);
    dwarf_build_die(&b, DW_TAG_compile_unit, true,
                    ATTRS({DW_AT_low_pc, DW_FORM_addr, 0x1000, NULL, 0}));
    dwarf_build_die(&b, DW_TAG_subprogram, false,
                    ATTRS({DW_AT_ranges, DW_FORM_sec_offset, 0, NULL, 0}));
    dwarf_build_die(&b, DW_TAG_subprogram, false,
                    ATTRS({DW_AT_low_pc, DW_FORM_addr, 0x30, NULL, 0},
                          {DW_AT_high_pc, DW_FORM_data4, 5, NULL, 0}));
    dwarf_build_die(&b, DW_TAG_subprogram, false,
                    ATTRS({DW_AT_ranges, DW_FORM_sec_offset, 9999, NULL, 0}));
    dwarf_build_end(&b);
    dwarf_build_unit_end(&b);
    open_dwarf(&opened, &b);
    struct dwarf_die root = root_of(&opened, 0), die = child_of(&root);
    expect_ranges(&die, (const struct pc_range[]){{0x1010, 0x1020}, {0x5001, 0x5002}}, 2);
    assert_true(dwarf_sibling(&die, &die));
    expect_ranges(&die, (const struct pc_range[]){{0x30, 0x35}}, 1);
    assert_true(dwarf_sibling(&die, &die));
    expect_ranges(&die, NULL, 0);
    close_dwarf(&opened);
}

static void reads_rnglists(void **state)
{
    (void)state;
    struct dwarf_build b;
    struct opened opened;
    dwarf_build_init(&b, 5);
    put_zeros(&b.addr, 8);
    put_uint(&b.addr, 0x7000, 8);
    put_uint(&b.addr, 0x8000, 8);
    put_zeros(&b.rnglists, 12);  /* header */
    put_uint(&b.rnglists, 4, 4); /* list 0, from here */
    struct bytes *r = &b.rnglists;
    put_uint(r, DW_RLE_offset_pair, 1);
    put_uleb(r, 0x10);
    put_uleb(r, 0x20);
    put_uint(r, DW_RLE_base_addressx, 1);
    put_uleb(r, 0);
    put_uint(r, DW_RLE_offset_pair, 1);
    put_uleb(r, 1);
    put_uleb(r, 2);
    put_uint(r, DW_RLE_startx_endx, 1);
    put_uleb(r, 0);
    put_uleb(r, 1);
    put_uint(r, DW_RLE_startx_length, 1);
    put_uleb(r, 1);
    put_uleb(r, 0x30);
    put_uint(r, DW_RLE_base_address, 1);
    put_uint(r, 0x9000, 8);
    put_uint(r, DW_RLE_offset_pair, 1);
    put_uleb(r, 0);
    put_uleb(r, 4);
    put_uint(r, DW_RLE_start_end, 1);
    put_uint(r, 0xa000, 8);
    put_uint(r, 0xa001, 8);
    put_uint(r, DW_RLE_start_length, 1);
    put_uint(r, 0xb000, 8);
    put_uleb(r, 3);
    put_uint(r, DW_RLE_end_of_list, 1);
    dwarf_build_unit(&b);
    dwarf_build_die(&b, DW_TAG_compile_unit, true,
                    ATTRS({DW_AT_low_pc, DW_FORM_addr, 0x1000, NULL, 0},
                          {DW_AT_addr_base, DW_FORM_sec_offset, 8, NULL, 0},
                          {DW_AT_rnglists_base, DW_FORM_sec_offset, 12, NULL, 0}));
    dwarf_build_die(&b, DW_TAG_subprogram, false,
                    ATTRS({DW_AT_ranges, DW_FORM_rnglistx, 0, NULL, 0}));
    dwarf_build_die(&b, DW_TAG_subprogram, false,
                    ATTRS({DW_AT_ranges, DW_FORM_sec_offset, 16, NULL, 0}));
    dwarf_build_die(&b, DW_TAG_subprogram, false,
                    ATTRS({DW_AT_ranges, DW_FORM_rnglistx, UINT64_MAX / 4, NULL, 0}));
    dwarf_build_end(&b);
    dwarf_build_unit_end(&b);
    open_dwarf(&opened, &b);
    static const struct pc_range rows[] = {{0x1010, 0x1020}, {0x7001, 0x7002}, {0x7000, 0x8000},
                                           {0x8000, 0x8030}, {0x9000, 0x9004}, {0xa000, 0xa001},
                                           {0xb000, 0xb003}};
    struct dwarf_die root = root_of(&opened, 0), die = child_of(&root);
    expect_ranges(&die, rows, 7);
    assert_true(dwarf_sibling(&die, &die));
    expect_ranges(&die, rows, 7);
    assert_true(dwarf_sibling(&die, &die));
    expect_ranges(&die, NULL, 0);
    close_dwarf(&opened);
}

/* --- lines ----------------------------------------------------------------------------------- */

/* A line table of this version with two files and a program of a few rows. */
static void put_line_table(struct dwarf_build *b, unsigned version)
{
    struct bytes *l = &b->line;
    size_t at = l->nr;
    put_uint(l, 0, 4);
    put_uint(l, version, 2);
    if (version >= 5) {
        put_uint(l, 8, 1);
        put_uint(l, 0, 1);
    }
    size_t header_at = l->nr;
    put_uint(l, 0, 4);
    put_uint(l, 1, 1); /* minimum instruction */
    put_uint(l, 1, 1);
    put_uint(l, 1, 1);
    put_uint(l, (uint8_t)-3, 1); /* line base */
    put_uint(l, 12, 1);          /* line range */
    put_uint(l, 13, 1);
    put_bytes(l, "\0\1\1\1\1\0\0\0\1\0\0\1", 12);
    if (version >= 5) {
        put_bytes(l, "\1\1\x08", 3); /* one format: path, string */
        put_uleb(l, 2);
        put_str(l, "/comp");
        put_str(l, "src");
        put_bytes(l, "\2\1\x08\2\x0b", 5); /* path, string; directory, data1 */
        put_uleb(l, 2);
        put_str(l, "main.rs");
        put_uint(l, 1, 1);
        put_str(l, "/abs/lib.rs");
        put_uint(l, 0, 1);
    } else {
        put_str(l, "src");
        put_zeros(l, 1);
        put_str(l, "main.rs");
        put_bytes(l, "\1\0\0", 3);
        put_str(l, "/abs/lib.rs");
        put_bytes(l, "\0\0\0", 3);
        put_zeros(l, 1);
    }
    set_uint(l, header_at, l->nr - header_at - 4, 4);
    put_bytes(l, "\0\x09\x02", 3); /* set address */
    put_uint(l, 0x1000, 8);
    put_bytes(l, "\3\x09\1", 3);         /* line 10, a row */
    put_uint(l, 13 + 12 * 4 + 3 + 2, 1); /* 4 bytes and 2 lines on, a row */
    put_bytes(l, "\2\x10\0\1\1", 5);     /* 16 bytes on, end */
    set_uint(l, at, l->nr - at - 4, 4);
}

static void reads_line_tables(void **state)
{
    (void)state;
    for (unsigned version = 4; version <= 5; version++) {
        struct dwarf_build b;
        struct opened opened;
        size_t nr;
        dwarf_build_init(&b, version);
        put_line_table(&b, version);
        dwarf_build_unit(&b);
        dwarf_build_die(&b, DW_TAG_compile_unit, false,
                        ATTRS({DW_AT_name, DW_FORM_string, 0, "unit.rs", 0},
                              {DW_AT_comp_dir, DW_FORM_string, 0, "/comp", 0},
                              {DW_AT_stmt_list, DW_FORM_sec_offset, 0, NULL, 0}));
        dwarf_build_unit_end(&b);
        open_dwarf(&opened, &b);
        struct dwarf_unit *unit = &opened.file->units[0];
        struct arena *arena = &opened.dwarf.arena;
        uint64_t first = version >= 5 ? 0 : 1;
        assert_string_equal(dwarf_file_path(unit, first, arena), "/comp/src/main.rs");
        assert_string_equal(dwarf_file_path(unit, first + 1, arena), "/abs/lib.rs");
        assert_null(dwarf_file_path(unit, first + 2, arena));
        assert_null(dwarf_file_path(unit, UINT64_MAX, arena));
        if (version == 4)
            assert_null(dwarf_file_path(unit, 0, arena));
        const struct line_row *rows = dwarf_line_rows(unit, arena, &nr);
        assert_int_equal(nr, 3);
        assert_int_equal(rows[0].addr, 0x1000);
        assert_int_equal(rows[0].line, 10);
        assert_int_equal(rows[1].addr, 0x1004);
        assert_int_equal(rows[1].line, 12);
        assert_true(rows[2].is_end);
        assert_int_equal(rows[2].addr, 0x1014);
        assert_int_equal(dwarf_line_at(unit, arena, 0x1003)->line, 10);
        assert_int_equal(dwarf_line_at(unit, arena, 0x1013)->line, 12);
        assert_null(dwarf_line_at(unit, arena, 0x1014));
        assert_null(dwarf_line_at(unit, arena, 0xfff));
        close_dwarf(&opened);
    }
}

/* Every byte of the table changed in turn, and the table cut: the reader stays inside. */
static void damaged_line_tables_are_safe(void **state)
{
    (void)state;
    struct dwarf_build probe;
    dwarf_build_init(&probe, 5);
    put_line_table(&probe, 5);
    size_t length = probe.line.nr;
    dwarf_build_free(&probe);
    static const uint8_t values[] = {0, 0x7f, 0x80, 0xff};
    for (size_t round = 0; round < length * 4; round++) {
        struct dwarf_build b;
        struct opened opened;
        size_t nr;
        unsigned version = 4 + round % 2;
        dwarf_build_init(&b, version);
        put_line_table(&b, version);
        b.line.data[(round / 4) % b.line.nr] = values[round % 4];
        if (round % 7 == 0)
            b.line.nr -= round % b.line.nr;
        dwarf_build_unit(&b);
        dwarf_build_die(&b, DW_TAG_compile_unit, false,
                        ATTRS({DW_AT_stmt_list, DW_FORM_sec_offset, 0, NULL, 0}));
        dwarf_build_unit_end(&b);
        open_dwarf(&opened, &b);
        struct dwarf_unit *unit = &opened.file->units[0];
        dwarf_line_rows(unit, &opened.dwarf.arena, &nr);
        for (uint64_t i = 0; i < 4; i++)
            dwarf_file_path(unit, i, &opened.dwarf.arena);
        close_dwarf(&opened);
    }
}

/* A line that cannot grow further: counted as the format's unsigned numbers wrap. */
static void lines_wrap(void **state)
{
    (void)state;
    struct dwarf_build b;
    struct opened opened;
    size_t nr;
    dwarf_build_init(&b, 4);
    put_line_table(&b, 4);
    put_uint(&b.line, DW_LNS_advance_line, 1);
    put_sleb(&b.line, INT64_MAX);
    put_bytes(&b.line, "\xff\xff\xff\xff", 4);
    set_uint(&b.line, 0, b.line.nr - 4, 4);
    dwarf_build_unit(&b);
    dwarf_build_die(&b, DW_TAG_compile_unit, false,
                    ATTRS({DW_AT_stmt_list, DW_FORM_sec_offset, 0, NULL, 0}));
    dwarf_build_unit_end(&b);
    open_dwarf(&opened, &b);
    dwarf_line_rows(&opened.file->units[0], &opened.dwarf.arena, &nr);
    assert_int_equal(nr, 7);
    close_dwarf(&opened);
}

/* --- split files ----------------------------------------------------------------------------- */

/* Two units of a package, whose strings and abbreviations begin where the index says. */
static void reads_packages(void **state)
{
    (void)state;
    struct dwarf_build b;
    struct opened opened;
    uint64_t info[2], abbrev[2], offsets[2];
    dwarf_build_init(&b, 5);
    b.is_split = true;
    b.unit_type = DW_UT_split_compile;
    for (unsigned unit = 0; unit < 2; unit++) {
        offsets[unit] = b.str_offsets.nr;
        put_zeros(&b.str_offsets, 8);
        put_uint(&b.str_offsets, dwarf_build_string(&b, unit ? "second" : "first"), 4);
        b.dwo_id = 0x1111 * (unit + 1);
        info[unit] = b.info.nr;
        abbrev[unit] = b.abbrev.nr;
        dwarf_build_unit(&b);
        set_uint(&b.info, info[unit] + 8, 0, 4); /* relative to the contribution */
        dwarf_build_die(&b, DW_TAG_compile_unit, false,
                        ATTRS({DW_AT_name, DW_FORM_strx, 0, NULL, 0}));
        dwarf_build_unit_end(&b);
    }
    struct bytes *index = &b.cu_index;
    put_uint(index, 5, 2);
    put_uint(index, 0, 2);
    put_uint(index, 3, 4); /* sections, units, slots */
    put_uint(index, 2, 4);
    put_uint(index, 4, 4);
    put_zeros(index, 4 * 12); /* the hash table is not used */
    put_uint(index, DW_SECT_INFO, 4);
    put_uint(index, DW_SECT_ABBREV, 4);
    put_uint(index, DW_SECT_STR_OFFSETS, 4);
    for (unsigned unit = 0; unit < 2; unit++) {
        put_uint(index, info[unit], 4);
        put_uint(index, abbrev[unit], 4);
        put_uint(index, offsets[unit], 4);
    }
    put_zeros(index, 2 * 3 * 4); /* lengths */
    open_dwarf(&opened, &b);
    assert_true(opened.file->is_split);
    assert_int_equal(opened.file->nr_units, 2);
    for (uint32_t unit = 0; unit < 2; unit++) {
        assert_true(opened.file->units[unit].readable);
        assert_int_equal(opened.file->units[unit].dwo_id, 0x1111 * (unit + 1));
        assert_string_equal(opened.file->units[unit].name, unit ? "second" : "first");
    }
    close_dwarf(&opened);
}

static void joins_skeletons(void **state)
{
    (void)state;
    struct dwarf_build plain, split;
    struct opened opened = {0}, other = {0};
    struct elf_build build;
    dwarf_build_init(&plain, 5);
    plain.unit_type = DW_UT_skeleton;
    plain.dwo_id = 0xabc;
    put_zeros(&plain.addr, 8);
    put_uint(&plain.addr, 0x4000, 8);
    dwarf_build_unit(&plain);
    dwarf_build_die(&plain, DW_TAG_skeleton_unit, false,
                    ATTRS({DW_AT_dwo_name, DW_FORM_string, 0, "a.dwo", 0},
                          {DW_AT_comp_dir, DW_FORM_string, 0, "/comp", 0},
                          {DW_AT_low_pc, DW_FORM_addr, 0x100, NULL, 0},
                          {DW_AT_addr_base, DW_FORM_sec_offset, 8, NULL, 0}));
    dwarf_build_unit_end(&plain);
    open_dwarf(&opened, &plain);
    dwarf_build_init(&split, 5);
    split.is_split = true;
    split.unit_type = DW_UT_split_compile;
    split.dwo_id = 0xabc;
    dwarf_build_unit(&split);
    dwarf_build_die(&split, DW_TAG_compile_unit, true, NULL);
    dwarf_build_die(&split, DW_TAG_subprogram, false,
                    ATTRS({DW_AT_low_pc, DW_FORM_addrx, 0, NULL, 0},
                          {DW_AT_high_pc, DW_FORM_data1, 8, NULL, 0}));
    dwarf_build_end(&split);
    dwarf_build_unit_end(&split);
    elf_build_init(&build);
    dwarf_build_finish(&split, &build);
    dwarf_build_free(&split);
    open_more(&other, &build);
    struct dwarf_file *file = dwarf_add_file(&opened.dwarf, &other.elf);
    assert_non_null(file);
    assert_true(dwarf_unit_load(&file->units[0], &opened.dwarf.arena));
    dwarf_join_split(&opened.dwarf);
    assert_ptr_equal(file->units[0].skeleton, &opened.file->units[0]);
    assert_string_equal(opened.file->units[0].dwo_name, "a.dwo");
    assert_string_equal(file->units[0].comp_dir, "/comp");
    struct dwarf_die root, die;
    uint64_t after;
    assert_true(dwarf_die_read(&file->units[0], file->units[0].die_offset, &root, &after));
    die = child_of(&root);
    expect_ranges(&die, (const struct pc_range[]){{0x4000, 0x4008}}, 1);
    assert_int_equal(die_ref_of(&die) >> 44, 1);
    close_dwarf(&opened);
    elf_file_close(&other.elf);
}

/* --- damage ---------------------------------------------------------------------------------- */

static void build_small(struct dwarf_build *b, unsigned version)
{
    dwarf_build_init(b, version);
    dwarf_build_unit(b);
    dwarf_build_die(b, DW_TAG_compile_unit, true, ATTRS({DW_AT_name, DW_FORM_strp, 0, "unit", 0}));
    dwarf_build_die(
        b, DW_TAG_structure_type, true,
        ATTRS({DW_AT_name, DW_FORM_strp, 0, "S", 0}, {DW_AT_byte_size, DW_FORM_udata, 8, NULL, 0}));
    dwarf_build_die(b, DW_TAG_member, false,
                    ATTRS({DW_AT_data_member_location, DW_FORM_data1, 0, NULL, 0}));
    dwarf_build_end(b);
    dwarf_build_end(b);
    dwarf_build_unit_end(b);
}

static void corrupt_lists_of_units_are_told(void **state)
{
    (void)state;
    static const uint64_t lengths[] = {0xfffffffe, 0xffff, 3, 0};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
        struct dwarf_build b;
        struct opened opened;
        build_small(&b, 5);
        put_uint(&b.info, lengths[i], 4);
        put_zeros(&b.info, 12);
        open_dwarf(&opened, &b);
        assert_true(opened.file->nr_units >= 1);
        assert_true(opened.file->units[0].readable);
        if (lengths[i] > 16 || lengths[i] == 3)
            assert_int_equal(opened.dwarf.nr_corrupt_files, 1);
        close_dwarf(&opened);
    }
}

static void address_sizes_over_8_are_not_read(void **state)
{
    (void)state;
    for (unsigned version = 4; version <= 5; version++)
        for (unsigned bytes = 9; bytes < 256; bytes += 41) {
            struct dwarf_build b;
            struct opened opened;
            dwarf_build_init(&b, version);
            b.address_bytes = (uint8_t)bytes;
            dwarf_build_unit(&b);
            dwarf_build_die(&b, DW_TAG_compile_unit, false,
                            ATTRS({DW_AT_low_pc, DW_FORM_addr, 1, NULL, 0}));
            put_zeros(&b.info, 600);
            dwarf_build_unit_end(&b);
            open_dwarf(&opened, &b);
            for (uint32_t i = 0; i < opened.file->nr_units; i++)
                if (opened.file->units[i].readable) {
                    struct dwarf_die root = root_of(&opened, i);
                    expect_ranges(&root, NULL, 0);
                }
            close_dwarf(&opened);
        }
}

static uint32_t walk(const struct dwarf_die *die, unsigned depth)
{
    struct dwarf_die child;
    uint32_t nr = 1;
    dwarf_attr_string(die, DW_AT_name);
    struct pc_ranges ranges = {0};
    dwarf_ranges(die, &ranges);
    free(ranges.rows);
    for (bool more = depth < 20 && dwarf_child(die, &child); more && nr < 1000;
         more = dwarf_sibling(&child, &child))
        nr += walk(&child, depth + 1);
    return nr;
}

/* Every byte of .debug_info and .debug_abbrev changed in turn. */
static void each_byte_may_be_wrong(void **state)
{
    (void)state;
    struct dwarf_build probe;
    build_small(&probe, 5);
    size_t length = probe.info.nr + probe.abbrev.nr;
    dwarf_build_free(&probe);
    static const uint8_t values[] = {0, 0x7f, 0x80, 0xff, 0x13, 0x21};
    for (size_t round = 0; round < length * 6; round++) {
        struct dwarf_build b;
        struct opened opened;
        build_small(&b, 4 + round % 2);
        size_t at = (round / 6) % (b.info.nr + b.abbrev.nr);
        if (at < b.info.nr)
            b.info.data[at] = values[round % 6];
        else
            b.abbrev.data[at - b.info.nr] = values[round % 6];
        open_dwarf(&opened, &b);
        for (uint32_t i = 0; opened.file && i < opened.file->nr_units; i++)
            if (opened.file->units[i].readable) {
                struct dwarf_die root = root_of(&opened, i);
                walk(&root, 0);
            }
        close_dwarf(&opened);
    }
}

static void nothing_to_read(void **state)
{
    (void)state;
    struct elf_build build;
    struct opened opened;
    elf_build_init(&build);
    put_zeros(elf_build_section(&build, ".debug_info", SHT_PROGBITS, 0, 0), 20);
    open_more(&opened, &build);
    dwarf_init(&opened.dwarf);
    assert_null(dwarf_add_file(&opened.dwarf, &opened.elf)); /* without abbreviations */
    close_dwarf(&opened);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(walks_trees),
        cmocka_unit_test(reads_forms),
        cmocka_unit_test(reads_indexed_forms),
        cmocka_unit_test(follows_references),
        cmocka_unit_test(reads_ranges_4),
        cmocka_unit_test(reads_rnglists),
        cmocka_unit_test(reads_line_tables),
        cmocka_unit_test(damaged_line_tables_are_safe),
        cmocka_unit_test(lines_wrap),
        cmocka_unit_test(reads_packages),
        cmocka_unit_test(joins_skeletons),
        cmocka_unit_test(corrupt_lists_of_units_are_told),
        cmocka_unit_test(address_sizes_over_8_are_not_read),
        cmocka_unit_test(each_byte_may_be_wrong),
        cmocka_unit_test(nothing_to_read),
    };
    return cmocka_run_group_tests_name("dwarf", tests, NULL, NULL);
}
