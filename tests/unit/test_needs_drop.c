/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "unit.h"

#include "model/needs_drop.h"
#include "plan_sample.h"

struct asked {
    struct plan_builder builder;
    struct plan plan;
    uint8_t *bytes;
    struct needs_drops drops;
};

static void begin(struct asked *asked)
{
    *asked = (struct asked){0};
    plan_builder_init(&asked->builder);
}

static void ask(struct asked *asked)
{
    asked->bytes = sample_open(&asked->builder, &asked->plan);
    needs_drops_init(&asked->drops, &asked->plan);
}

static void finish(struct asked *asked)
{
    needs_drops_deinit(&asked->drops);
    plan_builder_deinit(&asked->builder);
    free(asked->bytes);
}

static void expect(const struct asked *asked, plan_type_id id, enum needs_drop wanted)
{
    enum needs_drop is = needs_drop_of(&asked->drops, id);
    const struct plan_type *type = plan_type(&asked->plan, id);
    if (is != wanted)
        fail_msg("%s: %d, not %d", type ? plan_string(&asked->plan, type->name) : "0", (int)is,
                 (int)wanted);
}

/* A type of one or two members. */
static plan_type_id whole(struct asked *asked, enum plan_type_kind kind, const char *name,
                          plan_type_id first, plan_type_id second)
{
    const struct sample_member members[] = {{"first", first, 0}, {"second", second, 8}};
    return sample_struct(&asked->builder, kind, name, 16, members, second.v ? 2 : 1);
}

static plan_type_id plain(struct asked *asked, enum plan_type_kind kind, const char *name)
{
    return sample_struct(&asked->builder, kind, name, 8, NULL, 0);
}

static plan_type_id array(struct asked *asked, plan_type_id element, uint64_t count)
{
    struct plan_type row = {.name = plan_builder_string(&asked->builder, "[_; _]"),
                            .kind = PLAN_TYPE_ARRAY,
                            .element = element,
                            .count = count};
    return (plan_type_id){plan_builder_add(&asked->builder, PLAN_TYPES, &row)};
}

/* An enum with data: one variant for each payload. */
static plan_type_id variants(struct asked *asked, const char *name, const plan_type_id *payloads,
                             uint32_t nr)
{
    struct plan_type row = {.name = plan_builder_string(&asked->builder, name),
                            .kind = PLAN_TYPE_VARIANTS,
                            .size_bytes = 16,
                            .nr_variants = nr};
    for (uint32_t i = 0; i < nr; i++) {
        struct plan_variant variant = {.name = plan_builder_string(&asked->builder, "V"),
                                       .payload = payloads[i]};
        uint32_t id = plan_builder_add(&asked->builder, PLAN_VARIANTS, &variant);
        row.first_variant = i ? row.first_variant : id;
    }
    return (plan_type_id){plan_builder_add(&asked->builder, PLAN_TYPES, &row)};
}

static void test_names(void **state)
{
    static const char *const owners[] = {
        "alloc::boxed::Box<dyn core::future::future::Future>",
        "alloc::vec::Vec<u8, alloc::alloc::Global>",
        "alloc::string::String",
        "alloc::sync::Arc<demo::State, alloc::alloc::Global>",
        "alloc::rc::Weak<u8>",
        "std::collections::hash::map::HashMap<u64, u64>",
        "alloc::collections::btree::map::BTreeMap<u64, u64>",
        "bytes::bytes_mut::BytesMut",
        "std::os::fd::owned::OwnedFd",
    };
    static const char *const borrows[] = {
        "&alloc::string::String", "&mut [u8]",
        "fn(u8) -> u8",           "unsafe extern \"C\" fn()",
        "for<'a> fn(&'a u8)",     "core::mem::manually_drop::ManuallyDrop<alloc::string::String>"};
    enum { NR_OWNERS = sizeof(owners) / sizeof(*owners) };
    enum { NR_BORROWS = sizeof(borrows) / sizeof(*borrows) };
    plan_type_id own[NR_OWNERS], borrowed[NR_BORROWS];
    struct asked asked;
    (void)state;
    begin(&asked);
    plan_type_id raw = plain(&asked, PLAN_TYPE_POINTER, "*mut u8");
    for (size_t i = 0; i < NR_OWNERS; i++)
        own[i] = plain(&asked, PLAN_TYPE_STRUCT, owners[i]);
    for (size_t i = 0; i < NR_BORROWS; i++)
        borrowed[i] = whole(&asked, i < 4 ? PLAN_TYPE_POINTER : PLAN_TYPE_STRUCT, borrows[i], raw,
                            (plan_type_id){0});
    plan_type_id alike = plain(&asked, PLAN_TYPE_STRUCT, "demo::alloc::vec::Vec<u8>");
    ask(&asked);
    for (size_t i = 0; i < NR_OWNERS; i++) {
        expect(&asked, own[i], NEEDS_DROP);
        assert_true(is_owner_type(&asked.plan, plan_type(&asked.plan, own[i])));
    }
    for (size_t i = 0; i < NR_BORROWS; i++) {
        expect(&asked, borrowed[i], NEEDS_NO_DROP);
        assert_false(is_owner_type(&asked.plan, plan_type(&asked.plan, borrowed[i])));
    }
    expect(&asked, raw, NEEDS_DROP_UNKNOWN);
    expect(&asked, alike, NEEDS_NO_DROP);
    finish(&asked);
}

static void test_parts(void **state)
{
    struct asked asked;
    const plan_type_id none = {0};
    (void)state;
    begin(&asked);
    plan_type_id number = sample_base(&asked.builder, "u64", 8);
    plan_type_id text = plain(&asked, PLAN_TYPE_STRUCT, "alloc::string::String");
    plan_type_id raw = plain(&asked, PLAN_TYPE_POINTER, "*const u8");
    plan_type_id numbers = whole(&asked, PLAN_TYPE_STRUCT, "demo::Pair", number, number);
    plan_type_id owner = whole(&asked, PLAN_TYPE_STRUCT, "demo::Named", number, text);
    plan_type_id both = whole(&asked, PLAN_TYPE_STRUCT, "demo::Both", raw, text);
    plan_type_id unsure = whole(&asked, PLAN_TYPE_STRUCT, "demo::Raw", raw, number);
    plan_type_id empty = whole(&asked, PLAN_TYPE_STRUCT, "demo::Lost", none, none);
    plan_type_id either = whole(&asked, PLAN_TYPE_UNION, "demo::Either", text, number);
    plan_type_id deep = whole(&asked, PLAN_TYPE_STRUCT, "demo::Deep", numbers, owner);
    plan_type_id simple = plain(&asked, PLAN_TYPE_ENUM, "demo::Colour");
    plan_type_id opaque = plain(&asked, PLAN_TYPE_OPAQUE, "demo::Hidden");
    plan_type_id texts = array(&asked, text, 3), no_texts = array(&asked, text, 0);
    plan_type_id raws = array(&asked, raw, 1), bytes = array(&asked, number, 99);
    plan_type_id some = variants(&asked, "Option<Named>", (plan_type_id[]){none, owner}, 2);
    plan_type_id nothing = variants(&asked, "Option<Pair>", (plan_type_id[]){none, numbers}, 2);
    plan_type_id maybe = variants(&asked, "Option<Raw>", (plan_type_id[]){numbers, unsure}, 2);
    ask(&asked);
    expect(&asked, none, NEEDS_DROP_UNKNOWN);
    expect(&asked, numbers, NEEDS_NO_DROP);
    expect(&asked, owner, NEEDS_DROP);
    expect(&asked, both, NEEDS_DROP);
    expect(&asked, unsure, NEEDS_DROP_UNKNOWN);
    expect(&asked, empty, NEEDS_DROP_UNKNOWN);
    expect(&asked, either, NEEDS_NO_DROP);
    expect(&asked, deep, NEEDS_DROP);
    expect(&asked, simple, NEEDS_NO_DROP);
    expect(&asked, opaque, NEEDS_DROP_UNKNOWN);
    expect(&asked, texts, NEEDS_DROP);
    expect(&asked, no_texts, NEEDS_NO_DROP);
    expect(&asked, raws, NEEDS_DROP_UNKNOWN);
    expect(&asked, bytes, NEEDS_NO_DROP);
    expect(&asked, some, NEEDS_DROP);
    expect(&asked, nothing, NEEDS_NO_DROP);
    expect(&asked, maybe, NEEDS_DROP_UNKNOWN);
    finish(&asked);
}

static void test_futures(void **state)
{
    struct asked asked;
    (void)state;
    begin(&asked);
    plan_type_id number = sample_base(&asked.builder, "u64", 8);
    plan_type_id text = plain(&asked, PLAN_TYPE_STRUCT, "alloc::string::String");
    const struct sample_member numbers[] = {{"n", number, 0}, {"m", number, 8}};
    const struct sample_member texts[] = {{"n", number, 0}, {"name", text, 8}};
    const struct sample_state empty[] = {{"Unresumed", numbers, 1, 1}, {"Suspend0", numbers, 2, 2}};
    const struct sample_state full[] = {{"Unresumed", numbers, 1, 1}, {"Suspend0", texts, 2, 2}};
    sample_future(&asked.builder, PLAN_FUTURE_FN, "demo::a::{async_fn_env#0}", 32, 24, empty, 2);
    plan_type_id without = {(uint32_t)asked.builder.tables[PLAN_TYPES].nr};
    sample_future(&asked.builder, PLAN_FUTURE_FN, "demo::b::{async_fn_env#0}", 32, 24, full, 2);
    plan_type_id with = {(uint32_t)asked.builder.tables[PLAN_TYPES].nr};
    ask(&asked);
    assert_int_equal(plan_type(&asked.plan, with)->kind, PLAN_TYPE_COROUTINE);
    expect(&asked, without, NEEDS_NO_DROP);
    expect(&asked, with, NEEDS_DROP);
    finish(&asked);
}

/* However deep the owner lies. */
static void test_deep(void **state)
{
    enum { NR = 1000 };
    struct asked asked;
    plan_type_id owner[NR + 1], number[NR + 1];
    (void)state;
    begin(&asked);
    number[0] = sample_base(&asked.builder, "u64", 8);
    owner[0] = plain(&asked, PLAN_TYPE_STRUCT, "alloc::string::String");
    for (uint32_t i = 0; i < NR; i++) {
        number[i + 1] = whole(&asked, PLAN_TYPE_STRUCT, "demo::A", number[i], number[i / 2]);
        owner[i + 1] = whole(&asked, PLAN_TYPE_STRUCT, "demo::B", number[i], owner[i]);
    }
    ask(&asked);
    for (uint32_t i = 0; i <= NR; i++) {
        expect(&asked, number[i], NEEDS_NO_DROP);
        expect(&asked, owner[i], NEEDS_DROP);
    }
    finish(&asked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_futures),
        cmocka_unit_test(test_deep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
