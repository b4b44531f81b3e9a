/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Tiny ELF and DWARF files, made in memory: sections are byte strings that a test fills as it likes,
 * so that right and wrong files are equally easy to write.  Little-endian, 64-bit.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* --- growing byte strings -------------------------------------------------------------------- */

struct bytes {
    uint8_t *data;
    size_t nr, capacity;
};

void bytes_free(struct bytes *bytes);
void put_bytes(struct bytes *bytes, const void *data, size_t nr);
void put_zeros(struct bytes *bytes, size_t nr);
void put_uint(struct bytes *bytes, uint64_t value, unsigned width);
void put_uleb(struct bytes *bytes, uint64_t value);
void put_sleb(struct bytes *bytes, int64_t value);
void put_str(struct bytes *bytes, const char *text); /* with its NUL */
/* Overwrites `width` bytes at `at`. */
void set_uint(struct bytes *bytes, size_t at, uint64_t value, unsigned width);

/* --- ELF ------------------------------------------------------------------------------------- */

enum { MAX_SECTIONS = 32, MAX_LOADS = 4 };

struct elf_build {
    struct elf_build_section {
        const char *name;
        uint32_t type;
        uint64_t flags, addr;
        uint32_t link;
        struct bytes bytes;
    } sections[MAX_SECTIONS]; /* 1 is the string table of section names */
    unsigned nr_sections;
    struct {
        uint64_t addr, size_bytes;
        uint32_t flags;
    } loads[MAX_LOADS];
    unsigned nr_loads;
    uint16_t type, machine;
};

void elf_build_init(struct elf_build *elf); /* ET_DYN, EM_X86_64 */
void elf_build_free(struct elf_build *elf);
/* A new section; fill what it returns.  Its number is nr_sections - 1. */
struct bytes *elf_build_section(struct elf_build *elf, const char *name, uint32_t type,
                                uint64_t flags, uint64_t addr);
void elf_build_load(struct elf_build *elf, uint64_t addr, uint64_t size, uint32_t flags);
/* A symbol of .symtab, which is made with the first. */
void elf_build_symbol(struct elf_build *elf, const char *name, uint8_t type, uint64_t addr,
                      uint64_t size);
/* The whole file; bytes_free it. */
struct bytes elf_build_finish(struct elf_build *elf);
/* Writes the whole file to a new path below the temporary folder; free() the path. */
char *elf_build_write(struct elf_build *elf);
/* The same for any bytes. */
char *write_temporary(const void *data, size_t size);

/* --- DWARF ----------------------------------------------------------------------------------- */

/* An attribute: its name, form, and the value that its form takes; name 0 ends a list. */
struct attr {
    uint16_t name, form;
    uint64_t number;  /* numbers, offsets; for references a label (ref4, ref_udata, ref_addr) */
    const char *text; /* strings (string, strp, line_strp, strx1) and blocks (exprloc, block1) */
    size_t text_bytes;
};

enum { MAX_LABELS = 256, MAX_FIXUPS = 512 };

struct dwarf_build {
    struct bytes info, abbrev, str, line_str, str_offsets, addr, ranges, rnglists, line, cu_index;
    unsigned version;
    bool is_64;
    uint8_t address_bytes, unit_type;
    uint64_t dwo_id;
    uint32_t next_code, code_step; /* a step over 1 makes sparse abbreviation codes */
    size_t unit_at, abbrev_at;     /* where the open unit and its abbreviations begin */
    uint64_t labels[MAX_LABELS];   /* offset of the DIE in .debug_info */
    struct {
        size_t at;
        uint64_t base; /* what is taken off the label's offset */
        unsigned width, label;
    } fixups[MAX_FIXUPS];
    unsigned nr_fixups;
    bool is_split; /* section names end in .dwo */
};

void dwarf_build_init(struct dwarf_build *dwarf, unsigned version);
void dwarf_build_free(struct dwarf_build *dwarf);
/* Header of the next unit; the abbreviations are its own. */
void dwarf_build_unit(struct dwarf_build *dwarf);
void dwarf_build_unit_end(struct dwarf_build *dwarf);
/* A DIE with an abbreviation of its own; returns its offset in .debug_info.  `attrs` may be NULL. */
size_t dwarf_build_die(struct dwarf_build *dwarf, uint16_t tag, bool has_children,
                       const struct attr *attrs);
/* Ends a list of children. */
void dwarf_build_end(struct dwarf_build *dwarf);
/* The next DIE can be referred to by this label (1 .. MAX_LABELS-1). */
void dwarf_build_label(struct dwarf_build *dwarf, unsigned label);
/* Appends the text to .debug_str; returns its offset. */
uint64_t dwarf_build_string(struct dwarf_build *dwarf, const char *text);
/* Resolves the labels and moves the sections into the ELF file. */
void dwarf_build_finish(struct dwarf_build *dwarf, struct elf_build *elf);
