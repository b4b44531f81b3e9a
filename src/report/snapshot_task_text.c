/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * One task whole.  The await tree is drawn with the lines of `tree`: a frame, its slots below it,
 * then its children.  Frames lie in the order of their parents, not in drawing order, so the
 * children of each are linked first.
 */
#include <string.h>

#include "report/snapshot_writer.h"

enum { DRAWN_DEPTH = 20, SLOT_BYTES_COLUMNS = 10 };

struct tree {
    const struct snapshot *snapshot;
    const struct display *display;
    const struct snapshot_frame *frames;
    uint32_t *first_child, *next; /* by position + 1; [0] holds the roots */
    uint32_t *parent;
};

static void link_children(struct tree *tree, uint32_t nr, struct arena *arena)
{
    tree->first_child = arena_alloc(arena, (nr + 1) * sizeof(uint32_t));
    tree->next = arena_alloc(arena, (nr + 1) * sizeof(uint32_t));
    tree->parent = arena_alloc(arena, (nr + 1) * sizeof(uint32_t));
    for (uint32_t i = nr; i > 0; i--) {
        uint32_t parent = tree->frames[i - 1].parent;
        tree->parent[i] = parent;
        tree->next[i] = tree->first_child[parent];
        tree->first_child[parent] = i;
    }
}

/* The lines left of a frame: of its ancestors, and with `is_head` its own branch. */
static void append_branches(const struct tree *tree, uint32_t at, bool is_head, struct text *out)
{
    uint32_t path[DRAWN_DEPTH];
    unsigned depth = 0, left_out = 0;
    for (uint32_t i = at; i && tree->parent[i]; i = tree->parent[i]) {
        if (depth < DRAWN_DEPTH)
            path[depth++] = i;
        else if (++left_out > DRAWN_DEPTH)
            break; /* deep enough to say so */
    }
    text_append_str(out, left_out ? "… " : "");
    while (depth-- > 0) {
        bool last = !tree->next[path[depth]];
        if (depth == 0 && is_head)
            text_append_str(out, last ? "└─ " : "├─ ");
        else
            text_append_str(out, last ? "   " : "│  ");
    }
}

/* The compiler notes in a `__7: bool` whether another variable was moved away. */
static bool is_drop_flag(const struct tree *tree, const struct snapshot_slot *slot)
{
    return str_starts_with(snapshot_string(tree->snapshot, slot->name), "__") &&
           strcmp(snapshot_string(tree->snapshot, slot->type), "bool") == 0;
}

static void put_slot(const struct tree *tree, uint32_t at, const struct snapshot_slot *slot)
{
    struct text line;
    text_init(&line);
    append_branches(tree, at, false, &line);
    text_append_str(&line, tree->first_child[at] ? "│ " : "  ");
    struct text digits;
    text_init(&digits);
    if (slot->inline_bytes == UINT64_MAX)
        text_append_char(&digits, '?');
    else
        display_number(slot->inline_bytes, &digits);
    text_printf(&line, "%*s B  ", SLOT_BYTES_COLUMNS, text_str(&digits));
    text_deinit(&digits);
    display_variable(snapshot_string(tree->snapshot, slot->name), &line);
    text_append_str(&line, ": ");
    display_escape(snapshot_string(tree->snapshot, slot->type), &line);
    display_dim(tree->display, true);
    snapshot_put_line(tree->display, &line);
    display_dim(tree->display, false);
    text_deinit(&line);
}

/* "demo::handler  src/main.rs:33 in select!, waits for: sleep" */
static void put_frame(const struct tree *tree, uint32_t at)
{
    const struct snapshot *snapshot = tree->snapshot;
    const struct snapshot_state *state =
        &snapshot_states(snapshot, NULL)[tree->frames[at - 1].state - 1];
    struct text line;
    text_init(&line);
    append_branches(tree, at, true, &line);
    if (state->future.v)
        display_escape(snapshot_string(snapshot, state->future), &line);
    else
        text_append_str(&line, "unknown future");
    if (state->file.v) {
        text_append_str(&line, "  ");
        display_place(snapshot_string(snapshot, state->file), state->line, false, &line);
    }
    if (state->macro.v) {
        text_append_str(&line, " in ");
        display_escape(snapshot_string(snapshot, state->macro), &line);
    }
    if (strcmp(snapshot_string(snapshot, state->state), "Unresumed") == 0)
        text_append_str(&line, ", not begun");
    if (state->waits_for.v) {
        text_append_str(&line, "  waits for: ");
        display_escape(snapshot_string(snapshot, state->waits_for), &line);
    }
    snapshot_put_line(tree->display, &line);
    text_deinit(&line);
    const struct snapshot_slot *slots = snapshot_slots(snapshot, NULL);
    for (uint32_t i = 0; i < state->nr_slots; i++)
        if (!is_drop_flag(tree, &slots[state->first_slot - 1 + i]))
            put_slot(tree, at, &slots[state->first_slot - 1 + i]);
}

/* The frame drawn after this one: its child, its sibling, or a sibling of an ancestor. */
static uint32_t next_drawn(const struct tree *tree, uint32_t at)
{
    if (tree->first_child[at])
        return tree->first_child[at];
    while (at && !tree->next[at])
        at = tree->parent[at];
    return at ? tree->next[at] : 0;
}

static void put_tree(const struct snapshot *snapshot, const struct display *display,
                     const struct snapshot_task *task)
{
    struct arena arena;
    struct tree tree = {.snapshot = snapshot, .display = display};
    if (!task->nr_frames)
        return;
    arena_init(&arena);
    tree.frames = snapshot_frames(snapshot, NULL) + task->first_frame - 1;
    link_children(&tree, task->nr_frames, &arena);
    fputs("\n", display->out);
    for (uint32_t at = tree.first_child[0]; at; at = next_drawn(&tree, at))
        put_frame(&tree, at);
    arena_deinit(&arena);
}

/* --- what the task is ------------------------------------------------------------------------ */

static void append_bytes(struct text *out, uint64_t bytes)
{
    if (bytes == UINT64_MAX) {
        text_append_str(out, "of unknown size");
        return;
    }
    display_number(bytes, out);
    text_append_str(out, " B");
}

/* "cell 1,024 B at 0x7f0000001000, future 960 B"; roots have no cell. */
static void put_sizes(const struct display *display, const struct snapshot_task *task,
                      const struct snapshot_kind *kind)
{
    struct text line;
    text_init(&line);
    if (task->addr) {
        text_append_str(&line, "cell ");
        append_bytes(&line, kind->cell_bytes);
        text_printf(&line, " at 0x%llx, ", (unsigned long long)task->addr);
    }
    text_append_str(&line, "future ");
    append_bytes(&line, kind->future_bytes);
    snapshot_put_line(display, &line);
    text_deinit(&line);
}

static void append_owner(const struct snapshot *snapshot, const struct snapshot_task *task,
                         const struct snapshot_kind *kind, struct text *out)
{
    const char *name = snapshot_kind_name(kind->kind);
    text_printf(out, "%s task", name ? name : "a");
    if (task->runtime) {
        text_append_str(out, " of ");
        display_escape(
            snapshot_string(snapshot, snapshot_runtimes(snapshot, NULL)[task->runtime - 1].name),
            out);
        text_printf(out, " (runtime %u)", task->runtime);
    }
    if (task->runtime_task_id)
        text_printf(out, ", id %llu there", (unsigned long long)task->runtime_task_id);
}

static void put_facts(const struct snapshot *snapshot, const struct display *display,
                      const struct snapshot_task *task)
{
    const struct snapshot_kind *kind = &snapshot_kinds(snapshot, NULL)[task->kind - 1];
    const struct snapshot_also *also = snapshot_alsos(snapshot, NULL);
    struct text line;
    text_init(&line);
    append_owner(snapshot, task, kind, &line);
    snapshot_put_line(display, &line);
    text_deinit(&line);
    put_sizes(display, task, kind);
    if (kind->full.v &&
        strcmp(snapshot_string(snapshot, kind->full), snapshot_string(snapshot, kind->future)) != 0)
        display_sentence(display, "In full: ", snapshot_string(snapshot, kind->full));
    for (uint32_t i = 0; i < kind->nr_also; i++)
        display_sentence(display, "Or, of equal code: ",
                         snapshot_string(snapshot, also[kind->first_also - 1 + i].future));
    if (kind->reason.v)
        display_sentence(display, "Why not more: ", snapshot_string(snapshot, kind->reason));
    if (task->reason.v)
        display_sentence(display, "Await tree: ", snapshot_string(snapshot, task->reason));
}

static void put_because(const struct display *display, const struct snapshot_task *task)
{
    struct text because;
    if (task->status != TASK_FINISHED)
        return;
    text_init(&because);
    snapshot_finished_because(task, &because);
    if (because.length)
        display_sentence(display, "Still there: ", text_str(&because));
    text_deinit(&because);
}

void snapshot_put_task(const struct snapshot_report *report, const struct display *display,
                       uint32_t id)
{
    const struct snapshot *snapshot = report->snapshot;
    const struct snapshot_task *task = &snapshot_tasks(snapshot, NULL)[id - 1];
    const struct snapshot_kind *kind = &snapshot_kinds(snapshot, NULL)[task->kind - 1];
    struct text line;
    text_init(&line);
    text_printf(&line, "Task %u: ", id);
    snapshot_append_kind(snapshot, kind, &line);
    text_append_str(&line, ", ");
    snapshot_append_status(task->status, &line);
    display_bold(display, true);
    snapshot_put_line(display, &line);
    display_bold(display, false);
    text_deinit(&line);
    put_facts(snapshot, display, task);
    put_because(display, task);
    put_tree(snapshot, display, task);
}
