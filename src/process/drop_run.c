/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "process/drop_run.h"

#include <stdlib.h>
#include <string.h>

#include "base/search.h"

/* Of pages that an emulator keeps; each worker has one. */
enum { CACHE_BYTES = 64 << 20 };

bool addr_in_ranges(const struct addr_range *ranges, size_t nr, uint64_t addr)
{
    size_t at = SEARCH_UP_TO(ranges, nr, start, addr);
    return at && addr < ranges[at - 1].end;
}

/* Its thread-local memory or, below that in the same mapping, its stack; the vector of the loader's too. */
static bool is_of_thread(const struct drop_run *run, uint64_t addr)
{
    enum { LOCAL_BYTES = 256 << 10, VECTOR_OFFSET = 8 };
    const uint64_t pointer = run->circumstances.thread_pointer;
    return pointer - addr - 1 < LOCAL_BYTES || addr - pointer == VECTOR_OFFSET;
}

static void note_word(struct drop_run *run, uint64_t addr, uint64_t value)
{
    run->has_asked_thread |= is_of_thread(run, addr);
    if (value >= run->blocks->lowest && value < run->blocks->highest) {
        run->loads =
            array_reserve(run->loads, &run->loads_capacity, run->nr_loads + 1, sizeof(*run->loads));
        run->loads[run->nr_loads++] = (struct drop_load){value, addr};
    }
    uint64_t word = addr & ~(uint64_t)7;
    if ((run->nr_reads && run->reads[run->nr_reads - 1] == word) ||
        !addr_in_ranges(run->futures, run->nr_futures, addr))
        return;
    run->reads =
        array_reserve(run->reads, &run->reads_capacity, run->nr_reads + 1, sizeof(*run->reads));
    run->reads[run->nr_reads++] = word;
}

static void on_read(void *context, uint64_t addr, unsigned size, uint64_t value)
{
    struct drop_run *run = context;
    note_word(run, addr, size < 8 ? 0 : value);
    for (unsigned at = 8; at < size; at += 8)
        if (emulator_read(run->emulator, addr + at, &value, sizeof(value)))
            note_word(run, addr + at, value);
}

void drop_run_note_words(struct drop_run *run, uint64_t addr, const uint8_t *bytes, size_t size)
{
    for (size_t at = 0, length; at < size; at += length) {
        uint64_t value = 0;
        length = 8 - (addr + at) % 8; /* pointers lie at multiples of 8 */
        if (length == sizeof(value) && size - at >= sizeof(value))
            memcpy(&value, bytes + at, sizeof(value));
        note_word(run, addr + at, value);
    }
}

static void on_change(void *context, uint64_t addr, unsigned size, uint64_t before, uint64_t after)
{
    struct drop_run *run = context;
    if (size != 8 || !before || after != before - 1 || addr < run->blocks->lowest ||
        addr >= run->blocks->highest)
        return;
    run->changes = array_reserve(run->changes, &run->changes_capacity, run->nr_changes + 1,
                                 sizeof(*run->changes));
    run->changes[run->nr_changes++] = (struct drop_change){addr, before};
}

void drop_run_add_free(struct drop_run *run, uint64_t addr)
{
    run->frees =
        array_reserve(run->frees, &run->frees_capacity, run->nr_frees + 1, sizeof(*run->frees));
    run->frees[run->nr_frees++] =
        (struct drop_free){addr, addr == run->sized_addr ? run->sized_bytes : ~(uint64_t)0};
}

void drop_run_init(struct drop_run *run, const struct target *target,
                   const struct heap_blocks *blocks, const struct drop_functions *functions)
{
    *run = (struct drop_run){.blocks = blocks, .target = target};
    const struct emulator_hooks hooks = {.context = run,
                                         .on_read = on_read,
                                         .on_change = on_change,
                                         .on_syscall = drop_answer_syscall};
    run->emulator = emulator_new(target, &hooks, CACHE_BYTES);
    drop_functions_intercept(functions, run->emulator, run);
}

void drop_run_deinit(struct drop_run *run)
{
    emulator_free(run->emulator);
    free(run->loads);
    free(run->frees);
    free(run->changes);
    free(run->reads);
    *run = (struct drop_run){0};
}

void drop_run_set(struct drop_run *run, const struct drop_circumstances *circumstances)
{
    run->circumstances = *circumstances;
    emulator_set_thread_pointer(run->emulator, circumstances->thread_pointer);
}

void drop_run_reset(struct drop_run *run)
{
    emulator_undo(run->emulator);
    run->nr_loads = run->nr_frees = run->nr_changes = run->nr_reads = 0;
    run->sized_addr = 0;
    run->nr_yields = 0;
    run->has_asked_thread = run->has_asked_kernel = false;
    run->stop_reason = NULL;
}
