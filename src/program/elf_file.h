/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * One ELF file: headers, sections, symbols and relocated data.  The stage before: a path.  The
 * stages after: dwarf (the debug sections), task_vtables (data words), demangle (symbols).
 *
 * Any 64-bit little-endian ELF is read, whatever its machine.  All pointers borrow from the open
 * file and hold until elf_file_close.  Read-only after elf_file_open: may be shared by threads,
 * but for elf_file_symbols, whose first call must be by one thread alone.
 */
#pragma once

#include <elf.h>

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"

/* The DWARF sections that are read.  Their names in a file: ".debug_" and the name of the row in
 * elf_file.c, ".dwo" at the end in split files, ".zdebug_" in old compressed ones. */
enum debug_section {
    DEBUG_INFO,
    DEBUG_ABBREV,
    DEBUG_STR,
    DEBUG_LINE_STR,
    DEBUG_STR_OFFSETS,
    DEBUG_ADDR,
    DEBUG_RANGES,
    DEBUG_RNGLISTS,
    DEBUG_LINE,
    DEBUG_CU_INDEX,
    NR_DEBUG_SECTIONS,
};

enum { MAX_BUILD_ID_BYTES = 64 };

struct elf_bytes {
    const uint8_t *data; /* NULL where the section is absent */
    uint64_t size;
};

struct elf_section {
    const char *name;
    uint64_t addr;
    uint64_t flags; /* SHF_* */
    uint32_t type;  /* SHT_* */
    uint32_t link;
    struct elf_bytes bytes; /* as in the file, even where compressed; none for SHT_NOBITS */
};

struct elf_segment {
    uint64_t addr;
    uint64_t size_bytes; /* in memory */
    bool executable;
};

struct elf_symbol {
    uint64_t addr;
    uint64_t size_bytes;
    const char *name;
    uint8_t type; /* STT_FUNC, STT_OBJECT or STT_TLS */
};

struct elf_file {
    char *path; /* in `arena` */
    struct file file;
    struct arena arena;
    uint16_t type;    /* ET_* */
    uint16_t machine; /* EM_* */
    struct elf_section *sections;
    uint32_t nr_sections;
    struct elf_segment *segments; /* PT_LOAD only */
    uint32_t nr_segments;
    struct elf_bytes debug[NR_DEBUG_SECTIONS]; /* decompressed */
    uint8_t *unpacked[NR_DEBUG_SECTIONS];      /* those that were compressed; owned */
    bool has_split_sections;                   /* they are the .dwo ones */
    bool has_rust;                             /* a Rust symbol, section or producer was seen */
    const char *unread_debug;                  /* why a debug section could not be read, or NULL */
    const uint8_t *build_id;
    uint32_t build_id_bytes; /* 0: none */
    const char *debuglink;   /* file name of .gnu_debuglink, or NULL */
    uint32_t debuglink_crc;
    struct elf_symbol *symbols; /* by address; see elf_file_symbols */
    uint32_t nr_symbols;
    bool symbols_read;
    bool has_symtab; /* .symtab, not only .dynsym */
};

/*
 * Errors (ERROR_INPUT): not ELF, 32-bit, big-endian, truncated, unreadable.  `err` gets one line
 * that begins with the path.
 */
MUST_CHECK bool elf_file_open(struct elf_file *elf, const char *path, struct error *err);
void elf_file_close(struct elf_file *elf);

/* Reads the symbol table once; afterwards elf->symbols is sorted by address. */
void elf_file_symbols(struct elf_file *elf);
/* The function symbol that covers `addr`, or NULL. */
const struct elf_symbol *elf_symbol_at(const struct elf_file *elf, uint64_t addr);

bool elf_addr_is_code(const struct elf_file *elf, uint64_t addr);

/*
 * The content of a data section as the dynamic loader leaves it at load address 0: relative
 * relocations are applied.  `words` has size/8 entries, in the caller's arena.
 */
struct elf_words {
    uint64_t addr;
    uint64_t *words;
    uint64_t nr_words;
};
/* Every allocated, non-executable section with content; *nr of them, in the arena. */
struct elf_words *elf_data_words(const struct elf_file *elf, struct arena *arena, uint32_t *nr);
