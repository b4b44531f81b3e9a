/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * From places to variables: a reader that is filled by hand, with futures at addresses, blocks whose
 * pointers lay in them, and words that the drop code read.
 */
#include "unit.h"

#include "model/snapshot_build.h"
#include "plan_sample.h"

#define UNKNOWN UINT64_MAX
#define CELL_FUTURE UINT64_C(0x100000)
#define FIRST_BLOCK UINT64_C(0x10000000)

/* Offsets in `serve`, of 256 bytes, where it is suspended. */
enum {
    AT_REQUEST = 8, /* a Vec */
    AT_NAME = 32,   /* a String */
    AT_COUNT = 56,
    AT_READ = 64,    /* awaited: a future that is no state machine */
    AT_LATER = 128,  /* a variable of the same type */
    AT_RAW = 192,    /* a struct around a pointer */
    AT_UNIT = 200,   /* of no bytes */
    AT_HIDDEN = 208, /* nothing that debug info tells */
    SERVE_BYTES = 256,
    /* In Read, of 64 bytes. */
    AT_BUFFER = 24, /* conn.io.read_buf */
    AT_PAIR = 40,   /* a struct of two words */
    READ_BYTES = 64,
    /* In `outer`, of 512 bytes. */
    AT_OUTER_NAME = 8,
    AT_SERVE = 64,
    OUTER_BYTES = 512,
    /* In `boxing`, of 64 bytes, which awaits a Box. */
    AT_BOX = 16,
    BOXING_BYTES = 64,
    SUSPENDED = 3, /* variant */
};

static struct {
    struct plan plan;
    uint8_t *plan_bytes;
    plan_type_id serve, read, outer, boxing;
    struct target target;
    struct task_reader reader;
    struct process_plan plans[1];
    struct cell_kind kinds[1];
    uint8_t cell_bytes[64];
    bool is_partial[8];
    size_t blocks_capacity, frames_capacity;
    uint32_t nr_tasks;
    struct snapshot snapshot;
} world;

/* --- the plan -------------------------------------------------------------------------------- */

static plan_type_id add_coroutine(struct plan_builder *builder, const char *path, uint64_t size,
                                  const struct sample_member *slots, uint32_t nr)
{
    const struct sample_state states[] = {
        {"Unresumed", NULL, 0, 10}, {"Returned", NULL, 0, 10}, {"Suspend0", slots, nr, 12}};
    plan_future_id future = sample_future(builder, PLAN_FUTURE_FN, path, size, size - 8, states, 3);
    const struct plan_future *row = plan_builder_row(builder, PLAN_FUTURES, future.v);
    ((struct plan_type *)plan_builder_row(builder, PLAN_TYPES, row->type.v))->is_future = true;
    return row->type;
}

static plan_type_id add_read(struct plan_builder *builder, plan_type_id vec, plan_type_id word)
{
    const struct sample_member io[] = {{"fd", word, 0}, {"read_buf", vec, 8}};
    const struct sample_member pair[] = {{"__0", word, 0}, {"__1", word, 8}};
    plan_type_id io_type = sample_struct(builder, PLAN_TYPE_STRUCT, "demo::Io", 32, io, 2);
    const struct sample_member conn[] = {{"io", io_type, 0}};
    const struct sample_member fields[] = {
        {"conn", sample_struct(builder, PLAN_TYPE_STRUCT, "demo::Conn", 32, conn, 1), 8},
        {"pair", sample_struct(builder, PLAN_TYPE_STRUCT, "(u64, u64)", 16, pair, 2), AT_PAIR},
        {"__0", word, 56}};
    plan_type_id read =
        sample_struct(builder, PLAN_TYPE_STRUCT, "demo::Read", READ_BYTES, fields, 3);
    ((struct plan_type *)plan_builder_row(builder, PLAN_TYPES, read.v))->is_future = true;
    return read;
}

static void make_plan(void)
{
    struct plan_builder builder;
    plan_builder_init(&builder);
    builder.facts.detail = PLAN_DETAIL_FULL;
    plan_type_id word = sample_base(&builder, "u64", 8), unit = sample_base(&builder, "()", 0);
    plan_type_id vec = sample_struct(&builder, PLAN_TYPE_STRUCT,
                                     "alloc::vec::Vec<u8, alloc::alloc::Global>", 24, NULL, 0);
    plan_type_id text =
        sample_struct(&builder, PLAN_TYPE_STRUCT, "alloc::string::String", 24, NULL, 0);
    plan_type_id pointer =
        sample_struct(&builder, PLAN_TYPE_POINTER, "*mut demo::Node", 8, NULL, 0);
    const struct sample_member node[] = {{"head", pointer, 0}};
    plan_type_id raw = sample_struct(&builder, PLAN_TYPE_STRUCT, "demo::List", 8, node, 1);
    world.read = add_read(&builder, vec, word);
    const struct sample_member serve[] = {
        {"request", vec, AT_REQUEST},    {"name", text, AT_NAME},
        {"count", word, AT_COUNT},       {"__awaitee", world.read, AT_READ},
        {"later", world.read, AT_LATER}, {"raw", raw, AT_RAW},
        {"unit", unit, AT_UNIT}};
    world.serve = add_coroutine(&builder, "demo::serve::{async_fn_env#0}", SERVE_BYTES, serve, 7);
    const struct sample_member outer[] = {{"outer_name", text, AT_OUTER_NAME},
                                          {"__awaitee", world.serve, AT_SERVE}};
    world.outer = add_coroutine(&builder, "demo::outer::{async_fn_env#0}", OUTER_BYTES, outer, 2);
    plan_type_id box =
        sample_struct(&builder, PLAN_TYPE_STRUCT, "alloc::boxed::Box<demo::Unknown>", 8, NULL, 0);
    const struct sample_member boxing[] = {{"name", text, AT_BOX + 8}, {"__awaitee", box, AT_BOX}};
    world.boxing =
        add_coroutine(&builder, "demo::boxing::{async_fn_env#0}", BOXING_BYTES, boxing, 2);
    const struct plan_task task = {.vtable_addr = 0x1000,
                                   .future = plan_builder_string(&builder, "demo::serve"),
                                   .kind = PLAN_TASK_ASYNC};
    plan_builder_add(&builder, PLAN_TASKS, &task);
    world.plan_bytes = sample_open(&builder, &world.plan);
    plan_builder_deinit(&builder);
}

/* --- the reader ------------------------------------------------------------------------------ */

static int begin(void **state)
{
    struct task_reader *reader = &world.reader;
    (void)state;
    memset(&world, 0, sizeof(world));
    make_plan();
    world.target = (struct target){.is_core = true, .name = "/bin/demo"};
    process_plan_init(&world.plans[0], &(struct target_image){.name = "/bin/demo"}, &world.plan);
    world.kinds[0].layout = (struct cell_layout){.stage_type = world.serve, .owner_id = 8};
    reader->target = &world.target;
    reader->plans = world.plans;
    reader->nr_plans = 1;
    reader->cells = (struct task_cells){.target = &world.target,
                                        .plans = world.plans,
                                        .nr_plans = 1,
                                        .kinds = world.kinds,
                                        .nr_kinds = 1};
    reader->cells.rows = calloc(8, sizeof(*reader->cells.rows));
    reader->futures.cells = &reader->cells;
    reader->futures.is_partial = world.is_partial;
    reader->heap.is_there = true;
    reader->heap.how = "the core";
    reader->heap.drops = (struct task_drops){
        .cells = &reader->cells, .futures = &reader->futures, .blocks = &reader->heap.blocks};
    reader->heap.drops.rows = calloc(8, sizeof(*reader->heap.drops.rows));
    snapshot_init(&world.snapshot);
    return 0;
}

static int finish(void **state)
{
    struct task_reader *reader = &world.reader;
    (void)state;
    snapshot_deinit(&world.snapshot);
    process_plan_deinit(&world.plans[0]);
    free(reader->cells.rows);
    free(reader->futures.frames);
    free(reader->heap.blocks.rows);
    free(reader->heap.classes.classes);
    free(reader->heap.classes.tasks);
    free(reader->heap.drops.rows);
    free(reader->heap.drops.drops);
    free(reader->heap.drops.reads);
    free(world.plan_bytes);
    return 0;
}

/* What is added afterwards belongs to it. */
static struct task_drop *add_task(void)
{
    struct task_drops *drops = &world.reader.heap.drops;
    uint32_t task = (uint32_t)world.reader.cells.nr++;
    world.reader.cells.rows[task] = (struct task_cell){
        .addr = 0x1000 * (task + 1), .id = task + 1, .state = 64, .bytes = world.cell_bytes};
    drops->rows[task] = (struct task_drop){.was_run = true,
                                           .is_exact = true,
                                           .cell_block = NO_BLOCK,
                                           .first_block = (uint32_t)drops->nr_drops,
                                           .first_read = (uint32_t)drops->nr_reads};
    return &drops->rows[task];
}

/* A frame of the newest task; its number, for its children. */
static uint32_t add_frame(uint32_t parent, plan_type_id type, uint64_t addr)
{
    struct task_futures *futures = &world.reader.futures;
    futures->frames = array_reserve(futures->frames, &world.frames_capacity, futures->nr + 1,
                                    sizeof(*futures->frames));
    futures->frames[futures->nr++] =
        (struct task_frame){.task = (uint32_t)world.reader.cells.nr - 1,
                            .parent = parent,
                            .type = type,
                            .variant = type.v == world.read.v ? 0 : SUSPENDED,
                            .addr = addr};
    return (uint32_t)futures->nr;
}

/* The next block, held by the newest task; its address. */
static uint64_t hold_asked(uint64_t place, uint64_t size, uint64_t requested)
{
    struct task_drops *drops = &world.reader.heap.drops;
    struct heap_blocks *blocks = &world.reader.heap.blocks;
    struct task_drop *drop = &drops->rows[world.reader.cells.nr - 1];
    uint64_t addr = blocks->nr ? blocks->highest + 8 : FIRST_BLOCK;
    blocks->rows =
        array_reserve(blocks->rows, &blocks->capacity, blocks->nr + 1, sizeof(*blocks->rows));
    blocks->rows[blocks->nr++] = (struct heap_block){addr, size};
    blocks->highest = addr + size;
    drops->drops = array_reserve(drops->drops, &drops->drops_capacity, drops->nr_drops + 1,
                                 sizeof(*drops->drops));
    drops->drops[drops->nr_drops++] = (struct drop_block){.block = (uint32_t)blocks->nr - 1,
                                                          .from = place,
                                                          .place = place,
                                                          .requested_bytes = requested};
    drop->nr_blocks++;
    drop->held_bytes += size;
    return addr;
}

static uint64_t hold(uint64_t place, uint64_t size)
{
    return hold_asked(place, size, UNKNOWN);
}

/* In ascending order. */
static void read_word(uint64_t addr)
{
    struct task_drops *drops = &world.reader.heap.drops;
    drops->reads = array_reserve(drops->reads, &drops->reads_capacity, drops->nr_reads + 1,
                                 sizeof(*drops->reads));
    drops->reads[drops->nr_reads++] = addr;
    drops->rows[world.reader.cells.nr - 1].nr_reads++;
}

static void build(void)
{
    const char *problem;
    struct heap_account *heap = &world.reader.heap;
    heap->classes.classes = calloc(heap->blocks.nr + 1, sizeof(*heap->classes.classes));
    heap->classes.tasks = calloc(heap->blocks.nr + 1, sizeof(*heap->classes.tasks));
    memset(heap->classes.classes, HEAP_CLASS_HELD, heap->blocks.nr);
    snapshot_build(&world.snapshot, &world.reader, "/bin/demo", NULL);
    if (!snapshot_check(&world.snapshot, &problem))
        fail_msg("%s", problem);
}

/* --- looking at the snapshot ----------------------------------------------------------------- */

static const struct snapshot_frame *frame_of(uint32_t task, uint32_t frame)
{
    const struct snapshot_task *row = &snapshot_tasks(&world.snapshot, NULL)[task];
    assert_true(frame < row->nr_frames);
    return &snapshot_frames(&world.snapshot, NULL)[row->first_frame - 1 + frame];
}

/* By the name of its slot, or NULL. */
static const struct snapshot_holding *find(const struct snapshot_frame *frame,
                                           enum holding_what what, const char *name)
{
    const struct snapshot_holding *found = NULL;
    for (uint32_t i = 0; i < frame->nr_holdings; i++) {
        const struct snapshot_holding *row =
            &snapshot_holdings(&world.snapshot, NULL)[frame->first_holding - 1 + i];
        if (row->what != what ||
            (row->slot &&
             strcmp(name, snapshot_string(
                              &world.snapshot,
                              snapshot_slots(&world.snapshot, NULL)[row->slot - 1].name)) != 0))
            continue;
        if (found)
            fail_msg("%s is there twice", name);
        found = row;
    }
    return found;
}

static const struct snapshot_holding *expect(const struct snapshot_frame *frame,
                                             enum holding_what what, const char *name,
                                             uint64_t bytes, uint32_t nr_blocks)
{
    const struct snapshot_holding *row = find(frame, what, name);
    if (!row)
        fail_msg("no row of kind %d, %s", (int)what, name);
    assert_int_equal(row->heap_bytes, bytes);
    assert_int_equal(row->nr_blocks, nr_blocks);
    return row;
}

static void expect_nothing_else(const struct snapshot_frame *frame, uint64_t bytes,
                                uint32_t nr_rows)
{
    uint64_t sum = 0;
    assert_int_equal(frame->nr_holdings, nr_rows);
    for (uint32_t i = 0; i < nr_rows; i++)
        sum += snapshot_holdings(&world.snapshot, NULL)[frame->first_holding - 1 + i].heap_bytes;
    assert_int_equal(sum, bytes);
}

enum { SERVE_SLOTS = 6 };

/* --- places ---------------------------------------------------------------------------------- */

static void test_variables(void **state)
{
    (void)state;
    add_task()->cell_block = 0;
    add_frame(0, world.serve, CELL_FUTURE);
    hold(CELL_FUTURE + AT_REQUEST, 104);
    hold(CELL_FUTURE + AT_REQUEST + 16, 24); /* its last word */
    hold(CELL_FUTURE + AT_NAME, 40);
    hold(0, 1000); /* nobody knows where its pointer was */
    build();
    const struct snapshot_task *task = &snapshot_tasks(&world.snapshot, NULL)[0];
    const struct snapshot_frame *frame = frame_of(0, 0);
    assert_int_equal(task->held_bytes, 104 + 24 + 40 + 1000);
    assert_int_equal(task->held_is, HELD_EXACT);
    assert_int_equal(task->cell_block_bytes, 104);
    assert_int_equal(expect(frame, HOLDING_SLOT, "request", 128, 2)->is, HELD_EXACT);
    expect(frame, HOLDING_SLOT, "name", 40, 1);
    expect(frame, HOLDING_SLOT, "count", 0, 0);
    expect_nothing_else(frame, 168, SERVE_SLOTS);
}

static void test_hidden_and_awaited(void **state)
{
    (void)state;
    add_task();
    add_frame(0, world.serve, CELL_FUTURE);
    hold(CELL_FUTURE + AT_HIDDEN, 24);
    hold(CELL_FUTURE + AT_READ, 40);                  /* awaited, but no frame is there */
    hold(CELL_FUTURE + AT_READ + READ_BYTES - 8, 56); /* its last word */
    hold(CELL_FUTURE, 72);                            /* before all variables */
    hold(CELL_FUTURE + SERVE_BYTES, 1000);            /* behind the future */
    hold(CELL_FUTURE - 8, 1000);
    build();
    const struct snapshot_frame *frame = frame_of(0, 0);
    expect(frame, HOLDING_HIDDEN, "", 24 + 72, 2);
    expect(frame, HOLDING_AWAITED, "", 40 + 56, 2);
    expect_nothing_else(frame, 24 + 72 + 40 + 56, SERVE_SLOTS + 2);
}

static void test_fields(void **state)
{
    (void)state;
    add_task();
    uint32_t serve = add_frame(0, world.serve, CELL_FUTURE);
    add_frame(serve, world.read, CELL_FUTURE + AT_READ);
    const uint64_t read = CELL_FUTURE + AT_READ;
    hold_asked(read + 16, 104, 100);
    hold_asked(read + 16, 24, 1);
    hold(read + AT_PAIR, 40);
    hold(read + 56, 56); /* has no name */
    build();
    const struct snapshot_frame *frame = frame_of(0, 1);
    const struct snapshot_holding *row = expect(frame, HOLDING_FIELD, "conn.io.read_buf", 128, 2);
    const struct snapshot_slot *slot = &snapshot_slots(&world.snapshot, NULL)[row->slot - 1];
    assert_int_equal(row->requested_bytes, 101);
    assert_int_equal(slot->offset_bytes, 16);
    assert_int_equal(slot->inline_bytes, 24);
    assert_string_equal(snapshot_string(&world.snapshot, slot->type), "Vec<u8>");
    expect(frame, HOLDING_FIELD, "pair", 40, 1);
    expect(frame, HOLDING_AWAITED, "", 56, 1);
    expect_nothing_else(frame, 128 + 40 + 56, 3);
    expect_nothing_else(frame_of(0, 0), 0, SERVE_SLOTS);
}

/* Whatever word of a field a pointer lay in, it is that field; in each task the same slot. */
static void test_words_of_one_field(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        add_task();
        add_frame(0, world.read, CELL_FUTURE);
        hold(CELL_FUTURE + 16, 24);
        hold(CELL_FUTURE + 24, 40);
        hold(CELL_FUTURE + 32, 56);
        hold(CELL_FUTURE + AT_PAIR + 8, 72); /* no name of its own */
        hold(CELL_FUTURE + AT_PAIR, 88);
    }
    build();
    const struct snapshot_holding *row =
        expect(frame_of(0, 0), HOLDING_FIELD, "conn.io.read_buf", 24 + 40 + 56, 3);
    assert_int_equal(
        expect(frame_of(1, 0), HOLDING_FIELD, "conn.io.read_buf", 24 + 40 + 56, 3)->slot,
        row->slot);
    row = expect(frame_of(0, 0), HOLDING_FIELD, "pair", 72 + 88, 2);
    const struct snapshot_slot *slot = &snapshot_slots(&world.snapshot, NULL)[row->slot - 1];
    assert_int_equal(slot->offset_bytes, AT_PAIR);
    assert_int_equal(slot->inline_bytes, 16);
    assert_string_equal(snapshot_string(&world.snapshot, slot->type), "(u64, u64)");
    expect_nothing_else(frame_of(0, 0), 120 + 160, 2);
}

/* A plain future that is a variable: its bytes are the variable's. */
static void test_future_in_a_variable(void **state)
{
    (void)state;
    add_task();
    uint32_t serve = add_frame(0, world.serve, CELL_FUTURE);
    add_frame(serve, world.read, CELL_FUTURE + AT_LATER);
    hold(CELL_FUTURE + AT_LATER + 16, 104);
    build();
    expect(frame_of(0, 0), HOLDING_SLOT, "later", 104, 1);
    expect_nothing_else(frame_of(0, 1), 0, 0);
}

static void test_deepest_frame(void **state)
{
    const uint64_t serve = CELL_FUTURE + AT_SERVE;
    (void)state;
    add_task();
    uint32_t outer = add_frame(0, world.outer, CELL_FUTURE);
    uint32_t inner = add_frame(outer, world.serve, serve);
    add_frame(inner, world.read, serve + AT_READ);
    hold(CELL_FUTURE + AT_OUTER_NAME, 24);
    hold(serve + AT_NAME, 40);
    hold(serve + AT_HIDDEN, 56);
    hold(serve + AT_READ + 16, 72);
    hold(serve + SERVE_BYTES, 88); /* in the outer one, behind what it awaits */
    build();
    expect(frame_of(0, 0), HOLDING_SLOT, "outer_name", 24, 1);
    expect(frame_of(0, 0), HOLDING_HIDDEN, "", 88, 1);
    expect_nothing_else(frame_of(0, 0), 24 + 88, 2);
    expect(frame_of(0, 1), HOLDING_SLOT, "name", 40, 1);
    expect(frame_of(0, 1), HOLDING_HIDDEN, "", 56, 1);
    expect_nothing_else(frame_of(0, 1), 40 + 56, SERVE_SLOTS + 1);
    expect(frame_of(0, 2), HOLDING_FIELD, "conn.io.read_buf", 72, 1);
    expect_nothing_else(frame_of(0, 2), 72, 1);
}

static void test_boxed_futures(void **state)
{
    (void)state;
    add_task();
    uint32_t boxing = add_frame(0, world.boxing, CELL_FUTURE);
    const uint64_t box = hold(CELL_FUTURE + AT_BOX, OUTER_BYTES + 24);
    hold(CELL_FUTURE + AT_BOX, 24); /* beside it: what is in no frame is what is awaited */
    uint32_t outer = add_frame(boxing, world.outer, box + 16);
    add_frame(outer, world.serve, box + 16 + AT_SERVE);
    hold(box + 16 + AT_OUTER_NAME, 40);
    hold(box + 16 + AT_SERVE + AT_NAME, 56);
    build();
    expect(frame_of(0, 0), HOLDING_AWAITED, "", 24, 1);
    expect_nothing_else(frame_of(0, 0), 24, 2);
    expect(frame_of(0, 1), HOLDING_BOX, "", OUTER_BYTES + 24, 1);
    expect(frame_of(0, 1), HOLDING_SLOT, "outer_name", 40, 1);
    expect_nothing_else(frame_of(0, 1), OUTER_BYTES + 24 + 40, 2);
    expect(frame_of(0, 2), HOLDING_SLOT, "name", 56, 1);
    expect_nothing_else(frame_of(0, 2), 56, SERVE_SLOTS);
}

static void test_requested_bytes(void **state)
{
    (void)state;
    add_task();
    add_frame(0, world.serve, CELL_FUTURE);
    hold_asked(CELL_FUTURE + AT_REQUEST, 104, 97);
    hold_asked(CELL_FUTURE + AT_REQUEST, 24, 3);
    hold_asked(CELL_FUTURE + AT_NAME, 24, 3);
    hold_asked(CELL_FUTURE + AT_NAME, 24, UNKNOWN);
    hold_asked(CELL_FUTURE + AT_NAME, 24, 5);
    build();
    assert_int_equal(expect(frame_of(0, 0), HOLDING_SLOT, "request", 128, 2)->requested_bytes, 100);
    assert_int_equal(expect(frame_of(0, 0), HOLDING_SLOT, "name", 72, 3)->requested_bytes, UNKNOWN);
}

/* --- is it there? ---------------------------------------------------------------------------- */

static void expect_status(uint32_t task, const char *name, enum slot_status wanted)
{
    const struct snapshot_holding *row = find(frame_of(task, 0), HOLDING_SLOT, name);
    if (!row || row->status != wanted)
        fail_msg("task %u: %s is %d, not %d", task, name, row ? (int)row->status : -1, (int)wanted);
}

static void test_status(void **state)
{
    (void)state;
    add_task();
    add_frame(0, world.serve, CELL_FUTURE);
    read_word(CELL_FUTURE + AT_REQUEST + 16); /* its last word */
    read_word(CELL_FUTURE + AT_COUNT);
    build();
    expect_status(0, "request", SLOT_LIVE);
    expect_status(0, "name", SLOT_GONE);
    expect_status(0, "count", SLOT_LIVE);
    expect_status(0, "later", SLOT_GONE); /* a Vec is in it */
    expect_status(0, "raw", SLOT_UNSURE);
    expect_status(0, "unit", SLOT_LIVE);
}

static void test_status_of_bounds(void **state)
{
    (void)state;
    struct task_drop *cut = add_task();
    add_frame(0, world.serve, CELL_FUTURE);
    read_word(CELL_FUTURE + AT_NAME);
    read_word(CELL_FUTURE + AT_RAW);
    cut->is_exact = false;
    cut->reason = "it panics";
    struct task_drop *unknown = add_task();
    add_frame(0, world.serve, CELL_FUTURE + 0x1000);
    unknown->was_run = unknown->is_exact = false;
    build();
    expect_status(0, "request", SLOT_UNSURE);
    expect_status(0, "name", SLOT_LIVE);
    expect_status(0, "count", SLOT_LIVE);
    expect_status(0, "raw", SLOT_LIVE);
    for (const char *const *name = (const char *const[]){"request", "name", "count", "raw", NULL};
         *name; name++)
        expect_status(1, *name, SLOT_UNSURE);
    const struct snapshot_task *tasks = snapshot_tasks(&world.snapshot, NULL);
    assert_int_equal(tasks[0].held_is, HELD_AT_LEAST);
    assert_string_equal(snapshot_string(&world.snapshot, tasks[0].held_reason), "it panics");
    assert_int_equal(find(frame_of(0, 0), HOLDING_SLOT, "name")->is, HELD_AT_LEAST);
}

/* What another task read at the same address tells nothing. */
static void test_reads_of_others(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        add_task();
        add_frame(0, world.serve, CELL_FUTURE);
        if (i != 1)
            read_word(CELL_FUTURE + (i ? AT_NAME : AT_REQUEST));
    }
    build();
    for (uint32_t i = 0; i < 3; i++) {
        expect_status(i, "request", i == 0 ? SLOT_LIVE : SLOT_GONE);
        expect_status(i, "name", i == 2 ? SLOT_LIVE : SLOT_GONE);
    }
}

static void test_no_account(void **state)
{
    (void)state;
    add_task();
    add_frame(0, world.serve, CELL_FUTURE);
    world.reader.heap.is_there = false;
    build();
    const struct snapshot_task *task = &snapshot_tasks(&world.snapshot, NULL)[0];
    assert_int_equal(task->held_is, HELD_UNKNOWN);
    assert_int_equal(task->held_bytes, UNKNOWN);
    assert_int_equal(frame_of(0, 0)->nr_holdings, 0);
}

/* --- many ------------------------------------------------------------------------------------ */

/* As join_all has them: each in a box of its own, all of one task. */
static void test_many_frames(void **state)
{
    enum { NR = 50000 };
    (void)state;
    add_task();
    uint32_t root = add_frame(0, world.boxing, CELL_FUTURE);
    for (uint32_t i = 0; i < NR; i++) {
        uint64_t box = hold(CELL_FUTURE + AT_BOX, SERVE_BYTES + 8);
        uint32_t serve = add_frame(root, world.serve, box);
        add_frame(serve, world.read, box + AT_READ);
        hold(box + AT_NAME, 24 + 16 * (i % 8));
        hold(box + AT_READ + 16, 40);
        read_word(box + AT_NAME);
    }
    build();
    expect_nothing_else(frame_of(0, 0), 0, 1);
    for (uint32_t i = 0; i < NR; i++) {
        const struct snapshot_frame *serve = frame_of(0, 1 + 2 * i);
        expect(serve, HOLDING_BOX, "", SERVE_BYTES + 8, 1);
        assert_int_equal(expect(serve, HOLDING_SLOT, "name", 24 + 16 * (i % 8), 1)->status,
                         SLOT_LIVE);
        assert_int_equal(expect(serve, HOLDING_SLOT, "request", 0, 0)->status, SLOT_GONE);
        expect(frame_of(0, 2 + 2 * i), HOLDING_FIELD, "conn.io.read_buf", 40, 1);
    }
}

/* One after the other in one piece of memory: a Vec of futures. */
static void test_frames_side_by_side(void **state)
{
    enum { NR = 50000 };
    (void)state;
    add_task();
    uint32_t root = add_frame(0, world.boxing, CELL_FUTURE);
    uint64_t vec = hold(CELL_FUTURE + AT_BOX, (uint64_t)NR * SERVE_BYTES + 8);
    for (uint32_t i = NR; i-- > 0;)
        add_frame(root, world.serve, vec + (uint64_t)i * SERVE_BYTES);
    for (uint32_t i = 0; i < NR; i++)
        hold(vec + (uint64_t)i * SERVE_BYTES + AT_REQUEST, 24 + 16 * (i % 8));
    build();
    for (uint32_t i = 0; i < NR; i++)
        expect(frame_of(0, 1 + i), HOLDING_SLOT, "request", 24 + 16 * ((NR - 1 - i) % 8), 1);
    /* The block that all lie in is of the first that lies in it. */
    expect(frame_of(0, NR), HOLDING_BOX, "", (uint64_t)NR * SERVE_BYTES + 8, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, finish)
    const struct CMUnitTest tests[] = {
        TEST(test_variables),          TEST(test_hidden_and_awaited),   TEST(test_fields),
        TEST(test_words_of_one_field), TEST(test_future_in_a_variable), TEST(test_deepest_frame),
        TEST(test_boxed_futures),      TEST(test_requested_bytes),      TEST(test_status),
        TEST(test_status_of_bounds),   TEST(test_reads_of_others),      TEST(test_no_account),
        TEST(test_many_frames),        TEST(test_frames_side_by_side),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
