/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What asyncmem.snapshot/1 says of the heap: of tasks, of their variables, of shared blocks, of the
 * whole.  Most variables of a hundred thousand tasks own nothing: what is said of these is a
 * constant.
 */
#include <string.h>

#include "report/snapshot_json_part.h"

/* As JSON has them: millions are written. */
static const char *const held_words[NR_HELD_IS] = {
    [HELD_UNKNOWN] = "null",
    [HELD_EXACT] = "\"exact\"",
    [HELD_AT_LEAST] = "\"at_least\"",
};

static const char *const status_words[NR_SLOT_STATUSES] = {
    [SLOT_UNKNOWN] = "null",
    [SLOT_LIVE] = "\"live\"",
    [SLOT_GONE] = "\"gone\"",
    [SLOT_UNSURE] = "\"unsure\"",
};

static const char *const class_words[NR_BLOCK_CLASSES] = {
    [BLOCK_UNKNOWN] = "\"unknown\"", [BLOCK_CELL] = "\"cell\"",
    [BLOCK_HELD] = "\"held\"",       [BLOCK_MAYBE_HELD] = "\"maybe_held\"",
    [BLOCK_SHARED] = "\"shared\"",   [BLOCK_RUNTIME] = "\"runtime\"",
    [BLOCK_OTHER] = "\"other\"",
};

void snapshot_json_put_is(struct text *out, const char *key, uint32_t held_is)
{
    json_key(out, key);
    json_put_word(out, held_words[held_is]);
}

/* --- a variable ------------------------------------------------------------------------------ */

#define HOLDING(bytes, is, requested, status)                                                      \
    ",\"heap_bytes\":" bytes ",\"heap_is\":" is ",\"requested_bytes\":" requested                  \
    ",\"status\":" status ",\"allocated_by\":null"

/* What is said of most. */
static const char not_known[] = HOLDING("null", "null", "null", "null"),
                  owns_nothing[] = HOLDING("0", "\"exact\"", "0", "\"live\""),
                  is_gone[] = HOLDING("0", "\"exact\"", "0", "\"gone\"");

void snapshot_json_holding(struct text *out, const struct snapshot *snapshot,
                           const struct snapshot_holding *holding)
{
    if (!holding) {
        text_append(out, not_known, sizeof(not_known) - 1);
        return;
    }
    if (holding->status == SLOT_GONE) { /* whatever stands there owns nothing */
        text_append(out, is_gone, sizeof(is_gone) - 1);
        return;
    }
    if (holding->status == SLOT_LIVE && holding->is == HELD_EXACT && !holding->heap_bytes &&
        !holding->requested_bytes) {
        text_append(out, owns_nothing, sizeof(owns_nothing) - 1);
        return;
    }
    bool is_known = holding->is != HELD_UNKNOWN;
    json_number(out, "heap_bytes", is_known ? holding->heap_bytes : UINT64_MAX);
    snapshot_json_put_is(out, "heap_is", holding->is);
    json_number(out, "requested_bytes", is_known ? holding->requested_bytes : UINT64_MAX);
    json_key(out, "status");
    json_put_word(out, status_words[holding->status]);
    snapshot_json_allocated_by(out, snapshot,
                               (uint32_t)(holding - snapshot_holdings(snapshot, NULL)) + 1);
}

static void put_apart(struct text *out, const struct snapshot *snapshot,
                      const struct snapshot_holding *holding)
{
    json_open(out, '{');
    json_number(out, "blocks", holding->nr_blocks);
    snapshot_json_holding(out, snapshot, holding);
    json_close(out, '}');
}

static void put_field(struct text *out, const struct snapshot *snapshot,
                      const struct snapshot_holding *holding)
{
    const struct snapshot_slot *slot = &snapshot_slots(snapshot, NULL)[holding->slot - 1];
    json_open(out, '{');
    put_str(out, snapshot, "name", slot->name);
    put_str(out, snapshot, "type", slot->type);
    json_number(out, "offset_bytes", slot->offset_bytes);
    json_number(out, "inline_bytes", slot->inline_bytes);
    snapshot_json_holding(out, snapshot, holding);
    json_close(out, '}');
}

void snapshot_json_holdings_apart(struct text *out, const struct snapshot *snapshot,
                                  const struct snapshot_holding *rows, size_t nr)
{
    static const char *const keys[] = {[HOLDING_HIDDEN] = ",\"hidden\":",
                                       [HOLDING_AWAITED] = ",\"awaited\":",
                                       [HOLDING_BOX] = ",\"box\":"};
    size_t at = 0;
    for (uint32_t what = HOLDING_HIDDEN; what <= HOLDING_BOX; what++) {
        text_append_str(out, keys[what]);
        if (at < nr && rows[at].what == what)
            put_apart(out, snapshot, &rows[at++]);
        else
            text_append_str(out, "null");
    }
    text_append_str(out, ",\"fields\":");
    json_open(out, '[');
    for (; at < nr; at++)
        put_field(out, snapshot, &rows[at]);
    json_close(out, ']');
}

/* --- a task ---------------------------------------------------------------------------------- */

void snapshot_json_task_held(struct text *out, const struct snapshot *snapshot,
                             const struct snapshot_task *task)
{
    bool is_known = task->held_is != HELD_UNKNOWN;
    json_number(out, "held_bytes", is_known ? task->held_bytes : UINT64_MAX);
    snapshot_json_put_is(out, "held_is", task->held_is);
    put_str(out, snapshot, "held_reason", task->held_reason);
    json_number(out, "maybe_held_bytes", is_known ? task->maybe_held_bytes : UINT64_MAX);
    json_number(out, "shared_bytes", is_known ? task->shared_bytes : UINT64_MAX);
    json_id(out, "cell_block_bytes", task->cell_block_bytes);
}

static void put_keeper(struct text *out, const struct snapshot *snapshot,
                       const struct snapshot_keeper *keeper)
{
    json_open(out, '{');
    json_id(out, "address", keeper->addr);
    json_key(out, "class");
    json_put_word(out, keeper->block_addr ? class_words[keeper->block_class] : "null");
    json_id(out, "block_address", keeper->block_addr);
    json_number(out, "block_bytes", keeper->block_addr ? keeper->block_bytes : UINT64_MAX);
    json_id(out, "task", keeper->task);
    put_str(out, snapshot, "variable", keeper->slot);
    put_str(out, snapshot, "place", keeper->place);
    json_close(out, '}');
}

/* Without an account nobody looked for keepers: null, not []. */
void snapshot_json_kept_by(struct text *out, const struct snapshot *snapshot,
                           const struct snapshot_task *task)
{
    const struct snapshot_keeper *keepers = snapshot_keepers(snapshot, NULL);
    bool is_known = task->nr_keepers || snapshot->tables[SNAPSHOT_HEAP].nr;
    json_key(out, "kept_by");
    if (task->status != TASK_FINISHED || !is_known) {
        json_put_word(out, "null");
        return;
    }
    json_open(out, '[');
    for (uint32_t i = 0; i < task->nr_keepers; i++)
        put_keeper(out, snapshot, &keepers[task->first_keeper - 1 + i]);
    json_close(out, ']');
}

/* --- the whole heap -------------------------------------------------------------------------- */

static void put_shared(struct text *out, const struct snapshot *snapshot,
                       const struct snapshot_shared *shared)
{
    const struct snapshot_shared_task *sharers = snapshot_shared_tasks(snapshot, NULL);
    json_open(out, '{');
    json_id(out, "address", shared->addr);
    put_str(out, snapshot, "type", shared->type);
    json_number(out, "bytes", shared->bytes);
    json_number(out, "owners", shared->nr_owners);
    json_key(out, "tasks");
    json_open(out, '[');
    for (uint32_t i = 0; i < shared->nr_tasks; i++)
        json_put_number(out, sharers[shared->first_task - 1 + i].task);
    json_close(out, ']');
    json_close(out, '}');
}

void snapshot_json_shared(struct snapshot_json *json)
{
    const struct snapshot *snapshot = json->report->snapshot;
    size_t nr;
    const struct snapshot_shared *rows = snapshot_shareds(snapshot, &nr);
    json_key(&json->text, "shared");
    if (!nr && !snapshot->tables[SNAPSHOT_HEAP].nr) {
        json_put_word(&json->text, "null");
        return;
    }
    json_open(&json->text, '[');
    for (size_t i = 0; i < nr; i++) {
        put_shared(&json->text, snapshot, &rows[i]);
        snapshot_json_flush(json, i + 1 < nr);
    }
    json_close(&json->text, ']');
}

void snapshot_json_heap(struct text *out, const struct snapshot *snapshot)
{
    size_t nr;
    const struct snapshot_heap *heap = snapshot_heaps(snapshot, &nr);
    json_key(out, "heap");
    if (!nr) {
        json_put_word(out, "null");
        return;
    }
    json_open(out, '{');
    json_number(out, "live_bytes", heap->live_bytes);
    json_number(out, "cells_bytes", heap->cells_bytes);
    json_number(out, "held_bytes", heap->held_bytes);
    json_number(out, "maybe_held_bytes", heap->maybe_held_bytes);
    json_number(out, "shared_bytes", heap->shared_bytes);
    json_number(out, "runtime_bytes", heap->runtime_bytes);
    json_number(out, "other_bytes", heap->other_bytes);
    json_number(out, "unknown_bytes", heap->unknown_bytes);
    json_number(out, "retained_bytes", heap->retained_bytes);
    json_number(out, "rss_bytes", heap->rss_bytes);
    json_number(out, "blocks", heap->nr_blocks);
    put_str(out, snapshot, "allocator", heap->allocator);
    put_str(out, snapshot, "how", heap->how);
    json_id(out, "fork_ns", heap->fork_ns);
    put_str(out, snapshot, "problem", heap->problem);
    json_close(out, '}');
}
