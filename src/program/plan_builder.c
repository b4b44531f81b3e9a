/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "program/plan_builder.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"

static void *table_grow(struct plan_table *table, size_t nr)
{
    table->rows = array_reserve(table->rows, &table->capacity, table->nr + nr, table->row_bytes);
    void *at = table->rows + table->nr * table->row_bytes;
    table->nr += nr;
    return at;
}

void plan_builder_init(struct plan_builder *builder)
{
    *builder = (struct plan_builder){0};
    for (int i = 0; i < NR_PLAN_SECTIONS; i++)
        builder->tables[i].row_bytes = plan_row_bytes[i];
    *(char *)table_grow(&builder->tables[PLAN_STRINGS], 1) = 0;
}

void plan_builder_deinit(struct plan_builder *builder)
{
    for (int i = 0; i < NR_PLAN_SECTIONS; i++)
        free(builder->tables[i].rows);
    map_deinit(&builder->strings);
    map_deinit(&builder->files);
    *builder = (struct plan_builder){0};
}

plan_str plan_builder_string(struct plan_builder *builder, const char *text)
{
    if (!text || !*text)
        return (plan_str){0};
    struct plan_table *table = &builder->tables[PLAN_STRINGS];
    size_t bytes = strlen(text) + 1;
    uint64_t hash = hash_bytes(text, bytes, 0);
    /* Two strings of one 64-bit hash: the second is stored anew under the next hash. */
    for (;; hash++) {
        bool is_new;
        uint32_t *at = map_put(&builder->strings, hash, &is_new);
        if (is_new) {
            if (table->nr + bytes > UINT32_MAX)
                return (plan_str){0};
            *at = (uint32_t)table->nr;
            memcpy(table_grow(table, bytes), text, bytes);
            return (plan_str){*at};
        }
        if (strcmp((const char *)table->rows + *at, text) == 0)
            return (plan_str){*at};
    }
}

const char *plan_builder_text(const struct plan_builder *builder, plan_str str)
{
    return (const char *)builder->tables[PLAN_STRINGS].rows + str.v;
}

plan_file_id plan_builder_file(struct plan_builder *builder, const char *path)
{
    if (!path || !*path)
        return (plan_file_id){0};
    struct plan_file row = {plan_builder_string(builder, path)};
    bool is_new;
    uint32_t *id = map_put(&builder->files, row.path.v, &is_new);
    if (is_new)
        *id = plan_builder_add(builder, PLAN_FILES, &row);
    return (plan_file_id){*id};
}

uint32_t plan_builder_add(struct plan_builder *builder, enum plan_section_id id, const void *row)
{
    struct plan_table *table = &builder->tables[id];
    memcpy(table_grow(table, 1), row, table->row_bytes);
    return (uint32_t)table->nr;
}

void *plan_builder_row(struct plan_builder *builder, enum plan_section_id id, uint32_t row)
{
    struct plan_table *table = &builder->tables[id];
    return table->rows + (size_t)(row - 1) * table->row_bytes;
}

void plan_builder_note(struct plan_builder *builder, const char *format, ...)
{
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    struct plan_note row = {plan_builder_string(builder, line)};
    plan_builder_add(builder, PLAN_NOTES, &row);
}

void plan_builder_source(struct plan_builder *builder, const char *path, const char *role)
{
    struct file_identity identity = {0};
    bool exists = file_identity_get(path, &identity);
    struct plan_source row = {
        .path = plan_builder_string(builder, path),
        .role = plan_builder_string(builder, role),
        .size_bytes = exists ? identity.size_bytes : 0,
        .modified_ns = identity.modified_ns,
        .inode = identity.inode,
    };
    plan_builder_add(builder, PLAN_SOURCES, &row);
}

uint64_t plan_checksum(const uint8_t *bytes, uint64_t size)
{
    const size_t from = offsetof(struct plan_header, key);
    return hash_bytes(bytes + from, size - from, 0);
}

uint8_t *plan_builder_finish(struct plan_builder *builder, const uint8_t key[16], uint64_t *size)
{
    struct plan_header header = {.version = PLAN_VERSION, .nr_sections = NR_PLAN_SECTIONS};
    memcpy(header.magic, PLAN_MAGIC, sizeof(header.magic));
    memcpy(header.key, key, sizeof(header.key));
    builder->tables[PLAN_FACTS].nr = 0;
    plan_builder_add(builder, PLAN_FACTS, &builder->facts);
    uint64_t at = sizeof(header);
    for (int i = 0; i < NR_PLAN_SECTIONS; i++) {
        const struct plan_table *table = &builder->tables[i];
        header.sections[i] = (struct plan_section){at, table->row_bytes, (uint32_t)table->nr};
        at = (at + table->nr * table->row_bytes + 7) & ~7ull;
    }
    header.file_bytes = at;
    uint8_t *bytes = memory_alloc(at);
    for (int i = 0; i < NR_PLAN_SECTIONS; i++) {
        const struct plan_table *table = &builder->tables[i];
        if (table->nr)
            memcpy(bytes + header.sections[i].offset, table->rows, table->nr * table->row_bytes);
    }
    memcpy(bytes, &header, sizeof(header));
    header.checksum = plan_checksum(bytes, at);
    memcpy(bytes, &header, sizeof(header));
    *size = at;
    return bytes;
}
