/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The helper that takes snapshots of the traced program, as `asyncmem snapshot` does.  A process of its own, because
 * ptrace's waiting is not apart from that for children.
 */
#pragma once

#include "recorder/helper.h"

struct snapshotter_question {
    uint32_t pid, reserved;
    uint64_t stop_limit_ns; /* for the account of the heap, where it needs a stop */
};

/* Of struct helper.  The answer's file has the bytes of a snapshot file; number 0: how long the program stood still. */
void snapshotter_answer(const struct helper_question *question, struct helper_answer *answer,
                        void **state);
