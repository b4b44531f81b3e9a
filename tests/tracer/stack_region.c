/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "stack_region.h"

#include <link.h>
#include <string.h>
#include <sys/mman.h>

#include "tracer/image_ranges.h"

enum { MAX_IMAGES = 512 };

struct tracer tracer_state;

static void *map(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static uint64_t place(struct region_table *table, uint64_t offset, uint64_t max_rows,
                      uint32_t row_bytes)
{
    *table = (struct region_table){.offset_bytes = offset,
                                   .max_rows = max_rows,
                                   .row_bytes = row_bytes,
                                   .stripes = 1,
                                   .nr_rows = 1};
    return (offset + max_rows * row_bytes + 4095) & ~(uint64_t)4095;
}

struct region_header *stack_region_new(uint32_t max_nodes, uint32_t max_sites, uint32_t max_index)
{
    struct region_header header = {0};
    struct region_table *tables = header.tables;
    uint64_t bytes = (sizeof(header) + 4095) & ~(uint64_t)4095;
    bytes = place(&tables[REGION_NODES], bytes, max_nodes, sizeof(struct region_node));
    bytes = place(&tables[REGION_SITES], bytes, max_sites, sizeof(struct region_site));
    bytes = place(&tables[REGION_NODE_INDEX], bytes, max_index, sizeof(uint32_t));
    header.region_bytes = bytes;
    struct region_header *region = map(bytes);
    if (region)
        memcpy(region, &header, sizeof(header));
    return region;
}

void stack_region_free(struct region_header *region)
{
    munmap(region, region->region_bytes);
}

void stack_region_use(struct region_header *region)
{
    tracer_state.region = region;
    tracer_state.ready = region != NULL;
}

uint32_t region_row_new(struct region_header *region, enum region_table_id table)
{
    struct region_table *rows = &region->tables[table];
    uint32_t row = __atomic_fetch_add(&rows->nr_rows, 1, __ATOMIC_RELAXED);
    if (row < rows->max_rows)
        return row;
    __atomic_fetch_sub(&rows->nr_rows, 1, __ATOMIC_RELAXED);
    lost_add(region, LOST_TABLE_FULL);
    return 0;
}

struct trace_thread *stack_region_thread_new(void)
{
    size_t thread_bytes = (sizeof(struct trace_thread) + 63) & ~(size_t)63;
    struct trace_thread *thread = map(thread_bytes + stack_memory_bytes());
    if (!thread)
        return NULL;
    thread->ready = 1;
    thread->stack = (struct stack_memory *)((char *)thread + thread_bytes);
    stack_memory_init(thread->stack);
    return thread;
}

void stack_region_thread_free(struct trace_thread *thread)
{
    munmap(thread, ((sizeof(struct trace_thread) + 63) & ~(size_t)63) + stack_memory_bytes());
}

struct known_images {
    struct image_range ranges[MAX_IMAGES];
    size_t nr;
};

static struct known_images images;
static uint32_t nr_rows;
static uint32_t is_looking;

/* The row that this load had, or a new one. */
static uint32_t row_of(const struct image_range *range)
{
    for (size_t i = 0; i < images.nr; i++)
        if (images.ranges[i].start == range->start && images.ranges[i].end == range->end)
            return images.ranges[i].image;
    return ++nr_rows;
}

static int add_image(struct dl_phdr_info *info, size_t bytes, void *data)
{
    struct known_images *now = data;
    struct image_range range = {.start = UINT64_MAX};
    (void)bytes;
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *row = &info->dlpi_phdr[i];
        uint64_t start = info->dlpi_addr + row->p_vaddr;
        if (row->p_type != PT_LOAD)
            continue;
        range.start = start < range.start ? start : range.start;
        range.end = start + row->p_memsz > range.end ? start + row->p_memsz : range.end;
    }
    range.image = row_of(&range);
    if (now->nr < MAX_IMAGES && range.end)
        now->ranges[now->nr++] = range;
    return 0;
}

static void look_again(uintptr_t pc)
{
    static struct known_images now;
    (void)pc;
    if (__atomic_exchange_n(&is_looking, 1, __ATOMIC_ACQUIRE))
        return;
    now.nr = 0;
    dl_iterate_phdr(add_image, &now);
    images = now;
    image_ranges_set(images.ranges, images.nr);
    __atomic_store_n(&is_looking, 0, __ATOMIC_RELEASE);
}

void stack_region_follow_images(void)
{
    image_ranges_on_unknown(look_again);
}

uint32_t stack_region_frames(uint32_t site, const struct region_node **frames, uint32_t max)
{
    const struct region_header *region = tracer_state.region;
    const char *base = (const char *)region;
    const struct region_node *nodes =
        (const struct region_node *)(base + region->tables[REGION_NODES].offset_bytes);
    const struct region_site *sites =
        (const struct region_site *)(base + region->tables[REGION_SITES].offset_bytes);
    uint32_t nr = 0;
    for (uint32_t node = site ? sites[site].node : 0; node; node = nodes[node].parent, nr++)
        if (nr < max)
            frames[nr] = &nodes[node];
    return nr;
}
