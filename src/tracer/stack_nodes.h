/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Stacks as a trie in the live region: REGION_NODES, with a hash index of the tracer's own in
 * REGION_NODE_INDEX.  Any thread, no locks; a key has one row: who loses a race takes the winner's.
 */
#pragma once

#include "tracer/tracer.h"

/* Of region_node.is_pc_exact. */
enum { REGION_NODE_EXACT = 1, REGION_NODE_CUT = 2 };

struct stack_node_key {
    uint64_t pc;
    uint32_t parent, image;
    uint32_t flags; /* REGION_NODE_* */
};

/* Where the tables are, and a site's row that is left over from a lost race: one a thread. */
struct stack_nodes {
    struct region_header *region;
    struct region_node *rows;
    struct region_site *sites;
    uint32_t *index;
    uint64_t nr_index;
    uint32_t spare_site; /* 0: none */
};

struct stack_nodes stack_nodes_of(struct region_header *region);

/* The row of the key, new or known, with a greater number than its parent's; 0: no room (counted). */
uint32_t stack_node(const struct stack_nodes *nodes, const struct stack_node_key *key);

/* The site of the stack that ends at node; 0: no room (counted). */
uint32_t stack_node_site(struct stack_nodes *nodes, uint32_t node);
