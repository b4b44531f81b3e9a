/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A run as a file: each table is a section of a recording (docs/FORMAT.md).  A file is read as
 * hostile input.  Where it is damaged, what can be spared is left out and a note says so; what is
 * read has passed run_check.
 */
#pragma once

#include "base/error.h"
#include "base/text.h"
#include "model/run.h"

/* Mode 0600, by rename: there whole or not at all. */
MUST_CHECK bool run_file_write(const struct run *run, const char *path, struct error *err);
/* The same bytes at the end of `bytes`. */
void run_file_pack(const struct run *run, struct text *bytes);
/* After true the run is the caller's, for run_deinit. */
MUST_CHECK bool run_file_read(struct run *run, const char *path, struct error *err);
/* The same of bytes, which may go afterwards. */
MUST_CHECK bool run_file_parse(struct run *run, const void *bytes, uint64_t size,
                               struct error *err);
