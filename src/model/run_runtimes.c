/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Inside run_build: what the runtimes need for themselves.  Cells by runtime and kind of task; and by the
 * innermost frame of tokio's runtime in a site's stack, its queues, timers, I/O registrations and workers.
 */
#include <string.h>

#include "model/run_build_part.h"

/* --- cells ----------------------------------------------------------------------------------- */

static uint32_t runtime_of(struct run *run, const struct run_type *type)
{
    size_t nr;
    const struct run_runtime *rows = run_runtimes(run, &nr);
    for (size_t i = 0; i < nr; i++)
        if (rows[i].name.v == type->runtime.v && rows[i].kind == type->kind)
            return (uint32_t)i + 1;
    const struct run_runtime row = {
        .name = type->runtime,
        .kind = type->kind,
        .queue_bytes = RUN_UNKNOWN,
        .timer_bytes = RUN_UNKNOWN,
        .io_bytes = RUN_UNKNOWN,
        .worker_bytes = RUN_UNKNOWN,
        .other_bytes = RUN_UNKNOWN,
        .stack_bytes = RUN_UNKNOWN,
    };
    return run_add(run, RUN_RUNTIMES, &row);
}

static void add_known(uint64_t *sum, uint64_t nr, uint64_t bytes)
{
    if (bytes == RUN_UNKNOWN || *sum == RUN_UNKNOWN || __builtin_mul_overflow(nr, bytes, &bytes) ||
        __builtin_add_overflow(*sum, bytes, sum))
        *sum = RUN_UNKNOWN;
}

static void add_cells(struct run *run)
{
    size_t nr;
    run_types(run, &nr);
    for (size_t i = 0; i < nr; i++) {
        const struct run_type *type = &run_types(run, NULL)[i];
        if (!type->live_cells)
            continue;
        uint32_t id = runtime_of(run, type);
        struct run_runtime *row = &run_runtimes(run, NULL)[id - 1];
        row->cells += type->live_cells;
        row->nr_workers += type->kind == RUN_KIND_WORKER ? type->live_tasks : 0;
        add_known(&row->cell_header_bytes, type->live_cells, type->header_bytes);
        add_known(&row->cell_padding_bytes, type->live_cells, type->padding_bytes);
        add_known(&row->cell_payload_bytes, type->live_cells, type->payload_bytes);
    }
}

/* --- the rest -------------------------------------------------------------------------------- */

enum part { PART_NONE, PART_CELL, PART_QUEUE, PART_TIMER, PART_IO, PART_WORKER, PART_OTHER };

/* What a frame of the runtime allocates for; PART_NONE: it does not say. */
static enum part part_of_function(const char *function)
{
    static const struct {
        const char *path;
        enum part part;
    } paths[] = {
        {"tokio::runtime::task::", PART_CELL},
        {"tokio::runtime::blocking::task", PART_CELL},
        {"tokio::runtime::scheduler::multi_thread::queue", PART_QUEUE},
        {"tokio::runtime::scheduler::inject", PART_QUEUE},
        {"tokio::runtime::time::", PART_TIMER},
        {"tokio::runtime::io::", PART_IO},
        {"tokio::runtime::signal::", PART_IO},
        {"mio::", PART_IO},
        {"tokio::runtime::scheduler::multi_thread::worker", PART_WORKER},
        {"tokio::runtime::scheduler::multi_thread::", PART_WORKER},
        {"tokio::runtime::blocking::pool", PART_WORKER},
        {"tokio::runtime::scheduler::current_thread", PART_WORKER},
        {"tokio::runtime::", PART_OTHER},
    };
    for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++)
        if (strstr(function, paths[i].path))
            return paths[i].part;
    return PART_NONE;
}

/* Innermost first; the user's or another crate's code inside of the runtime is not the runtime's. */
static enum part part_of_place(const struct run *run, const struct run_place *place, bool *ends)
{
    const struct run_frame *frames = run_frames(run, NULL);
    for (uint32_t i = 0; i < place->nr_frames; i++) {
        const struct run_frame *frame = &frames[place->first_frame - 1 + i];
        const char *full = run_string(run, frame->full);
        enum part part = PART_NONE;
        bool may_be = frame->kind == RUN_FRAME_RUNTIME || strstr(full, "mio::") == full;
        if (may_be)
            part = part_of_function(full);
        *ends = part != PART_NONE || (!may_be && frame->kind != RUN_FRAME_STD);
        if (*ends)
            return part;
    }
    return PART_NONE;
}

static enum part part_of_site(const struct run *run, const struct run_site *site)
{
    enum part part = PART_NONE;
    bool ends = false;
    for (uint32_t at = site->node; at && !ends;) {
        const struct run_node *node = &run_nodes(run, NULL)[at - 1];
        part = part_of_place(run, &run_places(run, NULL)[node->place - 1], &ends);
        at = node->parent;
    }
    return part;
}

static void add_parts(struct run_building *build)
{
    size_t nr;
    struct run *run = build->run;
    const struct run_site *sites = run_sites(run, &nr);
    struct run_runtime row = {.stack_bytes = RUN_UNKNOWN};
    bool any = false;
    for (size_t i = 0; i < nr; i++) {
        enum part part = sites[i].live_bytes ? part_of_site(run, &sites[i]) : PART_NONE;
        uint64_t *sum = part == PART_QUEUE    ? &row.queue_bytes
                        : part == PART_TIMER  ? &row.timer_bytes
                        : part == PART_IO     ? &row.io_bytes
                        : part == PART_WORKER ? &row.worker_bytes
                        : part == PART_OTHER  ? &row.other_bytes
                                              : NULL;
        if (sum)
            *sum += sites[i].live_bytes;
        any |= sum != NULL;
    }
    row.name = run_intern(build, "tokio");
    if (any)
        run_add(run, RUN_RUNTIMES, &row);
}

void run_runtimes_add(struct run_building *build)
{
    add_cells(build->run);
    if (run_facts(build->run)->stacks == RUN_STACKS_ALL)
        add_parts(build);
}
