/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * `asyncmem types` for people.  By default one screen: the three biggest futures with the states
 * that use most, then the ten biggest in a table, totals, and a line that says what was left out.
 * With --match, --top or --all each selected future is shown whole.
 */
#include <string.h>

#include "base/rust_path.h"
#include "model/leaf_names.h"
#include "report/types_report.h"

enum {
    BRIEF_FUTURES = 3,
    BRIEF_STATES = 2,
    BRIEF_SLOTS = 3,
    TABLE_ROWS = 10,
    WHOLE_FUTURES = 100, /* that --match shows whole when --top does not say */
    NUMBER_COLUMNS = 11,
};

struct writer {
    const struct types_report *report;
    const struct display *display;
    bool whole;
    size_t hidden_states, hidden_slots; /* not shown, of futures that are */
};

static void put(const struct writer *writer, const char *text)
{
    fputs(text, writer->display->out);
}

static void put_number(const struct writer *writer, uint64_t number, unsigned columns)
{
    struct text text;
    text_init(&text);
    display_number(number, &text);
    fprintf(writer->display->out, "%*s", (int)columns, text_str(&text));
    text_deinit(&text);
}

static void append_number(struct text *out, uint64_t number)
{
    display_number(number, out);
}

static const char *last_steps(const char *path, unsigned nr)
{
    unsigned slashes = 0;
    const char *at = path + strlen(path);
    for (; at > path; at--)
        if (at[-1] == '/' && ++slashes == nr)
            break;
    return at;
}

/* "server/src/conn.rs:88": the end of a path, or all of it with --full-names. */
static void append_place(const struct writer *writer, const char *file, uint32_t line,
                         struct text *out)
{
    if (!file) {
        text_append_str(out, "unknown place");
        return;
    }
    const char *shown = file;
    if (!writer->report->options->full_names) {
        shown = last_steps(file, 2);
        if (strncmp(shown, "src/", 4) == 0)
            shown = last_steps(file, 3); /* whose src? */
    }
    display_escape(shown, out);
    if (line)
        text_printf(out, ":%u", line);
}

/* One line: `left` cut to fit, `right` at the right edge. */
static void put_line(const struct writer *writer, struct text *left, const struct text *right)
{
    unsigned columns = writer->display->columns, right_width = display_width(text_str(right));
    if (right_width + 2 < columns)
        display_cut(left, columns - right_width - 2);
    fprintf(writer->display->out, "%s", text_str(left));
    int gap = (int)columns - (int)display_width(text_str(left)) - (int)right_width;
    fprintf(writer->display->out, "%*s%s\n", gap > 0 ? gap : 1, "", text_str(right));
}

static void put_head(const struct writer *writer, const struct future_layout *layout)
{
    const struct future_type *future = layout->future;
    struct text name, left, right;
    text_init(&name);
    text_init(&left);
    text_init(&right);
    types_report_future_name(writer->report, future, &name);
    display_escape(text_str(&name), &left);
    text_printf(&right, "%s  ", future_kind_name(future));
    append_place(writer, future->file, future->line, &right);
    if (future->type) {
        text_append_str(&right, "  ");
        append_number(&right, future->size_bytes);
        text_printf(&right, " B");
        if (writer->whole)
            text_printf(&right, ", align %llu", (unsigned long long)future->align_bytes);
    } else {
        text_append_str(&right, "  size unknown (declared only)");
    }
    display_bold(writer->display, true);
    put_line(writer, &left, &right);
    display_bold(writer->display, false);
    text_deinit(&name);
    text_deinit(&left);
    text_deinit(&right);
}

/* A future's name for the middle of a line: its last two steps, whole with --full-names. */
static void append_future(const struct writer *writer, const char *name, struct text *out)
{
    size_t length = strlen(name);
    size_t hidden = rust_path_parent(name, length, 2);
    if (!hidden || writer->report->options->full_names)
        display_escape(name, out);
    else
        display_escape(name + hidden + strlen("::"), out);
}

/* "awaits socket read: Read<TcpStream>" */
static void append_awaited(const struct writer *writer, const struct state_layout *state,
                           struct text *out)
{
    if (!state->awaited.v)
        return;
    struct text name;
    text_init(&name);
    types_report_type_name(writer->report, state->awaited, NAME_PATH, &name);
    const char *words = leaf_name(text_str(&name));
    bool branches = state->await->macro.v && strstr(text_str(&name), "poll_fn::PollFn<");
    text_append_str(out, branches ? "  awaits its branches" : "  awaits ");
    if (words && !branches)
        text_printf(out, "%s: ", words);
    if (!branches)
        append_future(writer, text_str(&name), out);
    text_deinit(&name);
}

/* "16,384 slots, 120 awaited, 24 dead upvars, 8 other states, 4 unexplained" */
static void append_split(const struct state_layout *state, struct text *out)
{
    const struct {
        uint64_t bytes;
        const char *words;
    } parts[] = {
        {state->slot_bytes, "slots"},
        {state->awaited_bytes, "awaited"},
        {state->dead_upvar_bytes, "dead args"},
        {state->other_states_bytes, "other"},
        {state->unexplained_bytes, "unexplained"},
    };
    bool any = false;
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
        if (!parts[i].bytes)
            continue;
        text_append_str(out, any ? " + " : "");
        append_number(out, parts[i].bytes);
        text_printf(out, " %s", parts[i].words);
        any = true;
    }
    if (state->nr_hidden)
        text_printf(out, " (%u hidden variable%s of a name used twice)", state->nr_hidden,
                    state->nr_hidden == 1 ? "" : "s");
}

static void put_cut(const struct writer *writer, struct text *line)
{
    display_cut(line, writer->display->columns);
    put(writer, text_str(line));
    put(writer, "\n");
}

/*
 * A variable's name as the source has it: rustc calls a borrowed capture _ref__x, a captured field
 * x__1, and a temporary __3.
 */
static void append_variable(const struct state_slot *slot, struct text *out)
{
    const char *name = slot->name;
    bool is_capture = slot->is_upvar && !slot->is_argument;
    if (is_capture && str_starts_with(name, "_ref__")) {
        text_append_char(out, '&');
        name += strlen("_ref__");
    }
    const char *field = is_capture ? strstr(name, "__") : NULL;
    if (field && field > name && field[2]) {
        struct text whole;
        text_init(&whole);
        text_append(&whole, name, (size_t)(field - name));
        text_printf(&whole, ".%s", field + 2);
        display_escape(text_str(&whole), out);
        text_deinit(&whole);
    } else if (name[0] == '_' && name[1] == '_' && name[2] >= '0' && name[2] <= '9') {
        text_append_str(out, "(temporary)");
    } else {
        display_escape(name, out);
    }
}

static void put_slot(const struct writer *writer, const struct state_slot *slot)
{
    struct text line, type;
    text_init(&line);
    text_init(&type);
    types_report_type_name(writer->report, slot->type, NAME_SHORT, &type);
    text_append_str(&line, "      ");
    struct text number;
    text_init(&number);
    append_number(&number, slot->size_bytes);
    text_printf(&line, "%*s", NUMBER_COLUMNS, text_str(&number));
    text_deinit(&number);
    if (writer->whole)
        text_printf(&line, "  @%-6llu", (unsigned long long)slot->offset_bytes);
    text_append_str(&line, "  ");
    append_variable(slot, &line);
    text_append_str(&line, !slot->is_upvar     ? ": "
                           : slot->is_argument ? " (argument): "
                                               : " (captured): ");
    display_escape(text_str(&type), &line);
    put_cut(writer, &line);
    text_deinit(&line);
    text_deinit(&type);
}

/* The biggest `nr` slots, in the order of their sizes; all by offset when the future is whole. */
static void put_slots(struct writer *writer, const struct state_layout *state)
{
    if (writer->whole) {
        for (uint32_t i = 0; i < state->nr_slots; i++)
            put_slot(writer, &state->slots[i]);
        return;
    }
    bool shown[256] = {false};
    uint32_t nr = state->nr_slots < 256 ? state->nr_slots : 256, put_nr = 0;
    for (; put_nr < BRIEF_SLOTS && put_nr < nr; put_nr++) {
        uint32_t best = 256;
        for (uint32_t i = 0; i < nr; i++)
            if (!shown[i] &&
                (best == 256 || state->slots[i].size_bytes > state->slots[best].size_bytes))
                best = i;
        shown[best] = true;
        put_slot(writer, &state->slots[best]);
    }
    writer->hidden_slots += state->nr_slots - put_nr;
}

static void put_state(struct writer *writer, const struct future_type *future,
                      const struct state_layout *state)
{
    const struct plan *plan = writer->report->types->plan;
    struct text line, split;
    text_init(&line);
    text_init(&split);
    text_append_str(&line, "  ");
    display_escape(plan_string(plan, state->variant->name), &line);
    if (state_is_suspended(plan, state)) {
        uint32_t number;
        const char *file = state_await_file(plan, state, &number),
                   *macro = state_macro(plan, state);
        text_append_str(&line, " at ");
        /* The future's own line has its folder. */
        const char *base = file && file == future->file ? last_steps(file, 1) : file;
        append_place(writer, base, number, &line);
        if (macro) {
            text_append_str(&line, state->await->is_exact ? " in " : " (line of the fn) in ");
            display_escape(macro, &line);
        }
        append_awaited(writer, state, &line);
    }
    put_cut(writer, &line);
    text_append_str(&split, "      ");
    append_split(state, &split);
    display_dim(writer->display, true);
    put_cut(writer, &split);
    display_dim(writer->display, false);
    put_slots(writer, state);
    text_deinit(&line);
    text_deinit(&split);
}

static uint64_t used_bytes(const struct state_layout *state)
{
    return state->slot_bytes + state->awaited_bytes;
}

/* The suspended states that use most come first in a brief view. */
static void put_brief_states(struct writer *writer, const struct future_layout *layout)
{
    const struct plan *plan = writer->report->types->plan;
    uint64_t below = UINT64_MAX;
    uint32_t put_nr = 0, nr = 0, last = 0;
    for (uint32_t i = 0; i < layout->nr_states; i++)
        nr += state_is_suspended(plan, &layout->states[i]);
    for (; put_nr < BRIEF_STATES && put_nr < nr; put_nr++) {
        const struct state_layout *best = NULL;
        for (uint32_t i = 0; i < layout->nr_states; i++) {
            const struct state_layout *state = &layout->states[i];
            bool later = used_bytes(state) < below || (used_bytes(state) == below && i > last);
            if (state_is_suspended(plan, state) && later &&
                (!best || used_bytes(state) > used_bytes(best)))
                best = state;
        }
        if (!best)
            break;
        below = used_bytes(best);
        last = (uint32_t)(best - layout->states);
        put_state(writer, layout->future, best);
    }
    writer->hidden_states += nr - put_nr;
}

/* All states in which something lives: not Returned and Panicked. */
static void put_whole_states(struct writer *writer, const struct future_layout *layout)
{
    for (uint32_t i = 0; i < layout->nr_states; i++) {
        const struct state_layout *state = &layout->states[i];
        if (state->nr_slots || state_is_suspended(writer->report->types->plan, state))
            put_state(writer, layout->future, state);
    }
}

/* "  because: a 17,000 -> b 16,900 -> buf: [u8; 16384] 16,384" */
static void put_chain(const struct writer *writer, const struct future_layout *layout)
{
    struct arena arena;
    struct text line, name;
    uint32_t nr;
    arena_init(&arena);
    text_init(&line);
    text_init(&name);
    const struct chain_link *links =
        future_chain(&writer->report->chains, layout->future->future->type, &arena, &nr);
    text_append_str(&line, "  big because of ");
    for (uint32_t i = 0; i < nr; i++) {
        text_clear(&name);
        text_append_str(&line, i ? " → " : "");
        if (links[i].future.v) {
            types_report_type_name(writer->report, links[i].future, NAME_PATH, &name);
        } else {
            bool awaited = strcmp(links[i].slot, "__awaitee") == 0;
            text_printf(&name, "%s: ", awaited ? "the awaited" : links[i].slot);
            types_report_type_name(writer->report, links[i].type, NAME_SHORT, &name);
        }
        if (links[i].future.v)
            append_future(writer, text_str(&name), &line);
        else
            display_escape(text_str(&name), &line);
        text_append_char(&line, ' ');
        append_number(&line, links[i].size_bytes);
        text_append_str(&line, " B");
    }
    if (nr)
        put_cut(writer, &line);
    text_deinit(&line);
    text_deinit(&name);
    arena_deinit(&arena);
}

static void put_future(struct writer *writer, const struct future_layout *layout)
{
    put_head(writer, layout);
    if (!layout->future->type)
        return;
    if (writer->whole)
        put_whole_states(writer, layout);
    else
        put_brief_states(writer, layout);
    if (!layout->nr_states)
        put(writer, "  its states hold too many variables to be shown\n");
    put_chain(writer, layout);
    if (layout->waste_bytes) {
        put(writer, "  waste: ");
        put_number(writer, layout->waste_bytes, 0);
        put(writer, " B more than its fullest state uses\n");
    }
    put(writer, "\n");
}

/* --- the table ------------------------------------------------------------------------------- */

static void put_table(const struct writer *writer)
{
    const struct types_report *report = writer->report;
    size_t rows = report->nr_sized < TABLE_ROWS ? report->nr_sized : TABLE_ROWS;
    if (!rows)
        return;
    display_bold(writer->display, true);
    put(writer, "       SIZE      WASTE  FUTURE\n");
    display_bold(writer->display, false);
    for (size_t i = 0; i < rows; i++) {
        const struct future_layout *layout = types_report_layout(report, i);
        struct text name, left, right;
        text_init(&name);
        text_init(&left);
        text_init(&right);
        struct text number;
        text_init(&number);
        append_number(&number, layout->future->size_bytes);
        text_printf(&left, "%*s", NUMBER_COLUMNS, text_str(&number));
        text_clear(&number);
        if (layout->has_waste)
            append_number(&number, layout->waste_bytes);
        else
            text_append_char(&number, '?');
        text_printf(&left, "%*s  ", NUMBER_COLUMNS, text_str(&number));
        text_deinit(&number);
        types_report_future_name(report, layout->future, &name);
        display_escape(text_str(&name), &left);
        const char *file = layout->future->file;
        append_place(writer, file && writer->display->columns < 100 ? last_steps(file, 1) : file,
                     layout->future->line, &right);
        display_cut_front(&right, writer->display->columns / 3);
        put_line(writer, &left, &right);
        text_deinit(&name);
        text_deinit(&left);
        text_deinit(&right);
    }
}

static void put_totals(const struct writer *writer)
{
    const struct types_report *report = writer->report;
    struct text line;
    text_init(&line);
    append_number(&line, report->nr_layouts);
    if (report->nr_layouts < report->types->nr) {
        text_append_str(&line, " of ");
        append_number(&line, report->types->nr);
    }
    text_printf(&line, " future type%s", report->types->nr == 1 ? "" : "s");
    if (report->nr_sized) {
        text_append_str(&line, ", total ");
        append_number(&line, report->total_bytes);
        text_append_str(&line, " B, mean ");
        append_number(&line, (report->total_bytes + report->nr_sized / 2) / report->nr_sized);
        text_append_str(&line, " B, largest ");
        append_number(&line, report->largest_bytes);
        text_append_str(&line, " B");
    }
    if (report->nr_layouts > report->nr_sized) {
        text_append_str(&line, "; size unknown of ");
        append_number(&line, report->nr_layouts - report->nr_sized);
        text_append_str(&line, " (declared only)");
    }
    display_bold(writer->display, true);
    put_cut(writer, &line);
    display_bold(writer->display, false);
    text_deinit(&line);
}

/* --- the parts around ------------------------------------------------------------------------ */

static void put_names_only(const struct writer *writer)
{
    const struct types_report *report = writer->report;
    size_t limit = report->options->top   ? report->options->top
                   : report->options->all ? report->nr_named
                                          : 2 * TABLE_ROWS;
    if (!report->nr_named)
        return;
    put(writer, "Task futures that its symbols name, sizes unknown:\n");
    for (size_t i = 0; i < report->nr_named && i < limit; i++) {
        struct text name, line;
        text_init(&name);
        text_init(&line);
        types_report_task_name(report, report->named[i], &name);
        text_append_str(&line, "  ");
        display_escape(text_str(&name), &line);
        put_cut(writer, &line);
        text_deinit(&name);
        text_deinit(&line);
    }
    if (limit < report->nr_named) {
        put_number(writer, report->nr_named - limit, 0);
        put(writer, " more: --all shows them\n");
    }
}

/* A sentence of any length, broken at spaces. */
static void put_sentence(const struct writer *writer, const char *head, const char *sentence)
{
    struct text safe;
    text_init(&safe);
    text_append_str(&safe, head);
    display_escape(sentence, &safe);
    unsigned column = 0;
    for (const char *word = text_str(&safe); *word;) {
        size_t length = strcspn(word, " ");
        if (column && column + 1 + length > writer->display->columns) {
            put(writer, "\n  ");
            column = 2;
        } else if (column) {
            put(writer, " ");
            column++;
        }
        fprintf(writer->display->out, "%.*s", (int)length, word);
        column += (unsigned)length;
        word += length + (word[length] == ' ');
    }
    put(writer, "\n");
    text_deinit(&safe);
}

static void put_opening(const struct writer *writer)
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
    put_cut(writer, &line);
    text_deinit(&line);
    if (*reason)
        put_sentence(writer, "Why: ", reason);
    for (uint32_t i = 0; i < plan->nr_notes; i++)
        put_sentence(writer, "Note: ", plan_string(plan, plan->notes[i].text));
    put(writer, "\n");
}

static void put_left_out(const struct writer *writer, size_t shown)
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
        append_number(&line, futures);
        text_printf(&line, " future type%s", futures == 1 ? "" : "s");
    }
    if (writer->hidden_states)
        text_printf(&line, "%s %zu state%s", futures ? "," : "", writer->hidden_states,
                    writer->hidden_states == 1 ? "" : "s");
    if (writer->hidden_slots)
        text_printf(&line, "%s %zu variable%s", futures || writer->hidden_states ? "," : "",
                    writer->hidden_slots, writer->hidden_slots == 1 ? "" : "s");
    display_dim(writer->display, true);
    put_cut(writer, &line);
    put(writer, "More: --match TEXT, --top N or --all show futures whole.\n");
    display_dim(writer->display, false);
    text_deinit(&line);
}

void types_write_text(const struct types_report *report, const struct display *display)
{
    const struct types_options *options = report->options;
    struct writer writer = {
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
        put_future(&writer, types_report_layout(report, i));
    if (!report->nr_layouts)
        return;
    put_table(&writer);
    put_totals(&writer);
    put_left_out(&writer, shown);
}
