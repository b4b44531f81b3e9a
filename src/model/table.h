/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Tables of fixed rows by id, and what they have in common: growing, and the check of all that rows
 * refer to.  Used by the tables of a snapshot (model/snapshot.c) and of a run (model/run.c); their
 * files are model/table_file.
 *
 * A table's position in the array of tables is its number; `columns` tell what its rows refer to, so that a
 * new column is one line there.  Spans of the same table may not overlap in sum (each row belongs to one
 * other): else a small file could describe any number of rows.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct table {
    void *rows; /* free() */
    size_t nr, capacity;
};

/* Room for `nr` rows more, not zeroed. */
void *table_grow(struct table *table, uint32_t row_bytes, size_t nr);
/* A row (copied); returns its id. */
uint32_t table_add(struct table *table, uint32_t row_bytes, const void *row);
/* A string at the end of a table of bytes; returns its offset, 0 for "" and where there is no room. */
uint32_t table_add_string(struct table *strings, const char *text);
void tables_deinit(struct table *tables, size_t nr);

enum table_column_kind {
    TABLE_STRING,
    TABLE_ID,   /* of a row of table `target`, or 0 */
    TABLE_SOME, /* the same, never 0 */
    TABLE_PARENT, /* an id of its own table that is smaller than the row's, or 0: so that no walk loops */
    TABLE_ENUM,   /* below `target` */
    TABLE_ENUM16, /* the same in a uint16_t */
    TABLE_SPAN,   /* the first id and, in the column behind it, the number of rows of `target` */
    TABLE_BYTES,  /* two uint64_t: offset and length in the bytes of `target` */
};

struct table_column {
    uint32_t table;
    enum table_column_kind kind;
    size_t offset; /* in the row, of a uint32_t where the kind says nothing else */
    uint32_t target;
    const char *problem;
};

/* All tables of a file.  Table `strings` has bytes; table `facts` has exactly one row. */
struct table_set {
    const uint32_t *row_bytes;
    size_t nr_tables;
    uint32_t strings, facts;
    const struct table_column *columns;
    size_t nr_columns;
};

/* The first and the last byte are NUL. */
bool table_strings_ok(const struct table *strings);
/* True when every reference is in bounds; else *problem is a short constant text. */
bool tables_check(const struct table *tables, const struct table_set *set, const char **problem);
