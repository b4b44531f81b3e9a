/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A run in other circumstances that does not come to its end says nothing: code that panics when it cannot
 * write is not code that frees something else.
 */
#include "process/drop_doubt.h"

#include <stdlib.h>
#include <string.h>

#include "base/search.h"

/* Addresses that every run freed so far, ascending. */
struct always {
    uint64_t *rows;
    size_t nr;
};

static struct always frees_of(const struct drop_run *run)
{
    struct always list = {memory_alloc((run->nr_frees + 1) * sizeof(uint64_t)), run->nr_frees};
    for (size_t i = 0; i < run->nr_frees; i++)
        list.rows[i] = run->frees[i].addr;
    qsort(list.rows, list.nr, sizeof(*list.rows), search_word_order);
    return list;
}

/* Keeps what both have; true: they are not the same. */
static bool intersect(struct always *list, const struct drop_run *run)
{
    struct always other = frees_of(run);
    bool differ = other.nr != list->nr;
    size_t kept = 0;
    for (size_t i = 0, j = 0; i < list->nr; i++) {
        while (j < other.nr && other.rows[j] < list->rows[i])
            j++;
        if (j < other.nr && other.rows[j] == list->rows[i])
            list->rows[kept++] = other.rows[j++];
        else
            differ = true;
    }
    list->nr = kept;
    free(other.rows);
    return differ;
}

static bool run_so(struct drop_run *run, const struct drop_circumstances *circumstances,
                   drop_again_fn *again, const void *context)
{
    drop_run_reset(run);
    drop_run_set(run, circumstances);
    return again(run, context);
}

static void leave_always(struct drop_run *run, const struct always *list)
{
    size_t kept = 0;
    for (size_t i = 0; i < run->nr_frees; i++) {
        const uint64_t addr = run->frees[i].addr;
        size_t at = search_up_to(list->rows, list->nr, sizeof(addr), 0, addr);
        if (at && list->rows[at - 1] == addr)
            run->frees[kept++] = run->frees[i];
    }
    run->nr_frees = kept;
}

const char *drop_doubt_settle(struct drop_run *run, const struct drop_threads *threads,
                              drop_again_fn *again, const void *context)
{
    const struct drop_circumstances usual = run->circumstances;
    const bool has_asked_thread = run->has_asked_thread, has_asked_kernel = run->has_asked_kernel;
    const char *reason =
        has_asked_thread && !threads->are_known
            ? "what it frees may depend on the thread on which it ends, which was not found"
            : NULL;
    if (!has_asked_kernel && (!has_asked_thread || threads->nr < 2))
        return reason;
    struct always list = frees_of(run);
    for (unsigned i = 0; has_asked_thread && i < threads->nr; i++) {
        struct drop_circumstances other = {threads->pointers[i], false};
        if (other.thread_pointer != usual.thread_pointer && run_so(run, &other, again, context) &&
            intersect(&list, run))
            reason = "what it frees depends on the thread on which it ends";
    }
    struct drop_circumstances refused = {usual.thread_pointer, true};
    if (has_asked_kernel && run_so(run, &refused, again, context) && intersect(&list, run))
        reason = "what it frees depends on the answer of a system call";
    run_so(run, &usual, again, context);
    leave_always(run, &list);
    free(list.rows);
    return reason;
}
