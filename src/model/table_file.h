/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Tables as a file: each is a section of a recording (recording/container.h), its rows as they are in memory.  A newer
 * asyncmem may append columns: its rows are longer, and their beginning is read.  Tables without which
 * nothing can be told are essential; losing another one loses what refers to it, which `forget` takes out, and a
 * note says so.  The stages around: model/snapshot_file, model/run_file.
 */
#pragma once

#include "base/error.h"
#include "base/text.h"
#include "model/table.h"

struct table_format {
    uint32_t table;
    uint32_t tag;
    const char *what; /* it has: "slots" */
    bool is_essential;
};

enum { TABLE_FILE_MAX_TABLES = 32 };

/* `owner` is what the tables are a part of. */
struct table_file {
    const char *kind;   /* of the container */
    const char *remedy; /* "take the snapshot again" */
    const uint32_t *row_bytes;
    const struct table_format
        *formats;      /* in the order in which they are written: a file that is cut short
                                         * loses the last ones */
    size_t nr_formats; /* one for each table */
    uint32_t strings;  /* which table has them */
    uint32_t
        first_later; /* tables from this id on were not in the first files of this kind: there they
                           * are empty, not lost; 0: none */
    void (*forget)(void *owner,
                   const bool *lost); /* by table; nothing may refer to a lost one afterwards */
    void (*note)(void *owner, const char *text); /* adds a note for the reader */
    bool (*check)(const void *owner, const char **problem);
};

/* Mode 0600, by rename: there whole or not at all. */
MUST_CHECK bool table_file_write(const struct table_file *file, const struct table *tables,
                                 const char *path, struct error *err);
/* The same bytes at the end of `bytes`. */
void table_file_pack(const struct table_file *file, const struct table *tables, struct text *bytes);
/* `tables` are those of `owner`, empty; on false they are empty again. */
MUST_CHECK bool table_file_parse(const struct table_file *file, void *owner, struct table *tables,
                                 const void *bytes, uint64_t size, struct error *err);
