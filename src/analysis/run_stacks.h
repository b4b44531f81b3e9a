/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Allocation stacks folded so that a person reads the async program in them:
 *
 *     serve_conn → read_body → BytesMut::reserve
 *
 * Left out: the tracer, alloc, core and std, allocators, tokio's polling and scheduling, the start of the
 * program or thread.
 * Bodies of async functions stay, whoever wrote them.  Of other frames of other crates in a row the first called stays, and of the innermost row the last too; what
 * is missing between two shown frames is a gap.  Closures and blocks of a function are that function.  Inlined frames count as frames.  A place of which no
 * function is known stands for itself and is nobody's own.
 */
#pragma once

#include <stdbool.h>

#include "model/run.h"

/* A frame of a stack: inlined ones are frames of the same place. */
struct run_stack_frame {
    uint32_t place;  /* id; 0: none */
    uint32_t frame;  /* id; 0: its function is not known */
    bool gap_before; /* frames of other crates were left out between it and its caller */
};

/* What of each frame is asked again and again, by id - 1; made once for a run. */
struct run_stack_parts {
    const struct run *run;
    uint8_t *parts;
    uint64_t *names, *crates; /* equal ones have equal hashes; crates 0: unknown */
};

void run_stack_parts_init(struct run_stack_parts *code, const struct run *run);
void run_stack_parts_deinit(struct run_stack_parts *code);

enum { RUN_STACK_SHOWN = 64 }; /* more are left out, in the middle */

struct run_stack {
    struct run_stack_frame own; /* the innermost of the user's own; place 0: none is */
    struct run_stack_frame
        outside; /* the innermost outside of alloc, core and std; place 0: none */
    uint32_t nr_shown;
    struct run_stack_frame shown[RUN_STACK_SHOWN]; /* outermost first */
};

/* Bytes of a function's name without the "::{closure#0}" or "::{async block#0}" behind it. */
size_t run_stack_name_bytes(const char *function);
/* `node` is the innermost; 0 gives an empty stack. */
void run_stack_fold(const struct run_stack_parts *code, uint32_t node, struct run_stack *stack);
/* Only `own` and `outside`: what groups sites. */
void run_stack_ends(const struct run_stack_parts *code, uint32_t node, struct run_stack *stack);
