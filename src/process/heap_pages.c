/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Single words of the target, by the pages that hold them: links of lists lie scattered, but mostly
 * near each other.  A direct-mapped cache; a page that could be read in part keeps that part.
 */
#include "process/heap_part.h"

#include <stdlib.h>
#include <string.h>

enum { PAGE_SHIFT = 12, PAGE_BYTES = 1 << PAGE_SHIFT, NR_SLOTS = 1024 };

void heap_pages_init(struct heap_pages *pages, const struct target *target)
{
    pages->target = target;
    pages->addrs = memory_alloc(NR_SLOTS * sizeof(*pages->addrs));
    pages->nr_bytes = memory_alloc(NR_SLOTS * sizeof(*pages->nr_bytes));
    pages->bytes = memory_alloc((size_t)NR_SLOTS * PAGE_BYTES);
    for (size_t i = 0; i < NR_SLOTS; i++)
        pages->addrs[i] = 1;
}

void heap_pages_deinit(struct heap_pages *pages)
{
    free(pages->addrs);
    free(pages->nr_bytes);
    free(pages->bytes);
}

bool heap_word(struct heap_pages *pages, uint64_t addr, uint64_t *word)
{
    uint64_t page = addr & ~(uint64_t)(PAGE_BYTES - 1), offset = addr - page;
    size_t slot = (size_t)(page >> PAGE_SHIFT) % NR_SLOTS;
    uint8_t *bytes = pages->bytes + slot * PAGE_BYTES;
    if (addr % sizeof(*word))
        return false;
    if (pages->addrs[slot] != page) {
        pages->addrs[slot] = page;
        pages->nr_bytes[slot] = (uint16_t)target_read(pages->target, page, bytes, PAGE_BYTES);
    }
    if (offset + sizeof(*word) > pages->nr_bytes[slot])
        return false;
    memcpy(word, bytes + offset, sizeof(*word));
    return true;
}
