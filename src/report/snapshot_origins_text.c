/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Of a traced program: who allocated what a variable holds, and where.
 *
 *     8.19 kB from read_body (src/main.rs:41), allocated by task 7 accept_loop
 *
 * Of a stack only the innermost function of the program's own crates is named: the place that a person can change.
 */
#include "report/snapshot_origins_text.h"

enum { SHOWN_ORIGINS = 3 };

/* The frame that stands for a site, or NULL. */
static const struct snapshot_site_frame *frame_of(const struct snapshot *snapshot, uint32_t site)
{
    if (!site)
        return NULL;
    const struct snapshot_site *row = &snapshot_sites(snapshot, NULL)[site - 1];
    const uint32_t at = row->own ? row->own : row->outside;
    return at ? &snapshot_site_frames(snapshot, NULL)[row->first_frame - 1 + at - 1] : NULL;
}

void snapshot_append_site(const struct snapshot *snapshot, uint32_t site, struct text *out)
{
    const struct snapshot_site_frame *frame = frame_of(snapshot, site);
    if (!frame || !frame->function.v) {
        text_append_str(out, "an unknown place");
        return;
    }
    display_escape(snapshot_string(snapshot, frame->function), out);
    if (!frame->file.v)
        return;
    text_append_str(out, " (");
    display_place(snapshot_string(snapshot, frame->file), frame->line, false, out);
    text_append_str(out, ")");
}

static void append_name(const struct snapshot *snapshot, snapshot_str name, struct text *out)
{
    if (!name.v)
        return;
    text_append_char(out, ' ');
    display_escape(display_last_words(snapshot_string(snapshot, name), 1), out);
}

/* What a thread does outside of tasks. */
static void append_thread(const struct snapshot *snapshot, const struct snapshot_maker *maker,
                          struct text *out)
{
    if (!maker->name.v) {
        text_append_str(out, "an ended thread");
        return;
    }
    text_append_str(out, "thread");
    append_name(snapshot, maker->name, out);
}

void snapshot_append_maker(const struct snapshot *snapshot, uint32_t maker, uint32_t task,
                           struct text *out)
{
    const struct snapshot_maker *row = maker ? &snapshot_makers(snapshot, NULL)[maker - 1] : NULL;
    if (!row) {
        text_append_str(out, "nobody that the tracer knows");
    } else if (row->kind == MAKER_THREAD) {
        append_thread(snapshot, row, out);
    } else if (row->task && row->task == task) {
        text_append_str(out, "itself");
    } else if (row->task) {
        text_printf(out, "task %u", row->task);
        append_name(snapshot, row->name, out);
    } else {
        text_append_str(out, "an ended task");
        append_name(snapshot, row->name, out);
    }
}

/* "8.19 kB from read_body (src/main.rs:41), allocated by task 7 accept_loop" */
static void append_origin(const struct snapshot *snapshot, const struct snapshot_origin *origin,
                          uint32_t task, struct text *out)
{
    if (!origin->maker && !origin->site) {
        snapshot_append_count(out, origin->nr_blocks, "block");
        text_append_str(out, " that the tracer does not know");
        return;
    }
    if (origin->requested_bytes == UINT64_MAX)
        snapshot_append_count(out, origin->nr_blocks, "block");
    else
        display_bytes(origin->requested_bytes, out);
    text_append_str(out, " from ");
    snapshot_append_site(snapshot, origin->site, out);
    text_append_str(out, ", allocated by ");
    snapshot_append_maker(snapshot, origin->maker, task, out);
}

void snapshot_append_origins(const struct snapshot *snapshot, uint32_t holding, uint32_t task,
                             struct text *lines, size_t *nr_lines)
{
    size_t nr;
    const struct snapshot_origin *rows = snapshot_origins_of(snapshot, holding, &nr);
    *nr_lines = 0;
    for (size_t i = 0; i < nr && i < SHOWN_ORIGINS; i++)
        append_origin(snapshot, &rows[i], task, &lines[(*nr_lines)++]);
    if (nr > SHOWN_ORIGINS) {
        text_append_str(&lines[*nr_lines], "and from ");
        snapshot_append_count(&lines[(*nr_lines)++], nr - SHOWN_ORIGINS, "more origin");
    }
}

void snapshot_put_spawn(const struct snapshot *snapshot, const struct display *display,
                        uint32_t task)
{
    const struct snapshot_spawn *spawn = snapshot_spawn_of(snapshot, task);
    struct text line;
    if (!spawn || (!spawn->maker && !spawn->site))
        return;
    text_init(&line);
    snapshot_append_maker(snapshot, spawn->maker, task, &line);
    if (frame_of(snapshot, spawn->site)) {
        text_append_str(&line, ", in ");
        snapshot_append_site(snapshot, spawn->site, &line);
    }
    display_sentence(display, "Spawned by: ", text_str(&line));
    text_deinit(&line);
}
