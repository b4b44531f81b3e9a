/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The rows of a run: what its tables hold and what the recording of a run has on disk.  Fixed,
 * little-endian, no pointers: they refer to each other by id, position + 1, 0 meaning none.  Columns
 * are added at the end only (docs/FORMAT.md).  model/run.h has the tables and checks them.
 *
 * Sizes are requested bytes.  Times are ns since the start of the run; 0: has not been.
 */
#pragma once

#include <stdint.h>

typedef struct {
    uint32_t v; /* offset in the strings; 0 is "", meaning unknown or none */
} run_str;

#define RUN_UNKNOWN (~(uint64_t)0)

enum run_ended_by { RUN_EXIT, RUN_SIGNAL, RUN_RUNNING, RUN_LOST, NR_RUN_ENDED_BY };

enum run_stacks { RUN_STACKS_ALL, RUN_STACKS_SAMPLED, RUN_STACKS_NONE, NR_RUN_STACKS };

/* What kind of work allocated: of types and sites. */
enum run_kind {
    RUN_KIND_UNKNOWN,
    RUN_KIND_ASYNC,
    RUN_KIND_ROOT, /* outside of tasks, below block_on or LocalSet::run_until */
    RUN_KIND_BLOCKING,
    RUN_KIND_WORKER, /* a runtime's own loop, outside of tasks */
    RUN_KIND_THREAD, /* a thread that is none of the runtime's */
    NR_RUN_KINDS,
};

enum run_end {              /* as enum region_task_end */
               RUN_END_NOT, /* lives, or ended with the process */
               RUN_END_FINISHED,
               RUN_END_ABORTED,
               RUN_END_PANICKED,
               RUN_END_DROPPED,
               RUN_END_NEVER_POLLED,
               RUN_END_THREAD,
               NR_RUN_ENDS,
};

/* Exactly one. */
struct run_facts {
    run_str program; /* its path */
    run_str command; /* as it was called, with its arguments */
    uint32_t pid;
    uint32_t ended_by;   /* enum run_ended_by */
    int32_t exit_status; /* or the signal's number */
    uint32_t stacks;     /* enum run_stacks */
    int64_t started_at_ns,
        ended_at_ns;       /* since 1970; of a run that goes on: when this was written */
    uint64_t sample_bytes; /* mean of the sample; 0: stacks are of all */
    uint64_t tasks;        /* of all kinds but threads */
    uint64_t polls, polls_future, polls_blocking, polls_cancel;
    uint64_t allocations, allocated_bytes, frees, freed_bytes;
    uint64_t live_bytes, live_blocks;
    uint64_t peak_bytes, peak_ns;
    uint64_t peak_error_bytes; /* peak_bytes may be off by so much */
    uint64_t peak_rss_bytes;
    uint64_t temporary;
    uint64_t clock_tick_ns; /* of lifetimes */
    uint64_t nr_threads;    /* that ever allocated */
    uint32_t detail;        /* as enum plan_detail, of the best image */
    run_str detail_reason;
    uint64_t unknown_frees;
};

struct run_lost {
    run_str cause; /* for JSON: "in_signal" */
    run_str text;  /* one sentence for people */
    uint64_t count;
};

struct run_note {
    run_str text;
};

struct run_image {
    run_str path, build_id;
    uint32_t detail;
    run_str detail_reason;
};

/* All tasks of one vtable; those of kind ROOT, WORKER, THREAD: what threads did outside of tasks. */
struct run_type {
    run_str future; /* short; of threads: their name */
    run_str full;
    run_str reason;  /* why the name is unknown */
    uint32_t kind;   /* enum run_kind */
    run_str runtime; /* "tokio multi_thread"; "" unknown */
    uint32_t image;
    uint64_t tasks, live_tasks, most_at_once;
    uint64_t ended[NR_RUN_ENDS]; /* [RUN_END_NOT]: live, and those killed with the process */
    uint64_t polls, polls_cancel, slow_polls, scheduled;
    uint64_t poll_ns, longest_poll_ns, idle_ns; /* idle: alive and not being polled */
    uint64_t allocations, allocated_bytes, frees, freed_bytes;
    uint64_t live_bytes, live_blocks;
    uint64_t peak_bytes_sum, peak_bytes_max; /* of tasks; mean = sum / tasks; RUN_UNKNOWN:
                                                          * no row of a task has it (ROOT, THREAD) */
    uint64_t cell_bytes;                     /* of one cell; RUN_UNKNOWN */
    uint64_t header_bytes, padding_bytes, payload_bytes; /* that it is made of; RUN_UNKNOWN */
    uint64_t live_cells;  /* cells that are still allocated: live tasks and kept outputs */
    uint64_t boxed_bytes; /* of the future where the cell has only a box of it; RUN_UNKNOWN; 0: it
                           * has the future itself */
};

/* Tasks that have not been folded into their type: alive, or something that they allocated is. */
struct run_task {
    uint64_t id, runtime_task_id, parent; /* parent: another's id (or a thread's); 0: unknown */
    uint32_t type;
    uint32_t end;   /* enum run_end */
    uint32_t site;  /* where it was spawned; 0: unknown */
    uint32_t await; /* where it was when it ended, or is; 0: unknown */
    run_str thread; /* of a thread: its name; of a task: that polled it last */
    uint32_t is_thread;
    uint64_t spawned_ns, first_poll_ns, last_poll_ns, ended_ns;
    uint64_t polls, polls_cancel, slow_polls, scheduled, poll_ns, longest_poll_ns;
    uint64_t allocations, allocated_bytes, frees, freed_bytes, live_bytes, live_blocks, peak_bytes;
    uint64_t cell_bytes;
    uint64_t held_bytes; /* in the last snapshot; RUN_UNKNOWN */
    run_str waits_for;   /* in plain words; "" unknown */
    uint32_t reserved;
};

/* One future of an await tree; a tree's innermost names it. */
struct run_await {
    uint32_t parent; /* that awaits it; 0: the task's own future */
    run_str future, full, state, file, waits_for;
    uint32_t line;
    uint32_t tells; /* 1: waits_for has words that say it all (leaf_tells) */
};

struct run_await_end {
    uint32_t type;
    uint32_t await; /* the innermost; 0: unknown */
    uint32_t end;   /* enum run_end; RUN_END_NOT: were there still at the end */
    uint32_t reserved;
    uint64_t tasks, held_bytes; /* held: of RUN_END_NOT, from the last snapshot; RUN_UNKNOWN */
};

/* What a frame is, for folding. */
enum run_frame_kind {
    RUN_FRAME_USER,
    RUN_FRAME_LIBRARY, /* a crate of others */
    RUN_FRAME_STD,     /* alloc, core, std */
    RUN_FRAME_RUNTIME, /* tokio's polling, scheduling, catching; the thread's start */
    RUN_FRAME_POLL,    /* Future::poll of a state machine: shown as the async fn */
    RUN_FRAME_TRACER,
    NR_RUN_FRAME_KINDS,
};

struct run_frame {
    run_str function; /* short: "serve_conn" */
    run_str full;     /* demangled, whole */
    run_str file;
    uint32_t line;
    uint16_t kind;       /* enum run_frame_kind */
    uint16_t is_inlined; /* into the next frame outward */
};

/* A place in the code: its frames, innermost first. */
struct run_place {
    uint32_t first_frame, nr_frames; /* none: the file that had them is damaged */
    uint32_t image;                  /* 0: in none */
    uint32_t reserved;
    uint64_t offset; /* in the image's file; of no image: the address */
};

struct run_node {
    uint32_t parent; /* the caller; 0: the root */
    uint32_t place;
};

struct run_site {
    uint32_t node;      /* innermost; 0: stacks were not taken */
    uint32_t lifetimes; /* 0: no block lived longer than a tick */
    uint32_t type;      /* whose polls allocated here; outside of tasks: of kind ROOT, WORKER or
                         * THREAD; 0: unknown */
    uint32_t kind;      /* enum run_kind: of the type, or what the thread did */
    uint64_t allocations, allocated_bytes, frees, freed_bytes, temporary;
    uint64_t live_bytes, live_blocks;
    uint64_t peak_bytes;  /* at the run's peak as far as samples show; RUN_UNKNOWN */
    uint64_t error_bytes; /* sampled: allocated_bytes +- one standard deviation; 0: exact */
};

struct run_lifetimes {
    uint32_t site;
    uint32_t reserved;
    uint32_t buckets[24]; /* as struct region_lifetimes */
};

/* What is still allocated, by who allocated it and where. */
struct run_left {
    uint32_t type; /* 0: none (no thread row either) */
    uint32_t site;
    uint64_t live_blocks, live_bytes;
};

struct run_step {
    uint64_t t_ns, live_bytes, rss_bytes, live_tasks; /* rss: RUN_UNKNOWN: the process had ended */
};

/* Of the types that are largest at their peak: live bytes that they allocated, at each step. */
struct run_step_type {
    uint32_t step; /* id of a run_step */
    uint32_t type; /* 0: threads: root futures, workers and all others together */
    uint64_t live_bytes;
};

enum run_snapshot_why {
    RUN_SNAPSHOT_PEAK,
    RUN_SNAPSHOT_SHUTDOWN,
    RUN_SNAPSHOT_EXIT,
    NR_RUN_SNAPSHOT_WHYS
};

/* A snapshot that was taken on the way: a whole snapshot file among the bytes of RUN_SNAPSHOT_BYTES. */
struct run_snapshot {
    uint64_t t_ns, live_bytes;
    uint32_t why;
    uint32_t reserved;
    uint64_t first_byte, nr_bytes; /* its position there, from 0 */
};

/* The runtime's own, per runtime and kind of task. */
struct run_runtime {
    run_str name;   /* "tokio multi_thread" */
    uint32_t kind;  /* enum run_kind of its cells */
    uint64_t cells; /* live now or at the end */
    uint64_t cell_header_bytes, cell_padding_bytes, cell_payload_bytes;     /* of all these */
    uint64_t queue_bytes, timer_bytes, io_bytes, worker_bytes, other_bytes; /* RUN_UNKNOWN */
    uint64_t nr_workers, stack_bytes;
};

_Static_assert(sizeof(struct run_facts) == 208, "a file format");
_Static_assert(sizeof(struct run_lost) == 16, "a file format");
_Static_assert(sizeof(struct run_note) == 4, "a file format");
_Static_assert(sizeof(struct run_image) == 16, "a file format");
_Static_assert(sizeof(struct run_type) == 272, "a file format");
_Static_assert(sizeof(struct run_task) == 208, "a file format");
_Static_assert(sizeof(struct run_await) == 32, "a file format");
_Static_assert(sizeof(struct run_await_end) == 32, "a file format");
_Static_assert(sizeof(struct run_frame) == 20, "a file format");
_Static_assert(sizeof(struct run_place) == 24, "a file format");
_Static_assert(sizeof(struct run_node) == 8, "a file format");
_Static_assert(sizeof(struct run_site) == 88, "a file format");
_Static_assert(sizeof(struct run_lifetimes) == 104, "a file format");
_Static_assert(sizeof(struct run_left) == 24, "a file format");
_Static_assert(sizeof(struct run_step) == 32, "a file format");
_Static_assert(sizeof(struct run_step_type) == 16, "a file format");
_Static_assert(sizeof(struct run_snapshot) == 40, "a file format");
_Static_assert(sizeof(struct run_runtime) == 96, "a file format");
