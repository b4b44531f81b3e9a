/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Which variables hold the most heap?  Over all selected tasks, or in each group of a list.  The
 * stage before: a checked struct snapshot and snapshot_groups.  The stage after: report/snapshot_*.
 *
 * A variable is a name in a future, by their text: `request_buf` of `serve_conn`; what debug info hides
 * in one future is one variable.  Sums are over the tasks that an account was made of; what is gone
 * never counts.
 */
#pragma once

#include "analysis/snapshot_groups.h"

struct held_variable {
    uint32_t group;      /* position in the list; 0 without one */
    uint32_t slot;       /* id of an example, for name and type; 0: none */
    uint32_t what;       /* enum holding_what */
    snapshot_str future; /* whose variable it is */
    struct held_sum held;
    uint64_t nr_tasks;      /* with such a variable that holds something */
    uint64_t largest_bytes; /* that one of them holds */
    uint32_t largest_task;  /* id; whose that is */
    uint32_t site;          /* id of an example: where the most of it was allocated; 0: unknown */
    uint64_t site_bytes;    /* requested: what was allocated by that line of the program's own */
};

struct held_variables {
    struct held_variable
        *rows; /* by group, in each most bytes first; only such as hold something */
    size_t nr;
    uint32_t *first; /* by group: position of its first row; with one more at the end */
    size_t nr_groups;
};

/* `list` is one of groups', or NULL for all in one.  They must stay; deinit frees. */
void held_variables_init(struct held_variables *variables, const struct snapshot_groups *groups,
                         const struct snapshot_group_list *list);
void held_variables_deinit(struct held_variables *variables);

/* The rows of a group and their number. */
static inline const struct held_variable *held_variables_of(const struct held_variables *variables,
                                                            size_t group, size_t *nr)
{
    *nr = variables->first[group + 1] - variables->first[group];
    return variables->rows + variables->first[group];
}
