/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The tables of a snapshot, and the one place that checks them (model/table).  What a row refers to is told
 * by `columns`, so that a new column is one line here.
 */
#include "model/snapshot.h"

#include <string.h>

#include "model/run_rows.h"

const uint32_t snapshot_row_bytes[NR_SNAPSHOT_TABLES] = {
    [SNAPSHOT_STRINGS] = 1,
    [SNAPSHOT_FACTS] = sizeof(struct snapshot_facts),
    [SNAPSHOT_IMAGES] = sizeof(struct snapshot_image),
    [SNAPSHOT_RUNTIMES] = sizeof(struct snapshot_runtime),
    [SNAPSHOT_KINDS] = sizeof(struct snapshot_kind),
    [SNAPSHOT_ALSO] = sizeof(struct snapshot_also),
    [SNAPSHOT_STATES] = sizeof(struct snapshot_state),
    [SNAPSHOT_SLOTS] = sizeof(struct snapshot_slot),
    [SNAPSHOT_TASKS] = sizeof(struct snapshot_task),
    [SNAPSHOT_FRAMES] = sizeof(struct snapshot_frame),
    [SNAPSHOT_NOTES] = sizeof(struct snapshot_note),
    [SNAPSHOT_HOLDINGS] = sizeof(struct snapshot_holding),
    [SNAPSHOT_SHARED] = sizeof(struct snapshot_shared),
    [SNAPSHOT_SHARED_TASKS] = sizeof(struct snapshot_shared_task),
    [SNAPSHOT_KEEPERS] = sizeof(struct snapshot_keeper),
    [SNAPSHOT_HEAP] = sizeof(struct snapshot_heap),
    [SNAPSHOT_SITE_FRAMES] = sizeof(struct snapshot_site_frame),
    [SNAPSHOT_SITES] = sizeof(struct snapshot_site),
    [SNAPSHOT_MAKERS] = sizeof(struct snapshot_maker),
    [SNAPSHOT_ORIGINS] = sizeof(struct snapshot_origin),
    [SNAPSHOT_SPAWNS] = sizeof(struct snapshot_spawn),
};

/* --- growing --------------------------------------------------------------------------------- */

void snapshot_init(struct snapshot *snapshot)
{
    static const struct snapshot_facts facts;
    *snapshot = (struct snapshot){0};
    snapshot_add(snapshot, SNAPSHOT_FACTS, &facts);
    memcpy(table_grow(&snapshot->tables[SNAPSHOT_STRINGS], 1, 1), "", 1);
}

void snapshot_deinit(struct snapshot *snapshot)
{
    tables_deinit(snapshot->tables, NR_SNAPSHOT_TABLES);
}

uint32_t snapshot_add(struct snapshot *snapshot, enum snapshot_table_id table, const void *row)
{
    return table_add(&snapshot->tables[table], snapshot_row_bytes[table], row);
}

snapshot_str snapshot_add_string(struct snapshot *snapshot, const char *text)
{
    return (snapshot_str){table_add_string(&snapshot->tables[SNAPSHOT_STRINGS], text)};
}

/* --- checking -------------------------------------------------------------------------------- */

#define COLUMN(table, row, field, kind, target, problem)                                           \
    {                                                                                              \
        table, kind, offsetof(struct snapshot_##row, field), target, problem                       \
    }
#define STRING(table, row, field)                                                                  \
    COLUMN(table, row, field, TABLE_STRING, 0, "a name of its " #row "s lies outside")

static const struct table_column columns[] = {
    STRING(SNAPSHOT_FACTS, facts, program),
    STRING(SNAPSHOT_FACTS, facts, detail_reason),
    COLUMN(SNAPSHOT_FACTS, facts, is_core, TABLE_ENUM, 2, "its facts are wrong"),
    COLUMN(SNAPSHOT_FACTS, facts, detail, TABLE_ENUM, NR_SNAPSHOT_DETAILS, "its facts are wrong"),
    STRING(SNAPSHOT_IMAGES, image, path),
    STRING(SNAPSHOT_IMAGES, image, build_id),
    STRING(SNAPSHOT_IMAGES, image, detail_reason),
    COLUMN(SNAPSHOT_IMAGES, image, detail, TABLE_ENUM, NR_SNAPSHOT_DETAILS,
           "an image has no such detail"),
    STRING(SNAPSHOT_RUNTIMES, runtime, name),
    STRING(SNAPSHOT_RUNTIMES, runtime, owned_reason),
    COLUMN(SNAPSHOT_KINDS, kind, image, TABLE_ID, SNAPSHOT_IMAGES, "a kind's image does not exist"),
    COLUMN(SNAPSHOT_KINDS, kind, kind, TABLE_ENUM, NR_TASK_KINDS, "a task kind is unknown"),
    COLUMN(SNAPSHOT_KINDS, kind, scheduler, TABLE_ENUM, NR_TASK_SCHEDULERS,
           "a scheduler is unknown"),
    STRING(SNAPSHOT_KINDS, kind, future),
    STRING(SNAPSHOT_KINDS, kind, full),
    STRING(SNAPSHOT_KINDS, kind, reason),
    COLUMN(SNAPSHOT_KINDS, kind, first_also, TABLE_SPAN, SNAPSHOT_ALSO,
           "a kind's other names lie outside"),
    STRING(SNAPSHOT_ALSO, also, future),
    STRING(SNAPSHOT_STATES, state, future),
    STRING(SNAPSHOT_STATES, state, full),
    STRING(SNAPSHOT_STATES, state, state),
    STRING(SNAPSHOT_STATES, state, file),
    STRING(SNAPSHOT_STATES, state, macro),
    STRING(SNAPSHOT_STATES, state, waits_for),
    COLUMN(SNAPSHOT_STATES, state, first_slot, TABLE_SPAN, SNAPSHOT_SLOTS,
           "a state's slots lie outside"),
    STRING(SNAPSHOT_SLOTS, slot, name),
    STRING(SNAPSHOT_SLOTS, slot, type),
    COLUMN(SNAPSHOT_TASKS, task, runtime, TABLE_ID, SNAPSHOT_RUNTIMES,
           "a task's runtime does not exist"),
    COLUMN(SNAPSHOT_TASKS, task, kind, TABLE_SOME, SNAPSHOT_KINDS, "a task's kind does not exist"),
    COLUMN(SNAPSHOT_TASKS, task, status, TABLE_ENUM, NR_TASK_STATUSES, "a status is unknown"),
    COLUMN(SNAPSHOT_TASKS, task, finished_because, TABLE_ENUM, NR_FINISHED_BECAUSE,
           "a reason of finished tasks is unknown"),
    COLUMN(SNAPSHOT_TASKS, task, first_frame, TABLE_SPAN, SNAPSHOT_FRAMES,
           "a task's await tree lies outside"),
    STRING(SNAPSHOT_TASKS, task, reason),
    COLUMN(SNAPSHOT_TASKS, task, held_is, TABLE_ENUM, NR_HELD_IS,
           "what a task's held bytes are is unknown"),
    STRING(SNAPSHOT_TASKS, task, held_reason),
    COLUMN(SNAPSHOT_TASKS, task, first_keeper, TABLE_SPAN, SNAPSHOT_KEEPERS,
           "what keeps a task lies outside"),
    COLUMN(SNAPSHOT_FRAMES, frame, state, TABLE_SOME, SNAPSHOT_STATES,
           "a frame's state does not exist"),
    COLUMN(SNAPSHOT_FRAMES, frame, first_holding, TABLE_SPAN, SNAPSHOT_HOLDINGS,
           "what a frame holds lies outside"),
    STRING(SNAPSHOT_NOTES, note, text),
    COLUMN(SNAPSHOT_HOLDINGS, holding, slot, TABLE_ID, SNAPSHOT_SLOTS,
           "a variable that holds does not exist"),
    COLUMN(SNAPSHOT_HOLDINGS, holding, what, TABLE_ENUM, NR_HOLDING_WHATS, "what holds is unknown"),
    COLUMN(SNAPSHOT_HOLDINGS, holding, status, TABLE_ENUM, NR_SLOT_STATUSES,
           "a variable's status is unknown"),
    COLUMN(SNAPSHOT_HOLDINGS, holding, is, TABLE_ENUM, NR_HELD_IS,
           "what a variable's bytes are is unknown"),
    STRING(SNAPSHOT_SHARED, shared, type),
    COLUMN(SNAPSHOT_SHARED, shared, first_task, TABLE_SPAN, SNAPSHOT_SHARED_TASKS,
           "the tasks that share a block lie outside"),
    COLUMN(SNAPSHOT_SHARED_TASKS, shared_task, task, TABLE_SOME, SNAPSHOT_TASKS,
           "a task that shares does not exist"),
    COLUMN(SNAPSHOT_KEEPERS, keeper, block_class, TABLE_ENUM, NR_BLOCK_CLASSES,
           "a block's class is unknown"),
    COLUMN(SNAPSHOT_KEEPERS, keeper, task, TABLE_ID, SNAPSHOT_TASKS,
           "a task that keeps another does not exist"),
    STRING(SNAPSHOT_KEEPERS, keeper, slot),
    STRING(SNAPSHOT_KEEPERS, keeper, place),
    STRING(SNAPSHOT_HEAP, heap, allocator),
    STRING(SNAPSHOT_HEAP, heap, how),
    STRING(SNAPSHOT_HEAP, heap, problem),
    STRING(SNAPSHOT_SITE_FRAMES, site_frame, function),
    STRING(SNAPSHOT_SITE_FRAMES, site_frame, full),
    STRING(SNAPSHOT_SITE_FRAMES, site_frame, file),
    COLUMN(SNAPSHOT_SITE_FRAMES, site_frame, kind, TABLE_ENUM, NR_RUN_FRAME_KINDS,
           "what a frame is for is unknown"),
    COLUMN(SNAPSHOT_SITES, site, first_frame, TABLE_SPAN, SNAPSHOT_SITE_FRAMES,
           "an allocation's stack lies outside"),
    COLUMN(SNAPSHOT_MAKERS, maker, kind, TABLE_ENUM, NR_MAKER_KINDS,
           "what allocated is neither task nor thread"),
    COLUMN(SNAPSHOT_MAKERS, maker, task, TABLE_ID, SNAPSHOT_TASKS,
           "a task that allocated does not exist"),
    STRING(SNAPSHOT_MAKERS, maker, name),
    COLUMN(SNAPSHOT_ORIGINS, origin, holding, TABLE_SOME, SNAPSHOT_HOLDINGS,
           "a holding that has an origin does not exist"),
    COLUMN(SNAPSHOT_ORIGINS, origin, maker, TABLE_ID, SNAPSHOT_MAKERS,
           "who allocated does not exist"),
    COLUMN(SNAPSHOT_ORIGINS, origin, site, TABLE_ID, SNAPSHOT_SITES,
           "where something was allocated does not exist"),
    COLUMN(SNAPSHOT_SPAWNS, spawn, task, TABLE_SOME, SNAPSHOT_TASKS,
           "a task that was spawned does not exist"),
    COLUMN(SNAPSHOT_SPAWNS, spawn, maker, TABLE_ID, SNAPSHOT_MAKERS,
           "who spawned a task does not exist"),
    COLUMN(SNAPSHOT_SPAWNS, spawn, site, TABLE_ID, SNAPSHOT_SITES,
           "where a task was spawned does not exist"),
};

static const struct table_set set = {
    .row_bytes = snapshot_row_bytes,
    .nr_tables = NR_SNAPSHOT_TABLES,
    .strings = SNAPSHOT_STRINGS,
    .facts = SNAPSHOT_FACTS,
    .columns = columns,
    .nr_columns = sizeof(columns) / sizeof(*columns),
};

/* A parent stands before its children, so that no walk can loop. */
static bool trees_ok(const struct snapshot *snapshot)
{
    size_t nr;
    const struct snapshot_task *tasks = snapshot_tasks(snapshot, &nr);
    const struct snapshot_frame *frames = snapshot_frames(snapshot, NULL);
    for (size_t i = 0; i < nr; i++)
        for (uint32_t f = 0; f < tasks[i].nr_frames; f++)
            if (frames[tasks[i].first_frame - 1 + f].parent > f)
                return false;
    return true;
}

/* In the order of the state's slots, each at most once; what has no slot at the end. */
static bool holdings_ok(const struct snapshot *snapshot, const struct snapshot_frame *frame)
{
    const struct snapshot_state *state = &snapshot_states(snapshot, NULL)[frame->state - 1];
    const struct snapshot_holding *holdings = snapshot_holdings(snapshot, NULL);
    uint64_t next = state->first_slot, end = next + state->nr_slots;
    uint32_t last = HOLDING_SLOT;
    for (uint32_t i = 0; i < frame->nr_holdings; i++) {
        const struct snapshot_holding *holding = &holdings[frame->first_holding - 1 + i];
        bool is_slot = holding->what == HOLDING_SLOT, is_field = holding->what == HOLDING_FIELD;
        if (is_slot ? last != HOLDING_SLOT || holding->slot < next || holding->slot >= end
                    : holding->what + is_field <= last || is_field != (holding->slot != 0))
            return false;
        last = holding->what;
        next = (uint64_t)holding->slot + 1;
    }
    return true;
}

static bool all_holdings_ok(const struct snapshot *snapshot)
{
    size_t nr;
    const struct snapshot_frame *frames = snapshot_frames(snapshot, &nr);
    for (size_t i = 0; i < nr; i++)
        if (!holdings_ok(snapshot, &frames[i]))
            return false;
    return true;
}

/* Origins are found by their holding; a site's frames are its own. */
static bool origins_ok(const struct snapshot *snapshot)
{
    size_t nr_origins, nr_sites, nr_spawns;
    const struct snapshot_spawn *spawns = snapshot_spawns(snapshot, &nr_spawns);
    const struct snapshot_origin *origins = snapshot_origins(snapshot, &nr_origins);
    const struct snapshot_site *sites = snapshot_sites(snapshot, &nr_sites);
    for (size_t i = 1; i < nr_origins; i++)
        if (origins[i - 1].holding > origins[i].holding)
            return false;
    for (size_t i = 1; i < nr_spawns; i++)
        if (spawns[i - 1].task >= spawns[i].task)
            return false;
    for (size_t i = 0; i < nr_sites; i++)
        if (sites[i].own > sites[i].nr_frames || sites[i].outside > sites[i].nr_frames)
            return false;
    return true;
}

bool snapshot_check(const struct snapshot *snapshot, const char **problem)
{
    *problem = "it has more than one account of the heap";
    if (snapshot->tables[SNAPSHOT_HEAP].nr > 1 || !tables_check(snapshot->tables, &set, problem))
        return false;
    *problem = "an await tree has a child before its parent";
    if (!trees_ok(snapshot))
        return false;
    *problem = "a frame's holdings are not in the order of its variables";
    if (!all_holdings_ok(snapshot))
        return false;
    *problem = "where things were allocated is not in order";
    if (!origins_ok(snapshot))
        return false;
    *problem = NULL;
    return true;
}

/* --- looking up ------------------------------------------------------------------------------ */

/* How many origins are of holdings up to this id. */
static size_t nr_origins_up_to(const struct snapshot_origin *origins, size_t nr, uint32_t holding)
{
    size_t low = 0, high = nr;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (origins[middle].holding <= holding)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct snapshot_origin *snapshot_origins_of(const struct snapshot *snapshot, uint32_t holding,
                                                  size_t *nr)
{
    size_t nr_all;
    const struct snapshot_origin *origins = snapshot_origins(snapshot, &nr_all);
    size_t first = holding ? nr_origins_up_to(origins, nr_all, holding - 1) : 0;
    *nr = nr_origins_up_to(origins, nr_all, holding) - first;
    return nr_all ? origins + first : NULL;
}

const struct snapshot_spawn *snapshot_spawn_of(const struct snapshot *snapshot, uint32_t task)
{
    size_t low = 0, high;
    const struct snapshot_spawn *spawns = snapshot_spawns(snapshot, &high);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (spawns[middle].task == task)
            return &spawns[middle];
        if (spawns[middle].task < task)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}
