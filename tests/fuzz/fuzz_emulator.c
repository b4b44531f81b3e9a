/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The bytes are code and memory of a process: the first 16 say what is mapped and how, the others
 * are what lies there.  Run from some places of it, with all hooks; every run ends within its
 * budget, and gives the same after it was undone.
 */
#include <stdlib.h>
#include <string.h>

#include "process/emulator.h"

enum { HEADER_BYTES = 16, NR_PLACES = 4, PLACE_BYTES = 3 * 4096, BUDGET = 3000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct subject {
    struct target target;
    struct mapping mappings[NR_PLACES];
    struct core_segment segments[NR_PLACES];
    uint8_t *bytes;
    const uint8_t *header;
    uint64_t nr_told;
};

static void make_target(struct subject *subject, const uint8_t *data, size_t size)
{
    static const uint64_t starts[NR_PLACES] = {0x400000, 0x403000, 0x7f0000001000, 0x7fffffff0000};
    subject->header = data;
    subject->bytes = malloc(PLACE_BYTES);
    for (size_t i = 0; i < PLACE_BYTES; i++)
        subject->bytes[i] = data[HEADER_BYTES + i % (size - HEADER_BYTES)];
    subject->target = (struct target){
        .is_core = true, .mappings = subject->mappings, .segments = subject->segments};
    for (unsigned i = 0; i < NR_PLACES; i++) {
        uint8_t rights = data[i];
        if (rights & 64)
            continue;
        size_t nr = subject->target.nr_mappings++;
        size_t there = rights & 16 ? PLACE_BYTES - 100 : PLACE_BYTES;
        subject->mappings[nr] = (struct mapping){.start = starts[i],
                                                 .end = starts[i] + PLACE_BYTES,
                                                 .readable = !(rights & 32),
                                                 .writable = rights & 1,
                                                 .executable = !(rights & 2),
                                                 .is_device = (rights & 12) == 12,
                                                 .path = ""};
        subject->segments[subject->target.nr_segments++] =
            (struct core_segment){starts[i], there, subject->bytes};
    }
}

static void on_read(void *context, uint64_t addr, unsigned size_bytes, uint64_t value)
{
    struct subject *subject = context;
    if (size_bytes < 1 || size_bytes > 8)
        __builtin_trap();
    subject->nr_told += addr + value;
}

static void on_change(void *context, uint64_t addr, unsigned size_bytes, uint64_t before,
                      uint64_t after)
{
    struct subject *subject = context;
    subject->nr_told += addr + size_bytes + before + after;
}

static enum emulator_answer answer(struct subject *subject, struct emulator *emulator)
{
    uint64_t word = 0;
    emulator_read(emulator, emulator->registers[RSP], &word, sizeof(word));
    emulator->registers[RAX] = emulator_allocate(emulator, emulator->registers[RDI] % 5000);
    emulator_write(emulator, emulator->registers[RAX], &word, sizeof(word));
    return (enum emulator_answer)(subject->header[5] % 3);
}

static enum emulator_answer on_intercept(void *context, struct emulator *emulator)
{
    return answer(context, emulator);
}

static enum emulator_answer on_syscall(void *context, struct emulator *emulator, uint64_t number)
{
    (void)number;
    return answer(context, emulator);
}

static uint64_t run_once(struct subject *subject, struct emulator *emulator, uint64_t function)
{
    uint64_t args[6] = {0x400000, 0x403100, 0x7f0000001800, subject->header[6], 0x7fffffff0ff8, 3};
    uint64_t before = emulator->nr_instructions, digest;
    char text[100];
    subject->nr_told = 0;
    enum emulator_end end = emulator_run(emulator, function, args, subject->header[7] % 7, BUDGET);
    digest = (uint64_t)end + emulator->pc * 31 + emulator->nr_calls * 7;
    emulator_end_text(emulator, end, text, sizeof(text));
    if (end != EMULATOR_RETURNED && emulator->nr_calls)
        digest += emulator_abandon(emulator, subject->header[8] % emulator->nr_calls, BUDGET);
    if (emulator->nr_instructions - before > 2 * BUDGET)
        __builtin_trap();
    for (unsigned i = 0; i < NR_EMULATOR_REGISTERS; i++)
        digest = digest * 31 + emulator->registers[i];
    digest = digest * 31 + subject->nr_told + (emulator->nr_instructions - before);
    emulator_undo(emulator);
    return digest;
}

static void run_all(struct subject *subject)
{
    const struct emulator_hooks hooks = {subject, on_read, on_change, on_syscall};
    struct emulator *emulator = emulator_new(&subject->target, &hooks, subject->header[9] * 4096u);
    emulator_intercept(emulator, 0x400000 + subject->header[10], on_intercept, subject);
    emulator_set_thread_pointer(emulator, 0x403000 + subject->header[11]);
    for (unsigned i = 0; i < 4; i++) {
        uint64_t function = 0x400000 + i * subject->header[12] + (i == 3 ? 0x2ff0 : 0);
        if (run_once(subject, emulator, function) != run_once(subject, emulator, function))
            __builtin_trap();
    }
    emulator_free(emulator);
}

/* The input, and some inputs like it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { NR_VARIANTS = 20 };
    if (size <= HEADER_BYTES || size > PLACE_BYTES)
        return 0;
    uint8_t *copy = malloc(size);
    uint64_t random = size * 0x9e3779b97f4a7c15 | 1;
    memcpy(copy, data, size);
    for (unsigned i = 0; i < NR_VARIANTS; i++) {
        struct subject subject;
        make_target(&subject, copy, size);
        run_all(&subject);
        free(subject.bytes);
        for (unsigned k = 0; k < 4; k++) {
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            copy[random % size] = (uint8_t)(random >> 40);
        }
    }
    free(copy);
    return 0;
}
