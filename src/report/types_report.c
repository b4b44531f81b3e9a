/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "report/types_report.h"

#include <stdlib.h>
#include <string.h>

static bool contains(const char *text, const char *part)
{
    return text && strcasestr(text, part);
}

static bool is_selected(const struct types_report *report, const struct future_type *type)
{
    const struct types_options *options = report->options;
    if (options->min_bytes && (!type->type || type->size_bytes < options->min_bytes))
        return false;
    if (!options->match)
        return true;
    struct text full;
    text_init(&full);
    names_future(&report->types->names, type->future, NAME_FULL, &full);
    bool matches = contains(future_type_name(report->types, type), options->match) ||
                   contains(text_str(&full), options->match) ||
                   contains(type->file, options->match);
    text_deinit(&full);
    return matches;
}

static int more_waste_first(const void *a, const void *b)
{
    const struct future_layout *x = a, *y = b;
    if (x->waste_bytes != y->waste_bytes)
        return x->waste_bytes > y->waste_bytes ? -1 : 1;
    return x->future < y->future ? -1 : x->future > y->future;
}

static int by_name(const void *a, const void *b)
{
    const struct future_layout *x = a, *y = b;
    int order = strcmp(x->future->name, y->future->name); /* made before the sort */
    return order ? order : x->future < y->future ? -1 : x->future > y->future;
}

/* The task futures that only symbols name: each once, without the runtime's own. */
static void list_named(struct types_report *report)
{
    const struct plan *plan = report->types->plan;
    struct map seen;
    struct text name;
    map_init(&seen);
    text_init(&name);
    report->named = arena_alloc(&report->arena, plan->nr_tasks * sizeof(*report->named) + 1);
    for (uint32_t i = 0; i < plan->nr_tasks; i++) {
        bool is_new;
        map_put(&seen, plan->tasks[i].future.v, &is_new);
        if (!is_new || !plan->tasks[i].future.v || plan->tasks[i].kind != PLAN_TASK_ASYNC)
            continue;
        text_clear(&name);
        types_report_task_name(report, i, &name);
        if (!report->options->match || contains(text_str(&name), report->options->match))
            report->named[report->nr_named++] = i;
    }
    text_deinit(&name);
    map_deinit(&seen);
}

void types_report_init(struct types_report *report, const char *binary,
                       const struct future_types *types, const struct types_options *options)
{
    *report = (struct types_report){.binary = binary, .types = types, .options = options};
    arena_init(&report->arena);
    future_chains_init(&report->chains, types->plan, &report->arena);
    report->layouts = arena_alloc(&report->arena, types->nr * sizeof(*report->layouts) + 1);
    for (size_t i = 0; i < types->nr; i++) {
        const struct future_type *type = &types->rows[i];
        if (!is_selected(report, type))
            continue;
        struct future_layout *layout = &report->layouts[report->nr_layouts++];
        layout->future = type;
        if (!type->type)
            continue;
        report->nr_sized++;
        report->total_bytes += type->size_bytes;
        if (type->size_bytes > report->largest_bytes)
            report->largest_bytes = type->size_bytes;
    }
    if (types->plan->facts->detail != PLAN_DETAIL_FULL)
        list_named(report);
    if (options->sort == TYPES_SORT_WASTE && report->nr_sized) {
        for (size_t i = 0; i < report->nr_sized; i++)
            types_report_layout(report, i);
        qsort(report->layouts, report->nr_sized, sizeof(*report->layouts), more_waste_first);
    } else if (options->sort == TYPES_SORT_NAME && report->nr_sized) {
        for (size_t i = 0; i < report->nr_layouts; i++)
            future_type_name(types, report->layouts[i].future);
        qsort(report->layouts, report->nr_sized, sizeof(*report->layouts), by_name);
    }
}

const struct future_layout *types_report_layout(const struct types_report *report, size_t row)
{
    struct future_layout *layout = &report->layouts[row];
    const struct future_type *future = layout->future;
    if (future->type && !layout->states)
        future_layout_compute(layout, report->types->plan, future, (struct arena *)&report->arena);
    return layout;
}

void types_report_deinit(struct types_report *report)
{
    arena_deinit(&report->arena);
}

void types_report_future_name(const struct types_report *report, const struct future_type *future,
                              struct text *out)
{
    if (report->options->full_names)
        names_future(&report->types->names, future->future, NAME_FULL, out);
    else
        text_append_str(out, future_type_name(report->types, future));
}

void types_report_type_name(const struct types_report *report, plan_type_id type,
                            enum name_style style, struct text *out)
{
    const struct plan_type *row = plan_type(report->types->plan, type);
    const struct future_type *future = future_types_find(report->types, type);
    if (future)
        types_report_future_name(report, future, out);
    else if (row)
        names_type(&report->types->names, plan_string(report->types->plan, row->name),
                   report->options->full_names ? NAME_FULL : style, out);
    else
        text_append_char(out, '?');
}

void types_report_task_name(const struct types_report *report, uint32_t row, struct text *out)
{
    const struct plan *plan = report->types->plan;
    names_type(&report->types->names, plan_string(plan, plan->tasks[row].future),
               report->options->full_names ? NAME_FULL : NAME_PATH, out);
}
