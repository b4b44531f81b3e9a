/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the runtime itself takes, per runtime and kind of task; the snapshots stored on the way. */
#include "report/run_text_part.h"

/* Header and padding, for one task; RUN_UNKNOWN. */
uint64_t run_bytes_beyond(const struct run_runtime *runtime)
{
    uint64_t sum;
    if (!runtime->cells || runtime->cell_header_bytes == RUN_UNKNOWN ||
        runtime->cell_padding_bytes == RUN_UNKNOWN ||
        __builtin_add_overflow(runtime->cell_header_bytes, runtime->cell_padding_bytes, &sum))
        return RUN_UNKNOWN;
    return sum / runtime->cells;
}

static void append_part(struct text *out, uint64_t bytes, const char *words)
{
    if (!bytes || bytes == RUN_UNKNOWN)
        return;
    text_append_str(out, out->length ? ", " : "");
    run_append_bytes(out, bytes);
    text_printf(out, " %s", words);
}

static void append_note(const struct run_runtime *runtime, struct text *out)
{
    append_part(out, runtime->queue_bytes, "in queues");
    append_part(out, runtime->timer_bytes, "in timers");
    append_part(out, runtime->io_bytes, "in I/O registrations");
    append_part(out, runtime->worker_bytes, "for workers");
    append_part(out, runtime->other_bytes, "else");
    if (runtime->nr_workers) {
        text_append_str(out, out->length ? "; " : "");
        run_append_count(out, runtime->nr_workers, "worker thread");
        if (runtime->stack_bytes && runtime->stack_bytes != RUN_UNKNOWN) {
            text_append_str(out, " with stacks of ");
            run_append_bytes(out, runtime->stack_bytes);
        }
    }
}

/* After the end of a runtime there may be nothing left of it. */
static bool is_empty(const struct run_runtime *runtime)
{
    struct text note;
    text_init(&note);
    append_note(runtime, &note);
    const bool is_empty = !runtime->cells && !note.length;
    text_deinit(&note);
    return is_empty;
}

static void add_runtime(struct run_table *table, const struct run *run,
                        const struct run_runtime *runtime)
{
    struct run_table_row *row = run_table_add(table);
    if (runtime->cells) {
        run_append_number(&row->cells[0], runtime->cells);
        run_append_bytes(&row->cells[1], runtime->cell_header_bytes);
        run_append_bytes(&row->cells[2], runtime->cell_padding_bytes);
        run_append_bytes(&row->cells[3], runtime->cell_payload_bytes);
        run_append_bytes(&row->cells[4], run_bytes_beyond(runtime));
    } else {
        text_append_char(&row->cells[0], '-');
    }
    display_escape(runtime->name.v ? run_string(run, runtime->name) : "unknown runtime",
                   &row->cells[5]);
    if (runtime->kind != RUN_KIND_UNKNOWN)
        text_printf(&row->cells[5], ", %s", run_kind_names[runtime->kind]);
    append_note(runtime, &row->note);
}

void run_put_runtime(const struct run_report *report, const struct display *display)
{
    static const struct run_table_column columns[] = {
        {"CELLS", RUN_CELL_NUMBER},   {"HEADERS", RUN_CELL_NUMBER}, {"PADDING", RUN_CELL_NUMBER},
        {"FUTURES", RUN_CELL_NUMBER}, {"EACH", RUN_CELL_NUMBER},    {"RUNTIME", RUN_CELL_NAME},
        {NULL, RUN_CELL_NAME}};
    size_t nr;
    const struct run_runtime *runtimes = run_runtimes(report->run, &nr);
    struct run_table table;
    struct text title;
    if (!nr || report->options->match)
        return;
    run_table_init(&table, display, columns);
    for (size_t i = 0; i < nr; i++)
        if (!is_empty(&runtimes[i]))
            add_runtime(&table, report->run, &runtimes[i]);
    text_init(&title);
    text_append_str(&title, "What the runtime takes for itself");
    run_put_title(display, &title,
                  "Of the cells alive at the end. Each: bytes of one task besides its future. "
                  "?: the layout is not known.");
    run_table_put(&table);
    run_table_deinit(&table);
    text_deinit(&title);
}
