/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "program/dwarf.h"

#include <dwarf.h>
#include <stdlib.h>

#include "base/map.h"
#include "base/search.h"
#include "program/dwarf_form.h"

#define ABSENT (~(uint64_t)0)

void dwarf_init(struct dwarf *dwarf)
{
    *dwarf = (struct dwarf){0};
    arena_init(&dwarf->arena);
}

void dwarf_deinit(struct dwarf *dwarf)
{
    free(dwarf->files);
    arena_deinit(&dwarf->arena);
    *dwarf = (struct dwarf){0};
}

/* --- packages -------------------------------------------------------------------------------- */

/* What a row of .debug_cu_index says of one unit: where its parts of the other sections begin. */
struct contribution {
    uint64_t info, abbrev, str_offsets, rnglists;
};

struct package {
    struct contribution *rows; /* row 0 of the index is rows[0] */
    uint32_t nr_rows;
    struct map by_info; /* offset in .debug_info -> row + 1 */
};

/* DWARF 5 section 7.3.5.3; version 2 (GNU) differs in the header and in ids above 4. */
static void read_package(struct package *package, const struct elf_file *elf, struct arena *arena)
{
    struct elf_bytes index = elf->debug[DEBUG_CU_INDEX];
    struct cursor c = cursor_make(index.data, index.size);
    uint32_t version = cursor_u16(&c);
    cursor_skip(&c, 2);
    uint32_t nr_sections = cursor_u32(&c), nr_units = cursor_u32(&c), nr_slots = cursor_u32(&c);
    if (c.failed || nr_sections > 16 || !cursor_skip(&c, (uint64_t)nr_slots * 12))
        return;
    uint32_t ids[16] = {0};
    for (uint32_t i = 0; i < nr_sections; i++)
        ids[i] = cursor_u32(&c);
    if (c.failed || cursor_left(&c) / 4 / (nr_sections ? nr_sections : 1) < nr_units)
        return;
    package->rows = arena_alloc(arena, (nr_units + 1) * sizeof(*package->rows));
    package->nr_rows = nr_units;
    for (uint32_t row = 0; row < nr_units; row++) {
        struct contribution *to = &package->rows[row];
        for (uint32_t i = 0; i < nr_sections; i++) {
            uint64_t offset = cursor_u32(&c);
            if (ids[i] == DW_SECT_INFO)
                to->info = offset;
            else if (ids[i] == DW_SECT_ABBREV)
                to->abbrev = offset;
            else if (ids[i] == DW_SECT_STR_OFFSETS)
                to->str_offsets = offset;
            else if (ids[i] == DW_SECT_RNGLISTS && version == 5)
                to->rnglists = offset;
        }
        *map_put(&package->by_info, to->info, NULL) = row + 1;
    }
}

/* --- units ----------------------------------------------------------------------------------- */

/* DWARF 5 section 7.5.1.  False at the end of the section or at a corrupt header. */
static bool read_unit_header(struct dwarf_unit *unit, const struct dwarf_file *file,
                             uint64_t offset, bool *corrupt)
{
    struct elf_bytes info = file->elf->debug[DEBUG_INFO];
    struct cursor c = cursor_at(info.data, info.size, offset);
    if (c.failed || cursor_left(&c) < 4)
        return false;
    *corrupt = true;
    *unit = (struct dwarf_unit){.file = file,
                                .offset = offset,
                                .type = DW_UT_compile,
                                .offset_bytes = 4,
                                .line_offset = ABSENT};
    uint64_t length = cursor_u32(&c);
    if (length == 0xffffffff) {
        unit->offset_bytes = 8;
        length = cursor_u64(&c);
    }
    if (c.failed || length > cursor_left(&c))
        return false;
    unit->end = info.size - cursor_left(&c) + length;
    unit->version = cursor_u16(&c);
    if (unit->version >= 5) {
        unit->type = cursor_u8(&c);
        unit->address_bytes = cursor_u8(&c);
        unit->abbrev_offset = cursor_uint(&c, unit->offset_bytes);
        if (unit->type == DW_UT_skeleton || unit->type == DW_UT_split_compile)
            unit->dwo_id = cursor_u64(&c);
        else if (unit->type == DW_UT_type || unit->type == DW_UT_split_type)
            cursor_skip(&c, 8u + unit->offset_bytes);
    } else {
        unit->abbrev_offset = cursor_uint(&c, unit->offset_bytes);
        unit->address_bytes = cursor_u8(&c);
    }
    unit->die_offset = info.size - cursor_left(&c);
    *corrupt = c.failed || unit->die_offset > unit->end;
    return !*corrupt;
}

static void place_split_unit(struct dwarf_unit *unit, const struct package *package)
{
    /* In a package a unit's offsets are relative to its contributions; alone they start at 0. */
    const uint32_t *row = map_find(&package->by_info, unit->offset);
    struct contribution at = row ? package->rows[*row - 1] : (struct contribution){0};
    unit->abbrev_offset += at.abbrev;
    unit->str_offsets_base = at.str_offsets;
    unit->rnglists_base = at.rnglists;
    if (unit->version >= 5) {
        unit->str_offsets_base += unit->offset_bytes == 8 ? 16 : 8; /* behind the header, 7.26 */
        unit->rnglists_base += unit->offset_bytes == 8 ? 20 : 12;   /* behind the header, 7.28 */
    }
}

struct dwarf_file *dwarf_add_file(struct dwarf *dwarf, const struct elf_file *elf)
{
    if (!elf->debug[DEBUG_INFO].data || !elf->debug[DEBUG_ABBREV].data)
        return NULL;
    struct dwarf_file *file = arena_alloc(&dwarf->arena, sizeof(*file));
    *file = (struct dwarf_file){
        .elf = elf, .number = (uint32_t)dwarf->nr_files, .is_split = elf->has_split_sections};
    struct package package = {0};
    if (file->is_split && elf->debug[DEBUG_CU_INDEX].data)
        read_package(&package, elf, &dwarf->arena);
    size_t capacity = 0;
    struct dwarf_unit *units = NULL;
    bool corrupt = false;
    for (uint64_t offset = 0;;) {
        struct dwarf_unit unit;
        if (!read_unit_header(&unit, file, offset, &corrupt))
            break;
        offset = unit.end;
        if (unit.version < 2 || unit.version > 5 || unit.address_bytes > 8)
            continue;
        if (file->is_split)
            place_split_unit(&unit, &package);
        units = array_reserve(units, &capacity, file->nr_units + 1, sizeof(*units));
        units[file->nr_units++] = unit;
    }
    dwarf->nr_corrupt_files += corrupt;
    file->units = arena_alloc(&dwarf->arena, file->nr_units * sizeof(*units));
    if (file->nr_units)
        memcpy(file->units, units, file->nr_units * sizeof(*units));
    free(units);
    map_deinit(&package.by_info);
    dwarf->files = array_reserve(dwarf->files, &dwarf->files_capacity, dwarf->nr_files + 1,
                                 sizeof(struct dwarf_file *));
    dwarf->files[dwarf->nr_files++] = file;
    dwarf->nr_units += file->nr_units;
    return file;
}

/* --- abbreviations --------------------------------------------------------------------------- */

static int by_code(const void *a, const void *b)
{
    const struct dwarf_abbrev *x = a, *y = b;
    return x->code < y->code ? -1 : x->code > y->code;
}

/* Reads the attributes of one declaration; false at its corrupt end. */
static bool read_specs(struct dwarf_unit *unit, struct cursor *c, struct dwarf_abbrev *abbrev,
                       struct dwarf_attr_spec **specs, size_t *nr, size_t *capacity)
{
    int64_t fixed = 0;
    abbrev->first_attr = (uint32_t)*nr;
    for (;;) {
        uint64_t name = cursor_uleb(c), form = cursor_uleb(c);
        int64_t implicit = form == DW_FORM_implicit_const ? cursor_sleb(c) : 0;
        if (c->failed || abbrev->nr_attrs == UINT16_MAX)
            return false;
        if (name == 0 && form == 0)
            break;
        int bytes = dwarf_form_bytes(unit, (uint16_t)form);
        *specs = array_reserve(*specs, capacity, *nr + 1, sizeof(**specs));
        (*specs)[(*nr)++] = (struct dwarf_attr_spec){.name = (uint16_t)name,
                                                     .form = (uint16_t)form,
                                                     .bytes = (int16_t)bytes,
                                                     .implicit = (int32_t)implicit};
        abbrev->nr_attrs++;
        fixed = bytes < 0 || fixed < 0 ? -1 : fixed + bytes;
    }
    abbrev->fixed_bytes = fixed > INT32_MAX ? -1 : (int32_t)fixed;
    return true;
}

/* DWARF 5 section 7.5.3. */
static void read_abbrevs(struct dwarf_unit *unit, struct arena *arena)
{
    struct elf_bytes section = unit->file->elf->debug[DEBUG_ABBREV];
    struct cursor c = cursor_at(section.data, section.size, unit->abbrev_offset);
    struct dwarf_abbrev *rows = NULL;
    struct dwarf_attr_spec *specs = NULL;
    size_t nr = 0, rows_capacity = 0, nr_specs = 0, specs_capacity = 0;
    unit->dense = true;
    while (!c.failed) {
        struct dwarf_abbrev abbrev = {.code = (uint32_t)cursor_uleb(&c)};
        if (!abbrev.code)
            break;
        abbrev.tag = (uint16_t)cursor_uleb(&c);
        abbrev.has_children = cursor_u8(&c) != 0;
        if (c.failed || !read_specs(unit, &c, &abbrev, &specs, &nr_specs, &specs_capacity))
            break;
        unit->dense &= abbrev.code == nr + 1;
        rows = array_reserve(rows, &rows_capacity, nr + 1, sizeof(*rows));
        rows[nr++] = abbrev;
    }
    if (!unit->dense)
        qsort(rows, nr, sizeof(*rows), by_code);
    unit->abbrevs = arena_alloc_raw(arena, nr * sizeof(*rows) + 1);
    unit->attrs = arena_alloc_raw(arena, nr_specs * sizeof(*specs) + 1);
    unit->nr_abbrevs = (uint32_t)nr;
    if (nr)
        memcpy(unit->abbrevs, rows, nr * sizeof(*rows));
    if (nr_specs)
        memcpy(unit->attrs, specs, nr_specs * sizeof(*specs));
    free(rows);
    free(specs);
}

static inline const struct dwarf_abbrev *find_abbrev(const struct dwarf_unit *unit, uint64_t code)
{
    if (unit->dense)
        return code - 1 < unit->nr_abbrevs ? &unit->abbrevs[code - 1] : NULL;
    struct dwarf_abbrev key = {.code = (uint32_t)code};
    return code > UINT32_MAX ? NULL
                             : bsearch(&key, unit->abbrevs, unit->nr_abbrevs, sizeof(key), by_code);
}

/* --- DIEs ------------------------------------------------------------------------------------ */

/* Lengths that are fixed are summed up and skipped at once. */
static inline void skip_attrs(const struct dwarf_unit *unit, const struct dwarf_abbrev *abbrev,
                              struct cursor *c)
{
    if (abbrev->fixed_bytes >= 0) {
        cursor_skip(c, (uint64_t)abbrev->fixed_bytes);
        return;
    }
    const struct dwarf_attr_spec *spec = &unit->attrs[abbrev->first_attr];
    const struct dwarf_attr_spec *end = spec + abbrev->nr_attrs;
    uint64_t fixed = 0;
    for (; spec < end; spec++) {
        if (spec->bytes >= 0) {
            fixed += (uint64_t)spec->bytes;
            continue;
        }
        cursor_skip(c, fixed);
        fixed = 0;
        if (spec->form == DW_FORM_exprloc)
            cursor_skip(c, cursor_uleb(c));
        else
            dwarf_attr_skip(unit, spec, c);
    }
    cursor_skip(c, fixed);
}

bool dwarf_die_read(const struct dwarf_unit *unit, uint64_t offset, struct dwarf_die *die,
                    uint64_t *after)
{
    if (offset < unit->die_offset || offset >= unit->end)
        return false;
    const uint8_t *info = unit->file->elf->debug[DEBUG_INFO].data;
    struct cursor c = {info + offset, info + unit->end, false};
    uint64_t code = cursor_uleb(&c);
    *die = (struct dwarf_die){.unit = unit, .offset = offset, .attrs = c.pos};
    if (code) {
        die->abbrev = find_abbrev(unit, code);
        if (!die->abbrev)
            return false;
        skip_attrs(unit, die->abbrev, &c);
    }
    *after = die->after = (uint64_t)(c.pos - info);
    return !c.failed;
}

bool dwarf_skip_list(const struct dwarf_unit *unit, uint64_t *offset, uint64_t *nr)
{
    const uint8_t *info = unit->file->elf->debug[DEBUG_INFO].data;
    struct cursor c = {info + *offset, info + unit->end, false};
    for (uint64_t depth = 1; c.pos < c.end && !c.failed;) {
        uint64_t code = *c.pos < 0x80 ? *c.pos++ : cursor_uleb(&c);
        if (!code) {
            if (--depth)
                continue;
            *offset = (uint64_t)(c.pos - info);
            return !c.failed;
        }
        const struct dwarf_abbrev *abbrev = find_abbrev(unit, code);
        if (!abbrev)
            return false;
        skip_attrs(unit, abbrev, &c);
        depth += abbrev->has_children;
        ++*nr;
    }
    return false;
}

/*
 * "/rustc/HASH/library/core/src/lib.rs/@/core.HASH-cgu.0", and the crates that std brings:
 * "/rust/deps/hashbrown-0.16.1/...", in Debian's older builds "/usr/src/rustc-1.63.0/vendor/...".
 */
static bool is_std_unit(const char *name, const char *folder)
{
    static const char *const crates[] = {
        "std/",    "core/", "alloc/",     "panic_", "compiler-builtins/",
        "unwind/", "test/", "proc_macro/"};
    if (!name)
        return false;
    if (strncmp(name, "/rust/deps/", strlen("/rust/deps/")) == 0 ||
        (strstr(name, "/rustc-") && strstr(name, "/vendor/")))
        return true;
    const char *at = strstr(name, "library/");
    bool compiler = strstr(name, "/rustc") || (folder && strstr(folder, "/rustc"));
    if (!at || !compiler || !strstr(at, "/src/lib.rs/@/"))
        return false;
    for (size_t i = 0; i < sizeof(crates) / sizeof(*crates); i++)
        if (strncmp(at + strlen("library/"), crates[i], strlen(crates[i])) == 0)
            return true;
    return false;
}

bool dwarf_unit_load(struct dwarf_unit *unit, struct arena *arena)
{
    if (unit->loaded)
        return unit->readable;
    unit->loaded = true;
    read_abbrevs(unit, arena);
    struct dwarf_die die;
    uint64_t after;
    if (!dwarf_die_read(unit, unit->die_offset, &die, &after) || !die.abbrev)
        return false;
    unit->readable = true;
    /* Bases first: the forms of the other attributes need them. */
    unit->str_offsets_base =
        dwarf_attr_number(&die, DW_AT_str_offsets_base, unit->str_offsets_base);
    unit->addr_base =
        dwarf_attr_number(&die, DW_AT_addr_base, dwarf_attr_number(&die, DW_AT_GNU_addr_base, 0));
    unit->rnglists_base = dwarf_attr_number(&die, DW_AT_rnglists_base, unit->rnglists_base);
    unit->ranges_base = dwarf_attr_number(&die, DW_AT_GNU_ranges_base, 0);
    unit->dwo_id = dwarf_attr_number(&die, DW_AT_GNU_dwo_id, unit->dwo_id);
    unit->line_offset = dwarf_attr_number(&die, DW_AT_stmt_list, ABSENT);
    uint64_t language = dwarf_attr_number(&die, DW_AT_language, 0);
    unit->is_rust = language == DW_LANG_Rust;
    unit->name = dwarf_attr_string(&die, DW_AT_name);
    unit->comp_dir = dwarf_attr_string(&die, DW_AT_comp_dir);
    unit->is_std = is_std_unit(unit->name, unit->comp_dir);
    unit->dwo_name = dwarf_attr_string(&die, DW_AT_dwo_name);
    if (!unit->dwo_name)
        unit->dwo_name = dwarf_attr_string(&die, DW_AT_GNU_dwo_name);
    if (!unit->file->is_split)
        unit->low_pc = dwarf_attr_number(&die, DW_AT_low_pc, 0);
    return true;
}

void dwarf_join_split(struct dwarf *dwarf)
{
    struct map skeletons; /* DWO id -> index among the plain files' units, + 1 */
    map_init(&skeletons);
    for (size_t f = 0; f < dwarf->nr_files; f++)
        for (uint32_t i = 0; i < dwarf->files[f]->nr_units; i++) {
            struct dwarf_unit *unit = &dwarf->files[f]->units[i];
            if (!dwarf->files[f]->is_split && unit->dwo_id && f < UINT16_MAX && i < UINT16_MAX)
                *map_put(&skeletons, unit->dwo_id, NULL) = (uint32_t)f << 16 | i;
        }
    for (size_t f = 0; f < dwarf->nr_files; f++)
        for (uint32_t i = 0; dwarf->files[f]->is_split && i < dwarf->files[f]->nr_units; i++) {
            struct dwarf_unit *unit = &dwarf->files[f]->units[i];
            const uint32_t *at = unit->dwo_id ? map_find(&skeletons, unit->dwo_id) : NULL;
            if (!at)
                continue;
            const struct dwarf_unit *skeleton = &dwarf->files[*at >> 16]->units[*at & UINT16_MAX];
            unit->skeleton = skeleton;
            unit->low_pc = skeleton->low_pc;
            unit->addr_base = skeleton->addr_base;
            unit->ranges_base = skeleton->ranges_base;
            unit->line_offset = skeleton->line_offset;
            unit->comp_dir = unit->comp_dir ? unit->comp_dir : skeleton->comp_dir;
        }
    map_deinit(&skeletons);
}

/* The unit that holds the DIE, loaded or not; NULL for a reference that leads nowhere. */
static struct dwarf_unit *dwarf_unit_of(const struct dwarf *dwarf, die_ref ref)
{
    uint64_t number = ref >> 44, offset = ref & ((1ull << 44) - 1);
    if (number >= dwarf->nr_files)
        return NULL;
    const struct dwarf_file *file = dwarf->files[number];
    size_t low = SEARCH_UP_TO(file->units, file->nr_units, end, offset);
    return low < file->nr_units && offset >= file->units[low].die_offset ? &file->units[low] : NULL;
}

bool dwarf_die_at(const struct dwarf *dwarf, die_ref ref, struct dwarf_die *die)
{
    const struct dwarf_unit *unit = dwarf_unit_of(dwarf, ref);
    uint64_t after;
    return unit && unit->readable && dwarf_die_read(unit, ref & ((1ull << 44) - 1), die, &after) &&
           die->abbrev;
}

bool dwarf_child(const struct dwarf_die *die, struct dwarf_die *child)
{
    uint64_t after;
    return die->abbrev && die->abbrev->has_children &&
           dwarf_die_read(die->unit, die->after, child, &after) && child->abbrev;
}

bool dwarf_sibling(const struct dwarf_die *die, struct dwarf_die *sibling)
{
    uint64_t after = die->after, nr = 0;
    if (die->abbrev->has_children && !dwarf_skip_list(die->unit, &after, &nr))
        return false;
    return dwarf_die_read(die->unit, after, sibling, &after) && sibling->abbrev;
}
