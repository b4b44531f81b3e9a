/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "unit.h"

#include "plan_sample.h"
#include "program/symbols_check.h"

struct build {
    const char *build_id;
    enum plan_detail detail;
    uint32_t machine;
    struct plan_task tasks[4];
    uint32_t nr_tasks;
};

/* Is `symbols` taken for a rebuild of `program`?  A refusal has one line that names `part`. */
static bool agree(const struct build *program, const struct build *symbols, const char *part)
{
    const struct build *builds[] = {program, symbols};
    struct plan_builder builders[2];
    struct plan plans[2];
    uint8_t *bytes[2];
    for (int i = 0; i < 2; i++) {
        plan_builder_init(&builders[i]);
        builders[i].facts.detail = builds[i]->detail;
        builders[i].facts.machine = builds[i]->machine;
        builders[i].facts.build_id = plan_builder_string(&builders[i], builds[i]->build_id);
        for (uint32_t t = 0; t < builds[i]->nr_tasks; t++)
            plan_builder_add(&builders[i], PLAN_TASKS, &builds[i]->tasks[t]);
        bytes[i] = sample_open(&builders[i], &plans[i]);
    }
    struct error err = {0};
    bool ok = symbols_check(&plans[0], "program", &plans[1], "rebuild", &err);
    if (!ok) {
        assert_int_equal(err.code, ERROR_INPUT);
        if (part && !strstr(err.message, part))
            fail_msg("'%s' is not in '%s'", part, err.message);
        assert_ptr_equal(strstr(err.message, "rebuild"), err.message);
    }
    for (int i = 0; i < 2; i++) {
        plan_builder_deinit(&builders[i]);
        free(bytes[i]);
    }
    return ok;
}

#define TASK(at, trailer, code)                                                                    \
    {                                                                                              \
        .vtable_addr = at, .poll_addr = 2 * at, .trailer_offset = trailer, .scheduler_offset = 24, \
        .id_offset = 32, .poll_bytes = code                                                        \
    }

static const struct build stripped = {
    "aa", PLAN_DETAIL_NAMES, 62, {TASK(0x10, 100, 50), TASK(0x20, 200, 60)}, 2};

static void nothing_to_compare_is_no_agreement(void **state)
{
    (void)state;
    struct build nameless = {"", PLAN_DETAIL_NAMES, 62, {{0}}, 0},
                 other = {"", PLAN_DETAIL_FULL, 62, {{0}}, 0};
    assert_false(agree(&nameless, &other, "cannot be compared"));
}

static void equal_task_types_agree(void **state)
{
    (void)state;
    struct build rebuild = {
        "bb", PLAN_DETAIL_FULL, 62, {TASK(0x30, 200, 60), TASK(0x40, 100, 50)}, 2};
    assert_true(agree(&stripped, &rebuild, NULL)); /* in another order and at other addresses */
    rebuild.tasks[0].poll_bytes = 0;               /* length unknown in one: sizes decide */
    assert_true(agree(&stripped, &rebuild, NULL));
}

static void differences_are_told(void **state)
{
    (void)state;
    struct build rebuild = {
        "bb", PLAN_DETAIL_FULL, 62, {TASK(0x30, 200, 60), TASK(0x40, 100, 50)}, 2};
    rebuild.nr_tasks = 1;
    assert_false(agree(&stripped, &rebuild, "1 task types, the program 2"));
    rebuild.nr_tasks = 2;
    rebuild.tasks[1].trailer_offset = 108;
    assert_false(agree(&stripped, &rebuild, "size of a task type"));
    rebuild.tasks[1].trailer_offset = 100;
    rebuild.tasks[1].poll_bytes = 51;
    assert_false(agree(&stripped, &rebuild, "poll function of a task type"));
    rebuild.tasks[1].poll_bytes = 50;
    rebuild.machine = 183;
    assert_false(agree(&stripped, &rebuild, "another machine"));
    rebuild.machine = 62;
    rebuild.detail = PLAN_DETAIL_NAMES;
    assert_false(agree(&stripped, &rebuild, "no type layouts"));
    rebuild.detail = PLAN_DETAIL_FULL;
    assert_true(agree(&stripped, &rebuild, NULL));
}

/* Rows that only a symbol names have no vtable: they do not count. */
static void rows_without_vtable_do_not_count(void **state)
{
    (void)state;
    struct build rebuild = {
        "bb", PLAN_DETAIL_FULL, 62, {TASK(0x30, 200, 60), TASK(0, 7, 7), TASK(0x40, 100, 50)}, 3};
    assert_true(agree(&stripped, &rebuild, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_to_compare_is_no_agreement),
        cmocka_unit_test(equal_task_types_agree),
        cmocka_unit_test(differences_are_told),
        cmocka_unit_test(rows_without_vtable_do_not_count),
    };
    return cmocka_run_group_tests_name("symbols_check", tests, NULL, NULL);
}
