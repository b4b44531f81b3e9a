/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Runs a few bytes of code on the real processor from a given state of its registers, and gives back the
 * state after them: what an interpreter is compared with.  One thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct native_state {
    uint64_t registers[16]; /* as the processor numbers them */
    uint64_t flags;
    uint64_t masks[8];
    _Alignas(64) uint8_t vectors[32][64];
};

/* How much of a vector register this processor has: 16, 32 or 64 bytes. */
unsigned native_vector_bytes(void);
/*
 * Memory for code.  Each piece ends with a jump to native_end.
 */
void *native_code_new(size_t size_bytes);
/* Puts `size` bytes of code and the jump behind it; returns the bytes it took. */
size_t native_code_put(uint8_t *to, const uint8_t *code, size_t size);
extern const char native_end[];
/* The signal that the code raised, 0: none; then `state` is as it was. */
int native_run(struct native_state *state, const void *code);
