/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "process/drop_frames.h"

#include <stdlib.h>

static struct addr_range cell_future(const struct task_cells *cells, const struct task_cell *cell)
{
    const struct cell_layout *layout = &cells->kinds[cell->kind].layout;
    uint32_t begin = layout->stage != OFFSET_UNKNOWN ? layout->stage : layout->id + 8;
    return (struct addr_range){cell->addr + begin, cell->addr + layout->trailer};
}

static bool is_in(const struct addr_range *range, uint64_t addr)
{
    return addr >= range->start && addr < range->end;
}

static int range_order(const void *a, const void *b)
{
    const struct addr_range *x = a, *y = b;
    if (x->start != y->start)
        return x->start < y->start ? -1 : 1;
    return x->end > y->end ? -1 : x->end < y->end;
}

/* Ranges that lie in others are left out. */
static size_t unite(struct addr_range *ranges, size_t nr)
{
    size_t kept = 0;
    qsort(ranges, nr, sizeof(*ranges), range_order);
    for (size_t i = 0; i < nr; i++) {
        if (kept && ranges[i].start < ranges[kept - 1].end) {
            if (ranges[i].end > ranges[kept - 1].end)
                ranges[kept - 1].end = ranges[i].end;
        } else {
            ranges[kept++] = ranges[i];
        }
    }
    return kept;
}

static struct addr_range frame_range(const struct task_futures *futures,
                                     const struct task_frame *frame)
{
    const struct plan_type *type = plan_type(futures->cells->plans[frame->plan].plan, frame->type);
    return (struct addr_range){frame->addr, frame->addr + (type ? type->size_bytes : 0)};
}

void drop_frames_list(struct drop_frames *frames, const struct task_futures *futures)
{
    uint32_t *positions;
    frames->cells = futures->cells;
    task_futures_by_task(futures, &frames->first, &positions);
    frames->rows = memory_alloc((futures->nr + 1) * sizeof(*frames->rows));
    for (size_t i = 0; i < futures->nr; i++)
        frames->rows[i] = frame_range(futures, &futures->frames[positions[i]]);
    free(positions);
}

struct addr_range *drop_frames_of(const struct drop_frames *frames, uint32_t task, size_t *nr)
{
    const struct addr_range *rows = &frames->rows[frames->first[task]];
    size_t nr_frames = frames->first[task + 1] - frames->first[task], kept = 0;
    struct addr_range *ranges = memory_alloc((nr_frames + 1) * sizeof(*ranges));
    struct addr_range cell = cell_future(frames->cells, &frames->cells->rows[task]);
    for (size_t i = 0; i < nr_frames; i++)
        if (!is_in(&cell, rows[i].start))
            ranges[kept++] = rows[i];
    ranges[kept++] = cell;
    *nr = unite(ranges, kept);
    return ranges;
}

void drop_frames_deinit(struct drop_frames *frames)
{
    free(frames->first);
    free(frames->rows);
    *frames = (struct drop_frames){0};
}
