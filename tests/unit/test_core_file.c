/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Cores are made here byte by byte, right and wrong ones, of a made-up program; and one is made by
 * gcore of a real child, whose memory must read the same from both.
 */
#include "unit.h"

#include <elf.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/procfs.h>
#include <sys/stat.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "dwarf_build.h"
#include "process/images.h"
#include "process/proc.h"
#include "process/target.h"

enum { MAX_CORE_LOADS = 16, PAGE = 4096, ENTRY = 0x1040 };

static const uint64_t base = 0x555500000000, heap = 0x7f0000000000;

/* --- a program ----------------------------------------------------------------------------------- */

static void put_phdr(struct bytes *bytes, const Elf64_Phdr *phdr)
{
    put_bytes(bytes, phdr, sizeof(*phdr));
}

/* Headers, text, data, each a page; .bss behind.  `salt` tells one build from another. */
static struct bytes make_program(uint8_t salt, bool has_build_id)
{
    struct bytes bytes = {0};
    Elf64_Ehdr ehdr = {
        .e_ident = ELFMAG "\2\1\1",
        .e_type = ET_DYN,
        .e_machine = EM_X86_64,
        .e_version = 1,
        .e_entry = ENTRY,
        .e_phoff = sizeof(ehdr),
        .e_ehsize = sizeof(ehdr),
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = 4,
    };
    put_bytes(&bytes, &ehdr, sizeof(ehdr));
    put_phdr(&bytes, &(Elf64_Phdr){PT_LOAD, PF_R, 0, 0, 0, 0x1000, 0x1000, PAGE});
    put_phdr(&bytes, &(Elf64_Phdr){PT_LOAD, PF_R | PF_X, 0x1000, 0x1000, 0, 0x1000, 0x1000, PAGE});
    put_phdr(&bytes, &(Elf64_Phdr){PT_LOAD, PF_R | PF_W, 0x2000, 0x3000, 0, 0x1000, 0x2000, PAGE});
    put_phdr(&bytes,
             &(Elf64_Phdr){has_build_id ? PT_NOTE : PT_NULL, PF_R, 0x400, 0x400, 0, 20, 20, 4});
    put_zeros(&bytes, 0x400 - bytes.nr);
    put_uint(&bytes, 4, 4);
    put_uint(&bytes, 4, 4);
    put_uint(&bytes, NT_GNU_BUILD_ID, 4);
    put_bytes(&bytes, "GNU", 4);
    put_uint(&bytes, 0x11223300u + salt, 4);
    while (bytes.nr < 3 * PAGE)
        put_uint(&bytes, (uint8_t)(bytes.nr * 31 + bytes.nr / 256 + salt), 1);
    return bytes;
}

/* --- a core -------------------------------------------------------------------------------------- */

struct core_build {
    struct core_build_load {
        uint64_t addr, memory_bytes, dumped_bytes;
        uint32_t flags;
        uint8_t pattern;
    } loads[MAX_CORE_LOADS];
    unsigned nr_loads;
    struct bytes notes;
    struct bytes header; /* the program's first page as dumped */
    char *program;       /* path */
    bool many_headers;   /* PN_XNUM */
};

static void put_note(struct core_build *build, uint32_t type, const void *data, size_t size)
{
    put_uint(&build->notes, 5, 4);
    put_uint(&build->notes, size, 4);
    put_uint(&build->notes, type, 4);
    put_bytes(&build->notes, "CORE\0\0\0", 8);
    put_bytes(&build->notes, data, size);
    put_zeros(&build->notes, (4 - size % 4) % 4);
}

static void put_thread(struct core_build *build, int tid, uint64_t salt)
{
    struct elf_prstatus status = {.pr_pid = tid};
    struct user_regs_struct regs = {.rip = base + ENTRY + salt,
                                    .rsp = heap + salt,
                                    .rbp = heap + 16 + salt,
                                    .fs_base = 77 + salt};
    memcpy(&status.pr_reg, &regs, sizeof(regs));
    put_note(build, NT_PRSTATUS, &status, sizeof(status));
}

/* The text is mapped from page `text_page` of the file on. */
static void put_files(struct core_build *build, const char *path, uint64_t text_page)
{
    struct bytes note = {0};
    put_uint(&note, 3, 8);
    put_uint(&note, PAGE, 8);
    static const uint64_t starts[] = {0, 0x1000, 0x3000};
    for (unsigned i = 0; i < 3; i++) {
        put_uint(&note, base + starts[i], 8);
        put_uint(&note, base + starts[i] + PAGE, 8);
        put_uint(&note, i == 1 ? text_page : i, 8);
    }
    for (unsigned i = 0; i < 3; i++)
        put_str(&note, path);
    put_note(build, NT_FILE, note.data, note.nr);
    bytes_free(&note);
}

/* As the kernel writes one: the text was left out, the data was dumped. */
static void core_build_init(struct core_build *build, bool has_build_id)
{
    *build = (struct core_build){.header = make_program(0, has_build_id), .nr_loads = 5};
    build->program = write_temporary(build->header.data, build->header.nr);
    struct core_build_load loads[] = {
        {base, PAGE, PAGE, PF_R, 0},
        {base + 0x1000, PAGE, 0, PF_R | PF_X, 0},
        {base + 0x3000, PAGE, PAGE, PF_R | PF_W, 3},
        {base + 0x4000, PAGE, PAGE, PF_R | PF_W, 4},
        {heap, 2 * PAGE, 2 * PAGE, PF_R | PF_W, 5},
    };
    memcpy(build->loads, loads, sizeof(loads));
    struct elf_prpsinfo info = {.pr_pid = 4711, .pr_fname = "short-name"};
    uint64_t auxv[] = {AT_PAGESZ, PAGE, AT_ENTRY, base + ENTRY, AT_NULL, 0};
    put_thread(build, 4712, 0);
    put_note(build, NT_PRPSINFO, &info, sizeof(info));
    put_note(build, NT_AUXV, auxv, sizeof(auxv));
    put_files(build, build->program, 1);
    put_thread(build, 4711, 1000);
}

static void core_build_free(struct core_build *build)
{
    unlink(build->program);
    free(build->program);
    bytes_free(&build->notes);
    bytes_free(&build->header);
}

static uint8_t pattern_at(const struct core_build_load *load, uint64_t at)
{
    return (uint8_t)(at * 13 + at / 256 + load->pattern);
}

static struct bytes core_build_bytes(const struct core_build *build)
{
    struct bytes bytes = {0};
    unsigned nr = build->nr_loads + 1;
    Elf64_Ehdr ehdr = {
        .e_ident = ELFMAG "\2\1\1",
        .e_type = ET_CORE,
        .e_machine = EM_X86_64,
        .e_version = 1,
        .e_phoff = sizeof(ehdr) + sizeof(Elf64_Shdr),
        .e_shoff = sizeof(ehdr),
        .e_ehsize = sizeof(ehdr),
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = (uint16_t)(build->many_headers ? PN_XNUM : nr),
    };
    Elf64_Shdr section = {.sh_info = nr};
    put_bytes(&bytes, &ehdr, sizeof(ehdr));
    put_bytes(&bytes, &section, sizeof(section));
    uint64_t at = bytes.nr + nr * sizeof(Elf64_Phdr);
    put_phdr(&bytes, &(Elf64_Phdr){PT_NOTE, PF_R, at, 0, 0, build->notes.nr, 0, 4});
    at += build->notes.nr;
    for (unsigned i = 0; i < build->nr_loads; i++) {
        const struct core_build_load *load = &build->loads[i];
        put_phdr(&bytes, &(Elf64_Phdr){PT_LOAD, load->flags, at, load->addr, 0, load->dumped_bytes,
                                       load->memory_bytes, PAGE});
        at += load->dumped_bytes;
    }
    put_bytes(&bytes, build->notes.data, build->notes.nr);
    for (unsigned i = 0; i < build->nr_loads; i++) {
        const struct core_build_load *load = &build->loads[i];
        if (!load->pattern)
            put_bytes(&bytes, build->header.data, load->dumped_bytes);
        for (uint64_t k = 0; load->pattern && k < load->dumped_bytes; k++)
            put_uint(&bytes, pattern_at(load, k), 1);
    }
    return bytes;
}

static bool open_bytes(const void *data, size_t size, const char *exe, struct target *target,
                       struct error *err)
{
    char *path = write_temporary(data, size);
    *err = (struct error){0};
    bool ok = target_open_core(target, path, exe, err);
    if (!ok) {
        assert_int_equal(err->code, ERROR_INPUT);
        assert_null(strchr(err->message, '\n'));
        assert_true(strstr(err->message, path) || (exe && strstr(err->message, exe)));
    }
    unlink(path);
    free(path);
    return ok;
}

static void open_core(const struct core_build *build, const char *exe, struct target *target)
{
    struct error err;
    struct bytes bytes = core_build_bytes(build);
    if (!open_bytes(bytes.data, bytes.nr, exe, target, &err))
        fail_msg("%s", err.message);
    bytes_free(&bytes);
}

static void expect_error(const void *data, size_t size, const char *exe, const char *part)
{
    struct target target;
    struct error err;
    assert_false(open_bytes(data, size, exe, &target, &err));
    if (!strstr(err.message, part))
        fail_msg("no \"%s\" in: %s", part, err.message);
    target_close(&target);
}

static void expect_build_error(const struct core_build *build, const char *exe, const char *part)
{
    struct bytes bytes = core_build_bytes(build);
    expect_error(bytes.data, bytes.nr, exe, part);
    bytes_free(&bytes);
}

/* All of the made-up process, from core and file. */
static void expect_content(const struct core_build *build, const struct target *target)
{
    static uint8_t buffer[4 * PAGE];
    assert_int_equal(target_read(target, base, buffer, sizeof(buffer)), 2 * PAGE);
    assert_memory_equal(buffer, build->header.data, 2 * PAGE);
    assert_int_equal(target_read(target, base + 0x1ffd, buffer, 8), 3);
    assert_int_equal(target_read(target, base + 0x2000, buffer, 8), 0);
    assert_int_equal(target_read(target, base + 0x3000, buffer, sizeof(buffer)), 2 * PAGE);
    for (size_t i = 0; i < 2 * PAGE; i++)
        assert_int_equal(buffer[i], pattern_at(&build->loads[i < PAGE ? 2 : 3], i % PAGE));
    assert_int_equal(target_read(target, heap + 100, buffer, 8000), 8000);
    for (size_t i = 0; i < 8000; i++)
        assert_int_equal(buffer[i], pattern_at(&build->loads[4], i + 100));
}

/* --- right ones ---------------------------------------------------------------------------------- */

static void reads_a_core(void **state)
{
    (void)state;
    struct core_build build;
    struct target target;
    struct error err;
    core_build_init(&build, true);
    open_core(&build, NULL, &target);
    expect_content(&build, &target);
    assert_true(target.is_core);
    assert_false(target.is_truncated);
    assert_int_equal(target.pid, 4711);
    assert_string_equal(target.name, build.program);
    assert_int_equal(target.entry, base + ENTRY);
    assert_true(target.taken_at_ns > 0);
    assert_int_equal(target.nr_threads, 2);
    assert_int_equal(target.threads[0].tid, 4712);
    assert_true(target.threads[0].stopped);
    assert_int_equal(target.threads[0].pc, base + ENTRY);
    assert_int_equal(target.threads[1].stack_pointer, heap + 1000);
    assert_int_equal(target.threads[1].frame_pointer, heap + 1016);
    assert_int_equal(target.threads[1].thread_pointer, 1077);
    assert_int_equal(target.nr_images, 1);
    assert_string_equal(target.images[0].path, build.program);
    assert_true(target.images[0].is_program);
    assert_int_equal(target.images[0].bias, base);
    assert_int_equal(target.images[0].start, base);
    assert_int_equal(target.images[0].end, base + 0x5000);
    assert_ptr_equal(target_image_at(&target, base + 0x4fff), &target.images[0]);
    assert_null(target_image_at(&target, base + 0x5000));
    const struct mapping *text = target_mapping_at(&target, base + 0x1000);
    assert_true(text->executable && text->readable && !text->writable);
    assert_int_equal(text->offset, 0x1000);
    assert_string_equal(text->path, build.program);
    assert_string_equal(target_mapping_at(&target, heap)->path, "");
    assert_true(target_mapping_at(&target, heap)->writable);
    uint8_t a[8], b[8];
    struct target_range ranges[] = {{heap, 8, a}, {8, 8, a}, {base + 0x1000, 8, b}};
    target_read_many(&target, ranges, 3);
    assert_int_equal(ranges[0].size_bytes, 8);
    assert_int_equal(ranges[1].size_bytes, 0);
    assert_int_equal(ranges[2].size_bytes, 8);
    assert_memory_equal(b, build.header.data + 0x1000, 8);
    assert_true(target_stop(&target, 1, &err));
    assert_int_equal(target_resume(&target), 0);
    assert_true(target_read_mappings(&target, &err));
    target_close(&target);
    target_close(&target);
    core_build_free(&build);
}

/* gcore writes no PT_LOAD at all for what it leaves out. */
static void reads_what_has_no_load(void **state)
{
    (void)state;
    struct core_build build;
    struct target target;
    core_build_init(&build, true);
    struct core_build_load kept[] = {build.loads[2], build.loads[3], build.loads[4]};
    struct core_build without = build;
    memcpy(without.loads, kept, sizeof(kept));
    without.nr_loads = 3;
    open_core(&without, NULL, &target);
    expect_content(&build, &target);
    assert_int_equal(target.nr_images, 1);
    assert_int_equal(target.images[0].bias, base);
    assert_true(target.images[0].is_program);
    assert_true(target_mapping_at(&target, base + 0x1000)->executable);
    assert_false(target_mapping_at(&target, base)->executable);
    target_close(&target);
    open_core(&without, build.program, &target);
    expect_content(&build, &target);
    assert_true(target_mapping_at(&target, base + 0x1000)->executable);
    assert_false(target_mapping_at(&target, base)->executable);
    target_close(&target);
    core_build_free(&build);
}

/* The text begins in the file's first page, which is so mapped twice; no rights are known. */
static void tells_mappings_of_one_page_apart(void **state)
{
    (void)state;
    struct core_build build;
    struct target target;
    struct error err;
    core_build_init(&build, true);
    size_t text = sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr);
    set_uint(&build.header, text + offsetof(Elf64_Phdr, p_offset), 0x800, 8);
    set_uint(&build.header, text + offsetof(Elf64_Phdr, p_vaddr), 0x1800, 8);
    set_uint(&build.header, text + offsetof(Elf64_Phdr, p_filesz), 0x800, 8);
    set_uint(&build.header, text + offsetof(Elf64_Phdr, p_memsz), 0x800, 8);
    assert_true(file_replace(build.program, build.header.data, build.header.nr, &err));
    build.notes.nr = 0;
    put_files(&build, build.program, 0);
    memmove(build.loads, build.loads + 2, 3 * sizeof(*build.loads));
    build.nr_loads = 3;
    for (int i = 0; i < 2; i++) {
        open_core(&build, i ? build.program : NULL, &target);
        assert_int_equal(target.nr_images, 1);
        assert_int_equal(target.images[0].bias, base);
        assert_false(target_mapping_at(&target, base)->executable);
        assert_true(target_mapping_at(&target, base + 0x1000)->executable);
        target_close(&target);
    }
    core_build_free(&build);
}

static void reads_more_headers_than_fit(void **state)
{
    (void)state;
    struct core_build build;
    struct target target;
    core_build_init(&build, true);
    build.many_headers = true;
    open_core(&build, NULL, &target);
    expect_content(&build, &target);
    target_close(&target);
    core_build_free(&build);
}

static char *write_program(uint8_t salt, bool has_build_id)
{
    struct bytes bytes = make_program(salt, has_build_id);
    char *path = write_temporary(bytes.data, bytes.nr);
    bytes_free(&bytes);
    return path;
}

static void takes_the_program_from_elsewhere(void **state)
{
    (void)state;
    for (int has_build_id = 0; has_build_id < 2; has_build_id++) {
        struct core_build build;
        struct target target;
        core_build_init(&build, has_build_id);
        unlink(build.program);
        open_core(&build, NULL, &target); /* the program is gone: told, and its text is unknown */
        assert_int_equal(target.nr_images, 1);
        assert_null(target.images[0].path);
        assert_non_null(strstr(target.images[0].problem, "--exe"));
        assert_true(target.images[0].is_program);
        assert_int_equal(target.images[0].bias, base);
        uint8_t byte;
        assert_int_equal(target_read(&target, base + 0x1000, &byte, 1), 0);
        target_close(&target);
        char *exe = write_program(0, has_build_id);
        open_core(&build, exe, &target);
        expect_content(&build, &target);
        assert_int_equal(target.nr_images, 1);
        assert_string_equal(target.images[0].path, exe);
        assert_string_equal(target.images[0].name, build.program);
        target_close(&target);
        unlink(exe);
        free(exe);
        core_build_free(&build);
    }
}

static void does_not_believe_another_file(void **state)
{
    (void)state;
    struct core_build build;
    struct target target;
    uint8_t byte;
    core_build_init(&build, true);
    struct bytes other = make_program(1, true);
    struct error err;
    assert_true(file_replace(build.program, other.data, other.nr, &err));
    open_core(&build, NULL, &target);
    assert_null(target.images[0].path);
    assert_non_null(strstr(target.images[0].problem, "is not the file that ran"));
    assert_int_equal(target_read(&target, base + 0x1000, &byte, 1), 0);
    target_close(&target);
    bytes_free(&other);

    char *exe = write_program(1, true);
    expect_build_error(&build, exe, "build id 01332211 instead of 00332211");
    set_uint(&build.header, 0x400 + 16, 1, 1); /* now that is what ran */
    open_core(&build, exe, &target);
    target_close(&target);
    unlink(exe);
    free(exe);

    struct bytes moved = make_program(0, false);
    set_uint(&moved, offsetof(Elf64_Ehdr, e_entry), ENTRY + 16, 8);
    exe = write_temporary(moved.data, moved.nr);
    expect_build_error(&build, exe, "entry point and segments fit no mapping");
    unlink(exe);
    free(exe);
    bytes_free(&moved);
    exe = write_temporary("#!/bin/sh", 9);
    expect_build_error(&build, exe, "is not a 64-bit x86-64 ELF program");
    unlink(exe);
    expect_build_error(&build, exe, "No such file");
    free(exe);
    core_build_free(&build);
}

/* --- wrong ones ---------------------------------------------------------------------------------- */

static void expect_changed(const struct core_build *build, size_t at, uint64_t value,
                           unsigned width, const char *part)
{
    struct bytes bytes = core_build_bytes(build);
    set_uint(&bytes, at, value, width);
    expect_error(bytes.data, bytes.nr, NULL, part);
    bytes_free(&bytes);
}

static void tells_what_is_no_core(void **state)
{
    (void)state;
    struct core_build build;
    core_build_init(&build, true);
    expect_error("", 0, NULL, "is empty");
    expect_error("hello world", 11, NULL, "is not an ELF file");
    expect_error("\x28\xb5\x2f\xfd rest", 9, NULL, "compressed by zstd");
    expect_error("\x1f\x8b rest", 7, NULL, "compressed by gzip");
    expect_error("\177ELF\2\1", 6, NULL, "truncated");
    expect_error(build.header.data, build.header.nr, NULL, "is an ELF file but no core");
    expect_changed(&build, EI_CLASS, ELFCLASS32, 1, "32-bit");
    expect_changed(&build, EI_DATA, ELFDATA2MSB, 1, "big-endian");
    expect_changed(&build, offsetof(Elf64_Ehdr, e_machine), EM_AARCH64, 2, "another machine");
    expect_changed(&build, offsetof(Elf64_Ehdr, e_phentsize), 32, 2, "corrupt");
    expect_changed(&build, offsetof(Elf64_Ehdr, e_phoff), 1ull << 40, 8, "program header table");
    expect_changed(&build, offsetof(Elf64_Ehdr, e_phnum), 60000, 2, "program header table");
    build.many_headers = true;
    expect_changed(&build, offsetof(Elf64_Ehdr, e_shoff), 1ull << 40, 8, "section header");
    expect_changed(&build, sizeof(Elf64_Ehdr) + offsetof(Elf64_Shdr, sh_info), 0xffffffff, 4,
                   "program header table");
    build.many_headers = false;
    for (unsigned i = 0; i < build.nr_loads; i++)
        build.loads[i].dumped_bytes = 0;
    expect_build_error(&build, NULL, "coredump_filter");
    build.nr_loads = 0;
    expect_build_error(&build, NULL, "holds no memory");
    core_build_free(&build);
}

/* What is there reads as before; what is not does not read at all. */
static void keeps_what_a_truncated_core_has(void **state)
{
    (void)state;
    struct core_build build;
    struct target whole, cut;
    struct error err;
    static uint8_t was[0x5000], is[0x5000];
    core_build_init(&build, true);
    struct bytes bytes = core_build_bytes(&build);
    open_core(&build, NULL, &whole);
    unsigned nr_opened = 0;
    for (size_t size = 64; size < bytes.nr; size += 64) {
        if (!open_bytes(bytes.data, size, NULL, &cut, &err)) {
            assert_non_null(strstr(err.message, "truncated"));
            continue;
        }
        nr_opened++;
        assert_true(cut.is_truncated);
        for (size_t i = 0; i < 3; i++) {
            uint64_t at = (uint64_t[]){base, base + 0x3000, heap}[i];
            size_t nr_was = target_read(&whole, at, was, sizeof(was));
            size_t nr_is = target_read(&cut, at, is, sizeof(is));
            assert_true(nr_is <= nr_was);
            assert_memory_equal(was, is, nr_is);
        }
        assert_int_equal(cut.nr_threads, 2); /* the notes lie before the memory */
        size_t heap_there = size + 2 * PAGE > bytes.nr ? size + 2 * PAGE - bytes.nr : 0;
        assert_int_equal(target_read(&cut, heap, is, sizeof(is)), heap_there);
        target_close(&cut);
    }
    assert_true(nr_opened > 200); /* a core without writable memory is none */
    target_close(&whole);
    bytes_free(&bytes);
    core_build_free(&build);
}

/* Loads that overlap, wrap or lie outside; the table stays sorted and in bounds. */
static void survives_hostile_loads(void **state)
{
    (void)state;
    struct core_build build;
    struct target target;
    core_build_init(&build, true);
    build.loads[build.nr_loads++] =
        (struct core_build_load){heap + PAGE, 4 * PAGE, PAGE, PF_R, 6}; /* overlaps the heap */
    build.loads[build.nr_loads++] = (struct core_build_load){UINT64_MAX - 10, PAGE, 0, PF_R, 7};
    build.loads[build.nr_loads++] = (struct core_build_load){16, 8, PAGE, PF_R, 8};
    open_core(&build, NULL, &target);
    expect_content(&build, &target);
    for (size_t i = 1; i < target.nr_segments; i++)
        assert_true(target.segments[i].addr >=
                    target.segments[i - 1].addr + target.segments[i - 1].size_bytes);
    for (size_t i = 1; i < target.nr_mappings; i++)
        assert_true(target.mappings[i].start >= target.mappings[i - 1].end);
    target_close(&target);
    core_build_free(&build);
}

/* Bytes of the headers and notes, of core and program, replaced at random. */
static void survives_changed_bytes(void **state)
{
    (void)state;
    struct core_build build;
    static uint8_t page[PAGE];
    uint64_t random = 42;
    core_build_init(&build, true);
    struct bytes good = core_build_bytes(&build);
    size_t headers = good.nr - 5 * PAGE + 0x410;
    unsigned nr_opened = 0;
    for (int round = 0; round < 4000; round++) {
        struct bytes bytes = {0};
        struct target target;
        struct error err;
        put_bytes(&bytes, good.data, good.nr);
        for (uint64_t i = random_below(&random, 4) + 1; i; i--) {
            static const uint64_t values[] = {0,      1,          0xff,      0x7f,
                                              0xffff, UINT64_MAX, INT64_MAX, 0x1000};
            unsigned width = 1u << random_below(&random, 4);
            size_t at = random_below(&random, headers - 8);
            set_uint(&bytes, at, values[random_below(&random, 8)], width);
        }
        if (open_bytes(bytes.data, bytes.nr, round % 3 ? NULL : build.program, &target, &err)) {
            nr_opened++;
            for (size_t i = 0; i < target.nr_mappings; i++) {
                target_read(&target, target.mappings[i].start, page, sizeof(page));
                target_image_at(&target, target.mappings[i].start);
            }
            target_close(&target);
        }
        bytes_free(&bytes);
    }
    assert_true(nr_opened > 1000);
    bytes_free(&good);
    core_build_free(&build);
}

static void places_segments_that_share_a_page(void **state)
{
    (void)state;
    struct image_layout layout = {
        .nr_loads = 2,
        .loads = {{0x0, 0x0, 0x1234, 0x1234, true}, {0x3234, 0x1234, 0x1000, 0x1000, true}},
    };
    uint64_t bias;
    assert_true(
        image_layout_bias(&layout, &(struct mapping){.start = 0x10000, .offset = 0}, &bias));
    assert_int_equal(bias, 0x10000);
    assert_true(
        image_layout_bias(&layout, &(struct mapping){.start = 0x13000, .offset = 0x1000}, &bias));
    assert_int_equal(bias, 0x10000);
    assert_true(
        image_layout_bias(&layout, &(struct mapping){.start = 0x14000, .offset = 0x2000}, &bias));
    assert_int_equal(bias, 0x10000);
    assert_false(
        image_layout_bias(&layout, &(struct mapping){.start = 0x10000, .offset = 0x3000}, &bias));
    layout.loads[0].executable = false;
    assert_false(
        image_layout_bias(&layout, &(struct mapping){.start = 0x10000, .offset = 0}, &bias));
}

/* --- a real one ---------------------------------------------------------------------------------- */

static uint64_t known_words[1000];
static volatile uint64_t *ready;

static void *wait_for_ever(void *context)
{
    ++*ready;
    for (;;)
        pause();
    return context;
}

static pid_t start_child(void)
{
    ready = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        pthread_t thread;
        /* On one processor: the kernel writes its number into each thread's rseq area. */
        cpu_set_t cpus;
        CPU_ZERO(&cpus);
        CPU_SET(sched_getcpu(), &cpus);
        sched_setaffinity(0, sizeof(cpus), &cpus);
        for (size_t i = 0; i < 1000; i++)
            known_words[i] = i * i;
        for (int i = 0; i < 3; i++)
            pthread_create(&thread, NULL, wait_for_ever, malloc(5000));
        wait_for_ever(NULL);
    }
    for (int i = 0; i < 5000 && *ready < 4; i++)
        usleep(1000);
    usleep(20000); /* into pause() */
    return pid;
}

/* Not of a child with AddressSanitizer: its terabytes of shadow take gcore minutes. */
static bool make_core(pid_t pid, const char *prefix)
{
#ifdef __SANITIZE_ADDRESS__
    (void)pid, (void)prefix;
    return false;
#else
    char command[256];
    snprintf(command, sizeof(command), "timeout 60 gcore -o %s %d >/dev/null 2>&1", prefix,
             (int)pid);
    return system("command -v gcore >/dev/null") == 0 && system(command) == 0;
#endif
}

/* What both read is equal; private memory and images are in the core or its files whole. */
static void expect_equal(const struct target *live, const struct target *core)
{
    size_t compared = 0;
    for (size_t i = 0; i < live->nr_mappings; i++) {
        const struct mapping *m = &live->mappings[i];
        if (!m->readable || m->is_device || m->start > INT64_MAX || m->end - m->start > 64u << 20)
            continue;
        size_t size = (size_t)(m->end - m->start);
        uint8_t *a = malloc(size), *b = malloc(size);
        size_t nr_live = target_read(live, m->start, a, size);
        size_t nr_core = target_read(core, m->start, b, size);
        if ((!m->inode && !m->is_shared) || target_image_at(live, m->start))
            assert_int_equal(nr_core, nr_live);
        assert_memory_equal(a, b, nr_core < nr_live ? nr_core : nr_live);
        compared += nr_core;
        free(a);
        free(b);
    }
    assert_true(compared > 1000000);
}

static void expect_same_images(const struct target *live, const struct target *core)
{
    assert_int_equal(core->nr_images, live->nr_images);
    for (size_t i = 0; i < live->nr_images; i++) {
        assert_string_equal(core->images[i].name, live->images[i].name);
        assert_string_equal(core->images[i].path, live->images[i].path);
        assert_int_equal(core->images[i].bias, live->images[i].bias);
        assert_int_equal(core->images[i].start, live->images[i].start);
        assert_int_equal(core->images[i].end, live->images[i].end);
        assert_int_equal(core->images[i].is_program, live->images[i].is_program);
    }
}

static void reads_a_core_like_the_process(void **state)
{
    (void)state;
    struct target live, core;
    struct error err = {0};
    char prefix[64], path[128];
    pid_t pid = start_child();
    snprintf(prefix, sizeof(prefix), "/tmp/asyncmem-core-%d", (int)getpid());
    snprintf(path, sizeof(path), "%s.%d", prefix, (int)pid);
    if (!make_core(pid, prefix)) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        skip();
    }
    assert_true(target_open(&live, pid, &err) && target_stop(&live, 1000, &err));
    bool ok = target_open_core(&core, path, NULL, &err);
    if (!ok)
        fail_msg("%s", err.message);
    assert_int_equal(core.pid, pid);
    assert_string_equal(core.name, live.name);
    expect_same_images(&live, &core);
    expect_equal(&live, &core);
    uint64_t word = 0;
    assert_int_equal(target_read(&core, (uintptr_t)&known_words[999], &word, 8), 8);
    assert_int_equal(word, 999 * 999);
    assert_int_equal(core.nr_threads, live.nr_threads);
    for (size_t i = 0; i < core.nr_threads; i++)
        for (size_t k = 0; k < live.nr_threads; k++)
            if (core.threads[i].tid == live.threads[k].tid) {
                assert_int_equal(core.threads[i].pc, live.threads[k].pc);
                assert_int_equal(core.threads[i].stack_pointer, live.threads[k].stack_pointer);
                assert_int_equal(core.threads[i].thread_pointer, live.threads[k].thread_pointer);
            }
    target_close(&core);
    assert_true(target_open_core(&core, path, "/proc/self/exe", &err));
    assert_string_equal(core.images[0].path, "/proc/self/exe");
    expect_equal(&live, &core);
    target_close(&core);
    assert_false(target_open_core(&core, path, "/bin/true", &err));
    assert_non_null(strstr(err.message, "/bin/true: is not the program of"));
    target_close(&live);
    unlink(path);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_a_core),
        cmocka_unit_test(reads_what_has_no_load),
        cmocka_unit_test(tells_mappings_of_one_page_apart),
        cmocka_unit_test(reads_more_headers_than_fit),
        cmocka_unit_test(takes_the_program_from_elsewhere),
        cmocka_unit_test(does_not_believe_another_file),
        cmocka_unit_test(tells_what_is_no_core),
        cmocka_unit_test(keeps_what_a_truncated_core_has),
        cmocka_unit_test(survives_hostile_loads),
        cmocka_unit_test(survives_changed_bytes),
        cmocka_unit_test(places_segments_that_share_a_page),
        cmocka_unit_test(reads_a_core_like_the_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
