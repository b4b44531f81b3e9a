/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Names of functions and where they are: of this program and its libc, against what the compiler and the
 * loader say; and of files that are none, or only a part of one.
 */
#include "unit.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "process/image_symbols.h"

int image_symbols_subject(int number);
int image_symbols_data = 3;
static struct target target; /* this process */

__attribute__((noinline)) int image_symbols_subject(int number)
{
    return number * image_symbols_data;
}

__attribute__((noinline)) static int local_subject(int number)
{
    __asm__ volatile("" : "+r"(number));
    return number + 1;
}

/* Which of several functions it is, is asked when the program is loaded. */
typedef int choice_fn(int number);
int image_symbols_choice(int number);
choice_fn *image_symbols_resolver(void);

__attribute__((no_sanitize("address", "undefined"))) choice_fn *image_symbols_resolver(void)
{
    return image_symbols_subject;
}

int image_symbols_choice(int number) __attribute__((ifunc("image_symbols_resolver")));

static int begin(void **state)
{
    struct error err;
    (void)state;
    if (target_open(&target, getpid(), &err))
        return 0;
    print_error("%s\n", err.message);
    return 1;
}

static int end(void **state)
{
    (void)state;
    target_close(&target);
    return 0;
}

static const struct target_image *image_called(const char *part)
{
    for (size_t i = 0; i < target.nr_images; i++)
        if (strstr(target.images[i].name, part))
            return &target.images[i];
    fail_msg("no image is called %s", part);
    return NULL;
}

/* --- what is found --------------------------------------------------------------------------- */

struct looking {
    const char *name;
    uint64_t wanted; /* 0: any */
    size_t nr, nr_wanted, nr_all;
    bool is_ifunc;
    uint64_t addr; /* of the last */
};

static void see(void *context, const char *name, uint64_t addr, bool is_ifunc)
{
    struct looking *looking = context;
    assert_true(name && *name);
    looking->nr_all++;
    if (strcmp(name, looking->name) != 0)
        return;
    looking->nr++;
    looking->nr_wanted += addr == looking->wanted;
    looking->is_ifunc = is_ifunc;
    looking->addr = addr;
}

static struct looking look(const struct target_image *image, const char *name, uint64_t wanted)
{
    struct looking looking = {.name = name, .wanted = wanted};
    image_symbols_visit(image, see, &looking);
    return looking;
}

static void test_own_functions(void **state)
{
    const struct target_image *image = &target.images[0];
    (void)state;
    assert_true(image->is_program);
    struct looking found = look(image, "image_symbols_subject", (uint64_t)&image_symbols_subject);
    assert_true(found.nr >= 1);
    assert_int_equal(found.nr_wanted, found.nr);
    assert_false(found.is_ifunc);
    assert_true(found.nr_all > 100);
    found = look(image, "local_subject", (uint64_t)&local_subject);
    assert_int_equal(found.nr, 1);
    assert_int_equal(found.nr_wanted, 1);
    assert_int_equal(image_symbols_subject(1) + local_subject(2), 6);
}

/* Data is no function; what another image defines is not this one's. */
static void test_what_is_left_out(void **state)
{
    (void)state;
    assert_int_equal(look(&target.images[0], "image_symbols_data", 0).nr, 0);
    assert_int_equal(look(&target.images[0], "dlopen", 0).nr, 0);
    assert_int_equal(look(&target.images[0], "getpagesize", 0).nr, 0);
}

static void test_libc(void **state)
{
    const struct target_image *libc = image_called("/libc.so.6");
    void *handle = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
    (void)state;
    assert_non_null(handle);
    static const char *const names[] = {"getpagesize", "lfind", "free", "strtol_l"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        struct looking found = look(libc, names[i], (uint64_t)dlsym(handle, names[i]));
        assert_true(found.nr_wanted >= 1);
        assert_false(found.is_ifunc);
    }
    dlclose(handle);
}

/* The loader asks the resolver which function it is on this processor. */
static void test_resolvers(void **state)
{
    const struct target_image *libc = image_called("/libc.so.6");
    void *handle = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
    (void)state;
    struct looking own =
        look(&target.images[0], "image_symbols_choice", (uint64_t)&image_symbols_resolver);
    assert_true(own.is_ifunc && own.nr_wanted >= 1 && own.nr_wanted == own.nr);
    assert_int_equal(image_symbols_choice(2), 2 * image_symbols_data);
    assert_non_null(handle);
    static const char *const names[] = {"memset", "strlen", "memchr"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        struct looking found = look(libc, names[i], 0);
        assert_true(found.nr >= 1);
        if (!found.is_ifunc) /* a libc without any */
            continue;
        void *(*resolver)(void) = (void *(*)(void))found.addr;
        assert_ptr_equal(resolver(), dlsym(handle, names[i]));
    }
    dlclose(handle);
}

/* --- files that are damaged ------------------------------------------------------------------ */

static void test_no_file(void **state)
{
    struct target_image image = target.images[0];
    (void)state;
    image.path = NULL;
    assert_int_equal(look(&image, "main", 0).nr_all, 0);
    static const char *const paths[] = {"/nowhere/at/all", "/proc/self/cmdline", "/", "/dev/null"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
        image.path = paths[i];
        assert_int_equal(look(&image, "main", 0).nr_all, 0);
    }
}

static void any(void *context, const char *name, uint64_t addr, bool is_ifunc)
{
    (void)addr;
    (void)is_ifunc;
    *(size_t *)context += strlen(name);
}

/* A part of a file, or one with wrong bytes: whatever is told, it ends. */
static void test_damaged_files(void **state)
{
    enum { NR_RUNS = 300, HEADER_BYTES = 64 };
    struct file file;
    struct error err;
    char path[64];
    uint64_t random = 5;
    size_t sum = 0;
    (void)state;
    struct target_image image = *image_called("/libc.so.6");
    assert_true(file_open(&file, image.path, &err));
    int fd = memfd_create("damaged", MFD_CLOEXEC);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    image.path = path;
    for (int i = 0; i < NR_RUNS; i++) {
        uint64_t size = i % 3 ? file.size_bytes : random_below(&random, file.size_bytes);
        assert_int_equal(pwrite(fd, file.bytes, size, 0), size);
        assert_int_equal(ftruncate(fd, (off_t)size), 0);
        for (int flip = 0; flip < 1 + i % 8; flip++) {
            /* Mostly in the headers: at the beginning, and of sections, at the end. */
            uint64_t at = random_below(&random, flip % 2 ? HEADER_BYTES : 4096);
            uint8_t byte = (uint8_t)random_next(&random);
            at = flip % 2 ? at : file.size_bytes - 1 - at;
            if (at < size)
                assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
        }
        image_symbols_visit(&image, any, &sum);
    }
    assert_true(sum > 0);
    close(fd);
    file_close(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_functions), cmocka_unit_test(test_what_is_left_out),
        cmocka_unit_test(test_libc),          cmocka_unit_test(test_resolvers),
        cmocka_unit_test(test_no_file),       cmocka_unit_test(test_damaged_files),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
