/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The functions of a program as what two builds of one source have in common: their code without
 * displacements, whom they call, and which places in the source they name.  The stage before:
 * code_functions.  The stage after: vtable_match and symbols_adopt.  x86-64 only.
 *
 * Terms: the own hash of a function is over its bytes, where each displacement that leads out of
 * it is left out; a fact is a constant that it refers to and that outlives a rebuild: a panic's
 * file, line and column, size and alignment of a trait object, an imported name.
 */
#pragma once

#include "base/map.h"
#include "program/elf_file.h"

struct code_call {
    uint32_t site; /* offset in the function */
    uint32_t callee;
};

struct code_function {
    uint64_t addr;
    uint64_t size_bytes;
    uint64_t own_hash;
    uint64_t name_hash; /* of its symbols without what a rebuild changes; 0: has none */
    uint32_t first_call, nr_calls;
    uint32_t first_fact, nr_facts;
};

struct code_graph {
    const struct elf_file *elf;
    struct arena arena;
    struct elf_words *data; /* in `arena` */
    uint32_t nr_data;
    uint64_t low, high; /* addresses of the image */
    struct map starts;  /* address -> function + 1 */
    struct map imports; /* address of the loader's slot -> hash of the name */
    struct code_function *functions;
    size_t nr_functions;
    struct code_call *calls;
    size_t nr_calls, calls_capacity;
    uint64_t *facts;
    size_t nr_facts, facts_capacity;
};

/* False (nothing to free): not x86-64, or no function was found.  Symbols are read already. */
MUST_CHECK bool code_graph_init(struct code_graph *graph, const struct elf_file *elf);
void code_graph_deinit(struct code_graph *graph);

/* Row of the function that begins at `addr`, + 1; 0: none does. */
uint32_t code_graph_start(const struct code_graph *graph, uint64_t addr);

/*
 * For each function a hash of its code and that of all it calls, as many calls deep as steps were
 * made: at first its own hash.  Equal in two builds where all that code is.  free() the labels.
 */
uint64_t *code_graph_labels(const struct code_graph *graph);
void code_graph_deepen(const struct code_graph *graph, uint64_t **labels);

/* One value more into a hash; inline, since there are millions. */
static inline uint64_t code_hash_add(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9e3779b97f4a7c15ULL; /* 2^64 / golden ratio */
    return hash ^ hash >> 29;
}

/* Hash of a symbol without the parts that differ between two builds of one source. */
uint64_t code_name_hash(const char *symbol);
