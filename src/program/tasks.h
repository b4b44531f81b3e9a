/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Task kinds: the vtables of a runtime's task cells and the futures behind them.  The stage
 * before: elf_file (data words, symbols) and index (poll functions with their types).  The stage
 * after: the plan's task rows.
 *
 * Everything that is particular to a runtime is in one file each; this release has tokio 1.23
 * and later (tasks_tokio.c).
 */
#pragma once

#include "program/coroutines.h"

struct task_vtable {
    uint64_t addr;
    uint64_t poll_addr;
    uint64_t slots[7]; /* all function slots, in the vtable's order */
    uint32_t trailer_offset, scheduler_offset, id_offset;
};

/* All task vtables of the file, by address; *nr of them, in the arena. */
struct task_vtable *tokio_find_vtables(const struct elf_file *elf, struct arena *arena,
                                       uint32_t *nr);

/* Has the file task vtables?  False also where it cannot be read. */
bool tasks_in_file(const char *path);

/*
 * Adds a plan_task row for each vtable, named from DWARF, from a v0 symbol or from drop glue, and,
 * where no layouts are known, a row without vtable for each further task type that only a symbol
 * names.  `coroutines` may be NULL (no DWARF).
 */
void tokio_add_tasks(struct layout *layout, const struct coroutines *coroutines,
                     const struct elf_file *program, const struct elf_file *symbols);
