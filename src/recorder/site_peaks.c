/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "recorder/site_peaks.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "recorder/recorder_part.h"

enum { LOOK_COST = 50 }; /* looks take at most one part in so many of the time */

void site_peaks_deinit(struct site_peaks *peaks)
{
    free(peaks->bytes);
    *peaks = (struct site_peaks){0};
}

/* Only rows that were ever written: the others would take memory. */
static void add_stripe(struct site_peaks *peaks, const struct region_view *view, uint32_t stripe)
{
    uint64_t row_bytes = view->tables[REGION_SITE_COUNTS].row_bytes, span[2];
    uint64_t first = region_row_offset(view, REGION_SITE_COUNTS, stripe, 0);
    uint64_t next = first, end = first + peaks->nr * row_bytes;
    while (region_data_span(view, next, end, span))
        for (next = first + (span[0] - first + row_bytes - 1) / row_bytes * row_bytes;
             next < span[1]; next += row_bytes) {
            uint32_t site = (uint32_t)((next - first) / row_bytes);
            const struct region_site_counts *counts =
                region_stripe_row(view, REGION_SITE_COUNTS, stripe, site);
            if (counts && site < peaks->nr) /* a block may be freed in another stripe */
                peaks->bytes[site] += counts->allocated_bytes - counts->freed_bytes;
        }
}

void site_peaks_look(struct site_peaks *peaks, const struct region_view *view, uint64_t live_bytes)
{
    uint64_t before = recorder_clock_ns();
    if (live_bytes <= peaks->live_bytes || before < peaks->next_ns)
        return;
    peaks->live_bytes = live_bytes;
    peaks->nr = region_nr_rows(view, REGION_SITES);
    peaks->bytes = array_reserve(peaks->bytes, &peaks->capacity, peaks->nr, sizeof(*peaks->bytes));
    memset(peaks->bytes, 0, peaks->nr * sizeof(*peaks->bytes));
    for (uint32_t stripe = 0; stripe < view->tables[REGION_SITE_COUNTS].stripes; stripe++)
        add_stripe(peaks, view, stripe);
    for (size_t site = 0; site < peaks->nr; site++)
        if ((int64_t)peaks->bytes[site] < 0) /* read while it changed */
            peaks->bytes[site] = 0;
    uint64_t after = recorder_clock_ns();
    peaks->next_ns = after + (after - before) * LOOK_COST;
}
