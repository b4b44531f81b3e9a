/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The whole heap for people: one sentence that says whether the process' memory is in use or only kept by
 * the allocator, the classes of blocks, and the blocks that several own.
 *
 * What is resident, live and retained is measured in different ways: memory that was never touched is live
 * and not resident, and an allocator's free memory may have been given back.  The sentence says no more than
 * follows from the three.
 */
#include <stdlib.h>
#include <string.h>

#include "report/snapshot_held_text.h"

enum {
    SHOWN_SHARED = 5,
    SHOWN_SHARERS = 8,
    CLASS_COLUMNS = 15,
};

static const struct snapshot_heap *find_heap(const struct snapshot *snapshot)
{
    size_t nr;
    const struct snapshot_heap *heap = snapshot_heaps(snapshot, &nr);
    return nr ? heap : NULL;
}

/* --- in use, or only retained? --------------------------------------------------------------- */

static const char *allocator_of(const struct snapshot *snapshot, const struct snapshot_heap *heap)
{
    const char *name = snapshot_string(snapshot, heap->allocator);
    return *name ? name : "the allocator";
}

/* printf with sizes: %b takes them one after the other. */
static void append_sizes(struct text *out, const char *format, const uint64_t *sizes)
{
    for (; *format; format++) {
        if (*format == '#')
            display_bytes(*sizes++, out);
        else
            text_append_char(out, *format);
    }
}

/* A heap that was not walked to its end has more live blocks: then nothing is "only" so much. */
static void append_verdict(const struct snapshot *snapshot, const struct snapshot_heap *heap,
                           struct text *out)
{
    uint64_t rss = heap->rss_bytes, live = heap->live_bytes, room = rss > live ? rss - live : 0;
    uint64_t kept = heap->retained_bytes == UINT64_MAX ? 0
                    : heap->retained_bytes < room      ? heap->retained_bytes
                                                       : room;
    const uint64_t live_first[] = {live, rss, kept}, rss_first[] = {rss, live, kept};
    if (live > rss) {
        append_sizes(out,
                     "# of heap is live, more than the # that is resident: a part of it was "
                     "never touched, or is swapped out.",
                     live_first);
    } else if (live >= rss - rss / 4) {
        append_sizes(out, "Of # resident, # is live heap: it is really in use.", rss_first);
    } else if (!heap->problem.v && (kept >= rss / 2 || (kept > live && kept >= rss / 4))) {
        append_sizes(out, "Only # of # resident is live heap; ", live_first);
        text_append_str(out, allocator_of(snapshot, heap));
        append_sizes(out,
                     " keeps up to # that was freed: it can be used again, but was not given "
                     "back to the system.",
                     &kept);
    } else {
        text_append_str(out, heap->problem.v ? "At least " : "");
        append_sizes(out, "# of # resident is live heap", live_first);
        if (kept) {
            text_append_str(out, ", and up to ");
            display_bytes(kept, out);
            text_printf(out, " was freed and is kept by %s", allocator_of(snapshot, heap));
        }
        text_append_str(out, "; the rest is code, stacks and other mappings.");
    }
}

void snapshot_put_verdict(const struct snapshot_report *report, const struct display *display)
{
    const struct snapshot_heap *heap = find_heap(report->snapshot);
    struct text line;
    if (!heap || heap->live_bytes == UINT64_MAX || heap->rss_bytes == UINT64_MAX ||
        !heap->rss_bytes)
        return;
    text_init(&line);
    append_verdict(report->snapshot, heap, &line);
    display_sentence(display, "", text_str(&line));
    text_deinit(&line);
}

/* --- the classes ----------------------------------------------------------------------------- */

static void put_class(const struct display *display, uint64_t bytes, uint64_t live,
                      const char *what)
{
    struct text line, digits;
    if (!bytes)
        return;
    text_init(&line);
    text_init(&digits);
    if (bytes == UINT64_MAX)
        text_append_char(&digits, '?');
    else
        display_number(bytes, &digits);
    text_printf(&line, "%*s", CLASS_COLUMNS, text_str(&digits));
    if (!live || live == UINT64_MAX || bytes > live)
        text_append_str(&line, "       ");
    else if (bytes < live / 100)
        text_append_str(&line, "  <1 % ");
    else
        text_printf(&line, "%4u %% ", (unsigned)((double)bytes * 100 / (double)live));
    text_printf(&line, " %s", what);
    snapshot_put_line(display, &line);
    text_deinit(&digits);
    text_deinit(&line);
}

static void put_classes(const struct display *display, const struct snapshot_heap *heap)
{
    const struct {
        uint64_t bytes;
        const char *what;
    } classes[] = {
        {heap->held_bytes, "held by tasks"},
        {heap->cells_bytes, "cells of tasks"},
        {heap->shared_bytes, "shared: owned by several together"},
        {heap->maybe_held_bytes, "maybe held: one task reaches it, by pointers of unknown type"},
        {heap->runtime_bytes, "the runtime's own"},
        {heap->other_bytes, "other: of globals, of stacks, of nothing that is a task's"},
        {heap->unknown_bytes, "unknown: nothing points to it"},
    };
    for (size_t i = 0; i < sizeof(classes) / sizeof(*classes); i++)
        put_class(display, classes[i].bytes, heap->live_bytes, classes[i].what);
    put_class(display, heap->retained_bytes, 0, "retained: freed, and kept by the allocator");
    put_class(display, heap->rss_bytes, 0, "resident, code and stacks included (RSS)");
}

/* "Heap: 110,000 B live in 321 blocks of glibc malloc (from a copy-on-write child, made in 0.2 ms)" */
static void append_heap(const struct snapshot *snapshot, const struct snapshot_heap *heap,
                        struct text *out)
{
    text_append_str(out, "Heap: ");
    if (heap->live_bytes == UINT64_MAX) {
        text_append_str(out, "what is live is not known");
    } else {
        display_number(heap->live_bytes, out);
        text_append_str(out, " B live");
    }
    if (heap->nr_blocks != UINT64_MAX) {
        text_append_str(out, " in ");
        snapshot_append_count(out, heap->nr_blocks, "block");
    }
    text_printf(out, " of %s", allocator_of(snapshot, heap));
    if (heap->how.v)
        text_printf(out, " (from %s", snapshot_string(snapshot, heap->how));
    if (heap->how.v && heap->fork_ns)
        text_printf(out, ", made in %.1f ms", (double)heap->fork_ns / 1e6);
    text_append_str(out, heap->how.v ? ")" : "");
}

void snapshot_put_heap(const struct snapshot_report *report, const struct display *display)
{
    const struct snapshot *snapshot = report->snapshot;
    const struct snapshot_heap *heap = find_heap(snapshot);
    struct text line;
    if (!heap)
        return;
    fputs("\n", display->out);
    text_init(&line);
    append_heap(snapshot, heap, &line);
    display_bold(display, true);
    display_sentence(display, "", text_str(&line));
    display_bold(display, false);
    text_deinit(&line);
    put_classes(display, heap);
    if (heap->problem.v)
        display_sentence(display,
                         "What is missing there: ", snapshot_string(snapshot, heap->problem));
}

/* --- shared blocks --------------------------------------------------------------------------- */

static int more_bytes_first(const void *a, const void *b)
{
    const struct snapshot_shared *x = *(struct snapshot_shared *const *)a,
                                 *y = *(struct snapshot_shared *const *)b;
    if (x->bytes != y->bytes)
        return x->bytes > y->bytes ? -1 : 1;
    return x < y ? -1 : x > y;
}

/* "among them tasks 1, 2, 5 and 1,177 more" */
static void append_sharers(const struct snapshot *snapshot, const struct snapshot_shared *shared,
                           struct text *out)
{
    const struct snapshot_shared_task *rows = snapshot_shared_tasks(snapshot, NULL);
    if (!shared->nr_tasks) {
        text_append_str(out, ", no task");
        return;
    }
    text_append_str(out, shared->nr_tasks == 1 ? ", among them task" : ", among them tasks");
    for (uint32_t i = 0; i < shared->nr_tasks && i < SHOWN_SHARERS; i++)
        text_printf(out, "%s%u", i ? ", " : " ", rows[shared->first_task - 1 + i].task);
    if (shared->nr_tasks > SHOWN_SHARERS) {
        text_append_str(out, " and ");
        display_number(shared->nr_tasks - SHOWN_SHARERS, out);
        text_append_str(out, " more");
    }
}

static void put_shared(const struct snapshot *snapshot, const struct display *display,
                       const struct snapshot_shared *shared)
{
    struct text line, digits;
    text_init(&line);
    text_init(&digits);
    display_number(shared->bytes, &digits);
    text_printf(&line, "%*s  ", CLASS_COLUMNS, text_str(&digits));
    if (shared->type.v)
        display_escape(snapshot_string(snapshot, shared->type), &line);
    else
        text_append_str(&line, "unknown type");
    text_append_str(&line, ": ");
    snapshot_append_count(&line, shared->nr_owners, "owner");
    append_sharers(snapshot, shared, &line);
    snapshot_put_line(display, &line);
    text_deinit(&digits);
    text_deinit(&line);
}

void snapshot_put_shared(const struct snapshot_report *report, const struct display *display)
{
    size_t nr, limit = report->options->top ? report->options->top : SHOWN_SHARED;
    const struct snapshot_shared *rows = snapshot_shareds(report->snapshot, &nr);
    struct text line;
    if (!nr)
        return;
    const struct snapshot_shared **sorted = memory_alloc(nr * sizeof(*sorted));
    for (size_t i = 0; i < nr; i++)
        sorted[i] = &rows[i];
    qsort(sorted, nr, sizeof(*sorted), more_bytes_first);
    text_init(&line);
    text_append_str(&line, "Shared: ");
    snapshot_append_count(&line, nr, "block");
    text_append_str(&line, " owned by several, the biggest first");
    fputs("\n", display->out);
    display_bold(display, true);
    snapshot_put_line(display, &line);
    display_bold(display, false);
    text_deinit(&line);
    for (size_t i = 0; i < nr && i < limit; i++)
        put_shared(report->snapshot, display, sorted[i]);
    free(sorted);
}
