/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "unit.h"

#include "analysis/future_chain.h"
#include "plan_sample.h"

#define MEMBERS(...)                                                                               \
    (const struct sample_member[])                                                                 \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static plan_type_id type_of(struct plan_builder *builder, plan_future_id id)
{
    return ((struct plan_future *)plan_builder_row(builder, PLAN_FUTURES, id.v))->type;
}

static plan_type_id add_future(struct plan_builder *builder, const char *path, uint64_t size,
                               const struct sample_member *members, uint32_t nr)
{
    const struct sample_state states[] = {{"Unresumed", NULL, 0, 1}, {"Suspend0", members, nr, 2}};
    return type_of(builder, sample_future(builder, PLAN_FUTURE_FN, path, size, 0, states, 2));
}

struct chained {
    struct plan plan;
    uint8_t *bytes;
    struct arena arena;
    struct chain_link *links;
    uint32_t nr;
};

static struct chained chain_of(struct plan_builder *builder, plan_type_id type)
{
    struct chained chained = {0};
    struct future_chains chains;
    chained.bytes = sample_open(builder, &chained.plan);
    arena_init(&chained.arena);
    future_chains_init(&chains, &chained.plan, &chained.arena);
    chained.links = future_chain(&chains, type, &chained.arena, &chained.nr);
    return chained;
}

static void chained_free(struct chained *chained, struct plan_builder *builder)
{
    arena_deinit(&chained->arena);
    free(chained->bytes);
    plan_builder_deinit(builder);
}

/* outer -> a struct around middle -> leaf -> its buffer. */
static void follows_through_structs_and_enums(void **state)
{
    (void)state;
    struct plan_builder b;
    plan_builder_init(&b);
    plan_type_id page = sample_base(&b, "[u8; 1000]", 1000), u64 = sample_base(&b, "u64", 8);
    plan_type_id leaf =
        add_future(&b, "demo::leaf", 1016, MEMBERS({"n", u64, 8}, {"page", page, 16}), 2);
    plan_type_id wrap =
        sample_struct(&b, PLAN_TYPE_STRUCT, "MaybeDone", 1024, MEMBERS({"0", leaf, 8}), 1);
    plan_type_id small = add_future(&b, "demo::small", 16, MEMBERS({"n", u64, 8}), 1);
    plan_type_id outer = add_future(&b, "demo::outer", 1100,
                                    MEMBERS({"small", small, 1040}, {"__awaitee", wrap, 8}), 2);
    struct chained chained = chain_of(&b, outer);
    assert_int_equal(chained.nr, 2);
    assert_int_equal(chained.links[0].future.v, leaf.v);
    assert_int_equal(chained.links[0].type.v, wrap.v);
    assert_string_equal(chained.links[0].slot, "__awaitee");
    assert_int_equal(chained.links[0].size_bytes, 1016);
    assert_int_equal(chained.links[1].future.v, 0);
    assert_int_equal(chained.links[1].type.v, page.v);
    assert_string_equal(chained.links[1].slot, "page");
    chained_free(&chained, &b);
}

static void bigger_variable_explains_more(void **state)
{
    (void)state;
    struct plan_builder b;
    plan_builder_init(&b);
    plan_type_id page = sample_base(&b, "[u8; 1000]", 1000), u64 = sample_base(&b, "u64", 8);
    plan_type_id small = add_future(&b, "demo::small", 16, MEMBERS({"n", u64, 8}), 1);
    plan_type_id outer = add_future(&b, "demo::outer", 1040,
                                    MEMBERS({"__awaitee", small, 0}, {"page", page, 16}), 2);
    struct chained chained = chain_of(&b, outer);
    assert_int_equal(chained.nr, 1);
    assert_int_equal(chained.links[0].future.v, 0);
    assert_string_equal(chained.links[0].slot, "page");
    chained_free(&chained, &b);
}

static void nothing_inside_gives_no_links(void **state)
{
    (void)state;
    struct plan_builder b;
    plan_builder_init(&b);
    plan_type_id empty = sample_base(&b, "()", 0);
    plan_type_id none = add_future(&b, "demo::none", 1, NULL, 0);
    plan_type_id zero = add_future(&b, "demo::zero", 1, MEMBERS({"unit", empty, 0}), 1);
    struct chained chained = chain_of(&b, none);
    assert_int_equal(chained.nr, 0);
    arena_deinit(&chained.arena);
    free(chained.bytes);
    chained = chain_of(&b, zero);
    assert_int_equal(chained.nr, 0);
    chained_free(&chained, &b);
}

/* Deeper than is shown: the list ends. */
static void very_deep_chains_end(void **state)
{
    (void)state;
    struct plan_builder b;
    plan_builder_init(&b);
    plan_type_id inner = sample_base(&b, "u64", 8);
    for (int i = 0; i < 500; i++)
        inner =
            add_future(&b, "demo::f", 16 + 8 * (uint64_t)i, MEMBERS({"__awaitee", inner, 8}), 1);
    struct chained chained = chain_of(&b, inner);
    assert_in_range(chained.nr, 10, 100);
    for (uint32_t i = 1; i < chained.nr; i++)
        assert_true(chained.links[i].size_bytes < chained.links[i - 1].size_bytes);
    chained_free(&chained, &b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_through_structs_and_enums),
        cmocka_unit_test(bigger_variable_explains_more),
        cmocka_unit_test(nothing_inside_gives_no_links),
        cmocka_unit_test(very_deep_chains_end),
    };
    return cmocka_run_group_tests_name("future_chain", tests, NULL, NULL);
}
