/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What each place in the code had allocated and not yet freed when the heap was at its largest, as far as looks show: at each
 * look with more live bytes than all before, and as often as it costs no more than some percent of a processor.
 */
#pragma once

#include <stddef.h>

#include "recording/region.h"

struct site_peaks {
    uint64_t *bytes; /* by row of REGION_SITES */
    size_t nr, capacity;
    uint64_t live_bytes; /* of the look that they are of */
    uint64_t next_ns;    /* CLOCK_MONOTONIC; not before */
};

void site_peaks_deinit(struct site_peaks *peaks);
void site_peaks_look(struct site_peaks *peaks, const struct region_view *view, uint64_t live_bytes);
