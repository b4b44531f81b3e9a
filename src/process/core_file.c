/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * An ELF core: gABI chapter 5 and core(5).  Its PT_LOADs are the mappings of the process, with as
 * much of their memory as was dumped; its PT_NOTEs tell the rest (core_notes.c).  What was left out
 * because a file holds it, too, comes from that file (core_images.c).
 *
 * All of it ends in one table, target->segments: by address, without overlaps, each pointing into a
 * mapped file.  A core is hostile input: every offset is checked here before it becomes a pointer.
 */
#include "process/core_file.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/search.h"
#include "process/core_part.h"

/* --- headers ------------------------------------------------------------------------------------- */

static bool error_packed(const char *path, const struct file *file, struct error *err)
{
    static const struct {
        const char *magic;
        size_t nr;
        const char *name, *remedy;
    } packers[] = {
        {"\x28\xb5\x2f\xfd", 4, "zstd", "unzstd"},
        {"\x04\x22\x4d\x18", 4, "lz4", "unlz4"},
        {"\xfd"
         "7zXZ",
         5, "xz", "unxz"},
        {"\x1f\x8b", 2, "gzip", "gunzip"},
    };
    for (size_t i = 0; i < sizeof(packers) / sizeof(*packers); i++)
        if (file->size_bytes >= packers[i].nr &&
            memcmp(file->bytes, packers[i].magic, packers[i].nr) == 0)
            return error_set(err, ERROR_INPUT,
                             "%s: is compressed by %s; unpack it first (%s, or `coredumpctl dump`)",
                             path, packers[i].name, packers[i].remedy);
    return error_set(err, ERROR_INPUT, "%s: is not an ELF file; make a core file by `gcore PID`",
                     path);
}

static bool error_truncated(const char *path, const char *what, struct error *err)
{
    return error_set(err, ERROR_INPUT,
                     "%s: truncated: the %s lies outside the file; copy the core again, or raise "
                     "`ulimit -c`",
                     path, what);
}

static bool check_header(const char *path, const struct file *file, Elf64_Ehdr *ehdr,
                         struct error *err)
{
    const uint8_t *id = file->bytes;
    if (file->size_bytes < SELFMAG || memcmp(id, ELFMAG, SELFMAG) != 0)
        return error_packed(path, file, err);
    if (file->size_bytes < sizeof(*ehdr))
        return error_truncated(path, "ELF header", err);
    memcpy(ehdr, file->bytes, sizeof(*ehdr));
    if (id[EI_CLASS] != ELFCLASS64)
        return error_set(err, ERROR_INPUT, "%s: is of a 32-bit program; only 64-bit ones are read",
                         path);
    if (id[EI_DATA] != ELFDATA2LSB)
        return error_set(err, ERROR_INPUT,
                         "%s: is of a big-endian machine; only x86-64 cores are read", path);
    if (ehdr->e_type != ET_CORE)
        return error_set(err, ERROR_INPUT,
                         "%s: is an ELF file but no core file; make one by `gcore PID`", path);
    if (ehdr->e_machine != EM_X86_64)
        return error_set(err, ERROR_INPUT,
                         "%s: is of another machine (ELF number %u); only x86-64 cores are read",
                         path, ehdr->e_machine);
    if (ehdr->e_phentsize != sizeof(Elf64_Phdr))
        return error_set(err, ERROR_INPUT,
                         "%s: corrupt: its program headers have %u bytes each instead of %zu; copy "
                         "the core again",
                         path, ehdr->e_phentsize, sizeof(Elf64_Phdr));
    return true;
}

/* The table of program headers and how many there are (more than PN_XNUM: see elf(5)). */
static bool find_headers(const char *path, const struct file *file, const Elf64_Ehdr *ehdr,
                         struct cursor *table, uint64_t *nr, struct error *err)
{
    *nr = ehdr->e_phnum;
    if (*nr == PN_XNUM) {
        struct cursor section = cursor_at(file->bytes, file->size_bytes, ehdr->e_shoff);
        cursor_skip(&section, offsetof(Elf64_Shdr, sh_info));
        *nr = cursor_u32(&section);
        if (section.failed)
            return error_truncated(path, "section header with the number of segments", err);
    }
    *table = cursor_at(file->bytes, file->size_bytes, ehdr->e_phoff);
    if (table->failed || cursor_left(table) / sizeof(Elf64_Phdr) < *nr)
        return error_truncated(path, "program header table", err);
    return true;
}

/* --- loads --------------------------------------------------------------------------------------- */

static int by_start(const void *a, const void *b)
{
    const struct core_load *x = a, *y = b;
    return (x->start > y->start) - (x->start < y->start);
}

static void add_load(struct core_reader *reader, const Elf64_Phdr *phdr)
{
    uint64_t bytes = phdr->p_memsz > phdr->p_filesz ? phdr->p_memsz : phdr->p_filesz, end;
    if (!bytes || __builtin_add_overflow(phdr->p_vaddr, bytes, &end))
        return;
    reader->loads = array_reserve(reader->loads, &reader->loads_capacity, reader->nr_loads + 1,
                                  sizeof(*reader->loads));
    reader->loads[reader->nr_loads++] = (struct core_load){
        phdr->p_vaddr, end, phdr->p_filesz, phdr->p_offset, phdr->p_flags,
    };
}

const struct core_load *core_load_at(const struct core_reader *reader, uint64_t start)
{
    size_t nr = SEARCH_UP_TO(reader->loads, reader->nr_loads, start, start);
    return nr && reader->loads[nr - 1].start == start ? &reader->loads[nr - 1] : NULL;
}

/* Sorts the loads, drops what overlaps the one before; makes mappings and segments of them. */
static void take_loads(struct core_reader *reader)
{
    struct target *target = reader->target;
    size_t kept = 0;
    if (reader->nr_loads)
        qsort(reader->loads, reader->nr_loads, sizeof(*reader->loads), by_start);
    for (size_t i = 0; i < reader->nr_loads; i++)
        if (!kept || reader->loads[i].start >= reader->loads[kept - 1].end)
            reader->loads[kept++] = reader->loads[i];
    reader->nr_loads = kept;
    target->mappings = memory_alloc((kept + 1) * sizeof(*target->mappings));
    target->mappings_capacity = kept + 1;
    /* Each mapping has at most one part in the core and one in a file. */
    target->segments = memory_alloc((kept + 1) * sizeof(*target->segments));
    for (size_t i = 0; i < kept; i++) {
        const struct core_load *load = &reader->loads[i];
        target->mappings[target->nr_mappings++] = (struct mapping){
            .start = load->start,
            .end = load->end,
            .readable = load->flags & PF_R,
            .writable = load->flags & PF_W,
            .executable = load->flags & PF_X,
            .path = "",
        };
        struct cursor bytes =
            cursor_at(target->core->bytes, target->core->size_bytes, load->offset);
        uint64_t there = cursor_left(&bytes);
        if (there < load->dumped_bytes)
            target->is_truncated = true;
        there = there < load->dumped_bytes ? there : load->dumped_bytes;
        reader->has_data |= there && (load->flags & PF_W);
        if (there)
            target->segments[target->nr_segments++] =
                (struct core_segment){load->start, there, bytes.pos};
    }
}

static void read_notes(struct core_reader *reader, struct cursor table, uint64_t nr)
{
    const struct file *core = reader->target->core;
    for (uint64_t i = 0; i < nr; i++) {
        Elf64_Phdr phdr;
        memcpy(&phdr, table.pos, sizeof(phdr));
        cursor_skip(&table, sizeof(phdr));
        if (phdr.p_type != PT_NOTE)
            continue;
        struct cursor notes = cursor_at(core->bytes, core->size_bytes, phdr.p_offset);
        if (cursor_left(&notes) < phdr.p_filesz)
            reader->target->is_truncated = true;
        else
            notes.end = notes.pos + phdr.p_filesz;
        core_notes_read(reader, notes);
    }
}

/* --- opening and reading ------------------------------------------------------------------------- */

static bool read_core(struct core_reader *reader, struct error *err)
{
    struct target *target = reader->target;
    Elf64_Ehdr ehdr;
    struct cursor table;
    uint64_t nr;
    if (!check_header(reader->path, target->core, &ehdr, err) ||
        !find_headers(reader->path, target->core, &ehdr, &table, &nr, err))
        return false;
    struct cursor row = table;
    for (uint64_t i = 0; i < nr; i++) {
        Elf64_Phdr phdr;
        memcpy(&phdr, row.pos, sizeof(phdr));
        cursor_skip(&row, sizeof(phdr));
        if (phdr.p_type == PT_LOAD)
            add_load(reader, &phdr);
    }
    take_loads(reader);
    if (!reader->has_data)
        return error_set(
            err, ERROR_INPUT,
            target->is_truncated
                ? "%s: truncated: all memory is cut off; copy the core again, or raise "
                  "`ulimit -c`"
                : "%s: holds no memory; `echo 0x33 > /proc/PID/coredump_filter` before "
                  "the core is made",
            reader->path);
    read_notes(reader, table, nr);
    if (!core_images_read(reader, err))
        return false;
    bool has_program = target->nr_images && target->images[0].is_program;
    target->name =
        has_program ? target->images[0].name
                    : arena_strndup(&target->arena, reader->short_name, strlen(reader->short_name));
    target->taken_at_ns = target->core->identity.modified_ns;
    return true;
}

bool core_open(struct target *target, const char *path, const char *exe, struct error *err)
{
    struct core_reader reader = {.target = target, .path = path, .exe = exe};
    target->core = arena_alloc(&target->arena, sizeof(*target->core));
    if (!file_open(target->core, path, err))
        return false;
    bool ok = read_core(&reader, err);
    free(reader.loads);
    return ok;
}

size_t core_read(const struct target *target, uint64_t addr, void *buffer, size_t size)
{
    size_t nr = SEARCH_UP_TO(target->segments, target->nr_segments, addr, addr), done = 0;
    for (size_t i = nr ? nr - 1 : 0; i < target->nr_segments && done < size; i++) {
        const struct core_segment *segment = &target->segments[i];
        uint64_t at = addr + done;
        if (at < segment->addr || at - segment->addr >= segment->size_bytes)
            break;
        uint64_t there = segment->size_bytes - (at - segment->addr);
        size_t bytes = there < size - done ? (size_t)there : size - done;
        memcpy((char *)buffer + done, segment->bytes + (at - segment->addr), bytes);
        done += bytes;
    }
    return done;
}
