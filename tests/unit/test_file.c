/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

static char folder[64];

static const char *below(const char *name)
{
    static char path[512];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/asyncmem-file-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        if (entry->d_name[0] != '.')
            remove(below(entry->d_name));
    closedir(dir);
    return rmdir(folder);
}

static unsigned nr_files(void)
{
    unsigned nr = 0;
    DIR *dir = opendir(folder);
    for (struct dirent *entry; (entry = readdir(dir));)
        nr += entry->d_name[0] != '.';
    closedir(dir);
    return nr;
}

static void expect_error(const char *path, const char *part)
{
    struct file file;
    struct error err = {0};
    assert_false(file_open(&file, path, &err));
    assert_int_equal(err.code, ERROR_INPUT);
    assert_non_null(strstr(err.message, part));
    assert_ptr_equal(strstr(err.message, path), err.message);
    assert_null(file.bytes);
    file_close(&file);
}

static void maps_what_was_written(void **state)
{
    (void)state;
    struct file file;
    struct error err;
    assert_true(file_replace(below("plain"), "content", 7, &err));
    assert_true(file_open(&file, below("plain"), &err));
    assert_int_equal(file.size_bytes, 7);
    assert_memory_equal(file.bytes, "content", 7);
    struct file_identity identity;
    assert_true(file_identity_get(below("plain"), &identity));
    assert_memory_equal(&identity, &file.identity, sizeof(identity));
    file_close(&file);
    file_close(&file);
}

static void tells_what_is_no_file(void **state)
{
    (void)state;
    expect_error(below("absent"), "No such file");
    expect_error(folder, "is a directory");
    expect_error("/dev/null", "not a regular file");
    FILE *empty = fopen(below("empty"), "w");
    fclose(empty);
    expect_error(below("empty"), "empty");
    /* A fifo that nobody writes must not make us wait. */
    assert_int_equal(mkfifo(below("fifo"), 0600), 0);
    alarm(5);
    expect_error(below("fifo"), "not a regular file");
    alarm(0);
    struct file_identity identity;
    assert_false(file_identity_get(below("absent"), &identity));
    assert_false(file_identity_get(folder, &identity));
}

static void replaces_whole_files(void **state)
{
    (void)state;
    struct file old, new;
    struct stat st;
    assert_true(file_replace(below("replaced"), "the old one", 11, NULL));
    assert_true(file_open(&old, below("replaced"), NULL));
    unsigned before = nr_files();
    assert_true(file_replace(below("replaced"), "new", 3, NULL));
    assert_int_equal(nr_files(), before);              /* nothing beside it is left */
    assert_memory_equal(old.bytes, "the old one", 11); /* who has it open keeps it */
    assert_true(file_open(&new, below("replaced"), NULL));
    assert_memory_equal(new.bytes, "new", 3);
    assert_true(old.identity.inode != new.identity.inode);
    assert_int_equal(stat(below("replaced"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    file_close(&old);
    file_close(&new);
}

/* A pipe stays a pipe and gets the bytes; a link stays a link. */
static void writes_into_what_is_no_file(void **state)
{
    (void)state;
    struct stat st;
    struct file file;
    char read_back[4] = "";
    assert_int_equal(mkfifo(below("pipe"), 0600), 0);
    int fd = open(below("pipe"), O_RDWR);
    assert_true(fd >= 0);
    assert_true(file_replace(below("pipe"), "abc", 3, NULL));
    assert_int_equal(read(fd, read_back, 3), 3);
    assert_string_equal(read_back, "abc");
    close(fd);
    assert_int_equal(lstat(below("pipe"), &st), 0);
    assert_true(S_ISFIFO(st.st_mode));
    assert_true(file_replace(below("behind"), "old", 3, NULL));
    char target[512];
    snprintf(target, sizeof(target), "%s", below("behind"));
    assert_int_equal(symlink(target, below("link")), 0);
    assert_true(file_replace(below("link"), "new", 3, NULL));
    assert_int_equal(lstat(below("link"), &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_true(file_open(&file, target, NULL));
    assert_memory_equal(file.bytes, "new", 3);
    file_close(&file);
}

static void failed_replacement_leaves_nothing(void **state)
{
    (void)state;
    struct error err = {0};
    assert_false(file_replace(below("no/such/folder"), "x", 1, &err));
    assert_int_equal(err.code, ERROR_INPUT);
    assert_int_equal(mkdir(below("a-folder"), 0700), 0);
    unsigned before = nr_files();
    assert_false(file_replace(below("a-folder"), "x", 1, &err)); /* a file cannot replace it */
    assert_int_equal(nr_files(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(maps_what_was_written),
        cmocka_unit_test(tells_what_is_no_file),
        cmocka_unit_test(replaces_whole_files),
        cmocka_unit_test(writes_into_what_is_no_file),
        cmocka_unit_test(failed_replacement_leaves_nothing),
    };
    return cmocka_run_group_tests_name("file", tests, make_folder, remove_folder);
}
