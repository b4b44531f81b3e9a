/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "process/drop_cell.h"

enum {
    NR_SLOTS = 7, /* functions at the beginning of a vtable, tokio/src/runtime/task/raw.rs */
    USUAL_SLOT = 2,
};
/* More references than any task has. */
#define MANY_REFS ((uint64_t)1 << 40)

bool drop_cell_can_run(const struct task_cell *cell)
{
    return !cell->is_copy && !(cell->state & TOKIO_RUNNING);
}

void drop_cell_set_usual(struct drop_run *run, const struct drop_threads_table *threads,
                         const struct task_cell *cell)
{
    drop_run_set(run,
                 &(struct drop_circumstances){drop_threads_of(threads, cell)->pointers[0], false});
}

enum emulator_end drop_cell_call(struct drop_run *run, const struct cell_layout *layout,
                                 const struct task_cell *cell, uint64_t function,
                                 uint64_t max_instructions)
{
    uint64_t state = (cell->state & ((1 << TOKIO_REF_SHIFT) - 1)) | MANY_REFS << TOKIO_REF_SHIFT;
    emulator_write(run->emulator, cell->addr + layout->state, &state, sizeof(state));
    return emulator_run(run->emulator, function, &cell->addr, 1, max_instructions);
}

uint64_t drop_cell_find_dealloc(const struct task_cells *cells, const struct task_cell *cell,
                                drop_cell_try_fn *try_function, void *context)
{
    static const uint8_t order[NR_SLOTS] = {USUAL_SLOT, 1, 3, 4, 5, 6, 0};
    uint64_t words[NR_SLOTS], vtable = cells->kinds[cell->kind].vtable;
    if (target_read(cells->target, vtable, words, sizeof(words)) != sizeof(words))
        return 0;
    for (unsigned i = 0; i < NR_SLOTS; i++)
        if (try_function(context, cell, words[order[i]], order[i] == USUAL_SLOT))
            return words[order[i]];
    return 0;
}
