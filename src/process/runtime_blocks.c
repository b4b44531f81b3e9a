/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "process/runtime_blocks.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

enum { MAX_DEPTH = 24, MAX_VALUE_BYTES = 1 << 20, MAX_STEPS = 1 << 26 };
/* An Arc points to what follows its two counts, at the place that its alignment asks for. */
enum { MAX_DATA_OFFSET = 128 };
/* malloc rounds up to 16 bytes, and gives a rest along that is too small for a chunk. */
enum { SLACK_BYTES = 48 };

/* Values of one type, side by side, from a place in a block on. */
struct value_row {
    uint64_t addr;
    plan_type_id type;
    uint32_t plan; /* position in cells->plans */
    uint64_t nr;
};

struct runtime_walk {
    struct runtime_blocks *found;
    const struct task_cells *cells;
    const struct heap_blocks *blocks;
    runtime_may_fn *may;
    const void *context;
    uint64_t *seen; /* a bit for each block */
    struct value_row *rows;
    size_t nr, capacity;
    uint64_t steps;
    /* The one that is walked: */
    const struct plan *plan;
    uint32_t plan_number;
    uint8_t *bytes; /* MAX_VALUE_BYTES */
    uint64_t nr_bytes;
};

/* A value inside of the bytes. */
struct place {
    plan_type_id type;
    uint64_t offset;
    int depth;
};

/* --- pointers ------------------------------------------------------------------------------------ */

static bool take(struct runtime_walk *walk, uint32_t block, bool is_buffer)
{
    uint64_t *word = &walk->seen[block / 64], bit = (uint64_t)1 << (block % 64);
    if (*word & bit || !walk->may(walk->context, block))
        return false;
    *word |= bit;
    struct runtime_blocks *found = walk->found;
    found->rows = array_reserve(found->rows, &found->capacity, found->nr + 1, sizeof(*found->rows));
    found->rows[found->nr++] = (struct runtime_block){block, is_buffer};
    return true;
}

static void push(struct runtime_walk *walk, uint64_t addr, plan_type_id type, uint64_t nr)
{
    walk->rows = array_reserve(walk->rows, &walk->capacity, walk->nr + 1, sizeof(*walk->rows));
    walk->rows[walk->nr++] = (struct value_row){addr, type, walk->plan_number, nr};
}

/* Was a block of this size asked for to hold so many bytes? */
static bool fits(const struct runtime_walk *walk, uint64_t size, uint64_t bytes)
{
    uint64_t slack = SLACK_BYTES + (walk->blocks->allocator == HEAP_GLIBC ? 0 : bytes / 4);
    return bytes && bytes <= size && size - bytes < slack;
}

static uint64_t word_at(const struct runtime_walk *walk, uint64_t offset)
{
    uint64_t word = 0;
    if (walk->nr_bytes >= 8 && offset <= walk->nr_bytes - 8)
        memcpy(&word, walk->bytes + offset, sizeof(word));
    return word;
}

/* An Arc's counts, of owners and of weak ones, both of which a living block has. */
static bool has_counts(const struct runtime_walk *walk, uint64_t addr)
{
    uint64_t counts[2];
    return target_read(walk->cells->target, addr, counts, sizeof(counts)) == sizeof(counts) &&
           counts[0] - 1 < INT32_MAX && counts[1] - 1 < INT32_MAX;
}

static void see_pointer(struct runtime_walk *walk, uint64_t addr, plan_type_id pointee)
{
    const struct plan_type *type = plan_type(walk->plan, pointee);
    uint32_t found = type ? heap_blocks_find(walk->blocks, addr) : 0;
    if (!found)
        return;
    const struct heap_block *block = &walk->blocks->rows[found - 1];
    uint64_t offset = addr - block->addr;
    if (offset % 16 || offset > MAX_DATA_OFFSET || type->size_bytes > MAX_VALUE_BYTES ||
        !type->size_bytes || !fits(walk, block->size_bytes, offset + type->size_bytes) ||
        (offset && !has_counts(walk, block->addr)))
        return;
    if (take(walk, found - 1, false))
        push(walk, addr, pointee, 1);
}

/* `room` elements have place, the first `nr` are there. */
static void see_buffer(struct runtime_walk *walk, uint64_t addr, plan_type_id element,
                       const uint64_t counts[2])
{
    const struct plan_type *type = plan_type(walk->plan, element);
    const uint64_t room = counts[0], nr = counts[1] < room ? counts[1] : room;
    uint64_t bytes;
    uint32_t found = type ? heap_blocks_find(walk->blocks, addr) : 0;
    if (!found || walk->blocks->rows[found - 1].addr != addr ||
        __builtin_mul_overflow(room, type->size_bytes, &bytes) ||
        !fits(walk, walk->blocks->rows[found - 1].size_bytes, bytes))
        return;
    if (take(walk, found - 1, true) && nr)
        push(walk, addr, element, nr);
}

/* --- values -------------------------------------------------------------------------------------- */

static void see_value(struct runtime_walk *walk, struct place place);

static void see_members(struct runtime_walk *walk, const struct plan_type *type, struct place place)
{
    const struct plan_member *members = plan_members(walk->plan, type);
    for (uint32_t m = 0; m < type->nr_members; m++)
        see_value(walk, (struct place){members[m].type, place.offset + members[m].offset_bytes,
                                       place.depth + 1});
}

/* Vec and VecDeque: which elements of a ring are there is not looked at. */
static bool see_vec(struct runtime_walk *walk, const struct plan_type *type, struct place place)
{
    enum { SEARCH_STEPS = 4096 };
    uint64_t at, room, length;
    if (!type->pointee.v)
        return false;
    walk->steps += SEARCH_STEPS;
    if (!plan_find_pointer(walk->plan, place.type, &at).v ||
        !plan_find_member(walk->plan, place.type, "cap", &room).v ||
        !plan_find_member(walk->plan, place.type, "len", &length).v)
        return false;
    bool is_vec = str_starts_with(plan_string(walk->plan, type->name), "alloc::vec::Vec<");
    const uint64_t counts[2] = {word_at(walk, place.offset + room),
                                is_vec ? word_at(walk, place.offset + length) : 0};
    see_buffer(walk, word_at(walk, place.offset + at), type->pointee, counts);
    return true;
}

static void see_struct(struct runtime_walk *walk, const struct plan_type *type, struct place place)
{
    const struct plan_member *data = plan_member_named(walk->plan, place.type, "data_ptr");
    const struct plan_member *length = plan_member_named(walk->plan, place.type, "length");
    const struct plan_type *pointer = data ? plan_type(walk->plan, data->type) : NULL;
    if (pointer && length && type->size_bytes == 16) {
        uint64_t nr = word_at(walk, place.offset + length->offset_bytes);
        const uint64_t counts[2] = {nr, nr};
        see_buffer(walk, word_at(walk, place.offset + data->offset_bytes), pointer->pointee,
                   counts);
        return;
    }
    if (!see_vec(walk, type, place))
        see_members(walk, type, place);
}

/* Of an enum all variants: a pointer that is none fits no block. */
static void see_variants(struct runtime_walk *walk, const struct plan_type *type,
                         struct place place)
{
    const struct plan_variant *variants = plan_variants(walk->plan, type);
    see_members(walk, type, place);
    for (uint32_t v = 0; v < type->nr_variants; v++)
        see_value(walk, (struct place){variants[v].payload, place.offset, place.depth + 1});
}

static void see_elements(struct runtime_walk *walk, const struct plan_type *type,
                         struct place place)
{
    const struct plan_type *element = plan_type(walk->plan, type->element);
    if (!element || !element->size_bytes)
        return;
    for (uint64_t i = 0; i < type->count && place.offset < walk->nr_bytes; i++) {
        see_value(walk, (struct place){type->element, place.offset, place.depth + 1});
        place.offset += element->size_bytes;
    }
}

/* Unions are passed over: nothing says what is in them. */
static void see_value(struct runtime_walk *walk, struct place place)
{
    const struct plan_type *type = plan_type(walk->plan, place.type);
    if (++walk->steps > MAX_STEPS || !type || type->size_bytes < 8 ||
        place.offset >= walk->nr_bytes || place.depth > MAX_DEPTH)
        return;
    switch ((enum plan_type_kind)type->kind) {
    case PLAN_TYPE_POINTER:
        see_pointer(walk, word_at(walk, place.offset), type->pointee);
        break;
    case PLAN_TYPE_STRUCT:
        see_struct(walk, type, place);
        break;
    case PLAN_TYPE_VARIANTS:
        see_variants(walk, type, place);
        break;
    case PLAN_TYPE_ARRAY:
        see_elements(walk, type, place);
        break;
    default:
        break;
    }
}

static void see_row(struct runtime_walk *walk, const struct value_row *row)
{
    walk->plan_number = row->plan;
    walk->plan = walk->cells->plans[row->plan].plan;
    const struct plan_type *type = plan_type(walk->plan, row->type);
    uint64_t bytes;
    if (__builtin_mul_overflow(type->size_bytes, row->nr, &bytes) || bytes > MAX_VALUE_BYTES)
        bytes = MAX_VALUE_BYTES;
    walk->nr_bytes = target_read(walk->cells->target, row->addr, walk->bytes, bytes);
    for (uint64_t i = 0, at = 0; i < row->nr && at < walk->nr_bytes; i++, at += type->size_bytes)
        see_value(walk, (struct place){row->type, at, 0});
}

/* --- runtimes ------------------------------------------------------------------------------------ */

/* What is in the block of each runtime's Arc: by the type of a scheduler that points to it. */
static plan_type_id *handle_types(const struct task_cells *cells)
{
    plan_type_id *types = memory_alloc(cells->nr_runtimes * sizeof(*types));
    for (size_t i = 0; i < cells->nr; i++) {
        const uint32_t runtime = cells->rows[i].runtime;
        const struct cell_kind *kind = &cells->kinds[cells->rows[i].kind];
        if (!runtime || types[runtime - 1].v || kind->plan != cells->runtimes[runtime - 1].plan)
            continue;
        const struct plan *plan = cells->plans[kind->plan].plan;
        uint64_t at;
        const struct plan_type *arc =
            plan_type(plan, plan_find_pointer(plan, kind->layout.scheduler_type, &at));
        if (arc)
            types[runtime - 1] = arc->pointee;
    }
    return types;
}

static void push_handles(struct runtime_walk *walk)
{
    const struct task_cells *cells = walk->cells;
    plan_type_id *types = handle_types(cells);
    for (size_t i = 0; i < cells->nr_runtimes; i++) {
        const struct task_runtime *runtime = &cells->runtimes[i];
        uint32_t block = heap_blocks_find(walk->blocks, runtime->addr);
        walk->plan_number = runtime->plan;
        if (block && take(walk, block - 1, false) && types[i].v)
            push(walk, runtime->addr, types[i], 1);
    }
    free(types);
}

void runtime_blocks_read(struct runtime_blocks *found, const struct task_cells *cells,
                         const struct heap_blocks *blocks, runtime_may_fn *may, const void *context)
{
    struct runtime_walk walk = {
        .found = found, .cells = cells, .blocks = blocks, .may = may, .context = context};
    *found = (struct runtime_blocks){0};
    walk.seen = memory_alloc(blocks->nr / 8 + 8);
    walk.bytes = memory_alloc(MAX_VALUE_BYTES);
    push_handles(&walk);
    while (walk.nr) {
        const struct value_row row = walk.rows[--walk.nr];
        see_row(&walk, &row);
    }
    free(walk.rows);
    free(walk.bytes);
    free(walk.seen);
}

void runtime_blocks_deinit(struct runtime_blocks *found)
{
    free(found->rows);
    *found = (struct runtime_blocks){0};
}
