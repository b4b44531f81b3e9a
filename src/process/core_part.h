/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the three files that read a core share: core_file.c, core_notes.c, core_images.c. */
#pragma once

#include "base/cursor.h"
#include "process/target.h"

/* A PT_LOAD of the core, as its header says: the file may be shorter. */
struct core_load {
    uint64_t start, end;
    uint64_t dumped_bytes; /* p_filesz, at most end - start */
    uint64_t offset;
    uint32_t flags; /* PF_* */
};

struct core_reader {
    struct target *target;
    const char *path;        /* of the core */
    const char *exe;         /* may be NULL */
    struct core_load *loads; /* by start, none overlaps another */
    size_t nr_loads, loads_capacity;
    char short_name[17]; /* pr_fname, "" unknown */
    bool has_data;       /* some writable memory was dumped */
};

/* The load that begins at `start`, or NULL. */
const struct core_load *core_load_at(const struct core_reader *reader, uint64_t start);

/* One PT_NOTE: threads, process id, AT_ENTRY; names the mappings, adds those that have no load. */
void core_notes_read(struct core_reader *reader, struct cursor notes);

/* Images, by the mappings' paths; then the memory that is in their files only, as segments. */
MUST_CHECK bool core_images_read(struct core_reader *reader, struct error *err);
