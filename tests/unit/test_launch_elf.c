/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Kinds of programs that cannot be built everywhere, as bytes: other machines, loaders, damaged files. */
#include "recorder/launch_elf.h"

#include <elf.h>
#include <stdio.h>
#include <unistd.h>

#include "unit.h"

struct image {
    Elf64_Ehdr header;
    Elf64_Phdr segments[2];
    char loader[64];
};

static struct image sample(const char *loader)
{
    struct image image = {
        .header = {.e_type = ET_DYN,
                   .e_machine = EM_X86_64,
                   .e_version = EV_CURRENT,
                   .e_phoff = sizeof(Elf64_Ehdr),
                   .e_ehsize = sizeof(Elf64_Ehdr),
                   .e_phentsize = sizeof(Elf64_Phdr),
                   .e_phnum = 2},
        .segments = {{.p_type = PT_LOAD, .p_filesz = sizeof(image)},
                     {.p_type = PT_INTERP, .p_offset = offsetof(struct image, loader)}},
    };
    memcpy(image.header.e_ident, ELFMAG, SELFMAG);
    image.header.e_ident[EI_CLASS] = ELFCLASS64;
    image.header.e_ident[EI_DATA] = ELFDATA2LSB;
    image.header.e_ident[EI_VERSION] = EV_CURRENT;
    snprintf(image.loader, sizeof(image.loader), "%s", loader);
    image.segments[1].p_filesz = strlen(loader) + 1;
    return image;
}

static enum launch_kind kind_of(const void *bytes, size_t size)
{
    char path[] = "/tmp/asyncmem-launch-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
    enum launch_kind kind = launch_elf_kind(path);
    close(fd);
    unlink(path);
    return kind;
}

static void test_loaders(void **state)
{
    (void)state;
    static const struct {
        const char *loader;
        enum launch_kind kind;
    } cases[] = {
        {"/lib64/ld-linux-x86-64.so.2", LAUNCH_FITS},
        {"/nix/store/x-glibc-2.38/lib/ld-linux-x86-64.so.2", LAUNCH_FITS},
        {"/lib/ld-musl-x86_64.so.1", LAUNCH_MUSL},
        {"/system/bin/linker64", LAUNCH_OTHER_LOADER},
        {"", LAUNCH_OTHER_LOADER},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct image image = sample(cases[i].loader);
        assert_int_equal(kind_of(&image, sizeof(image)), cases[i].kind);
    }
}

static void test_machines(void **state)
{
    (void)state;
    struct image image = sample("/lib64/ld-linux-x86-64.so.2");
    image.header.e_machine = EM_AARCH64;
    assert_int_equal(kind_of(&image, sizeof(image)), LAUNCH_OTHER_MACHINE);
    image = sample("/lib/ld-linux.so.2");
    image.header.e_ident[EI_CLASS] = ELFCLASS32;
    image.header.e_machine = EM_386;
    assert_int_equal(kind_of(&image, sizeof(image)), LAUNCH_OTHER_MACHINE);
}

static void test_no_loader(void **state)
{
    (void)state;
    struct image image = sample("");
    image.header.e_phnum = 1;
    assert_int_equal(kind_of(&image, sizeof(image)), LAUNCH_STATIC);
}

static void test_no_program(void **state)
{
    (void)state;
    assert_int_equal(kind_of("#!/bin/sh\n", 10), LAUNCH_NO_ELF);
    assert_int_equal(kind_of("", 0), LAUNCH_NO_ELF);
    assert_int_equal(launch_elf_kind("/nonexistent"), LAUNCH_UNREADABLE);
}

/* Any bytes: some answer. */
static void test_damaged(void **state)
{
    (void)state;
    uint64_t random = 11;
    for (int i = 0; i < 2000; i++) {
        struct image image = sample("/lib64/ld-linux-x86-64.so.2");
        for (int flips = 0; flips < 4; flips++)
            ((uint8_t *)&image)[random_below(&random, sizeof(image))] ^=
                (uint8_t)(1 << random_below(&random, 8));
        size_t size =
            random_below(&random, 2) ? sizeof(image) : random_below(&random, sizeof(image));
        assert_true(kind_of(&image, size) < NR_LAUNCH_KINDS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loaders),   cmocka_unit_test(test_machines),
        cmocka_unit_test(test_no_loader), cmocka_unit_test(test_no_program),
        cmocka_unit_test(test_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
