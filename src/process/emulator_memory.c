/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The copy of the target's memory that the emulated code sees.  Pages are read from the target when
 * they are first touched, four at once (a frame), and kept; when there are too many, one that was
 * not written to and not used lately gives its place.  Before the first write to a page its bytes
 * are put aside; memory_undo puts them back, so undoing costs what was written to and nothing else.
 *
 * Beside it lies memory that only the copy has: a stack and what emulator_allocate gives, at
 * addresses where the target has nothing.  The TLB, direct-mapped, makes the common access short
 * (emulator_access.h); an entry lets writes pass only for pages whose bytes were put aside.
 */
#include <stdlib.h>

#include "process/emulator_access.h"

enum {
    FRAME_PAGES = 4,
    FRAME_BYTES = FRAME_PAGES * PAGE_BYTES,
    MIN_FRAMES = 16,
    NR_BUCKETS = 4096,
    MAX_WRITTEN = 16384, /* pages between two undos: 64 MB */
    KEPT_BUFFERS = 256,  /* for bytes put aside, over an undo */
    MAX_SEARCH = 64,     /* frames looked at for a place */
    USER_BITS = 47,      /* of the addresses of user space */
};

static const uint64_t NO_PAGE = ~(uint64_t)0;

struct frame {
    uint64_t number; /* address / FRAME_BYTES */
    struct frame *next;
    uint8_t present; /* pages that could be read */
    uint8_t written; /* pages whose bytes were put aside */
    bool is_used;    /* since the search for a place last passed */
    uint8_t bytes[FRAME_BYTES];
};

struct written_page {
    uint64_t page;
    uint8_t *bytes;
    struct frame *frame; /* NULL: of the copy's own */
};

struct own_page {
    uint8_t *bytes; /* NULL: zeros */
    bool is_written;
};

struct memory {
    struct frame *buckets[NR_BUCKETS];
    struct frame **frames;
    size_t nr_frames, frames_capacity, max_frames, hand;
    struct written_page *written;
    size_t nr_written, written_capacity;
    uint8_t **aside; /* by position in `written`; more are kept for later */
    size_t nr_aside, aside_capacity;
    uint64_t own_start, own_bytes; /* guard, stack, guard, heap; 0: there is no room */
    struct own_page own[(2 * GUARD_BYTES + STACK_BYTES + HEAP_BYTES) / PAGE_BYTES];
    uint8_t zeros[PAGE_BYTES];
};

static const uint64_t OWN_BYTES = 2 * GUARD_BYTES + STACK_BYTES + HEAP_BYTES;

/* --- beginning and end ------------------------------------------------------------------------ */

static void tlb_flush(struct machine *machine)
{
    for (size_t i = 0; i < NR_TLB_ENTRIES; i++)
        machine->tlb[i] = (struct tlb_entry){NO_PAGE, NO_PAGE, NULL};
}

/* The middle of the widest gap below the end of user space. */
static uint64_t find_gap(const struct target *target)
{
    const uint64_t first = 1 << 20, last = 0x7ffffffff000;
    uint64_t from = first, best = first, best_bytes = 0;
    for (size_t i = 0; i <= target->nr_mappings; i++) {
        uint64_t to = i < target->nr_mappings ? target->mappings[i].start : last;
        if (to > last)
            to = last;
        if (to > from && to - from > best_bytes) {
            best = from;
            best_bytes = to - from;
        }
        if (i < target->nr_mappings && target->mappings[i].end > from)
            from = target->mappings[i].end;
    }
    if (best_bytes < 2 * OWN_BYTES)
        return 0;
    return (best + best_bytes / 2) & ~(uint64_t)(FRAME_BYTES - 1);
}

void memory_init(struct machine *machine, size_t cache_bytes)
{
    struct memory *memory = memory_alloc(sizeof(*memory));
    machine->memory = memory;
    memory->max_frames = cache_bytes / FRAME_BYTES;
    if (memory->max_frames < MIN_FRAMES)
        memory->max_frames = MIN_FRAMES;
    memory->own_start = find_gap(machine->target);
    memory->own_bytes = memory->own_start ? OWN_BYTES : 0;
    machine->has_room = memory->own_start != 0;
    machine->stack_start = memory->own_start + GUARD_BYTES;
    machine->heap_start = machine->stack_start + STACK_BYTES + GUARD_BYTES;
    tlb_flush(machine);
}

void memory_deinit(struct machine *machine)
{
    struct memory *memory = machine->memory;
    for (size_t i = 0; i < memory->nr_frames; i++)
        free(memory->frames[i]);
    for (size_t i = 0; i < memory->nr_aside; i++)
        free(memory->aside[i]);
    for (size_t i = 0; i < sizeof(memory->own) / sizeof(*memory->own); i++)
        free(memory->own[i].bytes);
    free(memory->frames);
    free(memory->written);
    free(memory->aside);
    free(memory);
}

/* --- frames ----------------------------------------------------------------------------------- */

static struct frame **bucket_of(struct memory *memory, uint64_t number)
{
    return &memory->buckets[(number ^ number >> 12) % NR_BUCKETS];
}

static void forget_frame(struct machine *machine, struct frame *frame)
{
    struct frame **link = bucket_of(machine->memory, frame->number);
    while (*link != frame)
        link = &(*link)->next;
    *link = frame->next;
    for (uint64_t page = frame->number * FRAME_PAGES; page / FRAME_PAGES == frame->number; page++) {
        struct tlb_entry *entry = tlb_at(machine, page << PAGE_BITS);
        if (entry->read_page == page || entry->write_page == page)
            *entry = (struct tlb_entry){NO_PAGE, NO_PAGE, NULL};
    }
}

/* A frame that may be used for something else, or NULL. */
static struct frame *find_victim(struct memory *memory)
{
    for (unsigned i = 0; i < MAX_SEARCH; i++) {
        struct frame *frame = memory->frames[memory->hand++ % memory->nr_frames];
        if (frame->written)
            continue;
        if (!frame->is_used)
            return frame;
        frame->is_used = false;
    }
    return NULL;
}

static struct frame *new_frame(struct machine *machine)
{
    struct memory *memory = machine->memory;
    struct frame *frame = memory->nr_frames >= memory->max_frames ? find_victim(memory) : NULL;
    if (frame) {
        forget_frame(machine, frame);
        return frame;
    }
    memory->frames = array_reserve(memory->frames, &memory->frames_capacity, memory->nr_frames + 1,
                                   sizeof(*memory->frames));
    frame = memory_resize(NULL, sizeof(*frame));
    memory->frames[memory->nr_frames++] = frame;
    return frame;
}

static bool is_readable(const struct target *target, uint64_t addr)
{
    const struct mapping *mapping = target_mapping_at(target, addr);
    return mapping && mapping->readable && !mapping->is_device;
}

static void fill_frame(const struct target *target, struct frame *frame)
{
    uint64_t start = frame->number * FRAME_BYTES;
    unsigned wanted = 0;
    for (unsigned i = 0; i < FRAME_PAGES; i++)
        if (is_readable(target, start + i * PAGE_BYTES))
            wanted |= 1u << i;
    frame->present = 0;
    if (wanted == (1u << FRAME_PAGES) - 1 &&
        target_read(target, start, frame->bytes, FRAME_BYTES) == FRAME_BYTES) {
        frame->present = (uint8_t)wanted;
        return;
    }
    for (unsigned i = 0; i < FRAME_PAGES; i++)
        if (wanted >> i & 1 && target_read(target, start + i * PAGE_BYTES,
                                           frame->bytes + i * PAGE_BYTES, PAGE_BYTES) == PAGE_BYTES)
            frame->present |= (uint8_t)(1u << i);
}

static struct frame *frame_get(struct machine *machine, uint64_t number)
{
    struct memory *memory = machine->memory;
    struct frame **bucket = bucket_of(memory, number);
    for (struct frame *frame = *bucket; frame; frame = frame->next)
        if (frame->number == number)
            return frame;
    struct frame *frame = new_frame(machine);
    frame->number = number;
    frame->next = *bucket;
    *bucket = frame;
    frame->written = 0;
    fill_frame(machine->target, frame);
    return frame;
}

/* --- pages ------------------------------------------------------------------------------------ */

/* Puts a page's bytes aside, for memory_undo. */
static bool put_aside(struct memory *memory, uint64_t page, uint8_t *bytes, struct frame *frame)
{
    size_t at = memory->nr_written;
    if (at == MAX_WRITTEN)
        return false;
    memory->written =
        array_reserve(memory->written, &memory->written_capacity, at + 1, sizeof(*memory->written));
    memory->written[at] = (struct written_page){page, bytes, frame};
    memory->aside =
        array_reserve(memory->aside, &memory->aside_capacity, at + 1, sizeof(*memory->aside));
    for (; memory->nr_aside <= at; memory->nr_aside++)
        memory->aside[memory->nr_aside] = NULL;
    if (frame) {
        if (!memory->aside[at])
            memory->aside[at] = memory_resize(NULL, PAGE_BYTES);
        memcpy(memory->aside[at], bytes, PAGE_BYTES);
        frame->written |= (uint8_t)(1u << page % FRAME_PAGES);
    }
    memory->nr_written++;
    return true;
}

static uint8_t *own_page(struct machine *machine, uint64_t page, bool to_write)
{
    struct memory *memory = machine->memory;
    uint64_t addr = page << PAGE_BITS;
    bool is_heap =
        addr >= machine->heap_start && addr < machine->heap_start + machine->heap_used_bytes;
    if (!is_on_stack(machine, addr) && !is_heap)
        return NULL;
    struct own_page *own = &memory->own[(addr - memory->own_start) / PAGE_BYTES];
    if (!to_write)
        return own->bytes ? own->bytes : memory->zeros;
    if (!own->bytes)
        own->bytes = memory_alloc(PAGE_BYTES);
    if (!own->is_written && !put_aside(memory, page, own->bytes, NULL))
        return NULL;
    own->is_written = true;
    return own->bytes;
}

static uint8_t *target_page(struct machine *machine, uint64_t page, bool to_write)
{
    struct frame *frame = frame_get(machine, page / FRAME_PAGES);
    unsigned bit = 1u << page % FRAME_PAGES;
    frame->is_used = true;
    if (!(frame->present & bit))
        return NULL;
    uint8_t *bytes = frame->bytes + page % FRAME_PAGES * PAGE_BYTES;
    if (!to_write || frame->written & bit)
        return bytes;
    const struct mapping *mapping = target_mapping_at(machine->target, page << PAGE_BITS);
    /* Code that is changed would have to be decoded again: not done. */
    if (!mapping || !mapping->writable || mapping->executable)
        return NULL;
    return put_aside(machine->memory, page, bytes, frame) ? bytes : NULL;
}

/* NULL: not mapped, or not for writing. */
static uint8_t *page_get(struct machine *machine, uint64_t page, bool to_write)
{
    struct memory *memory = machine->memory;
    struct tlb_entry *entry = tlb_at(machine, page << PAGE_BITS);
    if ((to_write ? entry->write_page : entry->read_page) == page)
        return entry->bytes;
    if (page >> (USER_BITS - PAGE_BITS))
        return NULL;
    bool is_own = (page << PAGE_BITS) - memory->own_start < memory->own_bytes;
    uint8_t *bytes =
        is_own ? own_page(machine, page, to_write) : target_page(machine, page, to_write);
    if (bytes)
        *entry = (struct tlb_entry){page, to_write ? page : NO_PAGE, bytes};
    return bytes;
}

static bool fault(struct machine *machine, uint64_t addr)
{
    machine->end = EMULATOR_MEMORY;
    machine->public.fault_addr = addr;
    return false;
}

static size_t piece_at(uint64_t addr, size_t size_bytes)
{
    size_t in_page = PAGE_BYTES - addr % PAGE_BYTES;
    return size_bytes < in_page ? size_bytes : in_page;
}

bool memory_read(struct machine *machine, uint64_t addr, void *buffer, size_t size_bytes)
{
    char *to = buffer;
    while (size_bytes) {
        size_t piece = piece_at(addr, size_bytes);
        const uint8_t *bytes = page_get(machine, addr >> PAGE_BITS, false);
        if (!bytes)
            return fault(machine, addr);
        memcpy(to, bytes + addr % PAGE_BYTES, piece);
        addr += piece;
        to += piece;
        size_bytes -= piece;
    }
    return true;
}

bool memory_prepare_write(struct machine *machine, uint64_t addr, size_t size_bytes)
{
    while (size_bytes) {
        size_t piece = piece_at(addr, size_bytes);
        if (!page_get(machine, addr >> PAGE_BITS, true))
            return fault(machine, addr);
        addr += piece;
        size_bytes -= piece;
    }
    return true;
}

bool memory_write(struct machine *machine, uint64_t addr, const void *bytes, size_t size_bytes)
{
    const char *from = bytes;
    if (piece_at(addr, size_bytes) < size_bytes && !memory_prepare_write(machine, addr, size_bytes))
        return false;
    while (size_bytes) {
        size_t piece = piece_at(addr, size_bytes);
        uint8_t *to = page_get(machine, addr >> PAGE_BITS, true);
        if (!to)
            return fault(machine, addr);
        memcpy(to + addr % PAGE_BYTES, from, piece);
        addr += piece;
        from += piece;
        size_bytes -= piece;
    }
    return true;
}

/* --- undo ------------------------------------------------------------------------------------- */

static void undo_own_page(struct memory *memory, const struct written_page *written)
{
    struct own_page *own =
        &memory->own[((written->page << PAGE_BITS) - memory->own_start) / PAGE_BYTES];
    own->is_written = false;
    if (memory->nr_written <= KEPT_BUFFERS) {
        memset(own->bytes, 0, PAGE_BYTES);
        return;
    }
    free(own->bytes);
    own->bytes = NULL;
}

static void undo_page(struct machine *machine, size_t at)
{
    const struct written_page *written = &machine->memory->written[at];
    if (written->frame) {
        memcpy(written->bytes, machine->memory->aside[at], PAGE_BYTES);
        written->frame->written = 0;
    } else {
        undo_own_page(machine->memory, written);
    }
    struct tlb_entry *entry = tlb_at(machine, written->page << PAGE_BITS);
    if (entry->write_page == written->page)
        entry->write_page = NO_PAGE;
}

/* What a run that wrote much has left is given back. */
static void trim(struct machine *machine)
{
    struct memory *memory = machine->memory;
    while (memory->nr_aside > KEPT_BUFFERS)
        free(memory->aside[--memory->nr_aside]);
    while (memory->nr_frames > memory->max_frames) {
        struct frame *frame = memory->frames[--memory->nr_frames];
        forget_frame(machine, frame);
        free(frame);
    }
}

void memory_undo(struct machine *machine)
{
    struct memory *memory = machine->memory;
    for (size_t i = memory->nr_written; i-- > 0;)
        undo_page(machine, i);
    if (machine->heap_used_bytes || memory->nr_written > KEPT_BUFFERS)
        tlb_flush(machine);
    memory->nr_written = 0;
    machine->heap_used_bytes = 0;
    trim(machine);
}
