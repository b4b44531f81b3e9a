/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "process/task_cells.h"

#include <stdlib.h>
#include <string.h>

#include "base/search.h"
#include "base/text.h"
#include "process/heap_chunks.h"

/* tokio's repr(C) Header since 1.21; where debug info says otherwise, that counts. */
enum { STATE_OFFSET = 0, QUEUE_NEXT_OFFSET = 8, VTABLE_OFFSET = 16, OWNER_ID_OFFSET = 24 };
enum { CELL_ALIGN_BYTES = 16, LOW_PAGES_BYTES = 1 << 16 };
enum { MAX_CELL_READ_BYTES = 4096, TRAILER_BYTES = 48 };
enum { MAX_ID_BITS = 48, MAX_REF_BITS = 24, MAX_OWNER_BITS = 40 };

/* --- layouts --------------------------------------------------------------------------------- */

static void set_offset(const struct plan *plan, plan_type_id type, uint64_t base, const char *name,
                       uint32_t *offset)
{
    const struct plan_member *member = plan_member_named(plan, type, name);
    if (member)
        *offset = (uint32_t)(base + member->offset_bytes);
}

/* Through wrappers to the enum inside. */
static plan_type_id inner_variants(const struct plan *plan, plan_type_id id, uint64_t *offset)
{
    for (int depth = 0; id.v && depth < 8; depth++) {
        const struct plan_type *type = plan_type(plan, id);
        if (type->kind == PLAN_TYPE_VARIANTS)
            return id;
        const struct plan_member *members = plan_members(plan, type);
        const struct plan_member *biggest = NULL;
        for (uint32_t m = 0; m < type->nr_members; m++) {
            const struct plan_type *own = plan_type(plan, members[m].type);
            if (own && own->size_bytes &&
                (!biggest || own->size_bytes > plan_type(plan, biggest->type)->size_bytes))
                biggest = &members[m];
        }
        if (!biggest)
            break;
        *offset += biggest->offset_bytes;
        id = biggest->type;
    }
    return (plan_type_id){0};
}

static void layout_stage(const struct plan *plan, plan_type_id core, uint64_t base,
                         struct cell_layout *layout)
{
    const struct plan_member *stage = plan_member_named(plan, core, "stage");
    uint64_t offset = stage ? base + stage->offset_bytes : 0;
    plan_type_id type = stage ? inner_variants(plan, stage->type, &offset) : (plan_type_id){0};
    if (!type.v)
        return;
    const struct plan_variant *variants = plan_variants(plan, plan_type(plan, type));
    for (uint32_t v = 0; v < plan_type(plan, type)->nr_variants; v++) {
        if (strcmp(plan_string(plan, variants[v].name), "Running") != 0)
            continue;
        const struct plan_type *payload = plan_type(plan, variants[v].payload);
        if (!payload || payload->nr_members != 1)
            return;
        layout->future = plan_members(plan, payload)->type;
        layout->stage_type = type;
        layout->stage = (uint32_t)offset;
    }
}

static void layout_cell(const struct plan *plan, const struct plan_task *task,
                        struct cell_layout *layout)
{
    *layout = (struct cell_layout){
        .state = STATE_OFFSET,
        .vtable = VTABLE_OFFSET,
        .owner_id = OWNER_ID_OFFSET,
        .id = task->id_offset,
        .scheduler = task->scheduler_offset,
        .trailer = task->trailer_offset,
        .prev = OFFSET_UNKNOWN,
        .next = OFFSET_UNKNOWN,
        .stage = OFFSET_UNKNOWN,
    };
    uint64_t bytes = (uint64_t)task->trailer_offset + TRAILER_BYTES;
    const struct plan_member *header = plan_member_named(plan, task->cell, "header");
    const struct plan_member *core = plan_member_named(plan, task->cell, "core");
    const struct plan_member *trailer = plan_member_named(plan, task->cell, "trailer");
    if (header) {
        set_offset(plan, header->type, header->offset_bytes, "state", &layout->state);
        set_offset(plan, header->type, header->offset_bytes, "vtable", &layout->vtable);
        set_offset(plan, header->type, header->offset_bytes, "owner_id", &layout->owner_id);
    }
    if (core) {
        const struct plan_member *scheduler = plan_member_named(plan, core->type, "scheduler");
        layout->scheduler_type = scheduler ? scheduler->type : (plan_type_id){0};
        layout_stage(plan, core->type, core->offset_bytes, layout);
    }
    uint64_t owned, prev, next;
    plan_type_id links =
        trailer ? plan_find_member(plan, trailer->type, "owned", &owned) : (plan_type_id){0};
    if (links.v && plan_find_member(plan, links, "prev", &prev).v &&
        plan_find_member(plan, links, "next", &next).v) {
        layout->prev = (uint32_t)(trailer->offset_bytes + owned + prev);
        layout->next = (uint32_t)(trailer->offset_bytes + owned + next);
    }
    if (task->cell.v)
        bytes = plan_type(plan, task->cell)->size_bytes;
    layout->read_bytes = bytes < MAX_CELL_READ_BYTES ? (uint32_t)bytes : MAX_CELL_READ_BYTES;
}

/* Do the words of the header lie in what is read?  What debug info says is not trusted. */
static bool header_fits(const struct cell_layout *layout)
{
    const uint32_t offsets[] = {layout->state, layout->vtable, layout->owner_id, layout->id};
    for (size_t i = 0; i < sizeof(offsets) / sizeof(*offsets); i++)
        if (layout->read_bytes < 8 || offsets[i] > layout->read_bytes - 8)
            return false;
    return layout->read_bytes >= QUEUE_NEXT_OFFSET + 8;
}

static bool leads_out(const struct process_plan *own, const struct cell_layout *layout)
{
    const struct plan_type *future = plan_type(own->plan, layout->future);
    return future && (own->types[layout->future.v - 1].follows ||
                      layout->stage + plan_type(own->plan, layout->stage_type)->size_bytes >
                          layout->read_bytes);
}

static int kind_order(const void *a, const void *b)
{
    const struct cell_kind *x = a, *y = b;
    return x->vtable < y->vtable ? -1 : x->vtable > y->vtable;
}

void task_cells_init(struct task_cells *cells, const struct target *target,
                     const struct process_plan *plans, size_t nr_plans)
{
    *cells = (struct task_cells){.target = target, .plans = plans, .nr_plans = nr_plans};
    size_t capacity = 0;
    for (uint32_t p = 0; p < nr_plans; p++) {
        const struct plan *plan = plans[p].plan;
        for (uint32_t i = 0; i < plan->nr_tasks; i++) {
            if (!plan->tasks[i].vtable_addr || plan->tasks[i].is_other_name)
                continue;
            cells->kinds =
                array_reserve(cells->kinds, &capacity, cells->nr_kinds + 1, sizeof(*cells->kinds));
            struct cell_kind *kind = &cells->kinds[cells->nr_kinds++];
            *kind = (struct cell_kind){
                .vtable = plan->tasks[i].vtable_addr + plans[p].image.bias, .plan = p, .row = i};
            layout_cell(plan, &plan->tasks[i], &kind->layout);
            kind->layout.follows = leads_out(&plans[p], &kind->layout);
            cells->nr_kinds -= !header_fits(&kind->layout);
        }
    }
    if (cells->nr_kinds)
        qsort(cells->kinds, cells->nr_kinds, sizeof(*cells->kinds), kind_order);
    map_init(&cells->by_addr);
}

void task_cells_deinit(struct task_cells *cells)
{
    free(cells->kinds);
    free(cells->candidates);
    free(cells->rows);
    free(cells->requests);
    free(cells->links);
    free(cells->runtimes);
    map_deinit(&cells->by_addr);
}

void task_cells_scan(struct task_cells *cells)
{
    if (cells->nr_kinds)
        cell_scan(cells);
}

void task_cells_make_room(struct task_cells *cells)
{
    enum { MORE_ROWS = 1024 }; /* cells that come into being until the target stands still */
    const size_t nr = cells->nr_candidates;
    cells->requests = memory_alloc_touched(nr * sizeof(*cells->requests));
    cells->links = memory_alloc_touched(nr * sizeof(*cells->links));
    cells->capacity = nr + MORE_ROWS;
    cells->rows = memory_alloc_touched(cells->capacity * sizeof(*cells->rows));
    map_reserve(&cells->by_addr, cells->capacity);
    for (size_t i = 0; i < nr; i++) {
        const struct cell_candidate *candidate = &cells->candidates[i];
        cells->requests[i] = (struct read_request){
            candidate->addr, cells->kinds[candidate->kind].layout.read_bytes, NULL};
        *map_put(&cells->by_addr, candidate->addr, NULL) = (uint32_t)i + 1;
    }
}

/* Futures in boxes come on top. */
size_t task_cells_expected_bytes(const struct task_cells *cells)
{
    uint64_t bytes = reading_bytes(cells->requests, cells->nr_candidates);
    return bytes + bytes / 2 + (1 << 20);
}

/* --- what is a task -------------------------------------------------------------------------- */

const struct plan_task *task_cells_task(const struct task_cells *cells, uint32_t kind)
{
    const struct cell_kind *row = &cells->kinds[kind];
    return &cells->plans[row->plan].plan->tasks[row->row];
}

/* glibc puts a thread's descriptor at the top of its stack's mapping. */
static bool in_stack(const struct task_cells *cells, uint64_t addr)
{
    const struct target *target = cells->target;
    const struct mapping *mapping = target_mapping_at(target, addr);
    if (!mapping)
        return false;
    if (strcmp(mapping->path, "[stack]") == 0)
        return true;
    for (size_t i = 0; i < target->nr_threads; i++) {
        const struct target_thread *thread = &target->threads[i];
        if (thread->stack_pointer < mapping->start || thread->stack_pointer >= mapping->end)
            continue;
        bool has_top =
            thread->thread_pointer > thread->stack_pointer && thread->thread_pointer < mapping->end;
        if (addr < (has_top ? thread->thread_pointer : mapping->end))
            return true;
    }
    return false;
}

/*
 * Is this the header of a cell, where only tokio's usual order says so?  In a cell of another order
 * other words lie at these places, a size of the allocator's among them.
 */
static bool has_usual_order(const struct task_cell *cell)
{
    uint64_t next = cell_word(cell->bytes, QUEUE_NEXT_OFFSET);
    return cell->addr % CELL_ALIGN_BYTES == 0 && (next == 0 || next >= LOW_PAGES_BYTES) &&
           next % 8 == 0;
}

static bool has_header(const struct task_cells *cells, const struct task_cell *cell)
{
    const struct cell_kind *kind = &cells->kinds[cell->kind];
    const uint64_t both = TOKIO_RUNNING | TOKIO_COMPLETE;
    uint64_t refs = cell->state >> TOKIO_REF_SHIFT;
    if (cell_word(cell->bytes, kind->layout.vtable) != kind->vtable || refs == 0 ||
        refs >> MAX_REF_BITS || (cell->state & both) == both || cell->id == 0 ||
        cell->id >> MAX_ID_BITS)
        return false;
    if (!task_cells_task(cells, cell->kind)->cell.v && !has_usual_order(cell))
        return false;
    const uint64_t owner = cell->owner_id;
    uint8_t scheduler = task_cells_task(cells, cell->kind)->scheduler_kind;
    /* A cell gets its owner when it has reached its place: copies on the way there have none.  Of
     * a blocking call there is no owner ever. */
    if (scheduler != PLAN_SCHEDULER_UNKNOWN &&
        (owner == 0) != (scheduler == PLAN_SCHEDULER_BLOCKING))
        return false;
    return owner ? !(owner >> MAX_OWNER_BITS) : !in_stack(cells, cell->addr);
}

uint32_t task_cells_kind_of(const struct task_cells *cells, uint64_t vtable)
{
    size_t row = SEARCH_UP_TO(cells->kinds, cells->nr_kinds, vtable, vtable);
    return row && cells->kinds[row - 1].vtable == vtable ? (uint32_t)row : 0;
}

void task_cells_add_candidate(struct task_cells *cells, uint64_t addr, uint32_t kind)
{
    cells->candidates = array_reserve(cells->candidates, &cells->candidates_capacity,
                                      cells->nr_candidates + 1, sizeof(*cells->candidates));
    cells->candidates[cells->nr_candidates++] = (struct cell_candidate){addr, kind};
}

/* True when the candidate's bytes are those of a cell. */
static bool cell_init(struct task_cell *cell, const struct task_cells *cells,
                      const struct cell_candidate *candidate, const uint8_t *bytes)
{
    const struct cell_layout *layout = &cells->kinds[candidate->kind].layout;
    *cell = (struct task_cell){
        .addr = candidate->addr,
        .kind = candidate->kind,
        .bytes = bytes,
        .state = cell_word(bytes, layout->state),
        .id = cell_word(bytes, layout->id),
        .owner_id = cell_word(bytes, layout->owner_id),
    };
    if (layout->next != OFFSET_UNKNOWN && (uint64_t)layout->next + 8 <= layout->read_bytes)
        cell->next = cell_word(bytes, layout->next);
    return has_header(cells, cell);
}

static void see_candidate(struct task_cells *cells, size_t i, const uint8_t *bytes)
{
    struct task_cell *cell = &cells->rows[i];
    if (!bytes || !cell_init(cell, cells, &cells->candidates[i], bytes))
        *cell = (struct task_cell){0};
}

/* Of candidates that were just read, by several threads at once. */
static void see_candidates(void *context, size_t first, size_t nr)
{
    enum { AHEAD = 8 };
    struct task_cells *cells = context;
    for (size_t i = first; i < first + nr; i++)
        see_candidate(cells, i, cells->requests[i].bytes);
    /* What follows each cell: a walk along a list need not look up one address after the other. */
    for (size_t i = first; i < first + nr; i++) {
        if (i + AHEAD < first + nr)
            map_prefetch(&cells->by_addr, cells->rows[i + AHEAD].next);
        const uint64_t next = cells->rows[i].addr ? cells->rows[i].next : 0;
        const uint32_t *row = next ? map_find(&cells->by_addr, next) : NULL;
        cells->links[i] = row ? *row : 0;
    }
}

static void read_candidates(struct task_cells *cells, struct reading *reading)
{
    const struct read_visitor visitor = {see_candidates, cells};
    reading_fetch_visit(reading, cells->requests, cells->nr_candidates, &visitor);
    cells->nr = cells->nr_links = cells->nr_candidates;
}

uint32_t task_cells_read_one(struct task_cells *cells, struct reading *reading, uint64_t addr,
                             uint32_t kind)
{
    const size_t i = cells->nr_candidates;
    task_cells_add_candidate(cells, addr, kind);
    cells->rows = array_reserve(cells->rows, &cells->capacity, i + 1, sizeof(*cells->rows));
    see_candidate(cells, i, reading_one(reading, addr, cells->kinds[kind].layout.read_bytes));
    cells->nr = i + 1;
    if (!cells->rows[i].addr)
        return 0;
    return *map_put(&cells->by_addr, addr, NULL) = (uint32_t)i + 1;
}

/* --- strays ---------------------------------------------------------------------------------- */

/*
 * The runtime that a cell points to has another id than the cell's owner, or has a whole list of
 * its tasks in which this one, not finished and not being dropped, is missing; or it cannot be read though its layout is
 * known: the cell is none.
 */
static bool is_stray(const struct task_cells *cells, const struct task_cell *cell,
                     const struct traced_blocks *traced)
{
    uint8_t scheduler = task_cells_task(cells, cell->kind)->scheduler_kind;
    if (scheduler == PLAN_SCHEDULER_BLOCKING || scheduler == PLAN_SCHEDULER_UNKNOWN)
        return false;
    if (!cell->runtime)
        return true; /* no runtime at such an address */
    const struct task_runtime *runtime = &cells->runtimes[cell->runtime - 1];
    if (runtime->is_unreadable || (runtime->is_id_known && runtime->id != cell->owner_id))
        return true;
    return runtime->is_list_whole && !cell->is_listed && !(cell->state & TOKIO_COMPLETE) &&
           !traced_blocks_is_dropping(traced, cell->addr);
}

static void drop_strays(struct task_cells *cells, const struct traced_blocks *traced)
{
    size_t kept = 0;
    for (size_t i = 0; i < cells->nr; i++)
        if (cells->rows[i].addr && !is_stray(cells, &cells->rows[i], traced)) {
            if (kept != i)
                cells->rows[kept] = cells->rows[i];
            kept++;
        }
    cells->nr = kept;
}

void task_cells_read(struct task_cells *cells, struct reading *reading,
                     const struct traced_blocks *traced)
{
    read_candidates(cells, reading);
    owned_tasks_read(cells, reading);
    drop_strays(cells, traced);
}

/* --- copies of finished cells ------------------------------------------------------------------ */

static int cell_order(const void *a, const void *b)
{
    const struct task_cell *const *x = a, *const *y = b;
    return (*x)->addr < (*y)->addr ? -1 : (*x)->addr > (*y)->addr;
}

/* The target runs again: only of a cell that is as it was does the heap tell something now. */
static bool is_unchanged(const struct task_cells *cells, const struct task_cell *cell)
{
    uint64_t state, addr = cell->addr + cells->kinds[cell->kind].layout.state;
    return target_read(cells->target, addr, &state, sizeof(state)) == sizeof(state) &&
           state == cell->state;
}

/* A cell is a block of its own; where a task that is in its runtime's list is none, the heap is
 * not glibc's or could not be read, and tells nothing. */
static void mark_copies(struct task_cells *cells, struct task_cell **order,
                        const enum chunk_answer *answers)
{
    for (size_t i = 0; i < cells->nr; i++)
        if (order[i]->is_listed && answers[i] == CHUNK_NONE && is_unchanged(cells, order[i]))
            return;
    for (size_t i = 0; i < cells->nr; i++)
        order[i]->is_copy =
            !order[i]->is_listed && answers[i] == CHUNK_NONE && is_unchanged(cells, order[i]);
}

/*
 * Two cells with one id: one is a copy of the other's bytes.  The runtime's list has the real one;
 * of those that are in no list the allocator's alignment speaks for one, else the first is taken.
 */
static unsigned trust(const struct task_cell *cell)
{
    return cell->is_listed * 4u + (cell->addr % 128 == 0) * 2u + (cell->addr % 16 == 0);
}

static void mark_doubles(const struct task_cells *cells, struct task_cell **order)
{
    struct map by_id; /* -> position + 1 in order */
    map_init(&by_id);
    for (size_t i = 0; i < cells->nr; i++) {
        if (order[i]->is_copy)
            continue;
        uint32_t *known =
            map_put(&by_id, hash_u64(order[i]->id, cells->kinds[order[i]->kind].plan), NULL);
        if (*known && trust(order[i]) <= trust(order[*known - 1])) {
            order[i]->is_copy = true;
            continue;
        }
        if (*known)
            order[*known - 1]->is_copy = true;
        *known = (uint32_t)i + 1;
    }
    map_deinit(&by_id);
}

void task_cells_mark_copies(struct task_cells *cells)
{
    struct task_cell **order = memory_alloc((cells->nr + 1) * sizeof(*order));
    uint64_t *blocks = memory_alloc((cells->nr + 1) * sizeof(*blocks));
    enum chunk_answer *answers = memory_alloc((cells->nr + 1) * sizeof(*answers));
    bool has_unlisted = false, is_sorted = true;
    for (size_t i = 0; i < cells->nr; i++) {
        order[i] = &cells->rows[i];
        has_unlisted |= !cells->rows[i].is_listed;
        is_sorted &= !i || cells->rows[i - 1].addr < cells->rows[i].addr;
    }
    if (!is_sorted) /* mostly they are: the scan goes from address to address */
        qsort(order, cells->nr, sizeof(*order), cell_order);
    for (size_t i = 0; i < cells->nr; i++)
        blocks[i] = order[i]->addr;
    if (has_unlisted) {
        heap_chunks_look_up(cells->target, blocks, cells->nr, answers);
        mark_copies(cells, order, answers);
    }
    mark_doubles(cells, order);
    free(order);
    free(blocks);
    free(answers);
}
