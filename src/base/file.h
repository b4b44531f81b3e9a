/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Whole files as bytes.  A mapping holds until file_close; a file that is cut short while it is
 * mapped raises SIGBUS, which the command line turns into one line.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attributes.h"
#include "base/error.h"

/* What tells one state of a file from another without reading it. */
struct file_identity {
    uint64_t device;
    uint64_t inode;
    uint64_t size_bytes;
    int64_t modified_ns; /* since 1970 */
    int64_t changed_ns;  /* of the inode, since 1970 */
};

struct file {
    const uint8_t *bytes;
    uint64_t size_bytes;
    struct file_identity identity;
};

/* Maps a regular file for reading.  Errors: absent, no permission, a directory, empty. */
MUST_CHECK bool file_open(struct file *file, const char *path, struct error *err);
void file_close(struct file *file);

bool file_identity_get(const char *path, struct file_identity *identity);

/*
 * Writes the bytes beside `path` and renames them over it, so that a reader sees the old file or
 * the whole new one.  Mode 0600.  What is no regular file (a pipe, /dev/stdout) is written to.
 */
MUST_CHECK bool file_replace(const char *path, const void *bytes, size_t size, struct error *err);
