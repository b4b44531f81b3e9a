/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Which tables a snapshot's file has, and what is lost with one of them (model/table_file).
 */
#include "model/snapshot_file.h"

#include "base/file.h"
#include "model/table_file.h"
#include "recording/container.h"

/* In the order in which they are written: a file that is cut short loses the last ones. */
static const struct table_format formats[] = {
    {SNAPSHOT_STRINGS, CONTAINER_TAG('S', 'T', 'R', 'S'), "names", true},
    {SNAPSHOT_FACTS, CONTAINER_TAG('F', 'A', 'C', 'T'), "facts of the process", true},
    {SNAPSHOT_KINDS, CONTAINER_TAG('K', 'I', 'N', 'D'), "kinds of tasks", true},
    {SNAPSHOT_TASKS, CONTAINER_TAG('T', 'A', 'S', 'K'), "tasks", true},
    {SNAPSHOT_RUNTIMES, CONTAINER_TAG('R', 'U', 'N', 'T'), "runtimes", false},
    {SNAPSHOT_IMAGES, CONTAINER_TAG('I', 'M', 'A', 'G'), "images", false},
    {SNAPSHOT_STATES, CONTAINER_TAG('S', 'T', 'A', 'T'), "states of futures", false},
    {SNAPSHOT_FRAMES, CONTAINER_TAG('F', 'R', 'A', 'M'), "await trees", false},
    {SNAPSHOT_SLOTS, CONTAINER_TAG('S', 'L', 'O', 'T'), "slots", false},
    {SNAPSHOT_ALSO, CONTAINER_TAG('A', 'L', 'S', 'O'), "other names of merged kinds", false},
    {SNAPSHOT_NOTES, CONTAINER_TAG('N', 'O', 'T', 'E'), "notes", false},
    {SNAPSHOT_HEAP, CONTAINER_TAG('H', 'E', 'A', 'P'), "sums of the heap", false},
    {SNAPSHOT_HOLDINGS, CONTAINER_TAG('H', 'O', 'L', 'D'), "bytes that variables hold", false},
    {SNAPSHOT_SHARED, CONTAINER_TAG('S', 'H', 'A', 'R'), "shared blocks", false},
    {SNAPSHOT_SHARED_TASKS, CONTAINER_TAG('S', 'H', 'T', 'A'), "tasks that share blocks", false},
    {SNAPSHOT_KEEPERS, CONTAINER_TAG('K', 'E', 'E', 'P'), "keepers of finished tasks", false},
    {SNAPSHOT_MAKERS, CONTAINER_TAG('M', 'A', 'K', 'R'), "tasks that allocated", false},
    {SNAPSHOT_SITES, CONTAINER_TAG('S', 'I', 'T', 'E'), "allocation sites", false},
    {SNAPSHOT_SITE_FRAMES, CONTAINER_TAG('S', 'I', 'F', 'R'), "stacks of sites", false},
    {SNAPSHOT_ORIGINS, CONTAINER_TAG('O', 'R', 'I', 'G'), "origins of held bytes", false},
    {SNAPSHOT_SPAWNS, CONTAINER_TAG('S', 'P', 'W', 'N'), "places of spawns", false},
};

enum { NR_FORMATS = sizeof(formats) / sizeof(*formats) };

_Static_assert(NR_FORMATS == (int)NR_SNAPSHOT_TABLES, "every table has a format");

/* --- what is lost ---------------------------------------------------------------------------- */

static void forget_trees(struct snapshot *snapshot)
{
    snapshot_str reason =
        snapshot_add_string(snapshot, "the file is damaged: its await trees are missing");
    size_t nr;
    struct snapshot_task *tasks = snapshot_tasks(snapshot, &nr);
    for (size_t i = 0; i < nr; i++) {
        if (tasks[i].nr_frames && !tasks[i].reason.v)
            tasks[i].reason = reason;
        tasks[i].nr_frames = 0;
    }
}

/* Holdings are of variables; a shared block without its tasks would look as if it had none. */
static void forget_heap(struct snapshot *snapshot, const bool *lost)
{
    size_t nr_frames, nr_tasks;
    struct snapshot_frame *frames = snapshot_frames(snapshot, &nr_frames);
    struct snapshot_task *tasks = snapshot_tasks(snapshot, &nr_tasks);
    bool lost_holdings = lost[SNAPSHOT_HOLDINGS] || lost[SNAPSHOT_SLOTS];
    if (lost_holdings)
        snapshot->tables[SNAPSHOT_HOLDINGS].nr = 0;
    for (size_t i = 0; i < nr_frames && lost_holdings; i++)
        frames[i].nr_holdings = 0;
    for (size_t i = 0; i < nr_tasks && lost[SNAPSHOT_KEEPERS]; i++)
        tasks[i].nr_keepers = 0;
    if (lost[SNAPSHOT_SHARED_TASKS])
        snapshot->tables[SNAPSHOT_SHARED].nr = 0;
}

/* Who allocated is told without the place, and a place without its stack. */
static void forget_origins(struct snapshot *snapshot, const bool *lost)
{
    size_t nr_origins, nr_spawns, nr_sites;
    struct snapshot_origin *origins = snapshot_origins(snapshot, &nr_origins);
    struct snapshot_spawn *spawns = snapshot_spawns(snapshot, &nr_spawns);
    struct snapshot_site *sites = snapshot_sites(snapshot, &nr_sites);
    for (size_t i = 0; i < nr_origins; i++) {
        origins[i].maker = lost[SNAPSHOT_MAKERS] ? 0 : origins[i].maker;
        origins[i].site = lost[SNAPSHOT_SITES] ? 0 : origins[i].site;
    }
    for (size_t i = 0; i < nr_spawns; i++) {
        spawns[i].maker = lost[SNAPSHOT_MAKERS] ? 0 : spawns[i].maker;
        spawns[i].site = lost[SNAPSHOT_SITES] ? 0 : spawns[i].site;
    }
    for (size_t i = 0; i < nr_sites && lost[SNAPSHOT_SITE_FRAMES]; i++)
        sites[i].nr_frames = sites[i].own = sites[i].outside = 0;
    if (lost[SNAPSHOT_HOLDINGS] || lost[SNAPSHOT_SLOTS])
        snapshot->tables[SNAPSHOT_ORIGINS].nr = 0;
}

/* Nothing refers to a lost table afterwards. */
static void forget_lost(void *owner, const bool *lost)
{
    struct snapshot *snapshot = owner;
    size_t nr_tasks, nr_kinds, nr_states;
    struct snapshot_task *tasks = snapshot_tasks(snapshot, &nr_tasks);
    struct snapshot_kind *kinds = snapshot_kinds(snapshot, &nr_kinds);
    struct snapshot_state *states = snapshot_states(snapshot, &nr_states);
    for (size_t i = 0; i < nr_tasks && lost[SNAPSHOT_RUNTIMES]; i++)
        tasks[i].runtime = 0;
    for (size_t i = 0; i < nr_kinds && lost[SNAPSHOT_IMAGES]; i++)
        kinds[i].image = 0;
    for (size_t i = 0; i < nr_kinds && lost[SNAPSHOT_ALSO]; i++)
        kinds[i].nr_also = 0;
    for (size_t i = 0; i < nr_states && lost[SNAPSHOT_SLOTS]; i++)
        states[i].nr_slots = 0;
    forget_heap(snapshot, lost);
    forget_origins(snapshot, lost);
    if (lost[SNAPSHOT_STATES] || lost[SNAPSHOT_FRAMES]) {
        snapshot->tables[SNAPSHOT_FRAMES].nr = 0;
        forget_trees(snapshot);
    }
}

static void add_note(void *owner, const char *text)
{
    const struct snapshot_note note = {snapshot_add_string(owner, text)};
    snapshot_add(owner, SNAPSHOT_NOTES, &note);
}

static bool check(const void *owner, const char **problem)
{
    return snapshot_check(owner, problem);
}

/* --- the file -------------------------------------------------------------------------------- */

static const struct table_file format = {
    .kind = "snapshot",
    .remedy = "take the snapshot again",
    .row_bytes = snapshot_row_bytes,
    .formats = formats,
    .nr_formats = NR_FORMATS,
    .strings = SNAPSHOT_STRINGS,
    .first_later = SNAPSHOT_SITE_FRAMES,
    .forget = forget_lost,
    .note = add_note,
    .check = check,
};

bool snapshot_file_write(const struct snapshot *snapshot, const char *path, struct error *err)
{
    return table_file_write(&format, snapshot->tables, path, err);
}

void snapshot_file_pack(const struct snapshot *snapshot, struct text *bytes)
{
    table_file_pack(&format, snapshot->tables, bytes);
}

bool snapshot_file_parse(struct snapshot *snapshot, const void *bytes, uint64_t size,
                         struct error *err)
{
    *snapshot = (struct snapshot){0};
    return table_file_parse(&format, snapshot, snapshot->tables, bytes, size, err);
}

bool snapshot_file_read(struct snapshot *snapshot, const char *path, struct error *err)
{
    struct file file;
    if (!file_open(&file, path, err))
        return false;
    bool ok = snapshot_file_parse(snapshot, file.bytes, file.size_bytes, err);
    file_close(&file);
    return ok || error_prefix(err, "%s", path);
}
