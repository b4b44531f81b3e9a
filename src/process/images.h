/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Which mappings are ELF images, where each was loaded and what path opens its file.  The stage
 * before: mappings, of a live process or a core.  Headers are read as hostile input.
 */
#pragma once

#include "base/file.h"
#include "process/target.h"

enum { PAGE_BYTES = 4096, MAX_IMAGE_LOADS = 64, MAX_IMAGE_BUILD_ID = 64 };

struct image_load { /* a PT_LOAD */
    uint64_t addr, offset, file_bytes, memory_bytes;
    bool executable;
};

/* What the ELF header and the program headers say. */
struct image_layout {
    uint64_t entry; /* e_entry */
    struct image_load loads[MAX_IMAGE_LOADS];
    unsigned nr_loads;
    uint8_t build_id[MAX_IMAGE_BUILD_ID];
    uint32_t build_id_bytes; /* 0: none, or outside of the bytes */
};

/* False: not a 64-bit x86-64 program or library.  `bytes`: the whole file or its first page. */
bool image_layout_read(struct image_layout *layout, const uint8_t *bytes, uint64_t size);
/* Both are of one file as far as they tell: by build id, else by entry and segments. */
bool image_layout_equal(const struct image_layout *a, const struct image_layout *b);
/* Where the image was loaded, if the executable `mapping` is one of its segments. */
bool image_layout_bias(const struct image_layout *layout, const struct mapping *mapping,
                       uint64_t *bias);

bool mapping_is_of_file(const struct mapping *a, const struct mapping *b);
/* The last mapping of the same file at offset 0 that does not lie behind `mapping`, or NULL. */
const struct mapping *mapping_of_header(const struct target *target, const struct mapping *mapping);

/* Adds the image that `mapping` is a part of; NULL where the span makes no sense. */
struct target_image *image_add(struct target *target, const struct mapping *mapping,
                               const struct image_layout *layout, uint64_t bias);
/* The program first, the others by address. */
void images_sort(struct target *target);

/* Images of a live process; those that are still mapped stay as they are. */
void images_read_live(struct target *target);
