/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The rows of images (tracer/images.h).  A look compares what the loader has with what we know, makes rows for
 * new images and ends those of vanished ones, then waits a moment for the recorder's answers.  An image is
 * hooked when it is certainly relocated: what a look saw while no other thread was in the loader.
 *
 * The program's own calls of dlopen and dlclose come through the functions at the end of this file.
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
#include "tracer/threads.h"

enum { MAX_LOADED = 4096, LOOK_WAIT_MS = 3000 };

/* An image that is loaded. */
struct loaded {
    struct slots_image place;
    uint64_t name_hash;
    uint32_t seen; /* the look that saw it last */
    uint32_t is_hooked;
};

/* Mapped, and wiped in a child of fork. */
struct images {
    uint32_t looking; /* atomic, a futex: somebody looks */
    uint32_t looks;
    uint32_t calls; /* atomic; threads that may be in the loader */
    uint32_t nr;
    uint32_t waited_for; /* images_published, when the recorder was last waited for */
    uint64_t adds, subs; /* of the loader, as the last look saw them */
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
    (void)size;
    struct tracer *tracer = data;
    struct loaded found;
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

static void compare(struct tracer *tracer)
{
    uint32_t before = tracer->region->images_published;
    images->looks++;
    dl_iterate_phdr(see_image, tracer);
    for (uint32_t i = 0; i < images->nr;) {
        if (images->loaded[i].seen == images->looks) {
            i++;
            continue;
        }
        end_row(tracer, &images->loaded[i]);
        slots_forget(&images->loaded[i].place);
        images->loaded[i] = images->loaded[--images->nr];
    }
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

/* `others`: how many threads besides may be in the loader. */
static void look(struct tracer *tracer, uint32_t mine)
{
    if (!look_begin())
        return;
    compare(tracer);
    uint32_t in_loader = __atomic_load_n(&images->calls, __ATOMIC_ACQUIRE);
    uint32_t published = tracer->region->images_published; /* also by image_met */
    if (published != images->waited_for)
        ask_wait(tracer->region, &tracer->region->images_seen, published, REGION_IMAGE_WAIT_MS);
    images->waited_for = published;
    if (in_loader <= mine)
        hook_images(tracer);
    look_end();
}

/* --- calls of the loader ------------------------------------------------------------------------------ */

static int read_counts(struct dl_phdr_info *info, size_t size, void *data)
{
    uint64_t *counts = data;
    if (size < sizeof(*info))
        return 1;
    counts[0] = info->dlpi_adds;
    counts[1] = info->dlpi_subs;
    return 1;
}

/* The thread is out of the loader's functions, or it is inside and in code of a new image. */
static bool has_news(void)
{
    uint64_t counts[2] = {0, 0};
    dl_iterate_phdr(read_counts, counts);
    bool has_changed = counts[0] != images->adds || counts[1] != images->subs;
    images->adds = counts[0];
    images->subs = counts[1];
    if (has_changed)
        return true;
    for (uint32_t i = 0; i < images->nr; i++)
        if (!images->loaded[i].is_hooked)
            return true;
    return false;
}

static void attend(struct trace_thread *self, uintptr_t sp)
{
    self->busy = 1;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    if (has_news())
        look(tracer_page, 1);
    if (sp >= self->image_call_sp) { /* the call returned */
        self->image_call_sp = 0;
        self->ready = THREAD_READY;
        __atomic_fetch_sub(&images->calls, 1, __ATOMIC_RELEASE);
    }
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    self->busy = 0;
}

void images_attend(struct trace_thread *self, const struct stack_start *start)
{
    if (start->pc < loader_start || start->pc >= loader_end)
        attend(self, start->sp);
}

/* Called with the stack pointer of the program's call. */
static void call_begins(uintptr_t sp)
{
    struct trace_thread *self = trace_self;
    if (!self || !self->ready || self->busy || !tracer_page->ready)
        return;
    if (self->ready ==
        THREAD_ATTENTION) { /* from a constructor; or the last one was not looked at */
        if (sp > self->image_call_sp)
            self->image_call_sp = sp;
        return;
    }
    self->image_call_sp = sp;
    __atomic_fetch_add(&images->calls, 1, __ATOMIC_ACQ_REL);
    self->ready = THREAD_ATTENTION;
}

enum image_call { CALL_OPEN, CALL_OPEN_SPACE, CALL_CLOSE, CALL_SYMBOL };

/* The function to jump to. */
__attribute__((used)) static void *image_call(uintptr_t sp, enum image_call which)
{
    real_get();
    struct trace_thread *self = trace_self;
    if (which != CALL_SYMBOL)
        call_begins(sp);
    else if (self && self->ready == THREAD_ATTENTION && !self->busy && tracer_page->ready)
        attend(self, sp);
    void *const functions[] = {real.dlopen, real.dlmopen, real.dlclose, real.dlsym};
    return functions[which];
}

/* Keeps the arguments, and jumps: the real function sees its caller's return address. */
__asm__(".macro image_call_hook name, which\n"
        ".globl \\name\n"
        ".type \\name, @function\n"
        "\\name:\n"
        "    .cfi_startproc\n"
        "    push %rdi\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    push %rsi\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    push %rdx\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    lea 32(%rsp), %rdi\n"
        "    mov $\\which, %esi\n"
        "    call image_call\n"
        "    pop %rdx\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    pop %rsi\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    pop %rdi\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    jmp *%rax\n"
        "    .cfi_endproc\n"
        ".size \\name, . - \\name\n"
        ".endm\n"
        ".text\n"
        "image_call_hook dlopen, 0\n"
        "image_call_hook dlmopen, 1\n"
        "image_call_hook dlclose, 2\n"
        "image_call_hook dlsym, 3\n");

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

bool images_begin(struct tracer *tracer)
{
    images = sys_map_wiped(sizeof(*images));
    if (!images)
        return false;
    look(tracer, 0);
    image_ranges_on_unknown(image_met);
    find_loader();
    tracer->real_image = image_ranges_find((uintptr_t)real.malloc).image;
    return true;
}
