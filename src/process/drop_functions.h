/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Functions that drop code calls and that are answered instead of run: the allocator's, libc's memory
 * functions (whose code depends on the processor), and those that end a thread or the program.
 */
#pragma once

#include "base/map.h"
#include "base/memory.h"
#include "process/emulator.h"

struct drop_run;

/* One place in the target's code and who answers there. */
struct drop_function {
    uint64_t addr;
    emulator_intercept_fn *answer; /* its context is a struct drop_run */
};

struct drop_functions {
    struct drop_function *rows;
    size_t nr, capacity;
    bool has_free; /* an allocator was found */
};

/* Finds them in all images of the target. */
void drop_functions_find(struct drop_functions *functions, const struct target *target);
void drop_functions_deinit(struct drop_functions *functions);
/* Hands them to an emulator. */
void drop_functions_intercept(const struct drop_functions *functions, struct emulator *emulator,
                              struct drop_run *run);
/* A `syscall` instruction; context is a struct drop_run. */
enum emulator_answer drop_answer_syscall(void *context, struct emulator *emulator, uint64_t number);

/*
 * Addresses of functions that only drop a value (drop_in_place, Drop::drop), as symbols name them, into
 * a map: what one of them cannot do may be left out, and the rest still holds.
 */
void drop_functions_list_glue(struct map *glue, const struct target *target);
