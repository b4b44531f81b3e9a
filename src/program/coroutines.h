/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The future types of a program: from the index's coroutine DIEs to rows of plan_future.  The
 * stage before: index.  The stage after: plan_compile.  One thread.
 */
#pragma once

#include "program/layout.h"

struct coroutine {
    const struct index_env *env; /* the chosen copy; a declaration where there is nothing better */
    uint32_t nr_copies;
    uint32_t line;    /* of the body's beginning */
    uint32_t fn_line; /* of the `fn`; 0: unknown */
    uint64_t shape;   /* hash of the states' lines and members */
};

struct coroutines {
    struct coroutine *rows; /* by path, then size and shape */
    size_t nr;
    struct map by_die; /* die_ref of every copy -> row + 1 */
};

/*
 * Chooses one DIE for each future type among its copies in many units and tells `layout`, which
 * then compiles the chosen one wherever a copy is met.  Two envs are one type when path, size,
 * states, their lines and their members agree.  Call once, before the first layout_compile.
 */
void coroutines_choose(struct coroutines *coroutines, struct layout *layout);
void coroutines_free(struct coroutines *coroutines);

/* Compiles all of them into plan_future and plan_await rows, future id = row + 1. */
void coroutines_compile(const struct coroutines *coroutines, struct layout *layout,
                        const struct elf_file *symbols);
