/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "unit.h"

#include <stdio.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "dwarf_build.h"
#include "program/elf_file.h"

/* Opens what was built; the file is removed at once. */
static bool open_built(struct elf_build *build, struct elf_file *elf, struct error *err)
{
    char *path = elf_build_write(build);
    bool ok = elf_file_open(elf, path, err);
    if (!ok) {
        assert_int_equal(err->code, ERROR_INPUT);
        assert_ptr_equal(strstr(err->message, path), err->message);
        assert_null(strchr(err->message, '\n'));
    }
    unlink(path);
    free(path);
    elf_build_free(build);
    return ok;
}

static bool open_bytes(const struct bytes *file, struct error *err)
{
    struct elf_file elf;
    char *path = write_temporary(file->data, file->nr);
    bool ok = elf_file_open(&elf, path, err);
    if (ok)
        elf_file_close(&elf);
    unlink(path);
    free(path);
    return ok;
}

static void expect_debug(const struct elf_file *elf, enum debug_section which, const char *content)
{
    assert_non_null(elf->debug[which].data);
    assert_int_equal(elf->debug[which].size, strlen(content));
    assert_memory_equal(elf->debug[which].data, content, strlen(content));
}

static void put_text(struct bytes *bytes, const char *text)
{
    put_bytes(bytes, text, strlen(text));
}

static void reads_sections_and_segments(void **state)
{
    (void)state;
    struct elf_build build;
    struct elf_file elf;
    struct error err;
    elf_build_init(&build);
    elf_build_load(&build, 0x1000, 0x500, PF_R | PF_X);
    elf_build_load(&build, 0x2000, 0x500, PF_R | PF_W);
    put_text(elf_build_section(&build, ".debug_info", SHT_PROGBITS, 0, 0), "info");
    put_text(elf_build_section(&build, ".debug_strange", SHT_PROGBITS, 0, 0), "strange");
    put_text(elf_build_section(&build, ".debug_str", SHT_PROGBITS, 0, 0), "str");
    elf_build_section(&build, ".debug_line", SHT_PROGBITS, 0, 0); /* empty */
    put_text(elf_build_section(&build, ".text", SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, 0x1000),
             "code");
    assert_true(open_built(&build, &elf, &err));
    assert_int_equal(elf.machine, EM_X86_64);
    assert_int_equal(elf.type, ET_DYN);
    expect_debug(&elf, DEBUG_INFO, "info");
    expect_debug(&elf, DEBUG_STR, "str");
    assert_null(elf.debug[DEBUG_RANGES].data);
    assert_false(elf.has_split_sections);
    assert_false(elf.has_symtab);
    assert_true(elf_addr_is_code(&elf, 0x1000));
    assert_true(elf_addr_is_code(&elf, 0x14ff));
    assert_false(elf_addr_is_code(&elf, 0x1500));
    assert_false(elf_addr_is_code(&elf, 0x2000));
    elf_file_close(&elf);
}

static void split_sections_are_told(void **state)
{
    (void)state;
    struct elf_build build;
    struct elf_file elf;
    struct error err;
    elf_build_init(&build);
    put_text(elf_build_section(&build, ".debug_info.dwo", SHT_PROGBITS, 0, 0), "split");
    assert_true(open_built(&build, &elf, &err));
    expect_debug(&elf, DEBUG_INFO, "split");
    assert_true(elf.has_split_sections);
    elf_file_close(&elf);
}

/* --- compression ----------------------------------------------------------------------------- */

static const char content[] =
    "what is compressed, what is compressed, what is compressed, and more";

static struct bytes compressed(uint32_t algorithm, uint64_t size)
{
    struct bytes out = {0};
    uint8_t packed[512];
    size_t nr;
    put_uint(&out, algorithm, 4);
    put_uint(&out, 0, 4);
    put_uint(&out, size, 8);
    put_uint(&out, 1, 8);
    if (algorithm == 2) {
        nr = ZSTD_compress(packed, sizeof(packed), content, strlen(content), 3);
        assert_false(ZSTD_isError(nr));
    } else {
        uLongf length = sizeof(packed);
        assert_int_equal(compress(packed, &length, (const Bytef *)content, strlen(content)), Z_OK);
        nr = length;
    }
    put_bytes(&out, packed, nr);
    return out;
}

/* Opens a file whose .debug_info is these bytes; false where it could not be unpacked. */
static bool unpacks(struct bytes packed, const char *name, uint64_t flags)
{
    struct elf_build build;
    struct elf_file elf;
    struct error err;
    elf_build_init(&build);
    *elf_build_section(&build, name, SHT_PROGBITS, flags, 0) = packed;
    assert_true(open_built(&build, &elf, &err));
    bool ok = elf.debug[DEBUG_INFO].data != NULL;
    if (ok)
        expect_debug(&elf, DEBUG_INFO, content);
    else
        assert_non_null(elf.unread_debug);
    elf_file_close(&elf);
    return ok;
}

static void unpacks_zlib_and_zstd(void **state)
{
    (void)state;
    assert_true(unpacks(compressed(1, strlen(content)), ".debug_info", SHF_COMPRESSED));
    assert_true(unpacks(compressed(2, strlen(content)), ".debug_info", SHF_COMPRESSED));
}

static void unpacks_old_zdebug(void **state)
{
    (void)state;
    struct bytes old = {0}, new = compressed(1, strlen(content));
    put_bytes(&old, "ZLIB\0\0\0\0\0\0\0", 11);
    put_uint(&old, strlen(content), 1);
    put_bytes(&old, new.data + 24, new.nr - 24);
    bytes_free(&new);
    assert_true(unpacks(old, ".zdebug_info", 0));
}

static void refuses_wrong_compression(void **state)
{
    (void)state;
    for (uint32_t algorithm = 1; algorithm <= 2; algorithm++) {
        uint64_t right = strlen(content);
        const uint64_t sizes[] = {right + 1, right - 1, 0, UINT64_MAX, 1ull << 40, 1};
        for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
            assert_false(unpacks(compressed(algorithm, sizes[i]), ".debug_info", SHF_COMPRESSED));
        for (size_t cut = 0; cut < 40; cut += 3) {
            struct bytes packed = compressed(algorithm, right);
            packed.nr = cut;
            assert_false(unpacks(packed, ".debug_info", SHF_COMPRESSED) && cut);
        }
        struct bytes packed = compressed(algorithm, right);
        packed.data[26] ^= 0xff;
        assert_false(unpacks(packed, ".debug_info", SHF_COMPRESSED));
    }
    struct bytes unknown = compressed(1, strlen(content));
    set_uint(&unknown, 0, 77, 4);
    assert_false(unpacks(unknown, ".debug_info", SHF_COMPRESSED));
    struct bytes no_magic = {0};
    put_text(&no_magic, "ZLIX and what follows it");
    assert_false(unpacks(no_magic, ".zdebug_info", 0));
}

/* Names of sections may lie in a packed string table: what libelf unpacks, it frees. */
static void packed_section_names_are_no_trap(void **state)
{
    (void)state;
    struct elf_build build;
    struct elf_file elf;
    struct error err;
    elf_build_init(&build);
    put_text(elf_build_section(&build, ".debug_info", SHT_PROGBITS, 0, 0), "info");
    struct bytes file = elf_build_finish(&build);
    struct bytes names = {0};
    uint8_t packed[512];
    uLongf length = sizeof(packed);
    const struct bytes *plain = &build.sections[1].bytes;
    assert_int_equal(compress(packed, &length, plain->data, plain->nr), Z_OK);
    put_uint(&names, 1, 4);
    put_uint(&names, 0, 4);
    put_uint(&names, plain->nr, 8);
    put_uint(&names, 1, 8);
    put_bytes(&names, packed, length);
    uint64_t table;
    memcpy(&table, file.data + offsetof(Elf64_Ehdr, e_shoff), 8);
    size_t header = table + sizeof(Elf64_Shdr);
    set_uint(&file, header + offsetof(Elf64_Shdr, sh_offset), file.nr, 8);
    set_uint(&file, header + offsetof(Elf64_Shdr, sh_size), names.nr, 8);
    set_uint(&file, header + offsetof(Elf64_Shdr, sh_flags), SHF_COMPRESSED, 8);
    put_bytes(&file, names.data, names.nr);
    char *path = write_temporary(file.data, file.nr);
    if (elf_file_open(&elf, path, &err)) {
        for (uint32_t i = 0; i < elf.nr_sections; i++)
            assert_true(strlen(elf.sections[i].name) < 1000);
        elf_file_close(&elf);
    }
    unlink(path);
    free(path);
    bytes_free(&file);
    bytes_free(&names);
    elf_build_free(&build);
}

/* --- symbols, notes, relocations ------------------------------------------------------------- */

static void finds_symbols(void **state)
{
    (void)state;
    struct elf_build build;
    struct elf_file elf;
    struct error err;
    elf_build_init(&build);
    elf_build_symbol(&build, "late", STT_FUNC, 0x3000, 0x10);
    elf_build_symbol(&build, "early", STT_FUNC, 0x1000, 0x20);
    elf_build_symbol(&build, "data", STT_OBJECT, 0x1010, 8);
    elf_build_symbol(&build, "empty", STT_FUNC, 0x2000, 0);
    elf_build_symbol(&build, "section", STT_SECTION, 0x1000, 0);
    assert_true(open_built(&build, &elf, &err));
    assert_true(elf.has_symtab);
    elf_file_symbols(&elf);
    elf_file_symbols(&elf); /* once is enough */
    assert_int_equal(elf.nr_symbols, 4);
    for (uint32_t i = 1; i < elf.nr_symbols; i++)
        assert_true(elf.symbols[i - 1].addr <= elf.symbols[i].addr);
    assert_string_equal(elf_symbol_at(&elf, 0x1000)->name, "early");
    assert_string_equal(elf_symbol_at(&elf, 0x1018)->name, "early"); /* behind the object in it */
    assert_null(elf_symbol_at(&elf, 0x1020));
    assert_null(elf_symbol_at(&elf, 0xfff));
    assert_string_equal(elf_symbol_at(&elf, 0x2000)->name, "empty");
    assert_string_equal(elf_symbol_at(&elf, 0x300f)->name, "late");
    assert_null(elf_symbol_at(&elf, UINT64_MAX));
    elf_file_close(&elf);
}

static void symbol_names_must_end(void **state)
{
    (void)state;
    for (int damage = 0; damage < 3; damage++) {
        struct elf_build build;
        struct elf_file elf;
        struct error err;
        elf_build_init(&build);
        elf_build_symbol(&build, "name", STT_FUNC, 0x1000, 0x20);
        if (damage == 0)
            build.sections[2].bytes.nr--; /* without the last NUL */
        else if (damage == 1)
            build.sections[3].link = 77;
        else
            set_uint(&build.sections[3].bytes, sizeof(Elf64_Sym), 0xffffff, 4); /* st_name */
        assert_true(open_built(&build, &elf, &err));
        elf_file_symbols(&elf);
        assert_int_equal(elf.nr_symbols, 0);
        elf_file_close(&elf);
    }
}

static void reads_build_id_and_debuglink(void **state)
{
    (void)state;
    struct elf_build build;
    struct elf_file elf;
    struct error err;
    elf_build_init(&build);
    struct bytes *note = elf_build_section(&build, ".note.gnu.build-id", SHT_NOTE, SHF_ALLOC, 0);
    put_uint(note, 4, 4); /* another note first */
    put_uint(note, 3, 4);
    put_uint(note, 1, 4);
    put_bytes(note, "XYZ\0abc\0", 8);
    put_uint(note, 4, 4);
    put_uint(note, 8, 4);
    put_uint(note, NT_GNU_BUILD_ID, 4);
    put_bytes(note, "GNU\0\x01\x02\x03\x04\x05\x06\x07\x08", 12);
    struct bytes *link = elf_build_section(&build, ".gnu_debuglink", SHT_PROGBITS, 0, 0);
    put_bytes(link, "a.debug\0", 8);
    put_uint(link, 0x12345678, 4);
    assert_true(open_built(&build, &elf, &err));
    assert_int_equal(elf.build_id_bytes, 8);
    assert_memory_equal(elf.build_id, "\x01\x02\x03\x04\x05\x06\x07\x08", 8);
    assert_string_equal(elf.debuglink, "a.debug");
    assert_int_equal(elf.debuglink_crc, 0x12345678);
    elf_file_close(&elf);
}

static void wrong_notes_and_links_are_none(void **state)
{
    (void)state;
    static const char *const links[] = {"../../etc/x\0\x01\x02\x03\x04", "\0\0\0\0\x01\x02\x03\x04",
                                        "unended....."};
    for (size_t i = 0; i < 3; i++) {
        struct elf_build build;
        struct elf_file elf;
        struct error err;
        elf_build_init(&build);
        put_bytes(elf_build_section(&build, ".gnu_debuglink", SHT_PROGBITS, 0, 0), links[i],
                  i == 0   ? 16
                  : i == 1 ? 8
                           : 12);
        struct bytes *note = elf_build_section(&build, ".note", SHT_NOTE, 0, 0);
        put_uint(note, i == 0 ? UINT32_MAX : 4, 4);
        put_uint(note, i == 1 ? UINT32_MAX : 65, 4);
        put_uint(note, NT_GNU_BUILD_ID, 4);
        put_zeros(note, 100);
        memcpy(note->data + 12, "GNU", 3);
        assert_true(open_built(&build, &elf, &err));
        assert_null(elf.debuglink);
        assert_int_equal(elf.build_id_bytes, 0);
        elf_file_close(&elf);
    }
}

static void applies_relative_relocations(void **state)
{
    (void)state;
    struct elf_build build;
    struct elf_file elf;
    struct error err;
    struct arena arena;
    uint32_t nr;
    elf_build_init(&build);
    put_zeros(
        elf_build_section(&build, ".data.rel.ro", SHT_PROGBITS, SHF_ALLOC | SHF_WRITE, 0x2000), 80);
    struct bytes *rela = elf_build_section(&build, ".rela.dyn", SHT_RELA, SHF_ALLOC, 0);
    const Elf64_Rela rows[] = {
        {0x2008, ELF64_R_INFO(0, R_X86_64_RELATIVE), 0x1234},
        {0x2010, ELF64_R_INFO(1, R_X86_64_64), 0x999},       /* not relative */
        {0x204c, ELF64_R_INFO(0, R_X86_64_RELATIVE), 0x999}, /* not aligned */
        {0x2050, ELF64_R_INFO(0, R_X86_64_RELATIVE), 0x999}, /* behind the end */
        {UINT64_MAX - 7, ELF64_R_INFO(0, R_X86_64_RELATIVE), 1},
    };
    put_bytes(rela, rows, sizeof(rows));
    put_zeros(rela, 7); /* half a row */
    assert_true(open_built(&build, &elf, &err));
    arena_init(&arena);
    struct elf_words *words = elf_data_words(&elf, &arena, &nr);
    assert_int_equal(nr, 1);
    assert_int_equal(words[0].nr_words, 10);
    for (uint64_t i = 0; i < 10; i++)
        assert_int_equal(words[0].words[i], i == 1 ? 0x1234 : 0);
    arena_deinit(&arena);
    elf_file_close(&elf);
}

/* --- damage ---------------------------------------------------------------------------------- */

static struct bytes whole_file(void)
{
    struct elf_build build;
    elf_build_init(&build);
    elf_build_load(&build, 0x1000, 0x500, PF_X);
    elf_build_symbol(&build, "name", STT_FUNC, 0x1000, 0x20);
    put_zeros(elf_build_section(&build, ".debug_info", SHT_PROGBITS, 0, 0), 300);
    struct bytes file = elf_build_finish(&build);
    elf_build_free(&build);
    return file;
}

static void cut_files_are_refused(void **state)
{
    (void)state;
    struct bytes file = whole_file();
    struct error err;
    assert_true(open_bytes(&file, &err));
    for (size_t nr = 1; nr < file.nr; nr++) {
        struct bytes cut = {file.data, nr, nr};
        if (open_bytes(&cut, &err))
            fail_msg("%zu of %zu bytes were accepted", nr, file.nr);
    }
    bytes_free(&file);
}

static void wrong_headers_are_refused(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint64_t value;
        unsigned width;
        const char *words;
    } rows[] = {
        {0, 0, 1, "not an ELF"},
        {EI_CLASS, ELFCLASS32, 1, "32-bit"},
        {EI_DATA, ELFDATA2MSB, 1, "big-endian"},
        {offsetof(Elf64_Ehdr, e_shoff), UINT64_MAX, 8, "section header table"},
        {offsetof(Elf64_Ehdr, e_shoff), 1 << 20, 8, "section header table"},
        {offsetof(Elf64_Ehdr, e_shnum), 60000, 2, "section header table"},
    };
    struct bytes file = whole_file();
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct error err = {0};
        struct bytes copy = {0};
        put_bytes(&copy, file.data, file.nr);
        set_uint(&copy, rows[i].at, rows[i].value, rows[i].width);
        assert_false(open_bytes(&copy, &err));
        if (!strstr(err.message, rows[i].words))
            fail_msg("row %zu: %s", i, err.message);
        bytes_free(&copy);
    }
    bytes_free(&file);
}

static void sections_outside_are_refused(void **state)
{
    (void)state;
    struct bytes file = whole_file();
    uint64_t table;
    memcpy(&table, file.data + offsetof(Elf64_Ehdr, e_shoff), 8);
    for (int i = 1; i < 5; i++)
        for (int field = 0; field < 2; field++) {
            struct error err;
            struct bytes copy = {0};
            put_bytes(&copy, file.data, file.nr);
            set_uint(&copy,
                     table + (size_t)i * sizeof(Elf64_Shdr) +
                         (field ? offsetof(Elf64_Shdr, sh_size) : offsetof(Elf64_Shdr, sh_offset)),
                     UINT64_MAX - 3, 8);
            assert_false(open_bytes(&copy, &err));
            bytes_free(&copy);
        }
    bytes_free(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_sections_and_segments),
        cmocka_unit_test(split_sections_are_told),
        cmocka_unit_test(unpacks_zlib_and_zstd),
        cmocka_unit_test(unpacks_old_zdebug),
        cmocka_unit_test(refuses_wrong_compression),
        cmocka_unit_test(packed_section_names_are_no_trap),
        cmocka_unit_test(finds_symbols),
        cmocka_unit_test(symbol_names_must_end),
        cmocka_unit_test(reads_build_id_and_debuglink),
        cmocka_unit_test(wrong_notes_and_links_are_none),
        cmocka_unit_test(applies_relative_relocations),
        cmocka_unit_test(cut_files_are_refused),
        cmocka_unit_test(wrong_headers_are_refused),
        cmocka_unit_test(sections_outside_are_refused),
    };
    return cmocka_run_group_tests_name("elf_file", tests, NULL, NULL);
}
