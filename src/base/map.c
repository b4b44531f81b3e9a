/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/map.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/memory.h"

void map_init(struct map *map)
{
    *map = (struct map){0};
}

void map_deinit(struct map *map)
{
    free(map->slots);
    map_init(map);
}

static struct map_slot *slot_for(const struct map *map, uint64_t key)
{
    size_t mask = map->capacity - 1;
    size_t i = hash_u64(key, 0) & mask;
    while (map->slots[i].used && map->slots[i].key != key)
        i = (i + 1) & mask;
    return &map->slots[i];
}

uint32_t *map_find(const struct map *map, uint64_t key)
{
    if (!map->capacity)
        return NULL;
    struct map_slot *slot = slot_for(map, key);
    return slot->used ? &slot->value : NULL;
}

void map_prefetch(const struct map *map, uint64_t key)
{
    if (map->capacity)
        __builtin_prefetch(&map->slots[hash_u64(key, 0) & (map->capacity - 1)], 1);
}

/* The slots are new ones, zeroed. */
static void rehash(struct map *map, struct map_slot *slots, size_t capacity)
{
    struct map old = *map;
    map->slots = slots;
    map->capacity = capacity;
    for (size_t i = 0; i < old.capacity; i++)
        if (old.slots[i].used)
            *slot_for(map, old.slots[i].key) = old.slots[i];
    free(old.slots);
}

static void grow(struct map *map)
{
    size_t capacity = map->capacity ? map->capacity * 2 : 64;
    rehash(map, memory_alloc(capacity * sizeof(struct map_slot)), capacity);
}

void map_reserve(struct map *map, size_t count)
{
    size_t capacity = 64;
    while (count * 4 >= capacity * 3)
        capacity *= 2;
    if (capacity <= map->capacity)
        return;
    struct map_slot *slots = memory_alloc_touched(capacity * sizeof(*slots));
    memset(slots, 0, capacity * sizeof(*slots));
    rehash(map, slots, capacity);
}

uint32_t *map_put(struct map *map, uint64_t key, bool *is_new)
{
    if (map->count * 4 >= map->capacity * 3)
        grow(map);
    struct map_slot *slot = slot_for(map, key);
    if (is_new)
        *is_new = !slot->used;
    if (!slot->used) {
        slot->used = 1;
        slot->key = key;
        map->count++;
    }
    return &slot->value;
}

uint64_t hash_bytes(const void *bytes, size_t length, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes, length, seed);
}

uint64_t hash_str(const char *str, uint64_t seed)
{
    return hash_bytes(str, strlen(str), seed);
}

/* The finalizer of MurmurHash3 (public domain): each input bit reaches each output bit. */
static uint64_t mix(uint64_t h)
{
    h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdULL;
    h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53ULL;
    return h ^ (h >> 33);
}

uint64_t hash_u64(uint64_t value, uint64_t seed)
{
    return mix(value ^ mix(seed)); /* small values and seeds do not cancel out */
}
