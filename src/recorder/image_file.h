/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The file of an image that a traced program published: found from outside, also in another mount namespace. */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#include "recording/live_region.h"

/*
 * A path that opens the very file that is mapped, by build id or by device and inode.  False: there is none.
 * `image` is a private copy of the row.
 */
bool image_file_path(char path[PATH_MAX], pid_t pid, const struct region_image *image);
