/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * libelf finds and bounds the sections; decompression is by zlib and zstd (libelf of Debian 12
 * knows no zstd sections).  Sources: System V ABI (gABI) chapters 4 and 5.
 */
#include "program/elf_file.h"

#include <gelf.h>
#include <libelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "base/cursor.h"
#include "base/search.h"
#include "base/text.h"

#ifndef ELFCOMPRESS_ZSTD
#define ELFCOMPRESS_ZSTD 2
#endif
#ifndef SHT_RELR
#define SHT_RELR 19
#endif

/* zlib cannot shrink by more than this; zstd seldom does.  A greater claim is not believed. */
enum { MAX_EXPANSION = 1100 };

static const char *const debug_names[NR_DEBUG_SECTIONS] = {
    [DEBUG_INFO] = "info",         [DEBUG_ABBREV] = "abbrev",           [DEBUG_STR] = "str",
    [DEBUG_LINE_STR] = "line_str", [DEBUG_STR_OFFSETS] = "str_offsets", [DEBUG_ADDR] = "addr",
    [DEBUG_RANGES] = "ranges",     [DEBUG_RNGLISTS] = "rnglists",       [DEBUG_LINE] = "line",
    [DEBUG_CU_INDEX] = "cu_index",
};

/* The first bytes decide what this is, so that the message can say what was found instead. */
static bool check_ident(const struct elf_file *elf, struct error *err)
{
    const uint8_t *id = elf->file.bytes;
    const char *path = elf->path;
    if (elf->file.size_bytes < SELFMAG || memcmp(id, ELFMAG, SELFMAG) != 0)
        return error_set(err, ERROR_INPUT,
                         "%s: is not an ELF file; give a Linux program or shared library", path);
    if (elf->file.size_bytes < sizeof(Elf64_Ehdr))
        return error_set(err, ERROR_INPUT,
                         "%s: truncated: the ELF header is cut off; "
                         "copy the file again",
                         path);
    if (id[EI_CLASS] != ELFCLASS64)
        return error_set(err, ERROR_INPUT, "%s: is a 32-bit ELF file; only 64-bit ones are read",
                         path);
    if (id[EI_DATA] != ELFDATA2LSB)
        return error_set(err, ERROR_INPUT,
                         "%s: is a big-endian ELF file; only little-endian ones are read", path);
    return true;
}

static bool error_truncated(const struct elf_file *elf, const char *what, struct error *err)
{
    return error_set(err, ERROR_INPUT,
                     "%s: truncated or corrupt: the %s lies outside the file's %llu bytes; "
                     "copy or build the file again",
                     elf->path, what, (unsigned long long)elf->file.size_bytes);
}

static bool read_segments(struct elf_file *elf, Elf *handle, struct error *err)
{
    size_t nr = 0;
    if (elf_getphdrnum(handle, &nr) != 0)
        return error_truncated(elf, "program header table", err);
    elf->segments = arena_alloc(&elf->arena, nr * sizeof(*elf->segments));
    for (size_t i = 0; i < nr; i++) {
        GElf_Phdr phdr;
        if (!gelf_getphdr(handle, (int)i, &phdr))
            return error_truncated(elf, "program header table", err);
        if (phdr.p_type == PT_LOAD)
            elf->segments[elf->nr_segments++] =
                (struct elf_segment){phdr.p_vaddr, phdr.p_memsz, phdr.p_flags & PF_X};
    }
    return true;
}

/*
 * The table of section names, straight from the file: libelf would unpack a compressed one into
 * memory that ends with its handle.  None where it does not end in NUL.
 */
static struct elf_bytes names_of(const struct elf_file *elf, Elf *handle, size_t index)
{
    GElf_Shdr shdr;
    Elf_Scn *scn = elf_getscn(handle, index);
    uint64_t size = elf->file.size_bytes;
    if (!scn || !gelf_getshdr(scn, &shdr) || shdr.sh_type == SHT_NOBITS ||
        (shdr.sh_flags & SHF_COMPRESSED) || !shdr.sh_size || shdr.sh_offset > size ||
        shdr.sh_size > size - shdr.sh_offset ||
        elf->file.bytes[shdr.sh_offset + shdr.sh_size - 1] != 0)
        return (struct elf_bytes){0};
    return (struct elf_bytes){elf->file.bytes + shdr.sh_offset, shdr.sh_size};
}

static bool read_section(struct elf_file *elf, struct elf_bytes names, Elf_Scn *scn,
                         struct error *err)
{
    GElf_Shdr shdr;
    if (!gelf_getshdr(scn, &shdr))
        return error_truncated(elf, "section header table", err);
    const char *name = shdr.sh_name < names.size ? (const char *)names.data + shdr.sh_name : "";
    struct elf_section *section = &elf->sections[elf->nr_sections++];
    *section = (struct elf_section){
        .name = name,
        .addr = shdr.sh_addr,
        .flags = shdr.sh_flags,
        .type = shdr.sh_type,
        .link = shdr.sh_link,
    };
    if (shdr.sh_type == SHT_NOBITS || shdr.sh_type == SHT_NULL)
        return true;
    if (shdr.sh_offset > elf->file.size_bytes ||
        shdr.sh_size > elf->file.size_bytes - shdr.sh_offset) {
        char what[128];
        snprintf(what, sizeof(what), "section %.100s", section->name);
        return error_truncated(elf, what, err);
    }
    section->bytes = (struct elf_bytes){elf->file.bytes + shdr.sh_offset, shdr.sh_size};
    return true;
}

static bool read_sections(struct elf_file *elf, Elf *handle, struct error *err)
{
    const Elf64_Ehdr *ehdr = (const Elf64_Ehdr *)elf->file.bytes;
    size_t nr = 0, names = 0;
    if (ehdr->e_shoff == 0)
        return true; /* all section headers were removed: symbols and DWARF with them */
    if (ehdr->e_shoff >= elf->file.size_bytes || elf_getshdrnum(handle, &nr) != 0 ||
        elf_getshdrstrndx(handle, &names) != 0 || !nr ||
        nr > (elf->file.size_bytes - ehdr->e_shoff) / sizeof(Elf64_Shdr))
        return error_truncated(elf, "section header table", err);
    elf->sections = arena_alloc(&elf->arena, (nr + 1) * sizeof(*elf->sections));
    uint64_t total = 0;
    struct elf_bytes name_bytes = names_of(elf, handle, names);
    for (size_t i = 0; i < nr; i++) {
        Elf_Scn *scn = elf_getscn(handle, i);
        if (!scn || !read_section(elf, name_bytes, scn, err))
            return scn ? false : error_truncated(elf, "section header table", err);
        total += elf->sections[i].bytes.size;
    }
    /* Bounds all later work: a thousand headers over the same megabyte are not a program. */
    if (total > 2 * elf->file.size_bytes)
        return error_set(err, ERROR_INPUT,
                         "%s: corrupt: its sections overlap; "
                         "copy or build the file again",
                         elf->path);
    return true;
}

/* Notes: gABI chapter 5, "Note Section"; type 3 of owner "GNU" is the build id. */
static void read_build_id(struct elf_file *elf, const struct elf_section *section)
{
    struct cursor c = cursor_make(section->bytes.data, section->bytes.size);
    while (cursor_left(&c) >= 12) {
        uint32_t name_bytes = cursor_u32(&c), desc_bytes = cursor_u32(&c), type = cursor_u32(&c);
        const uint8_t *name = c.pos;
        if (!cursor_skip(&c, ((uint64_t)name_bytes + 3) & ~3ull))
            return;
        const uint8_t *desc = c.pos;
        if (!cursor_skip(&c, desc_bytes))
            return;
        if (type == NT_GNU_BUILD_ID && name_bytes == 4 && memcmp(name, "GNU", 4) == 0 &&
            desc_bytes >= 2 && desc_bytes <= MAX_BUILD_ID_BYTES) {
            elf->build_id = desc;
            elf->build_id_bytes = desc_bytes;
            return;
        }
        cursor_skip(&c, (4 - desc_bytes % 4) % 4);
    }
}

/* .gnu_debuglink: a file name, padded to 4, and the CRC-32 of that file. */
static void read_debuglink(struct elf_file *elf, const struct elf_section *section)
{
    struct cursor c = cursor_make(section->bytes.data, section->bytes.size);
    const char *name = cursor_str(&c);
    uint64_t used = section->bytes.size - cursor_left(&c);
    if (!name || !*name || strchr(name, '/') || !cursor_skip(&c, (4 - used % 4) % 4))
        return;
    uint32_t crc = cursor_u32(&c);
    if (c.failed)
        return;
    elf->debuglink = name;
    elf->debuglink_crc = crc;
}

static bool inflate_zlib(uint8_t *out, uint64_t out_bytes, const uint8_t *in, uint64_t in_bytes)
{
    z_stream stream = {.next_in = (uint8_t *)in};
    if (inflateInit(&stream) != Z_OK)
        return false;
    int status = Z_OK;
    stream.next_out = out;
    const uint32_t step = 1u << 30; /* avail_* are 32 bits wide */
    uint64_t in_left = in_bytes, out_left = out_bytes;
    while (status == Z_OK && (in_left || stream.avail_in) && (out_left || stream.avail_out)) {
        if (!stream.avail_in) {
            stream.avail_in = in_left > step ? step : (uint32_t)in_left;
            in_left -= stream.avail_in;
        }
        if (!stream.avail_out) {
            stream.avail_out = out_left > step ? step : (uint32_t)out_left;
            out_left -= stream.avail_out;
        }
        status = inflate(&stream, Z_NO_FLUSH);
    }
    bool complete = status == Z_STREAM_END && !out_left && !stream.avail_out;
    inflateEnd(&stream);
    return complete;
}

/* Decompresses a section; the reason in elf->unread_debug when it cannot. */
static void decompress(struct elf_file *elf, enum debug_section which, uint32_t algorithm,
                       uint64_t out_bytes, struct cursor in)
{
    uint64_t in_bytes = cursor_left(&in);
    if (in.failed || !out_bytes || out_bytes / MAX_EXPANSION > in_bytes) {
        elf->unread_debug = "a compressed debug section has a bad header";
        return;
    }
    /* Not from the arena: a claim that is too big must be no more than a note. */
    free(elf->unpacked[which]); /* of an earlier section of that name, which was corrupt */
    uint8_t *out = elf->unpacked[which] = malloc(out_bytes);
    if (!out) {
        elf->unread_debug = "a compressed debug section is too big for the memory";
        return;
    }
    bool ok = algorithm == ELFCOMPRESS_ZLIB ? inflate_zlib(out, out_bytes, in.pos, in_bytes)
              : algorithm == ELFCOMPRESS_ZSTD
                  ? ZSTD_decompress(out, out_bytes, in.pos, in_bytes) == out_bytes
                  : false;
    if (ok)
        elf->debug[which] = (struct elf_bytes){out, out_bytes};
    else
        elf->unread_debug = algorithm == ELFCOMPRESS_ZLIB || algorithm == ELFCOMPRESS_ZSTD
                                ? "a compressed debug section is corrupt"
                                : "a debug section is compressed in an unknown way";
}

static void take_debug_section(struct elf_file *elf, enum debug_section which,
                               const struct elf_section *section, bool is_zdebug)
{
    struct cursor c = cursor_make(section->bytes.data, section->bytes.size);
    if (section->flags & SHF_COMPRESSED) {
        uint32_t algorithm = cursor_u32(&c);
        cursor_skip(&c, 4);
        uint64_t size = cursor_u64(&c);
        cursor_skip(&c, 8);
        decompress(elf, which, algorithm, size, c);
    } else if (is_zdebug) {
        uint64_t size = 0; /* "ZLIB" and the size, big-endian */
        bool magic = cursor_left(&c) >= 12 && memcmp(c.pos, "ZLIB", 4) == 0;
        for (int i = 0; magic && i < 8; i++)
            size = size << 8 | c.pos[4 + i];
        cursor_skip(&c, 12);
        c.failed |= !magic;
        decompress(elf, which, ELFCOMPRESS_ZLIB, size, c);
    } else {
        elf->debug[which] = section->bytes;
    }
}

static void classify_section(struct elf_file *elf, const struct elf_section *section)
{
    if (!section->bytes.data)
        return;
    if (section->type == SHT_NOTE && !elf->build_id)
        read_build_id(elf, section);
    if (strcmp(section->name, ".gnu_debuglink") == 0)
        read_debuglink(elf, section);
    if (section->type == SHT_SYMTAB)
        elf->has_symtab = true;
    bool is_zdebug = str_starts_with(section->name, ".zdebug_");
    if (!is_zdebug && !str_starts_with(section->name, ".debug_"))
        return;
    const char *name = section->name + (is_zdebug ? 8 : 7);
    for (int i = 0; i < NR_DEBUG_SECTIONS; i++) {
        size_t length = strlen(debug_names[i]);
        if (strncmp(name, debug_names[i], length) != 0)
            continue;
        bool split = strcmp(name + length, ".dwo") == 0;
        if ((name[length] && !split) || elf->debug[i].data)
            continue;
        elf->has_split_sections |= split;
        take_debug_section(elf, (enum debug_section)i, section, is_zdebug);
    }
}

bool elf_file_open(struct elf_file *elf, const char *path, struct error *err)
{
    *elf = (struct elf_file){0};
    arena_init(&elf->arena);
    elf->path = arena_strndup(&elf->arena, path, strlen(path));
    if (!file_open(&elf->file, path, err))
        goto fail;
    if (!check_ident(elf, err))
        goto fail;
    const Elf64_Ehdr *ehdr = (const Elf64_Ehdr *)elf->file.bytes;
    elf->type = ehdr->e_type;
    elf->machine = ehdr->e_machine;
    elf_version(EV_CURRENT);
    Elf *handle = elf_memory((char *)elf->file.bytes, elf->file.size_bytes);
    if (!handle || elf_kind(handle) != ELF_K_ELF) {
        elf_end(handle);
        error_set(err, ERROR_INPUT, "%s: the ELF header is corrupt; copy or build the file again",
                  path);
        goto fail;
    }
    bool ok = read_segments(elf, handle, err) && read_sections(elf, handle, err);
    elf_end(handle);
    if (!ok)
        goto fail;
    for (uint32_t i = 0; i < elf->nr_sections; i++)
        classify_section(elf, &elf->sections[i]);
    return true;
fail:
    elf_file_close(elf);
    return false;
}

void elf_file_close(struct elf_file *elf)
{
    free(elf->symbols);
    for (int i = 0; i < NR_DEBUG_SECTIONS; i++)
        free(elf->unpacked[i]);
    file_close(&elf->file);
    arena_deinit(&elf->arena);
    *elf = (struct elf_file){0};
}

static int by_addr(const void *a, const void *b)
{
    const struct elf_symbol *x = a, *y = b;
    if (x->addr != y->addr)
        return x->addr < y->addr ? -1 : 1;
    return strcmp(x->name, y->name);
}

static void read_symbol_section(struct elf_file *elf, const struct elf_section *section)
{
    if (section->link >= elf->nr_sections || !section->bytes.data)
        return;
    struct elf_bytes names = elf->sections[section->link].bytes;
    /* One check that the table ends in NUL bounds every name in it. */
    if (!names.data || !names.size || names.data[names.size - 1] != 0)
        return;
    uint64_t nr = section->bytes.size / sizeof(Elf64_Sym);
    elf->symbols = memory_resize(elf->symbols, (elf->nr_symbols + nr) * sizeof(*elf->symbols));
    for (uint64_t i = 0; i < nr; i++) {
        Elf64_Sym sym;
        memcpy(&sym, section->bytes.data + i * sizeof(sym), sizeof(sym));
        uint8_t type = ELF64_ST_TYPE(sym.st_info);
        if ((type != STT_FUNC && type != STT_OBJECT && type != STT_TLS) ||
            sym.st_shndx == SHN_UNDEF || sym.st_name >= names.size)
            continue;
        elf->symbols[elf->nr_symbols++] = (struct elf_symbol){
            sym.st_value, sym.st_size, (const char *)names.data + sym.st_name, type};
    }
}

void elf_file_symbols(struct elf_file *elf)
{
    if (elf->symbols_read)
        return;
    elf->symbols_read = true;
    uint32_t wanted = elf->has_symtab ? SHT_SYMTAB : SHT_DYNSYM;
    for (uint32_t i = 0; i < elf->nr_sections; i++)
        if (elf->sections[i].type == wanted)
            read_symbol_section(elf, &elf->sections[i]);
    if (elf->nr_symbols)
        qsort(elf->symbols, elf->nr_symbols, sizeof(*elf->symbols), by_addr);
}

const struct elf_symbol *elf_symbol_at(const struct elf_file *elf, uint64_t addr)
{
    size_t low = SEARCH_UP_TO(elf->symbols, elf->nr_symbols, addr, addr);
    /* Several may share an address, and a zero-sized one may precede: look back a little. */
    for (uint32_t tries = 0; low > 0 && tries < 16; tries++) {
        const struct elf_symbol *symbol = &elf->symbols[--low];
        if (symbol->type != STT_FUNC)
            continue;
        if (addr == symbol->addr || addr - symbol->addr < symbol->size_bytes)
            return symbol;
    }
    return NULL;
}

bool elf_addr_is_code(const struct elf_file *elf, uint64_t addr)
{
    for (uint32_t i = 0; i < elf->nr_segments; i++)
        if (elf->segments[i].executable && addr >= elf->segments[i].addr &&
            addr - elf->segments[i].addr < elf->segments[i].size_bytes)
            return true;
    return false;
}

static bool is_relative(uint16_t machine, uint32_t type)
{
    return (machine == EM_X86_64 && type == R_X86_64_RELATIVE) ||
           (machine == EM_AARCH64 && type == R_AARCH64_RELATIVE);
}

/* The words that hold `addr`, or NULL. */
static uint64_t *word_at(struct elf_words *data, uint32_t nr, uint64_t addr)
{
    for (uint32_t i = 0; i < nr; i++)
        if (addr >= data[i].addr && (addr - data[i].addr) / 8 < data[i].nr_words && addr % 8 == 0)
            return &data[i].words[(addr - data[i].addr) / 8];
    return NULL;
}

struct elf_words *elf_data_words(const struct elf_file *elf, struct arena *arena, uint32_t *nr)
{
    struct elf_words *data = arena_alloc(arena, (elf->nr_sections + 1) * sizeof(*data));
    *nr = 0;
    for (uint32_t i = 0; i < elf->nr_sections; i++) {
        const struct elf_section *s = &elf->sections[i];
        if (s->type != SHT_PROGBITS || !(s->flags & SHF_ALLOC) || (s->flags & SHF_EXECINSTR) ||
            s->addr % 8 || s->bytes.size < 80)
            continue;
        struct elf_words *words = &data[(*nr)++];
        *words = (struct elf_words){s->addr, arena_alloc(arena, s->bytes.size), s->bytes.size / 8};
        memcpy(words->words, s->bytes.data, words->nr_words * 8);
    }
    /* RELR and REL keep their addends in place; only RELA needs work. */
    for (uint32_t i = 0; i < elf->nr_sections; i++) {
        const struct elf_section *s = &elf->sections[i];
        if (s->type != SHT_RELA || !(s->flags & SHF_ALLOC) || !s->bytes.data)
            continue;
        for (uint64_t at = 0; at + sizeof(Elf64_Rela) <= s->bytes.size; at += sizeof(Elf64_Rela)) {
            Elf64_Rela rela;
            memcpy(&rela, s->bytes.data + at, sizeof(rela));
            uint64_t *word = is_relative(elf->machine, ELF64_R_TYPE(rela.r_info))
                                 ? word_at(data, *nr, rela.r_offset)
                                 : NULL;
            if (word)
                *word = (uint64_t)rela.r_addend;
        }
    }
    return data;
}
