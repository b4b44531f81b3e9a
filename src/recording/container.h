/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The file that recordings are kept in: a header and tagged sections of fixed rows, each
 * compressed and checksummed (docs/FORMAT.md).  What the rows mean is the business of who writes
 * and reads them (model/snapshot_file).
 *
 * Reading is of hostile bytes: all sizes are bounded, and a damaged section costs that section.
 * Writing goes through memory and a rename, so that a file is there whole or not at all.
 */
#pragma once

#include "base/error.h"
#include "base/text.h"

enum {
    CONTAINER_VERSION = 1,
    CONTAINER_HEADER_BYTES = 48,
    CONTAINER_SECTION_BYTES = 48,
};

#define CONTAINER_MAGIC "asyncmrc"

/* Four letters as a number: 'T','A','S','K'. */
#define CONTAINER_TAG(a, b, c, d)                                                                  \
    ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)

struct container_section {
    uint32_t tag;
    uint32_t row_bytes;
    uint64_t nr_rows;
    uint64_t stored_bytes; /* compressed */
    uint64_t raw_bytes;    /* nr_rows * row_bytes */
    uint64_t checksum;     /* XXH3-64 of the stored bytes */
    const uint8_t *stored; /* while reading: in the file's bytes */
};

/* --- writing --------------------------------------------------------------------------------- */

struct container_writer {
    struct text bytes;
    uint32_t nr_sections;
};

/* `kind` is what the file holds, up to 8 letters: "snapshot". */
void container_begin(struct container_writer *writer, const char *kind);
void container_add(struct container_writer *writer, uint32_t tag, uint32_t row_bytes,
                   const void *rows, uint64_t nr_rows);
/* Ends the file; its bytes are in `writer->bytes`. */
void container_end(struct container_writer *writer);
/* Ends the file and writes it (mode 0600, by rename). */
MUST_CHECK bool container_finish(struct container_writer *writer, const char *path,
                                 struct error *err);
void container_writer_deinit(struct container_writer *writer);

/* --- reading --------------------------------------------------------------------------------- */

struct container {
    char writer[17]; /* version of the asyncmem that wrote it */
    struct container_section *sections;
    size_t nr_sections;
    size_t capacity;
    bool is_damaged;       /* cut short, or bytes that are no section where one should be */
    uint64_t budget_bytes; /* that container_read may still unpack */
};

/* Does the header say that kind?  Whether the rest holds is for container_open to tell. */
bool container_is(const void *bytes, uint64_t size, const char *kind);
/*
 * Finds the sections of a file of that kind.  Errors: not a recording, another kind, another
 * version (with the asyncmem that is needed), a damaged header.  The bytes must stay.
 */
MUST_CHECK bool container_open(struct container *container, const void *bytes, uint64_t size,
                               const char *kind, struct error *err);
void container_close(struct container *container);

/* NULL where there is none. */
const struct container_section *container_find(const struct container *container, uint32_t tag);
/* The rows, raw_bytes of them; free().  NULL where they are damaged. */
void *container_read(struct container *container, const struct container_section *section);
