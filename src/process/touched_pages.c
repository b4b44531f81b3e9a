/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "process/touched_pages.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PAGE_BYTES = 4096, PAGES_AT_ONCE = 1 << 16, WORTH_A_PAGEMAP_BYTES = 1 << 18 };

void touched_pages_open(struct touched_pages *touched, const struct target *target)
{
    char path[64];
    pid_t pid = target->copy.pid ? target->copy.pid : target->pid;
    *touched = (struct touched_pages){.pagemap = -1};
    if (target->is_core)
        return;
    touched->pages = memory_alloc(PAGES_AT_ONCE * sizeof(*touched->pages));
    snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
    touched->pagemap = open(path, O_RDONLY | O_CLOEXEC);
}

void touched_pages_close(struct touched_pages *touched)
{
    if (touched->pagemap >= 0)
        close(touched->pagemap);
    free(touched->pages);
}

/* Bits 63 and 62 of an entry: present, swapped out. */
void touched_pages_each(const struct touched_pages *touched, uint64_t start, uint64_t end,
                        touched_fn *each, void *context)
{
    if (touched->pagemap < 0 || (end - start < WORTH_A_PAGEMAP_BYTES && !touched->is_strict)) {
        each(context, start, end);
        return;
    }
    while (start < end) {
        uint64_t nr = (end - start) / PAGE_BYTES;
        nr = nr < PAGES_AT_ONCE ? nr : PAGES_AT_ONCE;
        ssize_t got =
            pread(touched->pagemap, touched->pages, nr * 8, (off_t)(start / PAGE_BYTES * 8));
        uint64_t read = got > 0 ? (uint64_t)got / 8 : 0;
        if (!read) {
            each(context, start, end);
            return;
        }
        for (uint64_t page = 0; page < read;) {
            uint64_t first = page;
            while (page < read && touched->pages[page] >> 62)
                page++;
            if (page > first)
                each(context, start + first * PAGE_BYTES, start + page * PAGE_BYTES);
            else
                page++;
        }
        start += read * PAGE_BYTES;
    }
}
