/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Answers what the tracer waits for: an image was loaded; through which words does it call an allocator of its own?
 * A thread of its own for each region, as the program stands still meanwhile.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "recording/region.h"

struct image_answers {
    struct region *region;
    const struct region_view *view;
    pid_t pid;
    uint32_t nr_slots; /* rows of REGION_SLOTS: the header's number can be written by the program */
    uint8_t *answered; /* a byte a row of REGION_IMAGES */
    pthread_t thread;
    bool runs;
    atomic_bool stops, stopped;
    _Atomic(const char *) hidden_allocator; /* of struct allocator_slots, of any image */
};

/* `region` and `view` must outlive it.  Without a thread nothing is answered; the tracer waits a moment then. */
void image_answers_start(struct image_answers *answers, struct region *region,
                         const struct region_view *view, pid_t pid);
void image_answers_stop(struct image_answers *answers);
