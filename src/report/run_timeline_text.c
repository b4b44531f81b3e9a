/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The timeline of a run in characters: the live heap as bars over time, the number of tasks below.  A
 * column has the most of its time.  --by time has its steps as a table too.
 */
#include <string.h>

#include "report/run_text_part.h"

enum { HEAP_LINES = 6, TASK_LINES = 3, LABEL_COLUMNS = 9, EIGHTHS = 8 };
enum { LEAST_STEPS = 8 }; /* fewer make no picture */

static const char *const bars[EIGHTHS + 1] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};

/* A chart of one quantity: a value of a column at an offset of struct run_column. */
struct chart {
    const struct run_timeline *timeline;
    size_t offset;
    uint64_t most;
    unsigned lines;
};

static uint64_t value_of(const struct chart *chart, size_t column)
{
    uint64_t value;
    memcpy(&value, (const char *)&chart->timeline->columns[column] + chart->offset, sizeof(value));
    return value;
}

/* Eighths of a character that stand in this line, the top line being 0; what is not 0 can be seen. */
static unsigned eighths_of(const struct chart *chart, uint64_t value, unsigned line)
{
    const unsigned all = chart->lines * EIGHTHS, below = (chart->lines - 1 - line) * EIGHTHS;
    unsigned height = (unsigned)((unsigned __int128)value * all / chart->most);
    height = value && !height ? 1 : height;
    return height <= below ? 0 : height - below < EIGHTHS ? height - below : EIGHTHS;
}

static void put_chart_line(const struct chart *chart, unsigned line, const char *label,
                           const struct display *display)
{
    struct text text;
    text_init(&text);
    text_printf(&text, "%*s", (int)(LABEL_COLUMNS - display_width(label)), "");
    text_append_str(&text, label);
    text_append_str(&text, " │");
    for (size_t i = 0; i < chart->timeline->nr; i++)
        text_append_str(&text, bars[eighths_of(chart, value_of(chart, i), line)]);
    while (text.length && text.data[text.length - 1] == ' ')
        text.data[--text.length] = 0;
    fprintf(display->out, "%s\n", text_str(&text));
    text_deinit(&text);
}

static void put_chart(const struct chart *chart, const char *most, const struct display *display)
{
    if (!chart->most)
        return;
    for (unsigned line = 0; line < chart->lines; line++)
        put_chart_line(chart, line,
                       line == 0                  ? most
                       : line + 1 == chart->lines ? "0"
                                                  : "",
                       display);
}

/* "0 s" below the first column, the end of the run below the last. */
static void put_axis(const struct run_timeline *timeline, const struct display *display)
{
    struct text end;
    text_init(&end);
    display_duration(timeline->end_ns, &end);
    const unsigned width = display_width(text_str(&end)), begin = 3;
    const unsigned between =
        timeline->nr > width + begin ? (unsigned)timeline->nr - width - begin : 1;
    fprintf(display->out, "%*s └", LABEL_COLUMNS, "");
    for (size_t i = 0; i < timeline->nr; i++)
        fputs("─", display->out);
    fprintf(display->out, "\n%*s0 s%*s%s\n", LABEL_COLUMNS + 2, "", (int)between, "",
            text_str(&end));
    text_deinit(&end);
}

/* "serve_conn 98.0 MB, handler 12.0 MB": the types that had most at that step. */
static void append_tops(const struct run_report *report, uint32_t step, size_t most,
                        struct text *out)
{
    enum { LEAST_PART = 50 }; /* what has less is not worth a word */
    const uint64_t all = run_steps(report->run, NULL)[step - 1].live_bytes;
    const struct run_step_type *row;
    for (size_t i = 0; i < most; i++) {
        row = run_step_top(&report->step_tops, report->run, step, i);
        if (!row || !row->live_bytes || row->live_bytes < all / LEAST_PART)
            return;
        text_append_str(out, i ? ", " : "");
        run_append_step_type(report, row->type, out);
        text_append_char(out, ' ');
        run_append_bytes(out, row->live_bytes);
    }
}

/* Who had allocated what was there at the highest step. */
static void put_most(const struct run_report *report, const struct run_timeline *timeline,
                     const struct display *display)
{
    const struct run_step *step = &run_steps(report->run, NULL)[timeline->most_bytes - 1];
    struct text line, tops;
    text_init(&line);
    text_init(&tops);
    append_tops(report, timeline->most_bytes, 4, &tops);
    text_append_str(&line, "Highest after ");
    run_append_duration(&line, step->t_ns);
    text_append_str(&line, ": ");
    run_append_bytes(&line, step->live_bytes);
    if (step->rss_bytes && step->rss_bytes != RUN_UNKNOWN) {
        text_append_str(&line, " (resident ");
        run_append_bytes(&line, step->rss_bytes);
        text_append_str(&line, ")");
    }
    if (tops.length) {
        text_append_str(&line, "; allocated by: ");
        text_append_str(&line, text_str(&tops));
    }
    display_sentence(display, "", text_str(&line));
    text_deinit(&tops);
    text_deinit(&line);
}

static void put_charts(const struct run_report *report, const struct run_timeline *timeline,
                       const struct display *display)
{
    const struct run_step *steps = run_steps(report->run, NULL);
    const struct chart heap = {timeline, offsetof(struct run_column, live_bytes),
                               steps[timeline->most_bytes - 1].live_bytes, HEAP_LINES},
                       tasks = {timeline, offsetof(struct run_column, live_tasks),
                                steps[timeline->most_tasks - 1].live_tasks, TASK_LINES};
    struct text label;
    text_init(&label);
    run_append_bytes(&label, heap.most);
    put_chart(&heap, text_str(&label), display);
    text_clear(&label);
    if (tasks.most) {
        display_dim(display, true);
        fprintf(display->out, "%*s │ tasks alive:\n", LABEL_COLUMNS, "");
        display_dim(display, false);
    }
    run_append_number(&label, tasks.most);
    put_chart(&tasks, text_str(&label), display);
    put_axis(timeline, display);
    text_deinit(&label);
}

void run_put_timeline(const struct run_report *report, const struct display *display)
{
    size_t nr;
    struct run_timeline timeline;
    struct text title;
    run_steps(report->run, &nr);
    if (nr < LEAST_STEPS || report->options->match)
        return;
    text_init(&title);
    run_timeline_init(&timeline, report->run, display->columns - LABEL_COLUMNS - 3);
    text_append_str(&title, "Live heap over time");
    run_put_title(display, &title, NULL);
    put_charts(report, &timeline, display);
    put_most(report, &timeline, display);
    run_timeline_deinit(&timeline);
    text_deinit(&title);
}

/* --- steps ----------------------------------------------------------------------------------- */

void run_put_steps(const struct run_report *report, const struct display *display)
{
    static const struct run_table_column columns[] = {
        {"AFTER", RUN_CELL_NUMBER}, {"LIVE HEAP", RUN_CELL_NUMBER},   {"RESIDENT", RUN_CELL_NUMBER},
        {"TASKS", RUN_CELL_NUMBER}, {"ALLOCATED BY", RUN_CELL_WORDS}, {NULL, RUN_CELL_WORDS}};
    size_t nr;
    struct run_timeline timeline;
    struct run_table table;
    struct text title;
    const struct run_step *steps = run_steps(report->run, &nr);
    if (!nr)
        return;
    run_table_init(&table, display, columns);
    run_timeline_init(&timeline, report->run, run_limit(report, nr, nr));
    for (size_t i = 0; i < timeline.nr; i++) {
        const uint32_t id = timeline.columns[i].step;
        if (!id)
            continue;
        struct run_table_row *row = run_table_add(&table);
        run_append_duration(&row->cells[0], steps[id - 1].t_ns);
        run_append_bytes(&row->cells[1], steps[id - 1].live_bytes);
        run_append_bytes(&row->cells[2], steps[id - 1].rss_bytes);
        run_append_number(&row->cells[3], steps[id - 1].live_tasks);
        const struct run_step_type *top = run_step_top(&report->step_tops, report->run, id, 0);
        if (!top)
            continue;
        run_append_bytes(&row->cells[4], top->live_bytes);
        if (top->type)
            run_append_type(report->run, top->type, &row->cells[5]);
        else
            run_append_step_type(report, 0, &row->cells[5]);
    }
    text_init(&title);
    text_append_str(&title, "Steps of the timeline");
    run_put_title(display, &title, "Each is the highest of its part of the time.");
    run_table_put(&table);
    run_table_deinit(&table);
    run_timeline_deinit(&timeline);
    text_deinit(&title);
}
