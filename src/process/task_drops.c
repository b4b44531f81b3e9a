/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Tasks are independent of each other: each run begins with the memory as it was.  Workers take
 * spans of tasks; their rows are put together in the order of the tasks.
 */
#include "process/task_drops.h"

#include <stdlib.h>
#include <string.h>

#include "base/parallel.h"
#include "process/drop_doubt.h"
#include "process/task_drops_part.h"

enum {
    SPAN_TASKS = 64,
    MIN_INSTRUCTIONS = 4 << 20,
    FEW_INSTRUCTIONS = 16 << 10,
    INSTRUCTIONS_A_BLOCK = 200,
};
/* --- one run --------------------------------------------------------------------------------- */

struct drop_worker *drop_worker_of(struct dropping *dropping, unsigned number)
{
    struct drop_worker *worker = &dropping->workers[number];
    if (!worker->has_run) {
        drop_run_init(&worker->run, dropping->target, dropping->drops->blocks,
                      &dropping->functions);
        arena_init(&worker->arena);
    }
    worker->has_run = true;
    return worker;
}

/*
 * Tasks of one kind that spin do so all, for a lock that a thread holds: after some of them the others are
 * given up soon.
 */
static uint64_t instructions_for(const struct dropping *dropping, const struct task_cell *cell)
{
    enum { MAX_ENDLESS = 4 };
    uint32_t nr = __atomic_load_n(&dropping->nr_endless[cell->kind], __ATOMIC_RELAXED);
    return nr > MAX_ENDLESS ? FEW_INSTRUCTIONS : dropping->max_instructions;
}

enum emulator_end drop_run_function(const struct dropping *dropping, struct drop_run *run,
                                    const struct task_cell *cell, uint64_t function)
{
    enum emulator_end end = drop_cell_call(run, &dropping->cells->kinds[cell->kind].layout, cell,
                                           function, instructions_for(dropping, cell));
    if (end == EMULATOR_BUDGET)
        __atomic_fetch_add(&dropping->nr_endless[cell->kind], 1, __ATOMIC_RELAXED);
    return end;
}

static uint32_t block_of(const struct dropping *dropping, uint64_t addr)
{
    uint32_t block = heap_blocks_find(dropping->drops->blocks, addr);
    return block ? block - 1 : NO_BLOCK;
}

static bool frees(const struct drop_run *run, const struct dropping *dropping,
                  const struct task_cell *cell)
{
    uint32_t block = block_of(dropping, cell->addr);
    for (size_t i = run->nr_frees; i-- > 0;)
        if (block != NO_BLOCK && block_of(dropping, run->frees[i].addr) == block)
            return true;
    return false;
}

/* The usual one may fail for other reasons: a run that ended early says nothing. */
static bool may_drop(void *context, const struct task_cell *cell, uint64_t function, bool is_usual)
{
    struct dropping *dropping = context;
    struct drop_run *run = &drop_worker_of(dropping, 0)->run;
    drop_run_reset(run);
    enum emulator_end end = drop_run_function(dropping, run, cell, function);
    return frees(run, dropping, cell) || (is_usual && end != EMULATOR_RETURNED);
}

static void find_dealloc(struct dropping *dropping, const struct task_cell *cell)
{
    struct drop_run *run = &drop_worker_of(dropping, 0)->run;
    drop_cell_set_usual(run, &dropping->threads, cell);
    dropping->deallocs[cell->kind] =
        drop_cell_find_dealloc(dropping->cells, cell, may_drop, dropping);
    drop_run_reset(run);
}

static const char *reason_of(struct drop_worker *worker, enum emulator_end end)
{
    char words[200];
    if (end == EMULATOR_STOPPED && worker->run.stop_reason)
        return worker->run.stop_reason;
    emulator_end_text(worker->run.emulator, end, words, sizeof(words));
    return arena_strndup(&worker->arena, words, strlen(words));
}

static const char *trace_problem(const struct drop_trace *trace)
{
    if (!trace->cell_was_freed)
        return "its own memory was not freed";
    if (trace->has_strange_free)
        return "it frees what is no block of the heap";
    return trace->nr_other_cells ? "its end frees finished tasks too, which are listed apart"
                                 : NULL;
}

static void begin_rows(struct task_drop *drop, const struct drop_rows *rows)
{
    drop->first_block = (uint32_t)rows->nr_blocks;
    drop->first_share = (uint32_t)rows->nr_shares;
    drop->first_read = (uint32_t)rows->nr_reads;
}

static void end_rows(struct task_drop *drop, const struct drop_rows *rows)
{
    drop->nr_blocks = (uint32_t)rows->nr_blocks - drop->first_block;
    drop->nr_shares = (uint32_t)rows->nr_shares - drop->first_share;
    drop->nr_reads = (uint32_t)rows->nr_reads - drop->first_read;
}

/* Leaves out the innermost drop of the calls that were under way; false: there is none. */
static bool leave_out(const struct dropping *dropping, struct drop_run *run, enum emulator_end *end)
{
    for (size_t at = run->emulator->nr_calls; at-- > 1;)
        if (map_find(&dropping->glue, run->emulator->calls[at].function)) {
            *end = emulator_abandon(run->emulator, at, dropping->max_instructions);
            return true;
        }
    return false;
}

struct again {
    const struct dropping *dropping;
    const struct task_cell *cell;
};

static bool run_again(struct drop_run *run, const void *context)
{
    const struct again *again = context;
    return drop_run_function(again->dropping, run, again->cell,
                             again->dropping->deallocs[again->cell->kind]) == EMULATOR_RETURNED;
}

/* As one of the threads does it that end such tasks: where the first was just busy, by the next. */
static enum emulator_end run_first(const struct dropping *dropping, struct drop_run *run,
                                   const struct task_cell *cell)
{
    const struct drop_threads *threads = drop_threads_of(&dropping->threads, cell);
    enum emulator_end end;
    for (unsigned i = 0;; i++) {
        drop_run_set(run, &(struct drop_circumstances){threads->pointers[i], false});
        end = drop_run_function(dropping, run, cell, dropping->deallocs[cell->kind]);
        if (end == EMULATOR_RETURNED || !run->has_asked_thread || i + 1 == threads->nr)
            return end;
        drop_run_reset(run);
    }
}

/* Why it did not come to its end, or why another run of it may free something else. */
static const char *run_dealloc(const struct dropping *dropping, struct drop_worker *worker,
                               const struct task_cell *cell, bool *has_failed)
{
    enum { MAX_LEFT_OUT = 64 };
    struct drop_run *run = &worker->run;
    enum emulator_end end = run_first(dropping, run, cell);
    /* Who waits for ever would again. */
    *has_failed = end != EMULATOR_RETURNED && end != EMULATOR_BUDGET;
    if (end == EMULATOR_RETURNED)
        return drop_doubt_settle(run, drop_threads_of(&dropping->threads, cell), run_again,
                                 &(struct again){dropping, cell});
    const char *reason = reason_of(worker, end);
    for (int i = 0; dropping->is_second && end != EMULATOR_RETURNED && i < MAX_LEFT_OUT; i++)
        if (end == EMULATOR_BUDGET || !leave_out(dropping, run, &end))
            break;
    return reason;
}

static void drop_task(struct dropping *dropping, struct drop_worker *worker, uint32_t task,
                      struct drop_rows *rows)
{
    const struct task_cell *cell = &dropping->cells->rows[task];
    struct task_drop *drop = &dropping->drops->rows[task];
    struct drop_run *run = &worker->run;
    struct addr_range *ranges = drop_frames_of(&dropping->frames, task, &run->nr_futures);
    struct drop_trace trace = {.blocks = dropping->drops->blocks,
                               .cell_block = block_of(dropping, cell->addr)};
    run->futures = ranges;
    const uint64_t nr_before = run->emulator->nr_instructions;
    bool has_failed;
    drop->reason = run_dealloc(dropping, worker, cell, &has_failed);
    drop->nr_instructions = run->emulator->nr_instructions - nr_before;
    dropping->has_failed[task] = has_failed && !dropping->is_second;
    begin_rows(drop, rows);
    if (!dropping->has_failed[task]) {
        drop_trace_take(&trace, run, dropping->is_cell, rows);
        drop->was_run = true;
        if (!drop->reason)
            drop->reason = trace_problem(&trace);
        drop->is_exact = !drop->reason;
    }
    end_rows(drop, rows);
    for (size_t i = drop->first_share; i < rows->nr_shares; i++)
        rows->shares[i].task = task;
    run->futures = NULL;
    run->nr_futures = 0;
    free(ranges);
    drop_run_reset(run);
}

static const char *why_not(const struct dropping *dropping, const struct task_cell *cell)
{
    if (cell->is_copy)
        return "it is what is left of a cell"; /* what it points to may be others' by now */
    if (cell->state & TOKIO_RUNNING)
        return "it is being polled: its variables change while they are looked at";
    if (!dropping->functions.has_free)
        return "no allocator was found in its program";
    if (block_of(dropping, cell->addr) == NO_BLOCK)
        return "it is in memory of an allocator that is not known";
    return dropping->deallocs[cell->kind] ? NULL : "the code that drops it was not found";
}

static void drop_span(void *context, unsigned worker, size_t span)
{
    struct dropping *dropping = context;
    const struct task_cells *cells = dropping->cells;
    size_t end = (span + 1) * SPAN_TASKS < cells->nr ? (span + 1) * SPAN_TASKS : cells->nr;
    for (size_t i = span * SPAN_TASKS; i < end; i++) {
        struct task_drop *drop = &dropping->drops->rows[i];
        if (dropping->is_second && !dropping->has_failed[i])
            continue;
        drop->reason = why_not(dropping, &cells->rows[i]);
        drop->cell_block = block_of(dropping, cells->rows[i].addr);
        if (!drop->reason)
            drop_task(dropping, drop_worker_of(dropping, worker), (uint32_t)i,
                      &dropping->rows[span]);
    }
}

/* --- the rows of all ------------------------------------------------------------------------- */

/* A block belongs to one task: to that in whose futures its pointer was seen, else to the first. */
static void claim(struct task_drops *drops, uint32_t task)
{
    struct task_drop *drop = &drops->rows[task];
    for (uint32_t i = 0; i < drop->nr_blocks; i++) {
        const struct drop_block *row = &drops->drops[drop->first_block + i];
        uint32_t *holder = &drops->holder[row->block];
        if (!*holder || (row->place && *holder != task + 1))
            *holder = task + 1;
    }
}

/* Blocks that another task has are taken out: their bytes count once. */
static void sum_up(struct task_drops *drops, uint32_t task)
{
    struct task_drop *drop = &drops->rows[task];
    struct drop_block *rows = &drops->drops[drop->first_block];
    uint32_t kept = 0;
    for (uint32_t i = 0; i < drop->nr_blocks; i++) {
        if (drops->holder[rows[i].block] != task + 1)
            continue;
        drop->held_bytes += drops->blocks->rows[rows[i].block].size_bytes;
        rows[kept++] = rows[i];
    }
    if (kept < drop->nr_blocks && drop->is_exact) {
        drop->is_exact = false;
        drop->reason = "another task's end frees the same blocks";
    }
    drop->nr_blocks = kept;
}

static void put_together(struct dropping *dropping, size_t nr_spans)
{
    struct task_drops *drops = dropping->drops;
    for (size_t span = 0; span < nr_spans; span++) {
        struct drop_rows *rows = &dropping->rows[span];
        size_t end = (span + 1) * SPAN_TASKS;
        for (size_t i = span * SPAN_TASKS; i < end && i < dropping->cells->nr; i++) {
            drops->rows[i].first_block += (uint32_t)drops->nr_drops;
            drops->rows[i].first_share += (uint32_t)drops->nr_shares;
            drops->rows[i].first_read += (uint32_t)drops->nr_reads;
        }
        APPEND(drops, drops, rows->blocks, rows->nr_blocks);
        APPEND(drops, shares, rows->shares, rows->nr_shares);
        APPEND(drops, reads, rows->reads, rows->nr_reads);
        drop_rows_deinit(rows);
    }
    for (uint32_t i = 0; i < dropping->cells->nr; i++)
        claim(drops, i);
    for (uint32_t i = 0; i < dropping->cells->nr; i++)
        sum_up(drops, i);
}

static void run_failed_again(struct dropping *dropping, size_t nr_spans)
{
    bool has_failed = false;
    for (size_t i = 0; i < dropping->cells->nr; i++)
        has_failed |= dropping->has_failed[i];
    if (!has_failed)
        return;
    dropping->is_second = true;
    drop_functions_list_glue(&dropping->glue, dropping->target);
    parallel_for(nr_spans, drop_span, dropping);
    map_deinit(&dropping->glue);
}

/* --- all ------------------------------------------------------------------------------------- */

static void mark_cells(struct dropping *dropping)
{
    dropping->is_cell = memory_alloc(dropping->drops->blocks->nr + 1);
    for (size_t i = 0; i < dropping->cells->nr; i++) {
        uint32_t block = dropping->cells->rows[i].is_copy
                             ? NO_BLOCK
                             : block_of(dropping, dropping->cells->rows[i].addr);
        if (block != NO_BLOCK)
            dropping->is_cell[block] = true;
    }
}

static void find_deallocs(struct dropping *dropping)
{
    const struct task_cells *cells = dropping->cells;
    bool *was_tried = memory_alloc(cells->nr_kinds + 1);
    dropping->deallocs = memory_alloc((cells->nr_kinds + 1) * sizeof(*dropping->deallocs));
    for (size_t i = 0; i < cells->nr; i++) {
        const struct task_cell *cell = &cells->rows[i];
        if (was_tried[cell->kind] || !drop_cell_can_run(cell) || !dropping->functions.has_free)
            continue;
        was_tried[cell->kind] = true;
        find_dealloc(dropping, cell);
    }
    free(was_tried);
}

static void end_workers(struct dropping *dropping, unsigned nr)
{
    for (unsigned i = 0; i < nr; i++) {
        struct drop_worker *worker = &dropping->workers[i];
        if (!worker->has_run)
            continue;
        dropping->drops->nr_instructions += worker->run.emulator->nr_instructions;
        drop_run_deinit(&worker->run);
        arena_take(&dropping->drops->arena, &worker->arena);
    }
    free(dropping->workers);
}

void task_drops_read(struct task_drops *drops, const struct task_futures *futures,
                     const struct heap_blocks *blocks)
{
    const struct task_cells *cells = futures->cells;
    size_t nr_spans = (cells->nr + SPAN_TASKS - 1) / SPAN_TASKS;
    unsigned nr_workers = parallel_workers(SIZE_MAX);
    *drops = (struct task_drops){.cells = cells, .futures = futures, .blocks = blocks};
    arena_init(&drops->arena);
    drops->rows = memory_alloc((cells->nr + 1) * sizeof(*drops->rows));
    drops->holder = memory_alloc((blocks->nr + 1) * sizeof(*drops->holder));
    drops->sharer = memory_alloc((blocks->nr + 1) * sizeof(*drops->sharer));
    struct dropping dropping = {
        .drops = drops,
        .target = cells->target,
        .cells = cells,
        .workers = memory_alloc(nr_workers * sizeof(*dropping.workers)),
        .rows = memory_alloc((nr_spans + 1) * sizeof(*dropping.rows)),
        .has_failed = memory_alloc(cells->nr + 1),
        .nr_endless = memory_alloc((cells->nr_kinds + 1) * sizeof(*dropping.nr_endless)),
        .max_instructions = MIN_INSTRUCTIONS + blocks->nr * INSTRUCTIONS_A_BLOCK,
    };
    drop_functions_find(&dropping.functions, cells->target);
    drop_threads_find(&dropping.threads, cells);
    mark_cells(&dropping);
    drop_frames_list(&dropping.frames, futures);
    find_deallocs(&dropping);
    parallel_for(nr_spans, drop_span, &dropping);
    run_failed_again(&dropping, nr_spans);
    put_together(&dropping, nr_spans);
    drop_shared_read(&dropping);
    end_workers(&dropping, nr_workers);
    drop_functions_deinit(&dropping.functions);
    drop_threads_deinit(&dropping.threads);
    free(dropping.rows);
    free(dropping.has_failed);
    free(dropping.nr_endless);
    free(dropping.is_cell);
    free(dropping.deallocs);
    drop_frames_deinit(&dropping.frames);
}

void task_drops_deinit(struct task_drops *drops)
{
    free(drops->rows);
    free(drops->drops);
    free(drops->shares);
    free(drops->shared);
    free(drops->parts);
    free(drops->reads);
    free(drops->holder);
    free(drops->sharer);
    arena_deinit(&drops->arena);
    *drops = (struct task_drops){0};
}
