/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "snapshot_sample.h"

#include "model/run_rows.h"

#define UNKNOWN UINT64_MAX

static snapshot_str str(struct snapshot *snapshot, const char *text)
{
    return snapshot_add_string(snapshot, text);
}

static uint32_t kind(struct snapshot *snapshot, enum task_kind kind, const char *future,
                     uint64_t cell_bytes, uint64_t future_bytes)
{
    const struct snapshot_kind row = {
        .image = 1,
        .kind = kind,
        .scheduler =
            kind == TASK_KIND_BLOCKING ? TASK_SCHEDULER_BLOCKING : TASK_SCHEDULER_MULTI_THREAD,
        .future = str(snapshot, future),
        .full = str(snapshot, future),
        .cell_bytes = cell_bytes,
        .future_bytes = future_bytes,
    };
    return snapshot_add(snapshot, SNAPSHOT_KINDS, &row);
}

static uint32_t state(struct snapshot *snapshot, const char *future, const char *name,
                      const char *file, uint32_t line)
{
    const struct snapshot_state row = {.future = str(snapshot, future),
                                       .full = str(snapshot, future),
                                       .state = str(snapshot, name),
                                       .file = str(snapshot, file),
                                       .line = line,
                                       .future_bytes = 128};
    return snapshot_add(snapshot, SNAPSHOT_STATES, &row);
}

static uint32_t leaf(struct snapshot *snapshot, const char *future, const char *waits_for)
{
    uint32_t id = state(snapshot, future, "", "", 0);
    snapshot_states(snapshot, NULL)[id - 1].waits_for = str(snapshot, waits_for);
    return id;
}

/* A task with a tree; frames are pairs of parent and state, ended by state 0. */
static void task(struct snapshot *snapshot, uint32_t kind_id, enum task_status status,
                 const struct snapshot_frame *frames)
{
    struct snapshot_task row = {.kind = kind_id, .runtime = 1, .status = status, .nr_refs = 2};
    size_t nr;
    snapshot_tasks(snapshot, &nr);
    row.addr = 0x7f0000001000 + 0x1000 * nr;
    row.runtime_task_id = 10 + nr;
    for (; frames->state; frames++) {
        uint32_t id = snapshot_add(snapshot, SNAPSHOT_FRAMES, frames);
        row.first_frame = row.nr_frames++ ? row.first_frame : id;
    }
    snapshot_add(snapshot, SNAPSHOT_TASKS, &row);
}

static struct snapshot_task *last_task(struct snapshot *snapshot)
{
    size_t nr;
    struct snapshot_task *tasks = snapshot_tasks(snapshot, &nr);
    return &tasks[nr - 1];
}

/* As where no account of the heap was made. */
static void forget_held(struct snapshot *snapshot)
{
    size_t nr;
    struct snapshot_task *tasks = snapshot_tasks(snapshot, &nr);
    for (size_t i = 0; i < nr; i++)
        tasks[i].held_bytes = tasks[i].maybe_held_bytes = tasks[i].shared_bytes = UNKNOWN;
}

static void add_facts(struct snapshot *snapshot)
{
    struct snapshot_facts *facts = snapshot_facts(snapshot);
    facts->pid = 4242;
    facts->detail = SNAPSHOT_DETAIL_FULL;
    facts->nr_threads = 3;
    facts->taken_at_ns = 1700000000123456789;
    facts->stop_ns = 3140000;
    snapshot_str program = str(snapshot, "/srv/bin/demo");
    snapshot_facts(snapshot)->program = program;
    const struct snapshot_image image = {
        .path = program, .build_id = str(snapshot, "5f0c3cb1"), .detail = SNAPSHOT_DETAIL_FULL};
    const struct snapshot_runtime runtime = {.addr = 0x7f0000000100,
                                             .name = str(snapshot, "tokio multi_thread"),
                                             .owned_tasks = 5,
                                             .found_tasks = 5};
    const struct snapshot_note note = {str(snapshot, "one thread was in a system call")};
    snapshot_add(snapshot, SNAPSHOT_IMAGES, &image);
    snapshot_add(snapshot, SNAPSHOT_RUNTIMES, &runtime);
    snapshot_add(snapshot, SNAPSHOT_NOTES, &note);
}

static void add_slots(struct snapshot *snapshot, uint32_t state_id)
{
    const struct snapshot_slot slots[] = {
        {str(snapshot, "conn"), str(snapshot, "TcpStream"), 16, 24},
        {str(snapshot, "buffer"), str(snapshot, "[u8; 2048]"), 40, 2048}};
    uint32_t first = snapshot_add(snapshot, SNAPSHOT_SLOTS, &slots[0]);
    snapshot_add(snapshot, SNAPSHOT_SLOTS, &slots[1]);
    struct snapshot_state *row = &snapshot_states(snapshot, NULL)[state_id - 1];
    row->first_slot = first;
    row->nr_slots = 2;
}

static void add_kinds(struct snapshot *snapshot)
{
    const struct snapshot_also also = {str(snapshot, "demo::other_job")};
    kind(snapshot, TASK_KIND_ASYNC, "demo::handler", 1024, 960);
    uint32_t job = kind(snapshot, TASK_KIND_ASYNC, "demo::job", 512, 448);
    kind(snapshot, TASK_KIND_ROOT, "demo::main::{async block#0}", 0, 3000);
    uint32_t blocking = kind(snapshot, TASK_KIND_BLOCKING, "", UNKNOWN, UNKNOWN);
    uint32_t first = snapshot_add(snapshot, SNAPSHOT_ALSO, &also);
    snapshot_str reason = str(snapshot, "no layouts: build with debug = 2");
    struct snapshot_kind *kinds = snapshot_kinds(snapshot, NULL);
    kinds[job - 1].first_also = first;
    kinds[job - 1].nr_also = 1;
    kinds[blocking - 1].reason = reason;
}

enum { HANDLER = 1, JOB, MAIN, BLOCKING };

void sample_snapshot(struct snapshot *snapshot)
{
    static const struct snapshot_frame none[] = {{0}};
    snapshot_init(snapshot);
    add_facts(snapshot);
    add_kinds(snapshot);
    uint32_t reading = state(snapshot, "demo::handler", "Suspend0", "src/conn.rs", 88);
    uint32_t frame = state(snapshot, "demo::read_frame", "Suspend1", "src/frame.rs", 12);
    uint32_t read = leaf(snapshot, "tokio::io::Read", "socket read");
    uint32_t selecting = state(snapshot, "demo::handler", "Suspend1", "src/conn.rs", 90);
    uint32_t sleep = leaf(snapshot, "tokio::time::Sleep", "sleep");
    uint32_t channel = leaf(snapshot, "tokio::sync::mpsc::Recv", "channel receive");
    uint32_t new_job = state(snapshot, "demo::job", "Unresumed", "src/job.rs", 5);
    uint32_t main_state =
        state(snapshot, "demo::main::{async block#0}", "Suspend0", "src/main.rs", 20);
    snapshot_str macro = str(snapshot, "select!");
    snapshot_states(snapshot, NULL)[selecting - 1].macro = macro;
    add_slots(snapshot, reading);
    const struct snapshot_frame chain[] = {{.parent = 0, .state = reading},
                                           {.parent = 1, .state = frame},
                                           {.parent = 2, .state = read},
                                           {0}};
    const struct snapshot_frame fork[] = {{.parent = 0, .state = selecting},
                                          {.parent = 1, .state = sleep},
                                          {.parent = 1, .state = channel},
                                          {0}};
    const struct snapshot_frame unresumed[] = {{.parent = 0, .state = new_job}, {0}};
    const struct snapshot_frame root[] = {{.parent = 0, .state = main_state}, {0}};
    task(snapshot, HANDLER, TASK_SUSPENDED, chain);
    task(snapshot, HANDLER, TASK_SUSPENDED, chain);
    task(snapshot, HANDLER, TASK_SUSPENDED, fork);
    task(snapshot, JOB, TASK_FINISHED, none);
    last_task(snapshot)->finished_because = FINISHED_UNREAD;
    task(snapshot, JOB, TASK_FINISHED, none);
    last_task(snapshot)->finished_because = FINISHED_PINNED;
    task(snapshot, JOB, TASK_NEVER_POLLED, unresumed);
    task(snapshot, HANDLER, TASK_RUNNING, none);
    snapshot_str reason = str(snapshot, "it is running: its future changes as it is read");
    last_task(snapshot)->reason = reason;
    task(snapshot, MAIN, TASK_SUSPENDED, root);
    last_task(snapshot)->addr = last_task(snapshot)->runtime_task_id = 0;
    task(snapshot, BLOCKING, TASK_QUEUED, none);
    forget_held(snapshot);
}

/* --- with an account of the heap -------------------------------------------------------------- */

enum { CONN_SLOT = 1, BUFFER_SLOT, NAMES_SLOT };

static void hold(struct snapshot *snapshot, uint32_t id, uint64_t bytes, enum held_is is)
{
    struct snapshot_task *row = &snapshot_tasks(snapshot, NULL)[id - 1];
    row->held_bytes = bytes;
    row->maybe_held_bytes = row->shared_bytes = 0;
    row->held_is = is;
    row->cell_block_bytes = 1032;
}

static void give_holdings(struct snapshot *snapshot, uint32_t frame,
                          const struct snapshot_holding *rows, uint32_t nr)
{
    for (uint32_t i = 0; i < nr; i++) {
        uint32_t id = snapshot_add(snapshot, SNAPSHOT_HOLDINGS, &rows[i]);
        struct snapshot_frame *row = &snapshot_frames(snapshot, NULL)[frame - 1];
        row->first_holding = row->nr_holdings++ ? row->first_holding : id;
    }
}

/* Tasks 1 and 2 stand at conn.rs:88: frames 1 to 3 and 4 to 6; task 3 has 7 to 9. */
static void add_holdings(struct snapshot *snapshot)
{
    const struct snapshot_holding first[] = {
        {CONN_SLOT, HOLDING_SLOT, SLOT_LIVE, HELD_EXACT, 2, 0, 300, 280},
        {BUFFER_SLOT, HOLDING_SLOT, SLOT_GONE, HELD_EXACT, 0, 0, 0, 0},
        {0, HOLDING_HIDDEN, SLOT_LIVE, HELD_EXACT, 1, 0, 40, UNKNOWN}};
    const struct snapshot_holding second[] = {
        {CONN_SLOT, HOLDING_SLOT, SLOT_LIVE, HELD_AT_LEAST, 3, 0, 5000, UNKNOWN},
        {BUFFER_SLOT, HOLDING_SLOT, SLOT_UNSURE, HELD_UNKNOWN, 0, 0, 0, UNKNOWN}};
    const struct snapshot_holding names[] = {
        {NAMES_SLOT, HOLDING_SLOT, SLOT_LIVE, HELD_EXACT, 9, 0, 90000, 80000}};
    give_holdings(snapshot, 1, first, 3);
    give_holdings(snapshot, 4, second, 2);
    give_holdings(snapshot, 11, names, 1);
}

static void add_shared(struct snapshot *snapshot)
{
    const struct snapshot_shared_task sharers[] = {{1}, {2}};
    uint32_t first = snapshot_add(snapshot, SNAPSHOT_SHARED_TASKS, &sharers[0]);
    snapshot_add(snapshot, SNAPSHOT_SHARED_TASKS, &sharers[1]);
    const struct snapshot_shared rows[] = {{.addr = 0x7f0000020000, .nr_owners = 7, .bytes = 64},
                                           {.addr = 0x7f0000030000,
                                            .type = str(snapshot, "demo::Config"),
                                            .nr_owners = 3,
                                            .bytes = 2048,
                                            .first_task = first,
                                            .nr_tasks = 2}};
    snapshot_add(snapshot, SNAPSHOT_SHARED, &rows[0]);
    snapshot_add(snapshot, SNAPSHOT_SHARED, &rows[1]);
    for (uint32_t i = 0; i < 2; i++)
        snapshot_tasks(snapshot, NULL)[i].shared_bytes = 2048;
}

static void add_keepers(struct snapshot *snapshot)
{
    const struct snapshot_keeper rows[] = {
        {.addr = 0x7f0000040010,
         .block_addr = 0x7f0000040000,
         .block_bytes = 4096,
         .block_class = BLOCK_HELD,
         .task = 8,
         .slot = str(snapshot, "names")},
        {.addr = 0x7ffc00000020, .place = str(snapshot, "stack of thread 4243")}};
    uint32_t first = snapshot_add(snapshot, SNAPSHOT_KEEPERS, &rows[0]);
    snapshot_add(snapshot, SNAPSHOT_KEEPERS, &rows[1]);
    struct snapshot_task *tasks = snapshot_tasks(snapshot, NULL);
    tasks[3].first_keeper = first;
    tasks[4].first_keeper = first + 1;
    tasks[3].nr_keepers = tasks[4].nr_keepers = 1;
}

enum { OF_READ_BODY = 1, OF_A_LIBRARY };
enum { BY_TASK_1 = 1, BY_TASK_3, BY_MAIN, BY_ENDED };

static void add_sites(struct snapshot *snapshot)
{
    const snapshot_str conn = str(snapshot, "src/conn.rs"), reserve = str(snapshot, "Vec::reserve");
    const struct snapshot_site_frame frames[] = {
        {reserve, reserve, {0}, 0, RUN_FRAME_STD, 1},
        {str(snapshot, "read_body"), str(snapshot, "demo::read_body"), conn, 41, RUN_FRAME_USER, 0},
        {str(snapshot, "handler"), str(snapshot, "demo::handler"), conn, 88, RUN_FRAME_POLL, 0},
        {str(snapshot, "Map::insert"), str(snapshot, "maps::Map<K>::insert"),
         str(snapshot, "/.cargo/maps.rs"), 7, RUN_FRAME_LIBRARY, 0}};
    for (size_t i = 0; i < sizeof(frames) / sizeof(*frames); i++)
        snapshot_add(snapshot, SNAPSHOT_SITE_FRAMES, &frames[i]);
    const struct snapshot_site sites[] = {{1, 3, 2, 2}, {4, 1, 0, 1}};
    snapshot_add(snapshot, SNAPSHOT_SITES, &sites[0]);
    snapshot_add(snapshot, SNAPSHOT_SITES, &sites[1]);
}

/* Holdings 1 and 4 are `conn` of tasks 1 and 2, 6 is `names`. */
static void add_origins(struct snapshot *snapshot)
{
    const snapshot_str handler = str(snapshot, "demo::handler");
    const struct snapshot_maker makers[] = {{MAKER_TASK, 1, 101, 10, handler, 0},
                                            {MAKER_TASK, 3, 103, 12, handler, 0},
                                            {MAKER_THREAD, 0, 100, 0, str(snapshot, "main"), 4242},
                                            {MAKER_TASK, 0, 99, 9, str(snapshot, "demo::job"), 0}};
    const struct snapshot_origin origins[] = {{1, BY_TASK_1, OF_READ_BODY, 2, 280},
                                              {4, BY_TASK_3, OF_READ_BODY, 1, 3000},
                                              {4, BY_MAIN, OF_A_LIBRARY, 1, 500},
                                              {4, 0, 0, 1, UNKNOWN},
                                              {6, BY_ENDED, 0, 9, 80000}};
    const struct snapshot_spawn spawn = {.task = 1, .maker = BY_MAIN, .site = OF_READ_BODY};
    add_sites(snapshot);
    for (size_t i = 0; i < sizeof(makers) / sizeof(*makers); i++)
        snapshot_add(snapshot, SNAPSHOT_MAKERS, &makers[i]);
    for (size_t i = 0; i < sizeof(origins) / sizeof(*origins); i++)
        snapshot_add(snapshot, SNAPSHOT_ORIGINS, &origins[i]);
    snapshot_add(snapshot, SNAPSHOT_SPAWNS, &spawn);
}

void sample_snapshot_held(struct snapshot *snapshot)
{
    sample_snapshot(snapshot);
    const struct snapshot_slot slot = {str(snapshot, "names"), str(snapshot, "Vec<String>"), 8, 24};
    struct snapshot_state *main_state = &snapshot_states(snapshot, NULL)[7];
    main_state->first_slot = snapshot_add(snapshot, SNAPSHOT_SLOTS, &slot);
    main_state->nr_slots = 1;
    hold(snapshot, 1, 400, HELD_EXACT);
    hold(snapshot, 2, 5000, HELD_AT_LEAST);
    hold(snapshot, 3, 0, HELD_EXACT);
    hold(snapshot, 4, 128, HELD_EXACT);
    hold(snapshot, 5, 0, HELD_EXACT);
    hold(snapshot, 6, 16, HELD_EXACT);
    hold(snapshot, 8, 90000, HELD_EXACT);
    snapshot_tasks(snapshot, NULL)[7].cell_block_bytes = 0; /* a root */
    snapshot_str reason = str(snapshot, "its drop code waits for a lock");
    snapshot_tasks(snapshot, NULL)[1].held_reason = reason;
    snapshot_tasks(snapshot, NULL)[1].maybe_held_bytes = 96;
    add_holdings(snapshot);
    add_shared(snapshot);
    add_keepers(snapshot);
    add_origins(snapshot);
    const struct snapshot_heap heap = {.live_bytes = 110000,
                                       .cells_bytes = 8000,
                                       .held_bytes = 95544,
                                       .maybe_held_bytes = 96,
                                       .shared_bytes = 2112,
                                       .runtime_bytes = 3000,
                                       .other_bytes = 1000,
                                       .unknown_bytes = 248,
                                       .retained_bytes = 20000,
                                       .rss_bytes = 140000,
                                       .nr_blocks = 321,
                                       .fork_ns = 250000,
                                       .allocator = str(snapshot, "glibc malloc"),
                                       .how = str(snapshot, "a copy-on-write child")};
    snapshot_add(snapshot, SNAPSHOT_HEAP, &heap);
}

void sample_snapshot_big(struct snapshot *snapshot, uint32_t nr)
{
    snapshot_init(snapshot);
    add_facts(snapshot);
    add_kinds(snapshot);
    struct snapshot_frame frames[6] = {{0}};
    for (uint32_t i = 0; i < 5; i++) {
        frames[i].parent = i;
        frames[i].state = state(snapshot, "demo::some::module::handler_of_requests", "Suspend0",
                                "/home/user/demo/src/connection.rs", 80 + i);
        add_slots(snapshot, frames[i].state);
    }
    for (uint32_t i = 0; i < nr; i++)
        task(snapshot, HANDLER, TASK_SUSPENDED, frames);
    forget_held(snapshot);
}
