/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What concerns several tasks or the whole heap: shared blocks, keepers of finished tasks, classes. */
#include <stdio.h>
#include <stdlib.h>

#include "model/snapshot_part.h"

static const uint8_t block_classes[NR_HEAP_CLASSES] = {
    [HEAP_CLASS_UNKNOWN] = BLOCK_UNKNOWN, [HEAP_CLASS_CELL] = BLOCK_CELL,
    [HEAP_CLASS_HELD] = BLOCK_HELD,       [HEAP_CLASS_MAYBE_HELD] = BLOCK_MAYBE_HELD,
    [HEAP_CLASS_SHARED] = BLOCK_SHARED,   [HEAP_CLASS_RUNTIME] = BLOCK_RUNTIME,
    [HEAP_CLASS_OTHER] = BLOCK_OTHER,
};

static struct snapshot_task *task_row(const struct snapshot_building *build, uint32_t cell)
{
    uint32_t id = build->tasks[cell];
    return id ? &snapshot_tasks(build->snapshot, NULL)[id - 1] : NULL;
}

/* --- which variable, for an address ---------------------------------------------------------- */

/* A slot of one of a task's frames. */
struct slot_place {
    const struct task_frame *frame;
    const struct state_slot *slot;
};

/* Frames are few for most tasks; `task` is a position in the cells. */
static struct slot_place slot_at(struct snapshot_building *build, uint32_t task, uint64_t addr)
{
    struct slot_place place = {0};
    uint64_t best_bytes = UNKNOWN_BYTES;
    const struct task_futures *futures = &build->reader->futures;
    for (uint32_t i = build->first_frame[task]; i < build->first_frame[task + 1]; i++) {
        const struct task_frame *frame = &futures->frames[build->frames[i]];
        const struct plan_type *type = plan_type(build->images[frame->plan].plan, frame->type);
        const struct state_layout *layout =
            frame->variant && addr - frame->addr < type->size_bytes && type->size_bytes < best_bytes
                ? snapshot_layout_of(build, frame)
                : NULL;
        for (uint32_t s = 0; layout && s < layout->nr_slots; s++)
            if (addr - frame->addr - layout->slots[s].offset_bytes < layout->slots[s].size_bytes) {
                place = (struct slot_place){frame, &layout->slots[s]};
                best_bytes = type->size_bytes;
            }
    }
    return place;
}

/* --- shared ---------------------------------------------------------------------------------- */

/* Arc<T> at `offset` in a value of a type: the outermost counted pointer there; id 0: none. */
static plan_type_id counted_type(const struct plan *plan, plan_type_id id, uint64_t offset)
{
    enum { MAX_STEPS = 64 };
    for (int step = 0; step < MAX_STEPS && id.v; step++) {
        const struct plan_type *type = plan_type(plan, id);
        const char *name = plan_string(plan, type->name);
        if (str_starts_with(name, "alloc::sync::Arc<") || str_starts_with(name, "alloc::rc::Rc<"))
            return id;
        const struct plan_member *members = plan_members(plan, type);
        plan_type_id inside = {0};
        for (uint32_t m = 0; m < type->nr_members && !inside.v; m++) {
            const struct plan_type *member = plan_type(plan, members[m].type);
            if (member && offset - members[m].offset_bytes < member->size_bytes) {
                offset -= members[m].offset_bytes;
                inside = members[m].type;
            }
        }
        const struct plan_variant *variants = plan_variants(plan, type);
        for (uint32_t v = 0; v < type->nr_variants && !inside.v; v++) {
            plan_type_id found = counted_type(plan, variants[v].payload, offset);
            if (found.v)
                return found;
        }
        id = inside;
    }
    return (plan_type_id){0};
}

static snapshot_str shared_type(struct snapshot_building *build, const struct drop_share *share)
{
    struct slot_place place = {0};
    if (share->from && share->from == share->place)
        place = slot_at(build, share->task, share->from);
    if (!place.slot || !place.slot->type.v)
        return (snapshot_str){0};
    const struct image_names *image = &build->images[place.frame->plan];
    plan_type_id type = counted_type(image->plan, place.slot->type,
                                     share->from - place.frame->addr - place.slot->offset_bytes);
    /* Bytes and other pointers that count by themselves: what the variable is. */
    return snapshot_type_name(build, image, type.v ? type : place.slot->type, NAME_SHORT);
}

static uint64_t parts_bytes(const struct heap_account *heap, const struct drop_shared *shared)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < shared->nr_parts; i++) {
        uint32_t block = heap->drops.parts[shared->first_part + i];
        if (heap->classes.classes[block] == HEAP_CLASS_SHARED)
            bytes += heap->blocks.rows[block].size_bytes;
    }
    return bytes;
}

static void add_sharer(struct snapshot_building *build, struct snapshot_shared *row, uint32_t cell)
{
    struct snapshot_task *task = task_row(build, cell);
    if (!task)
        return;
    struct snapshot_shared_task sharer = {build->tasks[cell]};
    uint32_t id = snapshot_add(build->snapshot, SNAPSHOT_SHARED_TASKS, &sharer);
    row->first_task = row->nr_tasks++ ? row->first_task : id;
    task->shared_bytes += row->bytes;
}

/* Shares in the order of what they share. */
static int share_order(const void *a, const void *b)
{
    const struct drop_share *const *x = a, *const *y = b;
    if ((*x)->shared != (*y)->shared)
        return (*x)->shared < (*y)->shared ? -1 : 1;
    return *x < *y ? -1 : *x > *y;
}

static void add_shared(struct snapshot_building *build)
{
    const struct heap_account *heap = &build->reader->heap;
    const struct task_drops *drops = &heap->drops;
    const struct drop_share **shares = memory_alloc((drops->nr_shares + 1) * sizeof(*shares));
    for (size_t i = 0; i < drops->nr_shares; i++)
        shares[i] = &drops->shares[i];
    qsort(shares, drops->nr_shares, sizeof(*shares), share_order);
    for (size_t i = 0, end; i < drops->nr_shares; i = end) {
        const uint32_t shared = shares[i]->shared;
        for (end = i; end < drops->nr_shares && shares[end]->shared == shared;)
            end++;
        if (!shared)
            continue;
        const struct drop_shared *source = &drops->shared[shared - 1];
        if (heap->classes.classes[source->block] != HEAP_CLASS_SHARED)
            continue;
        struct snapshot_shared row = {
            .addr = heap->blocks.rows[source->block].addr,
            .nr_owners = (uint32_t)source->nr_owners,
            .bytes = parts_bytes(heap, source),
        };
        for (size_t s = i; s < end && !row.type.v; s++)
            row.type = shared_type(build, shares[s]);
        for (size_t s = i; s < end; s++)
            add_sharer(build, &row, shares[s]->task);
        snapshot_add(build->snapshot, SNAPSHOT_SHARED, &row);
    }
    free(shares);
}

/* --- keepers --------------------------------------------------------------------------------- */

static snapshot_str root_place(struct snapshot_building *build, uint64_t addr)
{
    const struct target *target = build->reader->target;
    const struct target_image *image = target_image_at(target, addr);
    char text[512];
    if (image) {
        snprintf(text, sizeof(text), "a global of %s", image->name);
        return snapshot_intern(build, text);
    }
    for (size_t i = 0; i < target->nr_threads; i++) {
        const struct mapping *mapping = target_mapping_at(target, target->threads[i].stack_pointer);
        if (mapping && addr >= mapping->start && addr < mapping->end) {
            snprintf(text, sizeof(text), "the stack of thread %d", (int)target->threads[i].tid);
            return snapshot_intern(build, text);
        }
    }
    return snapshot_intern(build, "memory outside of the heap");
}

static void add_keeper(struct snapshot_building *build, const struct heap_keeper *keeper)
{
    const struct heap_account *heap = &build->reader->heap;
    struct snapshot_task *task = task_row(build, keeper->task);
    struct snapshot_keeper row = {.addr = keeper->addr};
    if (!task || task->status != TASK_FINISHED)
        return;
    if (keeper->block) {
        const uint32_t block = keeper->block - 1;
        const uint32_t owner = heap->classes.tasks[block];
        row.block_addr = heap->blocks.rows[block].addr;
        row.block_bytes = heap->blocks.rows[block].size_bytes;
        row.block_class = block_classes[heap->classes.classes[block]];
        row.task = owner ? build->tasks[owner - 1] : 0;
        struct slot_place place =
            owner ? slot_at(build, owner - 1, keeper->addr) : (struct slot_place){0};
        row.slot = place.slot ? snapshot_intern(build, place.slot->name) : (snapshot_str){0};
    } else {
        row.place = root_place(build, keeper->addr);
    }
    uint32_t id = snapshot_add(build->snapshot, SNAPSHOT_KEEPERS, &row);
    task->first_keeper = task->nr_keepers++ ? task->first_keeper : id;
}

/* --- classes --------------------------------------------------------------------------------- */

static void add_maybe_held(struct snapshot_building *build)
{
    const struct heap_account *heap = &build->reader->heap;
    for (size_t i = 0; i < build->reader->cells.nr; i++) {
        struct snapshot_task *task = task_row(build, (uint32_t)i);
        if (task)
            task->maybe_held_bytes = task->shared_bytes = 0;
    }
    for (size_t i = 0; i < heap->blocks.nr; i++) {
        uint32_t owner =
            heap->classes.classes[i] == HEAP_CLASS_MAYBE_HELD ? heap->classes.tasks[i] : 0;
        struct snapshot_task *task = owner ? task_row(build, owner - 1) : NULL;
        if (task)
            task->maybe_held_bytes += heap->blocks.rows[i].size_bytes;
    }
}

static const char *const allocators[NR_HEAP_ALLOCATORS] = {[HEAP_UNKNOWN] = "",
                                                           [HEAP_GLIBC] = "glibc malloc",
                                                           [HEAP_JEMALLOC] = "jemalloc",
                                                           [HEAP_MIMALLOC] = "mimalloc"};

static void add_sums(struct snapshot_building *build)
{
    const struct heap_account *heap = &build->reader->heap;
    const uint64_t *bytes = heap->classes.bytes;
    struct snapshot_heap row = {
        .live_bytes = heap->blocks.live_bytes,
        .cells_bytes = bytes[HEAP_CLASS_CELL],
        .held_bytes = bytes[HEAP_CLASS_HELD],
        .maybe_held_bytes = bytes[HEAP_CLASS_MAYBE_HELD],
        .shared_bytes = bytes[HEAP_CLASS_SHARED],
        .runtime_bytes = bytes[HEAP_CLASS_RUNTIME],
        .other_bytes = bytes[HEAP_CLASS_OTHER],
        .unknown_bytes = bytes[HEAP_CLASS_UNKNOWN],
        .retained_bytes = heap->blocks.retained_bytes,
        .rss_bytes = heap->rss_bytes,
        .nr_blocks = heap->blocks.nr,
        .fork_ns = heap->fork_ns,
        .allocator = snapshot_intern(build, allocators[heap->blocks.allocator]),
        .how = snapshot_intern(build, heap->how),
        .problem = snapshot_intern(build, heap->blocks.problem),
    };
    if (heap->blocks.is_of_tasks) /* its other blocks are not known */
        row.live_bytes = row.maybe_held_bytes = row.runtime_bytes = row.other_bytes =
            row.unknown_bytes = row.retained_bytes = UNKNOWN_BYTES;
    snapshot_add(build->snapshot, SNAPSHOT_HEAP, &row);
}

/* Why sizes and origins are not those of the tracer, though there is one. */
static void note_untraced(struct snapshot_building *build)
{
    char text[600];
    const struct task_reader *reader = build->reader;
    if (!*reader->traced.problem && (!reader->traced.is_there || reader->heap.traced))
        return;
    snprintf(text, sizeof(text),
             "the program runs under asyncmem run, but who allocated what is not shown: %s",
             *reader->traced.problem ? reader->traced.problem
                                     : "its allocator is one that the tracer does not see");
    snapshot_add_note(build, text);
}

static void note_alone(struct snapshot_building *build)
{
    char text[200];
    const struct task_drops *drops = &build->reader->heap.drops;
    size_t nr = 0;
    for (size_t i = 0; i < drops->nr_shared; i++)
        nr += drops->shared[i].is_alone;
    if (!nr)
        return;
    snprintf(text, sizeof(text),
             "of %zu shared blocks only the block itself is counted: to look for what each of them "
             "alone owns would take too long",
             nr);
    snapshot_add_note(build, text);
}

void snapshot_add_heap(struct snapshot_building *build)
{
    const struct heap_account *heap = &build->reader->heap;
    if (heap->is_there)
        note_untraced(build);
    if (!heap->is_there) {
        char text[1200];
        snprintf(text, sizeof(text), "no account of the heap was made: %s", heap->reason);
        if (*heap->reason)
            snapshot_add_note(build, text);
        return;
    }
    task_futures_by_task(&build->reader->futures, &build->first_frame, &build->frames);
    add_maybe_held(build);
    add_shared(build);
    note_alone(build);
    for (size_t i = 0; i < heap->classes.nr_keepers; i++)
        add_keeper(build, &heap->classes.keepers[i]);
    add_sums(build);
    free(build->first_frame);
    free(build->frames);
}
