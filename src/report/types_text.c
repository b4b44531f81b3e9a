/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * `asyncmem types` for people.  By default one screen: the three biggest futures with the states
 * that use most, then the ten biggest in a table, totals, and a line that says what was left out.
 * With --match, --top or --all each selected future is shown whole.
 */
#include <string.h>

#include "report/types_writer.h"

enum {
    BRIEF_FUTURES = 3,
    TABLE_ROWS = 10,
    WHOLE_FUTURES = 100, /* that --match shows whole when --top does not say */
    NUMBER_COLUMNS = 11,
};

static void put_table(const struct types_writer *writer)
{
    const struct types_report *report = writer->report;
    size_t rows = report->nr_sized < TABLE_ROWS ? report->nr_sized : TABLE_ROWS;
    if (!rows)
        return;
    display_bold(writer->display, true);
    types_put(writer, "       SIZE      WASTE  FUTURE\n");
    display_bold(writer->display, false);
    for (size_t i = 0; i < rows; i++) {
        const struct future_layout *layout = types_report_layout(report, i);
        struct text name, left, right;
        text_init(&name);
        text_init(&left);
        text_init(&right);
        struct text number;
        text_init(&number);
        display_number(layout->future->size_bytes, &number);
        text_printf(&left, "%*s", NUMBER_COLUMNS, text_str(&number));
        text_clear(&number);
        if (layout->has_waste)
            display_number(layout->waste_bytes, &number);
        else
            text_append_char(&number, '?');
        text_printf(&left, "%*s  ", NUMBER_COLUMNS, text_str(&number));
        text_deinit(&number);
        types_report_future_name(report, layout->future, &name);
        display_escape(text_str(&name), &left);
        const char *file = layout->future->file;
        types_append_place(
            writer, file && writer->display->columns < 100 ? display_last_steps(file, 1) : file,
            layout->future->line, &right);
        display_cut_front(&right, writer->display->columns / 3);
        types_put_line(writer, &left, &right);
        text_deinit(&name);
        text_deinit(&left);
        text_deinit(&right);
    }
}

static void put_totals(const struct types_writer *writer)
{
    const struct types_report *report = writer->report;
    struct text line;
    text_init(&line);
    display_number(report->nr_layouts, &line);
    if (report->nr_layouts < report->types->nr) {
        text_append_str(&line, " of ");
        display_number(report->types->nr, &line);
    }
    text_printf(&line, " future type%s", report->types->nr == 1 ? "" : "s");
    if (report->nr_sized) {
        text_append_str(&line, ", total ");
        display_number(report->total_bytes, &line);
        text_append_str(&line, " B, mean ");
        display_number((report->total_bytes + report->nr_sized / 2) / report->nr_sized, &line);
        text_append_str(&line, " B, largest ");
        display_number(report->largest_bytes, &line);
        text_append_str(&line, " B");
    }
    if (report->nr_layouts > report->nr_sized) {
        text_append_str(&line, "; size unknown of ");
        display_number(report->nr_layouts - report->nr_sized, &line);
        text_append_str(&line, " (declared only)");
    }
    display_bold(writer->display, true);
    types_put_cut(writer, &line);
    display_bold(writer->display, false);
    text_deinit(&line);
}

static void put_names_only(const struct types_writer *writer)
{
    const struct types_report *report = writer->report;
    size_t limit = report->options->top   ? report->options->top
                   : report->options->all ? report->nr_named
                                          : 2 * TABLE_ROWS;
    if (!report->nr_named)
        return;
    types_put(writer, "Task futures that its symbols name, sizes unknown:\n");
    for (size_t i = 0; i < report->nr_named && i < limit; i++) {
        struct text name, line;
        text_init(&name);
        text_init(&line);
        types_report_task_name(report, report->named[i], &name);
        text_append_str(&line, "  ");
        display_escape(text_str(&name), &line);
        types_put_cut(writer, &line);
        text_deinit(&name);
        text_deinit(&line);
    }
    if (limit < report->nr_named) {
        types_put_number(writer, report->nr_named - limit, 0);
        types_put(writer, " more: --all shows them\n");
    }
}

static void put_opening(const struct types_writer *writer)
{
    const struct types_report *report = writer->report;
    const struct plan *plan = report->types->plan;
    const char *reason = plan_string(plan, plan->facts->detail_reason);
    struct text line;
    text_init(&line);
    display_escape(report->binary, &line);
    display_cut_front(&line, writer->display->columns - 40);
    if (plan->facts->detail != PLAN_DETAIL_FULL)
        text_printf(&line, ": %s",
                    plan->nr_tasks ? "no layouts of its futures" : "no futures found, no layouts");
    else if (!report->types->nr)
        text_printf(&line, ": no futures: no async fn, block or closure is in its debug info");
    else if (!report->nr_layouts)
        text_printf(&line, ": none of its %zu future types is selected by %s", report->types->nr,
                    report->options->match ? "--match" : "--min-bytes");
    else if (report->nr_layouts < report->types->nr)
        text_printf(&line, ": %zu of %zu future types", report->nr_layouts, report->types->nr);
    else
        text_printf(&line, ": %zu future type%s", report->types->nr,
                    report->types->nr == 1 ? "" : "s");
    types_put_cut(writer, &line);
    text_deinit(&line);
    if (*reason)
        display_sentence(writer->display, "Why: ", reason);
    for (uint32_t i = 0; i < plan->nr_notes; i++)
        display_sentence(writer->display, "Note: ", plan_string(plan, plan->notes[i].text));
    types_put(writer, "\n");
}

static void put_left_out(const struct types_writer *writer, size_t shown)
{
    const struct types_report *report = writer->report;
    size_t futures = report->nr_layouts - shown;
    if (!futures && !writer->hidden_states && !writer->hidden_slots)
        return;
    struct text line;
    text_init(&line);
    text_append_str(&line, "Left out:");
    if (futures) {
        text_printf(&line, " details of ");
        display_number(futures, &line);
        text_printf(&line, " future type%s", futures == 1 ? "" : "s");
    }
    if (writer->hidden_states)
        text_printf(&line, "%s %zu state%s", futures ? "," : "", writer->hidden_states,
                    writer->hidden_states == 1 ? "" : "s");
    if (writer->hidden_slots)
        text_printf(&line, "%s %zu variable%s", futures || writer->hidden_states ? "," : "",
                    writer->hidden_slots, writer->hidden_slots == 1 ? "" : "s");
    display_dim(writer->display, true);
    types_put_cut(writer, &line);
    types_put(writer, "More: --match TEXT, --top N or --all show futures whole.\n");
    display_dim(writer->display, false);
    text_deinit(&line);
}

void types_write_text(const struct types_report *report, const struct display *display)
{
    const struct types_options *options = report->options;
    struct types_writer writer = {
        .report = report,
        .display = display,
        .whole = options->all || options->match || options->top,
    };
    size_t limit = options->all     ? report->nr_layouts
                   : options->top   ? options->top
                   : options->match ? WHOLE_FUTURES
                                    : BRIEF_FUTURES;
    size_t shown = limit < report->nr_layouts ? limit : report->nr_layouts;
    put_opening(&writer);
    put_names_only(&writer);
    for (size_t i = 0; i < shown; i++)
        types_put_future(&writer, types_report_layout(report, i));
    if (!report->nr_layouts)
        return;
    put_table(&writer);
    put_totals(&writer);
    put_left_out(&writer, shown);
}
