/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Debugging information entries (DIEs) of one program, DWARF 4 and 5, from all the files that
 * hold them: the program, its separate debug file, its .dwp or its .dwo files.  The stage before:
 * elf_file.  The stages after: index, layout, symbolize.
 *
 * libdw is not used for this: rustc writes no DW_AT_sibling, so an index must pass over every DIE,
 * at which this reader is ten times faster; the libdw of Debian 12 reads no .dwp and no zstd; and
 * each byte here is hostile input, so each read is bounded.  docs/ARCHITECTURE.md has the figures.
 *
 * A DIE is named by its die_ref: file number and offset, valid for the lifetime of the struct
 * dwarf.  Units are opened by dwarf_open; abbreviations of a unit are parsed by dwarf_unit_load,
 * which one thread at a time may call for a given unit; afterwards all reading is thread-safe.
 *
 * Sources: DWARF 4 section 7, DWARF 5 section 7, and for DWARF 4 split units and packages the GNU
 * "DebugFission" and "DebugFissionDWP" pages.
 */
#pragma once

#include "base/cursor.h"
#include "base/memory.h"
#include "program/elf_file.h"

typedef uint64_t die_ref; /* file number << 44 | offset in that file's .debug_info; ~0: none */
#define DIE_NONE (~(die_ref)0)

struct dwarf_attr_spec {
    uint16_t name;
    uint16_t form;
    int16_t bytes;    /* length in the unit, -1 where it varies; see dwarf_form_bytes */
    int32_t implicit; /* DW_FORM_implicit_const only */
};

struct dwarf_abbrev {
    uint32_t code;
    uint16_t tag;
    bool has_children;
    uint16_t nr_attrs;
    uint32_t first_attr;
    int32_t fixed_bytes; /* length of all attributes, -1 where it varies */
};

struct dwarf_unit;

struct dwarf_file {
    const struct elf_file *elf;
    uint32_t number;          /* index in dwarf->files */
    struct dwarf_unit *units; /* by offset */
    uint32_t nr_units;
    bool is_split; /* its sections are .dwo ones */
};

struct dwarf_unit {
    const struct dwarf_file *file;
    const struct dwarf_unit *skeleton; /* of a split unit: where .debug_addr and lines are */
    uint64_t offset;                   /* of its header in .debug_info */
    uint64_t die_offset;               /* of its first DIE */
    uint64_t end;
    uint16_t version;
    uint8_t type; /* DW_UT_*, DW_UT_compile before DWARF 5 */
    uint8_t address_bytes;
    uint8_t offset_bytes; /* 4, or 8 in 64-bit DWARF */
    uint64_t abbrev_offset;
    uint64_t dwo_id;
    uint64_t str_offsets_base, addr_base, ranges_base, rnglists_base, low_pc;
    uint64_t line_offset; /* DW_AT_stmt_list, ~0 where absent */
    const char *name, *comp_dir, *dwo_name;
    bool is_rust;  /* DW_AT_language says so */
    bool is_std;   /* of the standard library, which comes compiled */
    bool loaded;   /* dwarf_unit_load was called ... */
    bool readable; /* ... and found abbreviations and a first DIE */
    struct dwarf_abbrev *abbrevs;
    uint32_t nr_abbrevs;
    bool dense; /* codes are 1, 2, 3, ... */
    struct dwarf_attr_spec *attrs;
    /* Rows of the index's scopes that lie in this unit, in the order of their offsets. */
    uint32_t first_scope, nr_scopes;
    struct line_files *line_files; /* see dwarf_line.h */
};

struct dwarf {
    struct arena arena;
    struct dwarf_file **files;
    size_t nr_files, files_capacity;
    uint32_t nr_units;
    uint32_t nr_corrupt_files; /* whose list of units ended early */
};

struct dwarf_die {
    const struct dwarf_unit *unit;
    const struct dwarf_abbrev *abbrev; /* NULL for the null entry that ends a list of children */
    uint64_t offset;
    const uint8_t *attrs; /* first attribute byte */
    uint64_t after;       /* offset behind the attributes: the first child, or the sibling */
};

enum dwarf_class {
    DWARF_NONE, /* the attribute is absent or its form is unknown */
    DWARF_CONSTANT,
    DWARF_STRING,
    DWARF_REFERENCE,
    DWARF_ADDRESS,
    DWARF_BLOCK,
    DWARF_OFFSET, /* into another section */
};

struct dwarf_value {
    enum dwarf_class class;
    uint16_t form;
    bool is_signed;  /* DWARF_CONSTANT: `number` was sign-extended */
    uint64_t number; /* constant, address, offset, or die_ref; bytes of the block */
    const uint8_t *block;
    const char *string; /* NUL-terminated */
};

void dwarf_init(struct dwarf *dwarf);
void dwarf_deinit(struct dwarf *dwarf);

/*
 * Lists the units of a file, which outlives the struct, and of a package reads the index.  A unit
 * whose header is corrupt ends the list (nr_corrupt_files).  NULL: no .debug_info in the file.
 */
struct dwarf_file *dwarf_add_file(struct dwarf *dwarf, const struct elf_file *elf);

/* Parses abbreviations and the attributes of the first DIE.  False: the unit cannot be read. */
bool dwarf_unit_load(struct dwarf_unit *unit, struct arena *arena);

/* Joins loaded split units with their skeletons, by DWO id. */
void dwarf_join_split(struct dwarf *dwarf);

static inline die_ref die_ref_make(const struct dwarf_unit *unit, uint64_t offset)
{
    return (die_ref)unit->file->number << 44 | offset;
}

static inline die_ref die_ref_of(const struct dwarf_die *die)
{
    return die_ref_make(die->unit, die->offset);
}

/* False where there is no DIE at `ref` or its unit is not readable. */
bool dwarf_die_at(const struct dwarf *dwarf, die_ref ref, struct dwarf_die *die);

/*
 * Reads the DIE at `offset` of a loaded unit; *after gets the offset behind its attributes, which
 * is its first child, or its sibling where it has no children.  False at corrupt bytes.
 */
bool dwarf_die_read(const struct dwarf_unit *unit, uint64_t offset, struct dwarf_die *die,
                    uint64_t *after);

/*
 * Passes over a list of children: from *offset, its first DIE, to behind the null entry that ends
 * it.  Adds the DIEs on the way to *nr.  False at corrupt bytes.
 */
bool dwarf_skip_list(const struct dwarf_unit *unit, uint64_t *offset, uint64_t *nr);

/* First child and next sibling; false at the end.  `sibling` walks over the children. */
bool dwarf_child(const struct dwarf_die *die, struct dwarf_die *child);
bool dwarf_sibling(const struct dwarf_die *die, struct dwarf_die *sibling);

/* One attribute; class DWARF_NONE where it is absent. */
struct dwarf_value dwarf_attr(const struct dwarf_die *die, uint16_t name);
/* Short forms: NULL, DIE_NONE or the given default where absent or of another class. */
const char *dwarf_attr_string(const struct dwarf_die *die, uint16_t name);
die_ref dwarf_attr_ref(const struct dwarf_die *die, uint16_t name);
uint64_t dwarf_attr_number(const struct dwarf_die *die, uint16_t name, uint64_t absent);
bool dwarf_attr_flag(const struct dwarf_die *die, uint16_t name);

struct pc_range {
    uint64_t low, high; /* [low, high) */
};

/* The code of a DIE (low/high pc or ranges), appended to the caller's array. */
struct pc_ranges {
    struct pc_range *rows;
    size_t nr, capacity;
};
void dwarf_ranges(const struct dwarf_die *die, struct pc_ranges *ranges);

static inline uint16_t dwarf_tag(const struct dwarf_die *die)
{
    return die->abbrev ? die->abbrev->tag : 0;
}
