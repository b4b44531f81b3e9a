/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The file is read piece by piece with system calls, since it may change or be cut short meanwhile.  Formats: the
 * System V ABI, chapters 4 and 5; a script's first line as in execve(2).
 */
#include "tracer/exec_target.h"

#include <elf.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "recording/loaders.h"
#include "tracer/syscalls.h"

enum {
    MAX_SCRIPTS = 4, /* the kernel's limit of interpreters of interpreters */
    MAX_SEGMENTS = 128,
    MAX_DYNAMIC = 1024,
    MAX_NAMES_BYTES = 16 << 20,
    TEXT_BYTES = 512,
};

static size_t read_at(int fd, void *to, size_t bytes, uint64_t offset)
{
    long args[6] = {fd, (long)to, (long)bytes, (long)offset, 0, 0};
    long result = offset >> 62 ? -1 : sys_call6(SYS_pread64, args);
    return sys_failed(result) ? 0 : (size_t)result;
}

static int open_at(int folder, const char *path)
{
    long args[6] = {folder, (long)path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0, 0, 0};
    return (int)sys_call6(SYS_openat, args);
}

/* --- a program ---------------------------------------------------------------------------------------- */

static bool segment_at(int fd, const Elf64_Ehdr *header, unsigned number, Elf64_Phdr *segment)
{
    return number < header->e_phnum && number < MAX_SEGMENTS &&
           read_at(fd, segment, sizeof(*segment),
                   header->e_phoff + (uint64_t)number * sizeof(*segment)) == sizeof(*segment);
}

/* Where in the file that address is; 0: nowhere. */
static uint64_t offset_of(int fd, const Elf64_Ehdr *header, uint64_t addr)
{
    Elf64_Phdr segment;
    for (unsigned i = 0; segment_at(fd, header, i, &segment); i++)
        if (segment.p_type == PT_LOAD && addr - segment.p_vaddr < segment.p_filesz)
            return segment.p_offset + (addr - segment.p_vaddr);
    return 0;
}

static bool has_sanitizer(const char *text, size_t bytes)
{
    for (size_t i = 0; i < LOADERS_NR_SANITIZERS; i++)
        if (memmem(text, bytes, loaders_sanitizers[i], strlen(loaders_sanitizers[i]) + 1))
            return true;
    return false;
}

/* Looks through the names of dynamic symbols. */
static bool names_a_sanitizer(int fd, uint64_t offset, uint64_t bytes)
{
    enum { OVERLAP = 32 }; /* longer than the names */
    char text[TEXT_BYTES];
    for (uint64_t at = 0; at < bytes && at < MAX_NAMES_BYTES; at += sizeof(text) - OVERLAP) {
        size_t wanted = bytes - at < sizeof(text) ? bytes - at : sizeof(text);
        size_t got = read_at(fd, text, wanted, offset + at);
        if (has_sanitizer(text, got))
            return true;
        if (got < sizeof(text))
            return false;
    }
    return false;
}

static bool is_sanitized(int fd, const Elf64_Ehdr *header, const Elf64_Phdr *dynamic)
{
    uint64_t names = 0, bytes = 0;
    for (unsigned i = 0; i < MAX_DYNAMIC && i < dynamic->p_filesz / sizeof(Elf64_Dyn); i++) {
        Elf64_Dyn entry;
        if (read_at(fd, &entry, sizeof(entry), dynamic->p_offset + i * sizeof(entry)) !=
                sizeof(entry) ||
            entry.d_tag == DT_NULL)
            break;
        if (entry.d_tag == DT_STRTAB)
            names = offset_of(fd, header, entry.d_un.d_ptr);
        if (entry.d_tag == DT_STRSZ)
            bytes = entry.d_un.d_val;
    }
    return names && names_a_sanitizer(fd, names, bytes);
}

static bool program_fits(int fd, const Elf64_Ehdr *header)
{
    if (header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_machine != EM_X86_64)
        return false;
    if (header->e_phentsize != sizeof(Elf64_Phdr))
        return true;
    Elf64_Phdr segment;
    bool has_loader = false;
    for (unsigned i = 0; segment_at(fd, header, i, &segment); i++) {
        char path[TEXT_BYTES] = {0};
        if (segment.p_type == PT_INTERP) {
            size_t bytes =
                segment.p_filesz < sizeof(path) - 1 ? segment.p_filesz : sizeof(path) - 1;
            has_loader = read_at(fd, path, bytes, segment.p_offset) && loaders_is_glibc(path);
            if (!has_loader)
                return false;
        }
        if (segment.p_type == PT_DYNAMIC && is_sanitized(fd, header, &segment))
            return false;
    }
    return has_loader;
}

/* --- a script ----------------------------------------------------------------------------------------- */

/* From a first line to the interpreter's path, in place; NULL: there is none. */
static const char *interpreter_of(char *line)
{
    char *path = line + 2 + strspn(line + 2, " \t");
    size_t bytes = strcspn(path, " \t\n");
    if (!bytes || !path[bytes])
        return NULL;
    path[bytes] = 0;
    return path;
}

/* The file itself, or what it names as its interpreter; closes fd. */
static bool file_fits(int fd)
{
    for (unsigned nr_scripts = 0; nr_scripts <= MAX_SCRIPTS && fd >= 0; nr_scripts++) {
        union {
            Elf64_Ehdr header;
            char text[TEXT_BYTES];
        } start = {.text = {0}};
        size_t bytes = read_at(fd, start.text, sizeof(start.text) - 1, 0);
        bool fits = true;
        const char *interpreter = NULL;
        if (bytes >= sizeof(start.header) && memcmp(start.text, ELFMAG, SELFMAG) == 0)
            fits = program_fits(fd, &start.header);
        else if (memcmp(start.text, "#!", 2) == 0)
            interpreter = interpreter_of(start.text);
        sys_call(SYS_close, fd, 0, 0);
        if (!interpreter)
            return fits;
        fd = open_at(AT_FDCWD, interpreter);
    }
    return true;
}

bool exec_target_fits(int folder, const char *path, int flags)
{
    if (!path)
        return true;
    bool is_folder = flags & AT_EMPTY_PATH && !*path;
    int fd =
        is_folder ? (int)sys_call(SYS_fcntl, folder, F_DUPFD_CLOEXEC, 0) : open_at(folder, path);
    return file_fits(fd);
}

/* Joins a folder of PATH, up to its `:`, with a name; false: too long. */
static bool join(char *to, size_t room, const char *folder, size_t bytes, const char *name)
{
    size_t name_bytes = strlen(name);
    if (bytes + 1 + name_bytes >= room)
        return false;
    memcpy(to, folder, bytes);
    to[bytes] = '/';
    memcpy(to + bytes + (bytes ? 1 : 0), name,
           name_bytes + 1); /* an empty folder: the current one */
    return true;
}

bool exec_target_fits_name(const char *name)
{
    if (!name || strchr(name, '/'))
        return exec_target_fits(AT_FDCWD, name, 0);
    const char *folder = NULL;
    for (char **word = environ; word && *word && !folder; word++)
        if (strncmp(*word, "PATH=", 5) == 0)
            folder = *word + 5;
    for (bool is_last = !folder; !is_last;) {
        char path[TEXT_BYTES * 2];
        size_t bytes = strcspn(folder, ":");
        if (join(path, sizeof(path), folder, bytes, name) &&
            sys_call(SYS_access, (long)path, X_OK, 0) == 0)
            return exec_target_fits(AT_FDCWD, path, 0);
        is_last = !folder[bytes];
        folder += bytes + 1;
    }
    return true;
}
