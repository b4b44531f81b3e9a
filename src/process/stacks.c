/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "process/stacks.h"

#include <elfutils/libdwfl.h>
#include <stdlib.h>
#include <string.h>

/*
 * A leaf function may use 128 bytes below the stack pointer (System V ABI, the red zone).  A thread
 * whose live stack is longer than MAX_STACK_BYTES is followed as far as that goes.
 */
enum { RED_ZONE_BYTES = 128, MAX_STACK_BYTES = 256 << 10, MAX_FRAMES = 256 };
enum { MAX_ALL_STACKS_BYTES = 64 << 20 };
enum { REGISTER_PC = 16 };

/* --- copying, while the target stands still -------------------------------------------------- */

/* The first thread's mapping grows downwards: it may begin below where it did when it was read. */
static const struct mapping *stack_mapping(const struct target *target, uint64_t stack_pointer)
{
    const struct mapping *mapping = target_mapping_at(target, stack_pointer);
    if (mapping)
        return mapping;
    for (size_t i = 0; i < target->nr_mappings; i++)
        if (target->mappings[i].start > stack_pointer)
            return strcmp(target->mappings[i].path, "[stack]") == 0 ? &target->mappings[i] : NULL;
    return NULL;
}

static struct read_request live_part(const struct target *target,
                                     const struct target_thread *thread)
{
    const uint64_t stack_pointer = thread->stack_pointer;
    const struct mapping *mapping =
        stack_pointer > RED_ZONE_BYTES ? stack_mapping(target, stack_pointer) : NULL;
    if (!mapping || !mapping->readable || mapping->is_device)
        return (struct read_request){0};
    uint64_t begin = stack_pointer - RED_ZONE_BYTES, end = mapping->end;
    if (begin < mapping->start && stack_pointer >= mapping->start)
        begin = mapping->start;
    if (thread->thread_pointer > stack_pointer && thread->thread_pointer < end)
        end = thread->thread_pointer;
    uint64_t size = end - begin;
    return (struct read_request){
        .addr = begin, .size_bytes = (uint32_t)(size < MAX_STACK_BYTES ? size : MAX_STACK_BYTES)};
}

void stacks_copy(struct stacks *stacks, const struct target *target, struct reading *reading)
{
    uint64_t total = 0;
    struct read_request *requests = memory_alloc((target->nr_threads + 1) * sizeof(*requests));
    *stacks = (struct stacks){.nr = target->nr_threads};
    stacks->rows = memory_alloc((stacks->nr + 1) * sizeof(*stacks->rows));
    for (size_t i = 0; i < stacks->nr; i++) {
        requests[i] = live_part(target, &target->threads[i]);
        if (total + requests[i].size_bytes > MAX_ALL_STACKS_BYTES)
            requests[i].size_bytes = 0;
        total += requests[i].size_bytes;
    }
    reading_fetch(reading, requests, stacks->nr);
    for (size_t i = 0; i < stacks->nr; i++) {
        struct thread_stack *row = &stacks->rows[i];
        row->tid = target->threads[i].tid;
        memcpy(row->registers, target->threads[i].registers, sizeof(row->registers));
        row->addr = requests[i].addr;
        row->bytes = requests[i].bytes;
        row->size_bytes = requests[i].bytes ? requests[i].size_bytes : 0;
    }
    free(requests);
}

void stacks_deinit(struct stacks *stacks)
{
    free(stacks->rows);
    free(stacks->pcs);
    *stacks = (struct stacks){0};
}

/* --- unwinding, afterwards ------------------------------------------------------------------- */

/* What libdwfl's callbacks need.  A thread's number for libdwfl is its position + 1. */
struct unwinding {
    struct stacks *stacks;
    struct thread_stack *row; /* the one that is unwound */
    /* Since the last frame.  A return address that cannot be read is the end for libdwfl, as is
     * the one of a thread's first function, which has none. */
    bool has_failed_read;
};

static pid_t next_thread(Dwfl *dwfl, void *context, void **thread_context)
{
    (void)dwfl, (void)context, (void)thread_context;
    return 0; /* they are asked for one by one */
}

static bool get_thread(Dwfl *dwfl, pid_t number, void *context, void **thread_context)
{
    (void)dwfl;
    struct unwinding *unwinding = context;
    *thread_context = unwinding->row;
    return number == (pid_t)(unwinding->row - unwinding->stacks->rows) + 1;
}

static bool read_word(Dwfl *dwfl, Dwarf_Addr addr, Dwarf_Word *word, void *context)
{
    (void)dwfl;
    struct unwinding *unwinding = context;
    const struct thread_stack *row = unwinding->row;
    if (row->size_bytes < sizeof(*word) || addr < row->addr ||
        addr - row->addr > row->size_bytes - sizeof(*word)) {
        unwinding->has_failed_read = true;
        return false;
    }
    memcpy(word, row->bytes + (addr - row->addr), sizeof(*word));
    return true;
}

static bool set_registers(Dwfl_Thread *thread, void *thread_context)
{
    const struct thread_stack *row = thread_context;
    Dwarf_Word registers[NR_DWARF_REGISTERS];
    for (int i = 0; i < NR_DWARF_REGISTERS; i++)
        registers[i] = row->registers[i];
    return dwfl_thread_state_registers(thread, 0, NR_DWARF_REGISTERS, registers);
}

static int no_elf(Dwfl_Module *module, void **userdata, const char *name, Dwarf_Addr base,
                  char **path, Elf **elf)
{
    (void)module, (void)userdata, (void)name, (void)base, (void)path, (void)elf;
    return -1;
}

static int no_debug_file(Dwfl_Module *module, void **userdata, const char *name, Dwarf_Addr base,
                         const char *file, const char *link, GElf_Word crc, char **path)
{
    (void)module, (void)userdata, (void)name, (void)base;
    (void)file, (void)link, (void)crc, (void)path;
    return -1;
}

static const Dwfl_Callbacks dwfl_callbacks = {
    .find_elf = no_elf,
    .find_debuginfo = no_debug_file,
};

static const Dwfl_Thread_Callbacks thread_callbacks = {
    .next_thread = next_thread,
    .get_thread = get_thread,
    .memory_read = read_word,
    .set_initial_registers = set_registers,
};

static int add_frame(Dwfl_Frame *frame, void *context)
{
    struct unwinding *unwinding = context;
    struct stacks *stacks = unwinding->stacks;
    unwinding->has_failed_read = false;
    Dwarf_Addr pc;
    bool is_exact; /* the innermost frame, and one that a signal broke into */
    if (unwinding->row->nr_pcs >= MAX_FRAMES || !dwfl_frame_pc(frame, &pc, &is_exact))
        return DWARF_CB_ABORT;
    stacks->pcs =
        array_reserve(stacks->pcs, &stacks->capacity, stacks->nr_pcs + 1, sizeof(*stacks->pcs));
    stacks->pcs[stacks->nr_pcs++] = pc - (is_exact || !pc ? 0 : 1);
    unwinding->row->nr_pcs++;
    return DWARF_CB_OK;
}

static Dwfl *open_images(const struct target *target)
{
    elf_version(EV_CURRENT);
    Dwfl *dwfl = dwfl_begin(&dwfl_callbacks);
    if (!dwfl)
        return NULL;
    dwfl_report_begin(dwfl);
    for (size_t i = 0; i < target->nr_images; i++) {
        const struct target_image *image = &target->images[i];
        if (image->path)
            dwfl_report_elf(dwfl, image->name, image->path, -1, image->bias, true);
    }
    dwfl_report_end(dwfl, NULL, NULL);
    return dwfl;
}

static void unwind(Dwfl *dwfl, struct unwinding *unwinding, size_t position)
{
    struct thread_stack *row = &unwinding->stacks->rows[position];
    unwinding->row = row;
    row->first_pc = unwinding->stacks->nr_pcs;
    if (row->registers[REGISTER_PC] && row->size_bytes)
        row->is_whole =
            dwfl_getthread_frames(dwfl, (pid_t)position + 1, add_frame, unwinding) == DWARF_CB_OK &&
            !unwinding->has_failed_read;
}

void stacks_unwind(struct stacks *stacks, const struct target *target)
{
    struct unwinding unwinding = {.stacks = stacks, .row = stacks->rows};
    Dwfl *dwfl = stacks->nr ? open_images(target) : NULL;
    pid_t pid = target->pid ? target->pid : 1; /* a number for libdwfl only */
    if (dwfl && dwfl_attach_state(dwfl, NULL, pid, &thread_callbacks, &unwinding))
        for (size_t i = 0; i < stacks->nr; i++)
            unwind(dwfl, &unwinding, i);
    if (dwfl)
        dwfl_end(dwfl);
}
