/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * asyncmem.snapshot/1; docs/JSON.md describes each key.  A hundred thousand tasks share a few
 * kinds and states: the text of each is made once and copied, up to a budget.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "report/json_stream.h"
#include "report/snapshot_report.h"

enum {
    FLUSH_BYTES = 1 << 18,
    KEPT_BYTES = 64 << 20, /* of texts of kinds and states; beyond it they are made anew */
};

struct writer {
    const struct snapshot_report *report;
    const struct snapshot *snapshot;
    FILE *out;
    struct text text;            /* not yet written */
    struct text *kinds, *states; /* by id - 1; empty: not made yet */
    size_t kept_bytes;
};

static const char *const details[NR_SNAPSHOT_DETAILS] = {"none", "names", "full"};

static void put_str(struct text *out, const struct snapshot *snapshot, const char *key,
                    snapshot_str str)
{
    json_key(out, key);
    json_put_string(out, snapshot_string(snapshot, str));
}

static void put_number(struct text *out, const char *key, uint64_t number)
{
    json_key(out, key);
    json_put_number(out, number);
}

/* 0 is none. */
static void put_id(struct text *out, const char *key, uint64_t id)
{
    json_key(out, key);
    if (id)
        json_put_number(out, id);
    else
        json_put_word(out, "null");
}

static void flush(struct writer *writer, size_t least)
{
    if (writer->text.length < least)
        return;
    fwrite(writer->text.data, 1, writer->text.length, writer->out);
    text_clear(&writer->text);
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
    put_id(out, "pid", facts->pid);
    put_str(out, snapshot, "program", facts->program);
    json_key(out, "is_core");
    json_put_word(out, facts->is_core ? "true" : "false");
    put_taken_at(out, facts->taken_at_ns);
    put_number(out, "stop_ns", facts->is_core ? UINT64_MAX : facts->stop_ns);
    put_id(out, "threads", facts->nr_threads);
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
        put_number(out, "id", i + 1);
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
        put_number(out, "id", i + 1);
        put_str(out, snapshot, "name", runtimes[i].name);
        put_id(out, "address", runtimes[i].addr);
        put_number(out, "owned_tasks", runtimes[i].owned_tasks);
        put_str(out, snapshot, "owned_tasks_reason", runtimes[i].owned_reason);
        put_number(out, "found_tasks", runtimes[i].found_tasks);
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
    put_number(out, "cell_bytes", kind->cell_bytes);
    put_number(out, "future_bytes", kind->future_bytes);
}

static void make_state(struct text *out, const struct snapshot *snapshot,
                       const struct snapshot_state *state)
{
    const struct snapshot_slot *slots = snapshot_slots(snapshot, NULL);
    put_str(out, snapshot, "future", state->future);
    put_str(out, snapshot, "state", state->state);
    put_str(out, snapshot, "file", state->file);
    put_id(out, "line", state->line);
    put_str(out, snapshot, "in_macro", state->macro);
    put_str(out, snapshot, "waits_for", state->waits_for);
    put_number(out, "future_bytes", state->future_bytes);
    json_key(out, "slots");
    json_open(out, '[');
    for (uint32_t i = 0; i < state->nr_slots; i++) {
        const struct snapshot_slot *slot = &slots[state->first_slot - 1 + i];
        json_open(out, '{');
        put_str(out, snapshot, "name", slot->name);
        put_str(out, snapshot, "type", slot->type);
        put_number(out, "offset_bytes", slot->offset_bytes);
        put_number(out, "inline_bytes", slot->inline_bytes);
        json_close(out, '}');
    }
    json_close(out, ']');
}

/* Appends a text that was made before, or makes and keeps it while the budget lasts. */
static bool put_kept(struct writer *writer, const struct text *kept)
{
    if (!kept->length)
        return false;
    text_append(&writer->text, kept->data, kept->length);
    return true;
}

static void keep(struct writer *writer, struct text *kept, size_t from)
{
    size_t length = writer->text.length - from;
    if (length > KEPT_BYTES - writer->kept_bytes)
        return;
    text_append(kept, writer->text.data + from, length);
    writer->kept_bytes += length;
}

static void put_kind(struct writer *writer, uint32_t id)
{
    text_append_char(&writer->text, ',');
    size_t from = writer->text.length;
    if (put_kept(writer, &writer->kinds[id - 1]))
        return;
    struct text made;
    text_init(&made);
    make_kind(&made, writer->snapshot, &snapshot_kinds(writer->snapshot, NULL)[id - 1]);
    text_append(&writer->text, made.data, made.length);
    keep(writer, &writer->kinds[id - 1], from);
    text_deinit(&made);
}

static void put_state(struct writer *writer, uint32_t id)
{
    text_append_char(&writer->text, ',');
    size_t from = writer->text.length;
    if (put_kept(writer, &writer->states[id - 1]))
        return;
    struct text made;
    text_init(&made);
    make_state(&made, writer->snapshot, &snapshot_states(writer->snapshot, NULL)[id - 1]);
    text_append(&writer->text, made.data, made.length);
    keep(writer, &writer->states[id - 1], from);
    text_deinit(&made);
}

static void put_tree(struct writer *writer, const struct snapshot_task *task)
{
    const struct snapshot_frame *frames = snapshot_frames(writer->snapshot, NULL);
    struct text *out = &writer->text;
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
        put_state(writer, frame->state);
        json_close(out, '}');
    }
    json_close(out, ']');
    free(is_parent);
}

static void put_task(struct writer *writer, uint32_t id)
{
    const struct snapshot_task *task = &snapshot_tasks(writer->snapshot, NULL)[id - 1];
    struct text *out = &writer->text, because;
    text_init(&because);
    snapshot_finished_because(task, &because);
    json_open(out, '{');
    put_number(out, "id", id);
    put_id(out, "runtime", task->runtime);
    put_id(out, "runtime_task_id", task->runtime_task_id);
    put_id(out, "cell_address", task->addr);
    json_key(out, "status");
    json_put_string(out, task_status_names[task->status]);
    json_key(out, "finished_because");
    json_put_string(out, text_str(&because));
    put_kind(writer, task->kind);
    put_tree(writer, task);
    put_str(out, writer->snapshot, "await_tree_reason", task->reason);
    json_close(out, '}');
    text_deinit(&because);
}

static void put_tasks(struct writer *writer)
{
    const struct snapshot_groups *groups = &writer->report->groups;
    json_key(&writer->text, "tasks");
    json_open(&writer->text, '[');
    for (size_t i = 0; i < groups->nr_tasks; i++) {
        put_task(writer, groups->tasks[i]);
        flush(writer, FLUSH_BYTES);
        if (!writer->text.length && i + 1 < groups->nr_tasks)
            text_append_char(&writer->text, ',');
    }
    json_close(&writer->text, ']');
}

/* --- the sums -------------------------------------------------------------------------------- */

/* The sum, or null, the bound that holds and why. */
static void put_sum(struct text *out, const struct snapshot_sum *sum, const char *reason)
{
    put_number(out, "cell_bytes", sum->nr_unknown ? UINT64_MAX : sum->bytes);
    put_number(out, "cell_bytes_at_least", sum->bytes);
    json_key(out, "cell_bytes_reason");
    json_put_string(out, !sum->nr_unknown      ? NULL
                         : reason && reason[0] ? reason
                                               : "the size of some cells is not known");
}

static void put_by_status(struct text *out, const uint64_t by_status[NR_TASK_STATUSES])
{
    json_key(out, "by_status");
    json_open(out, '{');
    for (size_t i = 0; i < NR_TASK_STATUSES; i++)
        put_number(out, task_status_names[i], by_status[i]);
    json_close(out, '}');
}

static size_t nr_shown(const struct writer *writer, const struct snapshot_group_list *list)
{
    unsigned top = writer->report->options->top;
    return top && top < list->nr ? top : list->nr;
}

static void put_by_type(struct writer *writer)
{
    const struct snapshot *snapshot = writer->snapshot;
    const struct snapshot_group_list *list = &writer->report->groups.by_type;
    struct text *out = &writer->text;
    json_key(out, "by_type");
    json_open(out, '[');
    for (size_t i = 0; i < nr_shown(writer, list); i++) {
        const struct snapshot_group *group = &list->rows[i];
        const struct snapshot_kind *kind = &snapshot_kinds(snapshot, NULL)[group->kind - 1];
        json_open(out, '{');
        put_str(out, snapshot, "future", kind->future);
        put_number(out, "tasks", group->nr_tasks);
        put_sum(out, &group->cells, snapshot_string(snapshot, kind->reason));
        put_by_status(out, group->by_status);
        json_close(out, '}');
    }
    json_close(out, ']');
}

static void put_by_await(struct writer *writer)
{
    const struct snapshot *snapshot = writer->snapshot;
    const struct snapshot_group_list *list = &writer->report->groups.by_await;
    struct text *out = &writer->text;
    json_key(out, "by_await");
    json_open(out, '[');
    for (size_t i = 0; i < nr_shown(writer, list); i++) {
        const struct snapshot_group *group = &list->rows[i];
        const struct snapshot_state *state =
            &snapshot_states(snapshot, NULL)[group->await.state - 1];
        json_open(out, '{');
        put_str(out, snapshot, "file", state->file);
        put_id(out, "line", state->line);
        put_str(out, snapshot, "in_macro", state->macro);
        put_str(out, snapshot, "future", state->future);
        put_number(out, "tasks", group->nr_tasks);
        put_sum(out, &group->cells, NULL);
        json_close(out, '}');
    }
    json_close(out, ']');
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
    put_number(out, "count", futures->nr);
    put_number(out, "count_with_size", nr_sized);
    put_number(out, "total_bytes", nr_sized || !futures->nr ? futures->sum.bytes : UINT64_MAX);
    json_key(out, "mean_bytes");
    json_put_word(out, nr_sized ? mean : "null");
    put_number(out, "largest_bytes", nr_sized ? futures->largest_bytes : UINT64_MAX);
    json_key(out, "reason");
    json_put_string(out, futures->sum.nr_unknown
                             ? "the size of some futures is not known; the figures are of those "
                               "that count_with_size counts"
                             : NULL);
    json_close(out, '}');
}

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
    struct text *out = &writer->text;
    json_open(out, '{');
    put_facts(out, writer->snapshot);
    put_images(out, writer->snapshot);
    put_runtimes(out, writer->snapshot);
    put_by_status(out, writer->report->groups.by_status);
    put_tasks(writer);
    put_by_type(writer);
    put_by_await(writer);
    put_futures(out, &writer->report->groups.futures);
    put_notes(out, writer->snapshot);
    json_close(out, '}');
    text_append_char(out, '\n');
    flush(writer, 1);
}

static void free_texts(struct text *texts, size_t nr)
{
    for (size_t i = 0; i < nr; i++)
        text_deinit(&texts[i]);
    free(texts);
}

bool snapshot_write_json(const struct snapshot_report *report, FILE *out, struct error *err)
{
    size_t nr_kinds, nr_states;
    snapshot_kinds(report->snapshot, &nr_kinds);
    snapshot_states(report->snapshot, &nr_states);
    struct writer writer = {.report = report, .snapshot = report->snapshot, .out = out};
    text_init(&writer.text);
    writer.kinds = memory_alloc(nr_kinds * sizeof(struct text));
    writer.states = memory_alloc(nr_states * sizeof(struct text));
    errno = 0;
    put_document(&writer);
    free_texts(writer.kinds, nr_kinds);
    free_texts(writer.states, nr_states);
    text_deinit(&writer.text);
    if (fflush(out) != 0 || ferror(out))
        return error_set(err, ERROR_INPUT, "the output could not be written: %s",
                         strerror(errno ? errno : EIO));
    return true;
}
