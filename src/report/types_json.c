/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* asyncmem.types/1; docs/JSON.md describes each key. */
#include <jansson.h>
#include <string.h>

#include "model/leaf_names.h"
#include "report/json_text.h"
#include "report/types_report.h"

static json_t *type_name_json(const struct types_report *report, plan_type_id type,
                              enum name_style style)
{
    struct text name;
    text_init(&name);
    types_report_type_name(report, type, style, &name);
    json_t *json = json_text(text_str(&name));
    text_deinit(&name);
    return json;
}

static json_t *waits_for_json(const struct types_report *report, plan_type_id type)
{
    struct text name;
    text_init(&name);
    types_report_type_name(report, type, NAME_PATH, &name);
    json_t *json = json_text(leaf_name(text_str(&name)));
    text_deinit(&name);
    return json;
}

static json_t *await_json(const struct types_report *report, const struct state_layout *state)
{
    const struct plan *plan = report->types->plan;
    if (!state_is_suspended(plan, state))
        return json_null();
    uint32_t line;
    const char *file = state_await_file(plan, state, &line);
    const char *macro = state_macro(plan, state);
    json_t *json = json_object();
    json_object_set_new(json, "file", json_text(file));
    json_object_set_new(json, "line", json_line(line));
    json_object_set_new(json, "in_macro", json_text(macro));
    json_object_set_new(json, "line_is_exact", json_boolean(!macro || state->await->is_exact));
    json_object_set_new(json, "macro_file",
                        json_text(macro ? plan_file_path(plan, state->variant->file) : NULL));
    json_object_set_new(json, "macro_line", json_line(macro ? state->variant->line : 0));
    json_object_set_new(json, "future",
                        state->awaited.v ? type_name_json(report, state->awaited, NAME_PATH)
                                         : json_null());
    json_object_set_new(json, "waits_for",
                        state->awaited.v ? waits_for_json(report, state->awaited) : json_null());
    return json;
}

static json_t *slot_json(const struct types_report *report, const struct state_slot *slot)
{
    json_t *json = json_object();
    json_object_set_new(json, "name", json_text(slot->name));
    json_object_set_new(json, "type", type_name_json(report, slot->type, NAME_SHORT));
    json_object_set_new(json, "offset_bytes", json_bytes(slot->offset_bytes));
    json_object_set_new(json, "size_bytes", json_bytes(slot->size_bytes));
    json_object_set_new(json, "upvar", json_boolean(slot->is_upvar));
    return json;
}

static json_t *state_json(const struct types_report *report, const struct state_layout *state)
{
    json_t *json = json_object(), *slots = json_array();
    for (uint32_t i = 0; i < state->nr_slots; i++)
        json_array_append_new(slots, slot_json(report, &state->slots[i]));
    json_object_set_new(json, "name",
                        json_text(plan_string(report->types->plan, state->variant->name)));
    json_object_set_new(json, "await", await_json(report, state));
    json_object_set_new(json, "slots", slots);
    json_object_set_new(json, "hidden_slots", json_bytes(state->nr_hidden));
    json_object_set_new(json, "slot_bytes", json_bytes(state->slot_bytes));
    json_object_set_new(json, "awaited_bytes", json_bytes(state->awaited_bytes));
    json_object_set_new(json, "dead_upvar_bytes", json_bytes(state->dead_upvar_bytes));
    json_object_set_new(json, "other_states_bytes", json_bytes(state->other_states_bytes));
    json_object_set_new(json, "unexplained_bytes", json_bytes(state->unexplained_bytes));
    json_object_set_new(json, "discriminant_bytes", json_bytes(state->discriminant_bytes));
    return json;
}

static json_t *chain_json(const struct types_report *report, plan_type_id type)
{
    struct arena arena;
    arena_init(&arena);
    uint32_t nr;
    struct chain_link *links = future_chain(&report->chains, type, &arena, &nr);
    json_t *chain = json_array();
    for (uint32_t i = 0; i < nr; i++) {
        json_t *link = json_object();
        json_object_set_new(link, "future",
                            links[i].future.v ? type_name_json(report, links[i].future, NAME_PATH)
                                              : json_null());
        json_object_set_new(link, "slot", json_text(links[i].slot));
        json_object_set_new(link, "type", type_name_json(report, links[i].type, NAME_SHORT));
        json_object_set_new(link, "size_bytes", json_bytes(links[i].size_bytes));
        json_array_append_new(chain, link);
    }
    arena_deinit(&arena);
    return chain;
}

static json_t *future_json(const struct types_report *report, const struct future_layout *layout)
{
    const struct future_type *future = layout->future;
    bool sized = future->type != NULL;
    json_t *json = json_object(), *states = json_array();
    struct text name, full;
    text_init(&name);
    text_init(&full);
    types_report_future_name(report, future, &name);
    names_future(&report->types->names, future->future, NAME_FULL, &full);
    for (uint32_t i = 0; i < layout->nr_states; i++)
        json_array_append_new(states, state_json(report, &layout->states[i]));
    json_object_set_new(json, "name", json_text(text_str(&name)));
    json_object_set_new(json, "full_name", json_text(text_str(&full)));
    json_object_set_new(json, "kind", json_text(future_kind_name(future)));
    json_object_set_new(json, "file", json_text(future->file));
    json_object_set_new(json, "line", json_line(future->line));
    json_object_set_new(json, "size_bytes", sized ? json_bytes(future->size_bytes) : json_null());
    json_object_set_new(json, "align_bytes", sized ? json_bytes(future->align_bytes) : json_null());
    json_object_set_new(json, "waste_bytes",
                        layout->has_waste ? json_bytes(layout->waste_bytes) : json_null());
    json_object_set_new(json, "states", states);
    json_object_set_new(json, "chain",
                        sized ? chain_json(report, future->future->type) : json_array());
    text_deinit(&name);
    text_deinit(&full);
    return json;
}

/* Without layouts: the task futures that symbols name. */
static void append_named(const struct types_report *report, json_t *futures)
{
    const struct plan *plan = report->types->plan;
    static const char *const unknown[] = {"kind",       "file",        "line",
                                          "size_bytes", "align_bytes", "waste_bytes"};
    for (size_t i = 0; i < report->nr_named; i++) {
        json_t *json = json_object();
        struct text name;
        text_init(&name);
        types_report_task_name(report, report->named[i], &name);
        json_object_set_new(json, "name", json_text(text_str(&name)));
        json_object_set_new(json, "full_name",
                            json_text(plan_string(plan, plan->tasks[report->named[i]].future)));
        for (size_t k = 0; k < sizeof(unknown) / sizeof(*unknown); k++)
            json_object_set_new(json, unknown[k], json_null());
        json_object_set_new(json, "states", json_array());
        json_object_set_new(json, "chain", json_array());
        json_array_append_new(futures, json);
        text_deinit(&name);
    }
}

static json_t *totals_json(const struct types_report *report, size_t nr)
{
    json_t *json = json_object();
    bool known = report->nr_sized > 0;
    json_object_set_new(json, "count", json_bytes(nr));
    json_object_set_new(json, "count_with_size", json_bytes(report->nr_sized));
    json_object_set_new(json, "total_bytes", json_bytes(report->total_bytes));
    json_object_set_new(json, "mean_bytes",
                        known ? json_real((double)report->total_bytes / (double)report->nr_sized)
                              : json_bytes(0));
    json_object_set_new(json, "largest_bytes", json_bytes(report->largest_bytes));
    return json;
}

bool types_write_json(const struct types_report *report, FILE *out, struct error *err)
{
    static const char *const details[] = {"none", "names", "full"};
    const struct plan *plan = report->types->plan;
    size_t limit = report->options->top ? report->options->top : report->nr_layouts;
    json_t *json = json_object(), *futures = json_array(), *notes = json_array();
    for (size_t i = 0; i < report->nr_layouts && i < limit; i++)
        json_array_append_new(futures, future_json(report, types_report_layout(report, i)));
    append_named(report, futures);
    for (uint32_t i = 0; i < plan->nr_notes; i++)
        json_array_append_new(notes, json_text(plan_string(plan, plan->notes[i].text)));
    json_object_set_new(json, "schema", json_string("asyncmem.types/1"));
    json_object_set_new(json, "binary", json_text(report->binary));
    json_object_set_new(json, "build_id",
                        json_text_or_null(plan_string(plan, plan->facts->build_id)));
    json_object_set_new(json, "detail", json_string(details[plan->facts->detail]));
    json_object_set_new(json, "detail_reason",
                        json_text_or_null(plan_string(plan, plan->facts->detail_reason)));
    json_object_set_new(json, "futures", futures);
    json_object_set_new(json, "totals", totals_json(report, report->nr_layouts + report->nr_named));
    json_object_set_new(json, "notes", notes);
    return json_write(json, out, err);
}
