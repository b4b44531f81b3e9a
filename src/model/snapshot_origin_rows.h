/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The rows of a snapshot of a traced program: who allocated what its variables hold, and where.  As
 * model/snapshot_rows.h tells of the others.
 */
#pragma once

#include "model/snapshot_rows.h"

/* A function of an allocation's stack. */
struct snapshot_site_frame {
    snapshot_str function; /* short: "read_body" */
    snapshot_str full;     /* demangled, whole */
    snapshot_str file;
    uint32_t line;       /* 0: unknown */
    uint32_t kind;       /* enum run_frame_kind (model/run_rows.h) */
    uint32_t is_inlined; /* into the next one */
};

/* An allocation stack. */
struct snapshot_site {
    uint32_t first_frame, nr_frames; /* the innermost first; the tracer's own are left out */
    /* Positions + 1 in its frames; 0: there is none. */
    uint32_t own;     /* the innermost of the program's own crates */
    uint32_t outside; /* the innermost outside of alloc, core and std */
};

enum maker_kind { MAKER_TASK, MAKER_THREAD /* outside of tasks */, NR_MAKER_KINDS };

/* Who allocated. */
struct snapshot_maker {
    uint32_t kind;            /* enum maker_kind */
    uint32_t task;            /* id; 0: it is none of this snapshot's: a thread, or it has ended */
    uint64_t run_id;          /* of the task or thread in the run's recording */
    uint64_t runtime_task_id; /* 0: none or unknown */
    snapshot_str name;        /* of a task its future, of a thread its name; "" unknown */
    uint32_t tid;             /* of a thread that still runs; 0 */
};

/* Blocks of a holding that one task (or thread) allocated at one site. */
struct snapshot_origin {
    uint32_t holding; /* id */
    uint32_t maker;   /* id; 0: unknown */
    uint32_t site;    /* id; 0: unknown, or not of the sample of stacks that was taken */
    uint32_t nr_blocks;
    uint64_t requested_bytes; /* ~0: unknown */
};

/* The same of a task's cell: who spawned it, and where. */
struct snapshot_spawn {
    uint32_t task;  /* id */
    uint32_t maker; /* id; 0 */
    uint32_t site;  /* id; 0 */
    uint32_t reserved;
};

_Static_assert(sizeof(struct snapshot_site_frame) == 24, "a file format");
_Static_assert(sizeof(struct snapshot_site) == 16, "a file format");
_Static_assert(sizeof(struct snapshot_maker) == 32, "a file format");
_Static_assert(sizeof(struct snapshot_origin) == 24, "a file format");
_Static_assert(sizeof(struct snapshot_spawn) == 16, "a file format");
