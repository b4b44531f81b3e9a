/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * How many tasks of each type ended at which await, of those whose rows are gone: rows of
 * REGION_AWAIT_ENDS, found again by a hash table of the tracer's own.
 */
#include "tracer/tasks_part.h"

#include <sys/mman.h>

enum { SLOTS_LOG2 = 17, MAX_PROBES = 64 };

static uint32_t *slots; /* row of REGION_AWAIT_ENDS, or 0; atomic */

static uint32_t *slots_get(void)
{
    uint32_t *known = __atomic_load_n(&slots, __ATOMIC_ACQUIRE);
    if (known)
        return known;
    size_t bytes = sizeof(*slots) << SLOTS_LOG2;
    uint32_t *made = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (made == MAP_FAILED)
        return NULL;
    if (__atomic_compare_exchange_n(&slots, &known, made, false, __ATOMIC_RELEASE,
                                    __ATOMIC_ACQUIRE))
        return made;
    munmap(made, bytes);
    return known;
}

static bool is_same(const struct region_await_end *row, const struct region_task *task)
{
    return row->type == task->type && row->await == task->await && row->end == task->end;
}

/* The row for the task's end; NULL: no room. */
static struct region_await_end *row_of(struct tracer *tracer, const struct region_task *task)
{
    struct region_await_end *rows = region_table_rows(tracer->region, REGION_AWAIT_ENDS);
    uint32_t *table = slots_get();
    uint64_t hash =
        ((uint64_t)task->await << 32 | task->type << 4 | task->end) * 0x9e3779b97f4a7c15u;
    uint32_t made = 0;
    for (uint32_t probe = 0; table && probe < MAX_PROBES; probe++) {
        uint32_t *slot = &table[((hash >> (64 - SLOTS_LOG2)) + probe) % (1u << SLOTS_LOG2)];
        uint32_t id = __atomic_load_n(slot, __ATOMIC_ACQUIRE); /* pairs with the exchange below */
        if (!id) {
            if (!made && !(made = region_row_new(tracer->region, REGION_AWAIT_ENDS)))
                return NULL;
            rows[made] = (struct region_await_end){
                .type = task->type, .await = task->await, .end = task->end};
            if (__atomic_compare_exchange_n(slot, &id, made, false, __ATOMIC_RELEASE,
                                            __ATOMIC_ACQUIRE))
                return &rows[made];
        }
        if (is_same(&rows[id], task))
            return &rows[id];
    }
    lost_add(tracer->region, LOST_TABLE_FULL);
    return NULL;
}

void task_count_await_end(struct tracer *tracer, const struct region_task *task)
{
    if (task->end == REGION_END_NOT || task->end == REGION_END_FINISHED ||
        task->end == REGION_END_THREAD)
        return;
    struct region_await_end *row = row_of(tracer, task);
    if (row)
        __atomic_fetch_add(&row->tasks, 1, __ATOMIC_RELAXED);
}
