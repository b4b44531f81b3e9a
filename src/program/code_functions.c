/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The format of .eh_frame: Linux Standard Base Core 5.0, section 10.6, and DWARF 5 section 6.4.1.
 * An entry is a length, then 0 and a CIE (how the addresses of its FDEs are written), or the
 * distance back to the CIE and an FDE (begin and length of a function).
 */
#include "program/code_functions.h"

#include <dwarf.h>
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"

enum { ENCODING_UNREAD = 0xff, APPLIED_TO = 0x70, FORMAT = 0x0f };

struct frames {
    const uint8_t *bytes;
    uint64_t size, addr;
    uint64_t known_cie; /* offset of the CIE read last, whose encoding is ... */
    uint8_t encoding;
};

/* --- encoded addresses ----------------------------------------------------------------------- */

/* Bytes of a pointer in this encoding; 0: not read. */
static unsigned encoded_bytes(uint8_t encoding)
{
    switch (encoding & FORMAT) {
    case DW_EH_PE_absptr:
    case DW_EH_PE_udata8:
    case DW_EH_PE_sdata8:
        return 8;
    case DW_EH_PE_udata4:
    case DW_EH_PE_sdata4:
        return 4;
    case DW_EH_PE_udata2:
    case DW_EH_PE_sdata2:
        return 2;
    default:
        return 0;
    }
}

static uint64_t encoded_value(struct cursor *c, uint8_t encoding)
{
    unsigned width = encoded_bytes(encoding);
    uint64_t value = cursor_uint(c, width);
    bool is_signed = encoding & 8;
    if (is_signed && width < 8 && value >> (8 * width - 1))
        value |= ~(uint64_t)0 << 8 * width;
    return value;
}

/* --- entries --------------------------------------------------------------------------------- */

/* The body of the entry at the cursor, which moves behind it.  False: the section ends here. */
static bool next_entry(struct cursor *c, struct cursor *body)
{
    uint64_t length = cursor_u32(c);
    if (length == UINT32_MAX)
        length = cursor_u64(c);
    if (c->failed || !length || length > cursor_left(c))
        return false;
    *body = cursor_make(c->pos, length);
    return cursor_skip(c, length);
}

/* The augmentation data up to 'R', the encoding of the FDEs' addresses. */
static uint8_t address_encoding(struct cursor *c, const char *augmentation)
{
    if (*augmentation != 'z')
        return *augmentation ? ENCODING_UNREAD : DW_EH_PE_absptr;
    cursor_uleb(c);
    for (const char *p = augmentation + 1; *p; p++) {
        if (*p == 'R') {
            uint8_t encoding = cursor_u8(c);
            return c->failed ? ENCODING_UNREAD : encoding;
        }
        if (*p == 'L') {
            cursor_u8(c);
        } else if (*p == 'P') {
            uint8_t personality = cursor_u8(c);
            unsigned width = encoded_bytes(personality);
            if (!width || !cursor_skip(c, width))
                return ENCODING_UNREAD;
        } else if (*p != 'S' && *p != 'B') {
            return ENCODING_UNREAD;
        }
    }
    return DW_EH_PE_absptr;
}

static uint8_t cie_encoding(const struct frames *frames, uint64_t offset)
{
    struct cursor c = cursor_at(frames->bytes, frames->size, offset), body;
    if (c.failed || !next_entry(&c, &body) || cursor_u32(&body) != 0)
        return ENCODING_UNREAD;
    uint8_t version = cursor_u8(&body);
    const char *augmentation = cursor_str(&body);
    if ((version != 1 && version != 3) || !augmentation)
        return ENCODING_UNREAD;
    cursor_uleb(&body); /* code alignment */
    cursor_sleb(&body); /* data alignment */
    if (version == 1)
        cursor_u8(&body);
    else
        cursor_uleb(&body); /* return address register */
    return body.failed ? ENCODING_UNREAD : address_encoding(&body, augmentation);
}

static void read_fde(struct frames *frames, struct cursor body, struct code_ranges *ranges)
{
    uint64_t at = (uint64_t)(body.pos - frames->bytes), distance = cursor_u32(&body);
    if (!distance || distance > at)
        return; /* a CIE, or nonsense */
    if (frames->known_cie != at - distance) {
        frames->known_cie = at - distance;
        frames->encoding = cie_encoding(frames, frames->known_cie);
    }
    uint8_t encoding = frames->encoding, relative = encoding & APPLIED_TO;
    if (encoding == ENCODING_UNREAD || !encoded_bytes(encoding) || encoding & DW_EH_PE_indirect ||
        (relative != DW_EH_PE_absptr && relative != DW_EH_PE_pcrel))
        return;
    uint64_t base =
        relative == DW_EH_PE_pcrel ? frames->addr + (uint64_t)(body.pos - frames->bytes) : 0;
    uint64_t addr = base + encoded_value(&body, encoding);
    uint64_t size = cursor_uint(&body, encoded_bytes(encoding)); /* a length has no sign */
    if (body.failed || !size || addr + size < addr)
        return;
    ranges->rows =
        array_reserve(ranges->rows, &ranges->capacity, ranges->nr + 1, sizeof(*ranges->rows));
    ranges->rows[ranges->nr++] = (struct code_range){addr, size};
}

void code_ranges_of_frames(struct code_ranges *ranges, const uint8_t *bytes, uint64_t size,
                           uint64_t addr)
{
    struct frames frames = {bytes, size, addr, UINT64_MAX, ENCODING_UNREAD};
    struct cursor c = cursor_at(bytes, size, 0), body;
    while (!c.failed && next_entry(&c, &body))
        read_fde(&frames, body, ranges);
}

/* --- a file's functions ---------------------------------------------------------------------- */

static void add_symbols(struct code_ranges *ranges, const struct elf_file *elf)
{
    for (uint32_t i = 0; i < elf->nr_symbols; i++) {
        const struct elf_symbol *symbol = &elf->symbols[i];
        if (symbol->type != STT_FUNC || !symbol->size_bytes ||
            symbol->addr + symbol->size_bytes < symbol->addr)
            continue;
        ranges->rows =
            array_reserve(ranges->rows, &ranges->capacity, ranges->nr + 1, sizeof(*ranges->rows));
        ranges->rows[ranges->nr++] = (struct code_range){symbol->addr, symbol->size_bytes};
    }
}

static int by_addr(const void *a, const void *b)
{
    const struct code_range *x = a, *y = b;
    if (x->addr != y->addr)
        return x->addr < y->addr ? -1 : 1;
    return x->size_bytes < y->size_bytes ? -1 : x->size_bytes > y->size_bytes;
}

static void sort_ranges(struct code_ranges *ranges)
{
    size_t kept = 0;
    if (ranges->nr)
        qsort(ranges->rows, ranges->nr, sizeof(*ranges->rows), by_addr);
    for (size_t i = 0; i < ranges->nr; i++)
        if (!kept || ranges->rows[kept - 1].addr != ranges->rows[i].addr)
            ranges->rows[kept++] = ranges->rows[i];
    ranges->nr = kept;
}

struct code_ranges code_functions(const struct elf_file *elf)
{
    struct code_ranges ranges = {0};
    for (uint32_t i = 0; i < elf->nr_sections; i++) {
        const struct elf_section *s = &elf->sections[i];
        if (s->bytes.data && s->flags & SHF_ALLOC && !(s->flags & SHF_COMPRESSED) &&
            strcmp(s->name, ".eh_frame") == 0)
            code_ranges_of_frames(&ranges, s->bytes.data, s->bytes.size, s->addr);
    }
    if (!ranges.nr)
        add_symbols(&ranges, elf);
    sort_ranges(&ranges);
    return ranges;
}
