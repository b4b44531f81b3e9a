/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "process/image_symbols.h"

#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <unistd.h>

struct visiting {
    const struct target_image *image;
    image_symbol_fn *visit;
    void *context;
};

static void visit_table(const struct visiting *visiting, Elf *elf, Elf_Scn *section)
{
    GElf_Shdr header;
    if (!gelf_getshdr(section, &header) || !header.sh_entsize)
        return;
    Elf_Data *data = elf_getdata(section, NULL);
    for (size_t i = 0; data && i < data->d_size / header.sh_entsize; i++) {
        GElf_Sym symbol;
        if (!gelf_getsym(data, (int)i, &symbol) || symbol.st_shndx == SHN_UNDEF)
            continue;
        int type = GELF_ST_TYPE(symbol.st_info);
        if (type != STT_FUNC && type != STT_GNU_IFUNC)
            continue;
        const char *name = elf_strptr(elf, header.sh_link, symbol.st_name);
        if (name && *name)
            visiting->visit(visiting->context, name, visiting->image->bias + symbol.st_value,
                            type == STT_GNU_IFUNC);
    }
}

static void visit_file(const struct visiting *visiting, int fd)
{
    Elf *elf = elf_begin(fd, ELF_C_READ_MMAP, NULL);
    if (!elf || elf_kind(elf) != ELF_K_ELF) {
        elf_end(elf);
        return;
    }
    for (Elf_Scn *section = NULL; (section = elf_nextscn(elf, section));) {
        GElf_Shdr header;
        if (gelf_getshdr(section, &header) &&
            (header.sh_type == SHT_SYMTAB || header.sh_type == SHT_DYNSYM))
            visit_table(visiting, elf, section);
    }
    elf_end(elf);
}

void image_symbols_visit(const struct target_image *image, image_symbol_fn *visit, void *context)
{
    const struct visiting visiting = {image, visit, context};
    int fd = image->path ? open(image->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    if (fd < 0)
        return;
    elf_version(EV_CURRENT);
    visit_file(&visiting, fd);
    close(fd);
}
