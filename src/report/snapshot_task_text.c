/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * One task whole.  The await tree is drawn with the lines of `tree`: a frame, its slots below it,
 * then its children.  Frames lie in the order of their parents, not in drawing order, so the
 * children of each are linked first.
 */
#include <string.h>

#include "report/snapshot_held_text.h"
#include "report/snapshot_origins_text.h"
#include "report/snapshot_table_text.h"

enum { DRAWN_DEPTH = 20, SLOT_BYTES_COLUMNS = 10, HEAP_BYTES_COLUMNS = 13, ORIGIN_COLUMNS = 16 };

struct tree {
    const struct snapshot *snapshot;
    const struct display *display;
    const struct snapshot_frame *frames;
    uint32_t *first_child, *next; /* by position + 1; [0] holds the roots */
    uint32_t *parent;
    uint32_t task; /* id */
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

/* "        24 B "; of what has no place of its own nothing. */
static void append_inline(const struct snapshot_slot *slot, struct text *out)
{
    struct text digits;
    text_init(&digits);
    if (slot && slot->inline_bytes == UINT64_MAX)
        text_append_char(&digits, '?');
    else if (slot)
        display_number(slot->inline_bytes, &digits);
    text_printf(out, "%*s %s  ", SLOT_BYTES_COLUMNS, text_str(&digits), slot ? "B" : " ");
    text_deinit(&digits);
}

/* "     4,096 B heap  ", ">= 4,096 B heap", "gone". */
static void append_heap(const struct snapshot_holding *holding, struct text *out)
{
    bool is_gone = holding && holding->status == SLOT_GONE;
    bool is_nothing = holding && holding->is == HELD_EXACT && !holding->heap_bytes;
    struct text digits;
    text_init(&digits);
    if (is_gone)
        text_append_str(&digits, "gone");
    else if (!is_nothing)
        snapshot_append_held(&digits, holding ? holding->is : HELD_UNKNOWN,
                             holding ? holding->heap_bytes : 0);
    text_printf(out, "%*s%s", HEAP_BYTES_COLUMNS, text_str(&digits),
                is_gone || is_nothing ? "          " : " B heap  ");
    text_deinit(&digits);
    if (holding && holding->status == SLOT_UNSURE)
        text_append_str(out, "unsure: ");
}

/* What is gone is dim; without an account of the heap, all are. */
static void put_slot(const struct tree *tree, uint32_t at, const struct snapshot_slot *slot,
                     const struct snapshot_holding *holding)
{
    bool has_heap = tree->frames[at - 1].nr_holdings > 0;
    bool is_dim = !has_heap || (holding && holding->status == SLOT_GONE);
    struct text line;
    text_init(&line);
    append_branches(tree, at, false, &line);
    text_append_str(&line, tree->first_child[at] ? "│ " : "  ");
    append_inline(slot, &line);
    if (has_heap)
        append_heap(holding, &line);
    if (slot) {
        display_variable(snapshot_string(tree->snapshot, slot->name), &line);
        text_append_str(&line, ": ");
        display_escape(snapshot_string(tree->snapshot, slot->type), &line);
    } else {
        text_append_str(&line, snapshot_holding_words(holding ? holding->what : HOLDING_HIDDEN));
    }
    if (is_dim)
        display_dim(tree->display, true);
    snapshot_put_line(tree->display, &line);
    if (is_dim)
        display_dim(tree->display, false);
    text_deinit(&line);
}

/* Below a variable: who allocated what it holds, where the program is traced. */
static void put_origins(const struct tree *tree, uint32_t at,
                        const struct snapshot_holding *holding)
{
    struct text lines[MAX_ORIGIN_LINES] = {0};
    size_t nr;
    const uint32_t id =
        holding ? (uint32_t)(holding - snapshot_holdings(tree->snapshot, NULL)) + 1 : 0;
    if (!id || holding->status == SLOT_GONE)
        return;
    snapshot_append_origins(tree->snapshot, id, tree->task, lines, &nr);
    for (size_t i = 0; i < nr; i++) {
        struct text line;
        text_init(&line);
        append_branches(tree, at, false, &line);
        text_append_str(&line, tree->first_child[at] ? "│ " : "  ");
        text_printf(&line, "%*s%s", ORIGIN_COLUMNS, "", text_str(&lines[i]));
        display_dim(tree->display, true);
        snapshot_put_line(tree->display, &line);
        display_dim(tree->display, false);
        text_deinit(&line);
        text_deinit(&lines[i]);
    }
}

/* Slots and holdings are in the same order; what has no slot comes last. */
static void put_slots(const struct tree *tree, uint32_t at)
{
    const struct snapshot_frame *frame = &tree->frames[at - 1];
    const struct snapshot_state *state = &snapshot_states(tree->snapshot, NULL)[frame->state - 1];
    const struct snapshot_slot *slots = snapshot_slots(tree->snapshot, NULL);
    const struct snapshot_holding *holdings = snapshot_holdings(tree->snapshot, NULL);
    uint32_t next = 0; /* of the frame's holdings */
    for (uint32_t id = state->first_slot; id < state->first_slot + state->nr_slots; id++) {
        const struct snapshot_holding *holding = NULL;
        if (next < frame->nr_holdings && holdings[frame->first_holding - 1 + next].slot == id)
            holding = &holdings[frame->first_holding - 1 + next++];
        if (is_drop_flag(tree, &slots[id - 1]))
            continue;
        put_slot(tree, at, &slots[id - 1], holding);
        put_origins(tree, at, holding);
    }
    for (; next < frame->nr_holdings; next++) {
        const struct snapshot_holding *holding = &holdings[frame->first_holding - 1 + next];
        put_slot(tree, at, holding->slot ? &slots[holding->slot - 1] : NULL, holding);
        put_origins(tree, at, holding);
    }
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
    put_slots(tree, at);
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

static void put_tree(const struct snapshot *snapshot, const struct display *display, uint32_t id)
{
    struct arena arena;
    const struct snapshot_task *task = &snapshot_tasks(snapshot, NULL)[id - 1];
    struct tree tree = {.snapshot = snapshot, .display = display, .task = id};
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
    snapshot_put_spawn(snapshot, display, id);
    if (snapshot->tables[SNAPSHOT_HEAP].nr || task->held_is != HELD_UNKNOWN)
        snapshot_put_task_held(snapshot, display, id);
    put_tree(snapshot, display, id);
}
