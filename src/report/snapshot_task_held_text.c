/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* One task whole: what it holds, what it shares with whom, and who keeps it when it has finished. */
#include "report/snapshot_held_text.h"
#include "report/snapshot_table_text.h"

enum { SHOWN_SHARED = 8 };

/* Of all variables of its futures; what is gone does not count. */
static uint64_t sum_of_variables(const struct snapshot *snapshot, const struct snapshot_task *task)
{
    const struct snapshot_frame *frames = snapshot_frames(snapshot, NULL);
    const struct snapshot_holding *holdings = snapshot_holdings(snapshot, NULL);
    struct held_sum sum = {0};
    for (uint32_t f = 0; f < task->nr_frames; f++) {
        const struct snapshot_frame *frame = &frames[task->first_frame - 1 + f];
        for (uint32_t h = 0; h < frame->nr_holdings; h++) {
            const struct snapshot_holding *holding = &holdings[frame->first_holding - 1 + h];
            if (holding->status != SLOT_GONE)
                held_sum_add(&sum, holding->is, holding->heap_bytes);
        }
    }
    return sum.bytes;
}

static void append_more(uint64_t bytes, const char *before, const char *after, struct text *out)
{
    if (!bytes || bytes == UINT64_MAX)
        return;
    text_append_str(out, before);
    display_number(bytes, out);
    text_append_str(out, after);
}

/* "holds 400 B in the heap, 60 B of it in no variable below (...); shares 2,048 B" */
static void put_held(const struct snapshot *snapshot, const struct display *display,
                     const struct snapshot_task *task)
{
    uint64_t variables = sum_of_variables(snapshot, task);
    struct text line;
    text_init(&line);
    text_append_str(&line, task->held_is == HELD_AT_LEAST ? "holds at least " : "holds ");
    display_number(task->held_bytes, &line);
    text_append_str(&line, " B in the heap");
    if (variables < task->held_bytes && task->nr_frames)
        append_more(task->held_bytes - variables, ", ",
                    " B of it in no variable below (boxed futures, outputs)", &line);
    append_more(task->maybe_held_bytes, "; maybe ", " B more", &line);
    append_more(task->shared_bytes, "; shares ", " B with others", &line);
    append_more(task->cell_block_bytes, "; its cell's block has ", " B", &line);
    display_sentence(display, "", text_str(&line));
    text_deinit(&line);
}

static bool has_task(const struct snapshot *snapshot, const struct snapshot_shared *shared,
                     uint32_t id)
{
    const struct snapshot_shared_task *rows = snapshot_shared_tasks(snapshot, NULL);
    for (uint32_t i = 0; i < shared->nr_tasks; i++)
        if (rows[shared->first_task - 1 + i].task == id)
            return true;
    return false;
}

static void put_shares(const struct snapshot *snapshot, const struct display *display, uint32_t id)
{
    size_t nr;
    const struct snapshot_shared *rows = snapshot_shareds(snapshot, &nr);
    unsigned shown = 0, more = 0;
    struct text line;
    text_init(&line);
    for (size_t i = 0; i < nr; i++) {
        if (!has_task(snapshot, &rows[i], id))
            continue;
        if (shown == SHOWN_SHARED) {
            more++;
            continue;
        }
        text_append_str(&line, shown++ ? "; " : "");
        append_more(rows[i].bytes, "", " B ", &line);
        text_append_str(&line, rows[i].type.v ? snapshot_string(snapshot, rows[i].type)
                                              : "of unknown type");
        text_append_str(&line, " of ");
        snapshot_append_count(&line, rows[i].nr_owners, "owner");
    }
    if (more)
        text_printf(&line, "; and %u more", more);
    if (shown)
        display_sentence(display, "Shares: ", text_str(&line));
    text_deinit(&line);
}

static void put_keepers(const struct snapshot *snapshot, const struct display *display,
                        const struct snapshot_task *task)
{
    const struct snapshot_keeper *keepers = snapshot_keepers(snapshot, NULL);
    for (uint32_t i = 0; i < task->nr_keepers; i++) {
        struct text line;
        text_init(&line);
        snapshot_append_keeper(snapshot, &keepers[task->first_keeper - 1 + i], &line);
        display_sentence(display, "Kept by: ", text_str(&line));
        text_deinit(&line);
    }
}

void snapshot_put_task_held(const struct snapshot *snapshot, const struct display *display,
                            uint32_t id)
{
    const struct snapshot_task *task = &snapshot_tasks(snapshot, NULL)[id - 1];
    if (task->held_is != HELD_UNKNOWN && task->held_bytes != UINT64_MAX)
        put_held(snapshot, display, task);
    else if (!task->held_reason.v)
        display_sentence(display, "", "what it holds in the heap is not known");
    if (task->held_reason.v)
        display_sentence(display,
                         task->held_is == HELD_UNKNOWN ? "What it holds is not known: "
                                                       : "Why not exact: ",
                         snapshot_string(snapshot, task->held_reason));
    put_shares(snapshot, display, id);
    put_keepers(snapshot, display, task);
}
