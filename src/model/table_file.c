/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "model/table_file.h"

#include <string.h>

#include "recording/container.h"

/* --- writing --------------------------------------------------------------------------------- */

static void add_tables(const struct table_file *file, const struct table *tables,
                       struct container_writer *writer)
{
    container_begin(writer, file->kind);
    for (size_t i = 0; i < file->nr_formats; i++) {
        const struct table_format *format = &file->formats[i];
        container_add(writer, format->tag, file->row_bytes[format->table],
                      tables[format->table].rows, tables[format->table].nr);
    }
}

bool table_file_write(const struct table_file *file, const struct table *tables, const char *path,
                      struct error *err)
{
    struct container_writer writer;
    add_tables(file, tables, &writer);
    bool ok = container_finish(&writer, path, err);
    container_writer_deinit(&writer);
    return ok;
}

void table_file_pack(const struct table_file *file, const struct table *tables, struct text *bytes)
{
    struct container_writer writer;
    add_tables(file, tables, &writer);
    container_end(&writer);
    text_append(bytes, writer.bytes.data, writer.bytes.length);
    container_writer_deinit(&writer);
}

/* --- reading --------------------------------------------------------------------------------- */

struct reader {
    const struct table_file *file;
    void *owner;
    struct table *tables;
    struct container container;
    bool lost[TABLE_FILE_MAX_TABLES];
    bool is_older;
};

/* One note with all of them: "its runtimes, slots are missing". */
static void tell_lost(const struct reader *reader)
{
    const struct table_file *file = reader->file;
    struct text text;
    bool any = false;
    text_init(&text);
    text_append_str(&text, "the file is damaged: ");
    for (size_t i = 0; i < file->nr_formats; i++) {
        if (!reader->lost[file->formats[i].table])
            continue;
        text_printf(&text, "%s%s", any ? ", " : "its ", file->formats[i].what);
        any = true;
    }
    if (any)
        text_printf(&text, " are missing; %s", file->remedy);
    else
        text_append_str(&text, "its tables are whole, what is around them is not");
    if (any || reader->container.is_damaged)
        file->note(reader->owner, text_str(&text));
    text_deinit(&text);
}

/* Rows of a newer asyncmem are longer: their beginning is ours. */
static void take_rows(struct table *table, uint32_t row_bytes, void *rows,
                      const struct container_section *section)
{
    table->rows = rows;
    table->nr = table->capacity = section->nr_rows;
    if (section->row_bytes == row_bytes)
        return;
    for (uint64_t i = 1; i < section->nr_rows; i++)
        memmove((char *)rows + i * row_bytes, (char *)rows + i * section->row_bytes, row_bytes);
}

static bool is_later(const struct reader *reader, const struct table_format *format)
{
    return reader->file->first_later && format->table >= reader->file->first_later;
}

/* Is it whole, and of the time before there were later tables? */
static bool is_older(const struct reader *reader)
{
    bool has_later = reader->container.is_damaged;
    for (size_t i = 0; i < reader->file->nr_formats; i++)
        has_later |= is_later(reader, &reader->file->formats[i]) &&
                     container_find(&reader->container, reader->file->formats[i].tag);
    return !has_later;
}

static bool read_table(struct reader *reader, const struct table_format *format, struct error *err)
{
    uint32_t row_bytes = reader->file->row_bytes[format->table];
    const struct container_section *section = container_find(&reader->container, format->tag);
    if (section && (section->row_bytes < row_bytes || (row_bytes == 1 && section->row_bytes != 1)))
        return error_set(
            err, ERROR_INPUT,
            "asyncmem %s wrote it, whose %s this asyncmem (%s) does not read; use that "
            "one",
            reader->container.writer, format->what, ASYNCMEM_VERSION);
    void *rows = section ? container_read(&reader->container, section) : NULL;
    if (rows)
        take_rows(&reader->tables[format->table], row_bytes, rows, section);
    else if (format->is_essential)
        return error_set(err, ERROR_INPUT, "the file is damaged: its %s are missing; %s",
                         format->what, reader->file->remedy);
    reader->lost[format->table] = !rows && !(reader->is_older && is_later(reader, format));
    return true;
}

static bool read_tables(struct reader *reader, struct error *err)
{
    const struct table_file *file = reader->file;
    const char *problem = "its strings have no end";
    reader->is_older = is_older(reader);
    for (size_t i = 0; i < file->nr_formats; i++)
        if (!read_table(reader, &file->formats[i], err))
            return false;
    if (table_strings_ok(&reader->tables[file->strings])) { /* else no note can be added */
        file->forget(reader->owner, reader->lost);
        tell_lost(reader);
        if (file->check(reader->owner, &problem))
            return true;
    }
    return error_set(err, ERROR_INPUT,
                     "the file is damaged, or asyncmem %s, which wrote it, is newer than this one "
                     "(%s): %s",
                     reader->container.writer, ASYNCMEM_VERSION, problem);
}

bool table_file_parse(const struct table_file *file, void *owner, struct table *tables,
                      const void *bytes, uint64_t size, struct error *err)
{
    struct reader reader = {.file = file, .owner = owner, .tables = tables};
    if (!container_open(&reader.container, bytes, size, file->kind, err))
        return false;
    bool ok = read_tables(&reader, err);
    container_close(&reader.container);
    if (!ok)
        tables_deinit(tables, file->nr_formats);
    return ok;
}
