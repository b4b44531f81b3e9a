/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The live region: the shared memory (a memfd) into which the tracer writes while the program runs,
 * and which the recorder reads: while the program runs, after its end, after its SIGKILL.
 *
 * Tables of fixed rows, each in a sparse part of the memfd of its own: only pages that were written
 * take memory.  Rows refer to each other by id: position in the table; position 0 is never a row of
 * anything and means none.  No pointers.  The recorder makes the region, fills header and tables'
 * places, and writes `clock`, `stop_writing` and the answers; the tracer writes all else.  A reader
 * trusts nothing that it finds: every id, count and length is checked against the table.
 *
 * Times are ns since `started_ns` (CLOCK_MONOTONIC) unless a name says otherwise.  Sizes are those the
 * program asked for (requested bytes).
 *
 * Who writes what, and how: a column is written by one thread at a time with plain stores unless its
 * comment says "atomic", then by any with relaxed atomic adds.  A kill at any instruction leaves at
 * most one event a thread half counted.
 */
#pragma once

#include <stdint.h>

enum { REGION_VERSION = 1 };
#define REGION_MAGIC "asyncmlr"

enum region_table_id {
    REGION_THREADS,
    REGION_TASKS,       /* also one row for each thread: what it did outside of tasks */
    REGION_TYPES,       /* task vtables; row 1: threads' own rows */
    REGION_TYPE_SUMS,   /* stripes of REGION_TYPES */
    REGION_NODES,       /* stacks as a trie: a frame and its caller */
    REGION_SITES,       /* allocation stacks */
    REGION_SITE_COUNTS, /* stripes of REGION_SITES */
    REGION_LIFETIMES,   /* histograms of sites, for blocks that lived a tick or longer */
    REGION_IMAGES,
    REGION_SLOTS,       /* the recorder's: where to hook an image's own allocator */
    REGION_PLANS,       /* the recorder's: bytes of plans (plan/plan.h), each at a multiple of 8 */
    REGION_AWAITS,      /* await trees at the end of tasks, as a trie */
    REGION_AWAIT_ENDS,  /* how many tasks of a type ended so at that await */
    REGION_LIVE_INDEX,  /* of the live table: for each 64 MB of address space its chunk */
    REGION_LIVE_CHUNKS, /* of the live table */
    REGION_NODE_INDEX, /* the tracer's own hash tables over nodes, awaits; nobody else reads them */
    REGION_AWAIT_INDEX,
    NR_REGION_TABLES,
};

struct region_table {
    uint64_t offset_bytes; /* in the memfd; a multiple of 4096 */
    uint64_t max_rows;     /* a writer that needs more counts LOST_TABLE_FULL */
    uint32_t row_bytes;    /* as the writer has it: a reader takes what it knows of each row */
    uint32_t
        stripes; /* 1; of *_SUMS, *_COUNTS: REGION_STRIPES, one after the other, max_rows each */
    _Alignas(64)
        uint32_t nr_rows; /* atomic; the first free position (so 1 when empty); rows below it may
                                    * not be written whole yet: each says so itself */
};

enum {
    /* Threads 0 to REGION_STRIPES - 2 (by position) have a stripe of their own and add plainly; all
     * others share the last, by atomic adds. */
    REGION_STRIPES = 17,
    REGION_PATH_BYTES = 1024,
    REGION_BUILD_ID_BYTES = 32,
    REGION_LIFETIME_BUCKETS = 24,
    REGION_STACK_FRAMES = 1024, /* deepest stack that is kept whole; beyond, the middle is cut */
};

/* Why something is not in the tables: counts of events, atomic. */
enum region_lost {
    LOST_IN_SIGNAL,      /* stacks: of allocations in a signal handler that interrupted the tracer
                          * itself; they are counted, without a site */
    LOST_NO_THREAD,      /* allocations of a thread that could not be given its state */
    LOST_TABLE_FULL,     /* events without a row, a site or a place in the live table */
    LOST_STACK_CUT,      /* stacks deeper than REGION_STACK_FRAMES: cut in the middle, root kept */
    LOST_STACK_BROKEN,   /* stacks that ended before the root: code without unwind tables */
    LOST_CHILDREN,       /* processes that the program made and that were not traced */
    LOST_LATE_IMAGE,     /* images loaded while tasks of theirs may have run unseen */
    LOST_EXEC,           /* programs that replaced this one and could not be followed */
    LOST_AWAIT_CUT,      /* await trees that could not be read at a task's end */
    LOST_STACK_GUESSED,  /* stacks that were followed through code without unwind tables */
    LOST_UNSEEN_BLOCK,   /* polls of tasks whose cells no allocator that is traced has made */
    NR_REGION_LOST = 32, /* room for more; all are written */
};

enum region_stacks { REGION_STACKS_ALL, REGION_STACKS_SAMPLED, REGION_STACKS_NONE };

/* What the tracer says of itself, last word first. */
enum region_state {
    REGION_NEW, /* made; no tracer has found it yet */
    REGION_TRACING,
    REGION_OFF,    /* the tracer stepped aside; off_reason says why */
    REGION_EXITED, /* the program's exit handlers ran */
    NR_REGION_STATES,
};

/* The tracer asks, the recorder answers (one question at a time, by whoever sets `asked` from 0). */
enum region_question {
    REGION_ASK_NOTHING,
    REGION_ASK_SNAPSHOT_SHUTDOWN, /* a runtime is about to drop its tasks */
    REGION_ASK_SNAPSHOT_EXIT,     /* the program is about to exit, with tasks alive */
};

/* ns = base_ns + ((tsc - base_tsc) * mult >> 32).  Two of them; `clock_index` says which holds. */
struct region_clock {
    uint64_t base_tsc, base_ns, mult;
};

struct region_header {
    char magic[8];
    uint32_t version;
    uint32_t header_bytes;
    uint64_t region_bytes; /* of the whole memfd */
    int64_t started_at_ns; /* since 1970 */
    uint64_t started_ns;   /* CLOCK_MONOTONIC: the zero of all times here */
    uint32_t recorder_pid;
    uint32_t pid;    /* of the program; 0 until it is known */
    uint32_t stacks; /* enum region_stacks */
    uint32_t follows_children;
    uint64_t sample_bytes;          /* mean of the Poisson sample */
    uint32_t has_tsc;               /* 0: the tracer uses clock_gettime */
    uint32_t lifetime_tick_ns_log2; /* of blocks' times: 2^20 ns */
    _Alignas(64) uint64_t now_ns;   /* atomic; the recorder, every 4 ms */
    uint32_t clock_index;           /* atomic */
    uint32_t stop_writing;          /* atomic; the recorder wants the tracer to be silent */
    struct region_clock clocks[2];
    _Alignas(64) uint32_t state; /* enum region_state; atomic */
    uint32_t
        nr_execs; /* how often this process had replaced its program before (same-pid exec): each
                                     * program has a region of its own */
    char off_reason[256];        /* one sentence, for the user */
    _Alignas(64) uint32_t asked; /* enum region_question; atomic, a futex */
    uint32_t answered;           /* atomic, a futex: grows by one with each answer */
    uint32_t
        images_published; /* atomic, a futex: grows with each row of REGION_IMAGES made whole or
                                     * ended; the recorder waits on it */
    uint32_t images_seen; /* atomic, a futex: what of it the recorder has dealt with: the slots of
                                     * these images are in REGION_SLOTS.  The tracer waits for it, for
                                     * REGION_IMAGE_WAIT_MS at most, before it lets the image run */
    uint32_t snapshot_goes_on; /* atomic, a futex; the recorder's: 1 while it reads a copy of the
                                     * program that ends with it */
    _Alignas(64) uint64_t
        live_bytes;      /* atomic; all threads' published changes (region_thread.unpublished) */
    uint64_t peak_bytes; /* atomic max; exact while one thread allocates, else within
                                     * REGION_PUBLISH_BYTES for each thread */
    uint64_t peak_ns;
    uint64_t next_task_id; /* atomic; ids are never used twice */
    uint64_t
        image_generation; /* atomic; grows with every dlopen and dlclose that changed something */
    _Alignas(64) uint64_t lost[NR_REGION_LOST]; /* atomic */
    struct region_table tables[NR_REGION_TABLES];
};

enum { REGION_PUBLISH_BYTES = 32768, REGION_IMAGE_WAIT_MS = 2000, REGION_SNAPSHOT_WAIT_MS = 10000 };

#include "recording/live_rows.h"
