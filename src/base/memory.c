/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { CHUNK_BYTES = 256 * 1024, ALIGN = 16 };

struct arena_chunk {
    struct arena_chunk *older;
    _Alignas(16) char bytes[];
};

static NO_RETURN void memory_ended(size_t bytes)
{
    fprintf(stderr,
            "asyncmem: out of memory: %zu bytes could not be had; "
            "try a machine with more memory or a smaller binary\n",
            bytes);
    abort();
}

void arena_init(struct arena *arena)
{
    *arena = (struct arena){0};
}

void arena_deinit(struct arena *arena)
{
    for (struct arena_chunk *chunk = arena->chunks, *older; chunk; chunk = older) {
        older = chunk->older;
        free(chunk);
    }
    arena_init(arena);
}

void arena_take(struct arena *to, struct arena *from)
{
    struct arena_chunk **last = &to->chunks; /* behind the chunk that `to` still fills */
    while (*last)
        last = &(*last)->older;
    *last = from->chunks;
    to->used_bytes += from->used_bytes;
    arena_init(from);
}

void *arena_alloc_raw(struct arena *arena, size_t bytes)
{
    size_t rounded = bytes ? (bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1) : ALIGN;
    if (rounded < bytes)
        memory_ended(bytes);
    if ((size_t)(arena->end - arena->next) < rounded) {
        size_t capacity = rounded > CHUNK_BYTES / 4 ? rounded : CHUNK_BYTES;
        struct arena_chunk *chunk = malloc(sizeof(*chunk) + capacity);
        if (!chunk)
            memory_ended(capacity);
        chunk->older = arena->chunks;
        arena->chunks = chunk;
        arena->next = chunk->bytes;
        arena->end = chunk->bytes + capacity;
    }
    void *piece = arena->next;
    arena->next += rounded;
    arena->used_bytes += rounded;
    return piece;
}

void *arena_alloc(struct arena *arena, size_t bytes)
{
    return memset(arena_alloc_raw(arena, bytes), 0, bytes);
}

char *arena_strndup(struct arena *arena, const char *text, size_t length)
{
    char *copy = arena_alloc(arena, length + 1);
    memcpy(copy, text, length);
    return copy;
}

void *memory_alloc(size_t bytes)
{
    void *piece = calloc(1, bytes ? bytes : 1);
    if (!piece)
        memory_ended(bytes);
    return piece;
}

void *memory_alloc_touched(size_t bytes)
{
    enum { BIG_PAGE_BYTES = 2 << 20, PAGE_BYTES = 4096 };
    void *piece = NULL;
    if (bytes < BIG_PAGE_BYTES)
        piece = malloc(bytes ? bytes : 1);
    else if (posix_memalign(&piece, BIG_PAGE_BYTES, bytes) != 0)
        piece = NULL;
    if (!piece)
        memory_ended(bytes);
    if (bytes >= BIG_PAGE_BYTES)
        madvise(piece, bytes, MADV_HUGEPAGE); /* without it the same, slower */
    for (size_t i = 0; i < bytes; i += PAGE_BYTES)
        ((volatile char *)piece)[i] = 0;
    return piece;
}

void *memory_resize(void *old, size_t bytes)
{
    void *piece = realloc(old, bytes ? bytes : 1);
    if (!piece)
        memory_ended(bytes);
    return piece;
}

void *array_reserve(void *items, size_t *capacity, size_t needed, size_t item_bytes)
{
    if (needed <= *capacity && items)
        return items;
    size_t doubled = *capacity ? *capacity : 16;
    while (doubled < needed)
        doubled *= 2;
    if (doubled > SIZE_MAX / item_bytes)
        memory_ended(doubled);
    *capacity = doubled;
    return memory_resize(items, doubled * item_bytes);
}
