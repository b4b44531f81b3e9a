/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What a future waits for, in plain words: "sleep", "mutex lock", "channel receive". */
#pragma once

#include <stdbool.h>

/*
 * `name` is the path of a future as names_future or names_type (NAME_PATH) give it.  NULL for
 * futures of which nothing is known but their name.
 */
const char *leaf_name(const char *name);
/* Do these words of leaf_name (or NULL) say it all?  poll_fn only runs what is below it. */
bool leaf_tells(const char *words);
