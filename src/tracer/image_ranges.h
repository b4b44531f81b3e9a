/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * From a pc to the row of its image in REGION_IMAGES.  tracer/images.c, which makes the rows, feeds
 * the list; stacks read it, in any thread, without a lock.  A reader never waits for a writer.
 *
 * Stacks and rules that threads remember hold for one generation of the list: whoever changes it ends
 * the generation.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A load of an image: from its first segment to its last, as in struct region_image. */
struct image_range {
    uint64_t start, end;
    uint32_t image; /* row of REGION_IMAGES, never 0 */
    uint32_t reserved;
};

/*
 * The images that are loaded now, in any order; the list is copied.  One writer at a time.  To be called after
 * rows were made or ended: after dlopen, and after dlclose (`ended` rows are no longer in it).
 * false: no memory; the old list stays.
 */
bool image_ranges_set(const struct image_range *ranges, size_t nr);

/* The range that holds pc; image 0: none does. */
struct image_range image_ranges_find(uintptr_t pc);

/* Ends the generation: what threads remember of code is found anew.  image_ranges_set does it. */
void image_ranges_changed(void);

extern uint32_t image_ranges_now; /* the generation; atomic */

static inline uint32_t image_ranges_generation(void)
{
    return __atomic_load_n(&image_ranges_now,
                           __ATOMIC_ACQUIRE); /* pairs with image_ranges_changed */
}

/*
 * What to do when a stack passes through loaded code that is in no range: the constructors of a library
 * during its dlopen, or one that libc loaded by itself.  Called with the thread busy, at any place of the
 * program, so it must not wait for the recorder or for a lock.  It publishes the row if it can and
 * calls image_ranges_set; else the frames belong to image 0.  NULL (from the start): nothing.
 */
void image_ranges_on_unknown(void (*look_again)(uintptr_t pc));
void image_ranges_unknown(uintptr_t pc);
