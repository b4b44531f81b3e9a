/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "program/symbolize.h"

#include <dwarf.h>
#include <stdlib.h>

#include "base/map.h"
#include "base/search.h"
#include "program/demangle.h"
#include "program/dwarf_line.h"

enum { MAX_DEPTH = 512, MAX_ORIGINS = 8 };

/* A function or an inlined copy of one. */
struct code_entry {
    uint64_t die_offset;
    uint32_t parent; /* entry + 1 of what it is inlined into; 0: a function of its own */
    uint16_t depth;
};

/* A piece of an entry's code. */
struct code_piece {
    uint64_t low, high;
    uint32_t entry;
};

struct function_name {
    const char *function, *name, *declared_in; /* as in struct frame */
};

struct unit_code {
    struct code_entry *entries;
    size_t nr_entries, entries_capacity;
    struct code_piece *pieces; /* while reading: as DWARF has them; then: disjoint, innermost */
    size_t nr_pieces, pieces_capacity;
};

/* --- which unit ------------------------------------------------------------------------------ */

static int range_order(const void *a, const void *b)
{
    const struct unit_range *x = a, *y = b;
    if (x->low != y->low)
        return x->low < y->low ? -1 : 1;
    return x->unit < y->unit ? -1 : x->unit > y->unit;
}

/* The code of a unit: that of its first DIE, or of its skeleton's. */
static void unit_ranges(const struct dwarf_unit *unit, struct pc_ranges *ranges)
{
    const struct dwarf_unit *owner = unit->skeleton ? unit->skeleton : unit;
    struct dwarf_die die;
    uint64_t after;
    ranges->nr = 0;
    if (owner->readable && dwarf_die_read(owner, owner->die_offset, &die, &after))
        dwarf_ranges(&die, ranges);
}

static void add_unit(struct symbolizer *symbolizer, struct dwarf_unit *unit, size_t *nr_units,
                     struct pc_ranges *ranges, size_t *capacity)
{
    if (!unit->readable ||
        (unit->dwo_name && !unit->file->is_split && symbolizer->source->nr_split_found))
        return; /* a skeleton: its split unit has the functions */
    unit_ranges(unit, ranges);
    if (!ranges->nr)
        return;
    symbolizer->units[*nr_units] = unit;
    for (size_t r = 0; r < ranges->nr; r++) {
        symbolizer->ranges = array_reserve(symbolizer->ranges, capacity, symbolizer->nr_ranges + 1,
                                           sizeof(*symbolizer->ranges));
        symbolizer->ranges[symbolizer->nr_ranges++] =
            (struct unit_range){ranges->rows[r].low, ranges->rows[r].high, (uint32_t)*nr_units};
    }
    ++*nr_units;
}

void symbolizer_init(struct symbolizer *symbolizer, const struct debug_source *source)
{
    const struct dwarf *dwarf = &source->dwarf;
    struct pc_ranges ranges = {0};
    size_t nr_units = 0, capacity = 0;
    *symbolizer = (struct symbolizer){.source = source};
    arena_init(&symbolizer->arena);
    symbolizer->units =
        arena_alloc(&symbolizer->arena, dwarf->nr_units * sizeof(*symbolizer->units) + 1);
    symbolizer->code =
        arena_alloc(&symbolizer->arena, dwarf->nr_units * sizeof(*symbolizer->code) + 1);
    for (size_t f = 0; f < dwarf->nr_files; f++)
        for (uint32_t i = 0; i < dwarf->files[f]->nr_units; i++)
            add_unit(symbolizer, &dwarf->files[f]->units[i], &nr_units, &ranges, &capacity);
    free(ranges.rows);
    if (symbolizer->nr_ranges)
        qsort(symbolizer->ranges, symbolizer->nr_ranges, sizeof(*symbolizer->ranges), range_order);
}

void symbolizer_deinit(struct symbolizer *symbolizer)
{
    free(symbolizer->ranges);
    free(symbolizer->name_rows);
    map_deinit(&symbolizer->names);
    arena_deinit(&symbolizer->arena);
    *symbolizer = (struct symbolizer){0};
}

/* --- the functions of a unit ----------------------------------------------------------------- */

static void add_entry(struct unit_code *code, const struct dwarf_die *die, uint32_t parent,
                      struct pc_ranges *ranges)
{
    code->entries = array_reserve(code->entries, &code->entries_capacity, code->nr_entries + 1,
                                  sizeof(*code->entries));
    uint32_t entry = (uint32_t)code->nr_entries;
    code->entries[code->nr_entries++] = (struct code_entry){
        .die_offset = die->offset,
        .parent = parent,
        .depth = parent ? (uint16_t)(code->entries[parent - 1].depth + 1) : 1,
    };
    ranges->nr = 0;
    dwarf_ranges(die, ranges);
    for (size_t r = 0; r < ranges->nr; r++) {
        code->pieces = array_reserve(code->pieces, &code->pieces_capacity, code->nr_pieces + 1,
                                     sizeof(*code->pieces));
        code->pieces[code->nr_pieces++] =
            (struct code_piece){ranges->rows[r].low, ranges->rows[r].high, entry};
    }
}

/* The entry that a DIE's children are inlined into. */
static uint32_t enter_die(struct unit_code *code, const struct dwarf_die *die, uint32_t parent,
                          struct pc_ranges *ranges)
{
    uint16_t tag = dwarf_tag(die);
    if (tag == DW_TAG_subprogram)
        parent = 0;
    else if (tag != DW_TAG_inlined_subroutine || !parent)
        return parent;
    if (parent && code->entries[parent - 1].depth >= MAX_DEPTH)
        return parent;
    add_entry(code, die, parent, ranges);
    return (uint32_t)code->nr_entries;
}

static void gather_entries(struct unit_code *code, const struct dwarf_unit *unit)
{
    struct pc_ranges ranges = {0};
    uint32_t *parents = NULL; /* of each open DIE's children */
    size_t capacity = 0, depth = 0;
    uint64_t offset = unit->die_offset;
    struct dwarf_die die;
    while (offset < unit->end && dwarf_die_read(unit, offset, &die, &offset)) {
        if (!die.abbrev) {
            if (!depth || !--depth)
                break;
            continue;
        }
        uint32_t below = enter_die(code, &die, depth ? parents[depth - 1] : 0, &ranges);
        if (!die.abbrev->has_children)
            continue;
        parents = array_reserve(parents, &capacity, depth + 1, sizeof(*parents));
        parents[depth++] = below;
    }
    free(parents);
    free(ranges.rows);
}

/* By start; of those that start together the outermost first. */
static int piece_order(const void *a, const void *b, void *opaque)
{
    const struct code_piece *x = a, *y = b;
    const struct unit_code *code = opaque;
    if (x->low != y->low)
        return x->low < y->low ? -1 : 1;
    uint16_t x_depth = code->entries[x->entry].depth, y_depth = code->entries[y->entry].depth;
    if (x_depth != y_depth)
        return x_depth < y_depth ? -1 : 1;
    return x->entry < y->entry ? -1 : x->entry > y->entry;
}

struct flat {
    struct code_piece *rows;
    size_t nr, capacity;
};

static void flat_add(struct flat *flat, uint64_t low, uint64_t high, uint32_t entry)
{
    if (low >= high)
        return;
    flat->rows = array_reserve(flat->rows, &flat->capacity, flat->nr + 1, sizeof(*flat->rows));
    flat->rows[flat->nr++] = (struct code_piece){low, high, entry};
}

/* Nested pieces become disjoint ones that name the innermost entry. */
static void flatten(struct unit_code *code)
{
    struct flat flat = {0};
    size_t *stack = memory_alloc((code->nr_pieces + 1) * sizeof(*stack)), depth = 0;
    uint64_t at = 0;
    if (code->nr_pieces)
        qsort_r(code->pieces, code->nr_pieces, sizeof(*code->pieces), piece_order, code);
    for (size_t i = 0; i <= code->nr_pieces; i++) {
        uint64_t next = i < code->nr_pieces ? code->pieces[i].low : UINT64_MAX;
        while (depth && code->pieces[stack[depth - 1]].high <= next) {
            const struct code_piece *top = &code->pieces[stack[--depth]];
            flat_add(&flat, at, top->high, top->entry);
            if (top->high > at)
                at = top->high;
        }
        if (depth && i < code->nr_pieces)
            flat_add(&flat, at, next, code->pieces[stack[depth - 1]].entry);
        if (i < code->nr_pieces) {
            at = next > at ? next : at;
            stack[depth++] = i;
        }
    }
    free(stack);
    free(code->pieces);
    code->pieces = flat.rows;
    code->nr_pieces = flat.nr;
}

static struct unit_code *unit_code_of(struct symbolizer *symbolizer, uint32_t unit)
{
    if (symbolizer->code[unit])
        return symbolizer->code[unit];
    struct unit_code *code = arena_alloc(&symbolizer->arena, sizeof(*code));
    gather_entries(code, symbolizer->units[unit]);
    flatten(code);
    void *entries =
        arena_alloc_raw(&symbolizer->arena, code->nr_entries * sizeof(*code->entries) + 1);
    void *pieces = arena_alloc_raw(&symbolizer->arena, code->nr_pieces * sizeof(*code->pieces) + 1);
    if (code->nr_entries)
        memcpy(entries, code->entries, code->nr_entries * sizeof(*code->entries));
    if (code->nr_pieces)
        memcpy(pieces, code->pieces, code->nr_pieces * sizeof(*code->pieces));
    free(code->entries);
    free(code->pieces);
    code->entries = entries;
    code->pieces = pieces;
    return symbolizer->code[unit] = code;
}

/* --- names ----------------------------------------------------------------------------------- */

static const char *demangled(struct symbolizer *symbolizer, const char *linkage)
{
    struct text text;
    text_init(&text);
    if (!demangle_rust(linkage, &text))
        text_append_str(&text, linkage);
    const char *name = arena_strndup(&symbolizer->arena, text_str(&text), text.length);
    text_deinit(&text);
    return name;
}

/* A function's names: of the DIE itself or of what it is a copy of. */
static struct function_name read_name(struct symbolizer *symbolizer, struct dwarf_die die)
{
    struct function_name name = {0};
    for (int i = 0; i < MAX_ORIGINS && !(name.function && name.name && name.declared_in); i++) {
        const char *linkage = name.function ? NULL : dwarf_attr_string(&die, DW_AT_linkage_name);
        if (linkage)
            name.function = demangled(symbolizer, linkage);
        name.name = name.name ? name.name : dwarf_attr_string(&die, DW_AT_name);
        uint64_t file = name.declared_in ? 0 : dwarf_attr_number(&die, DW_AT_decl_file, 0);
        if (file)
            name.declared_in =
                dwarf_file_path((struct dwarf_unit *)die.unit, file, &symbolizer->arena);
        die_ref origin = dwarf_attr_ref(&die, DW_AT_abstract_origin);
        if (origin == DIE_NONE)
            origin = dwarf_attr_ref(&die, DW_AT_specification);
        if (!dwarf_die_at(&symbolizer->source->dwarf, origin, &die))
            break;
    }
    name.function = name.function ? name.function : name.name;
    return name;
}

static struct function_name name_of(struct symbolizer *symbolizer, const struct dwarf_die *die)
{
    die_ref origin = dwarf_attr_ref(die, DW_AT_abstract_origin);
    die_ref key = origin == DIE_NONE ? die_ref_of(die) : origin;
    bool is_new;
    uint32_t *row = map_put(&symbolizer->names, key, &is_new);
    if (is_new) {
        *row = (uint32_t)symbolizer->nr_names + 1;
        symbolizer->name_rows =
            array_reserve(symbolizer->name_rows, &symbolizer->names_capacity,
                          symbolizer->nr_names + 1, sizeof(*symbolizer->name_rows));
        symbolizer->name_rows[symbolizer->nr_names++] = read_name(symbolizer, *die);
    }
    return symbolizer->name_rows[*row - 1];
}

/* --- look-up --------------------------------------------------------------------------------- */

static const struct unit_range *find_unit(const struct symbolizer *symbolizer, uint64_t addr)
{
    size_t low = SEARCH_UP_TO(symbolizer->ranges, symbolizer->nr_ranges, low, addr);
    return low && addr < symbolizer->ranges[low - 1].high ? &symbolizer->ranges[low - 1] : NULL;
}

static const struct code_piece *find_piece(const struct unit_code *code, uint64_t addr)
{
    size_t low = SEARCH_UP_TO(code->pieces, code->nr_pieces, low, addr);
    return low && addr < code->pieces[low - 1].high ? &code->pieces[low - 1] : NULL;
}

static uint32_t symbol_frame(struct symbolizer *symbolizer, uint64_t addr, struct frame *frame)
{
    const struct elf_symbol *symbol = elf_symbol_at(symbolizer->source->symbols, addr);
    if (!symbol)
        return 0;
    struct text name;
    text_init(&name);
    if (!demangle_rust(symbol->name, &name))
        text_append_str(&name, symbol->name);
    *frame =
        (struct frame){.function = arena_strndup(&symbolizer->arena, text_str(&name), name.length)};
    text_deinit(&name);
    return 1;
}

uint32_t symbolize(struct symbolizer *symbolizer, uint64_t addr, struct frame *frames, uint32_t max)
{
    const struct unit_range *range = find_unit(symbolizer, addr);
    if (!max)
        return 0;
    if (!range)
        return symbol_frame(symbolizer, addr, frames);
    struct dwarf_unit *unit = symbolizer->units[range->unit];
    const struct unit_code *code = unit_code_of(symbolizer, range->unit);
    const struct code_piece *piece = find_piece(code, addr);
    const struct line_row *row = dwarf_line_at(unit, &symbolizer->arena, addr);
    const char *file = row ? dwarf_file_path(unit, row->file, &symbolizer->arena) : NULL;
    uint32_t line = row ? row->line : 0, nr = 0;
    if (!piece) {
        nr = symbol_frame(symbolizer, addr, frames);
        if (nr)
            frames[0] = (struct frame){.function = frames[0].function, .file = file, .line = line};
        return nr;
    }
    for (uint32_t entry = piece->entry + 1; entry && nr < max;
         entry = code->entries[entry - 1].parent) {
        struct dwarf_die die;
        uint64_t after;
        if (!dwarf_die_read(unit, code->entries[entry - 1].die_offset, &die, &after))
            break;
        struct function_name name = name_of(symbolizer, &die);
        frames[nr++] = (struct frame){
            name.function,   name.name, file, line, code->entries[entry - 1].parent != 0,
            name.declared_in};
        uint64_t index = dwarf_attr_number(&die, DW_AT_call_file, 0);
        file = dwarf_file_path(unit, index, &symbolizer->arena);
        line = (uint32_t)dwarf_attr_number(&die, DW_AT_call_line, 0);
    }
    return nr;
}
