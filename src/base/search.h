/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Binary search in arrays of structs sorted by a 64-bit field; the order of 64-bit words for qsort, bsearch. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline int search_word_order(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

/*
 * How many rows have a field of at most `key`: the last of them is row result - 1.  The field is
 * the uint64_t at `field_offset` of each row.
 */
static inline size_t search_up_to(const void *rows, size_t nr, size_t row_bytes,
                                  size_t field_offset, uint64_t key)
{
    size_t low = 0, high = nr;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        uint64_t field;
        memcpy(&field, (const char *)rows + middle * row_bytes + field_offset, sizeof(field));
        if (field <= key)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

#define SEARCH_UP_TO(rows, nr, field, key)                                                         \
    search_up_to((rows), (nr), sizeof(*(rows)), offsetof(__typeof__(*(rows)), field), (key))
