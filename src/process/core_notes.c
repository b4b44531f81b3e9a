/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Notes of a core, all of owner "CORE": core(5), fs/binfmt_elf.c of Linux.  NT_FILE is a count, the
 * page size, `count` triples (start, end, offset in pages) and as many paths.  A note that is cut
 * off gives what it still holds.
 */
#include "process/core_part.h"

#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/procfs.h>
#include <sys/user.h>

#include "base/search.h"

static void read_thread(struct target *target, struct cursor c)
{
    struct elf_prstatus status;
    struct user_regs_struct regs;
    _Static_assert(sizeof(regs) == sizeof(status.pr_reg), "the same registers");
    if (cursor_left(&c) < sizeof(status))
        return;
    memcpy(&status, c.pos, sizeof(status));
    memcpy(&regs, &status.pr_reg, sizeof(regs));
    target->threads = array_reserve(target->threads, &target->threads_capacity,
                                    target->nr_threads + 1, sizeof(*target->threads));
    struct target_thread *thread = &target->threads[target->nr_threads++];
    *thread = (struct target_thread){.tid = status.pr_pid, .stopped = true};
    target_thread_set(thread, &regs);
}

static void read_process(struct core_reader *reader, struct cursor c)
{
    struct elf_prpsinfo info;
    if (cursor_left(&c) < sizeof(info))
        return;
    memcpy(&info, c.pos, sizeof(info));
    reader->target->pid = info.pr_pid > 0 ? info.pr_pid : 0;
    snprintf(reader->short_name, sizeof(reader->short_name), "%.*s", (int)sizeof(info.pr_fname),
             info.pr_fname);
}

static void read_auxv(struct target *target, struct cursor c)
{
    while (cursor_left(&c) >= 16) {
        uint64_t key = cursor_u64(&c), value = cursor_u64(&c);
        if (key == AT_NULL)
            return;
        if (key == AT_ENTRY)
            target->entry = value;
    }
}

static void name_mapping(struct core_reader *reader, uint64_t start, uint64_t end, uint64_t offset,
                         const char *path, size_t nr_from_loads)
{
    struct target *target = reader->target;
    size_t nr = SEARCH_UP_TO(target->mappings, nr_from_loads, start, start);
    struct mapping *before = nr ? &target->mappings[nr - 1] : NULL;
    bool is_load = before && before->start == start;
    if (!is_load) {
        /* gcore writes no PT_LOAD for what it leaves out.  Its rights: see core_images.c. */
        if ((before && start < before->end) ||
            (nr < nr_from_loads && end > target->mappings[nr].start))
            return;
        target->mappings = array_reserve(target->mappings, &target->mappings_capacity,
                                         target->nr_mappings + 1, sizeof(*target->mappings));
        before = &target->mappings[target->nr_mappings++];
        *before = (struct mapping){.start = start, .end = end, .readable = true};
    }
    static const char deleted[] = " (deleted)";
    size_t length = strlen(path);
    before->is_deleted =
        length >= sizeof(deleted) && strcmp(path + length + 1 - sizeof(deleted), deleted) == 0;
    before->path = arena_strndup(&target->arena, path,
                                 before->is_deleted ? length + 1 - sizeof(deleted) : length);
    before->offset = offset;
}

static int by_start(const void *a, const void *b)
{
    const struct mapping *x = a, *y = b;
    return (x->start > y->start) - (x->start < y->start);
}

/* Sorts, and takes out what overlaps the one before. */
static void sort_mappings(struct target *target)
{
    size_t kept = 0;
    if (target->nr_mappings)
        qsort(target->mappings, target->nr_mappings, sizeof(*target->mappings), by_start);
    for (size_t i = 0; i < target->nr_mappings; i++)
        if (!kept || target->mappings[i].start >= target->mappings[kept - 1].end)
            target->mappings[kept++] = target->mappings[i];
    target->nr_mappings = kept;
}

static void read_mappings(struct core_reader *reader, struct cursor c)
{
    uint64_t count = cursor_u64(&c), page_bytes = cursor_u64(&c);
    uint64_t room = cursor_left(&c) / 24;
    struct cursor names = c, rows = c;
    if (!page_bytes || count > room || !cursor_skip(&names, count * 24))
        return;
    size_t nr_from_loads = reader->target->nr_mappings;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t start = cursor_u64(&rows), end = cursor_u64(&rows), pages = cursor_u64(&rows);
        const char *path = cursor_str(&names);
        if (!path)
            break;
        uint64_t offset;
        if (end > start && !__builtin_mul_overflow(pages, page_bytes, &offset))
            name_mapping(reader, start, end, offset, path, nr_from_loads);
    }
    sort_mappings(reader->target);
}

void core_notes_read(struct core_reader *reader, struct cursor notes)
{
    while (cursor_left(&notes) >= sizeof(Elf64_Nhdr)) {
        uint32_t name_bytes = cursor_u32(&notes), desc_bytes = cursor_u32(&notes);
        uint32_t type = cursor_u32(&notes);
        const uint8_t *name = notes.pos;
        if (!cursor_skip(&notes, ((uint64_t)name_bytes + 3) & ~3ull))
            return;
        struct cursor desc = cursor_make(notes.pos, cursor_left(&notes));
        if (desc_bytes < cursor_left(&desc))
            desc.end = desc.pos + desc_bytes;
        cursor_skip(&notes, ((uint64_t)desc_bytes + 3) & ~3ull);
        if (name_bytes != 5 || memcmp(name, "CORE", 5) != 0)
            continue;
        if (type == NT_PRSTATUS)
            read_thread(reader->target, desc);
        else if (type == NT_PRPSINFO)
            read_process(reader, desc);
        else if (type == NT_AUXV)
            read_auxv(reader->target, desc);
        else if (type == NT_FILE)
            read_mappings(reader, desc);
    }
}
