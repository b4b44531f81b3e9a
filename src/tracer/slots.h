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
    uintptr_t written_start, written_end; /* of its writable segments */
    uintptr_t relro_start, relro_end;     /* read-only since its relocation */
};

/* Sets the slots of this image that are there now; returns how many. */
uint32_t slots_patch(struct tracer *tracer, const struct slots_image *image);
/* The image was unloaded: what is kept for it is free for another. */
void slots_forget(const struct slots_image *image);
bool slots_are_set(const struct slots_image *image);

/* --- slot_functions.c ------------------------------------------------------------------------------- */

/* So many images with an allocator of their own can be hooked at a time. */
enum { SLOTS_SETS = 4 };

/* Our functions of each set; NULL: there is none for that one. */
extern void *const slots_functions_0[NR_REGION_SLOT_FUNCTIONS];
extern void *const slots_functions_1[NR_REGION_SLOT_FUNCTIONS];
extern void *const slots_functions_2[NR_REGION_SLOT_FUNCTIONS];
extern void *const slots_functions_3[NR_REGION_SLOT_FUNCTIONS];
/* The functions of each set's allocator: what ours call. */
extern void *slots_behind[SLOTS_SETS][NR_REGION_SLOT_FUNCTIONS]
    __attribute__((visibility("hidden")));
