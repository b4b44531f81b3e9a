/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "report/plan_report.h"

#include <string.h>

#include "model/names.h"
#include "report/json_text.h"

static const char *const details[] = {"none", "names", "full"};

static const char *kind_name(const struct plan_task *task)
{
    static const char *const names[NR_PLAN_TASK_KINDS] = {
        [PLAN_TASK_ASYNC] = "async",
        [PLAN_TASK_BLOCKING] = "blocking",
        [PLAN_TASK_WORKER] = "worker",
    };
    return names[task->kind];
}

/* NULL where it is unknown; another one's own name. */
static const char *scheduler_name(const struct plan *plan, const struct plan_task *task)
{
    static const char *const names[NR_PLAN_SCHEDULERS] = {
        [PLAN_SCHEDULER_MULTI_THREAD] = "multi_thread",
        [PLAN_SCHEDULER_CURRENT_THREAD] = "current_thread",
        [PLAN_SCHEDULER_LOCAL] = "local",
        [PLAN_SCHEDULER_BLOCKING] = "blocking pool",
    };
    const char *own = plan_string(plan, task->scheduler);
    return names[task->scheduler_kind] ? names[task->scheduler_kind] : *own ? own : NULL;
}

static const char *name_source(const struct plan_task *task)
{
    static const char *const names[NR_PLAN_NAME_SOURCES] = {
        [PLAN_NAME_NONE] = "none",
        [PLAN_NAME_DWARF] = "debug info",
        [PLAN_NAME_SYMBOL] = "symbol",
        [PLAN_NAME_DROP_GLUE] = "drop glue",
    };
    return names[task->name_source];
}

static const char *machine_name(uint32_t machine)
{
    return machine == 62 ? "x86-64" : machine == 183 ? "aarch64" : "other";
}

/* --- text ------------------------------------------------------------------------------------ */

static void put_escaped(const struct display *display, const char *head, const char *raw)
{
    struct text text;
    text_init(&text);
    display_escape(raw, &text);
    fprintf(display->out, "%s%s\n", head, text_str(&text));
    text_deinit(&text);
}

static void put_task(const struct display *display, const struct names *names,
                     const struct plan_task *task)
{
    const struct plan *plan = names->plan;
    const char *kind = kind_name(task), *scheduler = scheduler_name(plan, task);
    struct text name, line;
    text_init(&name);
    text_init(&line);
    if (task->future.v)
        names_type(names, plan_string(plan, task->future), NAME_PATH, &name);
    if (task->vtable_addr)
        text_printf(&line, "  %#10llx %7u  ", (unsigned long long)task->vtable_addr,
                    task->trailer_offset);
    else
        text_append_str(&line, "    (unknown)       -  ");
    struct text safe;
    text_init(&safe);
    display_escape(scheduler ? scheduler : "?", &safe);
    text_printf(&line, "%-9s%-15s", kind ? kind : "?", text_str(&safe));
    text_deinit(&safe);
    display_escape(name.length ? text_str(&name) : "(not named)", &line);
    display_cut(&line, display->columns);
    fprintf(display->out, "%s\n", text_str(&line));
    text_deinit(&name);
    text_deinit(&line);
}

static void put_sources(const struct plan *plan, const struct display *display)
{
    for (uint32_t i = 0; i < plan->nr_sources; i++) {
        const struct plan_source *source = &plan->sources[i];
        struct text line;
        text_init(&line);
        struct text role;
        text_init(&role);
        display_escape(plan_string(plan, source->role), &role);
        text_printf(&line, "  %-16s", text_str(&role));
        text_deinit(&role);
        display_escape(plan_string(plan, source->path), &line);
        fprintf(display->out, "%s\n", text_str(&line));
        text_deinit(&line);
        if (i == 9 && plan->nr_sources > 12) {
            fprintf(display->out, "  ... and %u more\n", plan->nr_sources - 10);
            break;
        }
    }
}

void plan_write_text(const struct loaded_plan *loaded, const char *binary,
                     const struct display *display)
{
    const struct plan *plan = &loaded->plan;
    const struct plan_facts *facts = plan->facts;
    const char *build_id = plan_string(plan, facts->build_id);
    FILE *out = display->out;
    struct names names;
    names_init(&names, plan);
    put_escaped(display, "", binary);
    fprintf(out, "  machine         %s\n", machine_name(facts->machine));
    put_escaped(display, "  build id        ", *build_id ? build_id : "none");
    fprintf(out, "  detail          %s\n", details[facts->detail]);
    if (facts->detail_reason.v)
        put_escaped(display, "  why             ", plan_string(plan, facts->detail_reason));
    fprintf(out, "  debug info      DWARF %u, %u units (%u of Rust), %llu entries, %llu bytes\n",
            facts->dwarf_version, facts->nr_units, facts->nr_rust_units,
            (unsigned long long)facts->nr_dies, (unsigned long long)facts->debug_bytes);
    fprintf(out,
            "  plan            %llu bytes, %s: %u types, %u futures, %u task kinds, "
            "%u trait object vtables\n",
            (unsigned long long)loaded->size_bytes, loaded->is_mapped ? "cached" : "compiled now",
            plan->nr_types, plan->nr_futures, plan->nr_tasks, plan->nr_vtables);
    for (uint32_t i = 0; i < plan->nr_notes; i++)
        put_escaped(display, "  note            ", plan_string(plan, plan->notes[i].text));
    fputs("\nRead from:\n", out);
    put_sources(plan, display);
    if (plan->nr_tasks)
        fputs("\nTask kinds:\n      VTABLE TRAILER  KIND     SCHEDULER      FUTURE\n", out);
    else
        fputs("\nNo task kinds: no vtable of tokio 1.23 or later is in the program.\n", out);
    for (uint32_t i = 0; i < plan->nr_tasks; i++)
        put_task(display, &names, &plan->tasks[i]);
    names_deinit(&names);
}

/* --- JSON ------------------------------------------------------------------------------------ */

static json_t *task_json(const struct names *names, const struct plan_task *task)
{
    const struct plan *plan = names->plan;
    bool found = task->vtable_addr != 0;
    struct text name;
    json_t *json = json_object();
    text_init(&name);
    names_type(names, plan_string(plan, task->future), NAME_PATH, &name);
    json_object_set_new(json, "runtime", json_string("tokio"));
    json_object_set_new(json, "kind", json_text(kind_name(task)));
    json_object_set_new(json, "scheduler", json_text(scheduler_name(plan, task)));
    json_object_set_new(json, "future", json_text_or_null(text_str(&name)));
    json_object_set_new(json, "full_name", json_text_or_null(plan_string(plan, task->future)));
    json_object_set_new(json, "named_by", json_text(name_source(task)));
    json_object_set_new(json, "vtable_address",
                        found ? json_bytes(task->vtable_addr) : json_null());
    json_object_set_new(json, "poll_address", found ? json_bytes(task->poll_addr) : json_null());
    json_object_set_new(json, "trailer_offset_bytes",
                        found ? json_bytes(task->trailer_offset) : json_null());
    json_object_set_new(json, "scheduler_offset_bytes",
                        found ? json_bytes(task->scheduler_offset) : json_null());
    json_object_set_new(json, "id_offset_bytes", found ? json_bytes(task->id_offset) : json_null());
    json_object_set_new(json, "cell_bytes",
                        task->cell.v ? json_bytes(plan_type(plan, task->cell)->size_bytes)
                                     : json_null());
    text_deinit(&name);
    return json;
}

static json_t *sources_json(const struct plan *plan)
{
    json_t *sources = json_array();
    for (uint32_t i = 0; i < plan->nr_sources; i++) {
        const struct plan_source *source = &plan->sources[i];
        json_t *json = json_object();
        json_object_set_new(json, "path", json_text(plan_string(plan, source->path)));
        json_object_set_new(json, "role", json_text(plan_string(plan, source->role)));
        json_object_set_new(json, "found", json_boolean(source->size_bytes != 0));
        json_object_set_new(json, "size_bytes", json_bytes(source->size_bytes));
        json_array_append_new(sources, json);
    }
    return sources;
}

static json_t *debug_info_json(const struct plan_facts *facts)
{
    json_t *json = json_object();
    json_object_set_new(json, "dwarf_version",
                        facts->dwarf_version ? json_bytes(facts->dwarf_version) : json_null());
    json_object_set_new(json, "units", json_bytes(facts->nr_units));
    json_object_set_new(json, "rust_units", json_bytes(facts->nr_rust_units));
    json_object_set_new(json, "unreadable_units", json_bytes(facts->nr_unreadable_units));
    json_object_set_new(json, "declared_futures", json_bytes(facts->nr_declared_futures));
    json_object_set_new(json, "entries", json_bytes(facts->nr_dies));
    json_object_set_new(json, "size_bytes", json_bytes(facts->debug_bytes));
    return json;
}

bool plan_write_json(const struct loaded_plan *loaded, const char *binary, FILE *out,
                     struct error *err)
{
    const struct plan *plan = &loaded->plan;
    const struct plan_facts *facts = plan->facts;
    struct names names;
    names_init(&names, plan);
    json_t *json = json_object(), *tasks = json_array(), *notes = json_array();
    for (uint32_t i = 0; i < plan->nr_tasks; i++)
        json_array_append_new(tasks, task_json(&names, &plan->tasks[i]));
    for (uint32_t i = 0; i < plan->nr_notes; i++)
        json_array_append_new(notes, json_text(plan_string(plan, plan->notes[i].text)));
    json_object_set_new(json, "schema", json_string("asyncmem.plan/1"));
    json_object_set_new(json, "binary", json_text(binary));
    json_object_set_new(json, "build_id", json_text_or_null(plan_string(plan, facts->build_id)));
    json_object_set_new(json, "machine", json_text(machine_name(facts->machine)));
    json_object_set_new(json, "detail", json_text(details[facts->detail]));
    json_object_set_new(json, "detail_reason",
                        json_text_or_null(plan_string(plan, facts->detail_reason)));
    json_object_set_new(json, "cached", json_boolean(loaded->is_mapped));
    json_object_set_new(json, "debug_info", debug_info_json(facts));
    json_object_set_new(json, "types", json_bytes(plan->nr_types));
    json_object_set_new(json, "futures", json_bytes(plan->nr_futures));
    json_object_set_new(json, "trait_object_vtables", json_bytes(plan->nr_vtables));
    json_object_set_new(json, "tasks", tasks);
    json_object_set_new(json, "sources", sources_json(plan));
    json_object_set_new(json, "notes", notes);
    names_deinit(&names);
    return json_write(json, out, err);
}
