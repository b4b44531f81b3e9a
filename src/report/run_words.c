/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Words and lines of the text of a run. */
#include <string.h>

#include "report/run_text_part.h"

enum { DEFAULT_LINES = 20, LABEL_COLUMNS = 13 };

void run_append_number(struct text *out, uint64_t number)
{
    if (number == RUN_UNKNOWN)
        text_append_char(out, '?');
    else
        display_number(number, out);
}

void run_append_bytes(struct text *out, uint64_t bytes)
{
    if (bytes == RUN_UNKNOWN)
        text_append_char(out, '?');
    else
        display_bytes(bytes, out);
}

void run_append_duration(struct text *out, uint64_t ns)
{
    if (ns == RUN_UNKNOWN)
        text_append_char(out, '?');
    else
        display_duration(ns, out);
}

const char *run_estimate(const struct run_report *report)
{
    return report->sites.is_sampled ? "~" : "";
}

void run_append_count(struct text *out, uint64_t count, const char *what)
{
    run_append_number(out, count);
    text_printf(out, " %s%s", what, count == 1 ? "" : "s");
}

/* --- names ----------------------------------------------------------------------------------- */

/* Of what spawn_blocking was given, the closure itself. */
static void append_future(const struct run *run, uint32_t type, bool is_short, struct text *out)
{
    static const char wrapper[] = "BlockingTask<";
    const char *name = run_string(run, run_types(run, NULL)[type - 1].future);
    const char *inside = strstr(name, wrapper);
    struct text bare;
    text_init(&bare);
    if (*name)
        text_append_str(&bare, name);
    else
        text_printf(&bare, "unknown future #%u", type);
    if (inside && str_ends_with(name, ">")) {
        text_clear(&bare);
        text_append(&bare, inside + sizeof(wrapper) - 1, strlen(inside) - sizeof(wrapper));
    }
    display_escape(is_short ? display_last_words(text_str(&bare), 1) : text_str(&bare), out);
    text_deinit(&bare);
}

/* What has no future of its own. */
static const char *plain_name(const struct run *run, uint32_t type)
{
    const struct run_type *row = &run_types(run, NULL)[type - 1];
    return row->kind == RUN_KIND_WORKER                     ? "runtime workers"
           : row->kind == RUN_KIND_THREAD && !row->future.v ? "(outside of tasks)"
           : row->kind == RUN_KIND_UNKNOWN && !row->tasks   ? "(unknown)"
                                                            : NULL;
}

void run_append_type(const struct run *run, uint32_t type, struct text *out)
{
    const char *plain = type ? plain_name(run, type) : "(unknown)";
    if (plain) {
        text_append_str(out, plain);
        return;
    }
    const uint32_t kind = run_types(run, NULL)[type - 1].kind;
    if (kind != RUN_KIND_ASYNC && kind != RUN_KIND_UNKNOWN)
        text_printf(out, "%s: ", run_kind_names[kind]);
    append_future(run, type, false, out);
}

void run_append_type_short(const struct run *run, uint32_t type, struct text *out)
{
    enum { MAX_NAME = 60 };
    struct text name;
    const char *plain = type ? plain_name(run, type) : "(unknown)";
    text_init(&name);
    if (plain)
        text_append_str(&name, plain);
    else
        append_future(run, type, true, &name);
    display_cut(&name, MAX_NAME);
    text_append_str(out, text_str(&name));
    text_deinit(&name);
}

static bool is_outside(const struct run_type *type)
{
    return type->kind == RUN_KIND_ROOT || type->kind == RUN_KIND_WORKER ||
           type->kind == RUN_KIND_THREAD;
}

/* The type that had nearly all of what was allocated outside of tasks at the heap's highest point; 0: none. */
static uint32_t most_outside(const struct run_report *report)
{
    size_t nr;
    const struct run_type *types = run_types(report->run, &nr);
    const uint64_t *peaks = report->types.peaks;
    uint64_t sum = 0, most = 0;
    uint32_t found = 0;
    for (uint32_t i = 0; i < nr; i++) {
        if (!is_outside(&types[i]))
            continue;
        sum += peaks[i];
        found = peaks[i] > most ? i + 1 : found;
        most = peaks[i] > most ? peaks[i] : most;
    }
    return found && most >= sum / 5 * 4 && types[found - 1].kind == RUN_KIND_ROOT ? found : 0;
}

void run_append_step_type(const struct run_report *report, uint32_t type, struct text *out)
{
    if (type) {
        run_append_type_short(report->run, type, out);
        return;
    }
    const uint32_t most = most_outside(report);
    text_append_str(out, most ? "the root future " : "code outside of tasks");
    if (most)
        run_append_type_short(report->run, most, out);
}

void run_append_await(const struct run *run, uint32_t await, bool is_brief, struct text *out)
{
    const uint32_t shown = run_await_shown(run, await);
    if (!shown) {
        text_append_str(out, "unknown place");
        return;
    }
    const struct run_await *row = &run_awaits(run, NULL)[shown - 1];
    const char *file = run_string(run, row->file);
    display_place(is_brief ? display_last_steps(file, 1) : file, row->line, false, out);
}

/* "demo+0x1f3a0" */
static void append_unnamed(const struct run *run, const struct run_place *place, struct text *out)
{
    if (place->image) {
        const struct run_image *image = &run_images(run, NULL)[place->image - 1];
        display_escape(display_last_steps(run_string(run, image->path), 1), out);
        text_append_char(out, '+');
    }
    text_printf(out, "0x%llx", (unsigned long long)place->offset);
}

void run_append_frame(const struct run *run, const struct run_stack_frame *frame, struct text *out)
{
    const struct run_frame *row = frame->frame ? &run_frames(run, NULL)[frame->frame - 1] : NULL;
    const char *name = row ? run_string(run, row->function) : "";
    if (row && !*name)
        name = display_last_words(run_string(run, row->full), 2);
    if (*name)
        display_escape(name, out);
    else if (frame->place)
        append_unnamed(run, &run_places(run, NULL)[frame->place - 1], out);
}

void run_append_frame_place(const struct run *run, const struct run_stack_frame *frame,
                            struct text *out)
{
    if (!frame->frame)
        return;
    const struct run_frame *row = &run_frames(run, NULL)[frame->frame - 1];
    const char *file = run_string(run, row->file);
    if (*file)
        display_place(file, row->line, false, out);
}

void run_append_group_place(const struct run *run, const struct run_site_group *group,
                            struct text *out)
{
    const size_t before = out->length;
    run_append_frame_place(run, &group->own, out);
    if (out->length > before)
        return;
    if (group->own.place)
        run_append_frame(run, &group->own, out); /* of the user's own, but without a line */
    else if (group->outside.place)
        run_append_frame(run, &group->outside, out);
    else
        text_append_str(out, run_facts(run)->stacks == RUN_STACKS_NONE ? "no stack was taken"
                                                                       : "no stack is known");
}

/* --- stacks ---------------------------------------------------------------------------------- */

enum { MAX_FRAME_NAME = 56, ARROW_COLUMNS = 3, DOTS_COLUMNS = 4 };

/* The name of a shown frame, in at most so many columns (0: any); its columns with the arrow before it. */
static unsigned name_frame(const struct run *run, const struct run_stack_frame *frame,
                           unsigned columns, struct text *name)
{
    run_append_frame(run, frame, name);
    name->length = run_stack_name_bytes(text_str(name));
    if (name->data)
        name->data[name->length] = 0;
    if (columns)
        display_shorten_path(name, MAX_FRAME_NAME);
    display_cut(name, columns ? MAX_FRAME_NAME : 0);
    return display_width(text_str(name)) + ARROW_COLUMNS + (frame->gap_before ? DOTS_COLUMNS : 0);
}

static void append_shown(const struct run_stack *stack, const struct text *names, uint32_t first,
                         struct text *out)
{
    for (uint32_t i = 0; i < stack->nr_shown; i += i ? 1 : first) {
        const bool has_gap = stack->shown[i].gap_before || (i && i == first && first > 1);
        if (i)
            text_append_str(out, has_gap ? " → … → " : " → ");
        text_append_str(out, text_str(&names[i]));
    }
}

void run_append_stack(const struct run_stack_parts *code, uint32_t node, unsigned columns,
                      struct text *out)
{
    struct run_stack stack;
    struct text names[RUN_STACK_SHOWN] = {0};
    run_stack_fold(code, node, &stack);
    if (!stack.nr_shown) {
        text_append_str(out, node ? "only the runtime and std" : "its stack is not known");
        return;
    }
    /* The outermost and the innermost say most; between them there are as many as have room. */
    uint32_t first = stack.nr_shown;
    unsigned width = name_frame(code->run, &stack.shown[0], columns, &names[0]) + DOTS_COLUMNS;
    while (first > 1) {
        width += name_frame(code->run, &stack.shown[first - 1], columns, &names[first - 1]);
        if (columns && first < stack.nr_shown && width > columns + ARROW_COLUMNS)
            break;
        first--;
    }
    append_shown(&stack, names, first, out);
    for (uint32_t i = 0; i < stack.nr_shown; i++)
        text_deinit(&names[i]);
}

/* --- lines ----------------------------------------------------------------------------------- */

void run_put_title(const struct display *display, struct text *title, const char *words)
{
    fputs("\n", display->out);
    display_bold(display, true);
    display_sentence(display, "", text_str(title));
    display_bold(display, false);
    text_clear(title);
    if (!words)
        return;
    display_dim(display, true);
    display_sentence(display, "", words);
    display_dim(display, false);
}

void run_put_fact(const struct display *display, const char *label, const struct text *sentence)
{
    const struct display_wrap wrap = {LABEL_COLUMNS, LABEL_COLUMNS, true};
    fprintf(display->out, "%-*s", LABEL_COLUMNS, label);
    display_put_words(display, text_str(sentence), sentence->length, wrap);
}

size_t run_limit(const struct run_report *report, size_t nr, size_t few)
{
    const struct run_options *options = report->options;
    const size_t limit = options->all                ? nr
                         : options->top              ? options->top
                         : options->by == RUN_BY_ALL ? few
                                                     : DEFAULT_LINES;
    return nr < limit ? nr : limit;
}

bool run_is_shown(const struct run_report *report, enum run_by by)
{
    return report->options->by == RUN_BY_ALL || report->options->by == by;
}

void run_put_more(const struct run_report *report, const struct display *display, bool is_cut,
                  const char *by)
{
    if (!is_cut)
        return;
    display_dim(display, true);
    if (report->options->by == RUN_BY_ALL && !report->options->top)
        fprintf(display->out, "       … more: --by %s\n", by);
    else
        fputs("       … more: --all\n", display->out);
    display_dim(display, false);
}
