/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Unwind tables of any bytes: rules are made for pcs all over them.  The first byte chooses: the rest is
 * an .eh_frame_hdr with what follows it; or call frame instructions of a CIE and an FDE that are well-formed.
 */
#include <stdlib.h>
#include <string.h>

#include "tracer/unwind_rules.h"

enum { MAX_BYTES = 65536, MAX_ROWS = 64, FUNCTION_BYTES = 256, FUNCTION_AT = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What no rule may be, whatever the bytes say. */
static void check_rule(const struct unwind_rule *rule)
{
    if (rule->kind == UNWIND_UNKNOWN || rule->kind > UNWIND_BROKEN)
        abort();
    if ((rule->kind == UNWIND_STEP || rule->kind == UNWIND_COMMON) &&
        (rule->cfa_base == UNWIND_FROM_NOTHING || rule->cfa_base == UNWIND_FROM_CFA ||
         rule->cfa_base > UNWIND_FROM_RBP_CELL || unwind_return_base(rule) == UNWIND_FROM_NOTHING ||
         unwind_return_base(rule) > UNWIND_FROM_CFA || unwind_rbp_base(rule) > UNWIND_FROM_CFA))
        abort();
}

/* Takes over the bytes. */
static void make_rules(uint8_t *bytes, size_t size, const uint64_t *pcs, size_t nr)
{
    static struct unwind_scratch scratch;
    struct unwind_tables tables = {
        .hdr = bytes, .nr_segments = 1, .segments = {{bytes, bytes + size}}};
    for (size_t i = 0; i < nr; i++) {
        for (int is_exact = 0; is_exact < 2; is_exact++) {
            struct unwind_rule rule = unwind_rule_make(&tables, pcs[i], is_exact, &scratch);
            check_rule(&rule);
        }
    }
    free(bytes);
}

/* The bytes as they are: at the pcs that the table's rows name, and behind. */
static void read_tables(const uint8_t *data, size_t size)
{
    uint64_t pcs[2 * MAX_ROWS];
    size_t nr = 0;
    uint8_t *bytes = malloc(size);
    if (!bytes)
        return;
    memcpy(bytes, data, size);
    for (size_t at = 12; at + 8 <= size && nr < 2 * MAX_ROWS; at += 8) {
        int32_t start;
        memcpy(&start, bytes + at, sizeof(start));
        pcs[nr++] = (uint64_t)(uintptr_t)bytes + (uint64_t)(int64_t)start;
        pcs[nr++] = (uint64_t)(uintptr_t)bytes + (uint64_t)(int64_t)start + 40;
    }
    make_rules(bytes, size, pcs, nr);
}

static uint8_t *add(uint8_t *to, const void *bytes, size_t nr)
{
    if (nr)
        memcpy(to, bytes, nr);
    return to + nr;
}

static uint8_t *add_u32(uint8_t *to, uint64_t value)
{
    uint32_t word = (uint32_t)value;
    return add(to, &word, sizeof(word));
}

/* A table of one function; `flags`: is it a signal's, how long is the CIE's part. */
static void read_program(uint8_t flags, const uint8_t *data, size_t size)
{
    static const uint8_t start[] = {1, 0x1b, 3, 0x3b};
    const char *letters = flags & 1 ? "zRS" : "zR";
    size_t first = size * (flags >> 4) / 32;
    uint8_t *bytes = malloc(size + 128), *to = add(bytes, start, sizeof(start));
    if (!bytes)
        return;
    to = add_u32(to, 0);
    to = add_u32(to, 1);
    to = add_u32(to, FUNCTION_AT);
    uint8_t *row = to;
    uint8_t *cie = to = to + 4;
    to = add_u32(to, 0);
    to = add_u32(to, 0);
    to = add(to, (const uint8_t[]){1}, 1);
    to = add(to, letters, strlen(letters) + 1);
    to = add(to, (const uint8_t[]){1, 0x78, 16, 1, 0x1b}, 5);
    to = add(to, data, first);
    add_u32(cie, (uint64_t)(to - cie - 4));
    uint8_t *fde = to;
    add_u32(row, (uint64_t)(fde - bytes));
    to = add_u32(to, 0);
    to = add_u32(to, (uint64_t)(to - cie));
    to = add_u32(to, (uint64_t)(bytes + FUNCTION_AT - to));
    to = add_u32(to, FUNCTION_BYTES);
    to = add(to, (const uint8_t[]){0}, 1);
    to = add(to, data + first, size - first);
    add_u32(fde, (uint64_t)(to - fde - 4));
    size_t all = (size_t)(to - bytes);
    uint64_t pcs[17];
    uint8_t *exact = malloc(all); /* no byte behind the last; all places in it are relative */
    if (!exact)
        exit(2);
    memcpy(exact, bytes, all);
    free(bytes);
    for (size_t i = 0; i < 17; i++)
        pcs[i] = (uint64_t)(uintptr_t)exact + FUNCTION_AT + i * 16;
    make_rules(exact, all, pcs, 17);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size || size > MAX_BYTES)
        return 0;
    if (data[0] == 0)
        read_tables(data + 1, size - 1);
    else
        read_program(data[0], data + 1, size - 1);
    return 0;
}
