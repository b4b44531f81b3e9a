/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The scan for candidates: every aligned word of writable memory that is the address of a task
 * vtable.  Through one buffer, pages that were never touched left out (pagemap, proc(5)), while the
 * target runs.
 */
#include <stdlib.h>

#include "process/task_cells.h"
#include "process/touched_pages.h"

enum { BUFFER_BYTES = 1 << 20, PAGE_BYTES = 4096, MAX_SPAN_GAP_BYTES = 1 << 22 };

/* Vtables that lie near each other: those of one image. */
struct vtable_span {
    uint64_t low, bytes;
    uint64_t *bits; /* for each 8 bytes: is a vtable there? */
};

struct scan {
    struct task_cells *cells;
    uint64_t *words; /* BUFFER_BYTES */
    struct vtable_span *spans;
    size_t nr_spans;
};

static void see_vtable(struct scan *scan, uint64_t vtable, uint64_t place)
{
    uint32_t kind = task_cells_kind_of(scan->cells, vtable);
    uint32_t offset = kind ? scan->cells->kinds[kind - 1].layout.vtable : 0;
    if (kind && place >= offset)
        task_cells_add_candidate(scan->cells, place - offset, kind - 1);
}

static void see_words(struct scan *scan, uint64_t addr, size_t nr)
{
    const uint64_t *words = scan->words;
    for (size_t s = 0; s < scan->nr_spans; s++) {
        const struct vtable_span span = scan->spans[s];
        for (size_t i = 0; i < nr; i++) {
            uint64_t distance = words[i] - span.low;
            if (distance <= span.bytes && distance % 8 == 0 &&
                span.bits[distance / 512] >> (distance / 8 % 64) & 1)
                see_vtable(scan, words[i], addr + i * 8);
        }
    }
}

static void scan_range(void *context, uint64_t start, uint64_t end)
{
    struct scan *scan = context;
    while (start < end) {
        size_t wanted = end - start < BUFFER_BYTES ? end - start : BUFFER_BYTES;
        size_t got = target_read(scan->cells->target, start, scan->words, wanted);
        see_words(scan, start, got / 8);
        scan->cells->scanned_bytes += got;
        /* Behind a page that cannot be read more may follow. */
        start += got == wanted ? got : (got + PAGE_BYTES) / PAGE_BYTES * PAGE_BYTES;
    }
}

static void find_spans(struct scan *scan)
{
    const struct task_cells *cells = scan->cells;
    scan->spans = memory_alloc(cells->nr_kinds * sizeof(*scan->spans));
    for (size_t i = 0, last; i < cells->nr_kinds; i = last + 1) {
        const uint64_t low = cells->kinds[i].vtable;
        for (last = i; last + 1 < cells->nr_kinds; last++)
            if (cells->kinds[last + 1].vtable - cells->kinds[last].vtable > MAX_SPAN_GAP_BYTES)
                break;
        uint64_t bytes = cells->kinds[last].vtable - low;
        struct vtable_span *span = &scan->spans[scan->nr_spans++];
        *span = (struct vtable_span){low, bytes, memory_alloc(bytes / 64 + 8)};
        for (size_t k = i; k <= last; k++) {
            uint64_t distance = cells->kinds[k].vtable - low;
            span->bits[distance / 512] |= (uint64_t)1 << (distance / 8 % 64);
        }
    }
}

static bool is_scanned(const struct mapping *mapping)
{
    return mapping && mapping->readable && mapping->writable && !mapping->is_shared &&
           !mapping->is_device;
}

static void scan_live(struct scan *scan)
{
    const struct target *target = scan->cells->target;
    struct touched_pages touched;
    touched_pages_open(&touched, target);
    for (size_t i = 0; i < target->nr_mappings; i++) {
        const struct mapping *mapping = &target->mappings[i];
        if (is_scanned(mapping))
            touched_pages_each(&touched, mapping->start, mapping->end, scan_range, scan);
    }
    touched_pages_close(&touched);
}

/* Only what the core holds: its headers may tell of much more memory. */
static void scan_core(struct scan *scan)
{
    const struct target *target = scan->cells->target;
    for (size_t i = 0; i < target->nr_segments; i++) {
        const struct core_segment *segment = &target->segments[i];
        if (is_scanned(target_mapping_at(target, segment->addr)))
            scan_range(scan, segment->addr, segment->addr + segment->size_bytes);
    }
}

void cell_scan(struct task_cells *cells)
{
    struct scan scan = {.cells = cells, .words = memory_alloc(BUFFER_BYTES)};
    find_spans(&scan);
    if (cells->target->is_core)
        scan_core(&scan);
    else
        scan_live(&scan);
    for (size_t s = 0; s < scan.nr_spans; s++)
        free(scan.spans[s].bits);
    free(scan.spans);
    free(scan.words);
}
