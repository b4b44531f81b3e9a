/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The helper that takes snapshots of the traced program, as `asyncmem snapshot` does.  A process of its own, because
 * ptrace's waiting is not apart from that for children.  File 0 of a question is the region.
 */
#pragma once

#include "recorder/helper.h"

struct snapshotter_question {
    uint32_t pid;
    uint32_t is_waited_for; /* by the program: it is answered as soon as a copy of it is there */
    uint64_t stop_limit_ns; /* for the account of the heap, where it needs a stop */
};

/* Of struct helper.  The answer's file has the bytes of a snapshot file; number 0: how long the program stood still. */
void snapshotter_answer(const struct helper_question *question, struct helper_answer *answer,
                        void **state);
