/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * From bytes to ops.  Zydis says what an instruction is and which operands it has; the rule of its
 * mnemonic says which function runs it.  What has no rule, or an operand, prefix or encoding that
 * the rule does not have, is not known, and ends a run that comes to it.  Immutable once it is
 * made.
 */
#include <stdlib.h>

#include <Zydis/Zydis.h>

#include "process/emulator_string.h"

struct decoder {
    ZydisDecoder zydis;
    const struct op_rule *rules[ZYDIS_MNEMONIC_MAX_VALUE + 1];
    const struct op_rule *rules_to_mask[ZYDIS_MNEMONIC_MAX_VALUE + 1];
};

enum { MAX_OPERANDS = 4 };

/* An instruction on its way to become an op. */
struct decoding {
    ZydisDecodedInstruction instruction;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    unsigned nr_registers, nr_immediates;
    char kinds[MAX_OPERANDS + 1]; /* 'R', 'M', 'I' */
};

const struct op_rule *const op_rule_tables[] = {
    integer_rules, exchange_rules, shift_rules, bit_rules,     multiply_rules,
    control_rules, vector_rules,   lane_rules,  shuffle_rules, float_rules,
    mask_rules,    state_rules,    NULL,
};

struct decoder *decoder_new(void)
{
    struct decoder *decoder = memory_alloc(sizeof(*decoder));
    ZydisDecoderInit(&decoder->zydis, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    for (const struct op_rule *const *table = op_rule_tables; *table; table++)
        for (const struct op_rule *rule = *table; rule->mnemonic; rule++)
            *(rule->flags & RULE_TO_MASK ? &decoder->rules_to_mask[rule->mnemonic]
                                         : &decoder->rules[rule->mnemonic]) = rule;
    return decoder;
}

void decoder_free(struct decoder *decoder)
{
    free(decoder);
}

/* --- operands --------------------------------------------------------------------------------- */

/* Where a register lies in the machine, as ops name it; false: one that is not known. */
static bool register_place(ZydisRegister reg, uint8_t *place)
{
    int id = ZydisRegisterGetId(reg);
    switch (ZydisRegisterGetClass(reg)) {
    case ZYDIS_REGCLASS_GPR8:
        if (reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH)
            *place = (uint8_t)((reg - ZYDIS_REGISTER_AH) * 8 + 1);
        else if (reg <= ZYDIS_REGISTER_BL)
            *place = (uint8_t)((reg - ZYDIS_REGISTER_AL) * 8);
        else
            *place = (uint8_t)((reg - ZYDIS_REGISTER_SPL + 4) * 8);
        return true;
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64:
        *place = (uint8_t)(id * 8);
        return true;
    case ZYDIS_REGCLASS_XMM:
    case ZYDIS_REGCLASS_YMM:
    case ZYDIS_REGCLASS_ZMM:
    case ZYDIS_REGCLASS_MASK:
        *place = (uint8_t)id;
        return true;
    default:
        return false;
    }
}

static bool take_register(ZydisRegister reg, unsigned at, struct op *op)
{
    ZydisRegisterClass class = ZydisRegisterGetClass(reg);
    if (class == ZYDIS_REGCLASS_XMM || class == ZYDIS_REGCLASS_YMM || class == ZYDIS_REGCLASS_ZMM)
        op->vectors |= (uint8_t)(1u << at);
    if (class == ZYDIS_REGCLASS_MASK)
        op->masks |= (uint8_t)(1u << at);
    return register_place(reg, &op->r[at]);
}

static bool address_slot(ZydisRegister reg, uint8_t *slot)
{
    *slot = SLOT_ZERO;
    if (reg == ZYDIS_REGISTER_NONE || reg == ZYDIS_REGISTER_RIP)
        return true;
    *slot = (uint8_t)ZydisRegisterGetId(reg);
    return ZydisRegisterGetClass(reg) == ZYDIS_REGCLASS_GPR64;
}

static bool take_memory(const ZydisDecodedOperand *operand, uint8_t length, struct op *op)
{
    if (operand->mem.type != ZYDIS_MEMOP_TYPE_MEM && operand->mem.type != ZYDIS_MEMOP_TYPE_AGEN)
        return false;
    if (!address_slot(operand->mem.base, &op->base) ||
        !address_slot(operand->mem.index, &op->index))
        return false;
    op->scale = operand->mem.scale ? (uint8_t)__builtin_ctz(operand->mem.scale) : 0;
    op->displacement = operand->mem.disp.has_displacement ? (uint64_t)operand->mem.disp.value : 0;
    if (operand->mem.base == ZYDIS_REGISTER_RIP)
        op->displacement += op->pc + length;
    /* gs starts at 0 in Linux programs; the others do always. */
    op->segment = operand->mem.segment == ZYDIS_REGISTER_FS ? SLOT_THREAD : SLOT_ZERO;
    op->memory_size = (uint8_t)(operand->size / 8);
    return true;
}

static bool take_operand(struct decoding *decoding, unsigned at, struct op *op)
{
    const ZydisDecodedOperand *operand = &decoding->operands[at];
    uint8_t length = decoding->instruction.length;
    if (operand->type != ZYDIS_OPERAND_TYPE_IMMEDIATE)
        op->last_size = (uint8_t)(operand->size / 8);
    switch (operand->type) {
    case ZYDIS_OPERAND_TYPE_REGISTER:
        decoding->kinds[at] = 'R';
        return decoding->nr_registers < MAX_OP_REGISTERS &&
               take_register(operand->reg.value, decoding->nr_registers++, op);
    case ZYDIS_OPERAND_TYPE_MEMORY:
        decoding->kinds[at] = 'M';
        return take_memory(operand, length, op);
    case ZYDIS_OPERAND_TYPE_IMMEDIATE:
        decoding->kinds[at] = 'I';
        op->immediate = operand->imm.value.u;
        if (operand->imm.is_relative)
            op->displacement = op->pc + length + operand->imm.value.u;
        return decoding->nr_immediates++ == 0;
    default:
        return false;
    }
}

static bool find_form(const char *kinds, uint8_t *form)
{
    static const char names[NR_FORMS][5] = {"",    "R",   "M",    "I",    "RR",   "RM",  "RI",
                                            "MR",  "MI",  "RRR",  "RRM",  "RMR",  "RRI", "RMI",
                                            "MRR", "MRI", "RRRI", "RRMI", "RRRR", "RRMR"};
    for (unsigned i = 0; i < NR_FORMS; i++) {
        if (strcmp(names[i], kinds) == 0) {
            *form = (uint8_t)i;
            return true;
        }
    }
    return false;
}

static bool take_operands(struct decoding *decoding, struct op *op)
{
    unsigned nr = decoding->instruction.operand_count_visible;
    /* A mask register stands among the operands of EVEX instructions; it is taken apart. */
    unsigned kept = 0;
    for (unsigned i = 0; i < nr; i++)
        if (decoding->operands[i].encoding != ZYDIS_OPERAND_ENCODING_MASK)
            decoding->operands[kept++] = decoding->operands[i];
    nr = kept;
    if (nr > MAX_OPERANDS)
        return false;
    for (unsigned i = 0; i < nr; i++)
        if (!take_operand(decoding, i, op))
            return false;
    if (nr) {
        op->size = (uint8_t)(decoding->operands[0].size / 8);
        op->shift = op->size <= 8 ? (uint8_t)shift_of(op->size) : 0;
    }
    if (nr > 1 && decoding->kinds[1] != 'I')
        op->second_size = (uint8_t)(decoding->operands[1].size / 8);
    return find_form(decoding->kinds, &op->form);
}

/* --- rules ------------------------------------------------------------------------------------ */

static bool encoding_fits(const struct decoding *decoding, const struct op_rule *rule,
                          struct op *op)
{
    const ZydisDecodedInstruction *instruction = &decoding->instruction;
    if (instruction->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY)
        return true;
    op->is_vex = 1;
    if (instruction->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX)
        return true;
    if (instruction->encoding != ZYDIS_INSTRUCTION_ENCODING_EVEX || !(rule->flags & RULE_EVEX))
        return false;
    uint8_t mask = 0;
    if (instruction->avx.mask.reg != ZYDIS_REGISTER_NONE)
        register_place(instruction->avx.mask.reg, &mask);
    op->mask = mask;
    op->is_zeroing = instruction->avx.mask.mode == ZYDIS_MASK_MODE_ZEROING;
    bool is_broadcast = instruction->avx.broadcast.mode != ZYDIS_BROADCAST_MODE_INVALID &&
                        !instruction->avx.broadcast.is_static;
    uint8_t needed = op->memory_size ? RULE_MASK_MEMORY : RULE_MASK;
    return !is_broadcast && (!mask || rule->flags & needed) && !instruction->avx.has_sae &&
           instruction->avx.rounding.mode == ZYDIS_ROUNDING_MODE_INVALID;
}

/* SSE's `pxor a, b` is `a = a ^ b`: as VEX has it, with three operands. */
static bool merge_first(struct op *op)
{
    static const uint8_t merged[NR_FORMS] = {[FORM_RI] = FORM_RRI,

                                             [FORM_RR] = FORM_RRR,
                                             [FORM_RM] = FORM_RRM,
                                             [FORM_RRI] = FORM_RRRI,
                                             [FORM_RMI] = FORM_RRMI};
    if (!merged[op->form])
        return false;
    op->form = merged[op->form];
    memmove(op->r + 1, op->r, MAX_OP_REGISTERS - 1);
    return true;
}

static bool apply_rule(const struct decoding *decoding, const struct op_rule *rule, struct op *op)
{
    if (!encoding_fits(decoding, rule, op))
        return false;
    if (rule->flags & RULE_MERGE && !op->is_vex && !merge_first(op))
        return false;
    if (rule->flags & RULE_VECTOR && op->size != 16 && op->size != 32 && op->size != 64)
        return false;
    if (!rule->by_form && !(rule->forms >> op->form & 1))
        return false;
    op_fn *run = rule->by_form ? rule->by_form[op->form] : rule->run;
    if (!run)
        return false;
    op->run = run;
    op->aux = rule->aux;
    op->ends_block = rule->flags & RULE_ENDS;
    if (rule->lane)
        op->lane = rule->lane;
    return true;
}

static bool prefixes_fit(const ZydisDecodedInstruction *instruction)
{
    bool is_of_stack = instruction->meta.category == ZYDIS_CATEGORY_PUSH ||
                       instruction->meta.category == ZYDIS_CATEGORY_POP ||
                       instruction->meta.category == ZYDIS_CATEGORY_RET ||
                       instruction->mnemonic == ZYDIS_MNEMONIC_LEAVE;
    if (is_of_stack && instruction->operand_width != 64)
        return false;
    /* Undefined, and of no use. */
    if (instruction->operand_width == 16 && (instruction->mnemonic == ZYDIS_MNEMONIC_BSWAP ||
                                             instruction->mnemonic == ZYDIS_MNEMONIC_MOVSXD))
        return false;
    /* `lea` with 32-bit addresses and the like is not made by compilers for x86-64. */
    if (instruction->address_width != 64)
        return instruction->meta.branch_type != ZYDIS_BRANCH_TYPE_NONE &&
               instruction->raw.modrm.offset == 0;
    return true;
}

bool decoder_read(const struct decoder *decoder, const uint8_t *bytes, size_t size, struct op *op)
{
    struct decoding decoding = {0};
    ZydisDecodedInstruction *instruction = &decoding.instruction;
    if (ZYAN_FAILED(
            ZydisDecoderDecodeFull(&decoder->zydis, bytes, size, instruction, decoding.operands)))
        return false;
    op->length = instruction->length;
    op->condition = instruction->opcode & 15;
    op->base = op->index = op->segment = SLOT_ZERO;
    if (!prefixes_fit(instruction))
        return false;
    if (instruction->meta.category == ZYDIS_CATEGORY_STRINGOP)
        return string_decode(instruction, op);
    op_fn *unknown = op->run;
    if (take_operands(&decoding, op)) {
        bool is_to_mask = op->masks & 1 && op->vectors;
        const struct op_rule *rule = is_to_mask ? decoder->rules_to_mask[instruction->mnemonic]
                                                : decoder->rules[instruction->mnemonic];
        if (rule && apply_rule(&decoding, rule, op))
            return true;
    }
    op->run = unknown;
    return false;
}

const char *decoder_name(const struct decoder *decoder, const uint8_t *bytes, size_t size)
{
    ZydisDecodedInstruction instruction;
    if (ZYAN_FAILED(
            ZydisDecoderDecodeInstruction(&decoder->zydis, NULL, bytes, size, &instruction)))
        return "";
    const char *name = ZydisMnemonicGetString(instruction.mnemonic);
    return name ? name : "";
}
