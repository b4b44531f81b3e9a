/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What a tokio runtime (or LocalSet) says of its own tasks: their number and its list of them.
 * From a cell's scheduler, an Arc of the runtime's handle, along the members that debug info
 * names: owned, in it count, lists (one for each shard) or head.  A cell is linked to its
 * neighbours by its trailer.  Source: tokio/src/runtime/task/list.rs, tokio/src/util/sharded_list.rs.
 *
 * Cells that came into a list after the scan are found here.
 */
#include <stdlib.h>

#include "process/task_cells.h"

enum { MAX_HANDLE_BYTES = 1 << 16, MAX_SHARDS = 1 << 16, MAX_ROUNDS = 1 << 20 };
enum { MAX_LISTS_BYTES = 1 << 24 };

/* --- runtimes -------------------------------------------------------------------------------- */

static uint32_t add_runtime(struct task_cells *cells, const struct task_cell *cell)
{
    const struct cell_kind *kind = &cells->kinds[cell->kind];
    const uint8_t scheduler = task_cells_task(cells, cell->kind)->scheduler_kind;
    if (scheduler == PLAN_SCHEDULER_BLOCKING ||
        (uint64_t)kind->layout.scheduler + 8 > kind->layout.read_bytes)
        return 0;
    /* Of an unknown scheduler nothing tells that this word is a pointer. */
    uint64_t addr = cell_word(cell->bytes, kind->layout.scheduler);
    if (scheduler == PLAN_SCHEDULER_UNKNOWN || !addr || addr % 8)
        return 0;
    for (size_t i = 0; i < cells->nr_runtimes; i++)
        if (cells->runtimes[i].addr == addr)
            return (uint32_t)i + 1;
    cells->runtimes = array_reserve(cells->runtimes, &cells->runtimes_capacity,
                                    cells->nr_runtimes + 1, sizeof(*cells->runtimes));
    cells->runtimes[cells->nr_runtimes] = (struct task_runtime){
        .addr = addr,
        .plan = kind->plan,
        .scheduler = scheduler,
        .owned = ~(uint64_t)0,
    };
    return (uint32_t)++cells->nr_runtimes;
}

/* Where a runtime's list is, from the start of its Arc's block on. */
struct owned_layout {
    uint64_t id, count, head, lists;  /* offsets; ~0: not there */
    uint64_t bytes;                   /* of the block */
    uint64_t shard_bytes, shard_head; /* where there are lists */
};

static bool fits(uint64_t offset, uint64_t length, uint64_t bytes)
{
    return offset == ~(uint64_t)0 || (length <= bytes && offset <= bytes - length);
}

/* Do all words lie in what is read?  What debug info says is not trusted. */
static bool words_fit(const struct owned_layout *layout)
{
    const uint64_t bytes = layout->bytes;
    return fits(layout->id, 8, bytes) && fits(layout->count, 8, bytes) &&
           fits(layout->head, 8, bytes) && fits(layout->lists, 16, bytes) &&
           (layout->lists == ~(uint64_t)0 || fits(layout->shard_head, 8, layout->shard_bytes));
}

static bool find_owned(const struct plan *plan, plan_type_id scheduler, struct owned_layout *layout)
{
    uint64_t at, data, owned, inner;
    const uint64_t none = ~(uint64_t)0;
    const struct plan_type *arc = plan_type(plan, plan_find_pointer(plan, scheduler, &at));
    const struct plan_type *block = arc ? plan_type(plan, arc->pointee) : NULL;
    if (!block || block->size_bytes > MAX_HANDLE_BYTES)
        return false;
    plan_type_id handle = plan_find_member(plan, arc->pointee, "data", &data);
    plan_type_id tasks = plan_find_member(plan, handle, "owned", &owned);
    if (!tasks.v)
        return false;
    *layout = (struct owned_layout){
        .id = none, .count = none, .head = none, .lists = none, .bytes = block->size_bytes};
    uint64_t base = data + owned;
    const struct plan_member *id = plan_member_named(plan, tasks, "id");
    if (id)
        layout->id = base + id->offset_bytes;
    if (plan_find_member(plan, tasks, "count", &inner).v)
        layout->count = base + inner;
    plan_type_id lists = plan_find_member(plan, tasks, "lists", &inner);
    if (lists.v) {
        uint64_t ptr, len, head;
        plan_type_id pointer = plan_find_member(plan, lists, "data_ptr", &ptr);
        const struct plan_type *shards = plan_type(plan, pointer);
        const struct plan_type *shard = shards ? plan_type(plan, shards->pointee) : NULL;
        bool ok = shard && plan_find_member(plan, lists, "length", &len).v && len == ptr + 8 &&
                  plan_find_member(plan, shards->pointee, "head", &head).v;
        if (ok) {
            layout->lists = base + inner + ptr;
            layout->shard_bytes = shard->size_bytes;
            layout->shard_head = head;
        }
    } else if (plan_find_member(plan, tasks, "head", &inner).v) {
        layout->head = base + inner;
    }
    return words_fit(layout);
}

/* --- lists ----------------------------------------------------------------------------------- */

/* A cell that the scan did not see, because it is new. */
static uint32_t read_new_cell(struct task_cells *cells, struct reading *reading, uint64_t addr)
{
    enum { HEADER_BYTES = 64 };
    const uint8_t *header = reading_one(reading, addr, HEADER_BYTES);
    for (uint32_t offset = 0; header && offset < HEADER_BYTES; offset += 8) {
        uint32_t kind = task_cells_kind_of(cells, cell_word(header, offset));
        if (!kind || cells->kinds[kind - 1].layout.vtable != offset)
            continue;
        return task_cells_read_one(cells, reading, addr, kind - 1);
    }
    return 0;
}

/* The row of a cell, which may be new; 0: there is none. */
static uint32_t row_at(struct task_cells *cells, struct reading *reading, uint64_t addr)
{
    const uint32_t *known = map_find(&cells->by_addr, addr);
    return known && cells->rows[*known - 1].addr ? *known : read_new_cell(cells, reading, addr);
}

/* What follows a cell in its list: *addr, 0 where it ends; false: that is not known. */
static bool next_addr(const struct task_cells *cells, struct reading *reading,
                      const struct task_cell *cell, uint64_t *addr)
{
    const struct cell_layout *layout = &cells->kinds[cell->kind].layout;
    *addr = cell->next;
    if (layout->next == OFFSET_UNKNOWN)
        return false;
    if ((uint64_t)layout->next + 8 <= layout->read_bytes)
        return true;
    const uint8_t *link = reading_one(reading, cell->addr + layout->next, 8);
    *addr = link ? cell_word(link, 0) : 0;
    return link;
}

/* From the cell at `addr` on; false when the list breaks off. */
static bool walk_list(struct task_cells *cells, struct reading *reading, uint32_t runtime,
                      uint64_t addr)
{
    uint32_t row = addr ? row_at(cells, reading, addr) : 0;
    uint64_t nr_listed = 0;
    bool whole = !addr;
    while (row && !cells->rows[row - 1].is_listed && nr_listed <= MAX_ROUNDS) {
        struct task_cell *cell = &cells->rows[row - 1];
        cell->is_listed = true;
        cell->runtime = runtime;
        nr_listed++;
        row = row <= cells->nr_links ? cells->links[row - 1] : 0;
        if (row && cells->rows[row - 1].addr)
            continue;
        if (!next_addr(cells, reading, cell, &addr))
            break;
        whole = !addr;
        row = addr ? row_at(cells, reading, addr) : 0;
    }
    cells->runtimes[runtime - 1].nr_listed += nr_listed;
    return whole;
}

static bool walk_shards(struct task_cells *cells, struct reading *reading, uint32_t runtime,
                        const struct owned_layout *layout, const uint8_t *block)
{
    uint64_t lists = cell_word(block, (uint32_t)layout->lists);
    uint64_t nr = cell_word(block, (uint32_t)layout->lists + 8);
    if (!nr || nr > MAX_SHARDS || layout->shard_bytes > MAX_LISTS_BYTES / nr)
        return false;
    const uint8_t *shards = reading_one(reading, lists, (uint32_t)(nr * layout->shard_bytes));
    bool whole = shards != NULL;
    for (uint64_t i = 0; shards && i < nr; i++)
        whole &=
            walk_list(cells, reading, runtime,
                      cell_word(shards + i * layout->shard_bytes, (uint32_t)layout->shard_head));
    return whole;
}

/* Each thread may have been between counting a task and linking it. */
static bool is_near(const struct task_cells *cells, uint64_t owned, uint64_t listed)
{
    uint64_t apart = owned > listed ? owned - listed : listed - owned;
    return apart <= cells->target->nr_threads;
}

static void read_runtime(struct task_cells *cells, struct reading *reading, uint32_t runtime,
                         plan_type_id scheduler)
{
    static const char unknown_layout[] =
        "the layout of the runtime's handle is unknown: build with debug = 2, or give snapshot a "
        "rebuild that has it with --symbols";
    struct task_runtime *row = &cells->runtimes[runtime - 1];
    struct owned_layout layout;
    row->owned_reason = unknown_layout;
    if (!find_owned(cells->plans[row->plan].plan, scheduler, &layout))
        return;
    const uint8_t *block = reading_one(reading, row->addr, (uint32_t)layout.bytes);
    row->owned_reason = NULL;
    row->is_unreadable = !block;
    if (!block)
        return;
    row->is_id_known = layout.id != ~(uint64_t)0;
    if (row->is_id_known)
        row->id = cell_word(block, (uint32_t)layout.id);
    bool whole = false;
    if (layout.lists != ~(uint64_t)0)
        whole = walk_shards(cells, reading, runtime, &layout, block);
    else if (layout.head != ~(uint64_t)0)
        whole = walk_list(cells, reading, runtime, cell_word(block, (uint32_t)layout.head));
    row = &cells->runtimes[runtime - 1];
    if (layout.count != ~(uint64_t)0)
        row->owned = cell_word(block, (uint32_t)layout.count);
    else if (whole)
        row->owned = row->nr_listed; /* of a LocalSet, which does not count */
    else
        row->owned_reason = "the runtime was changing its list of tasks; try again";
    row->is_list_whole = whole && is_near(cells, row->owned, row->nr_listed);
}

void owned_tasks_read(struct task_cells *cells, struct reading *reading)
{
    for (size_t i = 0; i < cells->nr; i++) { /* new cells come behind */
        if (!cells->rows[i].addr)
            continue;
        uint32_t runtime = cells->rows[i].runtime;
        size_t known = cells->nr_runtimes;
        if (!runtime)
            runtime = add_runtime(cells, &cells->rows[i]);
        cells->rows[i].runtime = runtime;
        if (runtime > known)
            read_runtime(cells, reading, runtime,
                         cells->kinds[cells->rows[i].kind].layout.scheduler_type);
    }
}
