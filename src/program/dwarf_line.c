/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "program/dwarf_line.h"

#include <dwarf.h>
#include <stdlib.h>

#include "base/search.h"
#include "base/text.h"
#include "program/dwarf_form.h"

struct line_header {
    uint16_t version;
    uint8_t offset_bytes, address_bytes;
    uint8_t min_instruction_bytes;
    int8_t line_base;
    uint8_t line_range, opcode_base;
    uint8_t opcode_lengths[256];
    struct cursor program;
};

/* The table of file names of one unit, joined to whole paths when asked for. */
struct line_files {
    struct line_header header;
    const char **dirs;
    size_t nr_dirs, dirs_capacity;
    struct line_file {
        const char *name;
        uint64_t dir;
        const char *path;
    } * rows;
    size_t nr, capacity;
    struct line_row *lines;
    size_t nr_lines, lines_capacity;
    bool has_lines;
};

static void add_dir(struct line_files *files, const char *dir)
{
    files->dirs =
        array_reserve(files->dirs, &files->dirs_capacity, files->nr_dirs + 1, sizeof(*files->dirs));
    files->dirs[files->nr_dirs++] = dir ? dir : "";
}

static void add_file(struct line_files *files, const char *name, uint64_t dir)
{
    files->rows = array_reserve(files->rows, &files->capacity, files->nr + 1, sizeof(*files->rows));
    files->rows[files->nr++] = (struct line_file){name ? name : "", dir, NULL};
}

static void read_tables_4(struct line_files *files, struct cursor *c, const struct dwarf_unit *unit)
{
    add_dir(files, unit->comp_dir);
    add_file(files, unit->name, 0); /* file 0 is not used before DWARF 5 */
    for (const char *dir; (dir = cursor_str(c)) && *dir;)
        add_dir(files, dir);
    for (const char *name; (name = cursor_str(c)) && *name;) {
        uint64_t dir = cursor_uleb(c);
        cursor_uleb(c); /* time */
        cursor_uleb(c); /* length */
        if (!c->failed)
            add_file(files, name, dir);
    }
}

/* One table of DWARF 5: formats, then entries; directories and files have the same shape. */
static void read_table_5(struct line_files *files, struct cursor *c, const struct dwarf_unit *unit,
                         bool is_dirs)
{
    struct dwarf_attr_spec formats[256];
    uint8_t nr_formats = cursor_u8(c);
    for (unsigned i = 0; i < nr_formats; i++) {
        uint64_t content = cursor_uleb(c), form = cursor_uleb(c);
        formats[i] = (struct dwarf_attr_spec){
            .name = (uint16_t)content,
            .form = (uint16_t)form,
            .bytes = (int16_t)dwarf_form_bytes(unit, (uint16_t)form),
        };
    }
    uint64_t nr = cursor_uleb(c);
    if (nr > cursor_left(c)) /* each entry takes a byte at least */
        nr = 0;
    for (uint64_t i = 0; i < nr && !c->failed && nr_formats; i++) {
        const char *name = NULL;
        uint64_t dir = 0;
        for (unsigned f = 0; f < nr_formats; f++) {
            struct dwarf_value value = dwarf_form_read(unit, &formats[f], c);
            if (formats[f].name == DW_LNCT_path && value.class == DWARF_STRING)
                name = value.string;
            else if (formats[f].name == DW_LNCT_directory_index)
                dir = value.number;
        }
        if (c->failed)
            return;
        if (is_dirs)
            add_dir(files, name);
        else
            add_file(files, name, dir);
    }
}

static bool read_header(struct line_files *files, const struct dwarf_unit *unit)
{
    struct line_header *header = &files->header;
    struct elf_bytes section = unit->file->elf->debug[DEBUG_LINE];
    struct cursor c = cursor_at(section.data, section.size, unit->line_offset);
    header->offset_bytes = 4;
    uint64_t length = c.failed ? 0 : cursor_u32(&c);
    if (length == 0xffffffff) {
        header->offset_bytes = 8;
        length = cursor_u64(&c);
    }
    if (c.failed || length > cursor_left(&c))
        return false;
    c.end = c.pos + length;
    header->version = cursor_u16(&c);
    header->address_bytes = unit->address_bytes;
    if (header->version < 2 || header->version > 5)
        return false;
    if (header->version >= 5)
        cursor_skip(&c, 2);
    uint64_t header_length = cursor_uint(&c, header->offset_bytes);
    if (c.failed || header_length > cursor_left(&c))
        return false;
    header->program = (struct cursor){c.pos + header_length, c.end, false};
    c.end = header->program.pos;
    header->min_instruction_bytes = cursor_u8(&c);
    if (header->version >= 4)
        cursor_u8(&c); /* operations in a VLIW instruction */
    cursor_u8(&c);     /* default is_stmt */
    header->line_base = (int8_t)cursor_u8(&c);
    header->line_range = cursor_u8(&c);
    header->opcode_base = cursor_u8(&c);
    for (unsigned i = 1; i < header->opcode_base; i++)
        header->opcode_lengths[i] = cursor_u8(&c);
    if (c.failed || !header->line_range)
        return false;
    if (header->version >= 5) {
        read_table_5(files, &c, unit, true);
        read_table_5(files, &c, unit, false);
    } else {
        read_tables_4(files, &c, unit);
    }
    return true;
}

/* Where a unit's lines are: a split unit's are with its skeleton. */
static struct dwarf_unit *line_owner(struct dwarf_unit *unit)
{
    return unit->skeleton ? (struct dwarf_unit *)unit->skeleton : unit;
}

static struct line_files *files_of(struct dwarf_unit *unit, struct arena *arena)
{
    if (!unit->line_files) {
        struct line_files *files = arena_alloc(arena, sizeof(*files));
        unit->line_files = files;
        if (unit->line_offset != ~(uint64_t)0)
            read_header(files, unit);
        /* The growing arrays become part of the arena, which then owns all. */
        void *dirs = arena_alloc_raw(arena, files->nr_dirs * sizeof(*files->dirs) + 1);
        void *rows = arena_alloc_raw(arena, files->nr * sizeof(*files->rows) + 1);
        if (files->nr_dirs)
            memcpy(dirs, files->dirs, files->nr_dirs * sizeof(*files->dirs));
        if (files->nr)
            memcpy(rows, files->rows, files->nr * sizeof(*files->rows));
        free(files->dirs);
        free(files->rows);
        files->dirs = dirs;
        files->rows = rows;
    }
    return unit->line_files;
}

static void append_path(struct text *path, const char *part)
{
    if (*part == '/')
        text_clear(path);
    else if (path->length && path->data[path->length - 1] != '/' && *part)
        text_append_char(path, '/');
    text_append_str(path, part);
}

const char *dwarf_file_path(struct dwarf_unit *unit, uint64_t index, struct arena *arena)
{
    struct dwarf_unit *owner = line_owner(unit);
    struct line_files *files = files_of(owner, arena);
    if (index >= files->nr || (index == 0 && files->header.version < 5))
        return NULL;
    struct line_file *file = &files->rows[index];
    if (!file->path) {
        struct text path;
        text_init(&path);
        append_path(&path, owner->comp_dir ? owner->comp_dir : "");
        if (file->dir < files->nr_dirs)
            append_path(&path, files->dirs[file->dir]);
        append_path(&path, file->name);
        file->path = arena_strndup(arena, text_str(&path), path.length);
        text_deinit(&path);
    }
    return file->path;
}

/* --- the line number machine, DWARF 5 section 6.2.5 ------------------------------------------ */

struct line_state {
    uint64_t addr;
    uint64_t file;
    int64_t line;
};

static void emit(struct line_files *files, const struct line_state *state, bool is_end)
{
    files->lines = array_reserve(files->lines, &files->lines_capacity, files->nr_lines + 1,
                                 sizeof(*files->lines));
    files->lines[files->nr_lines++] =
        (struct line_row){state->addr, (uint32_t)state->file, (uint32_t)state->line, is_end};
}

static void run_extended(struct line_files *files, struct line_state *state, struct cursor *c)
{
    uint64_t length = cursor_uleb(c);
    if (c->failed || !length || length > cursor_left(c)) {
        cursor_fail(c);
        return;
    }
    const uint8_t *after = c->pos + length;
    uint8_t opcode = cursor_u8(c);
    if (opcode == DW_LNE_end_sequence) {
        emit(files, state, true);
        *state = (struct line_state){0, 1, 1};
    } else if (opcode == DW_LNE_set_address && length - 1 <= 8) {
        state->addr = cursor_uint(c, (unsigned)length - 1);
    }
    c->pos = after;
}

static void run_standard(struct line_files *files, struct line_state *state, struct cursor *c,
                         uint8_t opcode)
{
    const struct line_header *header = &files->header;
    switch (opcode) {
    case DW_LNS_copy:
        emit(files, state, false);
        return;
    case DW_LNS_advance_pc:
        state->addr += cursor_uleb(c) * header->min_instruction_bytes;
        return;
    case DW_LNS_advance_line:
        state->line = (int64_t)((uint64_t)state->line + (uint64_t)cursor_sleb(c));
        return;
    case DW_LNS_set_file:
        state->file = cursor_uleb(c);
        return;
    case DW_LNS_const_add_pc:
        state->addr += (uint64_t)((255 - header->opcode_base) / header->line_range) *
                       header->min_instruction_bytes;
        return;
    case DW_LNS_fixed_advance_pc:
        state->addr += cursor_u16(c);
        return;
    default:
        for (unsigned i = 0; i < header->opcode_lengths[opcode]; i++)
            cursor_uleb(c);
    }
}

static void run_program(struct line_files *files)
{
    const struct line_header *header = &files->header;
    struct cursor c = header->program;
    struct line_state state = {0, 1, 1};
    while (cursor_left(&c)) {
        uint8_t opcode = cursor_u8(&c);
        if (opcode >= header->opcode_base) {
            unsigned adjusted = opcode - header->opcode_base;
            state.addr += (uint64_t)(adjusted / header->line_range) * header->min_instruction_bytes;
            state.line = (int64_t)((uint64_t)state.line + (uint64_t)(int64_t)header->line_base +
                                   adjusted % header->line_range);
            emit(files, &state, false);
        } else if (opcode == 0) {
            run_extended(files, &state, &c);
        } else {
            run_standard(files, &state, &c, opcode);
        }
    }
}

/* By address; at one address the end of a sequence comes before the start of the next. */
static int line_order(const void *a, const void *b)
{
    const struct line_row *x = a, *y = b;
    if (x->addr != y->addr)
        return x->addr < y->addr ? -1 : 1;
    return (int)y->is_end - (int)x->is_end;
}

/* qsort is not stable, and of several rows at one address the last one written counts. */
static void sort_lines(struct line_row *rows, size_t nr, struct line_row *scratch)
{
    if (nr < 2)
        return;
    size_t half = nr / 2;
    sort_lines(rows, half, scratch);
    sort_lines(rows + half, nr - half, scratch);
    if (line_order(&rows[half - 1], &rows[half]) <= 0)
        return;
    memcpy(scratch, rows, half * sizeof(*rows));
    size_t left = 0, right = half, out = 0;
    while (left < half && right < nr)
        rows[out++] =
            line_order(&scratch[left], &rows[right]) <= 0 ? scratch[left++] : rows[right++];
    while (left < half)
        rows[out++] = scratch[left++];
}

const struct line_row *dwarf_line_rows(struct dwarf_unit *unit, struct arena *arena, size_t *nr)
{
    struct line_files *files = files_of(line_owner(unit), arena);
    if (!files->has_lines) {
        files->has_lines = true;
        if (files->header.line_range)
            run_program(files);
        struct line_row *rows = arena_alloc_raw(arena, (files->nr_lines + 1) * sizeof(*rows));
        struct line_row *scratch = memory_alloc((files->nr_lines + 1) * sizeof(*rows));
        if (files->nr_lines)
            memcpy(rows, files->lines, files->nr_lines * sizeof(*rows));
        sort_lines(rows, files->nr_lines, scratch);
        free(scratch);
        free(files->lines);
        files->lines = rows;
    }
    *nr = files->nr_lines;
    return files->nr_lines ? files->lines : NULL;
}

const struct line_row *dwarf_line_at(struct dwarf_unit *unit, struct arena *arena, uint64_t addr)
{
    size_t nr;
    const struct line_row *rows = dwarf_line_rows(unit, arena, &nr);
    size_t low = rows ? SEARCH_UP_TO(rows, nr, addr, addr) : 0;
    return low && !rows[low - 1].is_end ? &rows[low - 1] : NULL;
}
