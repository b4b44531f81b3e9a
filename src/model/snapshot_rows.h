/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The rows of a snapshot: what its tables hold and what a snapshot file has on disk.  Fixed,
 * little-endian, no pointers: they refer to each other by id, position + 1, 0 meaning none.  Columns are
 * added at the end only (docs/FORMAT.md).  model/snapshot.h has the tables and checks them.
 */
#pragma once

#include <stdint.h>

typedef struct {
    uint32_t v; /* offset in the strings; 0 is "", meaning unknown or none */
} snapshot_str;

enum snapshot_detail { /* as enum plan_detail */
                       SNAPSHOT_DETAIL_NONE,
                       SNAPSHOT_DETAIL_NAMES,
                       SNAPSHOT_DETAIL_FULL,
                       NR_SNAPSHOT_DETAILS,
};

enum task_kind {
    TASK_KIND_UNKNOWN,
    TASK_KIND_ASYNC,
    TASK_KIND_ROOT, /* driven by block_on or LocalSet::run_until: no cell */
    TASK_KIND_BLOCKING,
    TASK_KIND_WORKER,
    NR_TASK_KINDS,
};

enum task_scheduler {
    TASK_SCHEDULER_UNKNOWN,
    TASK_SCHEDULER_MULTI_THREAD,
    TASK_SCHEDULER_CURRENT_THREAD,
    TASK_SCHEDULER_LOCAL, /* a LocalSet */
    TASK_SCHEDULER_BLOCKING,
    NR_TASK_SCHEDULERS,
};

enum task_status {
    TASK_RUNNING, /* being polled: its future is not read */
    TASK_QUEUED,
    TASK_SUSPENDED,
    TASK_NEVER_POLLED,
    TASK_FINISHED, /* the cell is still there */
    TASK_CANCELLED,
    NR_TASK_STATUSES,
};

enum finished_because {
    FINISHED_UNKNOWN, /* and of tasks that are not finished */
    FINISHED_UNREAD,  /* a JoinHandle (or JoinSet) that nobody has awaited keeps the output */
    FINISHED_PINNED,  /* wakers or abort handles keep the cell */
    NR_FINISHED_BECAUSE,
};

enum held_is {
    HELD_UNKNOWN, /* there was no account of the heap */
    HELD_EXACT,
    HELD_AT_LEAST,
    NR_HELD_IS,
};

enum slot_status {
    SLOT_UNKNOWN, /* there was no account of the heap */
    SLOT_LIVE,
    SLOT_GONE, /* moved out or dropped: what is there belongs to nobody any more */
    SLOT_UNSURE,
    NR_SLOT_STATUSES,
};

/* Of a block: who keeps it. */
enum block_class {
    BLOCK_UNKNOWN,
    BLOCK_CELL,
    BLOCK_HELD,
    BLOCK_MAYBE_HELD,
    BLOCK_SHARED,
    BLOCK_RUNTIME,
    BLOCK_OTHER,
    NR_BLOCK_CLASSES,
};

/* Exactly one. */
struct snapshot_facts {
    uint32_t pid;         /* 0: a core that does not say */
    uint32_t is_core;     /* 0 or 1 */
    snapshot_str program; /* its path */
    uint32_t detail;      /* enum snapshot_detail, of the best image */
    snapshot_str detail_reason;
    uint32_t nr_threads;
    int64_t taken_at_ns; /* since 1970; of a core: when the file was written */
    uint64_t stop_ns;    /* how long the process stood still; 0 for a core */
};

/* A program or library with tasks. */
struct snapshot_image {
    snapshot_str path, build_id;
    uint32_t detail; /* enum snapshot_detail */
    snapshot_str detail_reason;
};

/* A tokio runtime, or a LocalSet, which owns tasks of its own. */
struct snapshot_runtime {
    uint64_t addr;             /* of its handle in the target */
    snapshot_str name;         /* "tokio multi_thread", "tokio LocalSet" */
    snapshot_str owned_reason; /* why owned_tasks is unknown, and what to do */
    uint64_t owned_tasks;      /* the runtime's own count; ~0: unknown */
    uint64_t found_tasks;      /* that it owns: of kind async, in its list or not finished */
};

/* What all tasks of one vtable have in common. */
struct snapshot_kind {
    uint32_t image;               /* id */
    uint32_t kind;                /* enum task_kind */
    uint32_t scheduler;           /* enum task_scheduler */
    snapshot_str future;          /* "demo::handler"; "" unknown */
    snapshot_str full;            /* the same with every path and argument */
    snapshot_str reason;          /* why layout or name are unknown, and what to do */
    uint32_t first_also, nr_also; /* other names that the compiler merged into this one */
    uint64_t cell_bytes;          /* ~0: unknown; 0 for roots, which have none */
    uint64_t future_bytes;        /* ~0: unknown */
};

struct snapshot_also {
    snapshot_str future;
};

/* A future in one state: what a frame of an await tree shows.  Shared by many frames. */
struct snapshot_state {
    snapshot_str future;
    snapshot_str full;      /* the same with every path and argument */
    snapshot_str state;     /* "Suspend0"; "" for futures that are no state machines */
    snapshot_str file;      /* of the await, or of the fn where it has not begun */
    uint32_t line;          /* 0: unknown */
    snapshot_str macro;     /* "select!"; "": not in a macro */
    snapshot_str waits_for; /* in plain words where it is a leaf; "" else */
    uint32_t first_slot, nr_slots;
    uint64_t future_bytes; /* ~0: unknown */
};

struct snapshot_slot {
    snapshot_str name, type;
    uint64_t offset_bytes; /* in the future */
    uint64_t inline_bytes;
};

struct snapshot_task {
    uint64_t addr;                   /* of the cell; 0: none (a root) */
    uint64_t runtime_task_id;        /* 0: none */
    uint32_t runtime;                /* id; 0: unknown */
    uint32_t kind;                   /* id */
    uint32_t status;                 /* enum task_status */
    uint32_t finished_because;       /* enum */
    uint32_t nr_refs;                /* of the cell */
    uint32_t first_frame, nr_frames; /* of its await tree, a parent before its children */
    snapshot_str reason;             /* why there is no tree, or only a part of one */
    /* Usable bytes of heap blocks, the cell's own not among them; ~0 where held_is is unknown. */
    uint64_t held_bytes, maybe_held_bytes, shared_bytes;
    uint32_t held_is;                  /* enum held_is */
    snapshot_str held_reason;          /* why not exact */
    uint32_t first_keeper, nr_keepers; /* of a finished task */
    uint64_t cell_block_bytes;         /* of the cell's block; 0: none or unknown */
};

/* One future of an await tree. */
struct snapshot_frame {
    uint32_t parent; /* in the task's own frames: position + 1; 0: the task's future itself */
    uint32_t state;  /* id */
    uint32_t first_holding,
        nr_holdings; /* by `what`: for each slot of the state one, in order; then
                                          * perhaps one each of HIDDEN, AWAITED, BOX; then fields */
};

/* In this order in a frame. */
enum holding_what {
    HOLDING_SLOT,    /* a variable */
    HOLDING_HIDDEN,  /* variables that debug info does not describe */
    HOLDING_AWAITED, /* the awaited future: what it holds and that is in no frame of its own */
    HOLDING_BOX,     /* the block that the future itself lies in */
    HOLDING_FIELD,   /* of a future that is no state machine: a field that owns heap, by its path */
    NR_HOLDING_WHATS,
};

/* Heap that is owned, to the bottom, through something in a frame; a block is in one holding only, that
 * of the innermost future. */
struct snapshot_holding {
    uint32_t slot;   /* id of a variable or field; 0: none */
    uint32_t what;   /* enum holding_what */
    uint32_t status; /* enum slot_status */
    uint32_t is;     /* enum held_is, of heap_bytes */
    uint32_t nr_blocks;
    uint32_t reserved;
    uint64_t heap_bytes;      /* usable */
    uint64_t requested_bytes; /* ~0: unknown */
};

/* A counted block (Arc) that several own, and all that it alone owns. */
struct snapshot_shared {
    uint64_t addr;
    snapshot_str type;  /* "" unknown */
    uint32_t nr_owners; /* as its count says */
    uint64_t bytes;     /* usable, with what it alone owns */
    uint32_t first_task,
        nr_tasks; /* rows of SNAPSHOT_SHARED_TASKS: those of the owners that are tasks */
};

struct snapshot_shared_task {
    uint32_t task; /* id */
};

/* What keeps the cell of a finished task: a word that is its address. */
struct snapshot_keeper {
    uint64_t addr;       /* of the word */
    uint64_t block_addr; /* the block that has it; 0: a stack or a global */
    uint64_t block_bytes;
    uint32_t block_class; /* enum block_class */
    uint32_t task;        /* id of the task that holds the block; 0: none */
    snapshot_str slot;    /* the variable of that task; "" unknown */
    snapshot_str place;   /* where there is no block: "stack of thread 12", "global in libx.so" */
};

/* The whole heap; no row where no account was made.  ~0: unknown. */
struct snapshot_heap {
    uint64_t live_bytes, cells_bytes, held_bytes, maybe_held_bytes, shared_bytes, runtime_bytes,
        other_bytes, unknown_bytes;
    uint64_t retained_bytes, rss_bytes;
    uint64_t nr_blocks;
    uint64_t fork_ns;       /* of stop_ns: the kernel's time for the copy; 0: no copy was made */
    snapshot_str allocator; /* "glibc malloc" */
    snapshot_str how;       /* "a copy-on-write child", "a longer stop", "the core" */
    snapshot_str problem;   /* what is missing in the account, and why */
};

/* One sentence to the reader: what is missing and what to do. */
struct snapshot_note {
    snapshot_str text;
};

_Static_assert(sizeof(struct snapshot_facts) == 40, "a file format");
_Static_assert(sizeof(struct snapshot_image) == 16, "a file format");
_Static_assert(sizeof(struct snapshot_runtime) == 32, "a file format");
_Static_assert(sizeof(struct snapshot_kind) == 48, "a file format");
_Static_assert(sizeof(struct snapshot_state) == 48, "a file format");
_Static_assert(sizeof(struct snapshot_slot) == 24, "a file format");
_Static_assert(sizeof(struct snapshot_task) == 96, "a file format");
_Static_assert(sizeof(struct snapshot_frame) == 16, "a file format");
_Static_assert(sizeof(struct snapshot_holding) == 40, "a file format");
_Static_assert(sizeof(struct snapshot_shared) == 32, "a file format");
_Static_assert(sizeof(struct snapshot_keeper) == 40, "a file format");
_Static_assert(sizeof(struct snapshot_heap) == 112, "a file format");
