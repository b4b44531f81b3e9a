/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Compiled plans on disk, one file a program, in $ASYNCMEM_CACHE_DIR, else
 * $XDG_CACHE_HOME/asyncmem, else ~/.cache/asyncmem; the folder is made with mode 0700 and is not
 * used when it belongs to somebody else or others may write to it.
 *
 * A file's name is a hash of the program's real path (and of the --symbols file), its key a hash
 * of what those files and asyncmem itself are now (size, times, inode) and of the plan's version.  The plan lists
 * every file it was read from; one that changed makes it stale.  Files are written anew beside
 * the old one and renamed.  What is read is checked like any hostile input.
 */
#pragma once

#include "base/file.h"
#include "program/plan_compile.h"

/* Finds a plan that is still true.  False: none, for whatever reason. */
bool plan_cache_find(struct loaded_plan *loaded, const struct plan_request *request,
                     uint8_t key[16]);
/* Stores a plan; failure is silent, a cache is no promise. */
void plan_cache_store(const struct plan_request *request, const void *bytes, uint64_t size);
/*
 * An answer that takes longer to write than its plan to read, kept beside the plan: the same plan
 * and the same question have the same answer.  *answer holds the bytes and is for file_close;
 * they begin at PLAN_ANSWER_HEADER_BYTES.
 */
enum { PLAN_ANSWER_HEADER_BYTES = 32 };
bool plan_answer_find(const struct plan_request *request, const struct plan *plan,
                      uint64_t question, struct file *answer);
void plan_answer_store(const struct plan_request *request, const struct plan *plan,
                       uint64_t question, const void *bytes, uint64_t size);

/* The key of the request's files; false when one is absent. */
bool plan_cache_key(const struct plan_request *request, uint8_t key[16]);
