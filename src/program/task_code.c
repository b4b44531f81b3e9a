/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The machine code of a task's functions, as far as it is asked: how long it is, and what it calls.
 * Two builds of one program have the same code at other addresses, so lengths tell task types apart
 * that layouts do not.  Calls are known on x86-64 only.
 */
#include "program/tasks.h"

const uint8_t *task_code_at(const struct elf_file *elf, uint64_t addr, uint64_t *size)
{
    for (uint32_t i = 0; i < elf->nr_sections; i++) {
        const struct elf_section *s = &elf->sections[i];
        if (!(s->flags & SHF_EXECINSTR) || !s->bytes.data || addr < s->addr ||
            addr - s->addr >= s->bytes.size)
            continue;
        *size = s->bytes.size - (addr - s->addr);
        return s->bytes.data + (addr - s->addr);
    }
    return NULL;
}

uint32_t task_poll_bytes(const struct elf_file *program, const struct elf_file *symbols,
                         uint64_t addr)
{
    enum { JUMP = 0xe9, MAX_STUB_BYTES = 16 };
    const struct elf_symbol *symbol = elf_symbol_at(symbols, addr);
    uint64_t left;
    const uint8_t *code = task_code_at(program, addr, &left);
    if (!symbol)
        return 0;
    if (program->machine == EM_X86_64 && symbol->size_bytes <= MAX_STUB_BYTES && code &&
        left >= 5 && code[0] == JUMP) {
        int32_t distance;
        memcpy(&distance, code + 1, 4);
        const struct elf_symbol *real =
            elf_symbol_at(symbols, addr + 5 + (uint64_t)(int64_t)distance);
        symbol = real ? real : symbol;
    }
    return symbol->size_bytes > UINT32_MAX ? 0 : (uint32_t)symbol->size_bytes;
}

bool task_calls_begin(struct task_calls *calls, const struct elf_file *program,
                      const struct elf_file *symbols, uint64_t addr)
{
    enum { MAX_FUNCTION_BYTES = 8192 };
    uint64_t left;
    const struct elf_symbol *self = elf_symbol_at(symbols, addr);
    const uint8_t *code = task_code_at(program, addr, &left);
    if (!self || !code)
        return false;
    uint64_t size = self->size_bytes < MAX_FUNCTION_BYTES ? self->size_bytes : MAX_FUNCTION_BYTES;
    *calls = (struct task_calls){symbols, self, code, addr, size < left ? size : left, 0};
    return true;
}

const struct elf_symbol *task_calls_next(struct task_calls *calls)
{
    enum { CALL = 0xe8, JUMP = 0xe9, CALL_BYTES = 5 };
    while (calls->at + CALL_BYTES <= calls->size_bytes) {
        const uint64_t at = calls->at++;
        if (calls->code[at] != CALL && calls->code[at] != JUMP)
            continue;
        int32_t distance;
        memcpy(&distance, calls->code + at + 1, 4);
        uint64_t target = calls->addr + at + CALL_BYTES + (uint64_t)(int64_t)distance;
        const struct elf_symbol *symbol = elf_symbol_at(calls->symbols, target);
        if (symbol && symbol->addr == target && symbol != calls->self)
            return symbol;
    }
    return NULL;
}

/* The lengths of what the function at `addr` calls, and of what that calls; as names_from_calls. */
static uint64_t called_shape(const struct elf_file *program, const struct elf_file *symbols,
                             uint64_t addr, int depth, uint64_t hash)
{
    struct task_calls calls;
    if (program->machine != EM_X86_64 || !task_calls_begin(&calls, program, symbols, addr))
        return hash;
    for (const struct elf_symbol *symbol; (symbol = task_calls_next(&calls));) {
        hash = hash_u64(symbol->size_bytes, hash);
        if (depth > 0)
            hash = called_shape(program, symbols, symbol->addr, depth - 1, hash);
    }
    return hash;
}

uint32_t task_code_shape(const struct elf_file *program, const struct elf_file *symbols,
                         const struct task_vtable *vtable)
{
    uint64_t lengths[NR_TASK_FUNCTIONS];
    for (int i = 0; i < NR_TASK_FUNCTIONS; i++) {
        const struct elf_symbol *symbol = elf_symbol_at(symbols, vtable->slots[i]);
        if (!symbol)
            return 0;
        lengths[i] = symbol->size_bytes;
    }
    uint64_t called = called_shape(program, symbols, vtable->poll_addr, 2, 0);
    uint32_t hash = (uint32_t)hash_bytes(lengths, sizeof(lengths), called);
    return hash ? hash : 1;
}
