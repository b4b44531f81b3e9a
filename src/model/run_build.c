/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "model/run_build.h"

#include <stdlib.h>
#include <string.h>

#include "model/run_build_part.h"

/* --- what the recorder knows ----------------------------------------------------------------- */

static void add_facts(struct run_building *build)
{
    const struct run_build_input *input = build->input;
    const struct region_header *header = build->region->header;
    struct run_facts facts = {
        .program = run_intern(build, input->program),
        .command = run_intern(build, input->command),
        .pid = input->pid ? input->pid : header->pid,
        .ended_by = input->ended_by < NR_RUN_ENDED_BY ? input->ended_by : RUN_LOST,
        .exit_status = input->exit_status,
        .stacks = header->stacks < NR_RUN_STACKS ? header->stacks : (uint32_t)RUN_STACKS_ALL,
        .started_at_ns = header->started_at_ns,
        .ended_at_ns = input->ended_at_ns,
        .peak_rss_bytes = input->peak_rss_bytes,
        .clock_tick_ns =
            header->lifetime_tick_ns_log2 < 64 ? (uint64_t)1 << header->lifetime_tick_ns_log2 : 0,
    };
    if (facts.stacks == RUN_STACKS_SAMPLED)
        facts.sample_bytes = header->sample_bytes;
    *run_facts(build->run) = facts;
}

static void add_steps(struct run_building *build)
{
    const struct run_build_input *input = build->input;
    for (size_t i = 0; i < input->nr_steps; i++)
        run_add(build->run, RUN_STEPS, &input->steps[i]);
    for (size_t i = 0; i < input->nr_step_types; i++) {
        const struct run_build_step_type *source = &input->step_types[i];
        struct run_step_type row = {.step = source->step, .live_bytes = source->live_bytes};
        const bool is_threads = source->type == REGION_TYPE_THREADS;
        row.type = source->type < build->nr_types && !is_threads ? build->types[source->type] : 0;
        if ((row.type || is_threads) && row.step && row.step <= input->nr_steps)
            run_add(build->run, RUN_STEP_TYPES, &row);
    }
}

static void add_snapshots(struct run_building *build)
{
    struct table *bytes = &build->run->tables[RUN_SNAPSHOT_BYTES];
    for (size_t i = 0; i < build->input->nr_snapshots; i++) {
        const struct run_build_snapshot *source = &build->input->snapshots[i];
        struct run_snapshot row = {.t_ns = source->t_ns,
                                   .live_bytes = source->live_bytes,
                                   .why = source->why,
                                   .first_byte = bytes->nr,
                                   .nr_bytes = source->nr_bytes};
        if (source->nr_bytes)
            memcpy(table_grow(bytes, 1, source->nr_bytes), source->bytes, source->nr_bytes);
        run_add(build->run, RUN_SNAPSHOTS, &row);
    }
}

/* --- what is missing ------------------------------------------------------------------------- */

static const struct {
    const char *cause, *text;
} lost_causes[NR_REGION_LOST] = {
    [LOST_IN_SIGNAL] = {"in_signal", "allocations in signal handlers that interrupted the tracer "
                                     "are counted, but at no place"},
    [LOST_NO_THREAD] = {"no_thread", "allocations of threads for which there was no memory to "
                                     "trace them are in no count"},
    [LOST_TABLE_FULL] = {"table_full", "events for which a table had no room have no site or task"},
    [LOST_STACK_CUT] = {"stack_cut", "stacks were too deep: their middle is left out"},
    [LOST_STACK_BROKEN] = {"stack_broken", "stacks could not be followed to their root: code "
                                           "without unwind tables"},
    [LOST_CHILDREN] = {"children", "processes that the program started were not traced; "
                                   "--follow-children traces them"},
    [LOST_LATE_IMAGE] = {"late_image", "libraries were loaded whose tasks may have run before they "
                                       "were traced"},
    [LOST_EXEC] = {"exec", "programs that replaced this one could not be traced"},
    [LOST_AWAIT_CUT] = {"await_cut",
                        "tasks ended at an await that could not be read at that moment"},
    [LOST_STACK_GUESSED] = {"stack_guessed", "stacks pass code without unwind tables and were "
                                             "followed by frame pointers: callers may be missing"},
    [LOST_UNSEEN_BLOCK] =
        {"unseen_block", "polls were of tasks whose memory comes from an allocator that could not "
                         "be traced, nor what else it gave: one that is linked into the program is "
                         "found by its symbols (no strip in Cargo.toml)"},
};

static void add_losts(struct run_building *build)
{
    for (int i = 0; i < NR_REGION_LOST; i++) {
        uint64_t count = __atomic_load_n(&build->region->header->lost[i], __ATOMIC_RELAXED);
        if (!count)
            continue;
        const struct run_lost row = {
            .cause = run_intern(build, lost_causes[i].cause ? lost_causes[i].cause : "other"),
            .text =
                run_intern(build, lost_causes[i].text ? lost_causes[i].text
                                                      : "a cause that this asyncmem does not know"),
            .count = count};
        run_add(build->run, RUN_LOSTS, &row);
    }
}

static void add_notes(struct run_building *build)
{
    const struct region_header *header = build->region->header;
    struct text text;
    text_init(&text);
    for (size_t i = 0; i < build->input->nr_notes; i++)
        run_note_add(build, build->input->notes[i]);
    if (__atomic_load_n(&header->state, __ATOMIC_ACQUIRE) == REGION_OFF) {
        char reason[sizeof(header->off_reason) + 1] = "";
        memcpy(reason, header->off_reason, sizeof(header->off_reason));
        text_printf(&text, "the tracer stepped aside: %s", *reason ? reason : "it did not say why");
        run_note_add(build, text_str(&text));
    }
    if (build->nr_wrong_rows || build->region->is_cut) {
        text_clear(&text);
        text_printf(&text,
                    "the live region is damaged: %llu rows were left out, whole or in part; the "
                    "program, or something in it, wrote over them",
                    (unsigned long long)build->nr_wrong_rows);
        run_note_add(build, text_str(&text));
    }
    text_deinit(&text);
}

/* --- all of it ------------------------------------------------------------------------------- */

static void deinit(struct run_building *build)
{
    struct map *maps[] = {&build->strings,    &build->pointers, &build->images, &build->task_types,
                          &build->root_types, &build->places,   &build->lefts,  &build->await_ends};
    for (size_t i = 0; i < sizeof(maps) / sizeof(*maps); i++)
        map_deinit(maps[i]);
    for (size_t i = 0; i < build->nr_names; i++) {
        map_deinit(&build->names[i]->vtables);
        map_deinit(&build->names[i]->by_name);
        future_types_deinit(&build->names[i]->types);
        arena_deinit(&build->names[i]->arena);
        free(build->names[i]);
    }
    free(build->names);
    free(build->loads);
    free(build->types);
    free(build->tasks);
    free(build->sites);
    free(build->nodes);
    free(build->owners);
    free(build->awaits);
    arena_deinit(&build->arena);
}

bool run_build(struct run *run, const struct run_build_input *input, struct error *err)
{
    struct run_building build = {.run = run, .input = input, .region = input->region};
    const char *problem;
    arena_init(&build.arena);
    build.now_ns = __atomic_load_n(&input->region->header->now_ns, __ATOMIC_RELAXED);
    add_facts(&build);
    run_images_add(&build);
    run_types_add(&build);
    run_sites_add(&build);
    run_live_add(&build);
    run_awaits_add(&build);
    run_sums_add(&build);
    run_runtimes_add(&build);
    add_steps(&build);
    add_snapshots(&build);
    add_losts(&build);
    add_notes(&build);
    deinit(&build);
    if (run_check(run, &problem))
        return true;
    run_deinit(run);
    run_init(run);
    return error_set(err, ERROR_INPUT, "the live region is damaged: %s", problem);
}
