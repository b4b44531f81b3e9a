/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Rows of the JSON of a run that stand for one thing: types, tasks, runtimes, steps. */
#include <string.h>

#include "report/run_json_part.h"

/* --- types ----------------------------------------------------------------------------------- */

static void put_type_sums(struct text *out, const struct run_type *type)
{
    const bool has_tasks = type->tasks && run_kind_has_tasks(type->kind);
    json_number(out, "tasks", run_kind_has_tasks(type->kind) ? type->tasks : 0);
    json_number(out, "live_tasks", type->live_tasks);
    json_number(out, "most_at_once", type->most_at_once);
    for (size_t i = 0; i < RUN_END_THREAD; i++)
        json_number(out, run_end_names[i], run_kind_has_tasks(type->kind) ? type->ended[i] : 0);
    json_number(out, "mean_peak_bytes",
                has_tasks && type->peak_bytes_sum != RUN_UNKNOWN
                    ? type->peak_bytes_sum / type->tasks
                    : RUN_UNKNOWN);
    json_number(out, "largest_peak_bytes", type->peak_bytes_max);
    json_number(out, "allocations", type->allocations);
    json_number(out, "allocated_bytes", type->allocated_bytes);
    json_number(out, "frees", type->frees);
    json_number(out, "freed_bytes", type->freed_bytes);
    json_number(out, "live_bytes", type->live_bytes);
    json_number(out, "live_blocks", type->live_blocks);
    json_number(out, "polls", type->polls);
    json_number(out, "polls_cancel", type->polls_cancel);
    json_number(out, "slow_polls", type->slow_polls);
    json_number(out, "scheduled", type->scheduled);
    json_number(out, "poll_ns", type->poll_ns);
    json_number(out, "longest_poll_ns", type->longest_poll_ns);
    json_number(out, "idle_ns", type->idle_ns);
    json_number(out, "cell_bytes", type->cell_bytes);
    json_number(out, "boxed_bytes", type->boxed_bytes);
    json_number(out, "each_bytes", run_type_each_bytes(type));
    json_number(out, "header_bytes", type->header_bytes);
    json_number(out, "padding_bytes", type->padding_bytes);
    json_number(out, "payload_bytes", type->payload_bytes);
    json_number(out, "live_cells", type->live_cells);
}

static void put_type(struct text *out, const struct run_report *report, uint32_t at)
{
    const struct run *run = report->run;
    const struct run_type *type = &run_types(run, NULL)[at];
    json_open(out, '{');
    json_number(out, "id", at + 1);
    run_json_string(out, run, "future", type->future);
    run_json_string(out, run, "full_name", type->full);
    run_json_string(out, run, "reason", type->reason);
    run_json_word(out, "kind", run_kind_names[type->kind]);
    run_json_string(out, run, "runtime", type->runtime);
    json_id(out, "image", type->image);
    json_number(out, "peak_bytes", report->types.peaks[at]);
    put_type_sums(out, type);
    json_close(out, '}');
}

static size_t limit_of(const struct run_json *json, size_t nr)
{
    const size_t top = json->report->options->top;
    return top && top < nr ? top : nr;
}

void run_json_types(struct run_json *json)
{
    const struct run_types_order *order = &json->report->types;
    const size_t nr = limit_of(json, order->nr_types);
    json_key(&json->text, "by_type");
    json_open(&json->text, '[');
    for (size_t i = 0; i < nr; i++) {
        put_type(&json->text, json->report, order->types[i]);
        run_json_flush(json, i + 1 < nr);
    }
    json_close(&json->text, ']');
}

void run_json_type(struct text *out, const struct run *run, uint32_t type)
{
    const struct run_type *row = type ? &run_types(run, NULL)[type - 1] : NULL;
    json_id(out, "type", type);
    run_json_word(out, "future", row ? run_string(run, row->future) : NULL);
    run_json_word(out, "kind", row ? run_kind_names[row->kind] : NULL);
}

/* --- awaits ---------------------------------------------------------------------------------- */

static void put_await(struct text *out, const struct run *run, const struct run_await *await)
{
    json_open(out, '{');
    run_json_string(out, run, "future", await->future);
    run_json_string(out, run, "full_name", await->full);
    run_json_string(out, run, "state", await->state);
    run_json_string(out, run, "file", await->file);
    json_id(out, "line", await->line);
    run_json_string(out, run, "waits_for", await->waits_for);
    json_close(out, '}');
}

void run_json_await_tree(struct text *out, const struct run *run, uint32_t await)
{
    enum { SHOWN = 256 };
    const struct run_await *awaits = run_awaits(run, NULL);
    uint32_t chain[SHOWN], nr = 0;
    for (uint32_t id = await; id && nr < SHOWN; id = awaits[id - 1].parent)
        chain[nr++] = id;
    json_key(out, "await_tree");
    json_open(out, '[');
    while (nr-- > 0)
        put_await(out, run, &awaits[chain[nr] - 1]);
    json_close(out, ']');
}

/* --- tasks ----------------------------------------------------------------------------------- */

static void put_task_counts(struct text *out, const struct run_task *task)
{
    json_number(out, "polls", task->polls);
    json_number(out, "polls_cancel", task->polls_cancel);
    json_number(out, "slow_polls", task->slow_polls);
    json_number(out, "scheduled", task->scheduled);
    json_number(out, "poll_ns", task->poll_ns);
    json_number(out, "longest_poll_ns", task->longest_poll_ns);
    json_number(out, "allocations", task->allocations);
    json_number(out, "allocated_bytes", task->allocated_bytes);
    json_number(out, "frees", task->frees);
    json_number(out, "freed_bytes", task->freed_bytes);
    json_number(out, "live_bytes", task->live_bytes);
    json_number(out, "live_blocks", task->live_blocks);
    json_number(out, "peak_bytes", task->peak_bytes);
    json_number(out, "cell_bytes", task->is_thread ? RUN_UNKNOWN : task->cell_bytes);
    json_number(out, "held_bytes", task->held_bytes);
}

static void put_task(struct text *out, const struct run *run, const struct run_task *task)
{
    json_open(out, '{');
    json_number(out, "id", task->id);
    json_id(out, "runtime_task_id", task->runtime_task_id);
    run_json_type(out, run, task->type);
    json_id(out, "parent", task->parent);
    json_id(out, "spawn_site", task->site);
    run_json_string(out, run, "thread", task->thread);
    json_id(out, "spawned_at_ns", task->spawned_ns);
    json_id(out, "first_poll_ns", task->first_poll_ns);
    json_id(out, "last_poll_ns", task->last_poll_ns);
    json_id(out, "ended_at_ns", task->ended_ns);
    json_id(out, "not_polled_for_ns",
            task->end == RUN_END_NOT ? run_age_ns(run, task->last_poll_ns) : 0);
    run_json_word(out, "ended", task->end == RUN_END_NOT ? NULL : run_end_names[task->end]);
    put_task_counts(out, task);
    run_json_string(out, run, "waits_for", task->waits_for);
    run_json_await_tree(out, run, task->await);
    json_close(out, '}');
}

static void put_tasks(struct run_json *json, const char *key, const uint32_t *order, size_t nr)
{
    const struct run_task *tasks = run_tasks(json->run, NULL);
    json_key(&json->text, key);
    json_open(&json->text, '[');
    for (size_t i = 0; i < nr; i++) {
        put_task(&json->text, json->run, &tasks[order[i]]);
        run_json_flush(json, i + 1 < nr);
    }
    json_close(&json->text, ']');
}

void run_json_tasks(struct run_json *json)
{
    const struct run_types_order *order = &json->report->types;
    struct text *out = &json->text;
    json_number(out, "tasks_listed", order->nr_tasks);
    put_tasks(json, "tasks", order->tasks, limit_of(json, order->nr_tasks));
    put_tasks(json, "threads", order->threads, limit_of(json, order->nr_threads));
    json_key(out, "folded");
    json_open(out, '{');
    json_number(out, "tasks", order->folded.tasks);
    json_number(out, "polls", order->folded.polls);
    json_number(out, "allocations", order->folded.allocations);
    json_number(out, "allocated_bytes", order->folded.allocated_bytes);
    json_number(out, "frees", order->folded.frees);
    json_number(out, "freed_bytes", order->folded.freed_bytes);
    json_close(out, '}');
}

/* --- runtimes -------------------------------------------------------------------------------- */

static void put_other(struct text *out, const struct run_runtime *runtime)
{
    json_key(out, "other");
    json_open(out, '{');
    json_number(out, "queue_bytes", runtime->queue_bytes);
    json_number(out, "timer_bytes", runtime->timer_bytes);
    json_number(out, "io_bytes", runtime->io_bytes);
    json_number(out, "worker_bytes", runtime->worker_bytes);
    json_number(out, "other_bytes", runtime->other_bytes);
    json_number(out, "workers", runtime->nr_workers);
    json_number(out, "stack_bytes", runtime->stack_bytes);
    json_close(out, '}');
}

void run_json_runtimes(struct run_json *json)
{
    size_t nr;
    struct text *out = &json->text;
    const struct run_runtime *runtimes = run_runtimes(json->run, &nr);
    json_key(out, "runtime");
    json_open(out, '[');
    for (size_t i = 0; i < nr; i++) {
        json_open(out, '{');
        run_json_string(out, json->run, "name", runtimes[i].name);
        run_json_word(out, "kind", run_kind_names[runtimes[i].kind]);
        json_number(out, "cells", runtimes[i].cells);
        json_number(out, "cell_header_bytes", runtimes[i].cell_header_bytes);
        json_number(out, "cell_padding_bytes", runtimes[i].cell_padding_bytes);
        json_number(out, "cell_payload_bytes", runtimes[i].cell_payload_bytes);
        json_number(out, "bytes_beyond_future", run_bytes_beyond(&runtimes[i]));
        put_other(out, &runtimes[i]);
        json_close(out, '}');
    }
    json_close(out, ']');
}

/* --- timeline -------------------------------------------------------------------------------- */

static void put_step(struct text *out, const struct run_report *report, uint32_t id)
{
    const struct run_step *step = &run_steps(report->run, NULL)[id - 1];
    const struct run_step_type *row;
    json_open(out, '{');
    json_number(out, "t_ns", step->t_ns);
    json_number(out, "live_bytes", step->live_bytes);
    json_number(out, "rss_bytes", step->rss_bytes);
    json_number(out, "live_tasks", step->live_tasks);
    json_key(out, "types");
    json_open(out, '[');
    for (size_t i = 0; (row = run_step_top(&report->step_tops, report->run, id, i)); i++) {
        json_open(out, '{');
        json_id(out, "type", row->type);
        json_number(out, "live_bytes", row->live_bytes);
        json_close(out, '}');
    }
    json_close(out, ']');
    json_close(out, '}');
}

void run_json_timeline(struct run_json *json)
{
    size_t nr;
    run_steps(json->run, &nr);
    json_key(&json->text, "timeline");
    json_open(&json->text, '[');
    for (size_t i = 0; i < nr; i++) {
        put_step(&json->text, json->report, (uint32_t)i + 1);
        run_json_flush(json, i + 1 < nr);
    }
    json_close(&json->text, ']');
}
