/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "process/proc.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

bool proc_read(struct text *text, const char *path_format, ...)
{
    char path[128], piece[16 * 1024];
    va_list args;
    va_start(args, path_format);
    vsnprintf(path, sizeof(path), path_format, args);
    va_end(args);
    text_clear(text);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n;
    while ((n = read(fd, piece, sizeof(piece))) > 0 || (n < 0 && errno == EINTR))
        if (n > 0)
            text_append(text, piece, (size_t)n);
    int reason = errno;
    close(fd);
    errno = reason;
    return n == 0;
}

const char *proc_status_value(const char *status, const char *key)
{
    size_t length = strlen(key);
    for (const char *line = status; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, length) == 0 && line[length] == ':')
            return line + length + 1 + strspn(line + length + 1, " \t");
    }
    return NULL;
}

long proc_status_number(const char *status, const char *key)
{
    const char *value = proc_status_value(status, key);
    return value ? strtol(value, NULL, 10) : 0;
}

char proc_thread_state(pid_t pid, pid_t tid)
{
    /* A stack buffer: this is asked while the target stands still.  The name in brackets may hold
     * anything; its closing bracket is the last of the line. */
    char path[64], stat[512];
    snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", (int)pid, (int)tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, stat, sizeof(stat) - 1);
    close(fd);
    if (n <= 0)
        return 0;
    stat[n] = 0;
    const char *name_end = strrchr(stat, ')');
    return name_end && name_end[1] == ' ' ? name_end[2] : 0;
}

void proc_command(pid_t pid, char *command, size_t size)
{
    struct text text;
    text_init(&text);
    bool ok = proc_read(&text, "/proc/%d/comm", (int)pid);
    snprintf(command, size, "%.*s", (int)strcspn(text_str(&text), "\n"),
             ok ? text_str(&text) : "?");
    text_deinit(&text);
}

/* A number in `base` that must be followed by `behind`; moves *at behind that. */
static bool take_number(const char **at, const char *end, int base, char behind, uint64_t *number)
{
    uint64_t value = 0;
    const char *p = *at;
    for (; p < end; p++) {
        int digit = *p >= '0' && *p <= '9'   ? *p - '0'
                    : *p >= 'a' && *p <= 'f' ? *p - 'a' + 10
                                             : base;
        if (digit >= base)
            break;
        value = value * (uint64_t)base + (uint64_t)digit;
    }
    if (p == *at || (p < end ? *p != behind : behind != ' '))
        return false;
    *number = value;
    *at = p < end ? p + 1 : p;
    return true;
}

static bool has_prefix(const char *path, size_t length, const char *prefix)
{
    return length >= strlen(prefix) && memcmp(path, prefix, strlen(prefix)) == 0;
}

/*
 * Reading a device's memory may have effects; the kernel's own pages cannot be read at all.  The live region
 * of a traced program is no memory of its own: full of its blocks' addresses, and terabytes with holes.
 */
static bool is_device_path(const char *path, size_t length)
{
    static const char *const memory[] = {"/dev/shm/", "/dev/zero", "/dev/hugepages"};
    static const char *const devices[] = {"/dev/", "/sys/", "/proc/", "anon_inode:", "[vvar",
                                          "/memfd:asyncmem"};
    for (size_t i = 0; i < sizeof(memory) / sizeof(*memory); i++)
        if (has_prefix(path, length, memory[i]))
            return false;
    for (size_t i = 0; i < sizeof(devices) / sizeof(*devices); i++)
        if (has_prefix(path, length, devices[i]))
            return true;
    return false;
}

bool proc_maps_line(const char *line, size_t length, struct mapping *mapping, const char **path,
                    size_t *path_bytes)
{
    const char *at = line, *end = line + length;
    uint64_t major = 0, minor = 0;
    *mapping = (struct mapping){0};
    if (!take_number(&at, end, 16, '-', &mapping->start) ||
        !take_number(&at, end, 16, ' ', &mapping->end) || mapping->end <= mapping->start ||
        end - at < 5 || at[4] != ' ')
        return false;
    mapping->readable = at[0] == 'r';
    mapping->writable = at[1] == 'w';
    mapping->executable = at[2] == 'x';
    mapping->is_shared = at[3] == 's';
    at += 5;
    if (!take_number(&at, end, 16, ' ', &mapping->offset) ||
        !take_number(&at, end, 16, ':', &major) || !take_number(&at, end, 16, ' ', &minor) ||
        !take_number(&at, end, 10, ' ', &mapping->inode))
        return false;
    mapping->device = makedev((unsigned)major, (unsigned)minor);
    while (at < end && *at == ' ')
        at++;
    static const char deleted[] = " (deleted)";
    size_t bytes = (size_t)(end - at), deleted_bytes = sizeof(deleted) - 1;
    if (bytes >= deleted_bytes && memcmp(end - deleted_bytes, deleted, deleted_bytes) == 0) {
        mapping->is_deleted = true;
        bytes -= deleted_bytes;
    }
    *path = at;
    *path_bytes = bytes;
    mapping->is_device = is_device_path(at, bytes);
    return true;
}

bool proc_is_32_bit(const uint8_t ident[16])
{
    return memcmp(ident, ELFMAG, SELFMAG) == 0 && ident[EI_CLASS] == ELFCLASS32;
}
