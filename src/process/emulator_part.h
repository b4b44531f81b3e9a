/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the files of the emulator share.  Code is decoded once: a block is a row of ops from one
 * address on, each with the function that does it; running is `op = op->run(machine, op)`.  An op
 * that cannot be done sets `machine->end`, has changed nothing, and returns NULL.
 *
 * Files: emulator_code (blocks), emulator_decode (Zydis to ops), emulator_memory (pages, what was
 * written), emulator_control (jumps, calls), and the instructions: _integer, _bits, _string,
 * _vector ...  Each of the last has a table of rules from which emulator_decode takes its
 * functions.
 */
#pragma once

#include <stddef.h>

#include "base/memory.h"
#include "process/emulator.h"
#include "process/emulator_flags.h"
#include "process/emulator_op.h"

enum {
    PAGE_BITS = 12,
    PAGE_BYTES = 1 << PAGE_BITS,
    NR_TLB_ENTRIES = 512,
    STACK_BYTES = 1 << 20,
    GUARD_BYTES = 1 << 16, /* unmapped before and behind the stack; the return address lies there */
    HEAP_BYTES = 64 << 20, /* emulator_allocate gives at most */
    RETURN_OFFSET = GUARD_BYTES / 2, /* of the outermost call, behind the stack */
};

struct tlb_entry {
    uint64_t read_page, write_page; /* numbers; ~0: none */
    uint8_t *bytes;
};

struct intercept {
    uint64_t addr;
    emulator_intercept_fn *run;
    void *context;
};

struct memory;
struct code;

struct machine {
    struct emulator public; /* first: registers are slots 0 to 15 */
    uint64_t zero;
    uint64_t thread_pointer;
    struct flags flags;
    struct op *op; /* that is being run */
    uint64_t left; /* instructions, of this run */
    enum emulator_end end;
    bool has_room;        /* for a stack: else nothing can be run */
    uint64_t stack_start; /* STACK_BYTES from here on */
    uint64_t heap_start, heap_used_bytes;
    struct emulator_hooks hooks;
    struct tlb_entry tlb[NR_TLB_ENTRIES];
    _Alignas(64) union vector vectors[NR_VECTORS];
    uint64_t masks[NR_MASKS];
    const struct target *target;
    struct memory *memory;
    struct code *code;
    struct emulator_call *calls;
    struct op **resumes; /* by call: the op behind it, NULL: look it up */
    size_t calls_capacity, resumes_capacity;
};

enum {
    SLOT_ZERO = offsetof(struct machine, zero) / 8,
    SLOT_THREAD = offsetof(struct machine, thread_pointer) / 8,
};

/* emulator_memory.c */
void memory_init(struct machine *machine, size_t cache_bytes);
void memory_deinit(struct machine *machine);
bool memory_read(struct machine *machine, uint64_t addr, void *buffer, size_t size_bytes);
bool memory_write(struct machine *machine, uint64_t addr, const void *bytes, size_t size_bytes);
/* Makes sure that a write cannot fail. */
bool memory_prepare_write(struct machine *machine, uint64_t addr, size_t size_bytes);
void memory_undo(struct machine *machine);

/* emulator_code.c */
void code_init(struct machine *machine);
void code_deinit(struct machine *machine);
void code_intercept(struct machine *machine, const struct intercept *intercept);
const struct intercept *code_intercept_at(const struct machine *machine, uint64_t addr);
/* The op at an address; never NULL: what cannot be fetched is an op that ends the run. */
struct op *code_at(struct machine *machine, uint64_t pc);
/* The same for the target of `op`, which remembers it. */
struct op *code_follow(struct machine *machine, struct op *op);

/* emulator_decode.c: false: not known; *length is set whenever the bytes are an instruction. */
struct decoder;
struct decoder *decoder_new(void);
void decoder_free(struct decoder *decoder);
bool decoder_read(const struct decoder *decoder, const uint8_t *bytes, size_t size, struct op *op);
/* Its name in lower case, or "". */
const char *decoder_name(const struct decoder *decoder, const uint8_t *bytes, size_t size);
const struct decoder *code_decoder(const struct machine *machine);

/* emulator_control.c */
op_fn op_run_intercept, op_run_unknown, op_run_no_code, op_run_outermost_return, op_run_continue;
struct op *machine_return(struct machine *machine, unsigned drop_bytes);
bool machine_push_call(struct machine *machine, uint64_t function, uint64_t return_addr,
                       struct op *resume);
