/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Instructions to compare the interpreter by: for each mnemonic that it has a rule for, operands of
 * all kinds and sizes are tried with Zydis' encoder.  What differs only in the registers is one
 * form.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <Zydis/Zydis.h>

enum { MAX_ENCODINGS = 12 }; /* of one form */

struct subject {
    ZydisDecodedInstruction instruction;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    uint8_t *code;
};

struct form {
    char name[64]; /* "add r32, m32" */
    struct subject subjects[MAX_ENCODINGS];
    unsigned nr_subjects;
};

extern struct form *forms; /* free() */
extern size_t nr_forms;

/* Puts the code of all subjects to `to`, each with the jump behind it. */
void forms_make(uint64_t seed, uint8_t *to, size_t size_bytes);

/* A list that is ended by 0. */
bool is_one_of(ZydisMnemonic mnemonic, const ZydisMnemonic *list);
bool is_jump(ZydisMnemonic mnemonic);
bool is_bit_test(ZydisMnemonic mnemonic);
extern const ZydisMnemonic forms_elsewhere[]; /* not made: tested as parts of functions */
