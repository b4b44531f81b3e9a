/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The rows of images (tracer/images.h).  A look compares what the loader has with what we know, makes rows for
 * new images and ends those of vanished ones, then waits a moment for the recorder's answers.  An image is
 * hooked when it is certainly relocated: what a look saw before no thread was in the loader.
 */
#include "tracer/images.h"

#include <elf.h>
#include <link.h>
#include <string.h>

#include "tracer/ask.h"
#include "tracer/image_ranges.h"
#include "tracer/real.h"
#include "tracer/slots.h"
#include "tracer/stack.h"
#include "tracer/syscalls.h"
#include "tracer/tasks.h"

enum { MAX_LOADED = 4096, LOOK_WAIT_MS = 3000 };

/* Of the loader: images that ever came and went. */
struct image_counts {
    uint64_t adds, subs;
};

/* An image that is loaded. */
struct loaded {
    struct slots_image place;
    uint64_t name_hash;
    uint32_t seen;               /* the look that saw it last */
    uint8_t is_hooked, is_first; /* is_first: it was there at the start, and stays */
};

/* Mapped, and wiped in a child of fork. */
struct images {
    uint32_t looking; /* atomic, a futex: somebody looks */
    uint32_t looks;
    uint32_t nr;
    uint32_t waited_for;        /* images_published, when the recorder was last waited for */
    struct image_counts counts; /* as the last look saw them */
    struct loaded loaded[MAX_LOADED];
    struct image_range ranges[MAX_LOADED];
};

static struct images *images;
/* The loader's own code: what it allocates in the middle of its work is no moment to look. */
static uintptr_t loader_start, loader_end;

/* --- a row ------------------------------------------------------------------------------------------- */

static void read_build_id(struct region_image *row, const struct dl_phdr_info *info,
                          const ElfW(Phdr) * phdr)
{
    const char *at = (const char *)info->dlpi_addr + phdr->p_vaddr, *end = at + phdr->p_memsz;
    while (end - at >= (ptrdiff_t)sizeof(ElfW(Nhdr))) {
        const ElfW(Nhdr) *note = (const void *)at;
        uint64_t name_bytes = ((uint64_t)note->n_namesz + 3) & ~(uint64_t)3;
        uint64_t bytes = ((uint64_t)note->n_descsz + 3) & ~(uint64_t)3;
        at += sizeof(*note);
        if (name_bytes + bytes > (uint64_t)(end - at))
            return;
        if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 && memcmp(at, "GNU", 4) == 0 &&
            note->n_descsz <= REGION_BUILD_ID_BYTES) {
            memcpy(row->build_id, at + name_bytes, note->n_descsz);
            row->build_id_bytes = note->n_descsz;
            return;
        }
        at += name_bytes + bytes;
    }
}

static void find_build_id(struct region_image *row, const struct dl_phdr_info *info)
{
    for (int i = 0; i < info->dlpi_phnum && !row->build_id_bytes; i++)
        if (info->dlpi_phdr[i].p_type == PT_NOTE)
            read_build_id(row, info, &info->dlpi_phdr[i]);
}

/* An absolute path: what was opened relative to the folder of that time. */
static void find_path(struct region_image *row, const char *name)
{
    if (row->is_program) {
        sys_call(SYS_readlink, (long)"/proc/self/exe", (long)row->path, REGION_PATH_BYTES - 1);
        return;
    }
    size_t used = 0;
    if (name[0] != '/' && strchr(name, '/')) {
        long length = sys_call(SYS_getcwd, (long)row->path, REGION_PATH_BYTES - 1, 0);
        used = sys_failed(length) || length < 1 ? 0 : (size_t)length - 1; /* the NUL is counted */
        row->path[used++] = '/';
    }
    size_t length = strlen(name);
    if (length > REGION_PATH_BYTES - 1 - used)
        length = REGION_PATH_BYTES - 1 - used;
    memcpy(row->path + used, name, length);
    row->path[used + length] = '\0';
}

static void fill_row(struct tracer *tracer, const struct loaded *loaded,
                     const struct dl_phdr_info *info)
{
    struct region_header *region = tracer->region;
    struct region_image *rows =
        (void *)((uint8_t *)region + region->tables[REGION_IMAGES].offset_bytes);
    struct region_image *row = &rows[loaded->place.image];
    row->start = loaded->place.start;
    row->end = loaded->place.end;
    row->bias = loaded->place.bias;
    row->loaded_ns = trace_now(tracer);
    row->is_program = !info->dlpi_name[0] && loaded->place.image == 1;
    find_build_id(row, info);
    find_path(row, info->dlpi_name);
    __atomic_store_n(&row->is_written, 1, __ATOMIC_RELEASE); /* the recorder reads it */
    __atomic_fetch_add(&region->images_published, 1, __ATOMIC_RELEASE);
}

static void end_row(struct tracer *tracer, const struct loaded *loaded)
{
    struct region_header *region = tracer->region;
    struct region_image *rows =
        (void *)((uint8_t *)region + region->tables[REGION_IMAGES].offset_bytes);
    __atomic_store_n(&rows[loaded->place.image].unloaded_ns, trace_now(tracer), __ATOMIC_RELEASE);
    __atomic_fetch_add(&region->images_published, 1, __ATOMIC_RELEASE);
}

/* --- a look ------------------------------------------------------------------------------------------ */

static uint64_t hash_of(const char *text)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *text; text++)
        hash = (hash ^ (uint8_t)*text) * 0x100000001b3u;
    return hash;
}

/* Where its segments are; false: it has none. */
static bool measure(struct loaded *found, const struct dl_phdr_info *info)
{
    *found = (struct loaded){.place.bias = info->dlpi_addr, .place.start = UINTPTR_MAX};
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *phdr = &info->dlpi_phdr[i];
        uintptr_t start = info->dlpi_addr + phdr->p_vaddr, end = start + phdr->p_memsz;
        if (phdr->p_type == PT_LOAD && start < found->place.start)
            found->place.start = start;
        if (phdr->p_type == PT_LOAD && end > found->place.end)
            found->place.end = end;
        if (phdr->p_type == PT_LOAD && phdr->p_flags & PF_W) {
            if (!found->place.written_start || start < found->place.written_start)
                found->place.written_start = start;
            if (end > found->place.written_end)
                found->place.written_end = end;
        }
        if (phdr->p_type == PT_GNU_RELRO) {
            found->place.relro_start = start;
            found->place.relro_end = end;
        }
    }
    found->name_hash = hash_of(info->dlpi_name);
    return found->place.end > found->place.start;
}

static int see_image(struct dl_phdr_info *info, size_t size, void *data)
{
    struct tracer *tracer = data;
    struct loaded found;
    if (size >= sizeof(*info)) {
        images->counts.adds = info->dlpi_adds;
        images->counts.subs = info->dlpi_subs;
    }
    if (!measure(&found, info))
        return 0;
    for (uint32_t i = 0; i < images->nr; i++) {
        struct loaded *old = &images->loaded[i];
        if (old->place.start == found.place.start && old->place.end == found.place.end &&
            old->name_hash == found.name_hash && old->seen != images->looks) {
            old->seen = images->looks;
            return 0;
        }
    }
    found.place.image = images->nr < MAX_LOADED ? region_row_new(tracer->region, REGION_IMAGES) : 0;
    if (!found.place.image) {
        lost_add(tracer->region, LOST_LATE_IMAGE);
        return 0;
    }
    found.seen = images->looks;
    fill_row(tracer, &found, info);
    images->loaded[images->nr++] = found;
    return 0;
}

static void set_ranges(void)
{
    for (uint32_t i = 0; i < images->nr; i++) {
        const struct slots_image *place = &images->loaded[i].place;
        images->ranges[i] = (struct image_range){place->start, place->end, place->image, 0};
    }
    image_ranges_set(images->ranges, images->nr);
}

static void end_image(struct tracer *tracer, uint32_t i)
{
    end_row(tracer, &images->loaded[i]);
    slots_forget(&images->loaded[i].place);
    images->loaded[i] = images->loaded[--images->nr];
}

/*
 * More images came than are new in the list: some were unloaded and loaded again at the same place, or others came
 * and went between two looks.  All that may have been are taken for new.
 */
static void see_reloaded(struct tracer *tracer)
{
    for (uint32_t i = 0; i < images->nr;)
        if (images->loaded[i].is_first || slots_are_set(&images->loaded[i].place))
            i++;
        else
            end_image(tracer, i);
    dl_iterate_phdr(see_image, tracer);
}

static void compare(struct tracer *tracer)
{
    uint32_t before = tracer->region->images_published;
    uint64_t adds = images->counts.adds;
    uint32_t nr_before = images->nr;
    images->looks++;
    dl_iterate_phdr(see_image, tracer);
    uint64_t nr_new = images->nr - nr_before;
    for (uint32_t i = 0; i < images->nr;)
        if (images->loaded[i].seen == images->looks)
            i++;
        else
            end_image(tracer, i);
    if (adds && images->counts.adds - adds > nr_new)
        see_reloaded(tracer);
    if (tracer->region->images_published == before)
        return;
    set_ranges();
    __atomic_fetch_add(&tracer->region->image_generation, 1, __ATOMIC_RELEASE);
    sys_futex_wake(&tracer->region->images_published);
}

static void look_end(void)
{
    __atomic_store_n(&images->looking, 0, __ATOMIC_RELEASE);
    sys_futex_wake(&images->looking);
}

/*
 * A stack passes through an image that has no row: libc loaded it by itself, or it is in its constructors.  It
 * gets its row, without waiting for anybody; a look hooks it later.
 */
static void image_met(uintptr_t pc)
{
    (void)pc;
    struct tracer *tracer = tracer_page;
    uint32_t nobody = 0;
    if (!tracer->ready || !__atomic_compare_exchange_n(&images->looking, &nobody, 1, false,
                                                       __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return;
    compare(tracer);
    look_end();
}

static void hook_images(struct tracer *tracer)
{
    struct region_header *region = tracer->region;
    struct region_image *rows =
        (void *)((uint8_t *)region + region->tables[REGION_IMAGES].offset_bytes);
    for (uint32_t i = 0; i < images->nr; i++) {
        struct loaded *loaded = &images->loaded[i];
        if (loaded->is_hooked)
            continue;
        loaded->is_hooked = 1;
        if (slots_patch(tracer, &loaded->place))
            tracer->granule_log2 = 3;
        rows[loaded->place.image].nr_vtables =
            tasks_hook_image(tracer, loaded->place.image, loaded->place.bias);
    }
}

static bool look_begin(void)
{
    for (unsigned waited = 0; waited < LOOK_WAIT_MS; waited += 10) {
        uint32_t nobody = 0;
        if (__atomic_compare_exchange_n(&images->looking, &nobody, 1, false, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED))
            return true;
        sys_futex_wait(&images->looking, 1, 10);
    }
    return false;
}

void images_look(struct tracer *tracer, bool (*is_quiet)(void))
{
    if (!look_begin())
        return;
    compare(tracer);
    /* Asked after the comparison: what that saw is relocated if nobody is in the loader now. */
    bool may_hook = is_quiet();
    uint32_t published = tracer->region->images_published; /* also by image_met */
    if (published != images->waited_for)
        ask_wait(tracer->region, &tracer->region->images_seen, published, REGION_IMAGE_WAIT_MS);
    images->waited_for = published;
    if (may_hook)
        hook_images(tracer);
    look_end();
}

bool images_are_hooked(void)
{
    for (uint32_t i = 0; i < images->nr; i++)
        if (!images->loaded[i].is_hooked)
            return false;
    return true;
}

static int read_counts(struct dl_phdr_info *info, size_t size, void *data)
{
    struct image_counts *counts = data;
    if (size >= sizeof(*info))
        *counts = (struct image_counts){info->dlpi_adds, info->dlpi_subs};
    return 1;
}

bool images_have_news(void)
{
    struct image_counts counts = {0};
    dl_iterate_phdr(read_counts, &counts);
    return counts.adds != images->counts.adds || counts.subs != images->counts.subs ||
           !images_are_hooked();
}

bool images_is_loader(uintptr_t pc)
{
    return pc >= loader_start && pc < loader_end;
}

/* --- at the start --------------------------------------------------------------------------------------- */

static void find_loader(void)
{
    for (uint32_t i = 0; i < images->nr; i++) {
        const struct slots_image *place = &images->loaded[i].place;
        if ((uintptr_t)_r_debug.r_ldbase == place->bias) {
            loader_start = place->start;
            loader_end = place->end;
        }
    }
}

/* The loader has done its work before anybody allocates. */
static bool nobody_else(void)
{
    return true;
}

bool images_begin(struct tracer *tracer)
{
    images = sys_map_wiped(sizeof(*images));
    if (!images)
        return false;
    images_look(tracer, nobody_else);
    for (uint32_t i = 0; i < images->nr; i++)
        images->loaded[i].is_first = 1;
    image_ranges_on_unknown(image_met);
    find_loader();
    tracer->real_image = image_ranges_find((uintptr_t)real.malloc).image;
    return true;
}
