/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* One task of a run whole: --task ID. */
#include <inttypes.h>

#include "report/run_text_part.h"

static void put(const struct display *display, const char *label, struct text *line)
{
    run_put_fact(display, label, line);
    text_clear(line);
}

/* "spawned after 1.20 s, first polled after 1.20 s, last polled after 61.0 s (1.40 s before the end)" */
static void put_times(const struct run_report *report, const struct run_task *task,
                      const struct display *display, struct text *line)
{
    const struct {
        const char *words;
        uint64_t ns;
    } times[] = {{"spawned", task->spawned_ns},
                 {"first polled", task->first_poll_ns},
                 {"last polled", task->last_poll_ns},
                 {"ended", task->ended_ns}};
    for (size_t i = 0; i < sizeof(times) / sizeof(*times); i++) {
        if (!times[i].ns)
            continue;
        text_append_str(line, line->length ? ", " : "");
        text_append_str(line, times[i].words);
        text_append_str(line, " after ");
        run_append_duration(line, times[i].ns);
    }
    if (task->end == RUN_END_NOT && task->last_poll_ns) {
        text_append_str(line, "; not polled for the last ");
        run_append_duration(line, run_age_ns(report->run, task->last_poll_ns));
    }
    if (!line->length)
        text_append_str(line, "unknown");
    put(display, "Times", line);
}

static void put_polls(const struct run_task *task, const struct display *display, struct text *line)
{
    run_append_number(line, task->polls);
    text_append_str(line, " in ");
    run_append_duration(line, task->poll_ns);
    text_append_str(line, ", the longest ");
    run_append_duration(line, task->longest_poll_ns);
    text_append_str(line, "; slow ones (1 ms or more): ");
    run_append_number(line, task->slow_polls);
    text_append_str(line, "; woken ");
    run_append_count(line, task->scheduled, "time");
    put(display, "Polls", line);
}

static void put_memory(const struct run_task *task, const struct display *display,
                       struct text *line)
{
    run_append_count(line, task->allocations, "allocation");
    text_append_str(line, " of ");
    run_append_bytes(line, task->allocated_bytes);
    text_append_str(line, "; not freed: ");
    run_append_bytes(line, task->live_bytes);
    text_append_str(line, " in ");
    run_append_count(line, task->live_blocks, "block");
    text_append_str(line, "; at most ");
    run_append_bytes(line, task->peak_bytes);
    text_append_str(line, " at once");
    put(display, "Allocated", line);
    if (!task->is_thread) {
        run_append_bytes(line, task->cell_bytes);
        text_append_str(line, " for its future and the runtime's header");
        put(display, "Cell", line);
    }
    if (task->held_bytes == RUN_UNKNOWN)
        return;
    run_append_bytes(line, task->held_bytes);
    text_append_str(line, " besides, that its end would have freed, at the last snapshot");
    put(display, "Held", line);
}

static void append_await(const struct run *run, const struct run_await *await, struct text *out)
{
    if (await->future.v)
        display_escape(run_string(run, await->future), out);
    else
        text_append_str(out, "unknown future");
    if (await->file.v) {
        text_append_str(out, "  ");
        display_place(run_string(run, await->file), await->line, false, out);
    } else if (await->state.v) {
        text_append_str(out, "  ");
        display_escape(run_string(run, await->state), out);
    }
    if (await->waits_for.v) {
        text_append_str(out, "  waits for: ");
        display_escape(run_string(run, await->waits_for), out);
    }
}

static void put_line(const struct display *display, struct text *line)
{
    display_cut(line, display->columns);
    fprintf(display->out, "%s\n", text_str(line));
    text_clear(line);
}

/* The task's own future first; what it awaits below, one step in for each. */
static void put_tree(const struct run_report *report, const struct run_task *task,
                     const struct display *display, struct text *line)
{
    enum { SHOWN = 64, MAX_INDENT = 24 };
    const struct run_await *awaits = run_awaits(report->run, NULL);
    uint32_t chain[SHOWN], nr = 0;
    for (uint32_t id = task->await; id && nr < SHOWN; id = awaits[id - 1].parent)
        chain[nr++] = id;
    if (!nr)
        return;
    text_append_str(line, task->end == RUN_END_NOT ? "Where it is" : "Where it was when it ended");
    run_put_title(display, line, NULL);
    for (uint32_t i = nr; i-- > 0;) {
        const int depth = (int)(nr - 1 - i) * 3;
        if (i + 1 < nr)
            text_printf(line, "%*s└─ ", depth < MAX_INDENT ? depth - 3 : MAX_INDENT, "");
        append_await(report->run, &awaits[chain[i] - 1], line);
        put_line(display, line);
    }
}

/* The whole stack of its spawning, a frame a line, innermost first. */
static void put_spawn(const struct run_report *report, const struct run_task *task,
                      const struct display *display, struct text *line)
{
    struct run_stack stack;
    if (!task->site)
        return;
    run_stack_fold(&report->code, run_sites(report->run, NULL)[task->site - 1].node, &stack);
    if (!stack.nr_shown)
        return;
    text_append_str(line, "Spawned at");
    run_put_title(display, line, NULL);
    for (uint32_t i = stack.nr_shown; i-- > 0;) {
        text_append_str(line, "  ");
        run_append_frame(report->run, &stack.shown[i], line);
        text_append_str(line, "  ");
        run_append_frame_place(report->run, &stack.shown[i], line);
        put_line(display, line);
    }
}

static void put_first_line(const struct run_report *report, const struct run_task *task,
                           const struct display *display, struct text *line)
{
    static const char *const words[NR_RUN_ENDS] = {
        ", not ended",          ", finished",     ", aborted", ", panicked",
        ", dropped unfinished", ", never polled", ", ended"};
    text_printf(line, "%s %" PRIu64 ": ", task->is_thread ? "Thread" : "Task", task->id);
    run_append_type(report->run, task->type, line);
    text_append_str(line, words[task->end]);
    display_bold(display, true);
    display_sentence(display, "", text_str(line));
    display_bold(display, false);
    text_clear(line);
}

static const struct run_task *find_task(const struct run *run, uint64_t id)
{
    const struct run_task *task = run_tasks(run, NULL);
    while (task->id != id) /* run_report_init has seen it */
        task++;
    return task;
}

void run_put_task(const struct run_report *report, const struct display *display)
{
    const struct run_task *task = find_task(report->run, report->options->task);
    const struct run_type *type = &run_types(report->run, NULL)[task->type - 1];
    struct text line;
    text_init(&line);
    put_first_line(report, task, display, &line);
    if (type->runtime.v) {
        display_escape(run_string(report->run, type->runtime), &line);
        if (task->runtime_task_id)
            text_printf(&line, ", id %" PRIu64 " there", task->runtime_task_id);
        put(display, "Runtime", &line);
    }
    if (task->parent) {
        text_printf(&line, "task %" PRIu64, task->parent);
        put(display, "Spawned by", &line);
    }
    put_times(report, task, display, &line);
    if (!task->is_thread)
        put_polls(task, display, &line);
    put_memory(task, display, &line);
    if (task->waits_for.v) {
        display_escape(run_string(report->run, task->waits_for), &line);
        put(display, "Waits for", &line);
    }
    put_tree(report, task, display, &line);
    put_spawn(report, task, display, &line);
    text_deinit(&line);
}
