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

enum { NR_TASK_FUNCTIONS = 7 };

struct task_vtable {
    uint64_t addr;
    uint64_t poll_addr;
    uint64_t slots[NR_TASK_FUNCTIONS]; /* all function slots, in the vtable's order */
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

/* task_code.c.  The bytes of the function at `addr` in the file, *size to the end of its section;
 * NULL where there are none. */
const uint8_t *task_code_at(const struct elf_file *elf, uint64_t addr, uint64_t *size);
/*
 * What the function at an address calls or jumps to, x86-64.  Every byte is tried as an opcode: a target
 * counts only when it is the exact start of another symbol.
 */
struct task_calls {
    const struct elf_file *symbols;
    const struct elf_symbol *self;
    const uint8_t *code;
    uint64_t addr, size_bytes, at;
};
/* False: its symbol or its code is not there. */
bool task_calls_begin(struct task_calls *calls, const struct elf_file *program,
                      const struct elf_file *symbols, uint64_t addr);
/* The symbol of the next one; NULL: there is none. */
const struct elf_symbol *task_calls_next(struct task_calls *calls);
/*
 * The length of the code that polls: that of the function in the vtable, which is often nothing
 * but a jump to the real one (x86-64).  0: unknown.
 */
uint32_t task_poll_bytes(const struct elf_file *program, const struct elf_file *symbols,
                         uint64_t addr);
/*
 * What tells task types of one size apart in two builds: how long their functions are, and those
 * that the poll function calls.  0: unknown.
 */
uint32_t task_code_shape(const struct elf_file *program, const struct elf_file *symbols,
                         const struct task_vtable *vtable);

/*
 * task_names.c.  Splits "T, S>..." at the comma of the outermost level; the closing bracket ends S.
 * False where the text is no such pair.
 */
bool task_split_arguments(const char *text, struct text *future, struct text *scheduler);
/* Are two names equal but for generic arguments without code of their own (a closure has some)? */
bool task_differ_in_arguments(const char *a, const char *b);
