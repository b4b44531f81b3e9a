/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "dwarf_build.h"

#include <dwarf.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- bytes ----------------------------------------------------------------------------------- */

void bytes_free(struct bytes *bytes)
{
    free(bytes->data);
    *bytes = (struct bytes){0};
}

void put_zeros(struct bytes *bytes, size_t nr)
{
    if (bytes->nr + nr > bytes->capacity) {
        bytes->capacity = (bytes->nr + nr) * 2;
        bytes->data = realloc(bytes->data, bytes->capacity);
        if (!bytes->data)
            abort();
    }
    if (nr)
        memset(bytes->data + bytes->nr, 0, nr);
    bytes->nr += nr;
}

void put_bytes(struct bytes *bytes, const void *data, size_t nr)
{
    put_zeros(bytes, nr);
    if (nr)
        memcpy(bytes->data + bytes->nr - nr, data, nr);
}

void put_uint(struct bytes *bytes, uint64_t value, unsigned width)
{
    put_bytes(bytes, &value, width);
}

void put_uleb(struct bytes *bytes, uint64_t value)
{
    do {
        put_uint(bytes, (value & 0x7f) | (value > 0x7f ? 0x80 : 0), 1);
        value >>= 7;
    } while (value);
}

void put_sleb(struct bytes *bytes, int64_t value)
{
    for (;;) {
        uint8_t byte = value & 0x7f;
        value >>= 7;
        bool last = (value == 0 && !(byte & 0x40)) || (value == -1 && (byte & 0x40));
        put_uint(bytes, last ? byte : byte | 0x80, 1);
        if (last)
            return;
    }
}

void put_str(struct bytes *bytes, const char *text)
{
    put_bytes(bytes, text, strlen(text) + 1);
}

void set_uint(struct bytes *bytes, size_t at, uint64_t value, unsigned width)
{
    if (at + width > bytes->nr)
        abort();
    memcpy(bytes->data + at, &value, width);
}

/* --- ELF ------------------------------------------------------------------------------------- */

void elf_build_init(struct elf_build *elf)
{
    *elf = (struct elf_build){.type = ET_DYN, .machine = EM_X86_64, .nr_sections = 1};
    elf->sections[0].name = "";
    elf_build_section(elf, ".shstrtab", SHT_STRTAB, 0, 0);
}

void elf_build_free(struct elf_build *elf)
{
    for (unsigned i = 0; i < elf->nr_sections; i++)
        bytes_free(&elf->sections[i].bytes);
    *elf = (struct elf_build){0};
}

struct bytes *elf_build_section(struct elf_build *elf, const char *name, uint32_t type,
                                uint64_t flags, uint64_t addr)
{
    if (elf->nr_sections == MAX_SECTIONS)
        abort();
    struct elf_build_section *section = &elf->sections[elf->nr_sections++];
    *section = (struct elf_build_section){.name = name, .type = type, .flags = flags, .addr = addr};
    return &section->bytes;
}

void elf_build_load(struct elf_build *elf, uint64_t addr, uint64_t size, uint32_t flags)
{
    if (elf->nr_loads == MAX_LOADS)
        abort();
    elf->loads[elf->nr_loads].addr = addr;
    elf->loads[elf->nr_loads].size_bytes = size;
    elf->loads[elf->nr_loads++].flags = flags;
}

static unsigned section_of_type(const struct elf_build *elf, uint32_t type)
{
    for (unsigned i = 1; i < elf->nr_sections; i++)
        if (elf->sections[i].type == type)
            return i;
    return 0;
}

void elf_build_symbol(struct elf_build *elf, const char *name, uint8_t type, uint64_t addr,
                      uint64_t size)
{
    unsigned table = section_of_type(elf, SHT_SYMTAB);
    if (!table) {
        put_zeros(elf_build_section(elf, ".strtab", SHT_STRTAB, 0, 0), 1);
        elf_build_section(elf, ".symtab", SHT_SYMTAB, 0, 0);
        table = elf->nr_sections - 1;
        elf->sections[table].link = table - 1;
        put_zeros(&elf->sections[table].bytes, sizeof(Elf64_Sym));
    }
    struct bytes *names = &elf->sections[table - 1].bytes;
    Elf64_Sym symbol = {.st_name = (uint32_t)names->nr,
                        .st_info = ELF64_ST_INFO(STB_GLOBAL, type),
                        .st_shndx = 1,
                        .st_value = addr,
                        .st_size = size};
    put_str(names, name);
    put_bytes(&elf->sections[table].bytes, &symbol, sizeof(symbol));
}

static void put_headers(const struct elf_build *elf, struct bytes *file)
{
    Elf64_Ehdr ehdr = {
        .e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        .e_type = elf->type,
        .e_machine = elf->machine,
        .e_version = EV_CURRENT,
        .e_phoff = elf->nr_loads ? sizeof(ehdr) : 0,
        .e_ehsize = sizeof(ehdr),
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = (uint16_t)elf->nr_loads,
        .e_shentsize = sizeof(Elf64_Shdr),
        .e_shnum = (uint16_t)elf->nr_sections,
        .e_shstrndx = 1,
    };
    put_bytes(file, &ehdr, sizeof(ehdr));
    for (unsigned i = 0; i < elf->nr_loads; i++) {
        Elf64_Phdr phdr = {.p_type = PT_LOAD,
                           .p_flags = elf->loads[i].flags,
                           .p_vaddr = elf->loads[i].addr,
                           .p_memsz = elf->loads[i].size_bytes};
        put_bytes(file, &phdr, sizeof(phdr));
    }
}

static uint64_t entry_bytes(uint32_t type)
{
    return type == SHT_SYMTAB || type == SHT_DYNSYM ? sizeof(Elf64_Sym)
           : type == SHT_RELA                       ? sizeof(Elf64_Rela)
                                                    : 0;
}

struct bytes elf_build_finish(struct elf_build *elf)
{
    struct bytes file = {0}, *names = &elf->sections[1].bytes;
    Elf64_Shdr headers[MAX_SECTIONS] = {0};
    names->nr = 0;
    put_zeros(names, 1);
    for (unsigned i = 1; i < elf->nr_sections; i++) {
        headers[i].sh_name = (uint32_t)names->nr;
        put_str(names, elf->sections[i].name);
    }
    put_headers(elf, &file);
    for (unsigned i = 1; i < elf->nr_sections; i++) {
        const struct elf_build_section *section = &elf->sections[i];
        put_zeros(&file, (8 - file.nr % 8) % 8);
        headers[i].sh_type = section->type;
        headers[i].sh_flags = section->flags;
        headers[i].sh_addr = section->addr;
        headers[i].sh_offset = file.nr;
        headers[i].sh_size = section->bytes.nr;
        headers[i].sh_link = section->link;
        headers[i].sh_addralign = 1;
        headers[i].sh_entsize = entry_bytes(section->type);
        put_bytes(&file, section->bytes.data, section->bytes.nr);
    }
    put_zeros(&file, (8 - file.nr % 8) % 8);
    set_uint(&file, offsetof(Elf64_Ehdr, e_shoff), file.nr, 8);
    put_bytes(&file, headers, elf->nr_sections * sizeof(*headers));
    return file;
}

char *write_temporary(const void *data, size_t size)
{
    const char *folder = getenv("TMPDIR");
    char *path = NULL;
    if (asprintf(&path, "%s/asyncmem-unit-XXXXXX", folder && *folder ? folder : "/tmp") < 0)
        abort();
    int fd = mkstemp(path);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size || close(fd) != 0) {
        perror(path);
        abort();
    }
    return path;
}

char *elf_build_write(struct elf_build *elf)
{
    struct bytes file = elf_build_finish(elf);
    char *path = write_temporary(file.data, file.nr);
    bytes_free(&file);
    return path;
}

/* --- DWARF ----------------------------------------------------------------------------------- */

void dwarf_build_init(struct dwarf_build *dwarf, unsigned version)
{
    *dwarf = (struct dwarf_build){
        .version = version, .address_bytes = 8, .code_step = 1, .unit_type = DW_UT_compile};
    put_zeros(&dwarf->str, 1);
}

void dwarf_build_free(struct dwarf_build *dwarf)
{
    struct bytes *all[] = {&dwarf->info,        &dwarf->abbrev,  &dwarf->str,    &dwarf->line_str,
                           &dwarf->str_offsets, &dwarf->addr,    &dwarf->ranges, &dwarf->rnglists,
                           &dwarf->line,        &dwarf->cu_index};
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        bytes_free(all[i]);
}

static unsigned offset_bytes(const struct dwarf_build *dwarf)
{
    return dwarf->is_64 ? 8 : 4;
}

void dwarf_build_unit(struct dwarf_build *dwarf)
{
    struct bytes *info = &dwarf->info;
    dwarf->unit_at = info->nr;
    dwarf->abbrev_at = dwarf->abbrev.nr;
    dwarf->next_code = 1;
    if (dwarf->is_64)
        put_uint(info, 0xffffffff, 4);
    put_uint(info, 0, offset_bytes(dwarf));
    put_uint(info, dwarf->version, 2);
    if (dwarf->version >= 5) {
        put_uint(info, dwarf->unit_type, 1);
        put_uint(info, dwarf->address_bytes, 1);
        put_uint(info, dwarf->abbrev_at, offset_bytes(dwarf));
        if (dwarf->unit_type == DW_UT_skeleton || dwarf->unit_type == DW_UT_split_compile)
            put_uint(info, dwarf->dwo_id, 8);
    } else {
        put_uint(info, dwarf->abbrev_at, offset_bytes(dwarf));
        put_uint(info, dwarf->address_bytes, 1);
    }
}

void dwarf_build_unit_end(struct dwarf_build *dwarf)
{
    size_t length_at = dwarf->unit_at + (dwarf->is_64 ? 4 : 0);
    size_t begin = length_at + offset_bytes(dwarf);
    set_uint(&dwarf->info, length_at, dwarf->info.nr - begin, offset_bytes(dwarf));
    put_uint(&dwarf->abbrev, 0, 1);
}

uint64_t dwarf_build_string(struct dwarf_build *dwarf, const char *text)
{
    uint64_t offset = dwarf->str.nr;
    put_str(&dwarf->str, text);
    return offset;
}

static void put_reference(struct dwarf_build *dwarf, unsigned label, uint64_t base, unsigned width)
{
    if (dwarf->nr_fixups == MAX_FIXUPS || label >= MAX_LABELS)
        abort();
    dwarf->fixups[dwarf->nr_fixups].at = dwarf->info.nr;
    dwarf->fixups[dwarf->nr_fixups].base = base;
    dwarf->fixups[dwarf->nr_fixups].width = width;
    dwarf->fixups[dwarf->nr_fixups++].label = label;
    put_zeros(&dwarf->info, width);
}

static void put_value(struct dwarf_build *dwarf, const struct attr *attr)
{
    struct bytes *info = &dwarf->info;
    switch (attr->form) {
    case DW_FORM_flag_present:
    case DW_FORM_implicit_const:
        return;
    case DW_FORM_string:
        put_str(info, attr->text);
        return;
    case DW_FORM_strp:
        put_uint(info, attr->text ? dwarf_build_string(dwarf, attr->text) : attr->number,
                 offset_bytes(dwarf));
        return;
    case DW_FORM_line_strp:
        put_uint(info, dwarf->line_str.nr, offset_bytes(dwarf));
        put_str(&dwarf->line_str, attr->text);
        return;
    case DW_FORM_data1:
    case DW_FORM_flag:
    case DW_FORM_strx1:
    case DW_FORM_addrx1:
    case DW_FORM_ref1:
        put_uint(info, attr->number, 1);
        return;
    case DW_FORM_data2:
    case DW_FORM_strx2:
    case DW_FORM_addrx2:
    case DW_FORM_ref2:
        put_uint(info, attr->number, 2);
        return;
    case DW_FORM_strx3:
    case DW_FORM_addrx3:
        put_uint(info, attr->number, 3);
        return;
    case DW_FORM_data4:
    case DW_FORM_strx4:
    case DW_FORM_addrx4:
        put_uint(info, attr->number, 4);
        return;
    case DW_FORM_data8:
        put_uint(info, attr->number, 8);
        return;
    case DW_FORM_sec_offset:
        put_uint(info, attr->number, offset_bytes(dwarf));
        return;
    case DW_FORM_addr:
        put_uint(info, attr->number, dwarf->address_bytes > 8 ? 8 : dwarf->address_bytes);
        return;
    case DW_FORM_ref4:
        put_reference(dwarf, (unsigned)attr->number, dwarf->unit_at, 4);
        return;
    case DW_FORM_ref8:
        put_reference(dwarf, (unsigned)attr->number, dwarf->unit_at, 8);
        return;
    case DW_FORM_ref_addr:
        put_reference(dwarf, (unsigned)attr->number, 0, offset_bytes(dwarf));
        return;
    case DW_FORM_sdata:
        put_sleb(info, (int64_t)attr->number);
        return;
    case DW_FORM_exprloc:
    case DW_FORM_block:
        put_uleb(info, attr->text_bytes);
        put_bytes(info, attr->text, attr->text_bytes);
        return;
    case DW_FORM_block1:
    case DW_FORM_block2:
    case DW_FORM_block4:
        put_uint(info, attr->text_bytes,
                 attr->form == DW_FORM_block1   ? 1
                 : attr->form == DW_FORM_block2 ? 2
                                                : 4);
        put_bytes(info, attr->text, attr->text_bytes);
        return;
    case DW_FORM_data16:
        put_bytes(info, attr->text, 16);
        return;
    default: /* udata, strx, addrx, rnglistx, GNU indexes, unknown forms */
        put_uleb(info, attr->number);
    }
}

size_t dwarf_build_die(struct dwarf_build *dwarf, uint16_t tag, bool has_children,
                       const struct attr *attrs)
{
    size_t offset = dwarf->info.nr;
    put_uleb(&dwarf->abbrev, dwarf->next_code);
    put_uleb(&dwarf->abbrev, tag);
    put_uint(&dwarf->abbrev, has_children, 1);
    put_uleb(&dwarf->info, dwarf->next_code);
    dwarf->next_code += dwarf->code_step;
    for (const struct attr *attr = attrs; attr && attr->name; attr++) {
        put_uleb(&dwarf->abbrev, attr->name);
        put_uleb(&dwarf->abbrev, attr->form);
        if (attr->form == DW_FORM_implicit_const)
            put_sleb(&dwarf->abbrev, (int64_t)attr->number);
        put_value(dwarf, attr);
    }
    put_zeros(&dwarf->abbrev, 2);
    return offset;
}

void dwarf_build_end(struct dwarf_build *dwarf)
{
    put_uint(&dwarf->info, 0, 1);
}

void dwarf_build_label(struct dwarf_build *dwarf, unsigned label)
{
    dwarf->labels[label] = dwarf->info.nr;
}

void dwarf_build_finish(struct dwarf_build *dwarf, struct elf_build *elf)
{
    for (unsigned i = 0; i < dwarf->nr_fixups; i++)
        set_uint(&dwarf->info, dwarf->fixups[i].at,
                 dwarf->labels[dwarf->fixups[i].label] - dwarf->fixups[i].base,
                 dwarf->fixups[i].width);
    const struct {
        const char *name, *split_name;
        struct bytes *bytes;
    } rows[] = {
        {".debug_info", ".debug_info.dwo", &dwarf->info},
        {".debug_abbrev", ".debug_abbrev.dwo", &dwarf->abbrev},
        {".debug_str", ".debug_str.dwo", &dwarf->str},
        {".debug_line_str", ".debug_line_str.dwo", &dwarf->line_str},
        {".debug_str_offsets", ".debug_str_offsets.dwo", &dwarf->str_offsets},
        {".debug_addr", ".debug_addr", &dwarf->addr},
        {".debug_ranges", ".debug_ranges", &dwarf->ranges},
        {".debug_rnglists", ".debug_rnglists.dwo", &dwarf->rnglists},
        {".debug_line", ".debug_line.dwo", &dwarf->line},
        {".debug_cu_index", ".debug_cu_index", &dwarf->cu_index},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        if (!rows[i].bytes->nr)
            continue;
        *elf_build_section(elf, dwarf->is_split ? rows[i].split_name : rows[i].name, SHT_PROGBITS,
                           0, 0) = *rows[i].bytes;
        *rows[i].bytes = (struct bytes){0};
    }
}
