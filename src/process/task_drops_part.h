/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Inside task_drops: what its files share.  task_drops.c runs tasks, drop_shared.c what they share. */
#pragma once

#include <string.h>

#include "process/drop_cell.h"
#include "process/drop_frames.h"
#include "process/drop_trace.h"

struct drop_worker;
struct shared_parts;

struct dropping {
    struct task_drops *drops;
    const struct target *target;
    const struct task_cells *cells;
    struct drop_functions functions;
    uint64_t *deallocs; /* by kind: address; 0: not found */
    uint8_t *is_cell;   /* by block */
    struct drop_frames frames;
    struct drop_threads_table threads;
    struct drop_worker *workers;
    struct drop_rows *rows; /* by span */
    uint64_t max_instructions;
    uint32_t *nr_endless;       /* by kind: runs that took too many, so far */
    bool *has_failed;           /* by task: its run did not come to its end */
    bool is_second;             /* those are run again, and what they cannot do is left out */
    struct map glue;            /* then: addresses of functions that only drop a value */
    struct shared_parts *parts; /* by shared */
};

struct drop_worker {
    struct drop_run run;
    bool has_run;
    struct arena arena; /* texts */
};

/* What the end of a shared block would free. */
struct shared_parts {
    uint32_t share; /* position in shares: by whom it is tried */
    uint32_t *blocks;
    uint32_t nr;
};

/* Made when it is first asked for. */
struct drop_worker *drop_worker_of(struct dropping *dropping, unsigned number);
/* As drop_cell_call; counts runs that end by their budget, and gives such kinds less. */
enum emulator_end drop_run_function(const struct dropping *dropping, struct drop_run *run,
                                    const struct task_cell *cell, uint64_t function);
/* Fills drops->shared, parts and sharer from the shares. */
void drop_shared_read(struct dropping *dropping);

/* Appends rows to one of the arrays of struct task_drops. */
#define APPEND(drops, name, from, nr)                                                              \
    do {                                                                                           \
        if (!(nr)) /* then `from` may be NULL */                                                   \
            break;                                                                                 \
        (drops)->name = array_reserve((drops)->name, &(drops)->name##_capacity,                    \
                                      (drops)->nr_##name + (nr), sizeof(*(drops)->name));          \
        memcpy((drops)->name + (drops)->nr_##name, (from), (nr) * sizeof(*(drops)->name));         \
        (drops)->nr_##name += (nr);                                                                \
    } while (0)
