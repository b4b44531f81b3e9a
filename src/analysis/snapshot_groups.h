/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * How many tasks of each, and how many bytes they keep: by future type, by await point, and by both with what they wait for.
 * The stage before: a checked struct snapshot.  The stage after: report/snapshot_*.
 *
 * The await point of a task is the innermost await on the chain of single children from its
 * future down: the chain ends where the tree forks (join!, select!) or ends, or at a future that
 * says what it waits for ("mutex lock"), so that the place is the user's, not one in a library.
 * Sums leave out what is unknown and count it.
 */
#pragma once

#include "analysis/held_sum.h"
#include "base/memory.h"

struct snapshot_filter {
    const char *match; /* part of a name, file or status, any case; NULL: all */
    uint32_t task;     /* its id; 0: all */
};

struct snapshot_sum {
    uint64_t bytes;      /* of those that are known */
    uint64_t nr_unknown; /* their sizes are */
};

struct snapshot_await {
    uint32_t state;     /* id; that awaits; 0: the task is at no await, or it is unknown */
    uint32_t innermost; /* id: the last of the chain, maybe the same; 0: no tree */
    bool forks;         /* the innermost has several children */
};

struct snapshot_group {
    uint32_t first_task; /* id of the first one: an example */
    uint32_t kind;       /* id; of the first task, as status and the rest */
    uint32_t status;     /* enum task_status */
    uint32_t finished_because;
    struct snapshot_await await;
    uint64_t own_cell_bytes; /* of the first task; ~0: unknown */
    uint64_t nr_tasks;
    uint64_t by_status[NR_TASK_STATUSES];
    struct snapshot_sum cells;
    struct held_sum held; /* beside the cells */
    const char *name;     /* of the future; ties are ordered by it */
};

struct snapshot_group_list {
    struct snapshot_group *rows; /* most tasks first, then most cell bytes, then by name */
    size_t nr;
    uint32_t *by_bytes; /* the same rows as positions: most bytes of cells and held first */
    uint32_t *of_task;  /* of each selected task: position + 1; 0: it is in none */
};

struct snapshot_futures {
    uint64_t nr; /* tasks that still have a future: async and root, not finished */
    struct snapshot_sum sum;
    uint64_t largest_bytes; /* of the known ones */
};

struct snapshot_groups {
    const struct snapshot *snapshot;
    struct arena arena;
    uint32_t *tasks; /* ids of the selected ones, in order */
    size_t nr_tasks;
    struct snapshot_await *awaits; /* of each selected task */
    struct snapshot_group_list by_type;
    struct snapshot_group_list by_await; /* of tasks that are at one */
    struct snapshot_group_list by_both;  /* future type, await point, waits for, status, reason */
    uint64_t by_status[NR_TASK_STATUSES];
    struct snapshot_futures futures;
    bool has_held; /* what is held is known of a selected task */
};

/* The snapshot must stay; deinit frees. */
void snapshot_groups_init(struct snapshot_groups *groups, const struct snapshot *snapshot,
                          const struct snapshot_filter *filter);
void snapshot_groups_deinit(struct snapshot_groups *groups);

/* "suspended", "never_polled"; as text and JSON say it. */
extern const char *const task_status_names[NR_TASK_STATUSES];
