/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "process/task_reader.h"

#include "base/clock.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>

/* If a target does not stop, it goes on after this; and this long its trees may take at most. */
enum { STOP_LIMIT_MS = 100, WALK_LIMIT_MS = 1000 };

/*
 * On a busy machine the target would stand still until the scheduler gives us a turn: until it goes
 * on, this thread and those it makes come before others.  Needs CAP_SYS_NICE; without it the stop
 * is only longer.
 */
static void hurry(struct sched_param *usual, int *policy)
{
    if (pthread_getschedparam(pthread_self(), policy, usual) == 0)
        pthread_setschedparam(pthread_self(), SCHED_FIFO,
                              &(struct sched_param){.sched_priority = 1});
}

static void note_moment(struct task_reader *reader)
{
    const bool is_core = reader->target->is_core;
    reader->taken_at_ns = is_core ? reader->target->taken_at_ns : (int64_t)clock_ns(CLOCK_REALTIME);
    reader->nr_threads = reader->target->nr_threads;
}

/* `waits`: the target stands still meanwhile. */
static void read_tasks(struct task_reader *reader, bool waits)
{
    uint64_t deadline = clock_ns(CLOCK_MONOTONIC) + WALK_LIMIT_MS * UINT64_C(1000000);
    task_cells_read(&reader->cells, &reader->reading, &reader->traced);
    task_futures_read(&reader->futures, &reader->reading, waits ? deadline : 0);
    stacks_copy(&reader->stacks, reader->target, &reader->reading);
}

/*
 * With a copy of its memory the target goes on at once; else when all is read that must be.  False: the
 * copy is gone.
 */
static bool read_stopped(struct task_reader *reader, const struct heap_options *options)
{
    struct target *target = reader->target;
    struct heap_account *heap = &reader->heap;
    struct sched_param usual = {0};
    int policy = SCHED_OTHER;
    hurry(&usual, &policy);
    note_moment(reader);
    heap_account_begin(heap, target, options);
    if (heap->is_there)
        traced_blocks_copy(&reader->traced, target, heap_stop_limit_ns(options));
    if (heap->is_copied) {
        reader->stop_ns = target_resume(target);
        if (options->copied)
            options->copied(options->context);
    }
    read_tasks(reader, !heap->is_copied && !target->is_core);
    if (!heap->is_there)
        reader->stop_ns = target_resume(target);
    pthread_setschedparam(pthread_self(), policy, &usual);
    task_futures_finish(&reader->futures);
    task_cells_mark_copies(&reader->cells);
    traced_blocks_finish(&reader->traced, target);
    heap_account_read(heap, &reader->futures, &reader->traced);
    bool is_whole = target_copy_is_whole(target);
    target_end_copy(target);
    if (heap->is_there && !heap->is_copied)
        reader->stop_ns = target_resume(target);
    return is_whole;
}

bool task_reader_read(struct task_reader *reader, struct target *target,
                      const struct task_request *request, struct error *err)
{
    *reader = (struct task_reader){
        .target = target, .nr_plans = request->nr_plans, .traced = {.fd = -1, .view = {.fd = -1}}};
    reader->plans = memory_alloc((request->nr_plans + 1) * sizeof(*reader->plans));
    for (size_t i = 0; i < request->nr_plans; i++)
        process_plan_init(&reader->plans[i], request->images[i], request->plans[i]);
    if (!target_read_mappings(target, err)) /* compiling plans may have taken a while */
        return false;
    task_cells_init(&reader->cells, target, reader->plans, request->nr_plans);
    task_cells_scan(&reader->cells);
    task_cells_make_room(&reader->cells);
    reading_init(&reader->reading, target,
                 task_cells_expected_bytes(&reader->cells) + STACKS_EXPECTED_BYTES);
    task_futures_init(&reader->futures, &reader->cells);
    task_futures_make_room(&reader->futures);
    if (!request->heap.is_off)
        traced_blocks_find(&reader->traced, target, request->region);
    if (!target_stop(target, STOP_LIMIT_MS, err))
        return false;
    if (!read_stopped(reader, &request->heap))
        return error_set(err, ERROR_TARGET,
                         "process %d: ended while a copy of its memory was read, or memory ran out "
                         "and the copy was ended; try again, or use --no-heap",
                         (int)target->pid);
    stacks_unwind(&reader->stacks, target);
    return true;
}

void task_reader_deinit(struct task_reader *reader)
{
    heap_account_deinit(&reader->heap);
    traced_blocks_deinit(&reader->traced);
    stacks_deinit(&reader->stacks);
    task_futures_deinit(&reader->futures);
    reading_deinit(&reader->reading);
    task_cells_deinit(&reader->cells);
    for (size_t i = 0; i < reader->nr_plans; i++)
        process_plan_deinit(&reader->plans[i]);
    free(reader->plans);
}
