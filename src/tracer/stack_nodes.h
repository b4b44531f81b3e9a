/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Stacks as a trie in the live region: REGION_NODES, with a hash index of the tracer's own in
 * REGION_NODE_INDEX.  Any thread, no locks: who loses a race takes the winner's row.  Two rows of the same key
 * can come about only while the index grows; readers add them up.
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

/* The row of the key, new or known; 0: no room (counted).  *spare: a row that was left over, kept for later. */
uint32_t stack_node(struct region_header *region, const struct stack_node_key *key,
                    uint32_t *spare);

/* The site of the stack that ends at node; 0: no room (counted). */
uint32_t stack_node_site(struct region_header *region, uint32_t node, uint32_t *spare);
