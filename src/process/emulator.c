/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Runs from call to end.  The first call's return address is a place behind the stack where nothing
 * is; coming there ends the run.  How the rest is divided: process/emulator_part.h.
 */
#include <stdio.h>
#include <stdlib.h>

#include "process/emulator_access.h"

static struct machine *machine_of(struct emulator *emulator)
{
    return (struct machine *)emulator;
}

struct emulator *emulator_new(const struct target *target, const struct emulator_hooks *hooks,
                              size_t cache_bytes)
{
    struct machine *machine = aligned_alloc(64, (sizeof(*machine) + 63) / 64 * 64);
    if (!machine)
        machine = memory_alloc(~(size_t)0 / 2); /* tells it and ends */
    memset(machine, 0, sizeof(*machine));
    machine->target = target;
    if (hooks)
        machine->hooks = *hooks;
    memory_init(machine, cache_bytes);
    code_init(machine);
    return &machine->public;
}

void emulator_free(struct emulator *emulator)
{
    if (!emulator)
        return;
    struct machine *machine = machine_of(emulator);
    memory_deinit(machine);
    code_deinit(machine);
    free(machine->calls);
    free(machine->resumes);
    free(machine);
}

void emulator_intercept(struct emulator *emulator, uint64_t addr, emulator_intercept_fn *intercept,
                        void *context)
{
    code_intercept(machine_of(emulator), &(struct intercept){addr, intercept, context});
}

void emulator_set_thread_pointer(struct emulator *emulator, uint64_t fs_base)
{
    machine_of(emulator)->thread_pointer = fs_base;
}

static enum emulator_end run_from(struct machine *machine, struct op *op, uint64_t max_instructions)
{
    machine->left = max_instructions;
    while (op) {
        machine->op = op;
        if (!machine->left) {
            machine->end = EMULATOR_BUDGET;
            break;
        }
        machine->left--;
        op = op->run(machine, op);
    }
    machine->public.nr_instructions += max_instructions - machine->left;
    machine->public.pc = machine->op->pc;
    return machine->end;
}

enum emulator_end emulator_run(struct emulator *emulator, uint64_t function, const uint64_t *args,
                               unsigned nr_args, uint64_t max_instructions)
{
    static const uint8_t places[] = {RDI, RSI, RDX, RCX, R8, R9};
    struct machine *machine = machine_of(emulator);
    uint64_t top = machine->stack_start + STACK_BYTES, *registers = emulator->registers;
    uint64_t return_addr = top + RETURN_OFFSET;
    emulator->nr_calls = 0;
    emulator->pc = function;
    memset(registers, 0, sizeof(emulator->registers));
    memset(machine->vectors, 0, sizeof(machine->vectors));
    memset(machine->masks, 0, sizeof(machine->masks));
    machine->flags = (struct flags){.zero = 1, .parity = 1};
    for (unsigned i = 0; i < nr_args && i < sizeof(places); i++)
        registers[places[i]] = args[i];
    registers[RSP] = top - 64 - 8; /* as after the call of a function: 16 bytes and an address */
    if (!machine->has_room || !store(machine, registers[RSP], 8, return_addr) ||
        !machine_push_call(machine, function, return_addr, NULL))
        return EMULATOR_MEMORY;
    return run_from(machine, code_at(machine, function), max_instructions);
}

enum emulator_end emulator_abandon(struct emulator *emulator, size_t at, uint64_t max_instructions)
{
    static const uint8_t saved[] = {RBX, RBP, R12, R13, R14, R15};
    struct machine *machine = machine_of(emulator);
    if (at >= emulator->nr_calls)
        return EMULATOR_MEMORY;
    const struct emulator_call *call = &machine->calls[at];
    for (unsigned i = 0; i < sizeof(saved); i++)
        emulator->registers[saved[i]] = call->registers[saved[i]];
    emulator->registers[RSP] = call->registers[RSP] + 8;
    emulator->registers[RAX] = 0;
    emulator->nr_calls = at;
    emulator->pc = call->return_addr;
    return run_from(machine, code_at(machine, call->return_addr), max_instructions);
}

void emulator_undo(struct emulator *emulator)
{
    memory_undo(machine_of(emulator));
}

bool emulator_read(struct emulator *emulator, uint64_t addr, void *buffer, size_t size_bytes)
{
    return memory_read(machine_of(emulator), addr, buffer, size_bytes);
}

bool emulator_write(struct emulator *emulator, uint64_t addr, const void *bytes, size_t size_bytes)
{
    return memory_write(machine_of(emulator), addr, bytes, size_bytes);
}

uint64_t emulator_allocate(struct emulator *emulator, size_t size_bytes)
{
    struct machine *machine = machine_of(emulator);
    if (!machine->has_room || size_bytes > HEAP_BYTES)
        return 0;
    uint64_t size = size_bytes ? (size_bytes + 15) & ~(uint64_t)15 : 16;
    if (size > HEAP_BYTES - machine->heap_used_bytes)
        return 0;
    uint64_t addr = machine->heap_start + machine->heap_used_bytes;
    machine->heap_used_bytes += size;
    return addr;
}

bool emulator_is_own(const struct emulator *emulator, uint64_t addr)
{
    const struct machine *machine = (const struct machine *)emulator;
    if (!machine->has_room)
        return false;
    return is_on_stack(machine, addr) || addr - machine->heap_start < machine->heap_used_bytes;
}

/* "vaddps", or the address where no instruction could be read. */
static void instruction_text(struct emulator *emulator, char *buffer, size_t buffer_bytes)
{
    struct machine *machine = machine_of(emulator);
    uint8_t bytes[16];
    size_t size = sizeof(bytes);
    while (size && !memory_read(machine, emulator->pc, bytes, size))
        size--;
    const char *name = decoder_name(code_decoder(machine), bytes, size);
    snprintf(buffer, buffer_bytes, "an instruction that is not known (%s)",
             *name ? name : "no valid code");
}

const char *emulator_end_text(struct emulator *emulator, enum emulator_end end, char *buffer,
                              size_t buffer_bytes)
{
    static const char *const texts[NR_EMULATOR_ENDS] = {
        [EMULATOR_RETURNED] = "it returned",
        [EMULATOR_STOPPED] = "it called what is not run",
        [EMULATOR_BUDGET] = "it took too many instructions",
        [EMULATOR_INSTRUCTION] = "an instruction that is not known",
        [EMULATOR_MEMORY] = "memory that is not mapped",
    };
    if (end == EMULATOR_INSTRUCTION)
        instruction_text(emulator, buffer, buffer_bytes);
    else
        snprintf(buffer, buffer_bytes, "%s", (unsigned)end < NR_EMULATOR_ENDS ? texts[end] : "?");
    return buffer;
}
