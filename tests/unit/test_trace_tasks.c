/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The hooks of task vtables and the life of task rows (tracer/tasks.h), in a world of its own. */
#include "unit.h"

#include <link.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>

#include "trace_world.h"

static int see_program(struct dl_phdr_info *info, size_t size, void *bias)
{
    (void)size;
    *(uintptr_t *)bias = info->dlpi_addr;
    return 1; /* the first is the program */
}

static uint32_t hook_program(uint32_t *image)
{
    uintptr_t bias = 0;
    dl_iterate_phdr(see_program, &bias);
    *image = region_row_new(tracer_state.region, REGION_IMAGES);
    return tasks_hook_image(&tracer_state, *image, bias);
}

/* The region is a new one for each test; vtables are hooked by the first, and their types made again. */
static int begin(void **state)
{
    (void)state;
    static bool is_hooked;
    world_begin();
    world_thread();
    uint32_t image;
    if (!is_hooked) {
        assert_int_equal(hook_program(&image), 2);
        is_hooked = true;
    } else {
        region_row_new(tracer_state.region, REGION_TYPES);
        region_row_new(tracer_state.region, REGION_TYPES);
    }
    return 0;
}

static int end(void **state)
{
    (void)state;
    world_thread_end();
    world_end();
    return 0;
}

static uint64_t nr_used_rows(enum region_task_kind kind)
{
    uint64_t nr = 0;
    for (uint32_t i = 1; i < tracer_state.region->tables[REGION_TASKS].nr_rows; i++)
        nr += tracer_state.tasks[i].id && tracer_state.tasks[i].kind == kind;
    return nr;
}

/* --- finding ----------------------------------------------------------------------------------- */

static bool is_writable(const void *addr)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512], may_write = '?';
    uintptr_t start, past;
    assert_non_null(maps);
    while (fgets(line, sizeof(line), maps))
        if (sscanf(line, "%lx-%lx %*c%c", &start, &past, &may_write) == 3 &&
            (uintptr_t)addr >= start && (uintptr_t)addr < past)
            break;
    fclose(maps);
    return may_write == 'w';
}

static void test_vtables_are_hooked_once(void **state)
{
    (void)state;
    uint32_t image;
    assert_int_equal(hook_program(&image), 0);
    const struct region_type *future = world_type(future_vtable);
    assert_int_equal(task_vtable_find(future_vtable)->is_blocking, 0);
    assert_int_equal(task_vtable_find(blocking_vtable)->is_blocking, 1);
    assert_ptr_not_equal(future, world_type(blocking_vtable));
    assert_ptr_equal(future_vtable[0], task_hook_poll);
    assert_ptr_equal(blocking_vtable[6], task_hook_shutdown);
    assert_false(is_writable(future_vtable));
}

/* By the processor's clock, like all later times: the recorder's word, which stands still here, is too coarse. */
static void test_when_it_was_spawned(void **state)
{
    (void)state;
    struct script script = {0};
    const uint64_t before = trace_now(&tracer_state);
    struct cell *cell = world_spawn(future_vtable);
    world_script(cell, &script);
    world_schedule(cell);
    const uint64_t after = trace_now(&tracer_state);
    world_poll(cell);
    assert_in_range(world_row(cell)->spawned_ns, before + 1, after + 1);
    assert_true(world_row(cell)->first_poll_ns >= after);
    world_drop(cell);
}

static void test_a_copied_vtable_still_works(void **state)
{
    (void)state;
    uint64_t copy[10];
    memcpy(copy, future_vtable, sizeof(copy));
    struct script script = {.completes = true, .allocates = 10};
    struct cell *cell = world_spawn(copy);
    world_script(cell, &script);
    world_schedule(cell);
    world_poll(cell);
    assert_int_not_equal(script.kept, 0);
    assert_int_equal(world_row(cell)->end, REGION_END_FINISHED);
    world_free(script.kept);
    world_drop(cell);
}

static void test_where_a_block_starts(void **state)
{
    (void)state;
    const uint64_t there = REGION_LIVE_PRESENT, half = REGION_LIVE_PRESENT | REGION_LIVE_HALF;
    const uintptr_t addr = (uintptr_t)1 << REGION_SPAN_BITS;
    uint32_t *place = &tracer_state.live_index[1];
    const uint32_t before = *place;
    *place = 1 | 5u << 24;
    assert_true(task_block_starts_at(&tracer_state, there, addr));
    assert_false(task_block_starts_at(&tracer_state, there, addr + 16));
    assert_true(task_block_starts_at(&tracer_state, half, addr + 16));
    assert_false(task_block_starts_at(&tracer_state, half, addr));
    assert_false(task_block_starts_at(&tracer_state, 0, addr));
    /* Where a granule has one place the flag says nothing. */
    *place = 1 | 3u << 24;
    assert_true(task_block_starts_at(&tracer_state, half, addr + 16));
    assert_true(task_block_starts_at(&tracer_state, there, addr + 8));
    assert_false(task_block_starts_at(&tracer_state, there, addr + 4));
    *place = before;
}

/* --- the life of a row -------------------------------------------------------------------------- */

static void test_a_task_is_seen_before_its_first_poll(void **state)
{
    (void)state;
    struct cell *first = world_spawn(future_vtable), *second = world_spawn(future_vtable);
    assert_non_null(world_row(first));
    assert_null(world_row(second));
    tasks_settle_all(&tracer_state);
    assert_non_null(world_row(second));
    assert_int_equal(world_type(future_vtable)->live_tasks, 2);
    assert_int_equal(world_row(first)->runtime_task_id, first->id);
    assert_int_equal(world_row(first)->parent_id, world_thread()->own_task->id);
    assert_int_equal(world_row(first)->cell_bytes, sizeof(*first));
    world_drop(first);
    world_drop(second);
    assert_int_equal(world_sums(future_vtable)->ended[REGION_END_NEVER_POLLED], 2);
    assert_int_equal(world_type(future_vtable)->live_tasks, 0);
    assert_int_equal(world_type(future_vtable)->most_at_once, 2);
}

static void test_other_blocks_are_no_tasks(void **state)
{
    (void)state;
    struct cell *cell = world_spawn(future_vtable);
    struct cell dead = *cell;
    world_drop(cell);
    /* The memory of a dead cell, given to something that does not write all of it. */
    struct cell *other = (struct cell *)world_allocate(sizeof(*other), 128);
    memcpy(other, &dead, sizeof(dead));
    other->header.state = TASK_IS_COMPLETE;
    task_settle(&tracer_state, world_thread());
    assert_null(world_row(other));
    other->header.vtable = NULL; /* as the tracer leaves a dead cell */
    world_free((uintptr_t)other);
    struct cell *small = (struct cell *)world_allocate(32, 128);
    small->header.state = 64;
    small->header.vtable = future_vtable;
    task_settle(&tracer_state, world_thread());
    assert_null(world_row(small));
    world_free((uintptr_t)small);
    /* Nothing where the vtable is; the first word could be a state. */
    struct cell *empty = (struct cell *)world_allocate(sizeof(*empty), 128);
    memset(empty, 0, sizeof(*empty));
    empty->header.state = 3 << 6;
    task_settle(&tracer_state, world_thread());
    assert_null(world_row(empty));
    empty->header.state = 1;
    world_free((uintptr_t)empty);
    assert_null(task_vtable_find(NULL));
    assert_int_equal(world_sums(future_vtable)->tasks, 1);
    assert_int_equal(tracer_state.type_sums[0].tasks, 0);
}

static void test_a_poll_charges_and_the_row_is_folded_with_its_last_block(void **state)
{
    (void)state;
    struct script script = {.allocates = 1000};
    struct cell *cell = world_spawn(future_vtable);
    world_script(cell, &script);
    world_poll(cell);
    struct region_task *row = world_row(cell);
    assert_int_equal(row->polls, 1);
    assert_int_equal(row->allocated_bytes, 1000);
    assert_int_equal(row->end, REGION_END_NOT);
    assert_ptr_equal(world_thread()->task, world_thread()->own_task);
    script.completes = script.frees = true;
    uintptr_t first = script.kept;
    world_schedule(cell);
    world_poll(cell);
    assert_int_equal(row->end, REGION_END_FINISHED);
    assert_int_equal(row->cell_addr, 0);
    assert_int_equal(row->scheduled, 1);
    assert_int_equal(world_sums(future_vtable)->tasks, 0); /* two blocks are left */
    world_free(first);
    world_free(script.kept);
    const struct region_type_sums *sums = world_sums(future_vtable);
    assert_int_equal(sums->tasks, 1);
    assert_int_equal(sums->ended[REGION_END_FINISHED], 1);
    assert_int_equal(sums->polls, 2);
    assert_int_equal(sums->allocated_bytes, 2000);
    assert_int_equal(nr_used_rows(REGION_TASK_CELL), 0);
}

static void test_rows_are_used_again(void **state)
{
    (void)state;
    struct script script = {.completes = true, .frees = true};
    for (int i = 0; i < 1000; i++) {
        struct cell *cell = world_spawn(future_vtable);
        world_script(cell, &script);
        world_poll(cell);
    }
    assert_int_equal(world_sums(future_vtable)->tasks, 1000);
    assert_in_range(tracer_state.region->tables[REGION_TASKS].nr_rows, 1, 5);
}

/* --- ends --------------------------------------------------------------------------------------- */

static enum region_task_end end_of(void (*finish)(struct cell *cell, struct script *script))
{
    struct script script = {0};
    struct cell *cell = world_spawn(future_vtable);
    world_script(cell, &script);
    finish(cell, &script);
    enum region_task_end end = world_row(cell)->end;
    world_drop(cell);
    return end;
}

static void cancel(struct cell *cell, struct script *script)
{
    (void)script;
    cell->header.state |= TASK_IS_CANCELLED;
    world_schedule(cell);
    world_poll(cell);
}

static void poll_and_cancel(struct cell *cell, struct script *script)
{
    world_poll(cell);
    cancel(cell, script);
}

static void poll_and_shut_down(struct cell *cell, struct script *script)
{
    (void)script;
    world_poll(cell);
    world_shutdown(cell);
    /* It is still in a queue: that poll finds it complete. */
    world_poll(cell);
}

static void shut_down(struct cell *cell, struct script *script)
{
    (void)script;
    world_shutdown(cell);
}

static void cancel_inside(struct cell *cell, struct script *script)
{
    script->is_aborted_here = true;
    world_poll(cell);
}

static void cancel_too_late(struct cell *cell, struct script *script)
{
    world_poll(cell);
    script->completes = true;
    cell->header.state |= TASK_IS_RUNNING; /* another thread runs it when it is cancelled */
    world_shutdown(cell);
    cell->header.state &= ~(uint64_t)TASK_IS_RUNNING & ~(uint64_t)TASK_IS_CANCELLED;
    world_poll(cell);
}

static void test_ends(void **state)
{
    (void)state;
    assert_int_equal(end_of(cancel), REGION_END_NEVER_POLLED);
    assert_int_equal(end_of(poll_and_cancel), REGION_END_ABORTED);
    assert_int_equal(end_of(poll_and_shut_down), REGION_END_DROPPED);
    assert_int_equal(end_of(shut_down), REGION_END_NEVER_POLLED);
    assert_int_equal(end_of(cancel_inside), REGION_END_ABORTED);
    assert_int_equal(end_of(cancel_too_late), REGION_END_FINISHED);
    const struct region_thread *counts = world_thread()->row;
    assert_int_equal(counts->polls_cancel, 3);
    assert_int_equal(counts->polls, counts->polls_future + counts->polls_cancel);
    /* One snapshot is asked for, not one for each task. */
    assert_int_equal(tracer_state.region->answered, 1);
}

static void poll_other(void *cell)
{
    world_poll(cell);
}

static void test_polls_nest(void **state)
{
    (void)state;
    struct script inner = {.allocates = 100, .completes = true};
    struct cell *inside = world_spawn(future_vtable), *outside = world_spawn(blocking_vtable);
    struct script outer = {
        .inside = poll_other, .context = inside, .allocates = 10, .completes = true};
    world_script(inside, &inner);
    world_script(outside, &outer);
    world_poll(outside);
    assert_int_equal(world_row(inside)->allocated_bytes, 100);
    assert_int_equal(world_row(outside)->allocated_bytes, 10);
    assert_int_equal(world_thread()->row->polls_blocking, 1);
    assert_int_equal(world_thread()->row->polls_future, 1);
    world_free(inner.kept);
    world_free(outer.kept);
    world_drop(inside);
    world_drop(outside);
    assert_int_equal(nr_used_rows(REGION_TASK_CELL), 0);
}

/* --- threads ------------------------------------------------------------------------------------ */

struct meeting {
    struct cell *cell;
    uint32_t is_complete, has_freed, may_return;
};

static void wait_for(uint32_t *flag)
{
    while (!__atomic_load_n(flag, __ATOMIC_ACQUIRE))
        sched_yield();
}

static void *free_cell(void *context)
{
    struct meeting *meeting = context;
    wait_for(&meeting->is_complete);
    world_drop(meeting->cell);
    __atomic_store_n(&meeting->has_freed, 1, __ATOMIC_RELEASE);
    world_thread_end();
    return NULL;
}

/* As on tokio's way out of a poll: the task is done, the thread not yet. */
static void stay_on_the_way_out(void *context)
{
    struct meeting *meeting = context;
    __atomic_and_fetch(&meeting->cell->header.state, ~(uint64_t)TASK_IS_RUNNING, __ATOMIC_ACQ_REL);
    __atomic_or_fetch(&meeting->cell->header.state, TASK_IS_COMPLETE, __ATOMIC_ACQ_REL);
    __atomic_store_n(&meeting->is_complete, 1, __ATOMIC_RELEASE);
    for (int i = 0; i < 20000; i++)
        __builtin_ia32_pause();
    assert_int_equal(__atomic_load_n(&meeting->has_freed, __ATOMIC_ACQUIRE), 0);
}

static void test_a_free_waits_for_a_poll_on_its_way_out(void **state)
{
    (void)state;
    struct meeting meeting = {.cell = world_spawn(future_vtable)};
    struct script script = {.inside = stay_on_the_way_out, .context = &meeting};
    world_script(meeting.cell, &script);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, free_cell, &meeting), 0);
    world_poll(meeting.cell);
    pthread_join(thread, NULL);
    assert_int_equal(world_sums(future_vtable)->ended[REGION_END_FINISHED], 1);
    assert_int_equal(nr_used_rows(REGION_TASK_CELL), 0);
}

enum { NR_SHARED = 64, NR_THREADS = 4, NR_ROUNDS = 20000 };

/* Cells that any thread may take, poll, and put back. */
static struct cell *shared[NR_SHARED];
static uint64_t nr_spawned;

static void *churn(void *context)
{
    uint64_t random = (uintptr_t)context * 0x9e3779b97f4a7c15u + 1;
    uintptr_t kept = 0;
    world_thread();
    for (int i = 0; i < NR_ROUNDS; i++) {
        struct cell **place = &shared[random_below(&random, NR_SHARED)];
        struct cell *cell = __atomic_exchange_n(place, NULL, __ATOMIC_ACQ_REL);
        if (!cell) {
            cell = world_spawn(future_vtable);
            __atomic_fetch_add(&nr_spawned, 1, __ATOMIC_RELAXED);
        }
        struct script script = {.allocates = random_below(&random, 3) ? 16 : 0,
                                .completes = random_below(&random, 4) == 0};
        script.frees = script.completes;
        world_script(cell, &script);
        bool lives = random_below(&random, 50) != 0;
        if (lives)
            world_poll(cell);
        else
            world_drop(cell);
        lives = lives && !script.completes;
        if (kept)
            world_free(kept);
        kept = script.kept;
        if (lives && (cell = __atomic_exchange_n(place, cell, __ATOMIC_ACQ_REL)))
            world_drop(cell);
    }
    if (kept)
        world_free(kept);
    world_thread_end();
    return NULL;
}

static void test_many_threads_lose_nothing(void **state)
{
    (void)state;
    pthread_t threads[NR_THREADS];
    for (uintptr_t i = 0; i < NR_THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, churn, (void *)i), 0);
    for (int i = 0; i < NR_THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < NR_SHARED; i++)
        if (shared[i])
            world_drop(shared[i]);
    const struct region_type_sums *sums = world_sums(future_vtable);
    uint64_t polls = 0;
    for (uint32_t i = 1; i < tracer_state.region->tables[REGION_THREADS].nr_rows; i++)
        polls += tracer_state.threads[i].polls;
    assert_int_equal(sums->tasks, nr_spawned);
    assert_int_equal(sums->polls, polls);
    assert_int_equal(sums->ended[REGION_END_NOT], 0);
    assert_int_equal(sums->ended[REGION_END_FINISHED] + sums->ended[REGION_END_DROPPED] +
                         sums->ended[REGION_END_NEVER_POLLED],
                     nr_spawned);
    assert_int_equal(world_type(future_vtable)->live_tasks, 0);
    assert_int_equal(nr_used_rows(REGION_TASK_CELL), 0);
    assert_int_equal(nr_used_rows(REGION_TASK_THREAD), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_vtables_are_hooked_once, begin, end),
        cmocka_unit_test_setup_teardown(test_when_it_was_spawned, begin, end),
        cmocka_unit_test_setup_teardown(test_a_copied_vtable_still_works, begin, end),
        cmocka_unit_test_setup_teardown(test_where_a_block_starts, begin, end),
        cmocka_unit_test_setup_teardown(test_a_task_is_seen_before_its_first_poll, begin, end),
        cmocka_unit_test_setup_teardown(test_other_blocks_are_no_tasks, begin, end),
        cmocka_unit_test_setup_teardown(
            test_a_poll_charges_and_the_row_is_folded_with_its_last_block, begin, end),
        cmocka_unit_test_setup_teardown(test_rows_are_used_again, begin, end),
        cmocka_unit_test_setup_teardown(test_ends, begin, end),
        cmocka_unit_test_setup_teardown(test_polls_nest, begin, end),
        cmocka_unit_test_setup_teardown(test_a_free_waits_for_a_poll_on_its_way_out, begin, end),
        cmocka_unit_test_setup_teardown(test_many_threads_lose_nothing, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
