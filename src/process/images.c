/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A path in /proc/PID/maps is only a hint: the file may have been deleted or replaced, or lie in
 * another mount namespace.  A candidate counts when it opens the very file that is mapped: same
 * device and inode; or, where a file system shows another device than maps does (btrfs, overlayfs),
 * the same inode and the same first page as in memory.  /proc/PID/exe and map_files need no check:
 * the kernel opens the mapped file itself.
 */
#include "process/images.h"

#include <elf.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cursor.h"
#include "process/proc.h"

static uint64_t page_down(uint64_t value)
{
    return value & ~(uint64_t)(PAGE_BYTES - 1);
}

/* --- ELF headers --------------------------------------------------------------------------------- */

static void read_build_id(struct image_layout *layout, struct cursor c)
{
    while (!layout->build_id_bytes && cursor_left(&c) >= sizeof(Elf64_Nhdr)) {
        uint32_t name_bytes = cursor_u32(&c), desc_bytes = cursor_u32(&c), type = cursor_u32(&c);
        const uint8_t *name = c.pos;
        cursor_skip(&c, ((uint64_t)name_bytes + 3) & ~3ull);
        const uint8_t *desc = c.pos;
        if (!cursor_skip(&c, desc_bytes))
            return;
        if (type == NT_GNU_BUILD_ID && name_bytes == 4 && memcmp(name, "GNU", 4) == 0 &&
            desc_bytes <= MAX_IMAGE_BUILD_ID) {
            memcpy(layout->build_id, desc, desc_bytes);
            layout->build_id_bytes = desc_bytes;
        }
        cursor_skip(&c, (4 - desc_bytes % 4) % 4);
    }
}

static bool add_load(struct image_layout *layout, const Elf64_Phdr *phdr)
{
    if (layout->nr_loads == MAX_IMAGE_LOADS || phdr->p_vaddr > INT64_MAX ||
        phdr->p_memsz > INT64_MAX || phdr->p_offset > INT64_MAX || phdr->p_filesz > phdr->p_memsz ||
        (phdr->p_vaddr - phdr->p_offset) % PAGE_BYTES != 0)
        return false;
    layout->loads[layout->nr_loads++] = (struct image_load){
        phdr->p_vaddr, phdr->p_offset, phdr->p_filesz, phdr->p_memsz, phdr->p_flags & PF_X};
    return true;
}

bool image_layout_read(struct image_layout *layout, const uint8_t *bytes, uint64_t size)
{
    *layout = (struct image_layout){0};
    Elf64_Ehdr ehdr;
    if (size < sizeof(ehdr))
        return false;
    memcpy(&ehdr, bytes, sizeof(ehdr));
    if (memcmp(ehdr.e_ident, ELFMAG, SELFMAG) != 0 || ehdr.e_ident[EI_CLASS] != ELFCLASS64 ||
        ehdr.e_ident[EI_DATA] != ELFDATA2LSB || ehdr.e_machine != EM_X86_64 ||
        (ehdr.e_type != ET_EXEC && ehdr.e_type != ET_DYN) || ehdr.e_phentsize != sizeof(Elf64_Phdr))
        return false;
    layout->entry = ehdr.e_entry;
    struct cursor table = cursor_at(bytes, size, ehdr.e_phoff);
    for (unsigned i = 0; i < ehdr.e_phnum; i++) {
        Elf64_Phdr phdr;
        const uint8_t *row = table.pos;
        if (!cursor_skip(&table, sizeof(phdr)))
            return false;
        memcpy(&phdr, row, sizeof(phdr));
        if (phdr.p_type == PT_LOAD && phdr.p_memsz && !add_load(layout, &phdr))
            return false;
        if (phdr.p_type == PT_NOTE) {
            struct cursor note = cursor_at(bytes, size, phdr.p_offset);
            if (cursor_left(&note) > phdr.p_filesz)
                note.end = note.pos + phdr.p_filesz;
            read_build_id(layout, note);
        }
    }
    return layout->nr_loads > 0;
}

bool image_layout_equal(const struct image_layout *a, const struct image_layout *b)
{
    if (a->build_id_bytes && b->build_id_bytes)
        return a->build_id_bytes == b->build_id_bytes &&
               memcmp(a->build_id, b->build_id, a->build_id_bytes) == 0;
    if (a->entry != b->entry || a->nr_loads != b->nr_loads)
        return false;
    for (unsigned i = 0; i < a->nr_loads; i++) {
        const struct image_load *x = &a->loads[i], *y = &b->loads[i];
        if (x->addr != y->addr || x->offset != y->offset || x->file_bytes != y->file_bytes ||
            x->memory_bytes != y->memory_bytes || x->executable != y->executable)
            return false;
    }
    return true;
}

bool image_layout_bias(const struct image_layout *layout, const struct mapping *mapping,
                       uint64_t *bias)
{
    const struct image_load *found = NULL;
    for (unsigned i = 0; i < layout->nr_loads; i++) {
        const struct image_load *load = &layout->loads[i];
        if (!load->executable || mapping->offset < page_down(load->offset) ||
            mapping->offset >= load->offset + load->file_bytes)
            continue;
        /* Two segments may share a page of the file: the one that begins there is meant. */
        if (!found || page_down(load->offset) == mapping->offset)
            found = load;
    }
    if (!found)
        return false;
    *bias = mapping->start - (page_down(found->addr) + mapping->offset - page_down(found->offset));
    return true;
}

/* --- the table ----------------------------------------------------------------------------------- */

bool mapping_is_of_file(const struct mapping *a, const struct mapping *b)
{
    return a->device == b->device && a->inode == b->inode &&
           (a->inode || strcmp(a->path, b->path) == 0);
}

const struct mapping *mapping_of_header(const struct target *target, const struct mapping *mapping)
{
    for (const struct mapping *m = mapping;; m--) {
        if (m->offset == 0 && m->readable && mapping_is_of_file(m, mapping))
            return m;
        if (m == target->mappings)
            return NULL;
    }
}

struct target_image *image_add(struct target *target, const struct mapping *mapping,
                               const struct image_layout *layout, uint64_t bias)
{
    uint64_t low = UINT64_MAX, high = 0;
    for (unsigned i = 0; i < layout->nr_loads; i++) {
        const struct image_load *load = &layout->loads[i];
        uint64_t end = page_down(load->addr + load->memory_bytes + PAGE_BYTES - 1);
        low = page_down(load->addr) < low ? page_down(load->addr) : low;
        high = end > high ? end : high;
    }
    low += bias;
    high += bias;
    if (mapping->start < low || mapping->start >= high)
        return NULL;
    target->images = array_reserve(target->images, &target->images_capacity, target->nr_images + 1,
                                   sizeof(*target->images));
    struct target_image *image = &target->images[target->nr_images++];
    *image = (struct target_image){
        .name = mapping->path,
        .bias = bias,
        .start = low,
        .end = high,
        .device = mapping->device,
        .inode = mapping->inode,
    };
    return image;
}

static int by_program_and_start(const void *a, const void *b)
{
    const struct target_image *x = a, *y = b;
    if (x->is_program != y->is_program)
        return x->is_program ? -1 : 1;
    return (x->start > y->start) - (x->start < y->start);
}

void images_sort(struct target *target)
{
    if (target->nr_images)
        qsort(target->images, target->nr_images, sizeof(*target->images), by_program_and_start);
}

/* --- a live process ------------------------------------------------------------------------------ */

enum { PATH_BYTES = PATH_MAX + 64 };

static bool is_same_header(const struct target *target, const struct mapping *mapping,
                           const struct file *file)
{
    uint8_t page[PAGE_BYTES];
    const struct mapping *header = mapping_of_header(target, mapping);
    size_t size = file->size_bytes < sizeof(page) ? file->size_bytes : sizeof(page);
    return header && target_read(target, header->start, page, size) == size &&
           memcmp(page, file->bytes, size) == 0;
}

static bool opens_mapped_file(const struct target *target, const struct mapping *mapping,
                              const char *path, struct file *file)
{
    if (!file_open(file, path, NULL))
        return false;
    if (file->identity.inode == mapping->inode &&
        (file->identity.device == mapping->device || is_same_header(target, mapping, file)))
        return true;
    file_close(file);
    return false;
}

/* Opens the mapped file; `path` is how.  The plain path first: debug files are found beside it. */
static bool open_mapped_file(const struct target *target, const struct mapping *mapping,
                             bool is_program, char *path, struct file *file)
{
    int tid = (int)target->memory_tid;
    snprintf(path, PATH_BYTES, "%s", mapping->path);
    if (opens_mapped_file(target, mapping, path, file))
        return true;
    snprintf(path, PATH_BYTES, "/proc/%d/root%s", tid, mapping->path);
    if (opens_mapped_file(target, mapping, path, file))
        return true;
    snprintf(path, PATH_BYTES, "/proc/%d/exe", tid);
    if (is_program && file_open(file, path, NULL))
        return true;
    snprintf(path, PATH_BYTES, "/proc/%d/map_files/%llx-%llx", tid,
             (unsigned long long)mapping->start, (unsigned long long)mapping->end);
    return file_open(file, path, NULL);
}

static const char *tell_problem(struct target *target, const struct mapping *mapping,
                                bool is_program)
{
    struct text text;
    text_init(&text);
    text_printf(&text, "%s: the file that is mapped %s; %s", mapping->path,
                mapping->is_deleted ? "was deleted or replaced while it ran"
                                    : "cannot be opened by this path",
                is_program ? "run asyncmem as root, or give the program by --exe FILE"
                           : "run asyncmem as root");
    const char *problem = arena_strndup(&target->arena, text_str(&text), text.length);
    text_deinit(&text);
    return problem;
}

static void add_live_image(struct target *target, const struct mapping *mapping, bool is_program)
{
    char path[PATH_BYTES];
    uint8_t page[PAGE_BYTES];
    struct image_layout layout;
    struct file file;
    bool opened = open_mapped_file(target, mapping, is_program, path, &file), is_elf = false;
    if (opened) {
        is_elf = image_layout_read(&layout, file.bytes, file.size_bytes);
        file_close(&file);
    } else {
        const struct mapping *header = mapping_of_header(target, mapping);
        size_t size = header ? target_read(target, header->start, page, sizeof(page)) : 0;
        is_elf = image_layout_read(&layout, page, size);
    }
    uint64_t bias;
    if (!is_elf || !image_layout_bias(&layout, mapping, &bias))
        return;
    struct target_image *image = image_add(target, mapping, &layout, bias);
    if (!image)
        return;
    image->is_program = is_program;
    if (opened)
        image->path = arena_strndup(&target->arena, path, strlen(path));
    else
        image->problem = tell_problem(target, mapping, is_program);
}

/* What /proc/PID/exe is among the mappings. */
struct program_file {
    struct stat stat;
    char path[PATH_BYTES];
    bool by_inode; /* a mapping has its device and inode; else the path decides */
};

static bool is_candidate(const struct mapping *m)
{
    return m->executable && m->inode && m->path[0] == '/' && !m->is_device;
}

static void find_program_file(const struct target *target, struct program_file *program)
{
    char link[64];
    *program = (struct program_file){0};
    snprintf(link, sizeof(link), "/proc/%d/exe", (int)target->memory_tid);
    ssize_t n = readlink(link, program->path, sizeof(program->path) - 1);
    program->path[n > 0 ? n : 0] = 0;
    static const char deleted[] = " (deleted)";
    if (str_ends_with(program->path, deleted))
        program->path[strlen(program->path) - strlen(deleted)] = 0;
    if (stat(link, &program->stat) != 0)
        return;
    for (size_t i = 0; i < target->nr_mappings; i++)
        program->by_inode |= target->mappings[i].inode == program->stat.st_ino &&
                             target->mappings[i].device == program->stat.st_dev;
}

static bool is_program_file(const struct program_file *program, const struct mapping *m)
{
    if (program->by_inode)
        return m->inode == program->stat.st_ino && m->device == program->stat.st_dev;
    return strcmp(m->path, program->path) == 0;
}

/* The image among the first `nr` of `images` that the mapping is a part of, or NULL. */
static const struct target_image *image_of(const struct target_image *images, size_t nr,
                                           const struct mapping *m)
{
    for (size_t i = 0; i < nr; i++)
        if (images[i].device == m->device && images[i].inode == m->inode &&
            m->start >= images[i].start && m->start < images[i].end)
            return &images[i];
    return NULL;
}

void images_read_live(struct target *target)
{
    struct target_image *old = target->images;
    size_t nr_old = target->nr_images;
    target->images = NULL;
    target->nr_images = target->images_capacity = 0;
    struct program_file program;
    find_program_file(target, &program);
    for (size_t i = 0; i < target->nr_mappings; i++) {
        const struct mapping *m = &target->mappings[i];
        if (!is_candidate(m) || image_of(target->images, target->nr_images, m))
            continue;
        const struct target_image *known = image_of(old, nr_old, m);
        if (!known) {
            add_live_image(target, m, is_program_file(&program, m));
            continue;
        }
        target->images = array_reserve(target->images, &target->images_capacity,
                                       target->nr_images + 1, sizeof(*target->images));
        target->images[target->nr_images++] = *known;
    }
    free(old);
    images_sort(target);
}
