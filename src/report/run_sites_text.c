/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Where a run allocated: all of it, what was freed at once, what was never freed. */
#include "report/run_text_part.h"

enum { FEW_SITES = 8, FEW_TEMPORARY = 5, FEW_LEFT = 8 };

static void append_folded(const struct run_report *report, const struct display *display,
                          uint32_t site, struct text *out)
{
    /* Two lines, the second further in, and some loss where words break. */
    const unsigned columns = 2 * (display->columns - RUN_NOTE_COLUMNS) - 14;
    run_append_stack(&report->code, run_sites(report->run, NULL)[site - 1].node, columns, out);
}

static void append_error(const struct run_site_group *group, struct text *out)
{
    if (!group->error_bytes)
        return;
    text_append_str(out, " ± ");
    run_append_bytes(out, group->error_bytes);
}

static void append_more_stacks(const struct run_site_group *group, struct text *out)
{
    if (group->nr_stacks < 2)
        return;
    text_append_str(out, "\nthe first of ");
    run_append_number(out, group->nr_stacks);
    text_append_str(out, " ways that lead there");
}

/* --- all of it ------------------------------------------------------------------------------- */

static void add_site(struct run_table *table, const struct run_report *report,
                     const struct run_site_group *group)
{
    struct run_table_row *row = run_table_add(table);
    text_append_str(&row->cells[0], run_estimate(report));
    run_append_bytes(&row->cells[0], group->allocated_bytes);
    append_error(group, &row->cells[0]);
    text_append_str(&row->cells[1], run_estimate(report));
    run_append_number(&row->cells[1], group->allocations);
    if (group->peak_bytes != RUN_UNKNOWN) {
        text_append_str(&row->cells[2], run_estimate(report));
        run_append_bytes(&row->cells[2], group->peak_bytes);
    }
    text_append_str(&row->cells[3], run_estimate(report));
    run_append_bytes(&row->cells[3], group->live_bytes);
    run_append_group_place(report->run, group, &row->cells[4]);
    append_folded(report, table->display, group->biggest, &row->note);
    if (report->options->by == RUN_BY_SITE)
        append_more_stacks(group, &row->note);
}

static void append_sum(const struct run_report *report, struct text *out)
{
    const struct run_site_groups *sites = &report->sites;
    text_append_str(out, run_estimate(report));
    run_append_count(out, sites->sum.allocations, "allocation");
    text_append_str(out, " of ");
    text_append_str(out, run_estimate(report));
    run_append_bytes(out, sites->sum.allocated_bytes);
    text_append_str(out, " at ");
    run_append_count(out, sites->nr, "place");
}

void run_put_sites(const struct run_report *report, const struct display *display)
{
    static const struct run_table_column columns[] = {
        {"ALLOCATED", RUN_CELL_NUMBER}, {"COUNT", RUN_CELL_NUMBER}, {"AT PEAK", RUN_CELL_NUMBER},
        {"LIVE", RUN_CELL_NUMBER},      {"WHERE", RUN_CELL_PLACE},  {NULL, RUN_CELL_NAME}};
    const struct run_site_groups *sites = &report->sites;
    const size_t limit = run_limit(report, sites->nr, FEW_SITES);
    struct run_table table;
    struct text title;
    if (!sites->nr || run_facts(report->run)->stacks == RUN_STACKS_NONE)
        return;
    run_table_init(&table, display, columns);
    for (size_t i = 0; i < limit; i++)
        add_site(&table, report, &sites->rows[sites->by_allocated[i]]);
    text_init(&title);
    text_append_str(&title, "Where it was allocated: ");
    append_sum(report, &title);
    run_put_title(display, &title,
                  "Your own line first; below it how the program came there, the runtime's "
                  "polling left out. Live: not freed at the end. At peak: live when the heap was "
                  "largest, as far as the timeline saw it.");
    run_table_put(&table);
    run_put_more(report, display, limit < sites->nr, "site");
    run_table_deinit(&table);
    text_deinit(&title);
}

/* --- temporary ------------------------------------------------------------------------------- */

static void add_temporary(struct run_table *table, const struct run_report *report,
                          const struct run_site_group *group)
{
    struct run_table_row *row = run_table_add(table);
    text_append_str(&row->cells[0], run_estimate(report));
    run_append_number(&row->cells[0], group->temporary);
    text_append_str(&row->cells[1], run_estimate(report));
    run_append_number(&row->cells[1], group->allocations);
    text_append_str(&row->cells[2], run_estimate(report));
    run_append_bytes(&row->cells[2], group->allocated_bytes);
    run_append_group_place(report->run, group, &row->cells[3]);
    append_folded(report, table->display, group->biggest, &row->note);
}

void run_put_temporary(const struct run_report *report, const struct display *display)
{
    static const struct run_table_column columns[] = {{"TEMPORARY", RUN_CELL_NUMBER},
                                                      {"OF ALL", RUN_CELL_NUMBER},
                                                      {"ALLOCATED", RUN_CELL_NUMBER},
                                                      {"WHERE", RUN_CELL_PLACE},
                                                      {NULL, RUN_CELL_NAME}};
    const struct run_site_groups *sites = &report->sites;
    size_t nr = 0;
    while (nr < sites->nr && sites->rows[sites->by_temporary[nr]].temporary)
        nr++;
    const size_t limit = run_limit(report, nr, FEW_TEMPORARY);
    struct run_table table;
    struct text title;
    if (!nr || run_facts(report->run)->stacks == RUN_STACKS_NONE)
        return;
    run_table_init(&table, display, columns);
    for (size_t i = 0; i < limit; i++)
        add_temporary(&table, report, &sites->rows[sites->by_temporary[i]]);
    text_init(&title);
    text_append_str(&title, run_estimate(report));
    run_append_count(&title, sites->sum.temporary, "temporary allocation");
    run_put_title(display, &title,
                  "Freed before their thread allocated anything else: a buffer that is kept, or "
                  "one on the stack, would save them.");
    run_table_put(&table);
    run_put_more(report, display, limit < nr, "site");
    run_table_deinit(&table);
    text_deinit(&title);
}

/* --- never freed ----------------------------------------------------------------------------- */

/* "48.0 MB in 12,004 blocks" */
static void append_left_sum(const struct run_report *report, const struct run_left_sum *sum,
                            struct text *out)
{
    text_append_str(out, run_estimate(report));
    run_append_bytes(out, sum->live_bytes);
    text_append_str(out, " in ");
    text_append_str(out, run_estimate(report));
    run_append_count(out, sum->live_blocks, "block");
}

static void add_left(struct run_table *table, const struct run_report *report,
                     const struct run_left_group *left)
{
    const struct run *run = report->run;
    struct run_table_row *row = run_table_add(table);
    text_append_str(&row->cells[0], run_estimate(report));
    run_append_bytes(&row->cells[0], left->live_bytes);
    text_append_str(&row->cells[1], run_estimate(report));
    run_append_number(&row->cells[1], left->live_blocks);
    run_append_type(run, left->type, &row->cells[2]);
    if (run_facts(run)->stacks == RUN_STACKS_NONE)
        return;
    if (left->group)
        run_append_group_place(run, &report->sites.rows[left->group - 1], &row->cells[3]);
    else
        text_append_str(&row->cells[3], "unknown place");
    if (left->biggest_site)
        append_folded(report, table->display, left->biggest_site, &row->note);
}

static const char *left_words(const struct run *run)
{
    switch (run_facts(run)->ended_by) {
    case RUN_EXIT:
        return "Some is meant to live until the end (caches, the runtime itself): look for what "
               "grows with the work done.";
    case RUN_RUNNING:
        return "The program runs on, so much of it is in use: look for what grows with the work "
               "done.";
    default:
        return "The program was stopped in its work, so much of it was in use: look for what "
               "grows with the work done.";
    }
}

void run_put_left(const struct run_report *report, const struct display *display)
{
    static const struct run_table_column columns[] = {{"BYTES", RUN_CELL_NUMBER},
                                                      {"BLOCKS", RUN_CELL_NUMBER},
                                                      {"ALLOCATED BY", RUN_CELL_NAME},
                                                      {"WHERE", RUN_CELL_PLACE},
                                                      {NULL, RUN_CELL_NAME}};
    const struct run_lefts *left = &report->left;
    const size_t limit = run_limit(report, left->nr, FEW_LEFT);
    struct run_table table;
    struct text title;
    if (!left->nr)
        return;
    run_table_init(&table, display, columns);
    for (size_t i = 0; i < limit; i++)
        add_left(&table, report, &left->rows[i]);
    text_init(&title);
    text_append_str(&title, run_facts(report->run)->ended_by == RUN_EXIT
                                ? "Never freed: "
                                : "Not freed when the recording ended: ");
    append_left_sum(report, &left->sum, &title);
    run_put_title(display, &title, left_words(report->run));
    run_table_put(&table);
    run_put_more(report, display, limit < left->nr, "site");
    run_table_deinit(&table);
    text_deinit(&title);
}

/* --- task zero ------------------------------------------------------------------------------- */

void run_put_task_zero(const struct run_report *report, const struct display *display)
{
    const struct run_lefts *left = &report->left;
    struct text line;
    if (!left->task_zero.live_blocks)
        return;
    text_init(&line);
    text_append_str(&line, "Not freed, and allocated outside of tasks: ");
    append_left_sum(report, &left->task_zero, &line);
    run_put_title(display, &line, NULL);
    static const struct {
        enum run_kind kind;
        const char *label, *words;
    } parts[] = {{RUN_KIND_ROOT, "Root futures", " by what block_on runs (main, mostly)"},
                 {RUN_KIND_WORKER, "Workers", " by the runtime's threads between tasks"},
                 {RUN_KIND_THREAD, "Threads",
                  " by code before and beside the runtime (main, other threads)"}};
    uint64_t known_bytes = 0;
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
        append_left_sum(report, &left->kinds[parts[i].kind], &line);
        text_append_str(&line, parts[i].words);
        run_put_fact(display, parts[i].label, &line);
        text_clear(&line);
        known_bytes += left->kinds[parts[i].kind].live_bytes;
    }
    if (known_bytes < left->task_zero.live_bytes) {
        run_append_bytes(&line, left->task_zero.live_bytes - known_bytes);
        text_append_str(&line, " by nobody that is known");
        run_put_fact(display, "Unknown", &line);
    }
    text_deinit(&line);
}
