/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * asyncmem.snapshot/1; docs/JSON.md describes each key.  A hundred thousand tasks share a few
 * kinds and states: the text of each is made once and copied, up to a budget.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "report/snapshot_json_part.h"

enum {
    FLUSH_BYTES = 1 << 18,
    KEPT_BYTES = 64 << 20, /* of texts of kinds and states; beyond it they are made anew */
};

/* A future in one state: a piece up to each slot's own end, and what is behind the last. */
struct state_text {
    struct text pieces;
    uint32_t *ends;    /* of the pieces; nr_slots of them */
    struct text plain; /* the whole where nothing is known of the heap */
};

struct writer {
    struct snapshot_json json;
    const struct snapshot *snapshot;
    struct text *kinds;        /* by id - 1; empty: not made yet */
    struct state_text *states; /* the same */
    size_t kept_bytes;
};

static const char *const details[NR_SNAPSHOT_DETAILS] = {"none", "names", "full"};

static void flush(struct snapshot_json *json)
{
    fwrite(json->text.data, 1, json->text.length, json->out);
    text_clear(&json->text);
}

void snapshot_json_flush(struct snapshot_json *json, bool more)
{
    if (json->text.length < FLUSH_BYTES)
        return;
    flush(json);
    if (more)
        text_append_char(&json->text, ',');
}

/* --- the head -------------------------------------------------------------------------------- */

static void put_taken_at(struct text *out, int64_t taken_at_ns)
{
    char date[32], whole[64];
    int64_t ns = taken_at_ns % 1000000000, seconds = taken_at_ns / 1000000000 - (ns < 0);
    time_t time = (time_t)seconds;
    struct tm tm;
    bool known = taken_at_ns && gmtime_r(&time, &tm) &&
                 strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
    if (known)
        snprintf(whole, sizeof(whole), "%s.%09lldZ", date,
                 (long long)(ns < 0 ? ns + 1000000000 : ns));
    json_key(out, "taken_at");
    json_put_string(out, known ? whole : NULL);
}

static void put_facts(struct text *out, const struct snapshot *snapshot)
{
    const struct snapshot_facts *facts = snapshot_facts(snapshot);
    json_key(out, "schema");
    json_put_string(out, "asyncmem.snapshot/1");
    json_id(out, "pid", facts->pid);
    put_str(out, snapshot, "program", facts->program);
    json_key(out, "is_core");
    json_put_word(out, facts->is_core ? "true" : "false");
    put_taken_at(out, facts->taken_at_ns);
    json_number(out, "stop_ns", facts->is_core ? UINT64_MAX : facts->stop_ns);
    json_id(out, "threads", facts->nr_threads);
    json_key(out, "detail");
    json_put_string(out, details[facts->detail]);
    put_str(out, snapshot, "detail_reason", facts->detail_reason);
}

static void put_images(struct text *out, const struct snapshot *snapshot)
{
    size_t nr;
    const struct snapshot_image *images = snapshot_images(snapshot, &nr);
    json_key(out, "images");
    json_open(out, '[');
    for (size_t i = 0; i < nr; i++) {
        json_open(out, '{');
        json_number(out, "id", i + 1);
        put_str(out, snapshot, "path", images[i].path);
        put_str(out, snapshot, "build_id", images[i].build_id);
        json_key(out, "detail");
        json_put_string(out, details[images[i].detail]);
        put_str(out, snapshot, "detail_reason", images[i].detail_reason);
        json_close(out, '}');
    }
    json_close(out, ']');
}

static void put_runtimes(struct text *out, const struct snapshot *snapshot)
{
    size_t nr;
    const struct snapshot_runtime *runtimes = snapshot_runtimes(snapshot, &nr);
    json_key(out, "runtimes");
    json_open(out, '[');
    for (size_t i = 0; i < nr; i++) {
        json_open(out, '{');
        json_number(out, "id", i + 1);
        put_str(out, snapshot, "name", runtimes[i].name);
        json_id(out, "address", runtimes[i].addr);
        json_number(out, "owned_tasks", runtimes[i].owned_tasks);
        put_str(out, snapshot, "owned_tasks_reason", runtimes[i].owned_reason);
        json_number(out, "found_tasks", runtimes[i].found_tasks);
        json_close(out, '}');
    }
    json_close(out, ']');
}

/* --- a task ---------------------------------------------------------------------------------- */

/* What all tasks of a kind have: ,"image":...,"future_bytes":...  without the outer braces. */
static void make_kind(struct text *out, const struct snapshot *snapshot,
                      const struct snapshot_kind *kind)
{
    const struct snapshot_also *also = snapshot_alsos(snapshot, NULL);
    const struct snapshot_image *images = snapshot_images(snapshot, NULL);
    json_key(out, "image");
    json_put_string(out,
                    kind->image ? snapshot_string(snapshot, images[kind->image - 1].path) : NULL);
    json_key(out, "kind");
    json_put_string(out, snapshot_kind_name(kind->kind));
    json_key(out, "scheduler");
    json_put_string(out, snapshot_scheduler_name(kind->scheduler));
    put_str(out, snapshot, "future", kind->future);
    put_str(out, snapshot, "future_full", kind->full);
    put_str(out, snapshot, "future_reason", kind->reason);
    json_key(out, "future_also");
    json_open(out, '[');
    for (uint32_t i = 0; i < kind->nr_also; i++)
        json_put_string(out, snapshot_string(snapshot, also[kind->first_also - 1 + i].future));
    json_close(out, ']');
    json_number(out, "cell_bytes", kind->cell_bytes);
    json_number(out, "future_bytes", kind->future_bytes);
}

/* Whether the budget has room for a text that was made. */
static bool keep(struct writer *writer, size_t bytes)
{
    if (bytes > KEPT_BYTES - writer->kept_bytes)
        return false;
    writer->kept_bytes += bytes;
    return true;
}

/* The pieces of a state, one behind the other. */
static void make_state(struct text *out, const struct snapshot *snapshot,
                       const struct snapshot_state *state, uint32_t *ends)
{
    const struct snapshot_slot *slots = snapshot_slots(snapshot, NULL);
    put_str(out, snapshot, "future", state->future);
    put_str(out, snapshot, "state", state->state);
    put_str(out, snapshot, "file", state->file);
    json_id(out, "line", state->line);
    put_str(out, snapshot, "in_macro", state->macro);
    put_str(out, snapshot, "waits_for", state->waits_for);
    json_number(out, "future_bytes", state->future_bytes);
    json_key(out, "slots");
    json_open(out, '[');
    for (uint32_t i = 0; i < state->nr_slots; i++) {
        const struct snapshot_slot *slot = &slots[state->first_slot - 1 + i];
        text_append_str(out, i ? "},{" : "{");
        put_str(out, snapshot, "name", slot->name);
        put_str(out, snapshot, "type", slot->type);
        json_number(out, "offset_bytes", slot->offset_bytes);
        json_number(out, "inline_bytes", slot->inline_bytes);
        ends[i] = (uint32_t)out->length;
    }
}

/* Joins the pieces with what the frame's variables hold; NULL: nothing is known. */
static void put_pieces(struct text *out, const struct writer *writer, const struct state_text *made,
                       const struct snapshot_frame *frame)
{
    const struct snapshot_state *state = &snapshot_states(writer->snapshot, NULL)[frame->state - 1];
    const struct snapshot_holding *holding = snapshot_holdings(writer->snapshot, NULL),
                                  *end = holding;
    if (frame->nr_holdings) {
        holding += frame->first_holding - 1;
        end = holding + frame->nr_holdings;
    }
    size_t from = 0;
    for (uint32_t i = 0; i < state->nr_slots; i++) {
        text_append(out, made->pieces.data + from, made->ends[i] - from);
        from = made->ends[i];
        if (holding < end && holding->slot == state->first_slot + i)
            snapshot_json_holding(out, writer->snapshot, holding++);
        else
            snapshot_json_holding(out, writer->snapshot, NULL);
    }
    text_append(out, made->pieces.data + from, made->pieces.length - from);
    text_append_str(out, state->nr_slots ? "}]" : "]");
    snapshot_json_holdings_apart(out, writer->snapshot, holding, (size_t)(end - holding));
}

static void put_kind(struct writer *writer, uint32_t id)
{
    struct text *out = &writer->json.text, *kept = &writer->kinds[id - 1];
    text_append_char(out, ',');
    if (kept->length) {
        text_append(out, kept->data, kept->length);
        return;
    }
    struct text made;
    text_init(&made);
    make_kind(&made, writer->snapshot, &snapshot_kinds(writer->snapshot, NULL)[id - 1]);
    text_append(out, made.data, made.length);
    if (keep(writer, made.length))
        *kept = made;
    else
        text_deinit(&made);
}

static void state_text_deinit(struct state_text *made)
{
    text_deinit(&made->pieces);
    text_deinit(&made->plain);
    free(made->ends);
}

static void state_text_make(struct state_text *made, const struct writer *writer, uint32_t id)
{
    const struct snapshot_state *state = &snapshot_states(writer->snapshot, NULL)[id - 1];
    const struct snapshot_frame unknown = {.state = id};
    made->ends = memory_alloc((state->nr_slots + 1) * sizeof(*made->ends));
    make_state(&made->pieces, writer->snapshot, state, made->ends);
    put_pieces(&made->plain, writer, made, &unknown);
}

static void put_state(struct writer *writer, const struct snapshot_frame *frame)
{
    struct state_text *kept = &writer->states[frame->state - 1], made = *kept;
    struct text *out = &writer->json.text;
    text_append_char(out, ',');
    bool is_new = !kept->plain.length;
    if (is_new)
        state_text_make(&made, writer, frame->state);
    if (frame->nr_holdings)
        put_pieces(out, writer, &made, frame);
    else
        text_append(out, made.plain.data, made.plain.length);
    if (is_new && keep(writer, made.pieces.length + made.plain.length))
        *kept = made;
    else if (is_new)
        state_text_deinit(&made);
}

static void put_tree(struct writer *writer, const struct snapshot_task *task)
{
    const struct snapshot_frame *frames = snapshot_frames(writer->snapshot, NULL);
    struct text *out = &writer->json.text;
    bool *is_parent = memory_alloc(task->nr_frames + 1);
    for (uint32_t i = 0; i < task->nr_frames; i++)
        is_parent[frames[task->first_frame - 1 + i].parent] = true;
    json_key(out, "await_tree");
    json_open(out, '[');
    for (uint32_t i = 0; i < task->nr_frames; i++) {
        const struct snapshot_frame *frame = &frames[task->first_frame - 1 + i];
        json_open(out, '{');
        json_key(out, "parent");
        if (frame->parent)
            json_put_number(out, frame->parent - 1);
        else
            json_put_word(out, "-1");
        json_key(out, "leaf");
        json_put_word(out, is_parent[i + 1] ? "false" : "true");
        put_state(writer, frame);
        json_close(out, '}');
    }
    json_close(out, ']');
    free(is_parent);
}

static void put_task(struct writer *writer, uint32_t id)
{
    const struct snapshot_task *task = &snapshot_tasks(writer->snapshot, NULL)[id - 1];
    struct text *out = &writer->json.text, because;
    text_init(&because);
    snapshot_finished_because(task, &because);
    json_open(out, '{');
    json_number(out, "id", id);
    json_id(out, "runtime", task->runtime);
    json_id(out, "runtime_task_id", task->runtime_task_id);
    json_id(out, "cell_address", task->addr);
    json_key(out, "status");
    json_put_string(out, task_status_names[task->status]);
    json_key(out, "finished_because");
    json_put_string(out, text_str(&because));
    put_kind(writer, task->kind);
    snapshot_json_task_held(out, writer->snapshot, task);
    snapshot_json_kept_by(out, writer->snapshot, task);
    snapshot_json_spawned_by(out, writer->snapshot, id);
    put_tree(writer, task);
    put_str(out, writer->snapshot, "await_tree_reason", task->reason);
    json_close(out, '}');
    text_deinit(&because);
}

static void put_tasks(struct writer *writer)
{
    const struct snapshot_groups *groups = &writer->json.report->groups;
    json_key(&writer->json.text, "tasks");
    json_open(&writer->json.text, '[');
    for (size_t i = 0; i < groups->nr_tasks; i++) {
        put_task(writer, groups->tasks[i]);
        snapshot_json_flush(&writer->json, i + 1 < groups->nr_tasks);
    }
    json_close(&writer->json.text, ']');
}

/* --- the document ----------------------------------------------------------------------------- */

static void put_notes(struct text *out, const struct snapshot *snapshot)
{
    size_t nr;
    const struct snapshot_note *notes = snapshot_notes(snapshot, &nr);
    json_key(out, "notes");
    json_open(out, '[');
    for (size_t i = 0; i < nr; i++)
        json_put_string(out, snapshot_string(snapshot, notes[i].text));
    json_close(out, ']');
}

static void put_document(struct writer *writer)
{
    const struct snapshot_report *report = writer->json.report;
    struct text *out = &writer->json.text;
    json_open(out, '{');
    put_facts(out, writer->snapshot);
    put_images(out, writer->snapshot);
    put_runtimes(out, writer->snapshot);
    snapshot_json_by_status(out, report->groups.by_status);
    put_tasks(writer);
    snapshot_json_sums(out, report);
    snapshot_json_shared(&writer->json);
    snapshot_json_heap(out, writer->snapshot);
    snapshot_json_sites(&writer->json);
    put_notes(out, writer->snapshot);
    json_close(out, '}');
    text_append_char(out, '\n');
    flush(&writer->json);
}

bool snapshot_write_json(const struct snapshot_report *report, FILE *out, struct error *err)
{
    size_t nr_kinds, nr_states;
    snapshot_kinds(report->snapshot, &nr_kinds);
    snapshot_states(report->snapshot, &nr_states);
    struct writer writer = {.json = {.report = report, .out = out}, .snapshot = report->snapshot};
    writer.kinds = memory_alloc(nr_kinds * sizeof(*writer.kinds));
    writer.states = memory_alloc(nr_states * sizeof(*writer.states));
    errno = 0;
    put_document(&writer);
    for (size_t i = 0; i < nr_kinds; i++)
        text_deinit(&writer.kinds[i]);
    for (size_t i = 0; i < nr_states; i++)
        state_text_deinit(&writer.states[i]);
    free(writer.kinds);
    free(writer.states);
    text_deinit(&writer.json.text);
    if (fflush(out) != 0 || ferror(out))
        return error_set(err, ERROR_INPUT, "the output could not be written: %s",
                         strerror(errno ? errno : EIO));
    return true;
}
