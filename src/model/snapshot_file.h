/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A snapshot as a file: each table is a section of a recording (docs/FORMAT.md).  A file is read
 * as hostile input.  Where it is damaged, what can be spared is left out and a note says so; what
 * is read has passed snapshot_check.
 */
#pragma once

#include "base/error.h"
#include "base/text.h"
#include "model/snapshot.h"

/* Mode 0600, by rename: there whole or not at all. */
MUST_CHECK bool snapshot_file_write(const struct snapshot *snapshot, const char *path,
                                    struct error *err);
/* The same bytes at the end of `bytes`. */
void snapshot_file_pack(const struct snapshot *snapshot, struct text *bytes);
/* After true the snapshot is the caller's, for snapshot_deinit. */
MUST_CHECK bool snapshot_file_read(struct snapshot *snapshot, const char *path, struct error *err);
/* The same of bytes, which may go afterwards. */
MUST_CHECK bool snapshot_file_parse(struct snapshot *snapshot, const void *bytes, uint64_t size,
                                    struct error *err);
