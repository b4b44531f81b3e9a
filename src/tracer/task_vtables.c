/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Finds tokio's task vtables in a loaded image and puts our functions into their slots.  A vtable is a
 * constant of ten words without a symbol: seven addresses of the image's code, then three small offsets
 * (program/tasks_tokio.c has the same rule over files).  Here the relocated memory is searched, which
 * is the same for every linker and every way of packing relocations.
 *
 * A slot that is ours is no code of the image any more: so a second search finds nothing.  The table of
 * what was in the slots is read without a lock by hooks; one thread at a time writes it.
 */
#include "tracer/tasks_part.h"

#include <link.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>

/* Reads what lies between variables, too; only tests are built with sanitizers. */
#define READS_ALL __attribute__((no_sanitize("address")))

enum {
    NR_FUNCTIONS = 7,
    NR_WORDS = 10,
    WORD_TRAILER = 7,
    WORD_SCHEDULER,
    WORD_ID,
    MIN_CORE_OFFSET = 24,
    MAX_CORE_OFFSET = 512,
    MAX_ID_DISTANCE = 256,
    FIRST_ROWS_LOG2 = 10,
    PAGE_BYTES = 4096,
    /* Cells are of cache lines since then, and so are told by their alignment. */
    FIRST_ALIGNED_MINOR = 29,
};

struct task_vtables *task_vtables;
const struct task_vtable *task_type_vtables[TASK_MAX_TYPES];
uint64_t task_cell_sizes[64];
uint32_t task_has_cell_sizes;
static uint32_t writing;

/* --- the table --------------------------------------------------------------------------------- */

static struct task_vtables *table_new(unsigned rows_log2)
{
    size_t bytes = sizeof(struct task_vtables) + (sizeof(struct task_vtable) << rows_log2);
    struct task_vtables *table =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (table == MAP_FAILED)
        return NULL;
    table->shift = 64 - rows_log2;
    table->mask = (1u << rows_log2) - 1;
    return table;
}

static void table_put(struct task_vtables *table, const struct task_vtable *vtable)
{
    uint32_t i = task_vtable_hash(table, vtable->addr) & table->mask;
    while (table->rows[i].addr && table->rows[i].addr != vtable->addr)
        i = (i + 1) & table->mask;
    table->nr += !table->rows[i].addr;
    struct task_vtable copy = *vtable;
    copy.addr = table->rows[i].addr;
    table->rows[i] = copy;
    __atomic_store_n(&table->rows[i].addr, vtable->addr, __ATOMIC_RELEASE); /* pairs with _find */
    task_type_vtables[vtable->type] = &table->rows[i];
}

/* Room for one more; an outgrown table stays, as hooks may be reading it. */
static bool table_make_room(void)
{
    struct task_vtables *old = task_vtables;
    if (old && old->nr < old->mask / 2)
        return true;
    struct task_vtables *table = table_new(old ? 64 - old->shift + 1 : FIRST_ROWS_LOG2);
    for (uint32_t i = 0; table && old && i <= old->mask; i++)
        if (old->rows[i].addr)
            table_put(table, &old->rows[i]);
    if (table)
        __atomic_store_n(&task_vtables, table, __ATOMIC_RELEASE); /* publish */
    return table != NULL;
}

const struct task_vtable *task_vtable_find_copy(const uint64_t *addr)
{
    static const uint8_t others[] = {2, 5, WORD_TRAILER, WORD_SCHEDULER, WORD_ID};
    const struct task_vtables *table = __atomic_load_n(&task_vtables, __ATOMIC_ACQUIRE);
    for (uint32_t i = 0; table && i <= table->mask; i++) {
        const uint64_t *known = table->rows[i].addr;
        bool is_same = known != NULL;
        for (size_t w = 0; is_same && w < sizeof(others); w++)
            is_same = known[others[w]] == addr[others[w]];
        if (is_same)
            return &table->rows[i];
    }
    return NULL;
}

/* --- an image in memory ------------------------------------------------------------------------ */

struct image {
    uintptr_t bias;
    const ElfW(Phdr) * phdrs;
    uint32_t nr_phdrs;
    uint32_t row;
    const struct region_image *known;
};

static bool is_same_image(struct image *image, const struct dl_phdr_info *info)
{
    if (info->dlpi_addr != image->bias)
        return false;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD &&
            image->known->start - image->bias - info->dlpi_phdr[i].p_vaddr <
                info->dlpi_phdr[i].p_memsz + PAGE_BYTES)
            return true;
    return !image->known->start;
}

static int see_image(struct dl_phdr_info *info, size_t size, void *context)
{
    struct image *image = context;
    (void)size;
    if (!is_same_image(image, info))
        return 0;
    image->phdrs = info->dlpi_phdr;
    image->nr_phdrs = info->dlpi_phnum;
    return 1;
}

static bool is_code(const struct image *image, uint64_t addr)
{
    for (uint32_t i = 0; i < image->nr_phdrs; i++) {
        const ElfW(Phdr) *phdr = &image->phdrs[i];
        if (phdr->p_type == PT_LOAD && phdr->p_flags & PF_X &&
            addr - image->bias - phdr->p_vaddr < phdr->p_memsz)
            return true;
    }
    return false;
}

static READS_ALL bool is_vtable(const struct image *image, const uint64_t *words)
{
    uint64_t trailer = words[WORD_TRAILER], scheduler = words[WORD_SCHEDULER], id = words[WORD_ID];
    uint64_t first = id < scheduler ? id : scheduler; /* tokio's order: the scheduler */
    uint64_t second = id < scheduler ? scheduler : id;
    if (trailer >= UINT32_MAX || first < MIN_CORE_OFFSET || first > MAX_CORE_OFFSET ||
        second > first + MAX_ID_DISTANCE || trailer <= second || (trailer | scheduler | id) % 8)
        return false;
    if (words[TASK_SLOT_POLL] == (uintptr_t)task_hook_poll)
        return false; /* hooked already; in tests our code is the image's own */
    for (int i = 0; i < NR_FUNCTIONS; i++)
        if (!is_code(image, words[i]))
            return false;
    /* The functions of a trait, then drop, size and alignment of the next vtable look the same. */
    return scheduler <= id || !is_code(image, trailer);
}

/*
 * The image's strings name tokio's source files, threads and errors; libraries without the word are
 * left alone.  In *oldest the lowest minor version of "tokio-1.N", which paths of sources have.
 */
static bool names_tokio(const struct image *image, unsigned *oldest)
{
    static const char version[] = "tokio-1.";
    bool is_named = false;
    *oldest = ~0u;
    for (uint32_t i = 0; i < image->nr_phdrs; i++) {
        const ElfW(Phdr) *phdr = &image->phdrs[i];
        if (phdr->p_type != PT_LOAD || !(phdr->p_flags & PF_R) || phdr->p_flags & PF_W)
            continue;
        const char *at = (const char *)(image->bias + phdr->p_vaddr), *end = at + phdr->p_filesz;
        for (; (at = memmem(at, (size_t)(end - at), "okio", 4)); at += 4) {
            is_named = true;
            const char *digits = at - 1 + strlen(version);
            if (digits + 3 > end || memcmp(at, version + 1, strlen(version) - 1) != 0)
                continue;
            unsigned minor = 0;
            for (; digits < end && *digits >= '0' && *digits <= '9' && minor < 10000; digits++)
                minor = minor * 10 + (unsigned)(*digits - '0');
            *oldest = minor < *oldest ? minor : *oldest;
            if (*oldest < FIRST_ALIGNED_MINOR)
                break;
        }
    }
    return is_named;
}

/* --- hooking ----------------------------------------------------------------------------------- */

/* Sizes that cells of this vtable had when they were not aligned: two trailers, two paddings. */
static void add_cell_sizes(uint64_t trailer)
{
    for (uint64_t bytes = trailer + 32; bytes <= trailer + 48; bytes += 8)
        task_cell_sizes[bytes >> 9 & 63] |= (uint64_t)1 << (bytes >> 3 & 63);
    task_has_cell_sizes = 1;
}

static bool add_vtable(struct tracer *tracer, const struct image *image, const uint64_t *words)
{
    struct task_vtable vtable = {
        .addr = words,
        .poll = (task_function *)words[TASK_SLOT_POLL],
        .schedule = (task_function *)words[TASK_SLOT_SCHEDULE],
        .shutdown = (task_function *)words[TASK_SLOT_SHUTDOWN],
        .drop_join_handle = (task_function *)words[TASK_SLOT_DROP_JOIN_HANDLE],
        .read_output = (task_read_function *)words[TASK_SLOT_READ_OUTPUT],
        .image = image->row,
        .trailer_offset = (uint32_t)words[WORD_TRAILER],
        .scheduler_offset = (uint32_t)words[WORD_SCHEDULER],
        .id_offset = (uint32_t)words[WORD_ID],
    };
    /* All schedulers of futures are one Arc; that of blocking calls never was of that size. */
    vtable.is_blocking = vtable.id_offset - vtable.scheduler_offset != 8;
    vtable.counter = vtable.is_blocking ? offsetof(struct region_thread, polls_blocking)
                                        : offsetof(struct region_thread, polls_future);
    vtable.type = table_make_room() ? region_row_new(tracer->region, REGION_TYPES) : 0;
    if (!vtable.type || vtable.type >= TASK_MAX_TYPES)
        return false;
    tracer->types[vtable.type] = (struct region_type){
        .image = image->row,
        .is_blocking = vtable.is_blocking,
        .vtable_offset = (uintptr_t)words - image->bias,
        .poll_offset = words[TASK_SLOT_POLL] - image->bias,
    };
    table_put(task_vtables, &vtable);
    return true;
}

static void set_slots(uint64_t *words)
{
    const struct {
        int slot;
        uintptr_t hook;
    } hooks[] = {
        {TASK_SLOT_SCHEDULE, (uintptr_t)task_hook_schedule},
        {TASK_SLOT_READ_OUTPUT, (uintptr_t)task_hook_read_output},
        {TASK_SLOT_DROP_JOIN_HANDLE, (uintptr_t)task_hook_drop_join_handle},
        {TASK_SLOT_SHUTDOWN, (uintptr_t)task_hook_shutdown},
        {TASK_SLOT_POLL, (uintptr_t)task_hook_poll},
    };
    for (size_t i = 0; i < sizeof(hooks) / sizeof(*hooks); i++)
        __atomic_store_n(&words[hooks[i].slot], hooks[i].hook, __ATOMIC_RELEASE);
}

/* Part of a segment that the loader made read-only after relocating it; *end <= *start: none. */
static void find_protected(const struct image *image, const ElfW(Phdr) * segment, uintptr_t *start,
                           uintptr_t *end)
{
    *start = *end = 0;
    if (!(segment->p_flags & PF_W)) {
        *start = image->bias + segment->p_vaddr;
        *end = *start + segment->p_memsz + PAGE_BYTES - 1;
    }
    for (uint32_t i = 0; segment->p_flags & PF_W && i < image->nr_phdrs; i++)
        if (image->phdrs[i].p_type == PT_GNU_RELRO &&
            image->phdrs[i].p_vaddr - segment->p_vaddr < segment->p_memsz) {
            *start = image->bias + image->phdrs[i].p_vaddr;
            *end = *start + image->phdrs[i].p_memsz;
        }
    *start &= ~(uintptr_t)(PAGE_BYTES - 1);
    *end &= ~(uintptr_t)(PAGE_BYTES - 1); /* as the loader does it */
}

/* Changes the protection where [from, to) is protected.  `protection` is what is added to reading. */
static bool protect(const struct image *image, const ElfW(Phdr) * segment, const uintptr_t range[2],
                    int protection)
{
    uintptr_t start, end;
    find_protected(image, segment, &start, &end);
    start = start > range[0] ? start : range[0];
    end = end < range[1] ? end : range[1];
    if (segment->p_flags & PF_X)
        protection |= PROT_EXEC;
    return start >= end || mprotect((void *)start, end - start, PROT_READ | protection) == 0;
}

static READS_ALL uint32_t hook_segment(struct tracer *tracer, const struct image *image,
                                       const ElfW(Phdr) * segment)
{
    uint64_t *words = (uint64_t *)((image->bias + segment->p_vaddr + 7) & ~(uintptr_t)7);
    const uint64_t *end =
        (const uint64_t *)((image->bias + segment->p_vaddr + segment->p_filesz) & ~(uintptr_t)7);
    uint32_t nr = 0;
    for (; words + NR_WORDS <= end; words++) {
        uintptr_t range[2] = {(uintptr_t)words & ~(uintptr_t)(PAGE_BYTES - 1),
                              ((uintptr_t)(words + NR_FUNCTIONS) + PAGE_BYTES - 1) &
                                  ~(uintptr_t)(PAGE_BYTES - 1)};
        if (words[WORD_TRAILER] >= UINT32_MAX || !is_vtable(image, words) ||
            !protect(image, segment, range, PROT_WRITE))
            continue;
        if (add_vtable(tracer, image, words)) {
            set_slots(words);
            nr++;
        }
        protect(image, segment, range, 0);
    }
    return nr;
}

/* Constants with addresses in them are relocated, so in writable segments, but in programs of a fixed place. */
static bool may_have_vtables(const struct image *image, const ElfW(Phdr) * segment)
{
    return segment->p_type == PT_LOAD && segment->p_flags & PF_R &&
           (segment->p_flags & PF_W || !image->bias);
}

static READS_ALL bool has_vtable(const struct image *image)
{
    for (uint32_t i = 0; i < image->nr_phdrs; i++) {
        const ElfW(Phdr) *segment = &image->phdrs[i];
        if (!may_have_vtables(image, segment))
            continue;
        const uint64_t *words =
            (const uint64_t *)((image->bias + segment->p_vaddr + 7) & ~(uintptr_t)7);
        const uint64_t *end =
            (const uint64_t *)((image->bias + segment->p_vaddr + segment->p_filesz) &
                               ~(uintptr_t)7);
        for (; words + NR_WORDS <= end; words++)
            if (words[WORD_TRAILER] < UINT32_MAX && is_vtable(image, words))
                return true;
    }
    return false;
}

uint32_t tasks_hook_image(struct tracer *tracer, uint32_t row, uintptr_t bias)
{
    struct region_image *known =
        (struct region_image *)region_table_rows(tracer->region, REGION_IMAGES) + row;
    struct image image = {.bias = bias, .row = row, .known = known};
    unsigned oldest;
    uint32_t nr = 0;
    while (__atomic_exchange_n(&writing, 1, __ATOMIC_ACQUIRE))
        sched_yield();
    dl_iterate_phdr(see_image, &image);
    if (has_vtable(&image) && names_tokio(&image, &oldest)) {
        for (uint32_t i = 0; i < image.nr_phdrs; i++)
            if (may_have_vtables(&image, &image.phdrs[i]))
                nr += hook_segment(tracer, &image, &image.phdrs[i]);
        const struct task_vtables *table = task_vtables;
        for (uint32_t i = 0;
             (oldest < FIRST_ALIGNED_MINOR || oldest == ~0u) && table && i <= table->mask; i++)
            if (table->rows[i].addr && table->rows[i].image == row)
                add_cell_sizes(table->rows[i].trailer_offset);
    }
    known->nr_vtables += nr;
    __atomic_store_n(&writing, 0, __ATOMIC_RELEASE);
    return nr;
}
