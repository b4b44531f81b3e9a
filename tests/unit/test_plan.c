/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "unit.h"

#include "plan_sample.h"

/* --- a table of every reference in a plan ---------------------------------------------------- */

enum target { STRING, FILE_ID, TYPE_ID, FUTURE_ID, KIND };

struct reference {
    enum plan_section_id section;
    size_t offset; /* of the field in its row */
    unsigned width;
    enum target target;
    uint32_t limit; /* KIND: the first value that is wrong */
};

#define FIELD(section, row, field, target, limit)                                                  \
    {                                                                                              \
        section, offsetof(struct row, field), sizeof(((struct row *)0)->field), target, limit      \
    }

static const struct reference references[] = {
    FIELD(PLAN_FACTS, plan_facts, detail, KIND, PLAN_DETAIL_FULL + 1),
    FIELD(PLAN_FACTS, plan_facts, detail_reason, STRING, 0),
    FIELD(PLAN_FACTS, plan_facts, build_id, STRING, 0),
    FIELD(PLAN_FILES, plan_file, path, STRING, 0),
    FIELD(PLAN_TYPES, plan_type, name, STRING, 0),
    FIELD(PLAN_TYPES, plan_type, kind, KIND, NR_PLAN_TYPE_KINDS),
    FIELD(PLAN_MEMBERS, plan_member, name, STRING, 0),
    FIELD(PLAN_MEMBERS, plan_member, type, TYPE_ID, 0),
    FIELD(PLAN_VARIANTS, plan_variant, name, STRING, 0),
    FIELD(PLAN_VARIANTS, plan_variant, payload, TYPE_ID, 0),
    FIELD(PLAN_VARIANTS, plan_variant, file, FILE_ID, 0),
    FIELD(PLAN_FUTURES, plan_future, path, STRING, 0),
    FIELD(PLAN_FUTURES, plan_future, symbol, STRING, 0),
    FIELD(PLAN_FUTURES, plan_future, type, TYPE_ID, 0),
    FIELD(PLAN_FUTURES, plan_future, kind, KIND, NR_PLAN_FUTURE_KINDS),
    FIELD(PLAN_FUTURES, plan_future, file, FILE_ID, 0),
    FIELD(PLAN_AWAITS, plan_await, file, FILE_ID, 0),
    FIELD(PLAN_AWAITS, plan_await, macro, STRING, 0),
    FIELD(PLAN_TASKS, plan_task, future, STRING, 0),
    FIELD(PLAN_TASKS, plan_task, scheduler, STRING, 0),
    FIELD(PLAN_TASKS, plan_task, cell, TYPE_ID, 0),
    FIELD(PLAN_TASKS, plan_task, future_id, FUTURE_ID, 0),
    FIELD(PLAN_TASKS, plan_task, name_source, KIND, NR_PLAN_NAME_SOURCES),
    FIELD(PLAN_VTABLES, plan_vtable, name, STRING, 0),
    FIELD(PLAN_IMPLS, plan_impl, path, STRING, 0),
    FIELD(PLAN_IMPLS, plan_impl, display, STRING, 0),
    FIELD(PLAN_SOURCES, plan_source, path, STRING, 0),
    FIELD(PLAN_SOURCES, plan_source, role, STRING, 0),
    FIELD(PLAN_NOTES, plan_note, text, STRING, 0),
};

/* --- damaged copies -------------------------------------------------------------------------- */

struct sample {
    uint8_t *bytes;
    uint64_t size;
    struct plan_header header;
    const struct plan *plan;
};

static int make_sample(void **state)
{
    static struct plan plan;
    const char *problem;
    struct sample *sample = calloc(1, sizeof(*sample));
    sample->bytes = sample_plan(&sample->size);
    memcpy(&sample->header, sample->bytes, sizeof(sample->header));
    sample->plan = &plan;
    *state = sample;
    return plan_open(&plan, sample->bytes, sample->size, &problem) ? 0 : -1;
}

static int free_sample(void **state)
{
    struct sample *sample = *state;
    free(sample->bytes);
    free(sample);
    return 0;
}

/* Opens a copy in which `width` bytes at `at` are `value`. */
static bool opens_with(const struct sample *sample, size_t at, uint64_t value, unsigned width)
{
    struct plan plan;
    const char *problem = "untouched";
    uint8_t *copy = malloc(sample->size);
    memcpy(copy, sample->bytes, sample->size);
    memcpy(copy + at, &value, width);
    bool ok = plan_open(&plan, copy, sample->size, &problem);
    assert_true(ok ? problem == NULL : problem && *problem);
    free(copy);
    return ok;
}

static size_t row_at(const struct sample *sample, enum plan_section_id section, uint32_t row)
{
    const struct plan_section *s = &sample->header.sections[section];
    return s->offset + (size_t)row * s->row_bytes;
}

static uint32_t nr_rows(const struct sample *sample, enum plan_section_id section)
{
    return sample->header.sections[section].nr_rows;
}

static size_t section_at(enum plan_section_id section, size_t field)
{
    return offsetof(struct plan_header, sections) + section * sizeof(struct plan_section) + field;
}

/* --- tests ----------------------------------------------------------------------------------- */

static void sample_has_every_section(void **state)
{
    const struct sample *sample = *state;
    for (int i = 0; i < NR_PLAN_SECTIONS; i++)
        assert_true(nr_rows(sample, (enum plan_section_id)i) > 0);
    const struct plan *plan = sample->plan;
    assert_string_equal(plan_string(plan, plan->futures[0].path),
                        "demo::{impl#0}::read::{async_fn_env#0}");
    assert_string_equal(plan_string(plan, plan->notes[0].text), "a note");
    assert_string_equal(plan_file_path(plan, plan->futures[0].file), "/src/demo/main.rs");
    assert_null(plan_file_path(plan, (plan_file_id){0}));
    assert_null(plan_type(plan, (plan_type_id){0}));
    assert_int_equal(plan_type(plan, plan->futures[0].type)->kind, PLAN_TYPE_COROUTINE);
}

static void each_reference_is_checked(void **state)
{
    const struct sample *sample = *state;
    for (size_t i = 0; i < sizeof(references) / sizeof(*references); i++) {
        const struct reference *r = &references[i];
        for (uint32_t row = 0; row < nr_rows(sample, r->section); row++) {
            size_t at = row_at(sample, r->section, row) + r->offset;
            uint32_t first_wrong = r->target == STRING      ? sample->plan->nr_string_bytes
                                   : r->target == FILE_ID   ? sample->plan->nr_files + 1
                                   : r->target == TYPE_ID   ? sample->plan->nr_types + 1
                                   : r->target == FUTURE_ID ? sample->plan->nr_futures + 1
                                                            : r->limit;
            assert_false(opens_with(sample, at, first_wrong, r->width));
            assert_false(opens_with(sample, at, UINT32_MAX, r->width));
            if (r->target != KIND && r->target != TYPE_ID)
                assert_true(opens_with(sample, at, 0, r->width));
            if (r->target == STRING)
                assert_true(opens_with(sample, at, first_wrong - 1, r->width));
        }
    }
}

/* A type may refer to types before it only: no walk over a plan can loop. */
static void types_refer_backwards(void **state)
{
    const struct sample *sample = *state;
    for (uint32_t i = 0; i < sample->plan->nr_types; i++) {
        const struct plan_type *type = &sample->plan->types[i];
        size_t at = row_at(sample, PLAN_TYPES, i);
        for (uint32_t other = i + 1; other <= sample->plan->nr_types; other++) {
            assert_false(opens_with(sample, at + offsetof(struct plan_type, element), other, 4));
            assert_false(opens_with(sample, at + offsetof(struct plan_type, discr_type), other, 4));
        }
        for (uint32_t m = 0; m < type->nr_members; m++) {
            size_t member = row_at(sample, PLAN_MEMBERS, type->first_member - 1 + m);
            assert_false(opens_with(sample, member + offsetof(struct plan_member, type), i + 1, 4));
        }
        for (uint32_t v = 0; v < type->nr_variants; v++) {
            size_t variant = row_at(sample, PLAN_VARIANTS, type->first_variant - 1 + v);
            assert_false(
                opens_with(sample, variant + offsetof(struct plan_variant, payload), i + 1, 4));
        }
    }
}

static void spans_are_checked(void **state)
{
    const struct sample *sample = *state;
    static const size_t firsts[] = {offsetof(struct plan_type, first_member),
                                    offsetof(struct plan_type, first_variant)};
    static const size_t counts[] = {offsetof(struct plan_type, nr_members),
                                    offsetof(struct plan_type, nr_variants)};
    for (uint32_t i = 0; i < sample->plan->nr_types; i++)
        for (int k = 0; k < 2; k++) {
            size_t row = row_at(sample, PLAN_TYPES, i);
            uint32_t nr, rows = k ? sample->plan->nr_variants : sample->plan->nr_members;
            memcpy(&nr, sample->bytes + row + counts[k], 4);
            assert_false(opens_with(sample, row + counts[k], UINT32_MAX, 4));
            assert_false(opens_with(sample, row + counts[k], rows + 1, 4));
            if (!nr)
                continue;
            assert_false(opens_with(sample, row + firsts[k], 0, 4));
            assert_false(opens_with(sample, row + firsts[k], rows + 1, 4));
            assert_false(opens_with(sample, row + firsts[k], rows - nr + 2, 4));
            assert_false(opens_with(sample, row + firsts[k], UINT32_MAX, 4));
        }
    size_t await = row_at(sample, PLAN_FUTURES, 0) + offsetof(struct plan_future, first_await);
    assert_false(opens_with(sample, await, 0, 4));
    assert_false(opens_with(sample, await, 2, 4)); /* three states, three awaits */
    assert_false(opens_with(sample, await, UINT32_MAX, 4));
}

static void futures_are_coroutines(void **state)
{
    const struct sample *sample = *state;
    size_t at = row_at(sample, PLAN_FUTURES, 0) + offsetof(struct plan_future, type);
    assert_false(opens_with(sample, at, 1, 4)); /* u32 */
    assert_true(opens_with(sample, at, 0, 4));
}

static void header_is_checked(void **state)
{
    const struct sample *sample = *state;
    for (size_t i = 0; i < 8; i++)
        assert_false(opens_with(sample, i, 0, 1));
    assert_false(opens_with(sample, offsetof(struct plan_header, version), PLAN_VERSION + 1, 4));
    assert_false(opens_with(sample, offsetof(struct plan_header, nr_sections), 0, 4));
    assert_false(
        opens_with(sample, offsetof(struct plan_header, nr_sections), NR_PLAN_SECTIONS + 1, 4));
    assert_false(opens_with(sample, offsetof(struct plan_header, file_bytes), sample->size + 1, 8));
    assert_false(opens_with(sample, offsetof(struct plan_header, file_bytes), sample->size - 1, 8));
}

static void sections_are_checked(void **state)
{
    const struct sample *sample = *state;
    for (int i = 0; i < NR_PLAN_SECTIONS; i++) {
        const struct plan_section *section = &sample->header.sections[i];
        size_t offset = section_at((enum plan_section_id)i, offsetof(struct plan_section, offset));
        size_t row = section_at((enum plan_section_id)i, offsetof(struct plan_section, row_bytes));
        size_t nr = section_at((enum plan_section_id)i, offsetof(struct plan_section, nr_rows));
        assert_false(opens_with(sample, offset, section->offset + 4, 8)); /* not aligned */
        assert_false(opens_with(sample, offset, sample->size + 8, 8));
        assert_false(opens_with(sample, offset, sample->size & ~7ull, 8)); /* rows behind the end */
        assert_false(opens_with(sample, offset, UINT64_MAX - 7, 8));
        assert_false(opens_with(sample, row, section->row_bytes + 8, 4));
        assert_false(opens_with(sample, row, 0, 4));
        assert_false(opens_with(sample, nr, UINT32_MAX, 4));
    }
    assert_false(opens_with(sample, section_at(PLAN_FACTS, 12), 0, 4));
    assert_false(opens_with(sample, section_at(PLAN_FACTS, 12), 2, 4));
    assert_false(opens_with(sample, section_at(PLAN_STRINGS, 12), 0, 4));
}

static void strings_end(void **state)
{
    const struct sample *sample = *state;
    const struct plan_section *strings = &sample->header.sections[PLAN_STRINGS];
    assert_false(opens_with(sample, strings->offset, 'x', 1));
    assert_false(opens_with(sample, strings->offset + strings->nr_rows - 1, 'x', 1));
}

static void cut_plans_do_not_open(void **state)
{
    const struct sample *sample = *state;
    for (uint64_t size = 0; size < sample->size; size++) {
        struct plan plan;
        const char *problem;
        void *copy = malloc(size ? size : 1); /* exactly: a sanitizer sees one byte too many */
        memcpy(copy, sample->bytes, size);
        assert_false(plan_open(&plan, copy, size, &problem));
        free(copy);
    }
}

/* Any change of bytes: opens or not, but what opens can be walked over. */
static void random_damage_is_safe(void **state)
{
    const struct sample *sample = *state;
    uint64_t random = 99;
    uint32_t opened = 0;
    uint8_t *copy = malloc(sample->size);
    for (int round = 0; round < 20000; round++) {
        memcpy(copy, sample->bytes, sample->size);
        for (uint64_t n = 1 + random_below(&random, 8); n; n--)
            copy[random_below(&random, sample->size)] ^= (uint8_t)(1u << random_below(&random, 8));
        struct plan plan;
        const char *problem;
        if (!plan_open(&plan, copy, sample->size, &problem))
            continue;
        opened++;
        size_t length = 0;
        for (uint32_t i = 0; i < plan.nr_types; i++) {
            const struct plan_type *type = &plan.types[i];
            length += strlen(plan_string(&plan, type->name));
            for (uint32_t m = 0; m < type->nr_members; m++)
                length += strlen(plan_string(&plan, plan_members(&plan, type)[m].name));
            for (uint32_t v = 0; v < type->nr_variants; v++)
                length += strlen(plan_string(&plan, plan_variants(&plan, type)[v].name));
        }
        assert_true(length < (size_t)-1);
    }
    free(copy);
    assert_in_range(opened, 100, 19900);
}

/* --- the builder ----------------------------------------------------------------------------- */

static void builder_interns(void **state)
{
    (void)state;
    struct plan_builder builder;
    plan_builder_init(&builder);
    plan_str a = plan_builder_string(&builder, "alpha"), b = plan_builder_string(&builder, "beta");
    assert_int_equal(plan_builder_string(&builder, "alpha").v, a.v);
    assert_int_not_equal(a.v, b.v);
    assert_int_equal(plan_builder_string(&builder, "").v, 0);
    assert_int_equal(plan_builder_string(&builder, NULL).v, 0);
    assert_string_equal(plan_builder_text(&builder, b), "beta");
    assert_int_equal(plan_builder_file(&builder, NULL).v, 0);
    assert_int_equal(plan_builder_file(&builder, "/a").v, 1);
    assert_int_equal(plan_builder_file(&builder, "/b").v, 2);
    assert_int_equal(plan_builder_file(&builder, "/a").v, 1);
    plan_builder_deinit(&builder);
}

static void equal_input_gives_equal_bytes(void **state)
{
    const struct sample *sample = *state;
    uint64_t size;
    uint8_t *again = sample_plan(&size);
    assert_int_equal(size, sample->size);
    assert_memory_equal(again, sample->bytes, size);
    free(again);
}

static void empty_plan_opens(void **state)
{
    (void)state;
    struct plan_builder builder;
    struct plan plan;
    plan_builder_init(&builder);
    uint8_t *bytes = sample_open(&builder, &plan);
    assert_int_equal(plan.nr_types, 0);
    assert_int_equal(plan.nr_futures, 0);
    assert_string_equal(plan_string(&plan, plan.facts->build_id), "");
    free(bytes);
    plan_builder_deinit(&builder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sample_has_every_section), cmocka_unit_test(each_reference_is_checked),
        cmocka_unit_test(types_refer_backwards),    cmocka_unit_test(spans_are_checked),
        cmocka_unit_test(futures_are_coroutines),   cmocka_unit_test(header_is_checked),
        cmocka_unit_test(sections_are_checked),     cmocka_unit_test(strings_end),
        cmocka_unit_test(cut_plans_do_not_open),    cmocka_unit_test(random_damage_is_safe),
        cmocka_unit_test(builder_interns),          cmocka_unit_test(equal_input_gives_equal_bytes),
        cmocka_unit_test(empty_plan_opens),
    };
    return cmocka_run_group_tests_name("plan", tests, make_sample, free_sample);
}
