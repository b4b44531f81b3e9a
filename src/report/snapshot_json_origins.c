/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What asyncmem.snapshot/1 says of a traced program: who allocated what a variable holds, who spawned a task,
 * and the stacks of both.  A stack is told once, among `sites`; where it is referred to, the place that a
 * person can change stands beside its id.
 */
#include "model/run_rows.h"
#include "report/snapshot_json_part.h"

static const char *const kind_words[] = {
    [RUN_FRAME_USER] = "\"own\"",        [RUN_FRAME_LIBRARY] = "\"library\"",
    [RUN_FRAME_STD] = "\"std\"",         [RUN_FRAME_RUNTIME] = "\"runtime\"",
    [RUN_FRAME_POLL] = "\"own_future\"", [RUN_FRAME_TRACER] = "\"tracer\"",
};

void snapshot_json_place(struct text *out, const struct snapshot *snapshot, uint32_t site)
{
    static const struct snapshot_site_frame none;
    const struct snapshot_site_frame *frame = &none;
    if (site) {
        const struct snapshot_site *row = &snapshot_sites(snapshot, NULL)[site - 1];
        const uint32_t at = row->own ? row->own : row->outside;
        if (at)
            frame = &snapshot_site_frames(snapshot, NULL)[row->first_frame - 1 + at - 1];
    }
    put_str(out, snapshot, "function", frame->function);
    put_str(out, snapshot, "file", frame->file);
    json_id(out, "line", frame->line);
}

/* Who, and where. */
static void put_maker(struct text *out, const struct snapshot *snapshot, uint32_t maker,
                      uint32_t site)
{
    static const struct snapshot_maker none;
    const struct snapshot_maker *row = maker ? &snapshot_makers(snapshot, NULL)[maker - 1] : &none;
    const bool is_thread = maker && row->kind == MAKER_THREAD;
    json_id(out, "task", row->task);
    json_id(out, "runtime_task_id", row->runtime_task_id);
    json_id(out, "run_id", row->run_id);
    put_str(out, snapshot, "future", is_thread ? (snapshot_str){0} : row->name);
    json_key(out, "is_thread");
    json_put_word(out, !maker ? "null" : is_thread ? "true" : "false");
    put_str(out, snapshot, "thread", is_thread ? row->name : (snapshot_str){0});
    json_id(out, "site", site);
    snapshot_json_place(out, snapshot, site);
}

void snapshot_json_allocated_by(struct text *out, const struct snapshot *snapshot, uint32_t holding)
{
    size_t nr;
    const struct snapshot_origin *rows = snapshot_origins_of(snapshot, holding, &nr);
    json_key(out, "allocated_by");
    if (!nr) {
        json_put_word(out, "null");
        return;
    }
    json_open(out, '[');
    for (size_t i = 0; i < nr; i++) {
        json_open(out, '{');
        put_maker(out, snapshot, rows[i].maker, rows[i].site);
        json_number(out, "blocks", rows[i].nr_blocks);
        json_number(out, "requested_bytes", rows[i].requested_bytes);
        json_close(out, '}');
    }
    json_close(out, ']');
}

void snapshot_json_spawned_by(struct text *out, const struct snapshot *snapshot, uint32_t task)
{
    const struct snapshot_spawn *spawn = snapshot_spawn_of(snapshot, task);
    json_key(out, "spawned_by");
    if (!spawn) {
        json_put_word(out, "null");
        return;
    }
    json_open(out, '{');
    put_maker(out, snapshot, spawn->maker, spawn->site);
    json_close(out, '}');
}

static void put_frame(struct text *out, const struct snapshot *snapshot,
                      const struct snapshot_site_frame *frame)
{
    json_open(out, '{');
    put_str(out, snapshot, "function", frame->function);
    put_str(out, snapshot, "full", frame->full);
    put_str(out, snapshot, "file", frame->file);
    json_id(out, "line", frame->line);
    json_key(out, "kind");
    json_put_word(out, kind_words[frame->kind]);
    json_key(out, "inlined");
    json_put_word(out, frame->is_inlined ? "true" : "false");
    json_close(out, '}');
}

void snapshot_json_sites(struct snapshot_json *json)
{
    const struct snapshot *snapshot = json->report->snapshot;
    size_t nr;
    const struct snapshot_site *rows = snapshot_sites(snapshot, &nr);
    const struct snapshot_site_frame *frames = snapshot_site_frames(snapshot, NULL);
    json_key(&json->text, "sites");
    json_open(&json->text, '[');
    for (size_t i = 0; i < nr; i++) {
        json_open(&json->text, '{');
        json_number(&json->text, "id", i + 1);
        json_key(&json->text, "frames");
        json_open(&json->text, '[');
        for (uint32_t f = 0; f < rows[i].nr_frames; f++)
            put_frame(&json->text, snapshot, &frames[rows[i].first_frame - 1 + f]);
        json_close(&json->text, ']');
        json_close(&json->text, '}');
        snapshot_json_flush(json, i + 1 < nr);
    }
    json_close(&json->text, ']');
}
