/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A plan under construction: growing tables with interned strings.  One thread.  The rows are
 * those of plan/plan.h; plan_builder_finish lays them out as one block.
 */
#pragma once

#include "base/map.h"
#include "base/memory.h"
#include "plan/plan.h"

struct plan_table {
    uint8_t *rows;
    size_t nr, capacity; /* in rows */
    uint32_t row_bytes;
};

struct plan_builder {
    struct plan_table tables[NR_PLAN_SECTIONS];
    struct map strings; /* hash -> offset + 1 */
    struct map files;   /* hash -> id */
    struct plan_facts facts;
};

void plan_builder_init(struct plan_builder *builder);
void plan_builder_deinit(struct plan_builder *builder);

plan_str plan_builder_string(struct plan_builder *builder, const char *text);
plan_file_id plan_builder_file(struct plan_builder *builder, const char *path);
/* Appends a copy of `row`; returns its id (position + 1). */
uint32_t plan_builder_add(struct plan_builder *builder, enum plan_section_id table,
                          const void *row);
/* The row of an id, valid until the next add to that table. */
void *plan_builder_row(struct plan_builder *builder, enum plan_section_id table, uint32_t id);
void plan_builder_note(struct plan_builder *builder, const char *format, ...) PRINTF_LIKE(2, 3);
/* A file that was read, as it is now. */
void plan_builder_source(struct plan_builder *builder, const char *path, const char *role);
const char *plan_builder_text(const struct plan_builder *builder, plan_str str);

/* XXH3-64 of a plan's bytes from the header's key on; the plan has at least a header. */
uint64_t plan_checksum(const uint8_t *bytes, uint64_t size);

/* The finished plan, *size bytes; free() it. */
uint8_t *plan_builder_finish(struct plan_builder *builder, const uint8_t key[16], uint64_t *size);
