/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Inside the index: what one worker gathers from the units it reads.  index_unit.c fills parts,
 * index.c merges them.
 */
#pragma once

#include "program/index.h"

/* Deeper paths and longer names are not read: no source has them, and files can repeat them. */
enum { INDEX_MAX_SCOPE_DEPTH = 128, INDEX_MAX_NAME_BYTES = 16 * 1024 };

/* What one worker gathers; scope ids are local until the parts are merged. */
struct index_part {
    struct arena arena; /* abbreviations: lives as long as the index */
    struct index_scope *scopes;
    size_t nr_scopes, scopes_capacity;
    struct index_env *envs;
    size_t nr_envs, envs_capacity;
    struct index_body *bodies;
    size_t nr_bodies, bodies_capacity;
    struct index_items task_polls, task_cells, dyn_vtables, polls, constructors;
    uint32_t *stack; /* scope of each open DIE */
    size_t stack_capacity;
    uint64_t nr_dies, nr_rust_types;
    const struct map *wanted; /* second pass: hashes of types to find */
    struct index_items found;
};

/* Reads one loaded unit into the part; with part->wanted only looks for those types. */
void index_read_unit(struct index_part *part, struct dwarf_unit *unit);
/* Frees all but the arena, which the caller hands on. */
void index_part_free(struct index_part *part);
