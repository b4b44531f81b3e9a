/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * One decoded instruction (struct op), and the rules by which emulator_decode makes it: for each
 * mnemonic the function that runs it and the forms that it has.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
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

/* Tables, each ended by a row without a mnemonic. */
extern const struct op_rule integer_rules[], exchange_rules[], shift_rules[], bit_rules[],
    multiply_rules[], control_rules[];
extern const struct op_rule vector_rules[], lane_rules[], shuffle_rules[], float_rules[];
extern const struct op_rule mask_rules[], state_rules[];
extern const struct op_rule *const op_rule_tables[];
