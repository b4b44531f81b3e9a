/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The rows of the live region's tables: what recording/live_region.h says of tables, times, sizes and of who
 * writes how holds for all of them.
 */
#pragma once

#include <stdint.h>

/* --- threads --------------------------------------------------------------------------------- */

/*
 * A place for one thread at a time: when its thread ends the next new one goes on with it, and the
 * counters go on too.  Position - 1 is the stripe while it is below REGION_STRIPES - 1.
 */
struct region_thread {
    uint32_t tid;  /* 0: free */
    uint32_t task; /* the thread's own row in REGION_TASKS */
    uint64_t began_ns;
    char name[16]; /* as the kernel had it at its first event or last poll */
    /* Sums over all threads that had this place.  Counts of everything, in tasks or not. */
    uint64_t allocations, allocated_bytes;
    uint64_t frees, freed_bytes; /* of blocks in the live table */
    uint64_t temporary;
    uint64_t unknown_frees; /* of pointers that are in no table: made before the tracer, or lost */
    uint64_t polls, polls_future, polls_blocking, polls_cancel;
    int64_t unpublished;      /* live bytes not yet in region_header.live_bytes */
    int64_t unpublished_peak; /* the largest value of it since the last publishing */
    uint64_t reserved[8];
};

/* --- tasks ----------------------------------------------------------------------------------- */

enum region_task_kind {
    REGION_TASK_FREE,   /* the row is not in use */
    REGION_TASK_THREAD, /* all that a thread does outside of tasks */
    REGION_TASK_CELL,   /* a spawned task; its type says whether async, blocking or worker */
};

enum region_task_end {
    REGION_END_NOT,
    REGION_END_FINISHED,
    REGION_END_ABORTED, /* dropped by a poll that found it cancelled, or by an abort while it ran */
    REGION_END_PANICKED,
    REGION_END_DROPPED, /* by the shutdown of its runtime or LocalSet */
    REGION_END_NEVER_POLLED, /* ended in any way, but was never polled (a cancelling poll does not count) */
    REGION_END_THREAD, /* of a thread's row: the thread ended */
    NR_REGION_TASK_ENDS,
};

/* 256 bytes.  A row is used again after it was folded: `id` tells who has it. */
struct region_task {
    uint64_t id;              /* unique in the run; 0: the row is free */
    uint64_t runtime_task_id; /* tokio's own; 0: none */
    uint64_t parent_id;       /* who spawned it: id of a task or thread row */
    uint64_t cell_addr;       /* 0: none, or freed */
    uint32_t kind;            /* enum region_task_kind */
    uint32_t type;            /* row of REGION_TYPES */
    uint32_t site;            /* where it was spawned (the allocation of its cell) */
    uint32_t end;             /* enum region_task_end; as soon as the future is gone */
    uint32_t await;           /* row of REGION_AWAITS: where it was when it ended unfinished */
    uint32_t thread; /* that polled it last: row of REGION_THREADS; of threads: its place */
    uint64_t cell_bytes;
    /* Times; 0: has not been. */
    uint64_t spawned_ns, first_poll_ns, last_poll_ns, ended_ns, freed_ns;
    uint64_t polls, polls_cancel,
        slow_polls; /* calls of the poll slot; at least 1 ms by the clock */
    uint64_t poll_ns, longest_poll_ns;
    /* By the thread that polls it. */
    uint64_t allocations, allocated_bytes;
    uint64_t frees, freed_bytes; /* of its own blocks, while it was being polled */
    uint64_t peak_bytes;         /* of its live bytes, at its allocations */
    /* By any thread, atomic; on a cache line of their own. */
    _Alignas(64) uint64_t foreign_freed_bytes;
    uint64_t scheduled;
    /* Less one for each free by others; at the end (cell freed, not polled) plus allocations - frees +
     * REGION_TASK_ENDED.  Who makes it REGION_TASK_ENDED folds the row into its type. */
    int64_t hold;
    uint64_t exits; /* atomic; ended polls, less running calls of shutdown */
    uint64_t notes; /* atomic; REGION_NOTE_* */
    uint64_t reserved;
};
enum {
    REGION_NOTE_SHUTDOWN = 1, /* its runtime dropped it while it was being polled */
    /* What a JoinHandle found, before the poll that stored it had returned: */
    REGION_NOTE_OUTPUT = 2,
    REGION_NOTE_CANCEL_ERROR = 4,
    REGION_NOTE_DROPPING = 8, /* its runtime drops it, and has it in no list any more */
};
#define REGION_TASK_ENDED ((int64_t)1 << 62)

/* Row of REGION_TYPES of all threads: root futures, workers and what is outside of any runtime. */
enum { REGION_TYPE_THREADS = 1 };

/* A task vtable: one future type (or several that the compiler merged). */
struct region_type {
    uint32_t image;         /* row of REGION_IMAGES; 0: threads */
    uint32_t is_blocking;   /* polls are of a blocking closure or worker loop: 2 where unknown */
    uint64_t vtable_offset; /* its address in the file */
    uint64_t poll_offset;
    uint64_t live_tasks;   /* atomic; not ended */
    uint64_t most_at_once; /* atomic max */
    uint64_t cell_bytes;   /* of the last cell seen */
    uint64_t reserved;
};

/* Sums over folded rows of a type (in a stripe). */
struct region_type_sums {
    uint64_t tasks;    /* folded */
    uint64_t ended[8]; /* by enum region_task_end */
    uint64_t polls, polls_cancel, slow_polls, scheduled;
    uint64_t poll_ns, longest_poll_ns, lifetime_ns; /* spawned to ended */
    uint64_t allocations, allocated_bytes, frees,
        freed_bytes; /* all blocks are freed: pairs are equal */
    uint64_t peak_bytes_sum, peak_bytes_max;
    uint64_t reserved[2];
};

/* --- stacks ---------------------------------------------------------------------------------- */

struct region_node {
    uint64_t pc;     /* return address in the process; of the image at that time */
    uint32_t parent; /* the caller; 0: this is the root */
    uint32_t image;  /* row of REGION_IMAGES (a load of it); 0: in none */
    uint32_t site;   /* of the stack that ends here; 0: none does */
    uint32_t
        is_pc_exact; /* bit 0: interrupted (signal): look up pc itself, not pc - 1; bit 1: frames
                           * between it and its parent are missing */
};

struct region_site {
    uint32_t node;
    uint32_t lifetimes; /* row of REGION_LIFETIMES; 0: no block lived longer than a tick */
    uint32_t
        type; /* row of REGION_TYPES: of what allocated here first; 0: not said.  The stack has the
                    * task's poll function, so others of this site are of the same type */
    uint32_t reserved;
};

/* In a stripe.  With sampled stacks: sums of weights, an estimate. */
struct region_site_counts {
    uint64_t allocations, allocated_bytes, frees, freed_bytes;
    uint64_t
        temporary; /* freed by the thread that made it, with no other allocation of that thread between */
};

/* Bucket b: freed blocks that lived [2^(b-1), 2^b) ticks, b >= 1; what lived less is not here.  Atomic. */
struct region_lifetimes {
    uint32_t site;
    uint32_t reserved;
    uint32_t buckets[REGION_LIFETIME_BUCKETS];
};

/* --- images ---------------------------------------------------------------------------------- */

/* One load of a program or library. */
struct region_image {
    uint64_t start, end; /* from its first segment to its last */
    uint64_t bias;
    uint64_t loaded_ns;
    uint64_t unloaded_ns; /* 0: still there */
    uint32_t is_written;  /* atomic; 1: the row is whole */
    uint32_t build_id_bytes;
    uint8_t build_id[REGION_BUILD_ID_BYTES];
    uint32_t nr_vtables; /* task vtables that were hooked */
    uint32_t is_program;
    uint32_t reserved;
    uint32_t
        plan_bytes; /* atomic; the recorder's, written after plan_offset; 0: there is none (yet) */
    uint64_t plan_offset; /* in REGION_PLANS */
    char path[REGION_PATH_BYTES];
};

/* A function of an allocator that an image brings along, called through a word of that image. */
enum region_slot_function {
    REGION_SLOT_MI_MALLOC_ALIGNED,  /* (size, align) */
    REGION_SLOT_MI_ZALLOC_ALIGNED,  /* (size, align) */
    REGION_SLOT_MI_REALLOC_ALIGNED, /* (block, size, align) */
    REGION_SLOT_MI_MALLOC,
    REGION_SLOT_MI_ZALLOC,
    REGION_SLOT_MI_REALLOC, /* as malloc, calloc(1, .), realloc */
    REGION_SLOT_MI_FREE,    /* (block) */
    REGION_SLOT_JE_MALLOC,
    REGION_SLOT_JE_CALLOC,
    REGION_SLOT_JE_REALLOC,
    REGION_SLOT_JE_FREE,     /* as C's */
    REGION_SLOT_JE_MALLOCX,  /* (size, flags) */
    REGION_SLOT_JE_RALLOCX,  /* (block, size, flags) */
    REGION_SLOT_JE_XALLOCX,  /* (block, size, extra, flags): in place; returns the usable size */
    REGION_SLOT_JE_SDALLOCX, /* (block, size, flags) */
    REGION_SLOT_JE_DALLOCX,  /* (block, flags) */
    REGION_SLOT_JE_POSIX_MEMALIGN,
    REGION_SLOT_JE_ALIGNED_ALLOC,
    NR_REGION_SLOT_FUNCTIONS,
};

struct region_slot {
    uint32_t image;         /* row of REGION_IMAGES */
    uint32_t function;      /* enum region_slot_function */
    uint64_t slot_offset;   /* the word's address in the file */
    uint64_t target_offset; /* the function's: the word must hold bias + this, or is left alone */
};

/* --- await trees at a task's end --------------------------------------------------------------- */

/* A future in a state, awaited by its parent. */
struct region_await {
    uint32_t parent;  /* row of REGION_AWAITS; 0: the task's own future */
    uint32_t image;   /* whose plan */
    uint32_t type;    /* plan_type_id there */
    uint32_t variant; /* plan_variant id; 0: none */
};

struct region_await_end {
    uint32_t type;  /* row of REGION_TYPES */
    uint32_t await; /* the innermost; 0: unknown */
    uint32_t end;   /* enum region_task_end */
    uint32_t reserved;
    uint64_t tasks; /* atomic; folded ones */
};

/* --- the live table ---------------------------------------------------------------------------- */

/*
 * A two-level radix by address.  REGION_LIVE_INDEX has 2^21 rows of 4 bytes: for addr >> 26 a chunk's
 * number (bits 0 to 23, 0: none) and the log2 of its granule (bits 24 to 31: 5, 4 or 3).
 * Chunk c lies at c * REGION_CHUNK_BYTES of REGION_LIVE_CHUNKS and has an entry for each granule
 * of its 64 MB; at most one block starts in a granule.
 */
enum {
    REGION_SPAN_BITS = 26,
    REGION_ADDR_BITS = 47,
    REGION_CHUNK_BYTES = 128 << 20, /* room for granules of 8 bytes; others use its beginning */
};

/* Written after the block was made: `block`, then `owner` with release; cleared (`owner` = 0) before it is
 * freed.  Only who owns the block writes. */
struct region_live {
    uint64_t block; /* requested bytes: bits 0 to 39; site: bits 40 to 63 */
    uint64_t
        owner; /* bits 0 to 23: row of REGION_TASKS that allocated it; bits 24 to 59: tick of that
                     * moment, or for a cell its own row (24 bits); bits 60 to 63: flags */
};
#define REGION_LIVE_PRESENT ((uint64_t)1 << 63)
#define REGION_LIVE_CELL ((uint64_t)1 << 62)  /* of a task: `tick` is its row */
#define REGION_LIVE_HALF ((uint64_t)1 << 61)  /* starts at the granule's second half (granule 32) */
#define REGION_LIVE_MAYBE ((uint64_t)1 << 60) /* may be a cell: aligned like one */
enum { REGION_MAX_ROWS = 1 << 24 };

_Static_assert(sizeof(struct region_live) == 16, "shared with other versions");
_Static_assert(sizeof(struct region_node) == 24, "shared with other versions");
_Static_assert(sizeof(struct region_site_counts) == 40, "shared with other versions");
_Static_assert(sizeof(struct region_task) == 256, "shared with other versions");
