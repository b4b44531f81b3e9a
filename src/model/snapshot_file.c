/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Rows are written as they are in memory.  A newer asyncmem may append columns: its rows are
 * longer, and their beginning is read.  Tables without which no task can be told are essential;
 * losing another one loses what refers to it.
 */
#include "model/snapshot_file.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "recording/container.h"

#define SNAPSHOT_FILE_KIND "snapshot"

/* In the order in which they are written: a file that is cut short loses the last ones. */
static const struct table_format {
    enum snapshot_table_id id;
    uint32_t tag;
    const char *what;
    bool is_essential;
} formats[] = {
    {SNAPSHOT_STRINGS, CONTAINER_TAG('S', 'T', 'R', 'S'), "names", true},
    {SNAPSHOT_FACTS, CONTAINER_TAG('F', 'A', 'C', 'T'), "facts of the process", true},
    {SNAPSHOT_KINDS, CONTAINER_TAG('K', 'I', 'N', 'D'), "kinds of tasks", true},
    {SNAPSHOT_TASKS, CONTAINER_TAG('T', 'A', 'S', 'K'), "tasks", true},
    {SNAPSHOT_RUNTIMES, CONTAINER_TAG('R', 'U', 'N', 'T'), "runtimes", false},
    {SNAPSHOT_IMAGES, CONTAINER_TAG('I', 'M', 'A', 'G'), "images", false},
    {SNAPSHOT_STATES, CONTAINER_TAG('S', 'T', 'A', 'T'), "states of futures", false},
    {SNAPSHOT_FRAMES, CONTAINER_TAG('F', 'R', 'A', 'M'), "await trees", false},
    {SNAPSHOT_SLOTS, CONTAINER_TAG('S', 'L', 'O', 'T'), "slots", false},
    {SNAPSHOT_ALSO, CONTAINER_TAG('A', 'L', 'S', 'O'), "other names of merged kinds", false},
    {SNAPSHOT_NOTES, CONTAINER_TAG('N', 'O', 'T', 'E'), "notes", false},
    {SNAPSHOT_HEAP, CONTAINER_TAG('H', 'E', 'A', 'P'), "sums of the heap", false},
    {SNAPSHOT_HOLDINGS, CONTAINER_TAG('H', 'O', 'L', 'D'), "bytes that variables hold", false},
    {SNAPSHOT_SHARED, CONTAINER_TAG('S', 'H', 'A', 'R'), "shared blocks", false},
    {SNAPSHOT_SHARED_TASKS, CONTAINER_TAG('S', 'H', 'T', 'A'), "tasks that share blocks", false},
    {SNAPSHOT_KEEPERS, CONTAINER_TAG('K', 'E', 'E', 'P'), "keepers of finished tasks", false},
};

enum { NR_FORMATS = sizeof(formats) / sizeof(*formats) };

_Static_assert(NR_FORMATS == (int)NR_SNAPSHOT_TABLES, "every table has a format");

bool snapshot_file_write(const struct snapshot *snapshot, const char *path, struct error *err)
{
    struct container_writer writer;
    container_begin(&writer, SNAPSHOT_FILE_KIND);
    for (size_t i = 0; i < NR_FORMATS; i++) {
        const struct table *table = &snapshot->tables[formats[i].id];
        container_add(&writer, formats[i].tag, snapshot_row_bytes[formats[i].id], table->rows,
                      table->nr);
    }
    bool ok = container_finish(&writer, path, err);
    container_writer_deinit(&writer);
    return ok;
}

/* --- what is lost ---------------------------------------------------------------------------- */

struct reader {
    struct container container;
    struct snapshot *snapshot;
    bool lost[NR_SNAPSHOT_TABLES];
};

static void forget_trees(struct snapshot *snapshot)
{
    snapshot_str reason =
        snapshot_add_string(snapshot, "the file is damaged: its await trees are missing");
    size_t nr;
    struct snapshot_task *tasks = snapshot_tasks(snapshot, &nr);
    for (size_t i = 0; i < nr; i++) {
        if (tasks[i].nr_frames && !tasks[i].reason.v)
            tasks[i].reason = reason;
        tasks[i].nr_frames = 0;
    }
}

/* Holdings are of variables; a shared block without its tasks would look as if it had none. */
static void forget_heap(const struct reader *reader)
{
    struct snapshot *snapshot = reader->snapshot;
    size_t nr_frames, nr_tasks;
    struct snapshot_frame *frames = snapshot_frames(snapshot, &nr_frames);
    struct snapshot_task *tasks = snapshot_tasks(snapshot, &nr_tasks);
    bool lost_holdings = reader->lost[SNAPSHOT_HOLDINGS] || reader->lost[SNAPSHOT_SLOTS];
    if (lost_holdings)
        snapshot->tables[SNAPSHOT_HOLDINGS].nr = 0;
    for (size_t i = 0; i < nr_frames && lost_holdings; i++)
        frames[i].nr_holdings = 0;
    for (size_t i = 0; i < nr_tasks && reader->lost[SNAPSHOT_KEEPERS]; i++)
        tasks[i].nr_keepers = 0;
    if (reader->lost[SNAPSHOT_SHARED_TASKS])
        snapshot->tables[SNAPSHOT_SHARED].nr = 0;
}

/* Nothing refers to a lost table afterwards. */
static void forget_lost(const struct reader *reader)
{
    struct snapshot *snapshot = reader->snapshot;
    size_t nr_tasks, nr_kinds, nr_states;
    struct snapshot_task *tasks = snapshot_tasks(snapshot, &nr_tasks);
    struct snapshot_kind *kinds = snapshot_kinds(snapshot, &nr_kinds);
    struct snapshot_state *states = snapshot_states(snapshot, &nr_states);
    for (size_t i = 0; i < nr_tasks && reader->lost[SNAPSHOT_RUNTIMES]; i++)
        tasks[i].runtime = 0;
    for (size_t i = 0; i < nr_kinds && reader->lost[SNAPSHOT_IMAGES]; i++)
        kinds[i].image = 0;
    for (size_t i = 0; i < nr_kinds && reader->lost[SNAPSHOT_ALSO]; i++)
        kinds[i].nr_also = 0;
    for (size_t i = 0; i < nr_states && reader->lost[SNAPSHOT_SLOTS]; i++)
        states[i].nr_slots = 0;
    forget_heap(reader);
    if (reader->lost[SNAPSHOT_STATES] || reader->lost[SNAPSHOT_FRAMES]) {
        snapshot->tables[SNAPSHOT_FRAMES].nr = 0;
        forget_trees(snapshot);
    }
}

/* One note with all of them: "its runtimes, slots are missing". */
static void tell_lost(const struct reader *reader)
{
    struct text text;
    bool any = false;
    text_init(&text);
    text_append_str(&text, "the file is damaged: ");
    for (size_t i = 0; i < NR_FORMATS; i++) {
        if (!reader->lost[formats[i].id])
            continue;
        text_printf(&text, "%s%s", any ? ", " : "its ", formats[i].what);
        any = true;
    }
    text_append_str(&text, any ? " are missing; take the snapshot again"
                               : "its tables are whole, what is around them is not");
    if (any || reader->container.is_damaged) {
        const struct snapshot_note note = {snapshot_add_string(reader->snapshot, text_str(&text))};
        snapshot_add(reader->snapshot, SNAPSHOT_NOTES, &note);
    }
    text_deinit(&text);
}

/* --- reading --------------------------------------------------------------------------------- */

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

static bool read_table(struct reader *reader, const struct table_format *format, struct error *err)
{
    uint32_t row_bytes = snapshot_row_bytes[format->id];
    const struct container_section *section = container_find(&reader->container, format->tag);
    if (section && (section->row_bytes < row_bytes || (row_bytes == 1 && section->row_bytes != 1)))
        return error_set(
            err, ERROR_INPUT,
            "asyncmem %s wrote it, whose %s this asyncmem (%s) does not read; use that "
            "one",
            reader->container.writer, format->what, ASYNCMEM_VERSION);
    void *rows = section ? container_read(&reader->container, section) : NULL;
    if (rows)
        take_rows(&reader->snapshot->tables[format->id], row_bytes, rows, section);
    else if (format->is_essential)
        return error_set(err, ERROR_INPUT,
                         "the file is damaged: its %s are missing; take the snapshot again",
                         format->what);
    reader->lost[format->id] = !rows;
    return true;
}

static bool strings_end(const struct snapshot *snapshot)
{
    const struct table *strings = &snapshot->tables[SNAPSHOT_STRINGS];
    return strings->nr && ((const char *)strings->rows)[strings->nr - 1] == 0;
}

static bool read_tables(struct reader *reader, struct error *err)
{
    const char *problem = "its strings have no end";
    for (size_t i = 0; i < NR_FORMATS; i++)
        if (!read_table(reader, &formats[i], err))
            return false;
    if (strings_end(reader->snapshot)) { /* else no note can be added */
        forget_lost(reader);
        tell_lost(reader);
        if (snapshot_check(reader->snapshot, &problem))
            return true;
    }
    return error_set(err, ERROR_INPUT,
                     "the file is damaged, or asyncmem %s, which wrote it, is newer than this one "
                     "(%s): %s",
                     reader->container.writer, ASYNCMEM_VERSION, problem);
}

bool snapshot_file_parse(struct snapshot *snapshot, const void *bytes, uint64_t size,
                         struct error *err)
{
    struct reader reader = {.snapshot = snapshot};
    *snapshot = (struct snapshot){0};
    if (!container_open(&reader.container, bytes, size, SNAPSHOT_FILE_KIND, err))
        return false;
    bool ok = read_tables(&reader, err);
    container_close(&reader.container);
    if (!ok)
        snapshot_deinit(snapshot);
    return ok;
}

bool snapshot_file_read(struct snapshot *snapshot, const char *path, struct error *err)
{
    struct file file;
    if (!file_open(&file, path, err))
        return false;
    bool ok = snapshot_file_parse(snapshot, file.bytes, file.size_bytes, err);
    file_close(&file);
    return ok || error_prefix(err, "%s", path);
}
