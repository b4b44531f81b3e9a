/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A thread's arrays, which double when a stack is deeper than they are, and what of memory is known to be
 * readable.
 *
 * A step of an unwind over true tables reads only the live stack.  Tables can be wrong, so each
 * page that a walk comes to is asked for once; what is known stays known for as long as the thread stays on that
 * stack, though a stack may be unmapped meanwhile: only a wrong table leads from a live stack
 * out of it.
 */
#include "tracer/stack_part.h"

#include <string.h>

#include "tracer/syscalls.h"

enum { PAGE_BYTES = 4096, MAX_PAGES_APART = 16 };

static size_t arrays_bytes(uint32_t max_frames)
{
    return max_frames *
           (2 * sizeof(struct stack_frame) + STACK_FRAME_CELLS * sizeof(struct stack_cell));
}

static void place_arrays(struct stack_memory *memory, void *arrays, uint32_t max_frames)
{
    memory->frames = arrays;
    memory->fresh = memory->frames + max_frames;
    memory->cells = (struct stack_cell *)(memory->fresh + max_frames);
    memory->max_frames = max_frames;
    memory->max_cells = max_frames * STACK_FRAME_CELLS;
}

size_t stack_memory_bytes(void)
{
    return sizeof(struct stack_memory) + arrays_bytes(STACK_FIRST_FRAMES);
}

void stack_memory_init(struct stack_memory *memory)
{
    place_arrays(memory, memory->arrays, STACK_FIRST_FRAMES);
}

static __attribute__((noinline)) bool grow(struct stack_memory *memory, uint32_t nr)
{
    uint32_t max = memory->max_frames, new_max = max;
    while (new_max < nr)
        new_max *= 2;
    struct stack_frame *old = memory->frames;
    struct stack_frame *new =
        new_max <= STACK_MAX_FRAMES ? sys_map(arrays_bytes(new_max), -1) : NULL;
    if (!new)
        return false;
    uint32_t nr_frames = memory->nr_frames;
    uint32_t nr_cells = nr_frames ? stack_frame_at(memory, nr_frames)->nr_cells : 0;
    const struct stack_cell *cells = memory->cells + memory->max_cells - nr_cells;
    place_arrays(memory, new, new_max);
    memcpy(new + new_max - nr_frames, old + max - nr_frames, nr_frames * sizeof(*new));
    memcpy(memory->cells + memory->max_cells - nr_cells, cells, nr_cells * sizeof(*cells));
    memcpy(memory->fresh, old + max, max * sizeof(*new));
    if ((uint8_t *)old != memory->arrays)
        sys_unmap(old, arrays_bytes(max));
    return true;
}

bool stack_reserve(struct stack_memory *memory, uint32_t nr)
{
    return nr <= memory->max_frames || grow(memory, nr);
}

void stack_begin(struct stack_memory *memory, struct region_header *region, uint32_t generation)
{
    memory->nodes = stack_nodes_of(region);
    memory->generation = generation;
    memory->nr_frames = 0;
    memory->site = 0;
    memset(memory->readable, 0, sizeof(memory->readable));
    memset(memory->known, 0, sizeof(memory->known));
    memset(memory->path_slots, 0, sizeof(memory->path_slots));
    memory->nr_paths = 0;
}

/* Makes the range the first of the list. */
static void put_first(struct stack_memory *memory, unsigned at, struct stack_readable range)
{
    for (; at; at--)
        memory->readable[at] = memory->readable[at - 1];
    memory->readable[0] = range;
}

/* The known range that holds the page becomes the first. */
static bool find_range(struct stack_memory *memory, uintptr_t page)
{
    for (unsigned i = 0; i < STACK_READABLE_RANGES; i++) {
        struct stack_readable range = memory->readable[i];
        if (page >= range.start && page < range.end) {
            put_first(memory, i, range);
            return true;
        }
    }
    return false;
}

static void add_range(struct stack_memory *memory, uintptr_t page)
{
    put_first(memory, STACK_READABLE_RANGES - 1, (struct stack_readable){page, page + PAGE_BYTES});
}

/* The first range ends where another begins: they become one. */
static void merge(struct stack_memory *memory)
{
    struct stack_readable *first = &memory->readable[0];
    for (unsigned i = 1; i < STACK_READABLE_RANGES; i++) {
        struct stack_readable *other = &memory->readable[i];
        if (other->start == first->end && other->start) {
            first->end = other->end;
            *other = (struct stack_readable){0};
        }
    }
}

void stack_read_from(struct stack_memory *memory, uintptr_t sp)
{
    uintptr_t page = (sp - 8) & ~(uintptr_t)(PAGE_BYTES - 1);
    if (!find_range(memory, page)) {
        add_range(memory, page);
        merge(memory);
    }
}

bool stack_may_read(struct stack_memory *memory, uintptr_t addr)
{
    uintptr_t page = addr & ~(uintptr_t)(PAGE_BYTES - 1);
    if (addr & 7)
        return sys_is_readable(addr);
    struct stack_readable *first = &memory->readable[0];
    uintptr_t apart = page - first->end;
    if (apart < (uintptr_t)MAX_PAGES_APART * PAGE_BYTES) {
        while (page >= first->end) {
            if (!sys_is_readable(first->end))
                return false;
            first->end += PAGE_BYTES;
            merge(memory);
        }
        return true;
    }
    if (find_range(memory, page))
        return true;
    if (!sys_is_readable(addr))
        return false;
    add_range(memory, page);
    return true;
}
