/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The images of a core.  NT_FILE tells paths only, and the file there may be another one today: it
 * counts when its header agrees with the one in memory, which cores hold by default (bit 4 of
 * coredump_filter).  The program is the image whose entry point is AT_ENTRY.
 *
 * Memory that the core left out is read from the image's file: the kernel and gcore leave out a
 * private file mapping only while nothing in it was written.  What was dumped but cut off later is
 * not replaced: nobody knows whether it was the same.
 */
#include "process/core_part.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "process/core_file.h"
#include "process/images.h"

/* The layout by the first page of the file in the core; false where it was not dumped. */
static bool read_dumped_layout(const struct core_reader *reader, const struct mapping *mapping,
                               struct image_layout *layout)
{
    uint8_t page[PAGE_BYTES];
    const struct mapping *header = mapping_of_header(reader->target, mapping);
    size_t size = header ? core_read(reader->target, header->start, page, sizeof(page)) : 0;
    return image_layout_read(layout, page, size);
}

/*
 * Every segment of the file is mapped where the bias says.  Two segments may share a page of the
 * file, so that a mapping of unknown rights alone does not tell which of them it is.
 */
static bool is_bias_right(const struct core_reader *reader, const struct mapping *mapping,
                          const struct image_layout *layout, uint64_t bias)
{
    const uint64_t page = ~(uint64_t)(PAGE_BYTES - 1);
    for (unsigned i = 0; i < layout->nr_loads; i++) {
        const struct image_load *load = &layout->loads[i];
        uint64_t addr = bias + (load->addr & page);
        const struct mapping *m = load->file_bytes ? target_mapping_at(reader->target, addr) : NULL;
        if (!load->file_bytes)
            continue;
        if (!m || !mapping_is_of_file(m, mapping) ||
            m->offset + (addr - m->start) != (load->offset & page) ||
            (load->executable && !m->executable && core_load_at(reader, m->start)))
            return false;
    }
    return true;
}

/* Mappings without a load of their own get the rights that the image gives them. */
static void set_rights(struct core_reader *reader, const struct target_image *image,
                       const struct image_layout *layout)
{
    struct target *target = reader->target;
    for (size_t i = 0; i < target->nr_mappings; i++) {
        struct mapping *m = &target->mappings[i];
        if (m->start < image->start || m->start >= image->end || core_load_at(reader, m->start))
            continue;
        for (unsigned k = 0; k < layout->nr_loads; k++) {
            uint64_t start = image->bias + layout->loads[k].addr;
            if (layout->loads[k].executable && m->end > start &&
                m->start < start + layout->loads[k].memory_bytes)
                m->executable = true;
        }
    }
}

/* Takes over the open file: fill_gaps reads from it. */
static struct file *keep_file(struct target *target, struct file *file)
{
    target->files = array_reserve(target->files, &target->files_capacity, target->nr_files + 1,
                                  sizeof(*target->files));
    target->files[target->nr_files] = *file;
    return &target->files[target->nr_files++];
}

/* --- the program, by --exe ----------------------------------------------------------------------- */

static void put_hex(struct text *text, const uint8_t *bytes, uint32_t nr)
{
    for (uint32_t i = 0; i < nr; i++)
        text_printf(text, "%02x", bytes[i]);
}

static bool check_dumped(const struct core_reader *reader, const struct mapping *mapping,
                         const struct image_layout *layout, struct error *err)
{
    struct image_layout dumped;
    if (!read_dumped_layout(reader, mapping, &dumped) || image_layout_equal(&dumped, layout))
        return true;
    struct text ran, given;
    text_init(&ran);
    text_init(&given);
    put_hex(&ran, dumped.build_id, dumped.build_id_bytes);
    put_hex(&given, layout->build_id, layout->build_id_bytes);
    error_set(err, ERROR_INPUT,
              "%s: is not the program of %s: build id %s instead of %s; give the file that ran",
              reader->exe, reader->path, given.length ? given.data : "(none)",
              ran.length ? ran.data : "(none)");
    text_deinit(&ran);
    text_deinit(&given);
    return false;
}

static bool add_program(struct core_reader *reader, struct error *err)
{
    struct target *target = reader->target;
    struct image_layout layout;
    struct file file;
    if (!file_open(&file, reader->exe, err))
        return false;
    keep_file(target, &file);
    if (!image_layout_read(&layout, file.bytes, file.size_bytes))
        return error_set(err, ERROR_INPUT,
                         "%s: is not a 64-bit x86-64 ELF program; give the program that ran",
                         reader->exe);
    bool has_paths = false;
    for (size_t i = 0; i < target->nr_mappings; i++) {
        const struct mapping *m = &target->mappings[i];
        uint64_t bias;
        has_paths |= *m->path != 0;
        if (!*m->path || !image_layout_bias(&layout, m, &bias) ||
            (target->entry && layout.entry + bias != target->entry) ||
            !is_bias_right(reader, m, &layout, bias))
            continue;
        if (!check_dumped(reader, m, &layout, err))
            return false;
        struct target_image *image = image_add(target, m, &layout, bias);
        if (!image)
            continue;
        set_rights(reader, image, &layout);
        image->is_program = true;
        image->path = arena_strndup(&target->arena, reader->exe, strlen(reader->exe));
        return true;
    }
    if (!has_paths)
        return error_set(err, ERROR_INPUT,
                         "%s: does not say which files were mapped%s, so that %s has no place in "
                         "it; make a core by `gcore PID`",
                         reader->path, target->is_truncated ? " (that is cut off)" : "",
                         reader->exe);
    return error_set(err, ERROR_INPUT,
                     "%s: is not the program of %s: its entry point and segments fit no mapping; "
                     "give the file that ran",
                     reader->exe, reader->path);
}

/* --- the others ---------------------------------------------------------------------------------- */

static const char *tell_problem(struct core_reader *reader, const struct mapping *mapping,
                                bool is_there)
{
    struct text text;
    text_init(&text);
    text_printf(&text,
                is_there
                    ? "%s: is not the file that ran; put that back here, or give the program "
                      "by --exe FILE"
                    : "%s: cannot be opened; copy it to this path from where the core was made, "
                      "or give the program by --exe FILE",
                mapping->path);
    const char *problem = arena_strndup(&reader->target->arena, text_str(&text), text.length);
    text_deinit(&text);
    return problem;
}

/* The mapping's rights are known from its load; without one anything may be code. */
static bool is_candidate(const struct core_reader *reader, const struct mapping *m)
{
    return m->path[0] == '/' && (m->executable || !core_load_at(reader, m->start));
}

static void add_image(struct core_reader *reader, const struct mapping *m)
{
    struct target *target = reader->target;
    struct image_layout dumped, in_file;
    struct file file;
    uint64_t bias;
    bool has_dumped = read_dumped_layout(reader, m, &dumped);
    bool is_there = file_open(&file, m->path, NULL);
    bool fits = is_there && image_layout_read(&in_file, file.bytes, file.size_bytes) &&
                (!has_dumped || image_layout_equal(&dumped, &in_file));
    const struct image_layout *layout = has_dumped ? &dumped : fits ? &in_file : NULL;
    struct target_image *image = NULL;
    if (layout && image_layout_bias(layout, m, &bias) && is_bias_right(reader, m, layout, bias))
        image = image_add(target, m, layout, bias);
    if (image && fits) {
        image->path = image->name;
        keep_file(target, &file);
    } else if (is_there) {
        file_close(&file);
    }
    if (!image)
        return;
    set_rights(reader, image, layout);
    image->is_program = target->entry && layout->entry + bias == target->entry;
    if (!image->path)
        image->problem = tell_problem(reader, m, is_there);
}

static const struct target_image *image_of(const struct target *target, const struct mapping *m)
{
    for (size_t i = 0; i < target->nr_images; i++)
        if (strcmp(target->images[i].name, m->path) == 0 && m->start >= target->images[i].start &&
            m->start < target->images[i].end)
            return &target->images[i];
    return NULL;
}

/* Without AT_ENTRY, or where its image is unknown: by the name of the process. */
static void choose_program(struct core_reader *reader)
{
    struct target *target = reader->target;
    for (size_t i = 0; i < target->nr_images; i++)
        if (target->images[i].is_program)
            return;
    for (size_t i = 0; i < target->nr_images && *reader->short_name; i++) {
        const char *slash = strrchr(target->images[i].name, '/');
        if (slash && strncmp(slash + 1, reader->short_name, 15) == 0) {
            target->images[i].is_program = true;
            return;
        }
    }
}

/* --- memory that is in files only ---------------------------------------------------------------- */

static int by_addr(const void *a, const void *b)
{
    const struct core_segment *x = a, *y = b;
    return (x->addr > y->addr) - (x->addr < y->addr);
}

static const struct file *file_of(const struct target *target, const struct target_image *image)
{
    struct file_identity identity;
    if (!image->path || !file_identity_get(image->path, &identity))
        return NULL;
    for (size_t i = 0; i < target->nr_files; i++)
        if (target->files[i].identity.inode == identity.inode &&
            target->files[i].identity.device == identity.device)
            return &target->files[i];
    return NULL;
}

static void fill_gaps(struct core_reader *reader)
{
    struct target *target = reader->target;
    size_t needed = target->nr_segments + target->nr_mappings + 1;
    target->segments = memory_resize(target->segments, needed * sizeof(*target->segments));
    const struct target_image *last_image = NULL;
    const struct file *file = NULL;
    for (size_t i = 0; i < target->nr_mappings; i++) {
        const struct mapping *m = &target->mappings[i];
        const struct target_image *image = image_of(target, m);
        const struct core_load *load = core_load_at(reader, m->start);
        if (image && image != last_image)
            file = file_of(target, last_image = image);
        if (!image || !file)
            continue;
        uint64_t dumped = load ? load->dumped_bytes : 0, size = m->end - m->start, offset;
        if (dumped >= size || __builtin_add_overflow(m->offset, dumped, &offset))
            continue;
        struct cursor bytes = cursor_at(file->bytes, file->size_bytes, offset);
        uint64_t there = cursor_left(&bytes) < size - dumped ? cursor_left(&bytes) : size - dumped;
        if (there)
            target->segments[target->nr_segments++] =
                (struct core_segment){m->start + dumped, there, bytes.pos};
    }
    qsort(target->segments, target->nr_segments, sizeof(*target->segments), by_addr);
}

bool core_images_read(struct core_reader *reader, struct error *err)
{
    struct target *target = reader->target;
    if (reader->exe && !add_program(reader, err))
        return false;
    for (size_t i = 0; i < target->nr_mappings; i++)
        if (is_candidate(reader, &target->mappings[i]) && !image_of(target, &target->mappings[i]))
            add_image(reader, &target->mappings[i]);
    choose_program(reader);
    images_sort(target);
    fill_gaps(reader);
    return true;
}
