/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Every block of the heap in exactly one class.  What a task frees at its end is known (task_drops);
 * the rest is told by who reaches it: all words of memory that are the address of a block's inside count
 * as references to it (conservative), from the runtimes' own blocks, from globals, registers, live stacks
 * and thread-local memory, and from tasks.  Cells are barriers: nothing is reached through them from
 * outside.  The stages before: task_drops, heap_blocks, stacks.  The stage after: model/snapshot_build.
 */
#pragma once

#include "process/task_drops.h"

enum heap_class {
    HEAP_CLASS_UNKNOWN, /* reached from nowhere */
    HEAP_CLASS_CELL,
    HEAP_CLASS_HELD,
    HEAP_CLASS_MAYBE_HELD, /* reached from one task only, by pointers of unknown type */
    HEAP_CLASS_SHARED, /* owned by several tasks, or by tasks and others, together; and what only
                            * such blocks reach */
    HEAP_CLASS_RUNTIME,
    HEAP_CLASS_OTHER, /* reached from globals, stacks or such blocks */
    NR_HEAP_CLASSES,
};

/* Who has the address of a finished task's cell: what keeps it. */
struct heap_keeper {
    uint32_t task;  /* the finished one: position in cells->rows */
    uint32_t block; /* position + 1 of the block that has the word; 0: a stack or a global */
    uint64_t addr;  /* of the word; 0: a register */
};

struct heap_classes {
    uint8_t *classes; /* by block: enum heap_class */
    uint32_t
        *tasks; /* by block: of HELD, MAYBE_HELD and CELL: position + 1 in cells->rows; else 0 */
    uint64_t bytes[NR_HEAP_CLASSES];
    uint64_t nr_blocks[NR_HEAP_CLASSES];
    struct heap_keeper
        *keepers; /* by task; not the allocator's, the runtime's list's or the cell's own */
    size_t nr_keepers, keepers_capacity;
};

/* `target` is stopped, copied or a core. */
void heap_classes_read(struct heap_classes *classes, const struct target *target,
                       const struct task_drops *drops);
void heap_classes_deinit(struct heap_classes *classes);
