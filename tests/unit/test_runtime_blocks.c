/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A runtime's handle of hand-made types, with what only looks like the runtime's beside what is. */
#include "unit.h"

#include "heap_world.h"
#include "plan_sample.h"
#include "process/runtime_blocks.h"

enum block {
    HANDLE,
    REMOTES,
    QUEUE_1,
    QUEUE_2,
    SLOTS_1,
    SLOTS_2,
    IO_1,
    IO_2,
    VEC,
    IN_VEC,
    IN_VARIANT,
    IN_ARRAY,
    NR_TYPED,
    USERS_TIMER = NR_TYPED, /* a timer links to its middle, nobody else has it */
    ROOTS_TIMER,            /* the same, and a global has it */
    USERS_IN_SLOT,          /* where a task was that ended long ago */
    BEHIND_VEC,             /* the address is in the buffer, behind what is in use */
    NO_ARC,                 /* as large as an Arc, without its counts */
    CALLBACK,               /* behind a trait object */
    NR_BLOCKS,
};

static const uint64_t sizes[NR_BLOCKS] = {
    [HANDLE] = 152,      [REMOTES] = 40,      [QUEUE_1] = 40,        [QUEUE_2] = 40,
    [SLOTS_1] = 264,     [SLOTS_2] = 264,     [IO_1] = 264,          [IO_2] = 264,
    [VEC] = 40,          [IN_VEC] = 72,       [IN_VARIANT] = 72,     [IN_ARRAY] = 72,
    [USERS_TIMER] = 216, [ROOTS_TIMER] = 216, [USERS_IN_SLOT] = 120, [BEHIND_VEC] = 72,
    [NO_ARC] = 264,      [CALLBACK] = 24,
};

static const bool is_buffer[NR_BLOCKS] = {
    [REMOTES] = true, [SLOTS_1] = true, [SLOTS_2] = true, [VEC] = true};

/* --- types ----------------------------------------------------------------------------------- */

static plan_type_id pointer_to(struct plan_builder *builder, plan_type_id pointee)
{
    struct plan_type row = {.name = plan_builder_string(builder, "*mut"),
                            .kind = PLAN_TYPE_POINTER,
                            .size_bytes = 8,
                            .pointee = pointee};
    return (plan_type_id){plan_builder_add(builder, PLAN_TYPES, &row)};
}

static struct plan_type *row_of(struct plan_builder *builder, plan_type_id id)
{
    return plan_builder_row(builder, PLAN_TYPES, id.v);
}

static plan_type_id boxed_slice(struct plan_builder *builder, plan_type_id element)
{
    const struct sample_member members[] = {
        {"data_ptr", pointer_to(builder, element), 0},
        {"length", sample_base(builder, "usize", 8), 8},
    };
    return sample_struct(builder, PLAN_TYPE_STRUCT, "alloc::boxed::Box<[T]>", 16, members, 2);
}

static plan_type_id vec(struct plan_builder *builder, plan_type_id element)
{
    plan_type_id word = sample_base(builder, "usize", 8);
    const struct sample_member members[] = {
        {"cap", word, 0},
        {"ptr", pointer_to(builder, sample_base(builder, "u8", 1)), 8},
        {"len", word, 16},
    };
    plan_type_id id =
        sample_struct(builder, PLAN_TYPE_STRUCT, "alloc::vec::Vec<T>", 24, members, 3);
    row_of(builder, id)->pointee = element;
    return id;
}

static plan_type_id queue(struct plan_builder *builder)
{
    plan_type_id slot = sample_struct(builder, PLAN_TYPE_UNION, "MaybeUninit<Task>", 8, NULL, 0);
    const struct sample_member members[] = {{"buffer", boxed_slice(builder, slot), 16}};
    return sample_struct(builder, PLAN_TYPE_STRUCT, "ArcInner<Queue>", 32, members, 1);
}

/* The list's links point to the value inside of its Arc. */
static plan_type_id io(struct plan_builder *builder)
{
    plan_type_id link = pointer_to(builder, (plan_type_id){0});
    const struct sample_member members[] = {{"next", link, 0}, {"other", link, 8}};
    plan_type_id id = sample_struct(builder, PLAN_TYPE_STRUCT, "ScheduledIo", 128, members, 2);
    row_of(builder, link)->pointee = id;
    return id;
}

static plan_type_id option(struct plan_builder *builder, plan_type_id pointer)
{
    const struct sample_member payload[] = {{"__0", pointer, 0}};
    const struct plan_variant some = {
        .name = plan_builder_string(builder, "Some"),
        .payload = sample_struct(builder, PLAN_TYPE_STRUCT, "Some", 8, payload, 1)};
    struct plan_type row = {.name = plan_builder_string(builder, "Option<Box<Value>>"),
                            .kind = PLAN_TYPE_VARIANTS,
                            .size_bytes = 8,
                            .nr_variants = 1,
                            .first_variant = plan_builder_add(builder, PLAN_VARIANTS, &some)};
    return (plan_type_id){plan_builder_add(builder, PLAN_TYPES, &row)};
}

enum handle_offset {
    AT_REMOTES = 16,
    AT_TIMERS = 32, /* two */
    AT_IO = 48,
    AT_VEC = 56,
    AT_OPTION = 80,
    AT_ARRAY = 88, /* two */
    AT_CALLBACK = 104,
    HANDLE_BYTES = 144,
};

static plan_type_id handle(struct plan_builder *builder)
{
    plan_type_id word = sample_base(builder, "u64", 8);
    const struct sample_member value_members[] = {{"value", word, 0}};
    plan_type_id value = pointer_to(
        builder, sample_struct(builder, PLAN_TYPE_STRUCT, "Value", 64, value_members, 1));
    const struct sample_member remote_members[] = {
        {"queue", pointer_to(builder, queue(builder)), 0}};
    plan_type_id remote = sample_struct(builder, PLAN_TYPE_STRUCT, "Remote", 16, remote_members, 1);
    plan_type_id timer = pointer_to(
        builder, sample_struct(builder, PLAN_TYPE_STRUCT, "TimerShared", 40, value_members, 1));
    struct plan_type array = {.name = plan_builder_string(builder, "[Box<Value>; 2]"),
                              .kind = PLAN_TYPE_ARRAY,
                              .size_bytes = 16,
                              .element = value,
                              .count = 2};
    const struct sample_member members[] = {
        {"remotes", boxed_slice(builder, remote), AT_REMOTES},
        {"first_timer", timer, AT_TIMERS},
        {"last_timer", timer, AT_TIMERS + 8},
        {"io", pointer_to(builder, io(builder)), AT_IO},
        {"cores", vec(builder, value), AT_VEC},
        {"option", option(builder, value), AT_OPTION},
        {"array", {plan_builder_add(builder, PLAN_TYPES, &array)}, AT_ARRAY},
        {"callback", pointer_to(builder, (plan_type_id){0}), AT_CALLBACK},
    };
    return sample_struct(builder, PLAN_TYPE_STRUCT, "ArcInner<Handle>", HANDLE_BYTES, members,
                         sizeof(members) / sizeof(*members));
}

/* --- memory ---------------------------------------------------------------------------------- */

static struct world world;
static uint8_t *plan_bytes;

static uint64_t addr_of(enum block block)
{
    return world.blocks.rows[block].addr;
}

static void put(enum block block, uint64_t offset, uint64_t value)
{
    *world_word(&world, addr_of(block) + offset) = value;
}

static void fill_handle(void)
{
    enum { ARC_DATA = 128 };
    put(HANDLE, AT_REMOTES, addr_of(REMOTES));
    put(HANDLE, AT_REMOTES + 8, 2);
    put(HANDLE, AT_TIMERS, addr_of(USERS_TIMER) + 80);
    put(HANDLE, AT_TIMERS + 8, addr_of(ROOTS_TIMER) + 80);
    put(HANDLE, AT_IO, addr_of(IO_1) + ARC_DATA);
    put(HANDLE, AT_VEC, 4);
    put(HANDLE, AT_VEC + 8, addr_of(VEC));
    put(HANDLE, AT_VEC + 16, 1);
    put(HANDLE, AT_OPTION, addr_of(IN_VARIANT));
    put(HANDLE, AT_ARRAY + 8, addr_of(IN_ARRAY));
    put(HANDLE, AT_CALLBACK, addr_of(CALLBACK));
    put(VEC, 0, addr_of(IN_VEC));
    put(VEC, 8, addr_of(BEHIND_VEC));
    put(IO_1, ARC_DATA, addr_of(IO_2) + ARC_DATA);
    put(IO_1, ARC_DATA + 8, addr_of(NO_ARC) + ARC_DATA);
    put(IO_2, ARC_DATA, addr_of(IO_1) + ARC_DATA);
    put(NO_ARC, 0, 1);
    put(NO_ARC, 8, UINT64_C(0x7f0000000010));
    for (int i = 0; i < 2; i++) {
        put(IO_1 + i, 0, 2);
        put(IO_1 + i, 8, 1);
        put(REMOTES, (uint64_t)i * 16, addr_of(QUEUE_1 + i));
        put(QUEUE_1 + i, 16, addr_of(SLOTS_1 + i));
        put(QUEUE_1 + i, 24, 32);
        put(SLOTS_1 + i, 64, addr_of(USERS_IN_SLOT));
    }
}

/* A task's scheduler is an Arc of the handle. */
static void set_types(void)
{
    struct plan_builder builder;
    plan_builder_init(&builder);
    builder.facts.detail = PLAN_DETAIL_FULL;
    plan_type_id arc = pointer_to(&builder, handle(&builder));
    plan_bytes = sample_open(&builder, &world.plan);
    plan_builder_deinit(&builder);
    world.kinds[0].layout.scheduler_type = arc;
}

static int make_world(void **state)
{
    (void)state;
    world_init(&world, NR_BLOCKS + 1, 1 << 16);
    for (int i = 0; i < NR_BLOCKS; i++)
        world_add_block(&world, sizes[i]);
    world_add_cell(&world, world_add_block(&world, WORLD_CELL), 64);
    world.cells.rows[0].runtime = 1;
    world_add_runtime(&world, addr_of(HANDLE));
    set_types();
    fill_handle();
    return 0;
}

static int free_world(void **state)
{
    (void)state;
    world_free(&world);
    free(plan_bytes);
    return 0;
}

/* --- tests ----------------------------------------------------------------------------------- */

static bool any(const void *context, uint32_t block)
{
    (void)context, (void)block;
    return true;
}

static void follows_what_types_say(void **state)
{
    (void)state;
    struct runtime_blocks found;
    bool seen[NR_BLOCKS + 1] = {false};
    runtime_blocks_read(&found, &world.cells, &world.blocks, any, NULL);
    for (size_t i = 0; i < found.nr; i++) {
        uint32_t block = found.rows[i].block;
        assert_false(seen[block]);
        seen[block] = true;
        assert_true(block < NR_TYPED);
        assert_int_equal(found.rows[i].is_buffer, is_buffer[block]);
    }
    assert_int_equal(found.nr, NR_TYPED);
    runtime_blocks_deinit(&found);
}

static bool no_io(const void *context, uint32_t block)
{
    (void)context;
    return block != IO_1;
}

/* What is another's already is neither taken nor looked into. */
static void asks_before(void **state)
{
    (void)state;
    struct runtime_blocks found;
    runtime_blocks_read(&found, &world.cells, &world.blocks, no_io, NULL);
    assert_int_equal(found.nr, NR_TYPED - 2);
    for (size_t i = 0; i < found.nr; i++)
        assert_true(found.rows[i].block != IO_1 && found.rows[i].block != IO_2);
    runtime_blocks_deinit(&found);
}

/* Without types it is the handle alone. */
static void knows_the_handle(void **state)
{
    (void)state;
    struct runtime_blocks found;
    plan_type_id arc = world.kinds[0].layout.scheduler_type;
    world.kinds[0].layout.scheduler_type = (plan_type_id){0};
    runtime_blocks_read(&found, &world.cells, &world.blocks, any, NULL);
    assert_int_equal(found.nr, 1);
    assert_int_equal(found.rows[0].block, HANDLE);
    runtime_blocks_deinit(&found);
    world.kinds[0].layout.scheduler_type = arc;
}

static void takes_nothing_from_users(void **state)
{
    (void)state;
    struct heap_classes classes;
    world.globals[0] = addr_of(ROOTS_TIMER);
    world.globals[1] = addr_of(IO_2);
    world_add_share(&world, IO_1, 0);
    heap_classes_read(&classes, &world.target, &world.drops);
    for (int i = 0; i < NR_TYPED; i++)
        assert_int_equal(classes.classes[i], HEAP_CLASS_RUNTIME);
    assert_int_equal(classes.classes[ROOTS_TIMER], HEAP_CLASS_OTHER);
    assert_int_equal(classes.classes[USERS_IN_SLOT], HEAP_CLASS_UNKNOWN);
    assert_int_equal(classes.classes[BEHIND_VEC], HEAP_CLASS_UNKNOWN);
    /* Nobody else reaches these. */
    assert_int_equal(classes.classes[CALLBACK], HEAP_CLASS_RUNTIME);
    assert_int_equal(classes.classes[USERS_TIMER], HEAP_CLASS_RUNTIME);
    heap_classes_deinit(&classes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(follows_what_types_say, make_world, free_world),
        cmocka_unit_test_setup_teardown(asks_before, make_world, free_world),
        cmocka_unit_test_setup_teardown(knows_the_handle, make_world, free_world),
        cmocka_unit_test_setup_teardown(takes_nothing_from_users, make_world, free_world),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
