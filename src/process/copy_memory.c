/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A child made by fork has the memory of its parent but for three kinds of mappings: shared ones
 * go on changing, MADV_DONTFORK leaves one out, MADV_WIPEONFORK empties one.  The first are told by
 * /proc/PID/maps, the second are missing in the child's, the third by /proc/PID/pagemap: a page is there
 * and not in the child.  All that is writable of them is read while the target stands still, the
 * small ones first, up to a limit; what is above cannot be read at all: better nothing than what came
 * later.
 *
 * The child is read through /proc/PID/mem.  process_vm_readv pins pages, for which the kernel makes a
 * copy of each page that is shared with the parent.
 */
#include "process/copy_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/search.h"
#include "process/copy.h"
#include "process/images.h"
#include "process/live.h"
#include "process/proc.h"
#include "process/traced_blocks.h"

enum {
    PIECE_BYTES = 128 * 1024, /* of one pread: measured, the best are 64 to 256 KiB */
    WINDOW_BYTES = 4 * PAGE_BYTES,
    PAGES_AT_FIRST = 16,
    PAGES_AT_ONCE = 512,
    MAX_LOOKS = 256, /* at PAGES_AT_ONCE each, into a mapping of which no page was found */
};

static const uint64_t PAGE_IS_THERE = 3ull << 62; /* present, or swapped */

/* --- what a child has not ------------------------------------------------------------------------ */

static int open_of(pid_t pid, const char *name)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    return open(path, O_RDONLY | O_CLOEXEC);
}

struct wiping {
    const struct target *target;
    int own, childs; /* pagemaps */
};

static bool is_zero_page(const struct target *target, uint64_t addr)
{
    static const uint8_t zeros[PAGE_BYTES];
    uint8_t page[PAGE_BYTES];
    return live_read(target, addr, page, sizeof(page)) == sizeof(page) &&
           memcmp(page, zeros, sizeof(page)) == 0;
}

/*
 * One page that is there tells for the whole mapping.  A page of zeros tells nothing: one that was only
 * read is not in the child either.
 */
static bool is_wiped(const struct wiping *wiping, const struct mapping *m)
{
    uint64_t entries[PAGES_AT_ONCE], entry, page = m->start / PAGE_BYTES;
    uint64_t end = m->end / PAGE_BYTES;
    for (int look = 0; look < MAX_LOOKS && page < end; look++) {
        uint64_t nr = look ? PAGES_AT_ONCE : PAGES_AT_FIRST;
        nr = end - page < nr ? end - page : nr;
        ssize_t got = pread(wiping->own, entries, nr * 8, (off_t)(page * 8));
        for (ssize_t i = 0; i < got / 8; i++) {
            if (!(entries[i] & PAGE_IS_THERE))
                continue;
            uint64_t at = page + (uint64_t)i;
            if (pread(wiping->childs, &entry, 8, (off_t)(at * 8)) != 8 || (entry & PAGE_IS_THERE))
                return false;
            if (!is_zero_page(wiping->target, at * PAGE_BYTES))
                return true;
        }
        if (got < (ssize_t)(nr * 8))
            return false;
        page += nr;
    }
    return false;
}

static void add(struct copy_memory *memory, uint64_t start, uint64_t end)
{
    struct kept_range *last = memory->nr_ranges ? &memory->ranges[memory->nr_ranges - 1] : NULL;
    if (last && last->end == start) {
        last->end = end;
        return;
    }
    memory->ranges = array_reserve(memory->ranges, &memory->capacity, memory->nr_ranges + 1,
                                   sizeof(*memory->ranges));
    memory->ranges[memory->nr_ranges++] = (struct kept_range){.start = start, .end = end};
}

/* The parts of a mapping that the child has not mapped. */
static void add_missing(struct copy_memory *memory, const struct target *child,
                        const struct mapping *m)
{
    size_t i = SEARCH_UP_TO(child->mappings, child->nr_mappings, start, m->start);
    uint64_t at = m->start;
    for (i -= i > 0; i < child->nr_mappings && at < m->end; i++) {
        const struct mapping *c = &child->mappings[i];
        if (c->end <= at)
            continue;
        if (c->start > at)
            add(memory, at, c->start < m->end ? c->start : m->end);
        at = c->end;
    }
    if (at < m->end)
        add(memory, at, m->end);
}

/*
 * In a child of a traced program the tracer's hooks find their memory wiped and do nothing: so it is to be here, and what
 * else is wiped is made to be found so.
 */
static bool is_traced_program(const struct target *target)
{
    for (size_t i = 0; i < target->nr_mappings; i++)
        if (traced_blocks_is_region(&target->mappings[i]))
            return true;
    return false;
}

static void find_ranges(struct copy_memory *memory, const struct wiping *wiping,
                        const struct target *child)
{
    const bool is_traced = is_traced_program(wiping->target);
    for (size_t i = 0; i < wiping->target->nr_mappings; i++) {
        const struct mapping *m = &wiping->target->mappings[i];
        if (!m->readable || !m->writable || m->is_device)
            continue;
        if (m->is_shared || (!m->inode && !is_traced && is_wiped(wiping, m)))
            add(memory, m->start, m->end);
        else
            add_missing(memory, child, m);
    }
}

/* --- keeping it ---------------------------------------------------------------------------------- */

static int compare_sizes(const void *left, const void *right)
{
    const struct kept_range *const *a = left, *const *b = right;
    uint64_t left_bytes = (*a)->end - (*a)->start, right_bytes = (*b)->end - (*b)->start;
    return (left_bytes > right_bytes) - (left_bytes < right_bytes);
}

static void read_ranges(struct copy_memory *memory, const struct target *target)
{
    uint64_t room = MAX_KEPT_BYTES;
    struct kept_range **by_size =
        memory_alloc((memory->nr_ranges + 1) * sizeof(struct kept_range *));
    for (size_t i = 0; i < memory->nr_ranges; i++)
        by_size[i] = &memory->ranges[i];
    qsort(by_size, memory->nr_ranges, sizeof(*by_size), compare_sizes);
    for (size_t i = 0; i < memory->nr_ranges; i++) {
        struct kept_range *range = by_size[i];
        uint64_t size = range->end - range->start;
        if (size > room) {
            memory->left_bytes += size;
            memory->nr_left++;
            continue;
        }
        room -= size;
        range->bytes = memory_resize(NULL, size);
        range->kept_bytes = live_read(target, range->start, range->bytes, size);
    }
    free(by_size);
}

void copy_memory_keep(struct copy_memory *memory, const struct target *target, pid_t child)
{
    struct target of_child = {.pid = child, .memory_tid = child};
    struct error ignored;
    struct wiping wiping = {target, open_of(target->memory_tid, "pagemap"),
                            open_of(child, "pagemap")};
    *memory = (struct copy_memory){0};
    arena_init(&of_child.arena);
    if (live_read_mappings(&of_child, &ignored))
        find_ranges(memory, &wiping, &of_child);
    read_ranges(memory, target);
    free(of_child.mappings);
    arena_deinit(&of_child.arena);
    if (wiping.own >= 0)
        close(wiping.own);
    if (wiping.childs >= 0)
        close(wiping.childs);
}

void copy_memory_deinit(struct copy_memory *memory)
{
    for (size_t i = 0; i < memory->nr_ranges; i++)
        free(memory->ranges[i].bytes);
    free(memory->ranges);
    *memory = (struct copy_memory){0};
}

/* --- reading ------------------------------------------------------------------------------------- */

static size_t read_child(int memory_fd, uint64_t addr, void *buffer, size_t size)
{
    size_t done = 0;
    while (done < size) {
        size_t piece = size - done < PIECE_BYTES ? size - done : PIECE_BYTES;
        ssize_t got = pread(memory_fd, (char *)buffer + done, piece, (off_t)(addr + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        done += (size_t)got;
    }
    return done;
}

size_t copy_read(const struct target *target, uint64_t addr, void *buffer, size_t size)
{
    const struct copy_memory *memory = &target->copy.state->memory;
    size_t done = 0, nr = SEARCH_UP_TO(memory->ranges, memory->nr_ranges, start, addr);
    const struct kept_range *range = memory->ranges + nr - (nr > 0);
    const struct kept_range *end = memory->ranges + memory->nr_ranges;
    if (addr > INT64_MAX || size > INT64_MAX - addr)
        return 0;
    while (done < size) {
        uint64_t at = addr + done, part = size - done, got;
        while (range < end && range->end <= at)
            range++;
        if (range < end && range->start <= at) {
            part = range->end - at < part ? range->end - at : part;
            uint64_t offset = at - range->start;
            uint64_t kept = range->kept_bytes > offset ? range->kept_bytes - offset : 0;
            got = kept < part ? kept : part;
            if (got)
                memcpy((char *)buffer + done, range->bytes + offset, got);
        } else {
            if (range < end && range->start - at < part)
                part = range->start - at;
            got = read_child(target->copy.memory_fd, at, (char *)buffer + done, part);
        }
        done += got;
        if (got < part)
            break;
    }
    return done;
}

/* How many of the first ranges lie in one window, which begins at the first one's page. */
static size_t nr_in_window(const struct target_range *ranges, size_t nr, uint64_t *end)
{
    uint64_t start = ranges[0].addr & ~(uint64_t)(PAGE_BYTES - 1);
    size_t i = 0;
    for (*end = 0; i < nr; i++) {
        uint64_t offset = ranges[i].addr - start; /* wraps below it */
        if (offset > WINDOW_BYTES || ranges[i].size_bytes > WINDOW_BYTES - offset)
            break;
        if (ranges[i].addr + ranges[i].size_bytes > *end)
            *end = ranges[i].addr + ranges[i].size_bytes;
    }
    return i;
}

/* Small ranges that lie close together: one system call.  How many of them; 0: not this way. */
static size_t read_window(const struct target *target, struct target_range *ranges, size_t nr)
{
    uint8_t window[WINDOW_BYTES];
    uint64_t end, start = ranges[0].addr & ~(uint64_t)(PAGE_BYTES - 1);
    nr = nr_in_window(ranges, nr, &end);
    if (nr < 2 || copy_read(target, start, window, end - start) != end - start)
        return 0;
    for (size_t i = 0; i < nr; i++)
        memcpy(ranges[i].buffer, window + (ranges[i].addr - start), ranges[i].size_bytes);
    return nr;
}

void copy_read_many(const struct target *target, struct target_range *ranges, size_t nr)
{
    for (size_t i = 0, done; i < nr; i += done) {
        done = read_window(target, ranges + i, nr - i);
        if (done)
            continue;
        done = 1;
        if (copy_read(target, ranges[i].addr, ranges[i].buffer, ranges[i].size_bytes) !=
            ranges[i].size_bytes)
            ranges[i].size_bytes = 0;
    }
}
