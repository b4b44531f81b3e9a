/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Snapshots made by hand: without and with an account of the heap, and one of any size. */
#pragma once

#include "model/snapshot.h"

/*
 * A server of two kinds: demo::handler (cell 1,024 B, future 960 B) and demo::job (512, 448),
 * main as root, one blocking closure of unknown name and size.  Tasks, by id:
 *  1, 2  handler, suspended at src/conn.rs:88, a socket read below read_frame at src/frame.rs:12
 *  3     handler, suspended in select! at src/conn.rs:90: forks into a sleep and a channel
 *  4     job, finished, JoinHandle kept        5  job, finished, 2 wakers
 *  6     job, never polled                     7  handler, running
 *  8     main (root), suspended at src/main.rs:20
 *  9     blocking, queued, nothing known of its size
 */
void sample_snapshot(struct snapshot *snapshot);

/*
 * The same with rows in every table.  Tasks 7 (running) and 9 have no account.
 *  1  holds 400 B: 300 in `conn`, 40 hidden, `buffer` is gone; shares demo::Config with 2
 *  2  holds at least 5,000 B, all in `conn`; `buffer` is unsure
 *  4  kept by a block of task 8 (`names`)      5  by a thread's stack
 *  8  holds 90,000 B in `names`
 * It was traced: `conn` of 1 was allocated by itself in read_body at src/conn.rs:41, that of 2 by task 3 there and by the
 * thread main in a library; `names` by a job that has ended.  Task 1 was spawned by the thread main.
 */
void sample_snapshot_held(struct snapshot *snapshot);

/* `nr` suspended handlers with trees of 5 frames. */
void sample_snapshot_big(struct snapshot *snapshot, uint32_t nr);
