/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What the files of the emulator share.  Code is decoded once: a block is a row of ops from one
 * address on, each with the function that does it; running is `op = op->run(machine, op)`.  An op
 * that cannot be done sets `machine->end`, has changed nothing, and returns NULL.
 *
 * Files: emulator_code (blocks), emulator_decode (Zydis to ops), emulator_memory (pages, what was
 * written), emulator_control (jumps, calls), and the instructions: _integer, _bits, _string, _vector
 * ...  Each of the last has a table of rules from which emulator_decode takes its functions.
 */
#pragma once

#include <stddef.h>

#include "base/memory.h"
#include "process/emulator.h"

enum {
    PAGE_BITS = 12,
    PAGE_BYTES = 1 << PAGE_BITS,
    NR_TLB_ENTRIES = 512,
    STACK_BYTES = 1 << 20,
    GUARD_BYTES = 1 << 16, /* unmapped before and behind the stack; the return address lies there */
    HEAP_BYTES = 64 << 20, /* emulator_allocate gives at most */
    RETURN_OFFSET = GUARD_BYTES / 2, /* of the outermost call, behind the stack */
    NR_VECTORS = 32,
    VECTOR_BYTES = 64,
    NR_MASKS = 8,
    MAX_OP_REGISTERS = 4,
};

/* The visible operands of an instruction: register, memory, immediate. */
enum op_form {
    FORM_NONE,
    FORM_R,
    FORM_M,
    FORM_I,
    FORM_RR,
    FORM_RM,
    FORM_RI,
    FORM_MR,
    FORM_MI,
    FORM_RRR,
    FORM_RRM,
    FORM_RMR,
    FORM_RRI,
    FORM_RMI,
    FORM_MRR,
    FORM_MRI,
    FORM_RRRI,
    FORM_RRMI,
    FORM_RRRR,
    FORM_RRMR,
    NR_FORMS,
};

struct machine;
struct op;
typedef struct op *op_fn(struct machine *machine, struct op *op);

union lane {
    uint8_t u8[16];
    uint16_t u16[8];
    uint32_t u32[4];
    uint64_t u64[2];
    int8_t i8[16];
    int16_t i16[8];
    int32_t i32[4];
    int64_t i64[2];
    float f32[4];
    double f64[2];
};

union vector {
    uint8_t bytes[VECTOR_BYTES];
    union lane lanes[VECTOR_BYTES / 16];
};

/* What a vector instruction does to 16 bytes; `to` is none of the sources. */
typedef void lane_fn(union lane *to, const union lane *a, const union lane *b, uint64_t immediate);

struct op {
    op_fn *run;
    union {
        struct op *next; /* of jumps: where it goes, once that is decoded */
        lane_fn *lane;
    };
    uint64_t pc;
    uint64_t immediate;
    uint64_t
        displacement; /* of the memory operand; absolute if relative to the pc; a jump's target */
    uint8_t base, index, scale, segment; /* slots (slot_get), and a shift */
    /* In the order of the operands: byte offset in the general registers, or a vector's number. */
    uint8_t r[MAX_OP_REGISTERS];
    uint8_t vectors, masks; /* bit i: r[i] is one */
    uint8_t size, shift;    /* bytes of the first operand; 64 - bits */
    uint8_t second_size;    /* of the second, if that is no immediate */
    uint8_t last_size;      /* of the last that is no immediate */
    uint8_t memory_size;    /* of the memory operand */
    uint8_t form;           /* enum op_form */
    uint8_t condition;      /* as in the opcode of jcc */
    uint8_t length;
    bool ends_block; /* what lies behind it is not reached from it */
    uint8_t aux;     /* from the rule */
    uint8_t is_vex;  /* zeroes the rest of a vector register */
    uint8_t mask;    /* EVEX: number of the mask register, 0: none */
    uint8_t is_zeroing;
};

/* Row of the table of a kind of instructions. */
struct op_rule {
    uint16_t mnemonic; /* ZydisMnemonic */
    uint32_t forms;    /* bit 1 << enum op_form: which it has */
    op_fn *run;
    op_fn *const *by_form; /* instead of `run`: by form, NULL where there is none */
    lane_fn *lane;
    uint8_t aux;
    uint8_t flags; /* enum op_rule_flag */
};

enum op_rule_flag {
    RULE_EVEX = 1,         /* has an EVEX form without masks */
    RULE_MASK = 2,         /* ... and with */
    RULE_VECTOR = 4,       /* 16, 32 or 64 bytes, SSE or AVX */
    RULE_MERGE = 8,        /* of SSE: the first operand is also the first source */
    RULE_ENDS = 16,        /* the block */
    RULE_MASK_MEMORY = 64, /* ... also where an operand lies in memory */
    RULE_TO_MASK = 32, /* EVEX: the first operand is a mask register; else another rule has it */
};

/*
 * ZF: `zero` == 0.  SF: bit 63 of `sign`.  PF: an even number of bits in `parity`.  AF is not kept: it reads
 * as 0 in lahf and pushf.  `unknown`: what the processor leaves undefined; reading it ends the run.
 */
enum flag_bit { FLAG_C = 1, FLAG_P = 2, FLAG_Z = 4, FLAG_S = 8, FLAG_O = 16 };
struct flags {
    uint64_t zero, sign;
    uint8_t parity, carry, overflow;
    uint8_t unknown; /* bits of enum flag_bit */
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

/* Tables, each ended by a row without a mnemonic. */
extern const struct op_rule integer_rules[], bit_rules[], multiply_rules[], control_rules[];
extern const struct op_rule vector_rules[], lane_rules[], shuffle_rules[], float_rules[];
extern const struct op_rule mask_rules[], state_rules[];
extern const struct op_rule *const op_rule_tables[];
