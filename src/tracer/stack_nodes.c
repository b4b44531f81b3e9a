/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The index: open addressing in slots of 4 bytes: the row's number and, in the upper 8 bits, a part of
 * its hash.  It starts small and doubles when half full: what is touched should be dense, since a page of
 * the region that is touched for the first time costs more than a hundred look-ups.
 *
 * Doublings lie one behind the other.  Who starts one fills it with all rows, then makes it the current one;
 * meanwhile others go on in the old one.  So a row that is not in the current one is also looked for in the
 * one before.
 *
 * Slots 0 to 15 are not slots: 0 is the current doubling, 1 is set while one is being made.
 */
#include "tracer/stack_nodes.h"

enum {
    FIRST_LOG2 = 12,
    SLOTS_AT = 16,
    NODE_BITS = 24,
    MAX_PROBES = 4096, /* far more than an index that is half full has */
};

struct index {
    uint32_t *slots;
    uint32_t mask;
};

static void *table_base(struct region_header *region, enum region_table_id table)
{
    return (uint8_t *)region + region->tables[table].offset_bytes;
}

struct stack_nodes stack_nodes_of(struct region_header *region)
{
    return (struct stack_nodes){
        region, table_base(region, REGION_NODES), table_base(region, REGION_SITES),
        table_base(region, REGION_NODE_INDEX), region->tables[REGION_NODE_INDEX].max_rows};
}

/* Doubling `level`; false: the table has no room for it. */
static bool index_at(const struct stack_nodes *nodes, uint32_t level, struct index *index)
{
    uint64_t nr = (uint64_t)1 << (FIRST_LOG2 + level);
    uint64_t start = SLOTS_AT + nr - ((uint64_t)1 << FIRST_LOG2);
    index->slots = nodes->index + start;
    index->mask = (uint32_t)(nr - 1);
    return start + nr <= nodes->nr_index;
}

static uint64_t hash_of(const struct stack_node_key *key)
{
    uint64_t hash = (key->pc ^ (uint64_t)key->flags << 60) * 0x9e3779b97f4a7c15ULL;
    hash ^= hash >> 32;
    hash += (uint64_t)key->image << 32 | key->parent;
    hash *= 0xd6e8feb86659fd93ULL;
    return hash ^ hash >> 29;
}

static bool is_node(const struct region_node *row, const struct stack_node_key *key)
{
    return row->pc == key->pc && row->parent == key->parent && row->image == key->image &&
           row->is_pc_exact == key->flags;
}

/*
 * The row of key in this index; else 0, and with `put` (a filled row) it is put there: then `put` is returned.
 */
static uint32_t find_or_put(const struct stack_nodes *nodes, const struct index *index,
                            const struct stack_node_key *key, uint32_t put)
{
    uint64_t hash = hash_of(key);
    uint32_t tag = (uint32_t)(hash >> 56) << NODE_BITS;
    for (uint32_t probe = 0; probe < MAX_PROBES; probe++) {
        uint32_t *slot = &index->slots[(hash + probe) & index->mask];
        uint32_t there = __atomic_load_n(slot, __ATOMIC_ACQUIRE); /* pairs with the exchange */
        if (!there && !put)
            return 0;
        if (!there && __atomic_compare_exchange_n(slot, &there, tag | put, false, __ATOMIC_ACQ_REL,
                                                  __ATOMIC_ACQUIRE))
            return put;
        uint32_t node = there & (REGION_MAX_ROWS - 1);
        if ((there & ~(uint32_t)(REGION_MAX_ROWS - 1)) == tag && is_node(&nodes->rows[node], key))
            return node;
    }
    return put; /* too full: the row stands alone */
}

static uint32_t nr_nodes(const struct stack_nodes *nodes)
{
    return __atomic_load_n(&nodes->region->tables[REGION_NODES].nr_rows, __ATOMIC_RELAXED);
}

/* Fills the next doubling with all rows and makes it the current one. */
static void grow(const struct stack_nodes *nodes, uint32_t level)
{
    struct index next;
    if (!index_at(nodes, level + 1, &next) ||
        __atomic_exchange_n(&nodes->index[1], 1, __ATOMIC_ACQUIRE))
        return;
    if (__atomic_load_n(&nodes->index[0], __ATOMIC_RELAXED) == level) {
        uint32_t nr = nr_nodes(nodes);
        uint64_t max = nodes->region->tables[REGION_NODES].max_rows;
        for (uint32_t i = 1; i < nr && i < max; i++) {
            const struct region_node *row = &nodes->rows[i];
            uint64_t pc = __atomic_load_n(&row->pc, __ATOMIC_ACQUIRE); /* pairs with fill */
            struct stack_node_key key = {pc, row->parent, row->image, row->is_pc_exact};
            if (pc)
                (void)find_or_put(nodes, &next, &key, i);
        }
        __atomic_store_n(&nodes->index[0], level + 1, __ATOMIC_RELEASE);
    }
    __atomic_store_n(&nodes->index[1], 0, __ATOMIC_RELEASE);
}

/* pc last: a row without one is not whole. */
static void fill(struct region_node *row, const struct stack_node_key *key)
{
    row->parent = key->parent;
    row->image = key->image;
    row->is_pc_exact = key->flags;
    __atomic_store_n(&row->pc, key->pc, __ATOMIC_RELEASE);
}

/*
 * A row that comes too late is not taken back: who makes a doubling may have put it there, and somebody found
 * it.
 */
static uint32_t new_node(const struct stack_nodes *nodes, const struct stack_node_key *key)
{
    uint32_t level = __atomic_load_n(&nodes->index[0], __ATOMIC_ACQUIRE);
    if (nr_nodes(nodes) >> (FIRST_LOG2 + level - 1)) {
        grow(nodes, level);
        level = __atomic_load_n(&nodes->index[0], __ATOMIC_ACQUIRE);
    }
    uint32_t row = region_row_new(nodes->region, REGION_NODES);
    if (!row || row >= REGION_MAX_ROWS)
        return 0;
    fill(&nodes->rows[row], key);
    struct index index;
    (void)index_at(nodes, level, &index);
    uint32_t node = find_or_put(nodes, &index, key, row);
    /* Where a doubling passed us by, somebody may have made the key's row there. */
    if (__atomic_load_n(&nodes->index[0], __ATOMIC_ACQUIRE) != level &&
        index_at(nodes, level + 1, &index))
        node = find_or_put(nodes, &index, key, node);
    return node;
}

uint32_t stack_node(const struct stack_nodes *nodes, const struct stack_node_key *key)
{
    struct index index;
    uint32_t level = __atomic_load_n(&nodes->index[0], __ATOMIC_ACQUIRE);
    if (!index_at(nodes, level, &index))
        return 0;
    uint32_t node = find_or_put(nodes, &index, key, 0);
    if (!node && level && index_at(nodes, level - 1, &index)) {
        node = find_or_put(nodes, &index, key, 0);
        if (node && index_at(nodes, level, &index))
            (void)find_or_put(nodes, &index, key, node);
    }
    return node ? node : new_node(nodes, key);
}

uint32_t stack_node_site(const struct stack_nodes *nodes, uint32_t node, uint32_t *spare)
{
    struct region_node *row = &nodes->rows[node];
    uint32_t site = __atomic_load_n(&row->site, __ATOMIC_RELAXED);
    if (site)
        return site;
    uint32_t new_row = *spare ? *spare : region_row_new(nodes->region, REGION_SITES);
    *spare = 0;
    if (!new_row)
        return 0;
    nodes->sites[new_row].node = node;
    if (__atomic_compare_exchange_n(&row->site, &site, new_row, false, __ATOMIC_RELEASE,
                                    __ATOMIC_RELAXED))
        return new_row;
    nodes->sites[new_row].node = 0;
    *spare = new_row;
    return site;
}
