/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The eager, small part of reading a program: one pass over all DIEs, units in parallel, that
 * remembers where the few things are that the later stages ask for by name.  The stage before:
 * debug_source (which files, units loaded).  The stages after: layout, tasks, names.
 *
 * Rows hold die_refs and borrowed strings; they are sorted by die_ref, so that a result does not
 * depend on the number of threads.
 */
#pragma once

#include "base/map.h"
#include "base/text.h"
#include "program/dwarf.h"

typedef struct {
    uint32_t v; /* row of index->scopes + 1; 0: none */
} scope_id;

/* A DW_TAG_namespace: one step of a path. */
struct index_scope {
    scope_id parent;
    const char *name;
    uint64_t path_hash;
    uint32_t depth;      /* steps of the path, this one included */
    uint64_t begin, end; /* offsets in .debug_info of what it holds */
    /* Of an {impl#N}: a mangled symbol of something below it, and how many path steps below. */
    const char *impl_symbol;
    uint32_t impl_depth;
};

/* A coroutine's type, complete or only declared. */
struct index_env {
    die_ref die;
    scope_id scope;
    const char *name; /* {async_fn_env#0}<u32> */
    uint64_t size_bytes;
    uint64_t path_hash; /* scope path and name */
    uint32_t fn_line;   /* of the `fn`, where its DIE was met; 0: unknown */
    bool is_declaration;
};

/* The code of a coroutine: what its poll runs. */
struct index_body {
    die_ref die;
    uint64_t path_hash; /* of the env it belongs to */
    const char *symbol; /* mangled, or NULL */
    bool has_code;      /* has an address (is not only an abstract instance) */
};

/* A function of interest by name and address, or a vtable variable. */
struct index_item {
    die_ref die;
    const char *name;
    const char *symbol;
    uint64_t addr;
    uint32_t line; /* of a constructor */
};

struct index_items {
    struct index_item *rows;
    size_t nr, capacity;
};

struct program_index {
    struct arena arena;
    struct index_scope *scopes;
    size_t nr_scopes;
    struct index_env *envs;
    size_t nr_envs;
    struct index_body *bodies;
    size_t nr_bodies;
    struct index_items task_polls;   /* tokio::runtime::task::raw::poll<T, S> */
    struct index_items task_cells;   /* struct tokio::runtime::task::core::Cell<T, S> */
    struct index_items dyn_vtables;  /* <X as Trait>::{vtable} */
    struct index_items polls;        /* functions called poll: of futures, mostly */
    struct index_items constructors; /* async fns: name, symbol and line, die of the coroutine */
    uint64_t nr_dies, nr_rust_types; /* complete structures in Rust units, std's left out */
    uint32_t nr_units, nr_unreadable_units, nr_rust_units;
};

/* Loads all units, in parallel, without reading further: their first DIEs name split files. */
void index_load_units(struct dwarf *dwarf);
/* Loads all units of `dwarf` and reads them once. */
void index_build(struct program_index *index, struct dwarf *dwarf);
void index_free(struct program_index *index);

/* The path "a::b::{impl#0}" of a scope. */
void index_scope_path(const struct program_index *index, scope_id scope, struct text *path);

/*
 * A second pass for types that were met only as declarations: finds complete structures whose
 * name hash (index_path_hash over path and name) is a key of `wanted` and sets the value to the
 * position + 1 in *found.  Returns the number found; free() *found.
 */
size_t index_find_types(struct dwarf *dwarf, struct map *wanted, die_ref **found);

/* The innermost namespace that holds the DIE, found by offsets. */
scope_id index_scope_of(const struct program_index *index, const struct dwarf_die *die);
/* The qualified name of a DIE: scope path and DW_AT_name; "?" where it has none. */
void index_qualified_name(const struct program_index *index, const struct dwarf_die *die,
                          struct text *name);

/* Path hash of a DIE: equal for the same type in two units. */
uint64_t index_die_hash(const struct program_index *index, const struct dwarf_die *die);

/* Hash of a path from its outermost step inwards: start with 0, add each step. */
uint64_t index_path_hash(uint64_t outer, const char *step);
