/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Runs functions of the target on a copy of its memory, one instruction after the other, inside
 * asyncmem: no instruction runs on the processor, nothing is written to the target, no system call
 * is made.  The stage before: target (a stopped or copied process, or a core).  The stage after:
 * process/task_drops, which asks in this way what a task's end would free.
 *
 * x86-64: the integer instructions, and of SSE and AVX what compilers use to move, compare and
 * count.  Whatever else is met ends the run and is told; a run never guesses.  Code and data are
 * untrusted: a run ends after its budget, and touches nothing but its own copy of pages.
 *
 * An emulator belongs to one thread.  Several may read one target at once.
 */
#pragma once

#include "process/target.h"

enum emulator_end {
    EMULATOR_RETURNED,    /* the function that was called returned */
    EMULATOR_STOPPED,     /* an intercept or a system call's hook said so */
    EMULATOR_BUDGET,      /* too many instructions */
    EMULATOR_INSTRUCTION, /* one that is not known, at `pc` */
    EMULATOR_MEMORY,      /* nothing is mapped at `fault_addr`, or it is not writable, or no code */
    NR_EMULATOR_ENDS,
};

/* As the processor numbers them. */
enum emulator_register {
    RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15, NR_EMULATOR_REGISTERS,
};

struct emulator;

/* What an intercept did. */
enum emulator_answer {
    EMULATOR_ANSWERED, /* it acted for the function; `rax` is the result; on at the caller */
    EMULATOR_GO_ON,    /* nothing: the function itself is run */
    EMULATOR_STOP,     /* ends the run with EMULATOR_STOPPED */
};
typedef enum emulator_answer emulator_intercept_fn(void *context, struct emulator *emulator);

/* All may be NULL.  They must not call the emulator but for its registers, reads and writes. */
struct emulator_hooks {
    void *context;
    /*
     * Each read of memory outside of the emulator's own stack; what is longer than 8 bytes comes in
     * pieces of 8.  `pc` is that of the instruction.
     */
    void (*on_read)(void *context, uint64_t addr, unsigned size_bytes, uint64_t value);
    /* An instruction that reads, changes and writes back one integer (lock dec, xadd, sub ...). */
    void (*on_change)(void *context, uint64_t addr, unsigned size_bytes, uint64_t before,
                      uint64_t after);
    /* A `syscall` instruction; arguments in rdi rsi rdx r10 r8 r9.  NULL: ends the run. */
    enum emulator_answer (*on_syscall)(void *context, struct emulator *emulator, uint64_t number);
};

/* A call that has not returned yet. */
struct emulator_call {
    uint64_t function, return_addr;
    uint64_t registers[NR_EMULATOR_REGISTERS]; /* at its entry; rsp: where return_addr lies */
};

struct emulator {
    uint64_t registers[NR_EMULATOR_REGISTERS];
    uint64_t pc;
    uint64_t fault_addr;
    uint64_t nr_instructions; /* of all runs */
    const struct emulator_call *calls; /* the outermost first */
    size_t nr_calls;
};

/* `cache_bytes`: of pages kept at most, beside those that were written to since emulator_undo. */
struct emulator *emulator_new(const struct target *target, const struct emulator_hooks *hooks,
                              size_t cache_bytes);
void emulator_free(struct emulator *emulator);

/* When control reaches `addr`, `intercept` is asked first.  Before the first run. */
void emulator_intercept(struct emulator *emulator, uint64_t addr, emulator_intercept_fn *intercept,
                        void *context);
void emulator_set_thread_pointer(struct emulator *emulator, uint64_t fs_base);

/*
 * Calls a function by the System V ABI with up to 6 integer arguments, on a stack of its own, until it
 * returns.  `rax` is the result.  What it wrote stays until emulator_undo.
 */
enum emulator_end emulator_run(struct emulator *emulator, uint64_t function, const uint64_t *args,
                               unsigned nr_args, uint64_t max_instructions);
/*
 * After a run that ended early: acts as if calls[at] had returned (rax = 0, callee-saved registers as at
 * its entry) and goes on from there.
 */
enum emulator_end emulator_abandon(struct emulator *emulator, size_t at,
                                   uint64_t max_instructions);
/* Takes back all that was written since the last time. */
void emulator_undo(struct emulator *emulator);

/* The copy's memory: as the target's, but for what was written.  False: not (wholly) mapped. */
bool emulator_read(struct emulator *emulator, uint64_t addr, void *buffer, size_t size_bytes);
bool emulator_write(struct emulator *emulator, uint64_t addr, const void *bytes, size_t size_bytes);
/* Zeroed memory that only the copy has, 16-byte aligned, for what the code allocates; gone with
 * emulator_undo.  0: too much. */
uint64_t emulator_allocate(struct emulator *emulator, size_t size_bytes);
/* Is it in memory of emulator_allocate, or on the emulator's stack? */
bool emulator_is_own(const struct emulator *emulator, uint64_t addr);

/* In plain words: "an instruction that is not known (vaddps)", for a message. */
const char *emulator_end_text(struct emulator *emulator, enum emulator_end end, char *buffer,
                              size_t buffer_bytes);
