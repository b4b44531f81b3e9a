/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "emulator_forms.h"

#include "unit.h"

#include <stdio.h>

#include "native_cpu.h"
#include "process/emulator_access.h"

enum { MAX_FORMS = 8192, MAX_INSTRUCTION = 15 };

struct form *forms;
size_t nr_forms;
static uint64_t random_state;
static uint8_t *code;
static size_t code_used, code_bytes;

bool is_one_of(ZydisMnemonic mnemonic, const ZydisMnemonic *list)
{
    for (; *list; list++)
        if (*list == mnemonic)
            return true;
    return false;
}

static const char *operand_name(const ZydisDecodedOperand *operand, char *buffer, size_t size)
{
    const char *kind = "i";
    if (operand->type == ZYDIS_OPERAND_TYPE_MEMORY)
        kind = "m";
    if (operand->type == ZYDIS_OPERAND_TYPE_REGISTER) {
        ZydisRegisterClass class = ZydisRegisterGetClass(operand->reg.value);
        bool is_high =
            operand->reg.value >= ZYDIS_REGISTER_AH && operand->reg.value <= ZYDIS_REGISTER_BH;
        kind = class >= ZYDIS_REGCLASS_XMM && class <= ZYDIS_REGCLASS_ZMM ? "v"
               : class == ZYDIS_REGCLASS_MASK                             ? "k"
               : is_high                                                  ? "h"
                                                                          : "r";
    }
    if (operand->reg.value == ZYDIS_REGISTER_K0)
        kind = "none"; /* as a mask it means no mask */
    snprintf(buffer, size, "%s%u", kind, operand->size);
    return buffer;
}

static void form_name(const struct subject *subject, char *name, size_t size)
{
    static const char *const encodings[] = {"", " 3dnow", " xop", " vex", " evex", " mvex"};
    const char *lock = subject->instruction.attributes & ZYDIS_ATTRIB_HAS_LOCK ? "lock " : "";
    if (subject->instruction.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE))
        lock = "rep ";
    if (subject->instruction.attributes & ZYDIS_ATTRIB_HAS_REPNE)
        lock = "repne ";
    int at =
        snprintf(name, size, "%s%s%s", lock, ZydisMnemonicGetString(subject->instruction.mnemonic),
                 encodings[subject->instruction.encoding]);
    for (unsigned i = 0; i < subject->instruction.operand_count_visible; i++) {
        char buffer[16];
        at += snprintf(name + at, size - (size_t)at, " %s",
                       operand_name(&subject->operands[i], buffer, sizeof(buffer)));
    }
}

static struct form *form_of(const char *name)
{
    for (size_t i = 0; i < nr_forms; i++)
        if (strcmp(forms[i].name, name) == 0)
            return &forms[i];
    assert_true(nr_forms < MAX_FORMS);
    snprintf(forms[nr_forms].name, sizeof(forms->name), "%s", name);
    return &forms[nr_forms++];
}

bool is_bit_test(ZydisMnemonic mnemonic)
{
    return mnemonic == ZYDIS_MNEMONIC_BT || mnemonic == ZYDIS_MNEMONIC_BTS ||
           mnemonic == ZYDIS_MNEMONIC_BTR || mnemonic == ZYDIS_MNEMONIC_BTC;
}

/*
 * bt [rcx], rcx and its like reach anywhere, and pop [rsp + 0x12345] has its two operands far from
 * each other: they cannot be run natively.
 */
static bool reaches_anywhere(const struct subject *subject)
{
    const ZydisDecodedOperand *to = &subject->operands[0], *by = &subject->operands[1];
    ZydisMnemonic mnemonic = subject->instruction.mnemonic;
    if (to->type != ZYDIS_OPERAND_TYPE_MEMORY)
        return false;
    if (mnemonic == ZYDIS_MNEMONIC_POP || mnemonic == ZYDIS_MNEMONIC_PUSH)
        return to->mem.base == ZYDIS_REGISTER_RSP && llabs(to->mem.disp.value) > 64;
    if (!is_bit_test(mnemonic) || by->type != ZYDIS_OPERAND_TYPE_REGISTER)
        return false;
    int id = ZydisRegisterGetId(by->reg.value);
    return id == ZydisRegisterGetId(to->mem.base) || id == ZydisRegisterGetId(to->mem.index);
}

static void add_subject(const uint8_t *bytes, size_t size)
{
    struct subject subject;
    char name[64];
    static ZydisDecoder decoder;
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    if (ZYAN_FAILED(
            ZydisDecoderDecodeFull(&decoder, bytes, size, &subject.instruction, subject.operands)))
        return;
    if (reaches_anywhere(&subject))
        return;
    form_name(&subject, name, sizeof(name));
    struct form *form = form_of(name);
    if (form->nr_subjects == MAX_ENCODINGS || code_used + 64 > code_bytes)
        return;
    subject.code = code + code_used;
    code_used += native_code_put(subject.code, bytes, size);
    form->subjects[form->nr_subjects++] = subject;
}

/* --- making instructions ---------------------------------------------------------------------- */

/*
 * Kinds of operands: registers of 1 to 8 bytes, vectors, masks, memory of 1 to 64 bytes,
 * immediates.
 */
enum operand_kind {
    KIND_R8,
    KIND_R16,
    KIND_R32,
    KIND_R64,
    KIND_XMM,
    KIND_YMM,
    KIND_ZMM,
    KIND_MASK,
    KIND_M8,
    KIND_M64 = KIND_M8 + 3,
    KIND_M128,
    KIND_M512 = KIND_M8 + 6,
    KIND_IMMEDIATE,
    NR_KINDS,
};

static bool is_vector(unsigned kind)
{
    return kind >= KIND_XMM && kind <= KIND_ZMM;
}

static bool is_memory(unsigned kind)
{
    return kind >= KIND_M8 && kind <= KIND_M512;
}

static bool uses_high_vectors; /* that only EVEX has */

static ZydisRegister random_register(unsigned kind)
{
    static const ZydisRegister firsts[] = {0,
                                           ZYDIS_REGISTER_AX,
                                           ZYDIS_REGISTER_EAX,
                                           ZYDIS_REGISTER_RAX,
                                           ZYDIS_REGISTER_XMM0,
                                           ZYDIS_REGISTER_YMM0,
                                           ZYDIS_REGISTER_ZMM0,
                                           ZYDIS_REGISTER_K0};
    if (kind == KIND_R8 && random_below(&random_state, 3) == 0)
        return ZYDIS_REGISTER_CL; /* shifts have no other */
    if (kind == KIND_R8)          /* al ... bh, spl ... r15b */
        return ZYDIS_REGISTER_AL + (ZydisRegister)random_below(&random_state, 20);
    unsigned nr = kind == KIND_MASK ? 8 : 16;
    if (is_vector(kind) && uses_high_vectors)
        nr = 32;
    return firsts[kind] + (ZydisRegister)random_below(&random_state, nr);
}

static void random_memory(ZydisEncoderOperand *operand, uint16_t size)
{
    static const int displacements[] = {0, 8, -16, 64, 1000, -4096, 0x12345};
    operand->type = ZYDIS_OPERAND_TYPE_MEMORY;
    operand->mem.size = size;
    unsigned base = (unsigned)random_below(&random_state, 16), index;
    operand->mem.base = ZYDIS_REGISTER_RAX + (ZydisRegister)base;
    if (random_below(&random_state, 2)) {
        do
            index = (unsigned)random_below(&random_state, 16);
        while (index == base || index == RSP);
        operand->mem.index = ZYDIS_REGISTER_RAX + (ZydisRegister)index;
        operand->mem.scale = (uint8_t)(1u << random_below(&random_state, 4));
    }
    operand->mem.displacement = displacements[random_below(&random_state, 7)];
}

static void random_operand(ZydisEncoderOperand *operand, unsigned kind)
{
    static const int64_t values[] = {0,  1,   3,  7,    8,   15,   31,    33,
                                     63, 127, -1, -128, 100, 1000, 40000, -70000};
    *operand = (ZydisEncoderOperand){0};
    if (kind < KIND_M8) {
        operand->type = ZYDIS_OPERAND_TYPE_REGISTER;
        operand->reg.value = random_register(kind);
    } else if (is_memory(kind)) {
        random_memory(operand, (uint16_t)(1u << (kind - KIND_M8)));
    } else {
        operand->type = ZYDIS_OPERAND_TYPE_IMMEDIATE;
        operand->imm.s = values[random_below(&random_state, 16)];
        if (random_below(&random_state, 8) == 0)
            operand->imm.u = random_next(&random_state);
    }
}

/* With operands of these kinds; false: there is no such instruction. */
static bool try_kinds(ZydisMnemonic mnemonic, const uint8_t *kinds, unsigned nr,
                      ZydisInstructionAttributes prefixes)
{
    uint8_t bytes[MAX_INSTRUCTION];
    ZyanUSize size = sizeof(bytes);
    ZydisEncoderRequest request = {.machine_mode = ZYDIS_MACHINE_MODE_LONG_64,
                                   .mnemonic = mnemonic,
                                   .prefixes = prefixes,
                                   .operand_count = (uint8_t)nr};
    uses_high_vectors = random_below(&random_state, 5) == 0;
    for (unsigned i = 0; i < nr; i++)
        random_operand(&request.operands[i], kinds[i]);
    request.operands[3].reg.is4 = nr == 4 && is_vector(kinds[3]) && kinds[1] != KIND_MASK;
    /* Small immediates are likely to fit. */
    if (nr && kinds[nr - 1] == KIND_IMMEDIATE && random_below(&random_state, 2))
        request.operands[nr - 1].imm.u = random_below(&random_state, 128);
    if (nr > 1 && kinds[1] == KIND_MASK && kinds[0] != KIND_MASK)
        request.evex.zeroing_mask = random_below(&random_state, 3) == 0;
    if (nr > 1 && kinds[1] == KIND_MASK && random_below(&random_state, 4) == 0)
        request.operands[1].reg.value = ZYDIS_REGISTER_K0;
    if (ZYAN_FAILED(ZydisEncoderEncodeInstruction(&request, bytes, &size)))
        return false;
    add_subject(bytes, size);
    return true;
}

static void try_tuple(ZydisMnemonic mnemonic, const uint8_t *kinds, unsigned nr)
{
    enum { TRIES = 8, MORE = 40 };
    unsigned tries = nr && kinds[nr - 1] == KIND_IMMEDIATE ? 3 * TRIES : TRIES;
    bool has_any = false;
    for (unsigned i = 0; i < tries && !has_any; i++)
        has_any = try_kinds(mnemonic, kinds, nr, 0);
    for (unsigned i = 0; i < MORE && has_any; i++)
        try_kinds(mnemonic, kinds, nr, 0);
    for (unsigned i = 0; i < MORE / 2 && has_any && nr && is_memory(kinds[0]); i++)
        try_kinds(mnemonic, kinds, nr, ZYDIS_ATTRIB_HAS_LOCK);
}

/* Not all kinds in all places: what no instruction has is left out. */
static bool is_possible(const uint8_t *kinds, unsigned nr)
{
    unsigned nr_memory = 0;
    for (unsigned i = 0; i < nr; i++) {
        nr_memory += is_memory(kinds[i]);
        if (kinds[i] == KIND_IMMEDIATE && i + 1 < nr)
            return false;
    }
    if (nr_memory > 1 || (nr > 3 && (is_memory(kinds[0]) || !is_vector(kinds[1]))))
        return false;
    return nr < 4 || kinds[3] == KIND_IMMEDIATE || is_vector(kinds[3]);
}

static void try_with_mask(ZydisMnemonic mnemonic, const uint8_t *kinds, unsigned nr)
{
    bool has_vector = false;
    for (unsigned i = 0; i < nr; i++)
        has_vector |= is_vector(kinds[i]);
    if (!has_vector)
        return;
    const uint8_t with[5] = {kinds[0], KIND_MASK, kinds[1], nr > 2 ? kinds[2] : 0,
                             nr > 3 ? kinds[3] : 0};
    try_tuple(mnemonic, with, nr + 1);
}

static void make_mnemonic(ZydisMnemonic mnemonic)
{
    unsigned nr_tuples = 1;
    for (unsigned nr = 0; nr <= 4; nr++, nr_tuples *= NR_KINDS) {
        for (unsigned tuple = 0; tuple < nr_tuples; tuple++) {
            uint8_t kinds[4];
            for (unsigned i = 0, rest = tuple; i < nr; i++, rest /= NR_KINDS)
                kinds[i] = (uint8_t)(rest % NR_KINDS);
            if (!is_possible(kinds, nr))
                continue;
            try_tuple(mnemonic, kinds, nr);
            if (nr > 1)
                try_with_mask(mnemonic, kinds, nr);
        }
    }
}

static void make_string(ZydisMnemonic mnemonic)
{
    static const ZydisInstructionAttributes prefixes[] = {
        0, ZYDIS_ATTRIB_HAS_REP, ZYDIS_ATTRIB_HAS_REPE, ZYDIS_ATTRIB_HAS_REPNE};
    for (unsigned i = 0; i < 4; i++)
        try_kinds(mnemonic, NULL, 0, prefixes[i]);
}

/* Control leaves the code, or goes where no test can follow: tested as whole functions. */
const ZydisMnemonic forms_elsewhere[] = {ZYDIS_MNEMONIC_JMP, ZYDIS_MNEMONIC_CALL,
                                         ZYDIS_MNEMONIC_RET, ZYDIS_MNEMONIC_SYSCALL, 0};

bool is_jump(ZydisMnemonic mnemonic)
{
    return ZydisMnemonicGetString(mnemonic)[0] == 'j';
}

static void make_jumps(void)
{
    for (uint8_t condition = 0; condition < 16; condition++) {
        const uint8_t near[] = {0x0f, 0x80 | condition, 4, 0, 0, 0, 0x48, 0x8d, 0x40, 1};
        const uint8_t close[] = {0x70 | condition, 4, 0x48, 0x8d, 0x40, 1};
        add_subject(near, sizeof(near));
        add_subject(close, sizeof(close));
    }
    const uint8_t rcx[] = {0xe3, 4, 0x48, 0x8d, 0x40, 1},
                  ecx[] = {0x67, 0xe3, 4, 0x48, 0x8d, 0x40, 1};
    add_subject(rcx, sizeof(rcx));
    add_subject(ecx, sizeof(ecx));
}

void forms_make(uint64_t seed, uint8_t *to, size_t size_bytes)
{
    static const ZydisMnemonic strings[] = {
        ZYDIS_MNEMONIC_MOVSB, ZYDIS_MNEMONIC_MOVSW, ZYDIS_MNEMONIC_MOVSD,
        ZYDIS_MNEMONIC_MOVSQ, ZYDIS_MNEMONIC_STOSB, ZYDIS_MNEMONIC_STOSW,
        ZYDIS_MNEMONIC_STOSD, ZYDIS_MNEMONIC_STOSQ, ZYDIS_MNEMONIC_LODSB,
        ZYDIS_MNEMONIC_LODSW, ZYDIS_MNEMONIC_LODSD, ZYDIS_MNEMONIC_LODSQ,
        ZYDIS_MNEMONIC_CMPSB, ZYDIS_MNEMONIC_CMPSW, ZYDIS_MNEMONIC_CMPSD,
        ZYDIS_MNEMONIC_CMPSQ, ZYDIS_MNEMONIC_SCASB, ZYDIS_MNEMONIC_SCASW,
        ZYDIS_MNEMONIC_SCASD, ZYDIS_MNEMONIC_SCASQ, 0};
    random_state = seed;
    code = to;
    code_used = 0;
    code_bytes = size_bytes;
    forms = memory_alloc(MAX_FORMS * sizeof(*forms));
    for (const struct op_rule *const *table = op_rule_tables; *table; table++)
        for (const struct op_rule *rule = *table; rule->mnemonic && *table != state_rules; rule++)
            if (!is_one_of(rule->mnemonic, forms_elsewhere) && !is_jump(rule->mnemonic))
                make_mnemonic(rule->mnemonic);
    for (const ZydisMnemonic *mnemonic = strings; *mnemonic; mnemonic++)
        make_string(*mnemonic);
    make_jumps();
}
