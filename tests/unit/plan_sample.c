/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "plan_sample.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

plan_type_id sample_base(struct plan_builder *builder, const char *name, uint64_t size)
{
    struct plan_type row = {.name = plan_builder_string(builder, name),
                            .kind = PLAN_TYPE_BASE,
                            .size_bytes = size,
                            .align_bytes = (uint32_t)size};
    return (plan_type_id){plan_builder_add(builder, PLAN_TYPES, &row)};
}

plan_type_id sample_struct(struct plan_builder *builder, enum plan_type_kind kind, const char *name,
                           uint64_t size, const struct sample_member *members, uint32_t nr)
{
    struct plan_type row = {.name = plan_builder_string(builder, name),
                            .kind = (uint8_t)kind,
                            .size_bytes = size,
                            .nr_members = nr};
    for (uint32_t i = 0; i < nr; i++) {
        struct plan_member member = {plan_builder_string(builder, members[i].name), members[i].type,
                                     members[i].offset};
        uint32_t id = plan_builder_add(builder, PLAN_MEMBERS, &member);
        row.first_member = i ? row.first_member : id;
    }
    return (plan_type_id){plan_builder_add(builder, PLAN_TYPES, &row)};
}

plan_future_id sample_future(struct plan_builder *builder, enum plan_future_kind kind,
                             const char *path, uint64_t size, uint64_t discr_offset,
                             const struct sample_state *states, uint32_t nr)
{
    plan_file_id file = plan_builder_file(builder, "/src/demo/main.rs");
    struct plan_type type = {.name = plan_builder_string(builder, path),
                             .kind = PLAN_TYPE_COROUTINE,
                             .size_bytes = size,
                             .align_bytes = 8,
                             .discr_offset = discr_offset,
                             .nr_variants = nr,
                             .discr_type = sample_base(builder, "u8", 1)};
    struct plan_variant *variants = memory_alloc((nr + 1) * sizeof(*variants));
    for (uint32_t i = 0; i < nr; i++)
        variants[i] = (struct plan_variant){
            .name = plan_builder_string(builder, states[i].name),
            .payload = sample_struct(builder, PLAN_TYPE_STRUCT, states[i].name, size,
                                     states[i].members, states[i].nr_members),
            .discr = i,
            .has_discr = 1,
            .file = file,
            .line = states[i].line};
    struct plan_future future = {.path = type.name,
                                 .kind = (uint32_t)kind,
                                 .file = file,
                                 .line = nr ? states[0].line : 0,
                                 .nr_copies = 1};
    for (uint32_t i = 0; i < nr; i++) {
        struct plan_await await = {0};
        uint32_t variant = plan_builder_add(builder, PLAN_VARIANTS, &variants[i]);
        uint32_t id = plan_builder_add(builder, PLAN_AWAITS, &await);
        type.first_variant = i ? type.first_variant : variant;
        future.first_await = i ? future.first_await : id;
    }
    free(variants);
    future.type.v = plan_builder_add(builder, PLAN_TYPES, &type);
    return (plan_future_id){plan_builder_add(builder, PLAN_FUTURES, &future)};
}

uint8_t *sample_open(struct plan_builder *builder, struct plan *plan)
{
    static const uint8_t key[16] = {1, 2, 3};
    uint64_t size;
    const char *problem;
    uint8_t *bytes = plan_builder_finish(builder, key, &size);
    if (!plan_open(plan, bytes, size, &problem)) {
        fprintf(stderr, "sample plan: %s\n", problem);
        abort();
    }
    return bytes;
}

uint8_t *sample_plan(uint64_t *size)
{
    static const uint8_t key[16] = {1, 2, 3};
    struct plan_builder builder;
    plan_builder_init(&builder);
    builder.facts.detail = PLAN_DETAIL_FULL;
    builder.facts.detail_reason = plan_builder_string(&builder, "because");
    builder.facts.build_id = plan_builder_string(&builder, "00ff");
    plan_type_id u32 = sample_base(&builder, "u32", 4);
    struct plan_type array = {.name = plan_builder_string(&builder, "[u32; 3]"),
                              .kind = PLAN_TYPE_ARRAY,
                              .element = u32,
                              .count = 3,
                              .size_bytes = 12};
    plan_type_id page = {plan_builder_add(&builder, PLAN_TYPES, &array)};
    const struct sample_member upvar[] = {{"n", u32, 0}};
    const struct sample_member slots[] = {{"page", page, 4}, {"n", u32, 0}, {"__awaitee", u32, 16}};
    const struct sample_state states[] = {
        {"Unresumed", upvar, 1, 10}, {"Returned", upvar, 1, 20}, {"Suspend0", slots, 3, 12}};
    plan_future_id future = sample_future(
        &builder, PLAN_FUTURE_FN, "demo::{impl#0}::read::{async_fn_env#0}", 24, 20, states, 3);
    struct plan_await *await = plan_builder_row(&builder, PLAN_AWAITS, 3);
    await->macro = plan_builder_string(&builder, "join!");
    ((struct plan_await *)plan_builder_row(&builder, PLAN_AWAITS, 3))->file =
        plan_builder_file(&builder, "/src/demo/join.rs");
    struct plan_future *row = plan_builder_row(&builder, PLAN_FUTURES, 1);
    row->symbol = plan_builder_string(&builder, "<demo::Conn>::read::{closure#0}");
    struct plan_task task = {.vtable_addr = 0x1000,
                             .poll_addr = 0x2000,
                             .future = plan_builder_string(&builder, "demo::read"),
                             .scheduler = plan_builder_string(&builder, "tokio::S"),
                             .cell = page,
                             .future_id = future,
                             .name_source = PLAN_NAME_DWARF};
    plan_builder_add(&builder, PLAN_TASKS, &task);
    struct plan_vtable vtable = {.addr = 0x3000,
                                 .name = plan_builder_string(&builder, "<X as Y>::{vtable}")};
    plan_builder_add(&builder, PLAN_VTABLES, &vtable);
    struct plan_impl impl = {plan_builder_string(&builder, "demo::{impl#0}"),
                             plan_builder_string(&builder, "demo::Conn")};
    plan_builder_add(&builder, PLAN_IMPLS, &impl);
    struct plan_source source = {.path = plan_builder_string(&builder, "/bin/demo"),
                                 .role = plan_builder_string(&builder, "program"),
                                 .size_bytes = 5};
    plan_builder_add(&builder, PLAN_SOURCES, &source);
    plan_builder_note(&builder, "a %s", "note");
    uint8_t *bytes = plan_builder_finish(&builder, key, size);
    plan_builder_deinit(&builder);
    return bytes;
}
