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

enum { FIRST_LOG2 = 10, LAST_LOG2 = 20, MAX_PROBES = 4, SIGNAL_CODE_BYTES = 9 };

struct cache_entry {
    uint64_t key;
    uint64_t code[2]; /* the words of union unwind_code */
    uint32_t generation;
    uint32_t sequence;
};
_Static_assert(sizeof(struct cache_entry) == 32, "two in a cache line");

struct cache_table {
    uint32_t log2;
    uint32_t nr; /* entries in use; atomic */
    uint64_t reserved[3];
    struct cache_entry entries[];
};

static struct cache_table *table; /* the newest; atomic */
static uint32_t is_growing;

static struct cache_entry *entry_at(struct cache_table *in, uint64_t key, unsigned probe)
{
    uint64_t hash = (key * 0x9e3779b97f4a7c15ULL) >> (64 - in->log2);
    return &in->entries[(hash + probe) & (((uint64_t)1 << in->log2) - 1)];
}

/* What the entry says of key, if it is whole and of this generation. */
static bool read_entry(const struct cache_entry *entry, uint64_t key, uint32_t generation,
                       union unwind_code *code)
{
    uint32_t before =
        __atomic_load_n(&entry->sequence, __ATOMIC_ACQUIRE); /* pairs with write_entry */
    if (__atomic_load_n(&entry->key, __ATOMIC_RELAXED) != key)
        return false;
    uint32_t entry_generation = __atomic_load_n(&entry->generation, __ATOMIC_RELAXED);
    code->words[0] = __atomic_load_n(&entry->code[0], __ATOMIC_RELAXED);
    code->words[1] = __atomic_load_n(&entry->code[1], __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return entry_generation == generation && !(before & 1) &&
           __atomic_load_n(&entry->sequence, __ATOMIC_RELAXED) == before;
}

static void write_entry(struct cache_entry *entry, uint64_t key, uint32_t generation,
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
    __atomic_store_n(&entry->sequence, before + 2, __ATOMIC_RELEASE); /* pairs with read_entry */
}

/* Where key is or may go: its own entry, a free one, else the first. */
static struct cache_entry *place_for(struct cache_table *in, uint64_t key)
{
    for (unsigned probe = 0; probe < MAX_PROBES; probe++) {
        struct cache_entry *entry = entry_at(in, key, probe);
        uint64_t there = __atomic_load_n(&entry->key, __ATOMIC_RELAXED);
        if (there == key)
            return entry;
        if (!there) {
            __atomic_fetch_add(&in->nr, 1, __ATOMIC_RELAXED);
            return entry;
        }
    }
    return entry_at(in, key, 0);
}

/* The table to write to, made or doubled when it is time; NULL: no memory. */
static struct cache_table *table_to_fill(void)
{
    struct cache_table *now = __atomic_load_n(&table, __ATOMIC_ACQUIRE);
    bool is_full = !now || (now->log2 < LAST_LOG2 &&
                            __atomic_load_n(&now->nr, __ATOMIC_RELAXED) >> (now->log2 - 1));
    if (!is_full || __atomic_exchange_n(&is_growing, 1, __ATOMIC_ACQUIRE))
        return now;
    uint32_t log2 = now ? now->log2 + 1 : FIRST_LOG2;
    struct cache_table *larger =
        sys_map(sizeof(*larger) + (sizeof(struct cache_entry) << log2), -1);
    if (larger && __atomic_load_n(&table, __ATOMIC_RELAXED) == now) {
        larger->log2 = log2;
        __atomic_store_n(&table, larger, __ATOMIC_RELEASE);
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

static __attribute__((noinline)) union unwind_code code_missed(uint64_t key, uint32_t generation,
                                                               struct unwind_scratch *scratch)
{
    union unwind_code code = make(key, scratch);
    struct cache_table *in = table_to_fill();
    if (in && image_ranges_generation() == generation)
        write_entry(place_for(in, key), key, generation, &code);
    return code;
}

union unwind_code unwind_code_at(uint64_t key, uint32_t generation, struct unwind_scratch *scratch)
{
    struct cache_table *in = __atomic_load_n(&table, __ATOMIC_ACQUIRE);
    union unwind_code code;
    for (unsigned probe = 0; in && probe < MAX_PROBES; probe++)
        if (read_entry(entry_at(in, key, probe), key, generation, &code))
            return code;
    return code_missed(key, generation, scratch);
}
