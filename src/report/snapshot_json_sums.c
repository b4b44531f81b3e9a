/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The sums of asyncmem.snapshot/1: tasks by type and by await point with what they keep, the
 * variables that hold most, the sizes of futures.
 */
#include <string.h>

#include "analysis/held_variables.h"
#include "report/snapshot_json_part.h"

enum { GROUP_VARIABLES = 5 };

/* The sum, or null, the bound that holds and why. */
static void put_sum(struct text *out, const struct snapshot_sum *sum, const char *reason)
{
    json_number(out, "cell_bytes", sum->nr_unknown ? UINT64_MAX : sum->bytes);
    json_number(out, "cell_bytes_at_least", sum->bytes);
    json_key(out, "cell_bytes_reason");
    json_put_string(out, !sum->nr_unknown      ? NULL
                         : reason && reason[0] ? reason
                                               : "the size of some cells is not known");
}

void snapshot_json_by_status(struct text *out, const uint64_t by_status[NR_TASK_STATUSES])
{
    json_key(out, "by_status");
    json_open(out, '{');
    for (size_t i = 0; i < NR_TASK_STATUSES; i++)
        json_number(out, task_status_names[i], by_status[i]);
    json_close(out, '}');
}

static size_t nr_shown(const struct snapshot_report *report, size_t nr)
{
    unsigned top = report->options->top;
    return top && top < nr ? top : nr;
}

/* --- what is held ---------------------------------------------------------------------------- */

static void put_held(struct text *out, const char *key, const char *key_is,
                     const struct held_sum *sum)
{
    enum held_is is = held_sum_is(sum);
    json_number(out, key, is == HELD_UNKNOWN ? UINT64_MAX : sum->bytes);
    snapshot_json_put_is(out, key_is, is);
}

static void put_variable(struct text *out, const struct snapshot *snapshot,
                         const struct held_variable *variable)
{
    const struct snapshot_slot *slots = snapshot_slots(snapshot, NULL);
    static const struct snapshot_slot hidden;
    const struct snapshot_slot *slot = variable->slot ? &slots[variable->slot - 1] : &hidden;
    json_open(out, '{');
    put_str(out, snapshot, "future", variable->future);
    put_str(out, snapshot, "variable", slot->name);
    put_str(out, snapshot, "type", slot->type);
    json_key(out, "hidden");
    json_put_word(out, variable->what == HOLDING_HIDDEN ? "true" : "false");
    json_key(out, "awaited");
    json_put_word(out, variable->what == HOLDING_AWAITED ? "true" : "false");
    json_key(out, "box");
    json_put_word(out, variable->what == HOLDING_BOX ? "true" : "false");
    put_held(out, "heap_bytes", "heap_is", &variable->held);
    json_number(out, "tasks", variable->nr_tasks);
    json_number(out, "largest_bytes", variable->largest_bytes);
    json_id(out, "largest_task", variable->largest_task);
    json_key(out, "most_from");
    if (variable->site) {
        json_open(out, '{');
        snapshot_json_place(out, snapshot, variable->site);
        json_number(out, "requested_bytes", variable->site_bytes);
        json_close(out, '}');
    } else {
        json_put_word(out, "null");
    }
    json_close(out, '}');
}

static void put_variables(struct text *out, const struct snapshot *snapshot,
                          const struct held_variable *rows, size_t nr)
{
    json_open(out, '[');
    for (size_t i = 0; i < nr; i++)
        put_variable(out, snapshot, &rows[i]);
    json_close(out, ']');
}

/* The few that hold most in one group; null where nothing is known of what its tasks hold. */
static void put_group_held(struct text *out, const struct snapshot *snapshot,
                           const struct snapshot_group *group,
                           const struct held_variables *variables, size_t at)
{
    size_t nr;
    const struct held_variable *rows = held_variables_of(variables, at, &nr);
    put_held(out, "held_bytes", "held_is", &group->held);
    json_key(out, "variables");
    if (held_sum_is(&group->held) == HELD_UNKNOWN)
        json_put_word(out, "null");
    else
        put_variables(out, snapshot, rows, nr < GROUP_VARIABLES ? nr : GROUP_VARIABLES);
}

static void put_by_variable(struct text *out, const struct snapshot_report *report)
{
    struct held_variables variables;
    json_key(out, "by_variable");
    if (!report->groups.has_held) {
        json_put_word(out, "null");
        return;
    }
    held_variables_init(&variables, &report->groups, NULL);
    put_variables(out, report->snapshot, variables.rows, nr_shown(report, variables.nr));
    held_variables_deinit(&variables);
}

/* --- tasks ----------------------------------------------------------------------------------- */

static void put_by_type(struct text *out, const struct snapshot_report *report)
{
    const struct snapshot *snapshot = report->snapshot;
    const struct snapshot_group_list *list = &report->groups.by_type;
    struct held_variables variables;
    held_variables_init(&variables, &report->groups, list);
    json_key(out, "by_type");
    json_open(out, '[');
    for (size_t i = 0; i < nr_shown(report, list->nr); i++) {
        const struct snapshot_group *group = &list->rows[i];
        const struct snapshot_kind *kind = &snapshot_kinds(snapshot, NULL)[group->kind - 1];
        json_open(out, '{');
        put_str(out, snapshot, "future", kind->future);
        json_number(out, "tasks", group->nr_tasks);
        put_sum(out, &group->cells, snapshot_string(snapshot, kind->reason));
        snapshot_json_by_status(out, group->by_status);
        put_group_held(out, snapshot, group, &variables, i);
        json_close(out, '}');
    }
    json_close(out, ']');
    held_variables_deinit(&variables);
}

static void put_by_await(struct text *out, const struct snapshot_report *report)
{
    const struct snapshot *snapshot = report->snapshot;
    const struct snapshot_group_list *list = &report->groups.by_await;
    struct held_variables variables;
    held_variables_init(&variables, &report->groups, list);
    json_key(out, "by_await");
    json_open(out, '[');
    for (size_t i = 0; i < nr_shown(report, list->nr); i++) {
        const struct snapshot_group *group = &list->rows[i];
        const struct snapshot_state *state =
            &snapshot_states(snapshot, NULL)[group->await.state - 1];
        json_open(out, '{');
        put_str(out, snapshot, "file", state->file);
        json_id(out, "line", state->line);
        put_str(out, snapshot, "in_macro", state->macro);
        put_str(out, snapshot, "future", state->future);
        json_number(out, "tasks", group->nr_tasks);
        put_sum(out, &group->cells, NULL);
        put_group_held(out, snapshot, group, &variables, i);
        json_close(out, '}');
    }
    json_close(out, ']');
    held_variables_deinit(&variables);
}

static void put_futures(struct text *out, const struct snapshot_futures *futures)
{
    uint64_t nr_sized = futures->nr - futures->sum.nr_unknown;
    char mean[40];
    double value = nr_sized ? (double)futures->sum.bytes / (double)nr_sized : 0;
    int length = snprintf(mean, sizeof(mean), "%.12g", value);
    if (strspn(mean, "0123456789") == (size_t)length)
        strcat(mean, ".0"); /* a real number, as jansson writes them */
    json_key(out, "futures");
    json_open(out, '{');
    json_number(out, "count", futures->nr);
    json_number(out, "count_with_size", nr_sized);
    json_number(out, "total_bytes", nr_sized || !futures->nr ? futures->sum.bytes : UINT64_MAX);
    json_key(out, "mean_bytes");
    json_put_word(out, nr_sized ? mean : "null");
    json_number(out, "largest_bytes", nr_sized ? futures->largest_bytes : UINT64_MAX);
    json_key(out, "reason");
    json_put_string(out, futures->sum.nr_unknown
                             ? "the size of some futures is not known; the figures are of those "
                               "that count_with_size counts"
                             : NULL);
    json_close(out, '}');
}

void snapshot_json_sums(struct text *out, const struct snapshot_report *report)
{
    put_by_type(out, report);
    put_by_await(out, report);
    put_by_variable(out, report);
    put_futures(out, &report->groups.futures);
}
