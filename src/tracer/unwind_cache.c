/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Open addressing in entries of 32 bytes, each under a sequence number: odd while it is written.  An entry lies
 * at most MAX_PROBES behind its hash; a key that finds no place there takes that of another.  The table
 * doubles when half full: the new one starts empty, and fills by the same misses as the first did,
 * which cost about a microsecond each.  Old tables stay mapped for readers that are still in them; all
 * together they are smaller than the newest.
 */
#include "tracer/unwind_cache.h"

#include "tracer/image_ranges.h"
#include "tracer/loaded_code.h"
#include "tracer/syscalls.h"

enum { FIRST_ENTRIES = 1 << 10, MAX_ENTRIES = 1 << 20, MAX_PROBES = 4, SIGNAL_CODE_BYTES = 9 };

struct unwind_cache *unwind_cache_now;
static uint32_t is_growing;

static void write_entry(struct unwind_cache_entry *entry, uint64_t key, uint32_t generation,
                        const union unwind_code *code)
{
    uint32_t before = __atomic_load_n(&entry->sequence, __ATOMIC_RELAXED);
    if ((before & 1) || !__atomic_compare_exchange_n(&entry->sequence, &before, before + 1, false,
                                                     __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return;
    __atomic_thread_fence(__ATOMIC_RELEASE);
    __atomic_store_n(&entry->key, key, __ATOMIC_RELAXED);
    __atomic_store_n(&entry->generation, generation, __ATOMIC_RELAXED);
    __atomic_store_n(&entry->code[0], code->words[0], __ATOMIC_RELAXED);
    __atomic_store_n(&entry->code[1], code->words[1], __ATOMIC_RELAXED);
    __atomic_store_n(&entry->sequence, before + 2,
                     __ATOMIC_RELEASE); /* pairs with unwind_cache_read */
}

/* Where key is or may go: its own entry, a free one, else the first. */
static struct unwind_cache_entry *place_for(struct unwind_cache *in, uint64_t key)
{
    for (unsigned probe = 0; probe < MAX_PROBES; probe++) {
        struct unwind_cache_entry *entry = unwind_cache_entry(in, key) + probe;
        uint64_t there = __atomic_load_n(&entry->key, __ATOMIC_RELAXED);
        if (there == key)
            return entry;
        if (!there) {
            __atomic_fetch_add(&in->nr, 1, __ATOMIC_RELAXED);
            return entry;
        }
    }
    return unwind_cache_entry(in, key);
}

/* The table to write to, made or doubled when it is time; NULL: no memory. */
static struct unwind_cache *cache_to_fill(void)
{
    struct unwind_cache *now = __atomic_load_n(&unwind_cache_now, __ATOMIC_ACQUIRE);
    bool is_full = !now || (now->max < MAX_ENTRIES &&
                            __atomic_load_n(&now->nr, __ATOMIC_RELAXED) > now->max / 2);
    if (!is_full || __atomic_exchange_n(&is_growing, 1, __ATOMIC_ACQUIRE))
        return now;
    uint32_t max = now ? now->max * 2 : FIRST_ENTRIES;
    size_t bytes = sizeof(struct unwind_cache_entry) * (max + MAX_PROBES);
    struct unwind_cache *larger = sys_map(sizeof(*larger) + bytes, -1);
    if (larger && __atomic_load_n(&unwind_cache_now, __ATOMIC_RELAXED) == now) {
        larger->max = max;
        larger->shift = 64 - (uint32_t)__builtin_ctz(max);
        __atomic_store_n(&unwind_cache_now, larger, __ATOMIC_RELEASE);
        now = larger;
    }
    __atomic_store_n(&is_growing, 0, __ATOMIC_RELEASE);
    return now;
}

/* Code without tables that returns from a signal handler: mov $15, %rax; syscall. */
static bool is_signal_return(uint64_t pc)
{
    static const uint8_t code[SIGNAL_CODE_BYTES] = {0x48, 0xc7, 0xc0, 15, 0, 0, 0, 0x0f, 5};
    const uint8_t *at = (const uint8_t *)(uintptr_t)pc;
    if (!sys_is_readable(pc) || !sys_is_readable(pc + SIGNAL_CODE_BYTES - 8))
        return false;
    return __builtin_memcmp(at, code, sizeof(code)) == 0;
}

/* The same load of an image?  Ends are given to the byte or to the page. */
static bool is_range_of(const struct image_range *range, const struct unwind_tables *tables)
{
    uint64_t page = 4095;
    return range->image && (range->start & ~page) == (tables->start & ~page) &&
           ((range->end + page) & ~page) == ((tables->end + page) & ~page);
}

static union unwind_code make(uint64_t key, struct unwind_scratch *scratch)
{
    uint64_t pc = unwind_pc(key);
    union unwind_code code = {.rule = {.kind = UNWIND_GUESS}};
    bool is_exact = key & UNWIND_EXACT;
    if (loaded_code_find(is_exact ? pc : pc - 1, &scratch->tables)) {
        struct image_range range = image_ranges_find(pc - !is_exact);
        if (!is_range_of(&range, &scratch->tables)) {
            image_ranges_unknown(pc);
            range = image_ranges_find(pc - !is_exact);
        }
        code.image = range.image;
        code.rule = unwind_rule_make(&scratch->tables, pc, is_exact, scratch);
    }
    if (code.rule.kind == UNWIND_GUESS && is_signal_return(pc))
        code.rule = unwind_signal_rule();
    return code;
}

static union unwind_code code_missed(uint64_t key, uint32_t generation,
                                     struct unwind_scratch *scratch)
{
    union unwind_code code = make(key, scratch);
    struct unwind_cache *in = cache_to_fill();
    if (in && image_ranges_generation() == generation)
        write_entry(place_for(in, key), key, generation, &code);
    return code;
}

union unwind_code unwind_code_search(uint64_t key, uint32_t generation,
                                     struct unwind_scratch *scratch)
{
    struct unwind_cache *in = __atomic_load_n(&unwind_cache_now, __ATOMIC_ACQUIRE);
    union unwind_code code;
    for (unsigned probe = 0; in && probe < MAX_PROBES; probe++)
        if (unwind_cache_read(unwind_cache_entry(in, key) + probe, key, generation, &code))
            return code;
    return code_missed(key, generation, scratch);
}
