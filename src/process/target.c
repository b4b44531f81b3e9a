/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What is the same for a live process and a core: the tables and look-ups in them.  process/live.c
 * and process/core_file.c fill them, process/pause.c stops a live one.
 */
#include "process/target.h"

#include <stdlib.h>
#include <string.h>
#include <sys/user.h>

#include "base/file.h"
#include "base/search.h"
#include "process/copy_guard.h"
#include "process/copy_memory.h"
#include "process/core_file.h"
#include "process/images.h"
#include "process/live.h"

bool target_open(struct target *target, pid_t pid, struct error *err)
{
    *target = (struct target){0};
    arena_init(&target->arena);
    if (live_open(target, pid, err))
        return true;
    target_close(target);
    return false;
}

bool target_open_core(struct target *target, const char *path, const char *exe, struct error *err)
{
    *target = (struct target){.is_core = true};
    arena_init(&target->arena);
    if (core_open(target, path, exe, err))
        return true;
    target_close(target);
    return false;
}

void target_close(struct target *target)
{
    target_resume(target);
    target_end_copy(target);
    copy_guard_end(target);
    for (size_t i = 0; i < target->nr_files; i++)
        file_close(&target->files[i]);
    if (target->core)
        file_close(target->core);
    free(target->files);
    free(target->segments);
    free(target->mappings);
    free(target->threads);
    free(target->images);
    arena_deinit(&target->arena);
    *target = (struct target){0};
}

void target_thread_set(struct target_thread *thread, const struct user_regs_struct *regs)
{
    const uint64_t registers[NR_DWARF_REGISTERS] = {
        regs->rax, regs->rdx, regs->rcx, regs->rbx, regs->rsi, regs->rdi,
        regs->rbp, regs->rsp, regs->r8,  regs->r9,  regs->r10, regs->r11,
        regs->r12, regs->r13, regs->r14, regs->r15, regs->rip};
    memcpy(thread->registers, registers, sizeof(registers));
    thread->pc = regs->rip;
    thread->stack_pointer = regs->rsp;
    thread->frame_pointer = regs->rbp;
    thread->thread_pointer = regs->fs_base;
}

size_t target_read(const struct target *target, uint64_t addr, void *buffer, size_t size)
{
    return target->is_core    ? core_read(target, addr, buffer, size)
           : target->copy.pid ? copy_read(target, addr, buffer, size)
                              : live_read(target, addr, buffer, size);
}

void target_read_many(const struct target *target, struct target_range *ranges, size_t nr)
{
    if (!target->is_core) {
        if (target->copy.pid)
            copy_read_many(target, ranges, nr);
        else
            live_read_many(target, ranges, nr);
        return;
    }
    for (size_t i = 0; i < nr; i++)
        if (core_read(target, ranges[i].addr, ranges[i].buffer, ranges[i].size_bytes) !=
            ranges[i].size_bytes)
            ranges[i].size_bytes = 0;
}

bool target_read_mappings(struct target *target, struct error *err)
{
    if (target->is_core)
        return true;
    if (!target->copy.pid && !live_read_mappings(target, err))
        return false;
    images_read_live(target);
    return true;
}

const struct mapping *target_mapping_at(const struct target *target, uint64_t addr)
{
    size_t nr = SEARCH_UP_TO(target->mappings, target->nr_mappings, start, addr);
    return nr && addr < target->mappings[nr - 1].end ? &target->mappings[nr - 1] : NULL;
}

const struct target_image *target_image_at(const struct target *target, uint64_t addr)
{
    const struct target_image *images = target->images;
    if (!target->nr_images)
        return NULL;
    if (addr >= images[0].start && addr < images[0].end)
        return &images[0];
    size_t nr = SEARCH_UP_TO(images + 1, target->nr_images - 1, start, addr);
    return nr && addr < images[nr].end ? &images[nr] : NULL;
}
