/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Which vtable of a program is which of its rebuild.  Two builds of one source have nearly the
 * same functions, but not quite: the compiler cuts crates into units by names that differ, so here
 * and there it inlines or merges otherwise.  No single hash of all the code behind a vtable would
 * outlast that.  So each thing that can be reached from a vtable (code, place in the source) is
 * evidence by itself, where in both builds equally many vtables of the same size have it and in
 * the rebuild they are all of one type.  Evidence that contradicts itself decides nothing.
 *
 * Names of functions are none: where functions are of equal code, so that a name could tell more
 * than the code, the compiler merges them under any one of their names.
 */
#pragma once

#include "program/code_graph.h"

enum { MATCH_MAX_SLOTS = 8 };

/* A table of functions: of a task or of a trait object. */
struct match_item {
    uint64_t group; /* only items of the same group can be the same: sizes, offsets */
    uint32_t slots[MATCH_MAX_SLOTS]; /* rows of the graph's functions + 1; 0: no function */
    uint32_t type;  /* rebuild: whose it is; not 0; one number for each type.  Program: 0 */
    uint32_t match; /* program: the rebuild's item + 1; rebuild: the program's; 0: unknown */
};

struct match_side {
    const struct code_graph *graph;
    struct match_item *items;
    size_t nr;
};

/* Sets `match` of both sides' items; where several are of one type, any of them in order. */
void code_match(const struct match_side *program, const struct match_side *rebuild);

/*
 * Single functions: the only ones in both builds whose code is the same, that of their callees
 * included where more than one has it, and of the same name where both have symbols.
 */
enum { MATCH_LABEL_DEPTHS = 5 };

struct function_match {
    const struct code_graph *graphs[2];     /* program, rebuild */
    uint64_t *labels[MATCH_LABEL_DEPTHS];   /* of the rebuild */
    struct map only[2][MATCH_LABEL_DEPTHS]; /* label -> row + 1; 0: several */
};

void function_match_init(struct function_match *match, const struct code_graph *program,
                         const struct code_graph *rebuild);
void function_match_deinit(struct function_match *match);
/* The program's function for the rebuild's `row`, + 1; 0: unknown. */
uint32_t function_match_find(const struct function_match *match, uint32_t row);
