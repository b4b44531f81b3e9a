/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The emulator against the processor, one instruction at a time.  For each mnemonic that has a
 * rule, operands of all kinds and sizes are tried with Zydis' encoder; each form that the emulator
 * says to know is run, with random registers, flags and memory, by both, and everything that they
 * leave is compared.
 *
 *   test_emulator_cpu [seed [states a form]]
 *
 * A form of an extension that this processor lacks is not compared; how many were is told.
 */
#include "unit.h"

#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>

#include "emulator_forms.h"
#include "native_cpu.h"
#include "process/emulator_access.h"

enum { DATA_BYTES = 4096, CODE_BYTES = 24 << 20 };

static uint64_t random_state;
static unsigned nr_states = 250; /* of a form */
static uint8_t *data, *code;     /* data: a page between two that are not mapped */
static uint8_t *where;           /* a page with the address of the code to be run */
static struct emulator *emulator;
static struct target target;
static struct core_segment segments[3];
static struct mapping mappings[3];

/* --- states ----------------------------------------------------------------------------------- */

static uint64_t random_word(void)
{
    static const uint64_t words[] = {0,
                                     1,
                                     2,
                                     0x7f,
                                     0x80,
                                     0xff,
                                     0x7fff,
                                     0x8000,
                                     0xffff,
                                     0x7fffffff,
                                     0x80000000,
                                     0xffffffff,
                                     0x7fffffffffffffff,
                                     0x8000000000000000,
                                     ~(uint64_t)0};
    switch (random_below(&random_state, 4)) {
    case 0:
        return words[random_below(&random_state, 15)];
    case 1:
        return random_below(&random_state, 70);
    default:
        return random_next(&random_state);
    }
}

static uint64_t random_float_word(void)
{
    static const float singles[] = {0.0f, -0.0f, 1.0f, -1.5f, 3e38f, 1e-40f, 2147483648.0f, 0.5f};
    static const double doubles[] = {0.0,   -0.0,         1.0,          -1.5,
                                     1e308, 1e-310,       2147483648.0, 9223372036854775808.0,
                                     2.5,   -2147483649.0};
    union lane lane;
    if (random_below(&random_state, 2)) {
        lane.f64[0] = doubles[random_below(&random_state, 10)];
        if (random_below(&random_state, 8) == 0)
            lane.u64[0] = random_below(&random_state, 2) ? 0x7ff8000000000123 : 0x7ff0000000000456;
        return lane.u64[0];
    }
    for (unsigned i = 0; i < 2; i++) {
        lane.f32[i] = singles[random_below(&random_state, 8)];
        if (random_below(&random_state, 8) == 0)
            lane.u32[i] = random_below(&random_state, 2) ? 0xffc00321 : 0x7f800654;
    }
    return lane.u64[0];
}

static uint64_t random_vector_word(void)
{
    uint64_t kind = random_below(&random_state, 4);
    if (kind == 0)
        return random_float_word();
    if (kind == 1)
        return random_word();
    return random_next(&random_state) & 0x8101810181018101; /* many equal elements */
}

static void fill(uint8_t *bytes, size_t size)
{
    for (size_t at = 0; at < size; at += 8) {
        uint64_t word = random_vector_word();
        memcpy(bytes + at, &word, 8);
    }
}

enum { FLAGS_COMPARED = 1 | 4 | 64 | 128 | 2048, FLAGS_ALWAYS = 0x202 };

static uint64_t address_in_data(void)
{
    uint64_t offset = 1024 + random_below(&random_state, 1024);
    if (random_below(&random_state, 4))
        offset &= ~(uint64_t)63;
    if (random_below(&random_state, 40) == 0)
        offset = DATA_BYTES - random_below(&random_state, 24); /* over the end, or nearly */
    return (uint64_t)data + offset;
}

/* Registers that the memory operand adds up to an address in the data. */
static void aim(struct native_state *state, const struct subject *subject)
{
    for (unsigned i = 0; i < subject->instruction.operand_count; i++) {
        const ZydisDecodedOperand *operand = &subject->operands[i];
        if (operand->type != ZYDIS_OPERAND_TYPE_MEMORY ||
            operand->mem.base == ZYDIS_REGISTER_NONE || operand->mem.base == ZYDIS_REGISTER_RIP)
            continue;
        uint64_t offset = (uint64_t)operand->mem.disp.value;
        if (operand->mem.index != ZYDIS_REGISTER_NONE) {
            int index = ZydisRegisterGetId(operand->mem.index);
            state->registers[index] &= 0xff;
            offset += state->registers[index] * operand->mem.scale;
        }
        state->registers[ZydisRegisterGetId(operand->mem.base)] = address_in_data() - offset;
    }
}

static uint64_t *operand_register(struct native_state *state, const struct subject *subject,
                                  unsigned at)
{
    int id = ZydisRegisterGetId(subject->operands[at].reg.value);
    return &state->registers[id & 15];
}

static bool is_movs(ZydisMnemonic mnemonic)
{
    return mnemonic == ZYDIS_MNEMONIC_MOVSB || mnemonic == ZYDIS_MNEMONIC_MOVSW ||
           mnemonic == ZYDIS_MNEMONIC_MOVSD || mnemonic == ZYDIS_MNEMONIC_MOVSQ;
}

/* What would make nearly every state a trap, or never take one of two ways. */
static void make_likely(struct native_state *state, const struct subject *subject)
{
    ZydisMnemonic mnemonic = subject->instruction.mnemonic;
    if (subject->instruction.meta.category == ZYDIS_CATEGORY_STRINGOP) {
        state->registers[RCX] = random_below(&random_state, 40);
        if (is_movs(mnemonic) && random_below(&random_state, 4) == 0)
            state->registers[RSI] = state->registers[RDI] - random_below(&random_state, 20);
    }
    if ((mnemonic == ZYDIS_MNEMONIC_DIV || mnemonic == ZYDIS_MNEMONIC_IDIV) &&
        random_below(&random_state, 2)) {
        state->registers[RDX] =
            mnemonic == ZYDIS_MNEMONIC_IDIV ? (uint64_t)((int64_t)state->registers[RAX] >> 63) : 0;
        if (subject->operands[0].size == 8)
            state->registers[RAX] &= 0xff;
    }
    if (is_bit_test(mnemonic) && subject->operands[0].type == ZYDIS_OPERAND_TYPE_MEMORY &&
        subject->operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER) {
        int64_t bit = (int64_t)random_below(&random_state, 8000) - 4000;
        *operand_register(state, subject, 1) = (uint64_t)bit;
    }
    if (mnemonic == ZYDIS_MNEMONIC_POPFQ) { /* no trap, no direction, and interrupts as they are */
        state->registers[RSP] = (uint64_t)data + 1024;
        memset(data + 1025, 0, 7);
        data[1024] &= 0xd5;
    }
}

/* After the registers have their last values. */
static void make_equal(struct native_state *state, const struct subject *subject)
{
    ZydisMnemonic mnemonic = subject->instruction.mnemonic;
    if (random_below(&random_state, 2) ||
        (mnemonic != ZYDIS_MNEMONIC_CMPXCHG && mnemonic != ZYDIS_MNEMONIC_CMPXCHG8B &&
         mnemonic != ZYDIS_MNEMONIC_CMPXCHG16B))
        return;
    const ZydisDecodedOperand *operand = &subject->operands[0];
    if (operand->type == ZYDIS_OPERAND_TYPE_REGISTER) {
        state->registers[RAX] = *operand_register(state, subject, 0);
        return;
    }
    bool uses_rax =
        operand->mem.base == ZYDIS_REGISTER_RAX || operand->mem.index == ZYDIS_REGISTER_RAX ||
        operand->mem.base == ZYDIS_REGISTER_RDX || operand->mem.index == ZYDIS_REGISTER_RDX;
    uint64_t addr =
        state->registers[ZydisRegisterGetId(operand->mem.base)] + (uint64_t)operand->mem.disp.value;
    if (operand->mem.index != ZYDIS_REGISTER_NONE)
        addr += state->registers[ZydisRegisterGetId(operand->mem.index)] * operand->mem.scale;
    if (uses_rax || addr < (uint64_t)data || addr > (uint64_t)data + DATA_BYTES - 16)
        return;
    unsigned half = mnemonic == ZYDIS_MNEMONIC_CMPXCHG8B ? 4 : 8;
    memcpy(&state->registers[RAX], (void *)addr, half);
    if (mnemonic != ZYDIS_MNEMONIC_CMPXCHG)
        memcpy(&state->registers[RDX], (void *)(addr + half), half);
}

static void make_state(struct native_state *state, const struct subject *subject)
{
    for (unsigned i = 0; i < 16; i++)
        state->registers[i] = random_word();
    state->registers[RSP] = address_in_data() & ~(uint64_t)7;
    state->registers[RBP] =
        random_below(&random_state, 2) ? address_in_data() : state->registers[RBP];
    state->flags = FLAGS_ALWAYS | (random_next(&random_state) & FLAGS_COMPARED);
    for (unsigned i = 0; i < 8; i++)
        state->masks[i] = random_next(&random_state);
    fill((uint8_t *)state->vectors, sizeof(state->vectors));
    aim(state, subject);
    make_likely(state, subject);
    make_equal(state, subject);
}

/* --- running by the emulator ------------------------------------------------------------------ */

static struct native_state *emulated; /* before, then after */
static struct flags emulated_flags;

static void flags_from(struct flags *flags, uint64_t packed)
{
    *flags = (struct flags){.zero = !(packed & 64),
                            .sign = packed & 128 ? (uint64_t)1 << 63 : 0,
                            .parity = !(packed & 4),
                            .carry = packed & 1,
                            .overflow = (packed & 2048) != 0};
}

static uint64_t flags_to(const struct flags *flags)
{
    return FLAGS_ALWAYS | (uint64_t)(flags->carry != 0) | (uint64_t)flag_parity(flags) << 2 |
           (uint64_t)flag_zero(flags) << 6 | (uint64_t)flag_sign(flags) << 7 |
           (uint64_t)(flags->overflow != 0) << 11;
}

static enum emulator_answer at_begin(void *context, struct emulator *at)
{
    struct machine *machine = (struct machine *)at;
    (void)context;
    memcpy(at->registers, emulated->registers, sizeof(at->registers));
    memcpy(machine->vectors, emulated->vectors, sizeof(machine->vectors));
    memcpy(machine->masks, emulated->masks, sizeof(machine->masks));
    flags_from(&machine->flags, emulated->flags);
    return EMULATOR_GO_ON;
}

static enum emulator_answer at_end(void *context, struct emulator *at)
{
    struct machine *machine = (struct machine *)at;
    (void)context;
    memcpy(emulated->registers, at->registers, sizeof(at->registers));
    memcpy(emulated->vectors, machine->vectors, sizeof(machine->vectors));
    memcpy(emulated->masks, machine->masks, sizeof(machine->masks));
    emulated_flags = machine->flags;
    emulated->flags = flags_to(&machine->flags);
    return EMULATOR_STOP;
}

/* The code begins with a jump over a word of the data to what is to be run. */
static enum emulator_end run_emulated(struct native_state *state, const struct subject *subject,
                                      const uint8_t *memory)
{
    uint64_t to = (uint64_t)subject->code;
    emulated = state;
    emulator_undo(emulator);
    assert_true(emulator_write(emulator, (uint64_t)data, memory, DATA_BYTES));
    assert_true(emulator_write(emulator, (uint64_t)where, &to, 8));
    return emulator_run(emulator, (uint64_t)code, NULL, 0, 10000);
}

static void emulator_begin(void)
{
    uint8_t *starts[] = {data, where, code};
    const size_t sizes[] = {DATA_BYTES, DATA_BYTES, CODE_BYTES};
    assert_true(where < code); /* the target's mappings are in order */
    for (unsigned i = 0; i < 3; i++) {
        uint64_t start = (uint64_t)starts[i];
        segments[i] = (struct core_segment){start, sizes[i], starts[i]};
        mappings[i] = (struct mapping){.start = start,
                                       .end = start + sizes[i],
                                       .readable = true,
                                       .writable = starts[i] != code,
                                       .executable = starts[i] == code,
                                       .path = ""};
    }
    target = (struct target){.is_core = true,
                             .mappings = mappings,
                             .nr_mappings = 3,
                             .segments = segments,
                             .nr_segments = 3};
    emulator = emulator_new(&target, NULL, 16 << 20);
    emulator_intercept(emulator, (uint64_t)code, at_begin, NULL);
    emulator_intercept(emulator, (uint64_t)native_end, at_end, NULL);
}

/* --- comparing -------------------------------------------------------------------------------- */

static uint64_t unknown_flags(void)
{
    unsigned unknown = emulated_flags.unknown;
    return (unknown & FLAG_C ? 1u : 0) | (unknown & FLAG_P ? 4u : 0) |
           (unknown & FLAG_Z ? 64u : 0) | (unknown & FLAG_S ? 128u : 0) |
           (unknown & FLAG_O ? 2048u : 0);
}

static void print_bytes(const char *what, const uint8_t *bytes, size_t size)
{
    fprintf(stderr, "    %s", what);
    for (size_t i = 0; i < size; i++)
        fprintf(stderr, "%s%02x", i % 8 ? "" : " ", bytes[i]);
    fprintf(stderr, "\n");
}

static void tell(const struct form *form, const struct subject *subject, const char *what)
{
    char text[96];
    ZydisFormatter formatter;
    ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
    ZydisFormatterFormatInstruction(&formatter, &subject->instruction, subject->operands,
                                    subject->instruction.operand_count_visible, text, sizeof(text),
                                    0, NULL);
    fprintf(stderr, "%s: %s: %s\n", form->name, text, what);
    print_bytes("code", subject->code, subject->instruction.length);
}

struct trial {
    const struct form *form;
    const struct subject *subject;
    struct native_state before, native, emulated;
    uint8_t memory_before[DATA_BYTES], memory_emulated[DATA_BYTES];
};

static bool registers_equal(const struct trial *trial)
{
    bool ok = true;
    for (unsigned i = 0; i < 16; i++) {
        if (trial->native.registers[i] == trial->emulated.registers[i])
            continue;
        if (ok)
            tell(trial->form, trial->subject, "registers");
        ok = false;
        fprintf(stderr, "    r%u before %llx native %llx emulated %llx\n", i,
                (unsigned long long)trial->before.registers[i],
                (unsigned long long)trial->native.registers[i],
                (unsigned long long)trial->emulated.registers[i]);
    }
    return ok;
}

static bool vectors_equal(const struct trial *trial)
{
    unsigned size = native_vector_bytes();
    for (unsigned i = 0; i < (size == 64 ? 32 : 16); i++) {
        if (memcmp(trial->native.vectors[i], trial->emulated.vectors[i], size) == 0)
            continue;
        tell(trial->form, trial->subject, "vectors");
        fprintf(stderr, "    number %u\n", i);
        print_bytes("before  ", trial->before.vectors[i], size);
        print_bytes("native  ", trial->native.vectors[i], size);
        print_bytes("emulated", trial->emulated.vectors[i], size);
        return false;
    }
    if (size == 64 && memcmp(trial->native.masks, trial->emulated.masks, 64) != 0) {
        tell(trial->form, trial->subject, "masks");
        print_bytes("native  ", (const uint8_t *)trial->native.masks, 64);
        print_bytes("emulated", (const uint8_t *)trial->emulated.masks, 64);
        return false;
    }
    return true;
}

static bool flags_equal(const struct trial *trial)
{
    uint64_t differ =
        (trial->native.flags ^ trial->emulated.flags) & FLAGS_COMPARED & ~unknown_flags();
    if (!differ)
        return true;
    tell(trial->form, trial->subject, "flags");
    fprintf(stderr, "    before %llx native %llx emulated %llx (not known %llx)\n",
            (unsigned long long)trial->before.flags, (unsigned long long)trial->native.flags,
            (unsigned long long)trial->emulated.flags, (unsigned long long)unknown_flags());
    return false;
}

/* A flag that the manual calls undefined must be one that the emulator does not know. */
static bool undefined_are_unknown(const struct trial *trial)
{
    const ZydisAccessedFlags *flags = trial->subject->instruction.cpu_flags;
    uint64_t undefined = flags ? flags->undefined & FLAGS_COMPARED : 0;
    ZydisInstructionCategory category = trial->subject->instruction.meta.category;
    bool depends = category == ZYDIS_CATEGORY_SHIFT || category == ZYDIS_CATEGORY_ROTATE;
    if (depends || (undefined & ~unknown_flags()) == 0)
        return true;
    tell(trial->form, trial->subject, "an undefined flag is taken for known");
    fprintf(stderr, "    undefined %llx not known %llx\n", (unsigned long long)undefined,
            (unsigned long long)unknown_flags());
    return false;
}

static bool memory_equal(const struct trial *trial)
{
    if (memcmp(data, trial->memory_emulated, DATA_BYTES) == 0)
        return true;
    size_t at = 0;
    while (data[at] == trial->memory_emulated[at])
        at++;
    tell(trial->form, trial->subject, "memory");
    at = at > DATA_BYTES - 32 ? DATA_BYTES - 32 : at;
    print_bytes("before  ", trial->memory_before + at, 32);
    print_bytes("native  ", data + at, 32);
    print_bytes("emulated", trial->memory_emulated + at, 32);
    return false;
}

/* Both were stopped by a fault, or neither. */
static bool ends_agree(const struct trial *trial, int number, enum emulator_end end)
{
    ZydisMnemonic mnemonic = trial->subject->instruction.mnemonic;
    bool is_double = mnemonic == ZYDIS_MNEMONIC_SHLD || mnemonic == ZYDIS_MNEMONIC_SHRD;
    if (number == 0 && end == EMULATOR_STOPPED)
        return true;
    if (end == EMULATOR_INSTRUCTION && is_double)
        return true; /* by more bits than there are: the result is undefined */
    if (end == EMULATOR_MEMORY && (number == SIGSEGV || number == SIGBUS))
        return true;
    if (end == EMULATOR_INSTRUCTION && number == SIGFPE)
        return true;
    tell(trial->form, trial->subject, "ends");
    fprintf(stderr, "    native: signal %d, emulated: %d at %llx, fault %llx\n", number, end,
            (unsigned long long)emulator->pc, (unsigned long long)emulator->fault_addr);
    return false;
}

/* Which forms of which rule were run: by mnemonic, a bit for each enum op_form. */
static uint32_t covered[ZYDIS_MNEMONIC_MAX_VALUE + 1];

struct counts {
    uint64_t compared, faults;
    size_t forms, unknown, absent, failed;
};

/* False: they differ.  *number is the signal. */
static bool run_trial(struct trial *trial, int *number)
{
    fill(data, DATA_BYTES / 4); /* and the rest as it was */
    memcpy(data + 1024, data + random_below(&random_state, 512), 512);
    make_state(&trial->before, trial->subject);
    memcpy(trial->memory_before, data, DATA_BYTES);
    trial->native = trial->emulated = trial->before;
    *number = native_run(&trial->native, trial->subject->code);
    if (*number == SIGILL)
        return true;
    enum emulator_end end = run_emulated(&trial->emulated, trial->subject, trial->memory_before);
    if (!ends_agree(trial, *number, end))
        return false;
    if (end == EMULATOR_INSTRUCTION && *number != SIGFPE)
        return true;
    if (!emulator_read(emulator, (uint64_t)data, trial->memory_emulated, DATA_BYTES))
        return false;
    if (!memory_equal(trial))
        return false;
    if (end != EMULATOR_STOPPED)
        return true;
    return registers_equal(trial) && vectors_equal(trial) && flags_equal(trial) &&
           undefined_are_unknown(trial);
}

static bool is_known(const struct decoder *decoder, const struct subject *subject)
{
    struct op op = {.pc = (uint64_t)subject->code};
    if (!decoder_read(decoder, subject->code, subject->instruction.length, &op))
        return false;
    covered[subject->instruction.mnemonic] |= 1u << op.form;
    return true;
}

/* No encoding: nop has many forms, aligned stores no registers, ... */
static bool has_no_encoding(const struct op_rule *rule, unsigned form)
{
    static const ZydisMnemonic only_stored[] = {ZYDIS_MNEMONIC_MOVNTI,   ZYDIS_MNEMONIC_MOVNTDQ,
                                                ZYDIS_MNEMONIC_VMOVNTDQ, ZYDIS_MNEMONIC_MOVNTPS,
                                                ZYDIS_MNEMONIC_VMOVNTPS, ZYDIS_MNEMONIC_MOVNTPD,
                                                ZYDIS_MNEMONIC_VMOVNTPD, 0};
    static const ZydisMnemonic only_loaded[] = {ZYDIS_MNEMONIC_LDDQU, ZYDIS_MNEMONIC_VLDDQU,
                                                ZYDIS_MNEMONIC_MOVNTDQA, ZYDIS_MNEMONIC_VMOVNTDQA,
                                                0};
    static const ZydisMnemonic scalars[] = {ZYDIS_MNEMONIC_MOVSS,
                                            ZYDIS_MNEMONIC_MOVSD,
                                            ZYDIS_MNEMONIC_MOVLPS,
                                            ZYDIS_MNEMONIC_MOVLPD,
                                            ZYDIS_MNEMONIC_MOVHPS,
                                            ZYDIS_MNEMONIC_MOVHPD,
                                            ZYDIS_MNEMONIC_VMOVSS,
                                            ZYDIS_MNEMONIC_VMOVSD,
                                            ZYDIS_MNEMONIC_VMOVLPS,
                                            ZYDIS_MNEMONIC_VMOVLPD,
                                            ZYDIS_MNEMONIC_VMOVHPS,
                                            ZYDIS_MNEMONIC_VMOVHPD,
                                            0};
    bool is_avx = ZydisMnemonicGetString((ZydisMnemonic)rule->mnemonic)[0] == 'v';
    if (rule->mnemonic == ZYDIS_MNEMONIC_NOP)
        return form > FORM_M;
    if (rule->mnemonic == ZYDIS_MNEMONIC_TEST)
        return form == FORM_RM;
    /* SSE has two operands, AVX three, but for loads of movss. */
    if (is_one_of((ZydisMnemonic)rule->mnemonic, scalars))
        return is_avx ? form == FORM_RR || form == FORM_RM : form == FORM_RRR || form == FORM_RRM;
    if (is_one_of(rule->mnemonic, only_stored))
        return form != FORM_MR;
    if (is_one_of(rule->mnemonic, only_loaded))
        return form != FORM_RM;
    return is_jump(rule->mnemonic) || is_one_of(rule->mnemonic, forms_elsewhere);
}

/* Every form that a rule has was run. */
static unsigned count_uncovered(void)
{
    unsigned nr = 0;
    for (const struct op_rule *const *table = op_rule_tables; *table; table++) {
        for (const struct op_rule *rule = *table; rule->mnemonic && *table != state_rules; rule++) {
            for (unsigned form = 0; form < NR_FORMS; form++) {
                bool has = rule->by_form ? rule->by_form[form] != NULL : rule->forms >> form & 1;
                if (!has || covered[rule->mnemonic] >> form & 1 || has_no_encoding(rule, form))
                    continue;
                fprintf(stderr, "%s: form %u was not met\n",
                        ZydisMnemonicGetString((ZydisMnemonic)rule->mnemonic), form);
                nr++;
            }
        }
    }
    return nr;
}

static void run_form(const struct form *form, struct counts *counts, struct trial *trial)
{
    trial->form = form;
    unsigned nr_known = 0;
    for (unsigned i = 0; i < form->nr_subjects; i++)
        nr_known += is_known(code_decoder((struct machine *)emulator), &form->subjects[i]);
    if (!nr_known) {
        counts->unknown++;
        if (getenv("EMULATOR_UNKNOWN"))
            tell(form, &form->subjects[0], "not known");
        return;
    }
    counts->forms++;
    for (unsigned i = 0; i < nr_states; i++) {
        int number;
        trial->subject = &form->subjects[i % form->nr_subjects];
        if (!is_known(code_decoder((struct machine *)emulator), trial->subject))
            continue;
        bool ok = run_trial(trial, &number);
        if (number == SIGILL) {
            counts->absent++;
            return;
        }
        counts->compared++;
        counts->faults += number != 0;
        if (!ok) {
            counts->failed++;
            return;
        }
    }
}

/* In one piece: a page without access, the data, one without, the address, one without, code. */
static void begin(void)
{
    uint8_t *pages = native_code_new(5 * DATA_BYTES + CODE_BYTES);
    assert_non_null(pages);
    for (unsigned i = 0; i < 5; i += 2)
        mprotect(pages + i * DATA_BYTES, DATA_BYTES, PROT_NONE);
    data = pages + DATA_BYTES;
    where = pages + 3 * DATA_BYTES;
    code = pages + 5 * DATA_BYTES;
    const uint8_t jump[] = {0xff, 0x25}; /* jmp [rip + ...] */
    int32_t away = (int32_t)(where - (code + 6));
    memcpy(code, jump, sizeof(jump));
    memcpy(code + sizeof(jump), &away, sizeof(away));
}

static void test_all(void **state)
{
    (void)state;
    static struct trial trial;
    struct counts counts = {0};
    begin();
    forms_make(random_next(&random_state), code + 64, CODE_BYTES - 64);
    emulator_begin();
    for (size_t i = 0; i < nr_forms; i++)
        run_form(&forms[i], &counts, &trial);
    print_message(
        "%zu forms, %llu states, %llu faults; %zu forms not known, %zu not of this processor, "
        "%zu failed\n",
        counts.forms, (unsigned long long)counts.compared, (unsigned long long)counts.faults,
        counts.unknown, counts.absent, counts.failed);
    emulator_free(emulator);
    free(forms);
    assert_int_equal(counts.failed, 0);
    assert_int_equal(count_uncovered(), 0);
    assert_true(counts.forms > 500);
}

int main(int argc, char **argv)
{
    random_state = argc > 1 ? strtoull(argv[1], NULL, 0) : 20240607;
    nr_states = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 0) : nr_states;
    print_message("seed %llu\n", (unsigned long long)random_state);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
