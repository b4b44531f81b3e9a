/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Memory by lifetime.  An arena gives pieces that are all freed together; `array_reserve` grows
 * plain arrays.  None of these returns NULL: when memory ends, the process ends with one line
 * (the sizes asked for are bounded by the size of the input before they reach this place).
 * An arena belongs to one thread at a time.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/attributes.h"

struct arena_chunk;

struct arena {
    struct arena_chunk *chunks; /* newest first */
    char *next;                 /* free bytes of the newest chunk */
    char *end;
    size_t used_bytes; /* handed out so far */
};

void arena_init(struct arena *arena);
void arena_deinit(struct arena *arena);
/* All pieces of `from` become pieces of `to`; `from` is empty afterwards. */
void arena_take(struct arena *to, struct arena *from);

/* Zeroed, 16-byte aligned. */
void *arena_alloc(struct arena *arena, size_t bytes) NEVER_NULL;
/* Not zeroed, and untouched by us: for big buffers that may not be filled whole. */
void *arena_alloc_raw(struct arena *arena, size_t bytes) NEVER_NULL;
/* A NUL-terminated copy of `length` bytes. */
char *arena_strndup(struct arena *arena, const char *text, size_t length) NEVER_NULL;

void *memory_alloc(size_t bytes) NEVER_NULL; /* zeroed; free() */
/*
 * In big pages where the kernel gives them, and touched: using it costs no page faults.  Not
 * zeroed; free().
 */
void *memory_alloc_touched(size_t bytes) NEVER_NULL;
void *memory_resize(void *old, size_t bytes) NEVER_NULL; /* new part not zeroed */

/*
 * Makes room for `needed` items in the array *items (item_bytes each, capacity *capacity), by
 * doubling.  Returns the array, whose new part is not zeroed; free() it.
 */
void *array_reserve(void *items, size_t *capacity, size_t needed, size_t item_bytes) NEVER_NULL;
