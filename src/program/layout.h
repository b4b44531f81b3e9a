/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Layouts on demand: from a type's DIE to rows of the plan.  The stage before: index.  The stage
 * after: the plan.  One thread.
 *
 * A type is compiled with everything it holds inline, down to base types; pointers end there.
 * Equal layouts of equal names become one row, however many units repeat them, so two type ids
 * are equal exactly when the types are.  A type that a unit only declares is looked for in all
 * units (layout_resolve_declared).
 */
#pragma once

#include "program/index.h"
#include "program/plan_builder.h"

struct layout {
    struct dwarf *dwarf;
    const struct program_index *index;
    struct plan_builder *builder;
    struct arena *arena;   /* file paths */
    struct map types;      /* die_ref -> type id, or LAYOUT_IN_PROGRESS */
    struct map by_content; /* hash of name and rows -> type id */
    struct map replace;    /* env die_ref -> position + 1 in env_dies: the copy to take instead */
    die_ref *env_dies;
    size_t nr_env_dies, env_dies_capacity;
    struct map
        declared; /* path hash of a declared type -> position + 1 in complete; 0: not found */
    die_ref *complete;
    uint32_t nr_declared_met; /* declared types met that were not looked for yet */
    unsigned depth;
    uint64_t budget_bytes; /* of .debug_info that may still be passed over; 0: it was used up,
                            * and layouts are not complete */
};

void layout_init(struct layout *layout, struct dwarf *dwarf, const struct program_index *index,
                 struct plan_builder *builder, struct arena *arena);
void layout_deinit(struct layout *layout);

/* `copy` will be compiled as `chosen`: they are the same type in two units. */
void layout_replace(struct layout *layout, die_ref copy, die_ref chosen);

/* The type of a DIE; id 0 for DIE_NONE or a DIE that cannot be read. */
plan_type_id layout_compile(struct layout *layout, die_ref die);

/*
 * Looks for the declared types met so far.  True: some are new, and the caller should compile
 * again with an empty plan (layout_restart).
 */
bool layout_resolve_declared(struct layout *layout);
void layout_restart(struct layout *layout, struct plan_builder *builder);

/* The file and line of DW_AT_decl_file/line (or call_file/line) of a DIE. */
plan_file_id layout_file(struct layout *layout, const struct dwarf_die *die, uint16_t attribute);
