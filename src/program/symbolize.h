/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * From an address to the functions that are there: the inlined ones too, with file and line.  The
 * stage before: debug_source (units loaded).  The stages after: recordings and reports.
 *
 * A unit is read when the first address in it is asked for; then a look-up is two binary searches.
 * One thread.
 */
#pragma once

#include "base/map.h"
#include "program/debug_source.h"

struct frame {
    const char *function;    /* demangled; NULL: unknown */
    const char *name;        /* the last step only, as DWARF has it, with its generic arguments:
                           * "block_on<demo::main::{async_block_env#0}>"; NULL: unknown */
    const char *file;        /* NULL: unknown */
    uint32_t line;           /* 0: unknown */
    bool is_inlined;         /* into the next frame */
    const char *declared_in; /* the file that has the function; `file` may be another, where the
                              * compiler forgot what it inlined.  NULL: unknown */
};

struct unit_code;     /* the functions of one unit */
struct function_name; /* both names of a function */

struct symbolizer {
    const struct debug_source *source;
    struct arena arena;
    struct unit_range {
        uint64_t low, high;
        uint32_t unit; /* position in `units` */
    } * ranges;        /* by address, disjoint but for corrupt files */
    size_t nr_ranges;
    struct dwarf_unit **units; /* whose DIEs describe the code */
    struct unit_code **code;   /* of each unit, NULL until asked for */
    struct map names;          /* die_ref -> position + 1 in name_rows */
    struct function_name *name_rows;
    size_t nr_names, names_capacity;
};

/* `source` is loaded (debug_source_load) and outlives the symbolizer. */
void symbolizer_init(struct symbolizer *symbolizer, const struct debug_source *source);
void symbolizer_deinit(struct symbolizer *symbolizer);

/*
 * The frames at an address of the file (not of a process), innermost first; at most `max`.
 * Returns how many; where there is no debug info one frame with the symbol's name, or 0.
 * For a return address pass addr - 1.
 */
uint32_t symbolize(struct symbolizer *symbolizer, uint64_t addr, struct frame *frames,
                   uint32_t max);
