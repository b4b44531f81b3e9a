/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "run_sample.h"

#include "model/snapshot_file.h"
#include "snapshot_sample.h"
#include "unit.h"

struct maker {
    struct run *run;
    const struct run_sample_size *size;
    uint64_t random;
    uint32_t nr_places, nr_nodes, nr_types, nr_awaits;
    uint32_t next_site; /* of the type that is being made */
};

static uint64_t below(struct maker *maker, uint64_t limit)
{
    return random_below(&maker->random, limit);
}

/* Mostly small, now and then large. */
static uint64_t amount(struct maker *maker)
{
    return below(maker, (uint64_t)1 << (4 + below(maker, 22)));
}

static run_str str(struct maker *maker, const char *text)
{
    return run_add_string(maker->run, text);
}

/* One of these, at random, or with hostile names something else. */
static run_str one_of(struct maker *maker, const char *const *names)
{
    size_t nr = 0;
    while (names[nr])
        nr++;
    if (maker->size->is_hostile && below(maker, 3) == 0) {
        static char huge[8192];
        memset(huge, 'x', sizeof(huge) - 1);
        const char *const hostile[] = {"\x1b[31mred\x1b]0;title\a",
                                       "\xff\xfe not UTF",
                                       huge,
                                       "",
                                       "a\nb\rc\td",
                                       "\xe2\x80\xae backwards",
                                       "%s%n",
                                       "<<<>>>((("};
        return str(maker, hostile[below(maker, sizeof(hostile) / sizeof(*hostile))]);
    }
    return str(maker, names[below(maker, nr)]);
}

static uint64_t unless_unknown(struct maker *maker, uint64_t value)
{
    return maker->size->is_unknown && below(maker, 2) ? RUN_UNKNOWN : value;
}

/* --- code ------------------------------------------------------------------------------------ */

static const char *const user_functions[] = {
    "serve_conn",   "read_body",           "handle_request",
    "parse_header", "main::{async block}", "Cache::insert",
    "render",       "chat::relay",         NULL};
static const char *const user_files[] = {"src/main.rs", "src/conn.rs", "src/cache.rs",
                                         "crates/proto/src/frame.rs", NULL};
static const char *const library_functions[] = {"BytesMut::reserve", "http::Connection::poll",
                                                "serde_json::to_vec", "HashMap::insert", NULL};
static const char *const library_files[] = {
    "/home/me/.cargo/registry/src/index/bytes/src/bytes_mut.rs",
    "/home/me/.cargo/registry/src/index/hyper/src/proto.rs", NULL};
static const char *const std_functions[] = {"RawVec::grow", "alloc::alloc", "Vec::with_capacity",
                                            "Box::new", NULL};
static const char *const std_files[] = {"/rustc/abc/library/alloc/src/raw_vec.rs", NULL};
static const char *const runtime_functions[] = {"poll_future",  "Harness::poll", "run_task",
                                                "catch_unwind", "thread_start",  NULL};
static const char *const runtime_files[] = {
    "/home/me/.cargo/registry/src/index/tokio/src/runtime/task/harness.rs", NULL};

static void add_frame(struct maker *maker, enum run_frame_kind kind, bool is_inlined)
{
    static const char *const *const functions[NR_RUN_FRAME_KINDS] = {
        user_functions,    library_functions, std_functions,
        runtime_functions, user_functions,    runtime_functions};
    static const char *const *const files[NR_RUN_FRAME_KINDS] = {
        user_files, library_files, std_files, runtime_files, user_files, runtime_files};
    const bool has_file = !maker->size->is_unknown || below(maker, 3);
    const run_str function = one_of(maker, functions[kind]);
    const struct run_frame row = {
        .function = function,
        .full = function,
        .file = has_file ? one_of(maker, files[kind]) : (run_str){0},
        .line = has_file ? (uint32_t)below(maker, 900) + 1 : 0,
        .kind = (uint16_t)kind,
        .is_inlined = is_inlined,
    };
    run_add(maker->run, RUN_FRAMES, &row);
}

static void add_places(struct maker *maker)
{
    static const enum run_frame_kind kinds[] = {
        RUN_FRAME_USER, RUN_FRAME_USER,    RUN_FRAME_POLL, RUN_FRAME_LIBRARY,
        RUN_FRAME_STD,  RUN_FRAME_RUNTIME, RUN_FRAME_STD,  RUN_FRAME_TRACER};
    maker->nr_places = maker->size->nr_sites / 2 + 20;
    for (uint32_t i = 0; i < maker->nr_places; i++) {
        struct run_place place = {.image = (uint32_t)below(maker, 2), .offset = amount(maker)};
        size_t nr_frames;
        run_frames(maker->run, &nr_frames);
        place.nr_frames =
            maker->size->is_unknown ? (uint32_t)below(maker, 3) : (uint32_t)below(maker, 3) + 1;
        place.first_frame = place.nr_frames ? (uint32_t)nr_frames + 1 : 0;
        for (uint32_t j = 0; j < place.nr_frames; j++)
            add_frame(maker, kinds[below(maker, sizeof(kinds) / sizeof(*kinds))],
                      j + 1 < place.nr_frames);
        run_add(maker->run, RUN_PLACES, &place);
    }
}

/* Stacks share their outer ends. */
static uint32_t add_stack(struct maker *maker)
{
    const uint32_t depth = (uint32_t)below(maker, maker->size->depth) + 1;
    const uint32_t own = maker->nr_nodes < 8 ? depth : depth / 4 + 1;
    uint32_t node = maker->nr_nodes ? (uint32_t)below(maker, maker->nr_nodes) + 1 : 0;
    for (uint32_t i = 0; i < own; i++) {
        const struct run_node row = {node, (uint32_t)below(maker, maker->nr_places) + 1};
        node = run_add(maker->run, RUN_NODES, &row);
        maker->nr_nodes = node;
    }
    return node;
}

static void add_awaits(struct maker *maker)
{
    static const char *const waits[] = {"socket read", "mutex lock", "sleep", "", NULL};
    maker->nr_awaits = 24;
    for (uint32_t i = 0; i < maker->nr_awaits; i++) {
        const struct run_await row = {
            .parent = i % 4 ? i : 0,
            .future = one_of(maker, user_functions),
            .full = one_of(maker, user_functions),
            .state = str(maker, "Suspended"),
            .file = i % 4 == 3 ? (run_str){0} : one_of(maker, user_files),
            .line = i % 4 == 3 ? 0 : (uint32_t)below(maker, 900) + 1,
            .waits_for = i % 4 == 3 ? one_of(maker, waits) : (run_str){0},
        };
        run_add(maker->run, RUN_AWAITS, &row);
    }
}

/* --- sums ------------------------------------------------------------------------------------ */

/* What was allocated and freed, live being the rest. */
struct counts {
    uint64_t allocations, allocated_bytes, frees, freed_bytes, live_bytes, live_blocks;
};

static struct counts make_counts(struct maker *maker, bool is_left)
{
    struct counts counts = {.allocations = amount(maker) % 10000 + 1};
    counts.live_blocks = is_left ? below(maker, counts.allocations) + 1 : 0;
    counts.frees = counts.allocations - counts.live_blocks;
    counts.freed_bytes = counts.frees * (below(maker, 5000) + 1);
    counts.live_bytes = counts.live_blocks * (below(maker, 5000) + 1);
    counts.allocated_bytes = counts.freed_bytes + counts.live_bytes;
    return counts;
}

#define ADD_COUNTS(to, from)                                                                       \
    ((to)->allocations += (from)->allocations, (to)->allocated_bytes += (from)->allocated_bytes,   \
     (to)->frees += (from)->frees, (to)->freed_bytes += (from)->freed_bytes,                       \
     (to)->live_bytes += (from)->live_bytes, (to)->live_blocks += (from)->live_blocks)

/* A site that has all of the counts, and what is left there. */
static uint32_t add_site(struct maker *maker, uint32_t type, uint32_t kind,
                         const struct counts *counts)
{
    struct run_facts *facts = run_facts(maker->run);
    const struct run_site row = {
        .node = facts->stacks == RUN_STACKS_NONE ? 0 : add_stack(maker),
        .type = kind == RUN_KIND_ASYNC || kind == RUN_KIND_BLOCKING ? type : 0,
        .kind = kind,
        .allocations = counts->allocations,
        .allocated_bytes = counts->allocated_bytes,
        .frees = counts->frees,
        .freed_bytes = counts->freed_bytes,
        .temporary = counts->frees / (below(maker, 4) + 1),
        .live_bytes = counts->live_bytes,
        .live_blocks = counts->live_blocks,
        .peak_bytes = unless_unknown(maker, counts->live_bytes + counts->freed_bytes / 3),
        .error_bytes = maker->size->is_sampled ? counts->allocated_bytes / 10 : 0,
    };
    const uint32_t site = run_add(maker->run, RUN_SITES, &row);
    const struct run_left left = {type, site, counts->live_blocks, counts->live_bytes};
    facts->temporary += row.temporary;
    if (counts->live_blocks)
        run_add(maker->run, RUN_LEFTS, &left);
    return site;
}

/* Splits a type's counts over `nr` sites. */
static void add_sites(struct maker *maker, uint32_t type, uint32_t nr)
{
    const struct run_type row = run_types(maker->run, NULL)[type - 1];
    struct counts rest = {row.allocations, row.allocated_bytes, row.frees,
                          row.freed_bytes, row.live_bytes,      row.live_blocks};
    for (uint32_t i = 1; i < nr; i++) {
        const uint64_t part = below(maker, nr) + 2;
        struct counts counts = {.frees = rest.frees / part,
                                .freed_bytes = rest.freed_bytes / part,
                                .live_blocks = rest.live_blocks / part};
        counts.live_bytes = counts.live_blocks ? rest.live_bytes / part : 0;
        counts.allocations = counts.frees + counts.live_blocks;
        counts.allocated_bytes = counts.freed_bytes + counts.live_bytes;
        add_site(maker, type, row.kind, &counts);
        rest.allocations -= counts.allocations;
        rest.allocated_bytes -= counts.allocated_bytes;
        rest.frees -= counts.frees;
        rest.freed_bytes -= counts.freed_bytes;
        rest.live_bytes -= counts.live_bytes;
        rest.live_blocks -= counts.live_blocks;
    }
    add_site(maker, type, row.kind, &rest);
}

/* --- tasks and types ------------------------------------------------------------------------- */

enum { RUN_NS_LOG2 = 36 }; /* about a minute */

static void fill_task_life(struct maker *maker, struct run_task *task, bool ended)
{
    const uint64_t end_ns = (uint64_t)1 << RUN_NS_LOG2;
    task->spawned_ns = below(maker, end_ns / 2) + 1;
    if (task->is_thread)
        return;
    task->polls = below(maker, 1000);
    task->first_poll_ns = task->polls ? task->spawned_ns + 1000 : 0;
    task->last_poll_ns = task->polls ? task->first_poll_ns + below(maker, end_ns / 4) : 0;
    task->end = ended ? (uint32_t)below(maker, RUN_END_NEVER_POLLED) + 1 : RUN_END_NOT;
    task->ended_ns = ended ? task->spawned_ns + below(maker, end_ns / 4) + 2000 : 0;
    task->poll_ns = task->polls * below(maker, 100000);
    task->longest_poll_ns = task->polls ? task->poll_ns / task->polls * 2 : 0;
    task->slow_polls = task->longest_poll_ns >= 1000000;
    task->scheduled = task->polls;
    task->await = maker->size->is_unknown ? 0 : (uint32_t)below(maker, maker->nr_awaits + 1);
    task->held_bytes = ended ? RUN_UNKNOWN : unless_unknown(maker, amount(maker));
    const struct run_await *awaits = run_awaits(maker->run, NULL);
    task->waits_for = task->await ? awaits[task->await - 1].waits_for : (run_str){0};
}

static void add_to_type(struct run_type *type, const struct run_task *task)
{
    ADD_COUNTS(type, task);
    if (task->is_thread)
        return;
    type->tasks++;
    type->ended[task->end]++;
    type->live_tasks += task->end == RUN_END_NOT;
    type->live_cells++; /* finished ones keep theirs */
    type->polls += task->polls;
    type->slow_polls += task->slow_polls;
    type->scheduled += task->scheduled;
    type->poll_ns += task->poll_ns;
    type->longest_poll_ns = task->longest_poll_ns > type->longest_poll_ns ? task->longest_poll_ns
                                                                          : type->longest_poll_ns;
    type->peak_bytes_sum += task->peak_bytes;
    type->peak_bytes_max =
        task->peak_bytes > type->peak_bytes_max ? task->peak_bytes : type->peak_bytes_max;
}

static void note_end(struct maker *maker, const struct run_task *task)
{
    const struct run_await_end row = {
        .type = task->type, .await = task->await, .end = task->end, .tasks = 1};
    if (!task->is_thread && task->end > RUN_END_FINISHED)
        run_add(maker->run, RUN_AWAIT_ENDS, &row);
}

static void add_task(struct maker *maker, uint32_t type_id)
{
    size_t nr;
    run_tasks(maker->run, &nr);
    struct run_type *type = &run_types(maker->run, NULL)[type_id - 1];
    const bool ended = below(maker, 3) == 0;
    const struct counts counts = make_counts(maker, true);
    struct run_task row = {.id = nr * 3 + 7, .type = type_id, .runtime_task_id = nr + 1};
    row.is_thread = type->kind == RUN_KIND_THREAD || type->kind == RUN_KIND_ROOT ||
                    type->kind == RUN_KIND_WORKER;
    ADD_COUNTS(&row, &counts);
    row.peak_bytes = row.live_bytes + amount(maker);
    row.cell_bytes = row.is_thread ? RUN_UNKNOWN : type->cell_bytes;
    row.held_bytes = RUN_UNKNOWN;
    fill_task_life(maker, &row, ended);
    run_add(maker->run, RUN_TASKS, &row);
    add_to_type(&run_types(maker->run, NULL)[type_id - 1], &row);
    note_end(maker, &row);
}

/* Tasks that ended and hold nothing. */
static void add_folded(struct maker *maker, uint32_t type_id)
{
    const struct counts counts = make_counts(maker, false);
    const uint64_t nr = below(maker, 100000);
    struct run_type *type = &run_types(maker->run, NULL)[type_id - 1];
    ADD_COUNTS(type, &counts);
    type->tasks += nr;
    type->ended[RUN_END_FINISHED] += nr - nr / 9;
    type->ended[RUN_END_ABORTED] += nr / 9; /* at places that are not known */
    type->polls += nr * 3;
    type->poll_ns += nr * below(maker, 9000);
    type->peak_bytes_sum += nr * below(maker, 900);
    type->most_at_once = type->live_tasks + nr / 10;
    type->idle_ns = nr * below(maker, 90000000);
}

static uint32_t add_type(struct maker *maker, uint32_t kind)
{
    static const char *const names[] = {"thread main", "tokio runtime worker", "signal handler",
                                        NULL};
    const bool is_task = kind == RUN_KIND_ASYNC || kind == RUN_KIND_BLOCKING;
    const uint64_t payload = amount(maker) % 60000;
    const struct run_type row = {
        .future = one_of(maker, is_task ? user_functions : names),
        .full = one_of(maker, user_functions),
        .kind = kind,
        .runtime = is_task ? str(maker, "tokio multi_thread") : (run_str){0},
        .image = is_task,
        .header_bytes = is_task ? 56 : RUN_UNKNOWN,
        .padding_bytes = is_task ? 72 : RUN_UNKNOWN,
        .payload_bytes = is_task ? payload : RUN_UNKNOWN,
        .cell_bytes = is_task ? unless_unknown(maker, payload + 128) : RUN_UNKNOWN,
    };
    maker->nr_types = run_add(maker->run, RUN_TYPES, &row);
    return maker->nr_types;
}

static void add_types(struct maker *maker)
{
    const struct run_sample_size *size = maker->size;
    static const uint32_t threads[] = {RUN_KIND_ROOT, RUN_KIND_WORKER, RUN_KIND_THREAD};
    for (uint32_t i = 0; i < size->nr_types; i++)
        add_type(maker, i % 5 == 4 ? RUN_KIND_BLOCKING : RUN_KIND_ASYNC);
    for (size_t i = 0; i < 3; i++)
        add_task(maker, add_type(maker, threads[i]));
    for (uint32_t i = 0; i < size->nr_tasks; i++)
        add_task(maker, (uint32_t)below(maker, size->nr_types) + 1);
    for (uint32_t i = 1; i <= size->nr_types; i++)
        add_folded(maker, i);
    for (uint32_t i = 1; i <= maker->nr_types; i++)
        add_sites(maker, i, size->nr_sites / maker->nr_types + 1);
}

/* --- the rest -------------------------------------------------------------------------------- */

static void sum_facts(struct maker *maker)
{
    struct run_facts *facts = run_facts(maker->run);
    size_t nr;
    const struct run_type *types = run_types(maker->run, &nr);
    for (size_t i = 0; i < nr; i++) {
        ADD_COUNTS(facts, &types[i]);
        facts->tasks += types[i].tasks;
        facts->polls += types[i].polls;
    }
    facts->polls_blocking = facts->polls / 7;
    facts->polls_cancel = facts->polls / 11;
    facts->polls_future = facts->polls - facts->polls_blocking - facts->polls_cancel;
    facts->peak_bytes = facts->live_bytes + facts->freed_bytes / 5;
    facts->peak_ns = (uint64_t)1 << (RUN_NS_LOG2 - 1);
    facts->peak_error_bytes = maker->size->is_unknown ? 65536 : 0;
    facts->peak_rss_bytes = facts->peak_bytes + 4200000;
}

static void fill_facts(struct maker *maker)
{
    const struct run_sample_size *size = maker->size;
    const run_str program = str(maker, "/srv/bin/chat"),
                  command = str(maker, "/srv/bin/chat --verbose");
    struct run_facts *facts = run_facts(maker->run);
    facts->program = program;
    facts->command = command;
    facts->pid = 4242;
    facts->ended_by = (uint32_t)below(maker, NR_RUN_ENDED_BY);
    facts->exit_status = facts->ended_by == RUN_SIGNAL ? 9 : 0;
    facts->stacks = size->is_sampled                      ? RUN_STACKS_SAMPLED
                    : size->is_unknown && below(maker, 2) ? RUN_STACKS_NONE
                                                          : RUN_STACKS_ALL;
    facts->sample_bytes = size->is_sampled ? 524288 : 0;
    facts->started_at_ns = 1700000000123456789;
    facts->ended_at_ns = facts->started_at_ns + ((int64_t)1 << RUN_NS_LOG2);
    facts->clock_tick_ns = 1 << 20;
    facts->nr_threads = below(maker, 60) + 1;
    facts->detail = 2;
}

static void add_step_types(struct maker *maker, uint32_t step, uint64_t live_bytes)
{
    for (uint32_t i = 1; i <= maker->nr_types && i <= 10; i++) {
        const struct run_step_type row = {step, i, below(maker, live_bytes / 10 + 1)};
        run_add(maker->run, RUN_STEP_TYPES, &row);
    }
}

static void add_steps(struct maker *maker)
{
    const struct run_facts facts = *run_facts(maker->run);
    const uint32_t nr = maker->size->nr_steps;
    for (uint32_t i = 0; i < nr; i++) {
        const struct run_step row = {
            .t_ns = ((uint64_t)i << RUN_NS_LOG2) / nr,
            .live_bytes = facts.live_bytes / nr * i + below(maker, facts.peak_bytes / 4 + 1),
            .rss_bytes = facts.peak_rss_bytes / nr * (i + 1),
            .live_tasks = below(maker, maker->size->nr_tasks + 1),
        };
        add_step_types(maker, run_add(maker->run, RUN_STEPS, &row), row.live_bytes);
    }
}

static void add_runtimes(struct maker *maker)
{
    static const uint32_t kinds[] = {RUN_KIND_ASYNC, RUN_KIND_BLOCKING};
    for (size_t i = 0; i < 2; i++) {
        const uint64_t cells = below(maker, 1000) + 1;
        const struct run_runtime row = {
            .name = str(maker, "tokio multi_thread"),
            .kind = kinds[i],
            .cells = cells,
            .cell_header_bytes = cells * 56,
            .cell_padding_bytes = unless_unknown(maker, cells * 72),
            .cell_payload_bytes = cells * 777,
            .queue_bytes = unless_unknown(maker, 8192),
            .timer_bytes = RUN_UNKNOWN,
            .io_bytes = amount(maker),
            .worker_bytes = unless_unknown(maker, amount(maker)),
            .other_bytes = 0,
            .nr_workers = 4,
            .stack_bytes = 8 << 20,
        };
        run_add(maker->run, RUN_RUNTIMES, &row);
    }
}

static void add_words(struct maker *maker)
{
    const struct run_note note = {str(maker, "the heap was looked at while it changed")};
    const struct run_lost lost = {str(maker, "in_signal"),
                                  str(maker, "allocations in signal handlers"), 3};
    run_add(maker->run, RUN_NOTES, &note);
    if (maker->size->is_unknown)
        run_add(maker->run, RUN_LOSTS, &lost);
}

static void add_snapshot(struct maker *maker)
{
    struct snapshot snapshot;
    struct text bytes;
    struct run_snapshot row = {.t_ns = 12345678901, .live_bytes = 7654321};
    if (!maker->size->has_snapshot)
        return;
    text_init(&bytes);
    sample_snapshot_held(&snapshot);
    snapshot_file_pack(&snapshot, &bytes);
    row.nr_bytes = bytes.length;
    for (size_t i = 0; i < bytes.length; i++)
        run_add(maker->run, RUN_SNAPSHOT_BYTES, &bytes.data[i]);
    run_add(maker->run, RUN_SNAPSHOTS, &row);
    snapshot_deinit(&snapshot);
    text_deinit(&bytes);
}

void run_sample(struct run *run, const struct run_sample_size *size)
{
    struct maker maker = {
        .run = run, .size = size, .random = size->seed * 2654435761 + 88172645463325252};
    run_init(run);
    const struct run_image image = {.path = str(&maker, "/srv/bin/chat"), .detail = 2};
    run_add(run, RUN_IMAGES, &image);
    fill_facts(&maker);
    add_places(&maker);
    add_awaits(&maker);
    add_types(&maker);
    sum_facts(&maker);
    add_steps(&maker);
    add_runtimes(&maker);
    add_words(&maker);
    add_snapshot(&maker);
}
