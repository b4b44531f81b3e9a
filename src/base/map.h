/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A hash map from 64-bit keys to 32-bit values, open addressing with linear probing, for tables
 * keyed by an offset or by a 64-bit hash.  Key 0 is allowed.  Grows by doubling at 3/4 full.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map_slot {
    uint64_t key;
    uint32_t value;
    uint32_t used;
};

struct map {
    struct map_slot *slots;
    size_t capacity; /* a power of two, 0 before the first insertion */
    size_t count;
};

void map_init(struct map *map);
void map_deinit(struct map *map);
/* Room for `count` keys, its memory touched: adding them costs neither copies nor page faults. */
void map_reserve(struct map *map, size_t count);
/* Asks the processor for the place of a key that is looked up or put soon. */
void map_prefetch(const struct map *map, uint64_t key);
/* NULL where the key is absent; the pointer holds until the next map_put. */
uint32_t *map_find(const struct map *map, uint64_t key);
/* The value's place, new ones being 0; *is_new (may be NULL) tells. */
uint32_t *map_put(struct map *map, uint64_t key, bool *is_new);

uint64_t hash_bytes(const void *bytes, size_t length, uint64_t seed);
uint64_t hash_str(const char *str, uint64_t seed);
uint64_t hash_u64(uint64_t value, uint64_t seed);
