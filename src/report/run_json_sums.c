/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Sums of the JSON of a run: findings, what was never freed, tasks that did not end. */
#include "report/run_json_part.h"

/* --- findings -------------------------------------------------------------------------------- */

static void put_finding(struct run_json *json, const struct run_finding *finding)
{
    const struct run_step *steps = run_steps(json->run, NULL);
    struct text *out = &json->text;
    json_open(out, '{');
    run_json_word(out, "finding", run_finding_names[finding->kind]);
    run_json_type(out, json->run, finding->type);
    json_id(out, "group", finding->group);
    run_json_await_tree(out, json->run, finding->await);
    json_number(out, "bytes", finding->bytes);
    json_number(out, "of_bytes", finding->of_bytes);
    json_number(out, "count", finding->count);
    json_number(out, "of_count", finding->of_count);
    json_number(out, "ns", finding->ns);
    json_number(out, "type_from_bytes", finding->type_from_bytes);
    json_number(out, "type_to_bytes", finding->type_to_bytes);
    json_id(out, "from_ns", finding->from ? steps[finding->from - 1].t_ns : 0);
    json_id(out, "to_ns", finding->to ? steps[finding->to - 1].t_ns : 0);
    json_close(out, '}');
}

void run_json_findings(struct run_json *json)
{
    const struct run_findings *findings = &json->report->findings;
    json_key(&json->text, "findings");
    json_open(&json->text, '[');
    for (size_t i = 0; i < findings->nr; i++)
        put_finding(json, &findings->rows[i]);
    json_close(&json->text, ']');
}

/* --- never freed ----------------------------------------------------------------------------- */

static void put_left_sum(struct text *out, const char *key, const struct run_left_sum *sum)
{
    json_key(out, key);
    json_open(out, '{');
    json_number(out, "live_bytes", sum->live_bytes);
    json_number(out, "live_blocks", sum->live_blocks);
    json_close(out, '}');
}

static void put_task_zero(struct text *out, const struct run_lefts *left)
{
    struct run_left_sum unknown = left->task_zero;
    static const uint32_t kinds[] = {RUN_KIND_ROOT, RUN_KIND_WORKER, RUN_KIND_THREAD};
    json_key(out, "task_zero");
    json_open(out, '{');
    json_number(out, "live_bytes", left->task_zero.live_bytes);
    json_number(out, "live_blocks", left->task_zero.live_blocks);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        const struct run_left_sum *sum = &left->kinds[kinds[i]];
        put_left_sum(out, run_kind_names[kinds[i]], sum);
        unknown.live_bytes -=
            sum->live_bytes < unknown.live_bytes ? sum->live_bytes : unknown.live_bytes;
        unknown.live_blocks -=
            sum->live_blocks < unknown.live_blocks ? sum->live_blocks : unknown.live_blocks;
    }
    put_left_sum(out, "unknown", &unknown);
    json_close(out, '}');
}

void run_json_left(struct run_json *json)
{
    const struct run_lefts *left = &json->report->left;
    const size_t top = json->report->options->top;
    const size_t nr = top && top < left->nr ? top : left->nr;
    struct text *out = &json->text;
    put_left_sum(out, "never_freed_totals", &left->sum);
    json_key(out, "never_freed");
    json_open(out, '[');
    for (size_t i = 0; i < nr; i++) {
        json_open(out, '{');
        run_json_type(out, json->run, left->rows[i].type);
        json_id(out, "group", left->rows[i].group);
        json_id(out, "biggest_site", left->rows[i].biggest_site);
        json_number(out, "live_bytes", left->rows[i].live_bytes);
        json_number(out, "live_blocks", left->rows[i].live_blocks);
        json_close(out, '}');
        run_json_flush(json, i + 1 < nr);
    }
    json_close(out, ']');
    put_task_zero(out, left);
}

/* --- tasks that did not end ------------------------------------------------------------------ */

static void put_unfinished(struct run_json *json, const struct run_unfinished *row)
{
    struct text *out = &json->text;
    const struct run *run = json->run;
    json_open(out, '{');
    run_json_type(out, run, row->type);
    json_number(out, "tasks", row->tasks);
    json_number(out, "never_polled", row->never_polled);
    json_number(out, "held_bytes", row->held_bytes);
    run_json_word(out, "held_is",
                  row->held_bytes == RUN_UNKNOWN ? "unknown"
                  : row->held_unknown            ? "at_least"
                                                 : "exact");
    json_number(out, "live_bytes", row->live_bytes);
    json_number(out, "cell_bytes", row->cell_bytes);
    json_id(out, "oldest_age_ns", run_age_ns(run, row->oldest_ns));
    json_id(out, "newest_age_ns", run_age_ns(run, row->newest_ns));
    json_number(out, "since_last_poll_ns", run_age_ns(run, row->last_poll_ns));
    json_number(out, "longest_since_poll_ns", run_age_ns(run, row->first_last_poll_ns));
    run_json_string(out, run, "waits_for", row->waits_for);
    json_number(out, "example_task", run_tasks(run, NULL)[row->example - 1].id);
    run_json_await_tree(out, run, row->await);
    json_close(out, '}');
}

static void put_early(struct run_json *json, const struct run_ended_early *row)
{
    struct text *out = &json->text;
    json_open(out, '{');
    run_json_type(out, json->run, row->type);
    run_json_word(out, "ended", run_end_names[row->end]);
    json_number(out, "tasks", row->tasks);
    run_json_await_tree(out, json->run, row->await);
    json_close(out, '}');
}

void run_json_ends(struct run_json *json)
{
    const struct run_ends *ends = &json->report->ends;
    json_number(&json->text, "unfinished_tasks", ends->unfinished_tasks);
    json_key(&json->text, "unfinished");
    json_open(&json->text, '[');
    for (size_t i = 0; i < ends->nr_unfinished; i++) {
        put_unfinished(json, &ends->unfinished[i]);
        run_json_flush(json, i + 1 < ends->nr_unfinished);
    }
    json_close(&json->text, ']');
    json_number(&json->text, "ended_early_tasks", ends->early_tasks);
    json_key(&json->text, "ended_early");
    json_open(&json->text, '[');
    for (size_t i = 0; i < ends->nr_early; i++) {
        put_early(json, &ends->early[i]);
        run_json_flush(json, i + 1 < ends->nr_early);
    }
    json_close(&json->text, ']');
}
