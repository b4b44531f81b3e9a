/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Which tables a run's file has, and what is lost with one of them (model/table_file).
 */
#include "model/run_file.h"

#include "base/file.h"
#include "model/table_file.h"
#include "recording/container.h"

/* In the order in which they are written: a file that is cut short loses the last ones. */
static const struct table_format formats[] = {
    {RUN_STRINGS, CONTAINER_TAG('S', 'T', 'R', 'S'), "names", true},
    {RUN_FACTS, CONTAINER_TAG('F', 'A', 'C', 'T'), "facts of the run", true},
    {RUN_LOSTS, CONTAINER_TAG('L', 'O', 'S', 'T'), "counts of what the tracer lost", false},
    {RUN_NOTES, CONTAINER_TAG('N', 'O', 'T', 'E'), "notes", false},
    {RUN_IMAGES, CONTAINER_TAG('I', 'M', 'A', 'G'), "images", false},
    {RUN_TYPES, CONTAINER_TAG('T', 'Y', 'P', 'E'), "types of tasks", false},
    {RUN_SITES, CONTAINER_TAG('S', 'I', 'T', 'E'), "allocation sites", false},
    {RUN_NODES, CONTAINER_TAG('N', 'O', 'D', 'E'), "stacks", false},
    {RUN_PLACES, CONTAINER_TAG('P', 'L', 'A', 'C'), "places in the code", false},
    {RUN_FRAMES, CONTAINER_TAG('F', 'R', 'A', 'M'), "names of functions", false},
    {RUN_LEFTS, CONTAINER_TAG('L', 'E', 'F', 'T'), "sums of what was not freed", false},
    {RUN_TASKS, CONTAINER_TAG('T', 'A', 'S', 'K'), "tasks", false},
    {RUN_AWAITS, CONTAINER_TAG('A', 'W', 'A', 'I'), "awaits", false},
    {RUN_AWAIT_ENDS, CONTAINER_TAG('A', 'E', 'N', 'D'), "counts of ends by await", false},
    {RUN_STEPS, CONTAINER_TAG('S', 'T', 'E', 'P'), "steps of the timeline", false},
    {RUN_STEP_TYPES, CONTAINER_TAG('S', 'T', 'T', 'Y'), "bytes by type of the timeline", false},
    {RUN_LIFETIMES, CONTAINER_TAG('L', 'I', 'F', 'E'), "lifetimes", false},
    {RUN_RUNTIMES, CONTAINER_TAG('R', 'U', 'N', 'T'), "sums of runtimes", false},
    {RUN_SNAPSHOTS, CONTAINER_TAG('S', 'N', 'A', 'P'), "times of snapshots", false},
    {RUN_SNAPSHOT_BYTES, CONTAINER_TAG('S', 'N', 'B', 'Y'), "stored snapshots", false},
};

enum { NR_FORMATS = sizeof(formats) / sizeof(*formats) };

_Static_assert(NR_FORMATS == (int)NR_RUN_TABLES, "every table has a format");

/* --- what is lost ---------------------------------------------------------------------------- */

static void forget_table(struct run *run, bool *lost, enum run_table_id table)
{
    run->tables[table].nr = 0;
    lost[table] = true;
}

/* Tables of which nothing is left without another one. */
static void forget_tables(struct run *run, bool *lost)
{
    if (lost[RUN_TYPES]) {
        forget_table(run, lost, RUN_TASKS);
        forget_table(run, lost, RUN_AWAIT_ENDS);
        forget_table(run, lost, RUN_STEP_TYPES);
    }
    if (lost[RUN_PLACES])
        forget_table(run, lost, RUN_NODES);
    if (lost[RUN_SITES])
        forget_table(run, lost, RUN_LIFETIMES);
    if (lost[RUN_STEPS])
        forget_table(run, lost, RUN_STEP_TYPES);
    if (lost[RUN_SNAPSHOT_BYTES])
        forget_table(run, lost, RUN_SNAPSHOTS);
}

/* No stack names a lost table. */
static void forget_in_stacks(struct run *run, const bool *lost)
{
    size_t nr_sites, nr_places;
    struct run_site *sites = run_sites(run, &nr_sites);
    struct run_place *places = run_places(run, &nr_places);
    for (size_t i = 0; i < nr_sites; i++) {
        sites[i].node = lost[RUN_NODES] ? 0 : sites[i].node;
        sites[i].lifetimes = lost[RUN_LIFETIMES] ? 0 : sites[i].lifetimes;
        sites[i].type = lost[RUN_TYPES] ? 0 : sites[i].type;
    }
    for (size_t i = 0; i < nr_places; i++) {
        places[i].nr_frames = lost[RUN_FRAMES] ? 0 : places[i].nr_frames;
        places[i].image = lost[RUN_IMAGES] ? 0 : places[i].image;
    }
}

/* No task, type or sum names a lost table. */
static void forget_in_tasks(struct run *run, const bool *lost)
{
    size_t nr_types, nr_tasks, nr_ends, nr_lefts;
    struct run_type *types = run_types(run, &nr_types);
    struct run_task *tasks = run_tasks(run, &nr_tasks);
    struct run_await_end *ends = run_await_ends(run, &nr_ends);
    struct run_left *lefts = run_lefts(run, &nr_lefts);
    for (size_t i = 0; i < nr_types && lost[RUN_IMAGES]; i++)
        types[i].image = 0;
    for (size_t i = 0; i < nr_tasks; i++) {
        tasks[i].site = lost[RUN_SITES] ? 0 : tasks[i].site;
        tasks[i].await = lost[RUN_AWAITS] ? 0 : tasks[i].await;
    }
    for (size_t i = 0; i < nr_ends && lost[RUN_AWAITS]; i++)
        ends[i].await = 0;
    for (size_t i = 0; i < nr_lefts; i++) {
        lefts[i].type = lost[RUN_TYPES] ? 0 : lefts[i].type;
        lefts[i].site = lost[RUN_SITES] ? 0 : lefts[i].site;
    }
}

static void forget_lost(void *owner, const bool *lost)
{
    bool forgotten[NR_RUN_TABLES];
    for (size_t i = 0; i < NR_RUN_TABLES; i++)
        forgotten[i] = lost[i];
    forget_tables(owner, forgotten);
    forget_in_stacks(owner, forgotten);
    forget_in_tasks(owner, forgotten);
}

static void add_note(void *owner, const char *text)
{
    const struct run_note note = {run_add_string(owner, text)};
    run_add(owner, RUN_NOTES, &note);
}

static bool check(const void *owner, const char **problem)
{
    return run_check(owner, problem);
}

/* --- the file -------------------------------------------------------------------------------- */

static const struct table_file format = {
    .kind = "run",
    .remedy = "figures that need them are incomplete",
    .row_bytes = run_row_bytes,
    .formats = formats,
    .nr_formats = NR_FORMATS,
    .strings = RUN_STRINGS,
    .forget = forget_lost,
    .note = add_note,
    .check = check,
};

bool run_file_write(const struct run *run, const char *path, struct error *err)
{
    return table_file_write(&format, run->tables, path, err);
}

void run_file_pack(const struct run *run, struct text *bytes)
{
    table_file_pack(&format, run->tables, bytes);
}

bool run_file_parse(struct run *run, const void *bytes, uint64_t size, struct error *err)
{
    *run = (struct run){0};
    return table_file_parse(&format, run, run->tables, bytes, size, err);
}

bool run_file_read(struct run *run, const char *path, struct error *err)
{
    struct file file;
    if (!file_open(&file, path, err))
        return false;
    bool ok = run_file_parse(run, file.bytes, file.size_bytes, err);
    file_close(&file);
    return ok || error_prefix(err, "%s", path);
}
