/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Call frame instructions: DWARF 4, section 6.4.2, and GNU's extensions.  Registers beyond those of x86-64's
 * integer unit are passed over.
 */
#include "tracer/unwind_program.h"

enum {
    CFA_ADVANCE_LOC = 0x40,
    CFA_OFFSET = 0x80,
    CFA_RESTORE = 0xc0,
    CFA_NOP = 0x00,
    CFA_SET_LOC = 0x01,
    CFA_ADVANCE_LOC1 = 0x02,
    CFA_ADVANCE_LOC2 = 0x03,
    CFA_ADVANCE_LOC4 = 0x04,
    CFA_OFFSET_EXTENDED = 0x05,
    CFA_RESTORE_EXTENDED = 0x06,
    CFA_UNDEFINED = 0x07,
    CFA_SAME_VALUE = 0x08,
    CFA_REGISTER = 0x09,
    CFA_REMEMBER_STATE = 0x0a,
    CFA_RESTORE_STATE = 0x0b,
    CFA_DEF_CFA = 0x0c,
    CFA_DEF_CFA_REGISTER = 0x0d,
    CFA_DEF_CFA_OFFSET = 0x0e,
    CFA_DEF_CFA_EXPRESSION = 0x0f,
    CFA_EXPRESSION = 0x10,
    CFA_OFFSET_EXTENDED_SF = 0x11,
    CFA_DEF_CFA_SF = 0x12,
    CFA_DEF_CFA_OFFSET_SF = 0x13,
    CFA_VAL_OFFSET = 0x14,
    CFA_VAL_OFFSET_SF = 0x15,
    CFA_VAL_EXPRESSION = 0x16,
    CFA_GNU_ARGS_SIZE = 0x2e,
    CFA_GNU_NEGATIVE_OFFSET = 0x2f,
};

struct run {
    const struct unwind_entry *entry;
    struct unwind_scratch *scratch;
    struct unwind_row *row;
    struct cursor c;
    uint64_t at; /* pc that the next instruction is for */
    uint32_t nr_remembered;
};

static void set(struct run *run, uint64_t number, enum unwind_how how, int64_t value)
{
    if (number < UNWIND_REGISTERS)
        run->row->registers[number] = (struct unwind_place){.value = value, .how = how};
}

static void set_expression(struct run *run, struct unwind_place *place, enum unwind_how how)
{
    uint64_t bytes = cursor_uleb(&run->c);
    const uint8_t *start = run->c.pos;
    if (cursor_skip(&run->c, bytes) && place)
        *place = (struct unwind_place){
            .expression = start, .expression_bytes = (uint32_t)bytes, .how = how};
}

static struct unwind_place *place_of(struct run *run, uint64_t number)
{
    return number < UNWIND_REGISTERS ? &run->row->registers[number] : NULL;
}

static void restore(struct run *run, uint64_t number)
{
    if (number < UNWIND_REGISTERS)
        run->row->registers[number] = run->scratch->first.registers[number];
}

static int64_t factored(const struct run *run, uint64_t value)
{
    return (int64_t)(value * (uint64_t)run->entry->data_align);
}

static void set_cfa(struct run *run, uint64_t number, int64_t value)
{
    run->row->cfa_register = number;
    run->row->cfa = (struct unwind_place){.value = value, .how = UNWIND_IN};
}

static void advance(struct run *run, uint64_t by)
{
    run->at += by * run->entry->code_align;
}

static void remember(struct run *run)
{
    uint32_t most = sizeof(run->scratch->remembered) / sizeof(run->scratch->remembered[0]);
    if (run->nr_remembered == most)
        cursor_fail(&run->c);
    else
        run->scratch->remembered[run->nr_remembered++] = *run->row;
}

static void recall(struct run *run)
{
    if (!run->nr_remembered)
        cursor_fail(&run->c);
    else
        *run->row = run->scratch->remembered[--run->nr_remembered];
}

static void step_location(struct run *run, uint8_t code)
{
    if (code == CFA_SET_LOC)
        run->at = unwind_pointer(&run->c, run->entry->pointer_encoding, run->entry->hdr);
    else
        advance(run, cursor_uint(&run->c, code == CFA_ADVANCE_LOC1   ? 1
                                          : code == CFA_ADVANCE_LOC2 ? 2
                                                                     : 4));
}

static void step_cfa(struct run *run, uint8_t code)
{
    struct unwind_row *row = run->row;
    if (code == CFA_DEF_CFA || code == CFA_DEF_CFA_SF) {
        uint64_t number = cursor_uleb(&run->c);
        set_cfa(run, number,
                code == CFA_DEF_CFA ? (int64_t)cursor_uleb(&run->c)
                                    : factored(run, (uint64_t)cursor_sleb(&run->c)));
    } else if (code == CFA_DEF_CFA_EXPRESSION) {
        set_expression(run, &row->cfa, UNWIND_EXPRESSION);
    } else if (row->cfa.how != UNWIND_IN) {
        cursor_fail(&run->c); /* the others change a register rule */
    } else if (code == CFA_DEF_CFA_REGISTER) {
        row->cfa_register = cursor_uleb(&run->c);
    } else {
        row->cfa.value = code == CFA_DEF_CFA_OFFSET ? (int64_t)cursor_uleb(&run->c)
                                                    : factored(run, (uint64_t)cursor_sleb(&run->c));
    }
}

/* The instructions that name a register first. */
static void step_register(struct run *run, uint8_t code)
{
    struct cursor *c = &run->c;
    uint64_t number = cursor_uleb(c);
    switch (code) {
    case CFA_OFFSET_EXTENDED:
        set(run, number, UNWIND_AT_CFA, factored(run, cursor_uleb(c)));
        break;
    case CFA_OFFSET_EXTENDED_SF:
        set(run, number, UNWIND_AT_CFA, factored(run, (uint64_t)cursor_sleb(c)));
        break;
    case CFA_GNU_NEGATIVE_OFFSET:
        set(run, number, UNWIND_AT_CFA, factored(run, 0 - cursor_uleb(c)));
        break;
    case CFA_VAL_OFFSET:
        set(run, number, UNWIND_CFA_PLUS, factored(run, cursor_uleb(c)));
        break;
    case CFA_VAL_OFFSET_SF:
        set(run, number, UNWIND_CFA_PLUS, factored(run, (uint64_t)cursor_sleb(c)));
        break;
    case CFA_RESTORE_EXTENDED:
        restore(run, number);
        break;
    case CFA_UNDEFINED:
        set(run, number, UNWIND_UNDEFINED, 0);
        break;
    case CFA_SAME_VALUE:
        set(run, number, UNWIND_SAME, 0);
        break;
    case CFA_REGISTER:
        set(run, number, UNWIND_IN, (int64_t)cursor_uleb(c));
        break;
    case CFA_EXPRESSION:
        set_expression(run, place_of(run, number), UNWIND_AT);
        break;
    case CFA_VAL_EXPRESSION:
        set_expression(run, place_of(run, number), UNWIND_EXPRESSION);
        break;
    default:
        cursor_fail(c);
    }
}

static void step(struct run *run, uint8_t code)
{
    uint8_t low = code & 0x3f;
    switch (code & 0xc0) {
    case CFA_ADVANCE_LOC:
        advance(run, low);
        return;
    case CFA_OFFSET:
        set(run, low, UNWIND_AT_CFA, factored(run, cursor_uleb(&run->c)));
        return;
    case CFA_RESTORE:
        restore(run, low);
        return;
    default:
        break;
    }
    if (code == CFA_NOP)
        return;
    if (code <= CFA_ADVANCE_LOC4)
        step_location(run, code);
    else if (code == CFA_REMEMBER_STATE)
        remember(run);
    else if (code == CFA_RESTORE_STATE)
        recall(run);
    else if (code == CFA_GNU_ARGS_SIZE)
        (void)cursor_uleb(&run->c);
    else if ((code >= CFA_DEF_CFA && code <= CFA_DEF_CFA_EXPRESSION) || code == CFA_DEF_CFA_SF ||
             code == CFA_DEF_CFA_OFFSET_SF)
        step_cfa(run, code);
    else
        step_register(run, code);
}

/* Runs instructions until one is for a later pc. */
static bool run_until(struct run *run, struct cursor program, uint64_t pc)
{
    run->c = program;
    while (run->c.pos < run->c.end && run->at <= pc)
        step(run, cursor_u8(&run->c));
    return !run->c.failed;
}

bool unwind_row_at(const struct unwind_entry *entry, uint64_t pc, struct unwind_scratch *scratch,
                   struct unwind_row *row)
{
    struct run run = {.entry = entry, .scratch = scratch, .row = row, .at = entry->start};
    *row = (struct unwind_row){0};
    scratch->first = *row;
    if (!run_until(&run, entry->first, UINT64_MAX))
        return false;
    scratch->first = *row;
    run.at = entry->start;
    run.nr_remembered = 0;
    return run_until(&run, entry->program, pc);
}
