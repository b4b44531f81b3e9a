/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* One future type for people: its states, their variables, what makes it big. */
#include <string.h>

#include "base/rust_path.h"
#include "model/leaf_names.h"
#include "report/types_writer.h"

enum { BRIEF_STATES = 2, BRIEF_SLOTS = 3, NUMBER_COLUMNS = 11 };

static void put_head(const struct types_writer *writer, const struct future_layout *layout)
{
    const struct future_type *future = layout->future;
    struct text name, left, right;
    text_init(&name);
    text_init(&left);
    text_init(&right);
    types_report_future_name(writer->report, future, &name);
    display_escape(text_str(&name), &left);
    text_printf(&right, "%s  ", future_kind_name(future));
    types_append_place(writer, future->file, future->line, &right);
    if (future->type) {
        text_append_str(&right, "  ");
        display_number(future->size_bytes, &right);
        text_printf(&right, " B");
        if (writer->whole)
            text_printf(&right, ", align %llu", (unsigned long long)future->align_bytes);
    } else {
        text_append_str(&right, "  size unknown (declared only)");
    }
    display_bold(writer->display, true);
    types_put_line(writer, &left, &right);
    display_bold(writer->display, false);
    text_deinit(&name);
    text_deinit(&left);
    text_deinit(&right);
}

/* A future's name for the middle of a line: its last two steps, whole with --full-names. */
static void append_future(const struct types_writer *writer, const char *name, struct text *out)
{
    size_t length = strlen(name);
    size_t hidden = rust_path_parent(name, length, 2);
    if (!hidden || writer->report->options->full_names)
        display_escape(name, out);
    else
        display_escape(name + hidden + strlen("::"), out);
}

/* "awaits socket read: Read<TcpStream>" */
static void append_awaited(const struct types_writer *writer, const struct state_layout *state,
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
        display_number(parts[i].bytes, out);
        text_printf(out, " %s", parts[i].words);
        any = true;
    }
    if (state->nr_hidden)
        text_printf(out, " (%u hidden variable%s of a name used twice)", state->nr_hidden,
                    state->nr_hidden == 1 ? "" : "s");
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
    } else {
        display_variable(name, out);
    }
}

static void put_slot(const struct types_writer *writer, const struct state_slot *slot)
{
    struct text line, type;
    text_init(&line);
    text_init(&type);
    types_report_type_name(writer->report, slot->type, NAME_SHORT, &type);
    text_append_str(&line, "      ");
    struct text number;
    text_init(&number);
    display_number(slot->size_bytes, &number);
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
    types_put_cut(writer, &line);
    text_deinit(&line);
    text_deinit(&type);
}

/* The biggest `nr` slots, in the order of their sizes; all by offset when the future is whole. */
static void put_slots(struct types_writer *writer, const struct state_layout *state)
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

static void put_state(struct types_writer *writer, const struct future_type *future,
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
        const char *base = file && file == future->file ? display_last_steps(file, 1) : file;
        types_append_place(writer, base, number, &line);
        if (macro) {
            text_append_str(&line, state->await->is_exact ? " in " : " (line of the fn) in ");
            display_escape(macro, &line);
        }
        append_awaited(writer, state, &line);
    }
    types_put_cut(writer, &line);
    text_append_str(&split, "      ");
    append_split(state, &split);
    display_dim(writer->display, true);
    types_put_cut(writer, &split);
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
static void put_brief_states(struct types_writer *writer, const struct future_layout *layout)
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
static void put_whole_states(struct types_writer *writer, const struct future_layout *layout)
{
    for (uint32_t i = 0; i < layout->nr_states; i++) {
        const struct state_layout *state = &layout->states[i];
        if (state->nr_slots || state_is_suspended(writer->report->types->plan, state))
            put_state(writer, layout->future, state);
    }
}

/* "  because: a 17,000 -> b 16,900 -> buf: [u8; 16384] 16,384" */
static void put_chain(const struct types_writer *writer, const struct future_layout *layout)
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
        display_number(links[i].size_bytes, &line);
        text_append_str(&line, " B");
    }
    if (nr)
        types_put_cut(writer, &line);
    text_deinit(&line);
    text_deinit(&name);
    arena_deinit(&arena);
}

void types_put_future(struct types_writer *writer, const struct future_layout *layout)
{
    put_head(writer, layout);
    if (!layout->future->type)
        return;
    if (writer->whole)
        put_whole_states(writer, layout);
    else
        put_brief_states(writer, layout);
    if (!layout->nr_states)
        types_put(writer, "  its states hold too many variables to be shown\n");
    put_chain(writer, layout);
    if (layout->waste_bytes) {
        types_put(writer, "  waste: ");
        types_put_number(writer, layout->waste_bytes, 0);
        types_put(writer, " B more than its fullest state uses\n");
    }
    types_put(writer, "\n");
}
