/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "process/heap_chunks.h"

#include <stdlib.h>
#include <string.h>

enum {
    HEADER_BYTES = 16,
    MIN_CHUNK_BYTES = 32,
    PREVIOUS_IN_USE = 1,
    FLAGS = 7,
    WINDOW_BYTES = 1 << 20,
};
#define HEAP_MAX_BYTES ((uint64_t)64 << 20)

/* Memory of one mapping, a window at a time. */
struct heap {
    const struct target *target;
    const struct mapping *mapping;
    uint8_t *window; /* WINDOW_BYTES */
    uint64_t window_addr;
    size_t window_size;
};

static bool word_at(struct heap *heap, uint64_t addr, uint64_t *word)
{
    if (addr < heap->window_addr || addr + 8 > heap->window_addr + heap->window_size) {
        uint64_t left = heap->mapping->end - addr;
        heap->window_addr = addr;
        heap->window_size = target_read(heap->target, addr, heap->window,
                                        left < WINDOW_BYTES ? left : WINDOW_BYTES);
        if (heap->window_size < 8)
            return false;
    }
    memcpy(word, heap->window + (addr - heap->window_addr), 8);
    return true;
}

/* The chunk behind `chunk`; 0: none, the heap ends or what is there is no chunk. */
static uint64_t next_chunk(struct heap *heap, uint64_t chunk)
{
    uint64_t size;
    if (chunk + HEADER_BYTES > heap->mapping->end || !word_at(heap, chunk + 8, &size))
        return 0;
    uint64_t bytes = size & ~(uint64_t)FLAGS;
    if (bytes < MIN_CHUNK_BYTES || bytes % 16 || bytes > heap->mapping->end - chunk)
        return 0;
    return chunk + bytes;
}

static bool leads_on(struct heap *heap, uint64_t chunk)
{
    enum { STEPS = 16 };
    for (int i = 0; i < STEPS; i++) {
        uint64_t next = next_chunk(heap, chunk);
        if (!next)
            return false;
        if (next == heap->mapping->end)
            break;
        chunk = next;
    }
    return true;
}

/* Where the first chunk of the mapping is; 0: it is no heap. */
static uint64_t first_chunk(struct heap *heap)
{
    enum { MAX_STATE_BYTES = 4096 };
    const struct mapping *mapping = heap->mapping;
    if (strcmp(mapping->path, "[heap]") == 0)
        return mapping->start;
    if (mapping->start % HEAP_MAX_BYTES || mapping->path[0])
        return 0;
    /* heap_info, and in an arena's first heap the arena itself, lie before the chunks. */
    uint64_t arena;
    if (!word_at(heap, mapping->start, &arena) || !arena)
        return 0;
    for (uint64_t offset = HEADER_BYTES; offset < MAX_STATE_BYTES; offset += 16)
        if (leads_on(heap, mapping->start + offset))
            return mapping->start + offset;
    return 0;
}

/* Answers for the blocks in this mapping. */
static void walk_heap(struct heap *heap, const uint64_t *blocks, size_t nr,
                      enum chunk_answer *answers)
{
    uint64_t chunk = first_chunk(heap), next;
    for (size_t i = 0; chunk && i < nr; chunk = next) {
        uint64_t next_size;
        next = next_chunk(heap, chunk);
        bool has_next = next && next + HEADER_BYTES <= heap->mapping->end;
        bool in_use =
            has_next && word_at(heap, next + 8, &next_size) && (next_size & PREVIOUS_IN_USE);
        if (!next)
            break;
        for (; i < nr && blocks[i] < next + HEADER_BYTES; i++)
            answers[i] = blocks[i] == chunk + HEADER_BYTES && (in_use || !has_next) ? CHUNK_IN_USE
                                                                                    : CHUNK_NONE;
    }
}

void heap_chunks_look_up(const struct target *target, const uint64_t *blocks, size_t nr,
                         enum chunk_answer *answers)
{
    struct heap heap = {.target = target, .window = memory_alloc(WINDOW_BYTES)};
    memset(answers, 0, nr * sizeof(*answers));
    for (size_t i = 0, count; i < nr; i += count) {
        count = 1;
        heap.mapping = target_mapping_at(target, blocks[i]);
        if (!heap.mapping)
            continue;
        while (i + count < nr && blocks[i + count] < heap.mapping->end)
            count++;
        heap.window_size = 0;
        walk_heap(&heap, blocks + i, count, answers + i);
    }
    free(heap.window);
}
