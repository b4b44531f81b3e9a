/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The index: open addressing in slots of 4 bytes: the row's number and, in the upper 8 bits, a part of
 * its hash.  It starts small and doubles when half full: what is touched should be dense, since a page of
 * the region that is touched for the first time costs more than a hundred look-ups.
 *
 * Doublings lie one behind the other.  Who finds the current one half full closes its free slots, puts what is
 * in it into the next one and makes that the current one.  Whoever comes to a closed slot meanwhile does the
 * same work from the start, waiting for nobody; a row that is there is not put twice.  So all rows of a
 * doubling are in the next one before anybody puts a new one there, and a key has one row.  (Closed slots: Click,
 * "A Lock-Free Wait-Free Hash Table", 2007.)
 *
 * Slots 0 to 15 are not slots: 0 is the current doubling.
 */
#include "tracer/stack_nodes.h"

enum {
    FIRST_LOG2 = 12,
    SLOTS_AT = 16,
    NODE_BITS = 24,
    MAX_PROBES = 4096, /* far more than an index that is half full has */
};

/* Of find_or_put: not there and nothing put, as the slot is closed or there are too many probes. */
#define NO_SLOT UINT32_MAX
/* A slot that was free when its doubling was followed by the next: a tag of row 0, which is no row. */
#define CLOSED ((uint32_t)1 << NODE_BITS)

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
    return (struct stack_nodes){.region = region,
                                .rows = table_base(region, REGION_NODES),
                                .sites = table_base(region, REGION_SITES),
                                .index = table_base(region, REGION_NODE_INDEX),
                                .nr_index = region->tables[REGION_NODE_INDEX].max_rows};
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
 * The row of key in this index; else 0 or, with `put` (a filled row), `put`, which is in it now.  NO_SLOT: see
 * there.
 */
static uint32_t find_or_put(const struct index *index, const struct region_node *rows,
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
        if (there == CLOSED)
            return NO_SLOT;
        uint32_t node = there & (REGION_MAX_ROWS - 1);
        if ((there & ~(uint32_t)(REGION_MAX_ROWS - 1)) == tag && is_node(&rows[node], key))
            return node;
    }
    return NO_SLOT;
}

static uint32_t current(const struct stack_nodes *nodes)
{
    return __atomic_load_n(&nodes->index[0], __ATOMIC_ACQUIRE); /* pairs with follow */
}

/* Makes the doubling that follows `level` the current one, if nobody else has; false: there is no room for it. */
static bool follow(const struct stack_nodes *nodes, uint32_t level)
{
    struct index index, next;
    if (!index_at(nodes, level, &index) || !index_at(nodes, level + 1, &next))
        return false;
    for (uint32_t i = 0; i <= index.mask && current(nodes) == level; i++) {
        uint32_t there = 0;
        if (__atomic_compare_exchange_n(&index.slots[i], &there, CLOSED, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_ACQUIRE) ||
            there == CLOSED)
            continue;
        uint32_t node = there & (REGION_MAX_ROWS - 1);
        const struct region_node *row = &nodes->rows[node];
        struct stack_node_key key = {row->pc, row->parent, row->image, row->is_pc_exact};
        (void)find_or_put(&next, nodes->rows, &key, node);
    }
    (void)__atomic_compare_exchange_n(&nodes->index[0], &level, level + 1, false, __ATOMIC_RELEASE,
                                      __ATOMIC_RELAXED);
    return true;
}

/*
 * A row that comes too late is left empty: as it is older than rows that were made since, it may not become the
 * callee of one of them.
 */
static uint32_t row_of(const struct stack_nodes *nodes, const struct stack_node_key *key)
{
    uint32_t row = region_row_new(nodes->region, REGION_NODES);
    if (!row || row >= REGION_MAX_ROWS)
        return 0;
    nodes->rows[row].pc = key->pc;
    nodes->rows[row].parent = key->parent;
    nodes->rows[row].image = key->image;
    nodes->rows[row].is_pc_exact = key->flags;
    return row;
}

static bool is_half_full(const struct stack_nodes *nodes, uint32_t level)
{
    uint64_t nr = __atomic_load_n(&nodes->region->tables[REGION_NODES].nr_rows, __ATOMIC_RELAXED);
    return nr >> (FIRST_LOG2 + level - 1);
}

static uint32_t put_new(const struct stack_nodes *nodes, const struct stack_node_key *key)
{
    uint32_t row = row_of(nodes, key);
    if (!row)
        return 0;
    uint32_t level = current(nodes), node = NO_SLOT;
    if (is_half_full(nodes, level))
        (void)follow(nodes, level);
    do {
        struct index index;
        level = current(nodes);
        if (index_at(nodes, level, &index))
            node = find_or_put(&index, nodes->rows, key, row);
    } while (node == NO_SLOT && follow(nodes, level));
    if (node == NO_SLOT)
        return row; /* the table is full: the row stands alone */
    if (node != row)
        nodes->rows[row] = (struct region_node){0};
    return node;
}

uint32_t stack_node(const struct stack_nodes *nodes, const struct stack_node_key *key)
{
    struct index index;
    if (!index_at(nodes, current(nodes), &index))
        return 0;
    uint32_t node = find_or_put(&index, nodes->rows, key, 0);
    return node && node != NO_SLOT ? node : put_new(nodes, key);
}

uint32_t stack_node_site(struct stack_nodes *nodes, uint32_t node)
{
    struct region_node *row = &nodes->rows[node];
    uint32_t site = __atomic_load_n(&row->site, __ATOMIC_RELAXED);
    if (site)
        return site;
    uint32_t new_row =
        nodes->spare_site ? nodes->spare_site : region_row_new(nodes->region, REGION_SITES);
    nodes->spare_site = 0;
    if (!new_row)
        return 0;
    nodes->sites[new_row].node = node;
    if (__atomic_compare_exchange_n(&row->site, &site, new_row, false, __ATOMIC_RELEASE,
                                    __ATOMIC_RELAXED))
        return new_row;
    nodes->sites[new_row].node = 0;
    nodes->spare_site = new_row;
    return site;
}
