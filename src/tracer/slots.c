/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Changing the words of an image through which it calls its own allocator (tracer/slots.h).  The recorder found
 * them in the file; a word is changed only if it holds what the file says it must, and lies in memory that the
 * image writes.  Words that were made read-only after the relocation are opened for the moment of the store.
 */
#include "tracer/slots.h"

#include <sys/mman.h>

#include "tracer/syscalls.h"

enum { PAGE_BYTES = 4096 };

void *slots_behind[SLOTS_SETS][NR_REGION_SLOT_FUNCTIONS];

static void *const *const set_functions[SLOTS_SETS] = {slots_functions_0, slots_functions_1,
                                                       slots_functions_2, slots_functions_3};

/* Whose allocator is behind a set: row of the image; 0: free. */
static uint32_t set_image[SLOTS_SETS];

/* SLOTS_SETS: all are taken. */
static unsigned set_of(uint32_t image)
{
    unsigned free_set = SLOTS_SETS;
    for (unsigned set = 0; set < SLOTS_SETS; set++) {
        if (set_image[set] == image)
            return set;
        if (!set_image[set] && free_set == SLOTS_SETS)
            free_set = set;
    }
    return free_set;
}

static bool is_read_only(const struct slots_image *image, uintptr_t page)
{
    uintptr_t start = image->relro_start & ~(uintptr_t)(PAGE_BYTES - 1);
    uintptr_t end = image->relro_end & ~(uintptr_t)(PAGE_BYTES - 1);
    return page >= start && page < end;
}

static bool set_word(const struct slots_image *image, uint64_t *word, uint64_t value)
{
    uintptr_t page = (uintptr_t)word & ~(uintptr_t)(PAGE_BYTES - 1);
    bool was_read_only = is_read_only(image, page);
    if (was_read_only &&
        sys_failed(sys_call(SYS_mprotect, (long)page, PAGE_BYTES, PROT_READ | PROT_WRITE)))
        return false;
    __atomic_store_n(word, value, __ATOMIC_RELEASE); /* after slots_behind */
    if (was_read_only)
        sys_call(SYS_mprotect, (long)page, PAGE_BYTES, PROT_READ);
    return true;
}

static bool patch(const struct slots_image *image, const struct region_slot *slot, unsigned set)
{
    uintptr_t at = image->bias + slot->slot_offset;
    uint64_t expected = image->bias + slot->target_offset;
    if (slot->function >= NR_REGION_SLOT_FUNCTIONS || at % sizeof(uint64_t) ||
        at < image->written_start || at + sizeof(uint64_t) > image->written_end)
        return false;
    uint64_t *word = (uint64_t *)at;
    void *ours = set_functions[set][slot->function];
    if (!ours || __atomic_load_n(word, __ATOMIC_RELAXED) != expected)
        return false;
    slots_behind[set][slot->function] = (void *)(uintptr_t)expected;
    return set_word(image, word, (uint64_t)(uintptr_t)ours);
}

/* The tracer's own table of replacements has words with such functions, too. */
static bool is_tracer(const struct slots_image *image)
{
    uintptr_t own = (uintptr_t)&tracer_state;
    return own >= image->written_start && own < image->written_end;
}

uint32_t slots_patch(struct tracer *tracer, const struct slots_image *image)
{
    const struct region_table *table = &tracer->region->tables[REGION_SLOTS];
    const struct region_slot *slots = region_table_rows(tracer->region, REGION_SLOTS);
    uint32_t nr = __atomic_load_n(&table->nr_rows, __ATOMIC_ACQUIRE), nr_patched = 0;
    if (is_tracer(image))
        return 0;
    for (uint32_t i = 1; i < nr && i < table->max_rows; i++) {
        if (slots[i].image != image->image)
            continue;
        unsigned set = set_of(image->image);
        if (set == SLOTS_SETS) {
            lost_add(tracer->region, LOST_LATE_IMAGE);
            return nr_patched;
        }
        if (!patch(image, &slots[i], set))
            continue;
        set_image[set] = image->image;
        nr_patched++;
    }
    return nr_patched;
}

void slots_forget(const struct slots_image *image)
{
    for (unsigned set = 0; set < SLOTS_SETS; set++)
        if (set_image[set] == image->image)
            set_image[set] = 0;
}

bool slots_are_set(const struct slots_image *image)
{
    for (unsigned set = 0; set < SLOTS_SETS; set++)
        if (set_image[set] == image->image)
            return true;
    return false;
}
