/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "recorder/launch_elf.h"

#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <limits.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "recording/loaders.h"

static bool is_sanitizer(const char *name)
{
    for (size_t i = 0; i < LOADERS_NR_SANITIZERS; i++)
        if (strcmp(name, loaders_sanitizers[i]) == 0)
            return true;
    return false;
}

/* What a symbol table says; LAUNCH_FITS: nothing. */
static enum launch_kind look_at_symbols(Elf *elf, Elf_Scn *section, const GElf_Shdr *header)
{
    Elf_Data *data = elf_getdata(section, NULL);
    size_t nr = data && header->sh_entsize ? data->d_size / header->sh_entsize : 0;
    enum launch_kind kind = LAUNCH_FITS;
    for (size_t i = 0; i < nr && i < INT_MAX; i++) {
        GElf_Sym symbol;
        const char *name = gelf_getsym(data, (int)i, &symbol)
                               ? elf_strptr(elf, header->sh_link, symbol.st_name)
                               : NULL;
        if (!name)
            continue;
        if (name[0] == '_' && is_sanitizer(name))
            return LAUNCH_SANITIZER;
        int type = GELF_ST_TYPE(symbol.st_info);
        if (symbol.st_shndx != SHN_UNDEF && (type == STT_FUNC || type == STT_GNU_IFUNC) &&
            GELF_ST_BIND(symbol.st_info) != STB_LOCAL && strcmp(name, "malloc") == 0)
            kind = LAUNCH_OWN_MALLOC;
    }
    return kind;
}

/* Go's own sections come before what a cgo program's symbols say. */
static enum launch_kind look_at_sections(Elf *elf)
{
    size_t names;
    enum launch_kind kind = LAUNCH_FITS;
    if (elf_getshdrstrndx(elf, &names) != 0)
        return LAUNCH_FITS;
    for (Elf_Scn *section = NULL; (section = elf_nextscn(elf, section));) {
        GElf_Shdr header;
        if (!gelf_getshdr(section, &header))
            continue;
        const char *name = elf_strptr(elf, names, header.sh_name);
        if (name && (strcmp(name, ".go.buildinfo") == 0 || strcmp(name, ".note.go.buildid") == 0))
            return LAUNCH_GO;
        enum launch_kind found = LAUNCH_FITS;
        if (header.sh_type == SHT_DYNSYM || header.sh_type == SHT_SYMTAB)
            found = look_at_symbols(elf, section, &header);
        if (found == LAUNCH_SANITIZER || kind == LAUNCH_FITS)
            kind = found;
    }
    return kind;
}

static enum launch_kind look_at_loader(const char *path)
{
    if (strncmp(loaders_name(path), "ld-musl", 7) == 0)
        return LAUNCH_MUSL;
    return loaders_is_glibc(path) ? LAUNCH_FITS : LAUNCH_OTHER_LOADER;
}

/* The program interpreter of a program; of a library, which has none, it is not asked. */
static enum launch_kind look_at_segments(Elf *elf, int fd)
{
    size_t nr;
    char path[PATH_MAX];
    if (elf_getphdrnum(elf, &nr) != 0)
        return LAUNCH_NO_ELF;
    for (size_t i = 0; i < nr && i < INT_MAX; i++) {
        GElf_Phdr segment;
        if (!gelf_getphdr(elf, (int)i, &segment) || segment.p_type != PT_INTERP)
            continue;
        size_t size = segment.p_filesz < sizeof(path) - 1 ? segment.p_filesz : sizeof(path) - 1;
        ssize_t got = pread(fd, path, size, (off_t)segment.p_offset);
        if (got <= 0)
            return LAUNCH_NO_ELF;
        path[got] = 0;
        return look_at_loader(path);
    }
    return LAUNCH_STATIC;
}

static enum launch_kind look(Elf *elf, int fd)
{
    GElf_Ehdr header;
    if (!elf || elf_kind(elf) != ELF_K_ELF || !gelf_getehdr(elf, &header))
        return LAUNCH_NO_ELF;
    if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != EM_X86_64)
        return LAUNCH_OTHER_MACHINE;
    enum launch_kind by_section = look_at_sections(elf), by_segment = look_at_segments(elf, fd);
    if (by_section == LAUNCH_GO)
        return LAUNCH_GO;
    return by_segment != LAUNCH_FITS ? by_segment : by_section;
}

enum launch_kind launch_elf_kind(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return LAUNCH_UNREADABLE;
    elf_version(EV_CURRENT);
    Elf *elf =
        elf_begin(fd, ELF_C_READ, NULL); /* not mapped: the file may be cut short meanwhile */
    enum launch_kind kind = look(elf, fd);
    elf_end(elf);
    close(fd);
    return kind;
}

bool launch_file_capabilities(const char *path, char *bytes, size_t size)
{
    return getxattr(path, "security.capability", bytes, size) > 0;
}
