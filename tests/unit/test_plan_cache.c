/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "plan_sample.h"
#include "program/plan_cache.h"

static char folder[64];

static const char *below(const char *name)
{
    static char paths[4][512];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/asyncmem-cache-XXXXXX");
    if (!mkdtemp(folder) || !file_replace(below("program"), "a program", 9, NULL))
        return -1;
    return setenv("ASYNCMEM_CACHE_DIR", below("cache"), 1);
}

static void remove_all(const char *path)
{
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        char inside[1024];
        snprintf(inside, sizeof(inside), "%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.')
            remove_all(inside);
    }
    if (dir)
        closedir(dir);
    remove(path);
}

static int remove_folder(void **state)
{
    (void)state;
    remove_all(folder);
    return 0;
}

/* The cached file, of which there is one; "" where there is none. */
static const char *cached_file(void)
{
    static char path[600];
    DIR *dir = opendir(below("cache"));
    path[0] = 0;
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        if (entry->d_name[0] != '.')
            snprintf(path, sizeof(path), "%s/%s", below("cache"), entry->d_name);
    if (dir)
        closedir(dir);
    return path;
}

/* Stores a small plan for the program, made from it and `other` (may be NULL). */
static void store(const char *other)
{
    struct plan_request request = {.path = below("program"), .use_cache = true};
    struct plan_builder builder;
    const char *sources[] = {request.path, other};
    uint8_t key[16];
    uint64_t size;
    plan_builder_init(&builder);
    for (int i = 0; i < 2 && sources[i]; i++) {
        struct file_identity identity;
        assert_true(file_identity_get(sources[i], &identity));
        struct plan_source row = {.path = plan_builder_string(&builder, sources[i]),
                                  .size_bytes = identity.size_bytes,
                                  .modified_ns = identity.modified_ns,
                                  .inode = identity.inode};
        plan_builder_add(&builder, PLAN_SOURCES, &row);
    }
    assert_true(plan_cache_key(&request, key));
    uint8_t *bytes = plan_builder_finish(&builder, key, &size);
    plan_cache_store(&request, bytes, size);
    free(bytes);
    plan_builder_deinit(&builder);
}

static bool found(void)
{
    struct plan_request request = {.path = below("program"), .use_cache = true};
    struct loaded_plan loaded = {0};
    uint8_t key[16];
    if (!plan_cache_find(&loaded, &request, key))
        return false;
    assert_true(loaded.is_mapped);
    plan_unload(&loaded);
    return true;
}

static void what_is_stored_is_found(void **state)
{
    (void)state;
    assert_false(found());
    store(NULL);
    assert_true(found());
    struct stat st;
    assert_int_equal(stat(below("cache"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
}

static void changed_program_is_stale(void **state)
{
    (void)state;
    store(NULL);
    assert_true(found());
    const struct timespec times[] = {{1, 0}, {1, 0}};
    assert_int_equal(utimensat(AT_FDCWD, below("program"), times, 0), 0);
    assert_false(found());
    store(NULL);
    assert_true(found());
    assert_true(file_replace(below("program"), "a programm", 10, NULL));
    assert_false(found());
    store(NULL);
    unlink(below("program"));
    assert_false(found());
    assert_true(file_replace(below("program"), "a program", 9, NULL));
}

static void changed_source_is_stale(void **state)
{
    (void)state;
    assert_true(file_replace(below("debug"), "debug info", 10, NULL));
    store(below("debug"));
    assert_true(found());
    assert_true(file_replace(below("debug"), "debug xxxx", 10, NULL));
    assert_false(found());
    store(below("debug"));
    assert_true(found());
    unlink(below("debug"));
    assert_false(found());
}

static void symbols_have_plans_of_their_own(void **state)
{
    (void)state;
    store(NULL);
    assert_true(file_replace(below("rebuild"), "a rebuild", 9, NULL));
    struct plan_request request = {
        .path = below("program"), .symbols_path = below("rebuild"), .use_cache = true};
    struct loaded_plan loaded = {0};
    uint8_t key[16], other[16];
    assert_false(plan_cache_find(&loaded, &request, key));
    assert_true(plan_cache_key(&request, key));
    request.symbols_path = NULL;
    assert_true(plan_cache_key(&request, other));
    assert_memory_not_equal(key, other, 16);
    request.path = below("absent");
    assert_false(plan_cache_key(&request, key));
}

static void damaged_file_is_not_used(void **state)
{
    (void)state;
    store(NULL);
    struct file file;
    assert_true(file_open(&file, cached_file(), NULL));
    size_t size = file.size_bytes;
    uint8_t *whole = malloc(size), *copy = malloc(size);
    memcpy(whole, file.bytes, size);
    file_close(&file);
    for (size_t at = 0; at < size; at++) { /* each byte is under the checksum, the key or a check */
        memcpy(copy, whole, size);
        copy[at] ^= 1;
        assert_true(file_replace(cached_file(), copy, size, NULL));
        if (found())
            fail_msg("byte %zu of %zu changed and the plan was used", at, size);
    }
    for (size_t length = 1; length < size; length += 37) {
        assert_true(file_replace(cached_file(), whole, length, NULL));
        assert_false(found());
    }
    assert_int_equal(truncate(cached_file(), 0), 0);
    assert_false(found());
    assert_true(file_replace(cached_file(), whole, size, NULL));
    assert_true(found());
    free(whole);
    free(copy);
}

static void foreign_folders_are_not_used(void **state)
{
    (void)state;
    static const mode_t open_modes[] = {0777, 0770, 0702, 01777};
    store(NULL);
    for (size_t i = 0; i < sizeof(open_modes) / sizeof(*open_modes); i++) {
        assert_int_equal(chmod(below("cache"), open_modes[i]), 0);
        assert_false(found());
    }
    assert_int_equal(chmod(below("cache"), 0755), 0);
    assert_true(found());
    if (geteuid() == 0) {
        assert_int_equal(chown(below("cache"), 65534, 65534), 0);
        assert_false(found());
        assert_int_equal(chown(below("cache"), 0, 0), 0);
    }
    /* A link to a good folder is not the folder. */
    assert_int_equal(rename(below("cache"), below("moved")), 0);
    assert_int_equal(symlink(below("moved"), below("cache")), 0);
    assert_false(found());
    assert_int_equal(unlink(below("cache")), 0);
    assert_int_equal(rename(below("moved"), below("cache")), 0);
    assert_true(found());
}

static void folder_follows_the_environment(void **state)
{
    (void)state;
    unsetenv("ASYNCMEM_CACHE_DIR");
    setenv("XDG_CACHE_HOME", below("xdg"), 1);
    store(NULL);
    assert_true(found());
    assert_int_equal(access(below("xdg/asyncmem"), F_OK), 0);
    setenv("XDG_CACHE_HOME", "relative", 1);
    setenv("HOME", below("home"), 1);
    assert_false(found());
    store(NULL);
    assert_int_equal(access(below("home/.cache/asyncmem"), F_OK), 0);
    unsetenv("XDG_CACHE_HOME");
    unsetenv("HOME");
    assert_false(found());
    store(NULL); /* nowhere to put it: says nothing */
    setenv("ASYNCMEM_CACHE_DIR", below("cache"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_stored_is_found),
        cmocka_unit_test(changed_program_is_stale),
        cmocka_unit_test(changed_source_is_stale),
        cmocka_unit_test(symbols_have_plans_of_their_own),
        cmocka_unit_test(damaged_file_is_not_used),
        cmocka_unit_test(foreign_folders_are_not_used),
        cmocka_unit_test(folder_follows_the_environment),
    };
    return cmocka_run_group_tests_name("plan_cache", tests, make_folder, remove_folder);
}
