/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The future types of a program as a dense table, the biggest first.  The stage before: the plan.
 * The stages after: analysis/, report/.  Borrows the plan; strings live in the arena.
 */
#pragma once

#include "base/memory.h"
#include "model/names.h"

struct future_type {
    plan_future_id id;
    const struct plan_future *future;
    const struct plan_type *type; /* NULL: declared only, size unknown */
    const char *path;             /* qualified, as DWARF has it */
    const char *name;             /* NULL until future_type_name is asked */
    const char *file;             /* NULL: unknown */
    uint32_t line;                /* 0: unknown */
    uint64_t size_bytes;
    uint64_t align_bytes;
};

struct future_types {
    struct arena arena;
    struct names names;
    const struct plan *plan;
    struct future_type *rows;
    size_t nr;
    uint32_t *row_of_type; /* by type id: row + 1 of the future it is, or 0 */
};

void future_types_init(struct future_types *types, const struct plan *plan);
void future_types_deinit(struct future_types *types);

/* The future that a type is, NULL for other types. */
const struct future_type *future_types_find(const struct future_types *types, plan_type_id type);

/* As the source writes it, arguments short; lives as long as the table.  One thread. */
const char *future_type_name(const struct future_types *types, const struct future_type *type);

const char *future_kind_name(const struct future_type *type);
