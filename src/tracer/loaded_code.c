/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * glibc 2.35 and later answer without a lock, by _dl_find_object; the program headers are then read in
 * the image's first page.  Older ones are asked by dl_iterate_phdr, whose lock the loader holds only while it
 * changes its list, and may be taken again by who has it.
 */
#include "tracer/loaded_code.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <string.h>

#include "tracer/syscalls.h"

enum { PAGE_BYTES = 4096 };

struct headers {
    uint64_t bias;
    const Elf64_Phdr *rows;
    size_t nr;
};

static void add_segment(struct unwind_tables *tables, uint64_t bias, const Elf64_Phdr *row)
{
    if (tables->nr_segments == UNWIND_MAX_SEGMENTS || !(row->p_flags & PF_R))
        return;
    const uint8_t *start = (const uint8_t *)(uintptr_t)(bias + row->p_vaddr);
    tables->segments[tables->nr_segments++] = (struct unwind_segment){start, start + row->p_memsz};
}

static void take_headers(const struct headers *headers, struct unwind_tables *tables)
{
    for (size_t i = 0; i < headers->nr; i++) {
        const Elf64_Phdr *row = &headers->rows[i];
        if (row->p_type == PT_LOAD)
            add_segment(tables, headers->bias, row);
        else if (row->p_type == PT_GNU_EH_FRAME)
            tables->hdr = (const uint8_t *)(uintptr_t)(headers->bias + row->p_vaddr);
    }
}

struct search {
    uintptr_t pc;
    struct unwind_tables *tables;
};

static int look(struct dl_phdr_info *info, size_t bytes, void *data)
{
    struct search *search = data;
    (void)bytes;
    uint64_t start = UINT64_MAX, end = 0;
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const Elf64_Phdr *row = &info->dlpi_phdr[i];
        if (row->p_type != PT_LOAD)
            continue;
        uint64_t first = info->dlpi_addr + row->p_vaddr;
        start = first < start ? first : start;
        end = first + row->p_memsz > end ? first + row->p_memsz : end;
    }
    if (search->pc < start || search->pc >= end)
        return 0;
    struct headers headers = {info->dlpi_addr, info->dlpi_phdr, info->dlpi_phnum};
    take_headers(&headers, search->tables);
    search->tables->start = start & ~(uint64_t)(PAGE_BYTES - 1);
    search->tables->end = end;
    return 1;
}

static bool find_in_list(uintptr_t pc, struct unwind_tables *tables)
{
    struct search search = {pc, tables};
    return dl_iterate_phdr(look, &search) == 1;
}

#if defined(__GLIBC_PREREQ) && __GLIBC_PREREQ(2, 35)

extern __typeof__(_dl_find_object) _dl_find_object __attribute__((weak));

/* The headers of an image whose file begins where it is mapped; else there are none. */
static struct headers headers_at(uintptr_t start, uint64_t bias)
{
    const Elf64_Ehdr *file = (const Elf64_Ehdr *)start;
    struct headers headers = {.bias = bias};
    if (!sys_is_readable(start) || /* code that may only be executed */
        memcmp(file->e_ident, ELFMAG, SELFMAG) != 0 || file->e_phentsize != sizeof(Elf64_Phdr) ||
        file->e_phoff > PAGE_BYTES ||
        file->e_phnum > (PAGE_BYTES - file->e_phoff) / sizeof(Elf64_Phdr))
        return headers;
    headers.rows = (const Elf64_Phdr *)(start + file->e_phoff);
    headers.nr = file->e_phnum;
    return headers;
}

bool loaded_code_find(uintptr_t pc, struct unwind_tables *tables)
{
    *tables = (struct unwind_tables){0};
    if (!_dl_find_object)
        return find_in_list(pc, tables);
    struct dl_find_object found;
    if (_dl_find_object((void *)pc, &found) != 0)
        return false;
    struct headers headers =
        headers_at((uintptr_t)found.dlfo_map_start, found.dlfo_link_map->l_addr);
    if (!headers.nr)
        return find_in_list(pc, tables);
    take_headers(&headers, tables);
    tables->start = (uintptr_t)found.dlfo_map_start;
    tables->end = (uintptr_t)found.dlfo_map_end;
    return true;
}

#else

bool loaded_code_find(uintptr_t pc, struct unwind_tables *tables)
{
    *tables = (struct unwind_tables){0};
    return find_in_list(pc, tables);
}

#endif
