/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Two copies of the list, written in turn: `turn` says which is whole.  A reader that was overtaken by two
 * writers reads again, so it never waits for one.  The copies grow by new mappings; old ones stay
 * mapped, since a reader may still be in them (together they are as large as the newest).
 */
#include "tracer/image_ranges.h"

#include <string.h>

#include "tracer/syscalls.h"

enum { FIRST_RANGES = 512, MAX_READS = 16 };

struct range_list {
    struct image_range *ranges; /* sorted by start */
    uint32_t nr, max;
};

static struct range_list lists[2];
static uint32_t turn; /* its lowest bit is the list that is whole; grows by one with each */
static void (*look_again_at)(uintptr_t pc);

uint32_t image_ranges_now = 1;

static bool list_reserve(struct range_list *list, size_t nr)
{
    if (nr <= list->max)
        return true;
    size_t max = list->max ? list->max : FIRST_RANGES;
    while (max < nr)
        max *= 2;
    void *ranges = sys_map(max * sizeof(*list->ranges), -1);
    if (!ranges)
        return false;
    __atomic_store_n(&list->ranges, ranges, __ATOMIC_RELEASE);
    list->max = (uint32_t)max;
    return true;
}

/* Insertion sort: lists are nearly sorted as the loader has them, and short. */
static void sort(struct image_range *ranges, size_t nr)
{
    for (size_t i = 1; i < nr; i++) {
        struct image_range range = ranges[i];
        size_t at = i;
        for (; at && ranges[at - 1].start > range.start; at--)
            ranges[at] = ranges[at - 1];
        ranges[at] = range;
    }
}

bool image_ranges_set(const struct image_range *ranges, size_t nr)
{
    uint32_t next = __atomic_load_n(&turn, __ATOMIC_RELAXED) + 1;
    struct range_list *list = &lists[next & 1];
    __atomic_store_n(&list->nr, 0, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    if (!list_reserve(list, nr))
        return false;
    for (size_t i = 0; i < nr; i++)
        list->ranges[i] = ranges[i];
    sort(list->ranges, nr);
    __atomic_store_n(&list->nr, (uint32_t)nr, __ATOMIC_RELEASE);
    __atomic_store_n(&turn, next, __ATOMIC_RELEASE); /* pairs with the loads in find */
    image_ranges_changed();
    return true;
}

static struct image_range find_in(const struct range_list *list, uintptr_t pc)
{
    uint32_t low = 0, high = __atomic_load_n(&list->nr, __ATOMIC_ACQUIRE);
    const struct image_range *ranges = __atomic_load_n(&list->ranges, __ATOMIC_ACQUIRE);
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (ranges[middle].start <= pc)
            low = middle + 1;
        else
            high = middle;
    }
    struct image_range none = {0};
    if (!low)
        return none;
    struct image_range range = ranges[low - 1];
    return pc < range.end ? range : none;
}

struct image_range image_ranges_find(uintptr_t pc)
{
    struct image_range range = {0};
    for (int reads = 0; reads < MAX_READS; reads++) {
        uint32_t before = __atomic_load_n(&turn, __ATOMIC_ACQUIRE);
        range = find_in(&lists[before & 1], pc);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (__atomic_load_n(&turn, __ATOMIC_RELAXED) == before)
            return range;
    }
    return (struct image_range){0};
}

void image_ranges_changed(void)
{
    __atomic_fetch_add(&image_ranges_now, 1, __ATOMIC_RELEASE); /* pairs with _generation */
}

void image_ranges_on_unknown(void (*look_again)(uintptr_t pc))
{
    __atomic_store_n(&look_again_at, look_again, __ATOMIC_RELEASE);
}

void image_ranges_unknown(uintptr_t pc)
{
    void (*look_again)(uintptr_t) = __atomic_load_n(&look_again_at, __ATOMIC_ACQUIRE);
    if (look_again)
        look_again(pc);
}
