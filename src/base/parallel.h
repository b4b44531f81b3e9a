/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Work spread over the machine's processors.  Items are taken in order from one counter, so big
 * items first gives a good balance; results must be merged by item index to stay deterministic.
 */
#pragma once

#include <stddef.h>

/* How many workers parallel_for uses for that many items: at least 1, at most the CPUs allowed. */
unsigned parallel_workers(size_t nr_items);

/*
 * Calls run(context, worker, item) once for each item in 0..nr_items-1, on parallel_workers()
 * threads, and returns when all are done.  `worker` is 0..workers-1: per-worker state needs no
 * lock.  The caller's thread is worker 0; where no thread can be made it does all the work.
 */
void parallel_for(size_t nr_items, void (*run)(void *context, unsigned worker, size_t item),
                  void *context);
