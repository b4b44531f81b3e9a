/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"

static void identity_from_stat(struct file_identity *identity, const struct stat *st)
{
    *identity = (struct file_identity){
        .device = st->st_dev,
        .inode = st->st_ino,
        .size_bytes = (uint64_t)st->st_size,
        .modified_ns = st->st_mtim.tv_sec * 1000000000LL + st->st_mtim.tv_nsec,
        .changed_ns = st->st_ctim.tv_sec * 1000000000LL + st->st_ctim.tv_nsec,
    };
}

bool file_identity_get(const char *path, struct file_identity *identity)
{
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode))
        return false;
    identity_from_stat(identity, &st);
    return true;
}

static bool map_descriptor(struct file *file, const char *path, int fd, struct error *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return error_set(err, ERROR_INPUT, "%s: %s", path, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return error_set(err, ERROR_INPUT, "%s: is a directory; give the program's file", path);
    if (!S_ISREG(st.st_mode))
        return error_set(err, ERROR_INPUT, "%s: is not a regular file", path);
    if (st.st_size == 0)
        return error_set(err, ERROR_INPUT, "%s: the file is empty", path);
    void *bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED)
        return error_set(err, ERROR_INPUT, "%s: cannot be mapped: %s", path, strerror(errno));
    file->bytes = bytes;
    file->size_bytes = (uint64_t)st.st_size;
    identity_from_stat(&file->identity, &st);
    return true;
}

bool file_open(struct file *file, const char *path, struct error *err)
{
    *file = (struct file){0};
    /* O_NONBLOCK: a fifo must not make us wait; it has no effect on regular files. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        const char *remedy = errno == EACCES   ? "; run as its owner or with sudo"
                             : errno == ENOENT ? "; check the path"
                                               : "";
        return error_set(err, ERROR_INPUT, "%s: %s%s", path, strerror(errno), remedy);
    }
    bool ok = map_descriptor(file, path, fd, err);
    close(fd);
    return ok;
}

void file_close(struct file *file)
{
    if (file->bytes)
        munmap((void *)file->bytes, (size_t)file->size_bytes);
    *file = (struct file){0};
}

static bool write_all(int fd, const void *bytes, size_t size)
{
    for (const char *at = bytes; size;) {
        ssize_t n = write(fd, at, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        at += n;
        size -= (size_t)n;
    }
    return true;
}

static bool replace(const char *path, const void *bytes, size_t size)
{
    struct text temporary;
    text_init(&temporary);
    text_printf(&temporary, "%s.XXXXXX", path);
    int fd = mkostemp(temporary.data, O_CLOEXEC);
    bool ok = fd >= 0 && write_all(fd, bytes, size);
    if (fd >= 0 && close(fd) != 0)
        ok = false;
    if (ok)
        ok = rename(temporary.data, path) == 0;
    if (!ok && fd >= 0) {
        int number = errno;
        unlink(temporary.data);
        errno = number;
    }
    text_deinit(&temporary);
    return ok;
}

/* A device or a pipe is written to; it must not be replaced by a file. */
static bool write_through(const char *path, const void *bytes, size_t size)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write_all(fd, bytes, size);
    if (fd >= 0 && close(fd) != 0)
        ok = false;
    return ok;
}

bool file_replace(const char *path, const void *bytes, size_t size, struct error *err)
{
    struct stat st;
    char *real = realpath(path, NULL); /* of a link the file it leads to */
    bool is_other = stat(path, &st) == 0 && !S_ISREG(st.st_mode);
    errno = 0;
    bool ok =
        is_other ? write_through(path, bytes, size) : replace(real ? real : path, bytes, size);
    if (!ok)
        error_set(err, ERROR_INPUT, "%s: cannot be written: %s", path, strerror(errno));
    free(real);
    return ok;
}
