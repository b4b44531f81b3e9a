/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Layout, little-endian, nothing aligned:
 *
 *   header   magic[8] version:u32 nr_zero:u32 kind[8] writer[16] checksum:u64
 *   section  mark:u32 tag:u32 row_bytes:u32 zero:u32 nr_rows:u64 stored:u64 checksum:u64 own:u64
 *            stored bytes (one zstd frame)
 *   ...
 *   section  "END ", nr_rows = sections before it, nothing stored
 *
 * A checksum `own` of a section's head covers its place too: where a head is damaged, the reader
 * looks for the next that is whole, and bytes of another recording inside are not taken for one.
 */
#include "recording/container.h"

#include <stdlib.h>
#include <string.h>

#include <xxhash.h>
#include <zstd.h>

#include "base/cursor.h"
#include "base/file.h"
#include "base/memory.h"

enum {
    COMPRESSION_LEVEL = 3,
    MAX_SECTIONS = 1024,
    MAX_ROW_BYTES = 4096,
    /* zstd makes at most 128 KiB of a block of 3 bytes and one more. */
    MAX_RATIO = 40000,
};

static const uint64_t max_unpacked_bytes = 2ULL << 30; /* of a file, in all */
static const uint32_t section_mark = CONTAINER_TAG('s', 'e', 'c', 0xf7);
static const uint32_t end_tag = CONTAINER_TAG('E', 'N', 'D', ' ');

/* --- writing --------------------------------------------------------------------------------- */

static void append_uint(struct text *out, uint64_t value, unsigned width)
{
    text_append(out, (const char *)&value, width);
}

/* At most `width` letters, filled with NUL. */
static void append_letters(struct text *out, const char *letters, size_t width)
{
    char field[16] = {0};
    memcpy(field, letters, strnlen(letters, width));
    text_append(out, field, width);
}

void container_begin(struct container_writer *writer, const char *kind)
{
    *writer = (struct container_writer){0};
    struct text *out = &writer->bytes;
    text_append(out, CONTAINER_MAGIC, 8);
    append_uint(out, CONTAINER_VERSION, 4);
    append_uint(out, 0, 4);
    append_letters(out, kind, 8);
    append_letters(out, ASYNCMEM_VERSION, 16);
    append_uint(out, XXH3_64bits(out->data, out->length), 8);
}

static void append_section(struct text *out, const struct container_section *section)
{
    uint64_t at = out->length;
    append_uint(out, section_mark, 4);
    append_uint(out, section->tag, 4);
    append_uint(out, section->row_bytes, 4);
    append_uint(out, 0, 4);
    append_uint(out, section->nr_rows, 8);
    append_uint(out, section->stored_bytes, 8);
    append_uint(out, section->checksum, 8);
    append_uint(out, XXH3_64bits_withSeed(out->data + at, out->length - at, at), 8);
    text_append(out, (const char *)section->stored, section->stored_bytes);
}

void container_add(struct container_writer *writer, uint32_t tag, uint32_t row_bytes,
                   const void *rows, uint64_t nr_rows)
{
    size_t raw = nr_rows * row_bytes, room = ZSTD_compressBound(raw);
    void *stored = memory_alloc(room);
    size_t size = ZSTD_compress(stored, room, rows ? rows : "", raw, COMPRESSION_LEVEL);
    struct container_section section = {.tag = tag, .row_bytes = row_bytes, .nr_rows = nr_rows};
    section.stored = stored;
    section.stored_bytes = ZSTD_isError(size) ? 0 : size; /* no error can happen: room is enough */
    section.checksum = XXH3_64bits(stored, section.stored_bytes);
    append_section(&writer->bytes, &section);
    writer->nr_sections++;
    free(stored);
}

void container_end(struct container_writer *writer)
{
    const struct container_section end = {.tag = end_tag,
                                          .row_bytes = 1,
                                          .nr_rows = writer->nr_sections,
                                          .checksum = XXH3_64bits("", 0),
                                          .stored = (const uint8_t *)""};
    append_section(&writer->bytes, &end);
}

bool container_finish(struct container_writer *writer, const char *path, struct error *err)
{
    container_end(writer);
    return file_replace(path, writer->bytes.data, writer->bytes.length, err);
}

void container_writer_deinit(struct container_writer *writer)
{
    text_deinit(&writer->bytes);
}

/* --- reading --------------------------------------------------------------------------------- */

static bool open_header(struct container *container, const uint8_t *bytes, uint64_t size,
                        const char *kind, struct error *err)
{
    char letters[16] = {0};
    if (size < 8 || memcmp(bytes, CONTAINER_MAGIC, 8) != 0)
        return error_set(err, ERROR_INPUT, "not a recording of asyncmem");
    if (size < CONTAINER_HEADER_BYTES)
        return error_set(err, ERROR_INPUT, "the file is cut short in its header; make it anew");
    struct cursor c = cursor_make(bytes + 8, CONTAINER_HEADER_BYTES - 8);
    uint64_t version = cursor_uint(&c, 4);
    cursor_skip(&c, 4);
    memcpy(letters, c.pos, 8);
    memcpy(container->writer, c.pos + 8, 16);
    cursor_skip(&c, 24);
    if (cursor_uint(&c, 8) != XXH3_64bits(bytes, CONTAINER_HEADER_BYTES - 8))
        return error_set(err, ERROR_INPUT, "the file is damaged in its header; make it anew");
    if (version != CONTAINER_VERSION)
        return error_set(err, ERROR_INPUT,
                         "asyncmem %s wrote it in a format (%llu) that this asyncmem (%s) does not "
                         "read; use that one",
                         container->writer, (unsigned long long)version, ASYNCMEM_VERSION);
    if (strncmp(letters, kind, 8) != 0)
        return error_set(err, ERROR_INPUT, "a recording of another kind: %s, not %s", letters,
                         kind);
    return true;
}

/* A section's head at `offset`, whole and with what it stores inside the file. */
static bool section_at(struct container_section *section, const uint8_t *bytes, uint64_t size,
                       uint64_t offset)
{
    struct cursor c = cursor_at(bytes, size, offset);
    if (cursor_uint(&c, 4) != section_mark)
        return false;
    section->tag = (uint32_t)cursor_uint(&c, 4);
    section->row_bytes = (uint32_t)cursor_uint(&c, 4);
    cursor_skip(&c, 4);
    section->nr_rows = cursor_uint(&c, 8);
    section->stored_bytes = cursor_uint(&c, 8);
    section->checksum = cursor_uint(&c, 8);
    uint64_t own = cursor_uint(&c, 8);
    section->stored = c.pos;
    return !c.failed &&
           own == XXH3_64bits_withSeed(bytes + offset, CONTAINER_SECTION_BYTES - 8, offset) &&
           section->stored_bytes <= cursor_left(&c) && section->row_bytes &&
           section->row_bytes <= MAX_ROW_BYTES &&
           !__builtin_mul_overflow(section->nr_rows, (uint64_t)section->row_bytes,
                                   &section->raw_bytes);
}

/* The next offset from `from` on where a section is marked; `size` when there is none. */
static uint64_t next_mark(const uint8_t *bytes, uint64_t size, uint64_t from)
{
    const uint8_t *mark =
        from < size ? memmem(bytes + from, size - from, &section_mark, sizeof(section_mark)) : NULL;
    return mark ? (uint64_t)(mark - bytes) : size;
}

static void find_sections(struct container *container, const uint8_t *bytes, uint64_t size)
{
    uint64_t at = CONTAINER_HEADER_BYTES;
    while (at < size && container->nr_sections < MAX_SECTIONS) {
        struct container_section section = {0};
        if (!section_at(&section, bytes, size, at)) {
            container->is_damaged = true;
            at = next_mark(bytes, size, at + 1);
            continue;
        }
        at += CONTAINER_SECTION_BYTES + section.stored_bytes;
        if (section.tag == end_tag) {
            if (section.nr_rows != container->nr_sections || at != size)
                container->is_damaged = true;
            return;
        }
        container->sections =
            array_reserve(container->sections, &container->capacity, container->nr_sections + 1,
                          sizeof(*container->sections));
        container->sections[container->nr_sections++] = section;
    }
    container->is_damaged = true; /* no end */
}

bool container_is(const void *bytes, uint64_t size, const char *kind)
{
    enum { KIND_OFFSET = 16, KIND_BYTES = 8 };
    return size >= CONTAINER_HEADER_BYTES && memcmp(bytes, CONTAINER_MAGIC, 8) == 0 &&
           strncmp((const char *)bytes + KIND_OFFSET, kind, KIND_BYTES) == 0;
}

bool container_open(struct container *container, const void *bytes, uint64_t size, const char *kind,
                    struct error *err)
{
    *container = (struct container){.budget_bytes = max_unpacked_bytes};
    if (!open_header(container, bytes, size, kind, err))
        return false;
    find_sections(container, bytes, size);
    return true;
}

void container_close(struct container *container)
{
    free(container->sections);
    *container = (struct container){0};
}

const struct container_section *container_find(const struct container *container, uint32_t tag)
{
    for (size_t i = 0; i < container->nr_sections; i++)
        if (container->sections[i].tag == tag)
            return &container->sections[i];
    return NULL;
}

void *container_read(struct container *container, const struct container_section *section)
{
    if (section->raw_bytes > container->budget_bytes ||
        section->raw_bytes / MAX_RATIO > section->stored_bytes ||
        section->checksum != XXH3_64bits(section->stored, section->stored_bytes) ||
        ZSTD_getFrameContentSize(section->stored, section->stored_bytes) != section->raw_bytes)
        return NULL;
    void *rows = memory_alloc(section->raw_bytes);
    size_t size = ZSTD_decompress(rows, section->raw_bytes, section->stored, section->stored_bytes);
    if (size != section->raw_bytes) { /* an error is a number above any size */
        free(rows);
        return NULL;
    }
    container->budget_bytes -= section->raw_bytes;
    return rows;
}
