/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Blocks of decoded code.  A block begins where control arrived and goes on, past conditional jumps
 * and calls, to the first jump that is always taken.  Blocks may overlap; they are found by their
 * first address, and jumps remember where they led.  When too much was decoded all is forgotten at
 * once: `generation` tells whoever looked something up that its ops may be gone.
 */
#include <stdlib.h>

#include "base/map.h"
#include "process/emulator_access.h"

enum {
    MAX_BLOCK_OPS = 48,
    CHUNK_OPS = 4096,
    MAX_CHUNKS = 256, /* about a million ops */
    MAX_INSTRUCTION_BYTES = 15,
};

struct code {
    struct decoder *decoder;
    struct map blocks; /* address -> position + 1 of the first op */
    struct op *chunks[MAX_CHUNKS];
    size_t nr_ops; /* of all chunks; a block lies in one */
    struct intercept *intercepts;
    size_t nr_intercepts, intercepts_capacity;
    struct map intercept_at; /* address -> position + 1 */
    unsigned generation;
};

void code_init(struct machine *machine)
{
    struct code *code = memory_alloc(sizeof(*code));
    machine->code = code;
    code->decoder = decoder_new();
    map_init(&code->blocks);
    map_init(&code->intercept_at);
}

void code_deinit(struct machine *machine)
{
    struct code *code = machine->code;
    for (unsigned i = 0; i < MAX_CHUNKS; i++)
        free(code->chunks[i]);
    map_deinit(&code->blocks);
    map_deinit(&code->intercept_at);
    free(code->intercepts);
    decoder_free(code->decoder);
    free(code);
}

const struct decoder *code_decoder(const struct machine *machine)
{
    return machine->code->decoder;
}

static void forget(struct machine *machine)
{
    struct code *code = machine->code;
    map_deinit(&code->blocks);
    map_init(&code->blocks);
    code->nr_ops = 0;
    code->generation++;
    for (size_t i = 0; i < machine->public.nr_calls; i++)
        machine->resumes[i] = NULL;
}

/* --- intercepts ------------------------------------------------------------------------------- */

void code_intercept(struct machine *machine, const struct intercept *intercept)
{
    struct code *code = machine->code;
    uint32_t *place = map_put(&code->intercept_at, intercept->addr, NULL);
    if (!*place) {
        code->intercepts = array_reserve(code->intercepts, &code->intercepts_capacity,
                                         code->nr_intercepts + 1, sizeof(*code->intercepts));
        *place = (uint32_t)++code->nr_intercepts;
    }
    code->intercepts[*place - 1] = *intercept;
    forget(machine);
}

const struct intercept *code_intercept_at(const struct machine *machine, uint64_t addr)
{
    const uint32_t *place = map_find(&machine->code->intercept_at, addr);
    return place ? &machine->code->intercepts[*place - 1] : NULL;
}

/* --- decoding --------------------------------------------------------------------------------- */

/* Bytes of code from an address on, as many as an instruction may have; 0: no code. */
static size_t fetch(struct machine *machine, uint64_t pc, uint8_t *bytes)
{
    const struct mapping *mapping = target_mapping_at(machine->target, pc);
    if (!mapping || !mapping->executable)
        return 0;
    size_t size = MAX_INSTRUCTION_BYTES;
    if (mapping->end - pc < size) { /* the next one may be code too */
        const struct mapping *next = target_mapping_at(machine->target, mapping->end);
        if (!next || !next->executable)
            size = mapping->end - pc;
    }
    if (memory_read(machine, pc, bytes, size))
        return size;
    size_t in_page = PAGE_BYTES - pc % PAGE_BYTES;
    return in_page < size && memory_read(machine, pc, bytes, in_page) ? in_page : 0;
}

/* False: nothing that comes behind it in memory follows it. */
static bool read_op(struct machine *machine, uint64_t pc, struct op *op)
{
    uint8_t bytes[MAX_INSTRUCTION_BYTES];
    *op = (struct op){.pc = pc, .run = op_run_no_code};
    if (pc == machine->stack_start + STACK_BYTES + RETURN_OFFSET) {
        op->run = op_run_outermost_return;
        return false;
    }
    size_t size = fetch(machine, pc, bytes);
    if (!size)
        return false;
    op->run = op_run_unknown;
    return decoder_read(machine->code->decoder, bytes, size, op) && !op->ends_block;
}

static struct op *room_for_block(struct machine *machine)
{
    struct code *code = machine->code;
    if (CHUNK_OPS - code->nr_ops % CHUNK_OPS < MAX_BLOCK_OPS + 2)
        code->nr_ops += CHUNK_OPS - code->nr_ops % CHUNK_OPS;
    if (code->nr_ops / CHUNK_OPS >= MAX_CHUNKS)
        forget(machine);
    struct op **chunk = &code->chunks[code->nr_ops / CHUNK_OPS];
    if (!*chunk)
        *chunk = memory_resize(NULL, CHUNK_OPS * sizeof(struct op));
    return *chunk + code->nr_ops % CHUNK_OPS;
}

static struct op *read_block(struct machine *machine, uint64_t pc)
{
    struct code *code = machine->code;
    struct op *first = room_for_block(machine), *op = first;
    *map_put(&code->blocks, pc, NULL) = (uint32_t)code->nr_ops + 1;
    if (code_intercept_at(machine, pc))
        *op++ = (struct op){.pc = pc, .run = op_run_intercept};
    bool goes_on = true;
    for (unsigned i = 0; i < MAX_BLOCK_OPS && goes_on; i++) {
        if (i && code_intercept_at(machine, pc))
            break;
        goes_on = read_op(machine, pc, op);
        pc += op->length;
        op++;
    }
    if (goes_on)
        *op++ = (struct op){.pc = pc, .run = op_run_continue, .displacement = pc};
    code->nr_ops += (size_t)(op - first);
    return first;
}

struct op *code_at(struct machine *machine, uint64_t pc)
{
    struct code *code = machine->code;
    const uint32_t *found = map_find(&code->blocks, pc);
    if (!found)
        return read_block(machine, pc);
    return code->chunks[(*found - 1) / CHUNK_OPS] + (*found - 1) % CHUNK_OPS;
}

struct op *code_follow(struct machine *machine, struct op *op)
{
    unsigned generation = machine->code->generation;
    struct op *next = code_at(machine, op->displacement);
    if (machine->code->generation == generation)
        op->next = next;
    return next;
}
