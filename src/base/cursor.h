/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Reading untrusted bytes.  A cursor never leaves [pos, end): a read that does not fit returns 0
 * (or NULL), sets `failed` and moves the cursor to the end, so that a loop ends by itself and one
 * check afterwards is enough.  Little-endian, unaligned.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct cursor {
    const uint8_t *pos;
    const uint8_t *end;
    bool failed;
};

static inline struct cursor cursor_make(const uint8_t *bytes, uint64_t size)
{
    return (struct cursor){bytes, bytes + size, false};
}

/* A cursor over the part of `bytes` from `offset` on; failed when the offset lies outside. */
static inline struct cursor cursor_at(const uint8_t *bytes, uint64_t size, uint64_t offset)
{
    if (!bytes || offset > size)
        return (struct cursor){NULL, NULL, true};
    return (struct cursor){bytes + offset, bytes + size, false};
}

static inline uint64_t cursor_left(const struct cursor *c)
{
    return (uint64_t)(c->end - c->pos);
}

static inline bool cursor_fail(struct cursor *c)
{
    c->failed = true;
    c->pos = c->end;
    return false;
}

static inline bool cursor_skip(struct cursor *c, uint64_t bytes)
{
    if (cursor_left(c) < bytes)
        return cursor_fail(c);
    c->pos += bytes;
    return true;
}

/* `width` 0 to 8 bytes, little-endian; more fails. */
static inline uint64_t cursor_uint(struct cursor *c, unsigned width)
{
    if (width > 8 || cursor_left(c) < width) {
        cursor_fail(c);
        return 0;
    }
    uint64_t value = 0;
    memcpy(&value, c->pos, width);
    c->pos += width;
    return value;
}

static inline uint8_t cursor_u8(struct cursor *c)
{
    return (uint8_t)cursor_uint(c, 1);
}

static inline uint16_t cursor_u16(struct cursor *c)
{
    return (uint16_t)cursor_uint(c, 2);
}

static inline uint32_t cursor_u32(struct cursor *c)
{
    return (uint32_t)cursor_uint(c, 4);
}

static inline uint64_t cursor_u64(struct cursor *c)
{
    return cursor_uint(c, 8);
}

/* LEB128 as DWARF 5 section 7.6 defines it; bits beyond 64 are dropped. */
static inline uint64_t cursor_uleb(struct cursor *c)
{
    uint64_t value = 0;
    for (unsigned shift = 0; c->pos < c->end; shift += 7) {
        uint8_t byte = *c->pos++;
        if (shift < 64)
            value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return value;
    }
    c->failed = true;
    return 0;
}

static inline int64_t cursor_sleb(struct cursor *c)
{
    uint64_t value = 0;
    for (unsigned shift = 0; c->pos < c->end;) {
        uint8_t byte = *c->pos++;
        if (shift < 64)
            value |= (uint64_t)(byte & 0x7f) << shift;
        shift += 7;
        if (!(byte & 0x80)) {
            if (shift < 64 && (byte & 0x40))
                value |= ~(uint64_t)0 << shift;
            return (int64_t)value;
        }
    }
    c->failed = true;
    return 0;
}

/* A NUL-terminated string inside the bytes, or NULL. */
static inline const char *cursor_str(struct cursor *c)
{
    const uint8_t *nul = c->pos < c->end ? memchr(c->pos, 0, cursor_left(c)) : NULL;
    if (!nul) {
        cursor_fail(c);
        return NULL;
    }
    const char *str = (const char *)c->pos;
    c->pos = nul + 1;
    return str;
}
