/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A thread that tokio has entered a runtime on names it in its thread-local memory (CONTEXT,
 * tokio/src/runtime/context.rs) and, as a worker, on its stack.  The first is looked for first: a stack
 * may only own a runtime.
 *
 * The program's thread-local memory lies just below the thread pointer (ELF TLS, variant II).
 */
#include "process/drop_threads.h"

#include <stdlib.h>

#include "base/memory.h"

enum {
    LOCAL_BYTES = 16 << 10,  /* thread-local memory of a program, as a rule */
    STACK_BYTES = 256 << 10, /* of a stack that waits */
    SYSCALL_BYTES = 2,
};

/* How well a thread fits; 0: it is not the runtime's. */
enum { FIT_STACK = 1, FIT_LOCAL = 2, FIT_IDLE = 1, FIT_NOT_FIRST = 4 };

/* It waits in a system call: what it keeps in its own memory is complete. */
static bool is_idle(const struct target *target, const struct target_thread *thread)
{
    static const uint8_t syscall_code[SYSCALL_BYTES] = {0x0f, 0x05};
    uint8_t code[SYSCALL_BYTES] = {0};
    return target_read(target, thread->pc - sizeof(code), code, sizeof(code)) == sizeof(code) &&
           memcmp(code, syscall_code, sizeof(code)) == 0;
}

/* How far below the thread pointer the word stands, in bytes; 0: nowhere. */
static size_t distance_of(const struct target *target, const struct target_thread *thread,
                          uint64_t word, uint64_t *words)
{
    const struct mapping *mapping = target_mapping_at(target, thread->thread_pointer);
    uint64_t top = thread->thread_pointer & ~(uint64_t)7;
    if (!mapping || top - mapping->start < 8)
        return 0;
    uint64_t start = top - mapping->start > STACK_BYTES ? top - STACK_BYTES : mapping->start;
    if (thread->stack_pointer > start && thread->stack_pointer < top)
        start = thread->stack_pointer & ~(uint64_t)7;
    size_t nr = target_read(target, start, words, top - start) / 8;
    for (size_t i = nr; i-- > 0;)
        if (words[i] == word)
            return top - (start + 8 * i);
    return 0;
}

struct looking {
    const struct task_cells *cells;
    uint64_t runtime; /* its address */
    bool has_workers;
    uint64_t *words; /* room */
};

static unsigned fit_of(const struct looking *looking, size_t number)
{
    const struct target *target = looking->cells->target;
    const struct target_thread *thread = &target->threads[number];
    size_t distance =
        thread->thread_pointer ? distance_of(target, thread, looking->runtime, looking->words) : 0;
    if (!distance)
        return 0;
    unsigned fit = 2 * (distance <= LOCAL_BYTES ? FIT_LOCAL : FIT_STACK) +
                   (is_idle(target, thread) ? FIT_IDLE : 0);
    /* A first thread that waits in block_on has entered the runtime, but its workers end its tasks. */
    return fit + (looking->has_workers && number ? 2 * FIT_NOT_FIRST : 0);
}

/* Keeps them in the order of their fit, the best first. */
static void put(struct drop_threads *threads, unsigned *fits, uint64_t pointer, unsigned fit)
{
    unsigned at = threads->nr < MAX_DROP_THREADS ? threads->nr++ : MAX_DROP_THREADS - 1;
    if (threads->nr == MAX_DROP_THREADS && at == MAX_DROP_THREADS - 1 && fits[at] >= fit)
        return;
    for (; at && fits[at - 1] < fit; at--) {
        fits[at] = fits[at - 1];
        threads->pointers[at] = threads->pointers[at - 1];
    }
    fits[at] = fit;
    threads->pointers[at] = pointer;
}

/* Only those that fit as the best does, idle or not, end its tasks. */
static void leave_best(struct drop_threads *threads, const unsigned *fits)
{
    unsigned kept = 0;
    while (kept < threads->nr && fits[kept] / 2 == fits[0] / 2)
        kept++;
    threads->nr = kept;
    threads->are_known = true;
}

/* The first and the last: what is the same for these is so for many. */
static void take_any(struct drop_threads *threads, const struct target *target)
{
    threads->nr = 1;
    threads->pointers[0] = target->nr_threads ? target->threads[0].thread_pointer : 0;
    for (size_t i = target->nr_threads; i-- > 1 && threads->nr < MAX_DROP_THREADS;)
        if (target->threads[i].thread_pointer)
            threads->pointers[threads->nr++] = target->threads[i].thread_pointer;
}

static void find_for(const struct looking *looking, struct drop_threads *threads)
{
    const struct target *target = looking->cells->target;
    unsigned fits[MAX_DROP_THREADS] = {0};
    for (size_t i = 0; looking->runtime && i < target->nr_threads; i++) {
        unsigned fit = fit_of(looking, i);
        if (fit)
            put(threads, fits, target->threads[i].thread_pointer, fit);
    }
    if (threads->nr)
        leave_best(threads, fits);
    else
        take_any(threads, target);
}

/* Without debug info a task's runtime is what stands where a scheduler does. */
static uint64_t runtime_of(const struct task_cells *cells, const struct task_cell *cell)
{
    const struct cell_layout *layout = &cells->kinds[cell->kind].layout;
    if (cell->runtime)
        return cells->runtimes[cell->runtime - 1].addr;
    return (uint64_t)layout->scheduler + 8 <= layout->read_bytes
               ? cell_word(cell->bytes, layout->scheduler)
               : 0;
}

static void add(struct drop_threads_table *table, const struct looking *looking)
{
    enum { MAX_RUNTIMES = 256 };
    bool is_new;
    uint32_t *row = map_put(&table->by_runtime, looking->runtime, &is_new);
    if (!is_new)
        return;
    *row = 1; /* of those that are not looked for */
    if (table->nr == MAX_RUNTIMES)
        return;
    table->rows = array_reserve(table->rows, &table->capacity, table->nr + 1, sizeof(*table->rows));
    table->rows[table->nr] = (struct drop_threads){0};
    find_for(looking, &table->rows[table->nr++]);
    *row = (uint32_t)table->nr;
}

void drop_threads_find(struct drop_threads_table *table, const struct task_cells *cells)
{
    *table = (struct drop_threads_table){.cells = cells};
    map_init(&table->by_runtime);
    struct looking looking = {.cells = cells, .words = memory_alloc(STACK_BYTES)};
    add(table, &looking); /* the unknown one */
    for (size_t i = 0; i < cells->nr; i++) {
        const struct task_cell *cell = &cells->rows[i];
        const struct task_runtime *runtime =
            cell->runtime ? &cells->runtimes[cell->runtime - 1] : NULL;
        looking.runtime = runtime_of(cells, cell);
        looking.has_workers = runtime && runtime->scheduler == PLAN_SCHEDULER_MULTI_THREAD;
        add(table, &looking);
    }
    free(looking.words);
}

void drop_threads_deinit(struct drop_threads_table *table)
{
    map_deinit(&table->by_runtime);
    free(table->rows);
    *table = (struct drop_threads_table){0};
}

const struct drop_threads *drop_threads_of(const struct drop_threads_table *table,
                                           const struct task_cell *cell)
{
    const uint32_t *row = map_find(&table->by_runtime, runtime_of(table->cells, cell));
    return &table->rows[row ? *row - 1 : 0];
}
