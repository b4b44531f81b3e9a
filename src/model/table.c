/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "model/table.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* --- growing --------------------------------------------------------------------------------- */

void *table_grow(struct table *table, uint32_t row_bytes, size_t nr)
{
    table->rows = array_reserve(table->rows, &table->capacity, table->nr + nr, row_bytes);
    void *new_rows = (char *)table->rows + table->nr * row_bytes;
    table->nr += nr;
    return new_rows;
}

uint32_t table_add(struct table *table, uint32_t row_bytes, const void *row)
{
    memcpy(table_grow(table, row_bytes, 1), row, row_bytes);
    return (uint32_t)table->nr;
}

uint32_t table_add_string(struct table *strings, const char *text)
{
    size_t length = strlen(text), at = strings->nr;
    if (!length || at + length + 1 > UINT32_MAX)
        return 0;
    memcpy(table_grow(strings, 1, length + 1), text, length + 1);
    return (uint32_t)at;
}

void tables_deinit(struct table *tables, size_t nr)
{
    for (size_t i = 0; i < nr; i++) {
        free(tables[i].rows);
        tables[i] = (struct table){0};
    }
}

/* --- checking -------------------------------------------------------------------------------- */

bool table_strings_ok(const struct table *strings)
{
    const char *bytes = strings->rows;
    return strings->nr && bytes[0] == 0 && bytes[strings->nr - 1] == 0;
}

/* A column's value in one row; of spans also the number behind it. */
static void read_value(const struct table_column *column, const char *at, uint64_t value[2])
{
    uint32_t words[2] = {0};
    uint16_t half;
    switch (column->kind) {
    case TABLE_BYTES:
        memcpy(value, at, 2 * sizeof(*value));
        return;
    case TABLE_SPAN:
        memcpy(words, at, sizeof(words));
        break;
    case TABLE_ENUM16:
        memcpy(&half, at, sizeof(half));
        words[0] = half;
        break;
    default:
        memcpy(words, at, sizeof(*words));
    }
    value[0] = words[0];
    value[1] = words[1];
}

/* `first` is the first row's position. */
static bool span_ok(uint64_t first, uint64_t nr, size_t limit, size_t *spanned)
{
    if (!nr)
        return true;
    if (first >= limit || nr > limit - first)
        return false;
    *spanned += nr;
    return *spanned <= limit;
}

/* `row` is the id of the row that has the column. */
static bool value_ok(const struct table_column *column, const uint64_t value[2], size_t limit,
                     size_t row)
{
    switch (column->kind) {
    case TABLE_STRING:
        return value[0] < limit;
    case TABLE_ENUM:
    case TABLE_ENUM16:
        return value[0] < column->target;
    case TABLE_ID:
        return value[0] <= limit;
    case TABLE_SOME:
        return value[0] >= 1 && value[0] <= limit;
    case TABLE_PARENT:
        return value[0] < row;
    case TABLE_SPAN:
    case TABLE_BYTES:
        break;
    }
    return false;
}

static bool column_ok(const struct table *tables, const struct table_set *set,
                      const struct table_column *column)
{
    const struct table *table = &tables[column->table];
    if (!table->nr)
        return true;
    uint32_t target = column->kind == TABLE_STRING ? set->strings : column->target;
    bool is_span = column->kind == TABLE_SPAN || column->kind == TABLE_BYTES;
    bool is_enum = column->kind == TABLE_ENUM || column->kind == TABLE_ENUM16;
    size_t limit = is_enum ? 0 : tables[target].nr, spanned = 0;
    const char *at = (const char *)table->rows + column->offset;
    uint32_t row_bytes = set->row_bytes[column->table];
    for (size_t i = 0; i < table->nr; i++) {
        uint64_t value[2];
        read_value(column, at + i * row_bytes, value);
        value[0] -= column->kind == TABLE_SPAN; /* an id; 0 becomes too large */
        if (is_span ? !span_ok(value[0], value[1], limit, &spanned)
                    : !value_ok(column, value, limit, i + 1))
            return false;
    }
    return true;
}

bool tables_check(const struct table *tables, const struct table_set *set, const char **problem)
{
    *problem = "it has not exactly one row of facts";
    if (tables[set->facts].nr != 1)
        return false;
    *problem = "a table has too many rows";
    for (size_t i = 0; i < set->nr_tables; i++)
        if (tables[i].nr >= UINT32_MAX)
            return false;
    *problem = "its strings have no end";
    if (!table_strings_ok(&tables[set->strings]))
        return false;
    for (size_t i = 0; i < set->nr_columns; i++) {
        *problem = set->columns[i].problem;
        if (!column_ok(tables, set, &set->columns[i]))
            return false;
    }
    *problem = NULL;
    return true;
}
