/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Tasks as tokio's are, in C: cells with a vtable, and the code that drops them.  Compiled as
 * drop_subjects is.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { TASK_SLOTS = 7, TASK_DEALLOC = 2, TASK_WORDS = 12 };

typedef void task_fn(void *cell);

struct subject_cell {
    uint64_t state;
    void *queue_next;
    task_fn *const *vtable;
    uint64_t owner_id;
    void *scheduler;
    uint64_t id;
    uint64_t stage[TASK_WORDS];
    uint64_t trailer[4];
};

enum { FOREIGN_BYTES = 16 };
size_t mi_usable_size(const void *block);

struct subject_node {
    struct subject_node *next;
    uint64_t number;
};

/* As Rust's ArcInner. */
struct subject_arc {
    uint64_t strong, weak;
    void *first, *second;
};

/* stage: 0 a block, 1 a list of nodes, 2 an Arc, 3 another Arc, 4 what another cell has too,
 * 5 another cell, 6 a locked value, 7 a box with a future whose word 3 is a block, 8: a block. */
extern task_fn *const task_usual[TASK_SLOTS];     /* dealloc in its place */
extern task_fn *const task_reordered[TASK_SLOTS]; /* dealloc is the fifth */
extern task_fn *const task_without[TASK_SLOTS];   /* none of them frees the cell */
extern task_fn
    *const task_leaking[TASK_SLOTS]; /* forgets the cell, for whom it is another's to free */
extern task_fn *const task_endless[TASK_SLOTS];  /* dealloc frees one block and never returns */
extern task_fn *const task_careless[TASK_SLOTS]; /* frees what is no block */
extern task_fn *const task_locked[TASK_SLOTS];   /* waits for a lock in what is no drop glue */
