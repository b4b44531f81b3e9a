/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "process/heap_keepers.h"

#include <stdlib.h>

#include "process/task_futures.h"

/* More than are kept: those that are found twice are dropped later.  The first by address stay where
 * there are not more than this. */
enum { MAX_FOUND = 64 };

static bool is_finished(const struct task_cell *cell)
{
    return cell->addr && !cell->is_copy && (cell->state & TOKIO_COMPLETE);
}

void heap_keepers_init(struct heap_keepers *keepers, const struct task_cells *cells,
                       const struct heap_classes *classes)
{
    *keepers = (struct heap_keepers){.cells = cells, .classes = classes};
    pthread_mutex_init(&keepers->lock, NULL);
    keepers->found = memory_alloc(cells->nr);
    for (size_t i = 0; i < cells->nr; i++)
        keepers->nr_finished += is_finished(&cells->rows[i]);
}

bool heap_keepers_are_wanted(const struct heap_keepers *keepers)
{
    return keepers->nr_finished > 0;
}

bool heap_cell_has(const struct task_cells *cells, const struct task_cell *cell, uint64_t addr)
{
    const struct cell_layout *layout = &cells->kinds[cell->kind].layout;
    uint64_t start = layout->stage != OFFSET_UNKNOWN ? layout->stage : layout->id + UINT64_C(8);
    uint64_t offset = addr - cell->addr;
    if (addr < cell->addr || offset < start || offset >= layout->trailer)
        return false;
    return !((cell->state & TOKIO_COMPLETE) && task_output_is_gone(cells, cell));
}

/* In its trailer a cell has the waker of who waits for it, beside the links of its runtime's list. */
static bool is_trailer_waker(const struct task_cells *cells, const struct task_cell *cell,
                             uint64_t addr)
{
    const struct cell_layout *layout = &cells->kinds[cell->kind].layout;
    uint64_t offset = addr - cell->addr;
    return addr >= cell->addr && offset >= layout->trailer && layout->next != OFFSET_UNKNOWN &&
           offset != layout->next && offset != layout->prev;
}

static bool keeps(const struct heap_keepers *keepers, const struct heap_reference *reference)
{
    const struct heap_classes *classes = keepers->classes;
    const uint32_t from = reference->from;
    if (!from || classes->classes[from - 1] != HEAP_CLASS_CELL)
        return true;
    const struct task_cell *cell = &keepers->cells->rows[classes->tasks[from - 1] - 1];
    return heap_cell_has(keepers->cells, cell, reference->addr) ||
           is_trailer_waker(keepers->cells, cell, reference->addr);
}

void heap_keepers_see(struct heap_keepers *keepers, const struct heap_reference *reference)
{
    const uint32_t task = keepers->classes->tasks[reference->to] - 1;
    const struct task_cell *cell = &keepers->cells->rows[task];
    if (reference->value != cell->addr || !is_finished(cell) || !keeps(keepers, reference))
        return;
    pthread_mutex_lock(&keepers->lock);
    if (keepers->found[task] < MAX_FOUND) {
        keepers->found[task]++;
        keepers->rows = array_reserve(keepers->rows, &keepers->capacity, keepers->nr + 1,
                                      sizeof(*keepers->rows));
        keepers->rows[keepers->nr++] = (struct heap_keeper){task, reference->from, reference->addr};
    }
    pthread_mutex_unlock(&keepers->lock);
}

static int by_task_and_addr(const void *a, const void *b)
{
    const struct heap_keeper *x = a, *y = b;
    if (x->task != y->task)
        return x->task < y->task ? -1 : 1;
    return (x->addr > y->addr) - (x->addr < y->addr);
}

void heap_keepers_finish(struct heap_keepers *keepers, struct heap_classes *classes)
{
    size_t kept = 0, of_task = 0;
    struct heap_keeper *rows = keepers->rows;
    if (keepers->nr)
        qsort(rows, keepers->nr, sizeof(*rows), by_task_and_addr);
    for (size_t i = 0; i < keepers->nr; i++) {
        const bool is_first = !kept || rows[kept - 1].task != rows[i].task;
        if (is_first)
            of_task = 0;
        else if (of_task == MAX_KEEPERS || rows[kept - 1].addr == rows[i].addr)
            continue;
        rows[kept++] = rows[i];
        of_task++;
    }
    classes->keepers = rows;
    classes->nr_keepers = kept;
    classes->keepers_capacity = keepers->capacity;
    pthread_mutex_destroy(&keepers->lock);
    free(keepers->found);
}
