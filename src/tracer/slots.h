/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Allocators that an image brings along (mimalloc, jemalloc): the words through which the image calls them are
 * in REGION_SLOTS, found by the recorder; here they get our functions instead.
 */
#pragma once

#include "tracer/tracer.h"

/* What a word may be changed in: one load of an image. */
struct slots_image {
    uint32_t image;
    uintptr_t start, end, bias;
    uintptr_t relro_start, relro_end; /* read-only since its relocation */
};

/* Sets the slots of this image that are there now; returns how many. */
uint32_t slots_patch(struct tracer *tracer, const struct slots_image *image);
