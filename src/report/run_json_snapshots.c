/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The snapshots that a run stored on the way, as JSON: the document of `snapshot --json`, and the groups as the
 * text of a run shows them.
 */
#include "analysis/run_sum.h"
#include "model/snapshot_file.h"
#include "report/run_json_part.h"
#include "report/snapshot_held_text.h"

static void put_held(struct text *out, const char *key, const struct held_sum *held)
{
    json_number(out, key, held_sum_is(held) == HELD_UNKNOWN ? RUN_UNKNOWN : held->bytes);
}

/* What holds it, most first; what the text sums up is summed up here too. */
static void put_variables(struct text *out, const struct snapshot *snapshot,
                          const struct snapshot_group *group, const struct held_variable *rows,
                          size_t nr)
{
    const struct snapshot_slot *slots = snapshot_slots(snapshot, NULL);
    const size_t named = snapshot_nr_named(group, rows, nr);
    uint64_t others = 0, all = 0;
    json_key(out, "variables");
    json_open(out, '[');
    for (size_t i = 0; i < nr; i++) {
        run_sum_add(&all, rows[i].held.bytes);
        if (i >= named)
            run_sum_add(&others, rows[i].held.bytes);
        json_open(out, '{');
        run_json_word(out, "future", snapshot_string(snapshot, rows[i].future));
        run_json_word(out, "name",
                      rows[i].slot ? snapshot_string(snapshot, slots[rows[i].slot - 1].name)
                                   : snapshot_holding_words(rows[i].what));
        put_held(out, "held_bytes", &rows[i].held);
        json_close(out, '}');
    }
    json_close(out, ']');
    json_number(out, "other_variables_bytes", others);
    json_number(out, "no_variable_bytes", run_sum_less(group->held.bytes, all));
}

static void put_group(struct text *out, const struct snapshot_report *report, size_t at,
                      const struct held_variables *variables)
{
    size_t nr;
    const struct snapshot_group *group = &report->groups.by_both.rows[at];
    const struct held_variable *rows = held_variables_of(variables, at, &nr);
    json_open(out, '{');
    run_json_word(out, "future", group->name);
    run_json_word(out, "status", task_status_names[group->status]);
    json_number(out, "tasks", group->nr_tasks);
    json_number(out, "cell_bytes", group->cells.bytes);
    put_held(out, "held_bytes", &group->held);
    put_variables(out, report->snapshot, group, rows, nr);
    json_close(out, '}');
}

static void put_groups(struct text *out, const struct snapshot_report *report)
{
    const struct snapshot_group_list *list = &report->groups.by_both;
    struct held_variables variables;
    held_variables_init(&variables, &report->groups, list);
    json_key(out, "groups");
    json_open(out, '[');
    for (size_t i = 0; i < list->nr; i++)
        put_group(out, report, i, &variables);
    json_close(out, ']');
    held_variables_deinit(&variables);
}

/* The document of `snapshot --json` as a value. */
static bool put_snapshot(struct run_json *json, const struct run_snapshot *row, struct error *err)
{
    const char *bytes = json->run->tables[RUN_SNAPSHOT_BYTES].rows;
    const struct snapshot_options options = {.match = json->report->options->match,
                                             .top = json->report->options->top};
    struct snapshot snapshot;
    struct snapshot_report inner;
    struct error problem = {0};
    if (!snapshot_file_parse(&snapshot, bytes + row->first_byte, row->nr_bytes, &problem)) {
        json_put_word(&json->text, "null");
        run_json_word(&json->text, "problem", problem.message);
        return true;
    }
    bool ok = true;
    if (snapshot_report_init(&inner, &snapshot, &options, &problem)) {
        fwrite(json->text.data, 1, json->text.length, json->out);
        text_clear(&json->text);
        ok = snapshot_write_json(&inner, json->out, err);
        text_append_char(&json->text, ','); /* the document was written: nothing is left to see */
        put_groups(&json->text, &inner);
        snapshot_report_deinit(&inner);
    } else {
        json_put_word(&json->text, "null");
    }
    snapshot_deinit(&snapshot);
    return ok;
}

bool run_json_snapshots(struct run_json *json, struct error *err)
{
    static const char *const words[NR_RUN_SNAPSHOT_WHYS] = {"peak", "shutdown", "exit"};
    size_t nr;
    bool ok = true;
    const struct run_snapshot *rows = run_snapshots(json->run, &nr);
    json_key(&json->text, "snapshots");
    json_open(&json->text, '[');
    for (size_t i = 0; i < nr && ok; i++) {
        json_open(&json->text, '{');
        json_number(&json->text, "t_ns", rows[i].t_ns);
        json_number(&json->text, "live_bytes", rows[i].live_bytes);
        run_json_word(&json->text, "why", words[rows[i].why]);
        json_key(&json->text, "snapshot");
        ok = put_snapshot(json, &rows[i], err);
        text_append_str(&json->text, i + 1 < nr ? "}," : "}");
    }
    text_append_char(&json->text, ']');
    return ok;
}
