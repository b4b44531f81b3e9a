/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What a future waits for, in plain words: "sleep", "mutex lock", "channel receive". */
#pragma once

/*
 * `name` is the path of a future as names_future or names_type (NAME_PATH) give it.  NULL for
 * futures of which nothing is known but their name.
 */
const char *leaf_name(const char *name);
