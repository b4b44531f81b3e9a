/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A row of call frame information as a rule, where it has one.  The return address is mostly at CFA - 8 and
 * rbp at CFA - 16; whatever else compilers and hand-written code say is taken as long as it depends on
 * nothing but pc, sp and rbp.
 */
#include "tracer/unwind_rules.h"

enum { UCONTEXT_RBP = 120, UCONTEXT_RSP = 160, UCONTEXT_RIP = 168 };

static const struct unwind_rule broken = {.kind = UNWIND_BROKEN};
static const struct unwind_rule other = {.kind = UNWIND_OTHER};

static bool fits_16(int64_t value)
{
    return value >= INT16_MIN && value <= INT16_MAX;
}

static bool fits_32(int64_t value)
{
    return value >= INT32_MIN && value <= INT32_MAX;
}

/* The base for a register that is followed; UNWIND_FROM_NOTHING for others. */
static unsigned base_of(uint32_t value_base)
{
    if (value_base == UNWIND_VALUE_CFA)
        return UNWIND_FROM_CFA;
    if (value_base == UNWIND_VALUE_REGISTER + UNWIND_RSP)
        return UNWIND_FROM_SP;
    if (value_base == UNWIND_VALUE_REGISTER + UNWIND_RBP)
        return UNWIND_FROM_RBP;
    return UNWIND_FROM_NOTHING;
}

static struct cursor expression_of(const struct unwind_place *place)
{
    return cursor_make(place->expression, place->expression_bytes);
}

static bool take_cfa(const struct unwind_row *row, uint64_t pc, struct unwind_rule *rule)
{
    struct unwind_value value = {.base = UNWIND_VALUE_REGISTER + (uint32_t)(row->cfa_register & 31),
                                 .offset = row->cfa.value};
    if (row->cfa.how == UNWIND_EXPRESSION &&
        !unwind_expression(expression_of(&row->cfa), false, pc, &value))
        return false;
    unsigned base = base_of(value.base);
    if (base != UNWIND_FROM_SP && base != UNWIND_FROM_RBP)
        return false;
    if (value.is_in_memory) {
        base += UNWIND_FROM_SP_CELL - UNWIND_FROM_SP;
        if (value.outer)
            return false;
    }
    rule->cfa_base = (uint8_t)base;
    rule->cfa_offset = (int32_t)value.offset;
    return fits_32(value.offset);
}

/* Where in memory a register's value is; false: it is not in memory, or not near what is followed. */
static bool take_cell(const struct unwind_place *place, uint64_t pc, unsigned *base,
                      int16_t *offset)
{
    struct unwind_value value = {.base = UNWIND_VALUE_CFA, .offset = place->value};
    if (place->how == UNWIND_AT) {
        if (!unwind_expression(expression_of(place), true, pc, &value) || value.is_in_memory)
            return false;
    } else if (place->how != UNWIND_AT_CFA) {
        return false;
    }
    *base = base_of(value.base);
    *offset = (int16_t)value.offset;
    return *base != UNWIND_FROM_NOTHING && fits_16(value.offset);
}

/* The caller's sp is the CFA; where it is said to be in memory, that must be the CFA's cell. */
static bool sp_is_cfa(const struct unwind_row *row, uint64_t pc, const struct unwind_rule *rule)
{
    const struct unwind_place *sp = &row->registers[UNWIND_RSP];
    unsigned base;
    int16_t offset;
    if (sp->how == UNWIND_SAME || (sp->how == UNWIND_CFA_PLUS && !sp->value))
        return true;
    return take_cell(sp, pc, &base, &offset) && offset == rule->cfa_offset &&
           base + UNWIND_FROM_SP_CELL - UNWIND_FROM_SP == rule->cfa_base;
}

static struct unwind_rule rule_of_row(const struct unwind_row *row, uint64_t pc)
{
    const struct unwind_place *caller = &row->registers[UNWIND_RETURN];
    const struct unwind_place *rbp = &row->registers[UNWIND_RBP];
    struct unwind_rule rule = {.kind = UNWIND_STEP};
    /* The ABI ends chains by an undefined return address; an undefined rbp ends libunwind's. */
    if (caller->how == UNWIND_UNDEFINED || rbp->how == UNWIND_UNDEFINED)
        return (struct unwind_rule){.kind = UNWIND_ROOT};
    unsigned return_base, rbp_base = UNWIND_FROM_NOTHING;
    if (!take_cfa(row, pc, &rule) || !take_cell(caller, pc, &return_base, &rule.return_offset))
        return other;
    if (!sp_is_cfa(row, pc, &rule))
        return other;
    if (rbp->how != UNWIND_SAME && !take_cell(rbp, pc, &rbp_base, &rule.rbp_offset))
        return other;
    rule.bases = (uint8_t)(return_base | rbp_base << 4);
    return rule;
}

/* Says of a rule of the common form that it is one. */
static void mark_common(struct unwind_rule *rule)
{
    unsigned rbp_base = unwind_rbp_base(rule);
    bool has_rbp =
        rbp_base == UNWIND_FROM_CFA && rule->rbp_offset < -8 && rule->rbp_offset % 8 == 0;
    if (rule->kind != UNWIND_STEP || rule->is_signal || rule->cfa_base > UNWIND_FROM_RBP ||
        unwind_return_base(rule) != UNWIND_FROM_CFA || rule->return_offset != -8 ||
        (rbp_base && !has_rbp))
        return;
    rule->kind = UNWIND_COMMON;
    if (!rbp_base)
        rule->rbp_offset = -8;
}

struct unwind_rule unwind_signal_rule(void)
{
    return (struct unwind_rule){.cfa_offset = UCONTEXT_RSP,
                                .return_offset = UCONTEXT_RIP,
                                .rbp_offset = UCONTEXT_RBP,
                                .kind = UNWIND_STEP,
                                .cfa_base = UNWIND_FROM_SP_CELL,
                                .bases = UNWIND_FROM_SP | UNWIND_FROM_SP << 4,
                                .is_signal = 1};
}

struct unwind_rule unwind_rule_make(const struct unwind_tables *tables, uint64_t pc, bool is_exact,
                                    struct unwind_scratch *scratch)
{
    struct unwind_entry *entry = &scratch->entry;
    uint64_t looked_up = is_exact ? pc : pc - 1;
    if (!unwind_entry_find(tables, looked_up, entry))
        return (struct unwind_rule){.kind = UNWIND_GUESS};
    if (entry->return_register != UNWIND_RETURN ||
        !unwind_row_at(entry, looked_up, scratch, &scratch->row))
        return broken;
    struct unwind_rule rule = rule_of_row(&scratch->row, pc);
    rule.is_signal = entry->is_signal && rule.kind == UNWIND_STEP;
    mark_common(&rule);
    return rule;
}
