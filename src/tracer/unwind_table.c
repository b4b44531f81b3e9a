/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * .eh_frame_hdr (Linux Standard Base, Core, 10.6.2): version, three encodings, a pointer to .eh_frame, the
 * number of entries, and pairs of 4 bytes relative to its own start: where a function begins, where its entry
 * is.  Every linker writes that form; an image with another one has no table for us.
 * .eh_frame: CIE and FDE as in DWARF 2 to 4, with the augmentations "zPLRSB".
 */
#include "tracer/unwind_table.h"

enum {
    HDR_VERSION = 1,
    HDR_FIXED_BYTES = 4,
    HDR_TABLE_ENCODING = 0x3b, /* data-relative, sdata4 */
    POINTER_OMIT = 0xff,
    POINTER_INDIRECT = 0x80,
};

struct hdr_row {
    int32_t start, entry;
};

/* From `at` to the end of its segment. */
static struct cursor cursor_in(const struct unwind_tables *tables, const uint8_t *at)
{
    for (uint64_t i = 0; i < tables->nr_segments; i++) {
        const struct unwind_segment *segment = &tables->segments[i];
        if (at >= segment->start && at < segment->end)
            return (struct cursor){at, segment->end, false};
    }
    return (struct cursor){NULL, NULL, true};
}

static uint64_t pointer_value(struct cursor *c, uint8_t format)
{
    switch (format) {
    case 0x00:
    case 0x04:
    case 0x0c:
        return cursor_u64(c);
    case 0x01:
        return cursor_uleb(c);
    case 0x02:
        return cursor_u16(c);
    case 0x03:
        return cursor_u32(c);
    case 0x09:
        return (uint64_t)cursor_sleb(c);
    case 0x0a:
        return (uint64_t)(int16_t)cursor_u16(c);
    case 0x0b:
        return (uint64_t)(int32_t)cursor_u32(c);
    default:
        cursor_fail(c);
        return 0;
    }
}

uint64_t unwind_pointer(struct cursor *c, uint8_t encoding, const uint8_t *base)
{
    const uint8_t *at = c->pos;
    uint64_t value = pointer_value(c, encoding & 0x0f);
    switch (encoding & 0xf0) {
    case 0x00:
        return value;
    case 0x10:
        return value + (uint64_t)(uintptr_t)at;
    case 0x30:
        return value + (uint64_t)(uintptr_t)base;
    default: /* text- and function-relative, aligned, indirect: not in .eh_frame of x86-64 */
        cursor_fail(c);
        return 0;
    }
}

/* The last row that starts at or before pc. */
static bool find_row(const struct unwind_tables *tables, uint64_t pc, struct hdr_row *row)
{
    struct cursor c = cursor_in(tables, tables->hdr);
    uint8_t version = cursor_u8(&c), frame_encoding = cursor_u8(&c);
    uint8_t count_encoding = cursor_u8(&c), table_encoding = cursor_u8(&c);
    if (c.failed || version != HDR_VERSION || table_encoding != HDR_TABLE_ENCODING ||
        count_encoding == POINTER_OMIT)
        return false;
    if (frame_encoding != POINTER_OMIT)
        (void)unwind_pointer(&c, frame_encoding, tables->hdr);
    uint64_t nr = unwind_pointer(&c, count_encoding, tables->hdr);
    if (c.failed || nr > cursor_left(&c) / sizeof(*row))
        return false;
    int64_t offset = (int64_t)(pc - (uint64_t)(uintptr_t)tables->hdr);
    uint64_t low = 0, high = nr;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        memcpy(row, c.pos + middle * sizeof(*row), sizeof(*row));
        if (row->start <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    if (!low)
        return false;
    memcpy(row, c.pos + (low - 1) * sizeof(*row), sizeof(*row));
    return true;
}

/* The bytes of the entry at `at` behind its length; nothing where it is the end mark. */
static struct cursor entry_bytes(const struct unwind_tables *tables, const uint8_t *at)
{
    struct cursor c = cursor_in(tables, at);
    uint64_t bytes = cursor_u32(&c);
    if (bytes == 0xffffffff)
        bytes = cursor_u64(&c);
    if (!bytes || bytes > cursor_left(&c))
        cursor_fail(&c);
    else
        c.end = c.pos + bytes;
    return c;
}

/* What "zPLR.." promises, in its order.  What is unknown ends it: the length of all is known. */
static void read_augmentation(struct cursor data, const char *letters, struct unwind_entry *entry)
{
    for (; *letters && !data.failed; letters++) {
        switch (*letters) {
        case 'R':
            entry->pointer_encoding = cursor_u8(&data);
            break;
        case 'L':
            (void)cursor_u8(&data);
            break;
        case 'P': {
            uint8_t encoding = cursor_u8(&data);
            (void)unwind_pointer(&data, encoding & (uint8_t)~POINTER_INDIRECT, entry->hdr);
            break;
        }
        case 'S':
            entry->is_signal = true;
            break;
        default:
            return;
        }
    }
}

static bool read_cie(const struct unwind_tables *tables, const uint8_t *at,
                     struct unwind_entry *entry, bool *has_data)
{
    struct cursor c = entry_bytes(tables, at);
    uint32_t id = cursor_u32(&c);
    uint8_t version = cursor_u8(&c);
    const char *letters = cursor_str(&c);
    if (c.failed || id != 0 || (version != 1 && version != 3 && version != 4))
        return false;
    if (version == 4)
        cursor_skip(&c, 2); /* sizes of addresses and segment selectors */
    entry->code_align = cursor_uleb(&c);
    entry->data_align = cursor_sleb(&c);
    uint64_t return_register = version == 1 ? cursor_u8(&c) : cursor_uleb(&c);
    entry->return_register = return_register < UNWIND_REGISTERS ? (uint8_t)return_register : 0xff;
    entry->pointer_encoding = 0;
    entry->is_signal = false;
    *has_data = letters[0] == 'z';
    if (*has_data) {
        uint64_t bytes = cursor_uleb(&c);
        struct cursor data = c;
        if (!cursor_skip(&c, bytes))
            return false;
        data.end = c.pos;
        read_augmentation(data, letters + 1, entry);
    } else if (letters[0]) {
        return false;
    }
    entry->first = c;
    return !c.failed;
}

bool unwind_entry_find(const struct unwind_tables *tables, uint64_t pc, struct unwind_entry *entry)
{
    struct hdr_row row;
    if (!tables->hdr || !find_row(tables, pc, &row))
        return false;
    struct cursor c = entry_bytes(
        tables, (const uint8_t *)((uintptr_t)tables->hdr + (uintptr_t)(intptr_t)row.entry));
    const uint8_t *at = c.pos;
    uint32_t distance = cursor_u32(&c);
    bool has_data;
    entry->hdr = tables->hdr;
    if (c.failed || !distance ||
        !read_cie(tables, (const uint8_t *)((uintptr_t)at - distance), entry, &has_data))
        return false;
    entry->start = unwind_pointer(&c, entry->pointer_encoding, tables->hdr);
    uint64_t bytes = pointer_value(&c, entry->pointer_encoding & 0x0f);
    if (has_data)
        cursor_skip(&c, cursor_uleb(&c));
    entry->end = entry->start + bytes;
    entry->program = c;
    return !c.failed && pc >= entry->start && pc - entry->start < bytes;
}
