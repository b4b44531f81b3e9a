/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The plan: what asyncmem needs to know of one binary image to read its futures and tasks.
 * Compiled by program/ from ELF and DWARF, kept in the cache, read by all later stages (and,
 * inside a traced program, by the tracer: hence no DWARF, no malloc and no libc beyond string.h in
 * this folder).
 *
 * A plan is one block of bytes: a header, then sections, each an array of fixed rows.  Rows refer
 * to each other by id: position + 1, 0 meaning none.  plan_open checks bounds, ids, enums and
 * string ends once, so that the accessors below need no checks and a corrupt or hostile cache
 * file can do no harm; the checksum is the cache's business (program/plan_cache.c).  All integers little-endian.  docs/PLAN.md describes the format.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plan/plan_rows.h"

/* A checked plan; borrows the bytes. */
struct plan {
    const uint8_t *bytes;
    uint64_t size_bytes;
    const char *strings;
    uint32_t nr_string_bytes;
    const struct plan_facts *facts; /* exactly one */
    const struct plan_file *files;
    uint32_t nr_files;
    const struct plan_type *types;
    uint32_t nr_types;
    const struct plan_member *members;
    uint32_t nr_members;
    const struct plan_variant *variants;
    uint32_t nr_variants;
    const struct plan_future *futures;
    uint32_t nr_futures;
    const struct plan_await *awaits;
    uint32_t nr_awaits;
    const struct plan_task *tasks;
    uint32_t nr_tasks;
    const struct plan_vtable *vtables;
    uint32_t nr_vtables;
    const struct plan_impl *impls;
    uint32_t nr_impls;
    const struct plan_source *sources;
    uint32_t nr_sources;
    const struct plan_note *notes;
    uint32_t nr_notes;
};

/* Length of a row of each section. */
extern const uint32_t plan_row_bytes[NR_PLAN_SECTIONS];

/*
 * Checks `size` bytes (8-byte aligned) and fills *plan.  On false *problem is a short constant
 * text; the caller throws the bytes away and compiles anew.
 */
bool plan_open(struct plan *plan, const void *bytes, uint64_t size, const char **problem);

static inline const char *plan_string(const struct plan *plan, plan_str str)
{
    return plan->strings + str.v;
}

/* The rows of an id; NULL for id 0. */
static inline const struct plan_type *plan_type(const struct plan *plan, plan_type_id id)
{
    return id.v ? &plan->types[id.v - 1] : NULL;
}

static inline const struct plan_member *plan_members(const struct plan *plan,
                                                     const struct plan_type *type)
{
    return type->nr_members ? &plan->members[type->first_member - 1] : NULL;
}

static inline const struct plan_variant *plan_variants(const struct plan *plan,
                                                       const struct plan_type *type)
{
    return type->nr_variants ? &plan->variants[type->first_variant - 1] : NULL;
}

static inline const char *plan_file_path(const struct plan *plan, plan_file_id id)
{
    return id.v ? plan_string(plan, plan->files[id.v - 1].path) : NULL;
}
