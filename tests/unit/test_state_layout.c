/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "unit.h"

#include "model/state_layout.h"
#include "plan_sample.h"

/* One future laid out, and everything behind it. */
struct laid {
    struct plan_builder builder;
    struct plan plan;
    uint8_t *bytes;
    struct future_types types;
    struct arena arena;
    struct future_layout layout;
};

static void lay_out(struct laid *laid)
{
    laid->bytes = sample_open(&laid->builder, &laid->plan);
    arena_init(&laid->arena);
    future_types_init(&laid->types, &laid->plan);
    future_layout_compute(&laid->layout, &laid->plan, &laid->types.rows[0], &laid->arena);
}

static void laid_free(struct laid *laid)
{
    future_types_deinit(&laid->types);
    arena_deinit(&laid->arena);
    plan_builder_deinit(&laid->builder);
    free(laid->bytes);
}

static void sums_to_size(const struct laid *laid)
{
    for (uint32_t i = 0; i < laid->layout.nr_states; i++) {
        const struct state_layout *state = &laid->layout.states[i];
        assert_int_equal(state->slot_bytes + state->awaited_bytes + state->dead_upvar_bytes +
                             state->other_states_bytes + state->unexplained_bytes,
                         laid->layout.future->size_bytes);
        assert_true(state->discriminant_bytes <= state->unexplained_bytes);
    }
}

static void expect_split(const struct state_layout *state, uint64_t slots, uint64_t awaited,
                         uint64_t dead, uint64_t others, uint64_t unexplained)
{
    assert_int_equal(state->slot_bytes, slots);
    assert_int_equal(state->awaited_bytes, awaited);
    assert_int_equal(state->dead_upvar_bytes, dead);
    assert_int_equal(state->other_states_bytes, others);
    assert_int_equal(state->unexplained_bytes, unexplained);
}

#define MEMBERS(...)                                                                               \
    (const struct sample_member[])                                                                 \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static void async_fn_is_split(void **state)
{
    (void)state;
    struct laid laid = {0};
    plan_builder_init(&laid.builder);
    plan_type_id u64 = sample_base(&laid.builder, "u64", 8),
                 nap = sample_base(&laid.builder, "Nap", 16);
    /* 0 upvar n | 8 n (local) | 16 nap | 32 other | 40 state | padding to 48 */
    const struct sample_state states[] = {
        {"Unresumed", MEMBERS({"n", u64, 0}), 1, 3},
        {"Returned", MEMBERS({"n", u64, 0}), 1, 9},
        {"Suspend0", MEMBERS({"n", u64, 8}, {"__awaitee", nap, 16}, {"n", u64, 8}), 3, 5},
        {"Suspend1", MEMBERS({"other", u64, 32}, {"__awaitee", nap, 16}, {"n", u64, 0}), 3, 6},
    };
    sample_future(&laid.builder, PLAN_FUTURE_FN, "demo::run::{async_fn_env#0}", 48, 40, states, 4);
    lay_out(&laid);
    sums_to_size(&laid);
    const struct state_layout *s = laid.layout.states;
    /* Unresumed: the arguments are its slots, all else is for other states. */
    expect_split(&s[0], 8, 0, 0, 32, 8);
    assert_int_equal(s[0].nr_slots, 1);
    assert_true(s[0].slots[0].is_upvar);
    expect_split(&s[1], 0, 0, 8, 32, 8); /* Returned holds nothing */
    /* The second "n" is the upvar under the first one's place: merged, not hidden. */
    expect_split(&s[2], 8, 16, 8, 8, 8);
    assert_int_equal(s[2].nr_slots, 1);
    assert_int_equal(s[2].nr_hidden, 0);
    assert_int_equal(s[2].awaited.v, nap.v);
    /* Here it is listed at its own place: dead. */
    expect_split(&s[3], 8, 16, 8, 8, 8);
    assert_string_equal(s[3].slots[0].name, "other");
    assert_int_equal(s[3].discriminant_bytes, 1);
    assert_int_equal(laid.layout.waste_bytes, 48 - 25);
    assert_true(state_is_suspended(&laid.plan, &s[2]));
    assert_false(state_is_suspended(&laid.plan, &s[1]));
    uint32_t line;
    assert_string_equal(state_await_file(&laid.plan, &s[2], &line), "/src/demo/main.rs");
    assert_int_equal(line, 5);
    assert_null(state_macro(&laid.plan, &s[2]));
    laid_free(&laid);
}

static void block_keeps_captures(void **state)
{
    (void)state;
    struct laid laid = {0};
    plan_builder_init(&laid.builder);
    plan_type_id u64 = sample_base(&laid.builder, "u64", 8);
    const struct sample_state states[] = {
        {"Unresumed", MEMBERS({"n", u64, 0}), 1, 3},
        {"Suspend0", MEMBERS({"x", u64, 8}, {"__awaitee", u64, 16}, {"n", u64, 0}), 3, 5},
    };
    sample_future(&laid.builder, PLAN_FUTURE_BLOCK, "demo::{async_block_env#0}", 32, 24, states, 2);
    lay_out(&laid);
    sums_to_size(&laid);
    const struct state_layout *s = &laid.layout.states[1];
    expect_split(s, 16, 8, 0, 0, 8);
    assert_int_equal(s->nr_slots, 2);
    assert_string_equal(s->slots[0].name, "n"); /* by offset */
    assert_true(s->slots[0].is_upvar);
    assert_false(s->slots[1].is_upvar);
    laid_free(&laid);
}

/* An async closure has both: captures that stay and arguments that move. */
static void closure_moves_arguments(void **state)
{
    (void)state;
    struct laid laid = {0};
    plan_builder_init(&laid.builder);
    plan_type_id u64 = sample_base(&laid.builder, "u64", 8);
    const struct sample_state states[] = {
        {"Unresumed", MEMBERS({"captured", u64, 0}, {"argument", u64, 8}), 2, 3},
        {"Suspend0", MEMBERS({"argument", u64, 16}, {"captured", u64, 0}), 2, 5},
    };
    sample_future(&laid.builder, PLAN_FUTURE_CLOSURE, "demo::{closure#0}::{async_closure_env#0}",
                  32, 24, states, 2);
    lay_out(&laid);
    sums_to_size(&laid);
    const struct state_layout *s = &laid.layout.states[1];
    expect_split(s, 16, 0, 8, 0, 8);
    assert_int_equal(s->nr_slots, 2);
    assert_string_equal(s->slots[0].name, "captured");
    assert_int_equal(s->slots[1].offset_bytes, 16);
    laid_free(&laid);
}

/* Two variables of one name: DWARF has the first one twice, the other is counted as hidden. */
static void hidden_slots_are_unexplained(void **state)
{
    (void)state;
    struct laid laid = {0};
    plan_builder_init(&laid.builder);
    plan_type_id u64 = sample_base(&laid.builder, "u64", 8);
    const struct sample_state states[] = {
        {"Unresumed", NULL, 0, 3},
        {"Suspend0", MEMBERS({"a", u64, 0}, {"a", u64, 0}, {"a", u64, 0}, {"b", u64, 16}), 4, 5},
        {"Suspend1", MEMBERS({"__awaitee", u64, 0}, {"__awaitee", u64, 0}), 2, 6},
    };
    sample_future(&laid.builder, PLAN_FUTURE_FN, "demo::f::{async_fn_env#0}", 32, 24, states, 3);
    lay_out(&laid);
    sums_to_size(&laid);
    assert_int_equal(laid.layout.states[1].nr_hidden, 2);
    assert_int_equal(laid.layout.states[1].nr_slots, 2);
    expect_split(&laid.layout.states[1], 16, 0, 0, 0, 16);
    assert_int_equal(laid.layout.states[2].nr_hidden, 1);
    expect_split(&laid.layout.states[2], 0, 8, 0, 0, 24);
    laid_free(&laid);
}

static void overlapping_slots_count_once(void **state)
{
    (void)state;
    struct laid laid = {0};
    plan_builder_init(&laid.builder);
    plan_type_id u64 = sample_base(&laid.builder, "u64", 8),
                 big = sample_base(&laid.builder, "Big", 12);
    const struct sample_state states[] = {
        {"Unresumed", NULL, 0, 3},
        {"Suspend0", MEMBERS({"a", big, 0}, {"b", u64, 8}, {"__awaitee", big, 4}), 3, 5},
    };
    sample_future(&laid.builder, PLAN_FUTURE_FN, "demo::f::{async_fn_env#0}", 24, 20, states, 2);
    lay_out(&laid);
    sums_to_size(&laid);
    expect_split(&laid.layout.states[1], 4, 12, 0, 0, 8); /* what is awaited counts first */
    laid_free(&laid);
}

/* Members that reach over the end, or begin behind it, or wrap around. */
static void oversized_members_are_cut(void **state)
{
    (void)state;
    struct laid laid = {0};
    plan_builder_init(&laid.builder);
    plan_type_id huge = sample_base(&laid.builder, "huge", UINT64_MAX);
    plan_type_id u64 = sample_base(&laid.builder, "u64", 8);
    const struct sample_state states[] = {
        {"Unresumed", MEMBERS({"n", huge, 8}), 1, 3},
        {"Suspend0", MEMBERS({"x", huge, 12}, {"y", u64, 500}, {"z", u64, UINT64_MAX - 2}), 3, 5},
    };
    sample_future(&laid.builder, PLAN_FUTURE_FN, "demo::f::{async_fn_env#0}", 16, 99, states, 2);
    lay_out(&laid);
    sums_to_size(&laid);
    expect_split(&laid.layout.states[1], 4, 0, 4, 0, 8);
    assert_int_equal(laid.layout.states[1].discriminant_bytes, 0);
    laid_free(&laid);
}

static void future_without_states_or_bytes(void **state)
{
    (void)state;
    struct laid laid = {0};
    plan_builder_init(&laid.builder);
    sample_future(&laid.builder, PLAN_FUTURE_FN, "demo::f::{async_fn_env#0}", 0, 0, NULL, 0);
    lay_out(&laid);
    assert_int_equal(laid.layout.nr_states, 0);
    assert_int_equal(laid.layout.waste_bytes, 0);
    laid_free(&laid);
}

static void macro_line_wins(void **state)
{
    (void)state;
    struct laid laid = {0};
    plan_builder_init(&laid.builder);
    const struct sample_state states[] = {{"Unresumed", NULL, 0, 3}, {"Suspend0", NULL, 0, 77}};
    sample_future(&laid.builder, PLAN_FUTURE_FN, "demo::f::{async_fn_env#0}", 8, 0, states, 2);
    plan_str macro = plan_builder_string(&laid.builder, "select!");
    plan_file_id file = plan_builder_file(&laid.builder, "/src/user.rs");
    struct plan_await *await = plan_builder_row(&laid.builder, PLAN_AWAITS, 2);
    *await = (struct plan_await){file, 5, macro, 1};
    lay_out(&laid);
    uint32_t line;
    assert_string_equal(state_await_file(&laid.plan, &laid.layout.states[1], &line),
                        "/src/user.rs");
    assert_int_equal(line, 5);
    assert_string_equal(state_macro(&laid.plan, &laid.layout.states[1]), "select!");
    laid_free(&laid);
}

/* Any layout, sensible or not: five shares that sum to the size, slots by offset. */
static void random_layouts_sum_to_their_size(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "b", "c", "n", "m", "__awaitee"};
    static const char *const states_names[] = {"Unresumed", "Returned", "Panicked", "Suspend0",
                                               "Suspend1",  "Suspend2", "Suspend3"};
    uint64_t random = 2024;
    for (int round = 0; round < 3000; round++) {
        struct laid laid = {0};
        struct sample_member members[7][8];
        struct sample_state states[7];
        plan_type_id types[6];
        plan_builder_init(&laid.builder);
        for (uint32_t t = 0; t < 6; t++)
            types[t] = sample_base(&laid.builder, t % 2 ? "even" : "odd",
                                   random_below(&random, 20) == 0 ? random_next(&random)
                                                                  : random_below(&random, 40));
        uint32_t nr = (uint32_t)random_below(&random, 8);
        for (uint32_t s = 0; s < nr; s++) {
            states[s] = (struct sample_state){states_names[random_below(&random, 7)], members[s],
                                              (uint32_t)random_below(&random, 9), s};
            for (uint32_t m = 0; m < states[s].nr_members; m++)
                members[s][m] = (struct sample_member){
                    names[random_below(&random, 6)], types[random_below(&random, 6)],
                    random_below(&random, 30) == 0 ? random_next(&random)
                                                   : 8 * random_below(&random, 12)};
        }
        sample_future(&laid.builder, (enum plan_future_kind)random_below(&random, 3),
                      "demo::f::{async_fn_env#0}", random_below(&random, 120),
                      random_below(&random, 130), states, nr);
        lay_out(&laid);
        sums_to_size(&laid);
        for (uint32_t s = 0; s < laid.layout.nr_states; s++)
            for (uint32_t i = 1; i < laid.layout.states[s].nr_slots; i++)
                assert_true(laid.layout.states[s].slots[i - 1].offset_bytes <=
                            laid.layout.states[s].slots[i].offset_bytes);
        assert_true(laid.layout.waste_bytes <= laid.layout.future->size_bytes);
        laid_free(&laid);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(async_fn_is_split),
        cmocka_unit_test(block_keeps_captures),
        cmocka_unit_test(closure_moves_arguments),
        cmocka_unit_test(hidden_slots_are_unexplained),
        cmocka_unit_test(overlapping_slots_count_once),
        cmocka_unit_test(oversized_members_are_cut),
        cmocka_unit_test(future_without_states_or_bytes),
        cmocka_unit_test(macro_line_wins),
        cmocka_unit_test(random_layouts_sum_to_their_size),
    };
    return cmocka_run_group_tests_name("state_layout", tests, NULL, NULL);
}
