/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Would it free the same in other circumstances?  A run that asked its thread or the kernel is made again
 * as another thread of its runtime would, and with the system calls refused whose outcome nobody knows.  What
 * is not freed each time is not said to be.
 */
#pragma once

#include "process/drop_run.h"
#include "process/drop_threads.h"

/* Makes the run from its beginning, after drop_run_reset; false: it did not come to its end. */
typedef bool drop_again_fn(struct drop_run *run, const void *context);

/*
 * After a run that came to its end, by one of `threads`.  NULL: it frees the same in any case.  Else why
 * not, in words that live for ever; then only what it always frees stands in run->frees.
 */
const char *drop_doubt_settle(struct drop_run *run, const struct drop_threads *threads,
                              drop_again_fn *again, const void *context);
