/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A traced program has its region mapped and no file descriptor of it.  The recorder has one, and the kernel
 * gives one to the privileged (/proc/PID/map_files); where neither can be had, because the recorder was killed,
 * the region is read through the target's own mapping.
 *
 * That a descriptor is of the very region is told by its inode, which the target's mapping names too.
 */
#include "process/traced_blocks.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/parallel.h"
#include "base/search.h"
#include "base/text.h"
#include "process/live.h"

enum {
    MORE_BLOCKS = 1 << 16, /* that are made until the target stands still */
    MORE_ROWS = 1 << 12,
    SMALL_BLOCKS = 1 << 14, /* not worth several threads */
    PARTS_A_WORKER = 4,
    PATH_BYTES = 96,
};
#define GRANULE_MASK UINT64_C(31)

PRINTF_LIKE(2, 3)
static void set_problem(struct traced_blocks *traced, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(traced->problem, sizeof(traced->problem), format, arguments);
    va_end(arguments);
}

/* --- finding it ------------------------------------------------------------------------------ */

bool traced_blocks_is_region(const struct mapping *mapping)
{
    return mapping->is_shared && mapping->inode &&
           str_starts_with(mapping->path, "/memfd:asyncmem");
}

static bool is_library(const struct target_image *image)
{
    return str_ends_with(image->name, "/libasyncmem-trace.so");
}

bool traced_blocks_is_tracer(const struct target *target, const struct mapping *mapping)
{
    const struct target_image *image = target_image_at(target, mapping->start);
    return image && is_library(image);
}

/* The kernel may show one mapping as several. */
static const struct mapping *find_mapping(struct traced_blocks *traced, const struct target *target)
{
    const struct mapping *first = NULL;
    for (size_t i = 0; i < target->nr_mappings; i++) {
        const struct mapping *m = &target->mappings[i];
        if (!first && traced_blocks_is_region(m) && m->offset == 0) {
            first = m;
            traced->start = m->start;
            traced->end = m->end;
        } else if (first && m->inode == first->inode && m->device == first->device &&
                   m->start == traced->end && m->offset == m->start - traced->start) {
            traced->end = m->end;
        }
    }
    return first;
}

static bool is_of_mapping(const struct stat *status, const struct mapping *mapping)
{
    return status->st_ino == mapping->inode && status->st_dev == mapping->device;
}

static int open_checked(const char *path, const struct mapping *mapping)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0 && fstat(fd, &status) == 0 && is_of_mapping(&status, mapping))
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Among the descriptors of a process; nothing else of it is opened. */
static int find_descriptor(uint32_t pid, const struct mapping *mapping)
{
    char path[PATH_BYTES];
    int found = -1;
    snprintf(path, sizeof(path), "/proc/%u/fd", pid);
    DIR *folder = pid ? opendir(path) : NULL;
    for (struct dirent *entry; folder && found < 0 && (entry = readdir(folder));) {
        struct stat status;
        snprintf(path, sizeof(path), "/proc/%u/fd/%.20s", pid, entry->d_name);
        if (entry->d_name[0] != '.' && stat(path, &status) == 0 && S_ISREG(status.st_mode) &&
            is_of_mapping(&status, mapping))
            found = open_checked(path, mapping);
    }
    if (folder)
        closedir(folder);
    return found;
}

static int find_mapped_file(const struct target *target, const struct mapping *mapping)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof(path), "/proc/%d/map_files/%llx-%llx", (int)target->memory_tid,
             (unsigned long long)mapping->start, (unsigned long long)mapping->end);
    return open_checked(path, mapping);
}

static bool read_header(const struct traced_blocks *traced, const struct target *target,
                        struct region_header *header)
{
    return live_read(target, traced->start, header, sizeof(*header)) == sizeof(*header) &&
           memcmp(header->magic, REGION_MAGIC, sizeof(header->magic)) == 0;
}

/* Does the tracer write down each block?  Else its table is not to be believed. */
static bool is_tracing(struct traced_blocks *traced, const struct region_header *header)
{
    char reason[sizeof(header->off_reason) + 1];
    switch (header->state) {
    case REGION_TRACING:
    case REGION_EXITED:
        if (!header->stop_writing)
            return true;
        set_problem(traced, "its tracer was told to write nothing more");
        return false;
    case REGION_NEW:
        set_problem(traced, "its tracer has not begun yet");
        return false;
    default:
        snprintf(reason, sizeof(reason), "%.*s", (int)sizeof(header->off_reason),
                 header->off_reason);
        set_problem(traced, "its tracer stepped aside: %s", reason);
        return false;
    }
}

static bool open_view(struct traced_blocks *traced, const struct target *target,
                      const struct mapping *mapping, const struct region_header *header)
{
    struct error err;
    traced->fd = find_descriptor(header->recorder_pid, mapping);
    if (traced->fd < 0)
        traced->fd = find_mapped_file(target, mapping);
    if (traced->fd < 0) {
        traced->is_clone = true;
        return true;
    }
    traced->is_viewed = region_view_fd(&traced->view, traced->fd, &err);
    if (!traced->is_viewed)
        set_problem(traced, "%s", err.message);
    return traced->is_viewed;
}

/* A view of the caller's: of this very program? */
static bool take_view(struct traced_blocks *traced, const struct region_view *region,
                      const struct mapping *mapping)
{
    struct stat status;
    if (region->fd < 0 || fstat(region->fd, &status) != 0 || !is_of_mapping(&status, mapping))
        return false;
    traced->view = *region;
    return true;
}

/* --- copying --------------------------------------------------------------------------------- */

static void add_block(struct traced_part *part, const struct region_block *block)
{
    if (part->nr && part->blocks[part->nr - 1].addr >= block->addr)
        return; /* a damaged flag puts one behind the next */
    if (part->nr == part->capacity)
        part->blocks =
            array_reserve(part->blocks, &part->capacity, part->nr + 1, sizeof(*part->blocks));
    part->blocks[part->nr++] =
        (struct traced_block){block->addr, block->bytes, block->site, block->task};
}

static void copy_part(void *context, unsigned worker, size_t number)
{
    struct traced_blocks *traced = context;
    struct traced_part *part = &traced->parts[number];
    struct region_block_walk walk;
    struct region_block block;
    (void)worker;
    part->nr = 0;
    region_blocks_begin_at(&walk, &traced->view, part->from, part->end);
    while (region_blocks_next(&walk, &block))
        add_block(part, &block);
    region_blocks_end(&walk);
}

static void note_dropping(struct traced_blocks *traced, const struct region_task *row)
{
    if (!row || !row->cell_addr || row->end != REGION_END_NOT ||
        !(row->notes & REGION_NOTE_DROPPING))
        return;
    traced->dropping = array_reserve(traced->dropping, &traced->dropping_capacity,
                                     traced->nr_dropping + 1, sizeof(*traced->dropping));
    traced->dropping[traced->nr_dropping++] = row->cell_addr;
}

static void copy_tasks(struct traced_blocks *traced)
{
    uint32_t nr = region_nr_rows(&traced->view, REGION_TASKS);
    traced->tasks =
        array_reserve(traced->tasks, &traced->tasks_capacity, nr + 1, sizeof(*traced->tasks));
    traced->tasks[0] = (struct traced_task){0};
    traced->nr_dropping = 0;
    for (uint32_t i = 1; i < nr; i++) {
        const struct region_task *row = region_row(&traced->view, REGION_TASKS, i);
        traced->tasks[i] = row ? (struct traced_task){.id = row->id,
                                                      .runtime_task_id = row->runtime_task_id,
                                                      .cell_addr = row->cell_addr,
                                                      .kind = row->kind,
                                                      .type = row->type,
                                                      .thread = row->thread}
                               : (struct traced_task){0};
        note_dropping(traced, row);
    }
    traced->nr_tasks = nr;
    if (traced->nr_dropping)
        qsort(traced->dropping, traced->nr_dropping, sizeof(*traced->dropping), search_word_order);
}

static void copy_threads(struct traced_blocks *traced)
{
    uint32_t nr = region_nr_rows(&traced->view, REGION_THREADS);
    traced->threads =
        array_reserve(traced->threads, &traced->threads_capacity, nr + 1, sizeof(*traced->threads));
    traced->threads[0] = (struct traced_thread){0};
    for (uint32_t i = 1; i < nr; i++) {
        const struct region_thread *row = region_row(&traced->view, REGION_THREADS, i);
        struct traced_thread *copy = &traced->threads[i];
        *copy = (struct traced_thread){.tid = row ? row->tid : 0};
        if (row)
            memcpy(copy->name, row->name, sizeof(copy->name) - 1);
    }
    traced->nr_threads = nr;
}

static uint64_t count_lost(const struct region_view *view)
{
    return view->header->lost[LOST_IN_SIGNAL] + view->header->lost[LOST_NO_THREAD] +
           view->header->lost[LOST_TABLE_FULL];
}

/* --- the road -------------------------------------------------------------------------------- */

/* One part, of all addresses. */
static void begin_parts(struct traced_blocks *traced)
{
    traced->nr_parts = 1;
    traced->parts = memory_alloc(sizeof(*traced->parts));
    traced->parts[0].end = (uint64_t)1 << REGION_ADDR_BITS;
}

/* Into parts of about as many blocks each, with room for some more. */
static void cut_parts(struct traced_blocks *traced)
{
    const struct traced_part all = traced->parts[0];
    const size_t nr = all.nr < SMALL_BLOCKS ? 1 : PARTS_A_WORKER * parallel_workers(SIZE_MAX);
    free(traced->parts);
    traced->nr_parts = nr;
    traced->parts = memory_alloc(nr * sizeof(*traced->parts));
    uint64_t from = 0;
    for (size_t i = 0; i < nr; i++) {
        struct traced_part *part = &traced->parts[i];
        uint64_t end =
            i + 1 < nr ? all.blocks[(i + 1) * (all.nr / nr)].addr & ~GRANULE_MASK : all.end;
        size_t capacity = all.nr / nr * 5 / 4 + MORE_BLOCKS / nr;
        *part = (struct traced_part){.from = from, .end = end, .capacity = capacity};
        part->blocks = memory_alloc_touched(capacity * sizeof(*part->blocks));
        from = end;
    }
    free(all.blocks);
}

/* The first copy, of what changes, brings all pages to us and tells how much room is needed. */
static void make_room(struct traced_blocks *traced)
{
    const uint64_t began = clock_ns(CLOCK_MONOTONIC);
    copy_part(traced, 0, 0);
    traced->estimate_ns = clock_ns(CLOCK_MONOTONIC) - began;
    cut_parts(traced);
    traced->tasks_capacity = region_nr_rows(&traced->view, REGION_TASKS) * 5 / 4 + MORE_ROWS;
    traced->tasks = memory_alloc_touched(traced->tasks_capacity * sizeof(*traced->tasks));
    copy_tasks(traced);
    copy_threads(traced);
}

void traced_blocks_find(struct traced_blocks *traced, const struct target *target,
                        const struct region_view *region)
{
    struct region_header *header = memory_alloc(sizeof(*header));
    *traced = (struct traced_blocks){.fd = -1, .view = {.fd = -1}};
    const struct mapping *mapping = target->is_core ? NULL : find_mapping(traced, target);
    if (mapping && read_header(traced, target, header) && is_tracing(traced, header))
        traced->is_there = (region && take_view(traced, region, mapping)) ||
                           open_view(traced, target, mapping, header);
    begin_parts(traced);
    if (traced->is_there && !traced->is_clone)
        make_room(traced);
    free(header);
}

static bool copy_through_target(struct traced_blocks *traced, const struct target *target)
{
    struct error err;
    if (traced_blocks_clone(target, traced, &traced->fd, &err)) {
        traced->is_viewed = region_view_fd(&traced->view, traced->fd, &err);
        if (traced->is_viewed)
            return true;
    }
    set_problem(traced, "%s", err.message);
    return false;
}

void traced_blocks_copy(struct traced_blocks *traced, const struct target *target,
                        uint64_t limit_ns)
{
    const uint64_t began = clock_ns(CLOCK_MONOTONIC);
    if (traced->is_there && traced->estimate_ns > limit_ns) {
        traced->is_there = false;
        set_problem(traced,
                    "its table of blocks was left out, as a copy of it would have held the program "
                    "for about %llu ms more; --stop-limit %llu allows it",
                    (unsigned long long)(traced->estimate_ns / 1000000),
                    (unsigned long long)(traced->estimate_ns / 500000));
    }
    if (traced->is_there && traced->is_clone)
        traced->is_there = copy_through_target(traced, target);
    if (!traced->is_there)
        return;
    traced->lost = count_lost(&traced->view);
    parallel_for(traced->nr_parts, copy_part, traced);
    copy_tasks(traced);
    copy_threads(traced);
    traced->copy_ns = clock_ns(CLOCK_MONOTONIC) - began;
}

/* A place is used again: it is its newest thread's. */
static void find_thread_rows(struct traced_blocks *traced)
{
    for (uint32_t i = 1; i < traced->nr_tasks; i++) {
        const struct traced_task *task = &traced->tasks[i];
        if (!task->id || task->kind != REGION_TASK_THREAD || task->thread >= traced->nr_threads)
            continue;
        struct traced_thread *thread = &traced->threads[task->thread];
        if (!thread->task || traced->tasks[thread->task].id < task->id)
            thread->task = i;
    }
}

/* What stands in the words through which an image calls its own allocator: hooks of the tracer's library. */
static void find_stand_ins(const struct traced_blocks *traced, struct target *target)
{
    const struct region_view *view = &traced->view;
    const uint32_t nr = region_nr_rows(view, REGION_SLOTS);
    target->stand_ins = arena_alloc(&target->arena, (nr + 1) * sizeof(*target->stand_ins));
    target->nr_stand_ins = 0;
    for (uint32_t i = 1; i < nr; i++) {
        const struct region_slot *slot = region_row(view, REGION_SLOTS, i);
        const struct region_image *image =
            slot ? region_row(view, REGION_IMAGES, slot->image) : NULL;
        uint64_t word;
        if (!image || target_read(target, image->bias + slot->slot_offset, &word, 8) != 8)
            continue;
        const struct target_image *code = target_image_at(target, word);
        if (code && is_library(code))
            target->stand_ins[target->nr_stand_ins++] =
                (struct target_stand_in){word, slot->function};
    }
}

void traced_blocks_finish(struct traced_blocks *traced, struct target *target)
{
    size_t nr = 0;
    if (!traced->is_there)
        return;
    find_thread_rows(traced);
    find_stand_ins(traced, target);
    for (size_t i = 0; i < traced->nr_parts; i++)
        nr += traced->parts[i].nr;
    traced->blocks = memory_resize(NULL, (nr + 1) * sizeof(*traced->blocks));
    for (size_t i = 0; i < traced->nr_parts; i++) {
        struct traced_part *part = &traced->parts[i];
        if (part->nr)
            memcpy(traced->blocks + traced->nr_blocks, part->blocks,
                   part->nr * sizeof(*part->blocks));
        traced->nr_blocks += part->nr;
        free(part->blocks);
        *part = (struct traced_part){0};
    }
}

void traced_blocks_deinit(struct traced_blocks *traced)
{
    if (traced->is_viewed)
        region_view_close(&traced->view);
    if (traced->fd >= 0)
        close(traced->fd);
    for (size_t i = 0; i < traced->nr_parts; i++)
        free(traced->parts[i].blocks);
    free(traced->parts);
    free(traced->blocks);
    free(traced->tasks);
    free(traced->dropping);
    free(traced->threads);
    *traced = (struct traced_blocks){.fd = -1, .view = {.fd = -1}};
}

/* --- looking up ------------------------------------------------------------------------------ */

const struct traced_block *traced_blocks_at(const struct traced_blocks *traced, uint64_t addr)
{
    size_t at = SEARCH_UP_TO(traced->blocks, traced->nr_blocks, addr, addr);
    return at && traced->blocks[at - 1].addr == addr ? &traced->blocks[at - 1] : NULL;
}

const struct traced_task *traced_blocks_task(const struct traced_blocks *traced, uint32_t row)
{
    return row && row < traced->nr_tasks && traced->tasks[row].id ? &traced->tasks[row] : NULL;
}

bool traced_blocks_is_dropping(const struct traced_blocks *traced, uint64_t addr)
{
    return traced->nr_dropping && bsearch(&addr, traced->dropping, traced->nr_dropping,
                                          sizeof(*traced->dropping), search_word_order);
}
