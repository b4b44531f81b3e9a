/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "unit.h"

#include <stdio.h>
#include <jansson.h>

#include "report/json_stream.h"
#include "report/snapshot_report.h"
#include "snapshot_sample.h"

static const struct snapshot_options all = {0};

static json_t *render(const struct snapshot *snapshot, const struct snapshot_options *options)
{
    struct snapshot_report report;
    struct error err = {0};
    json_error_t problem;
    char *bytes = NULL;
    size_t size;
    FILE *out = open_memstream(&bytes, &size);
    assert_true(snapshot_report_init(&report, snapshot, options, &err));
    assert_true(snapshot_write_json(&report, out, &err));
    snapshot_report_deinit(&report);
    fclose(out);
    assert_int_equal(bytes[size - 1], '\n');
    json_t *json = json_loadb(bytes, size, JSON_REJECT_DUPLICATES, &problem);
    if (!json)
        fail_msg("%s at %d of: %s", problem.text, problem.position, bytes);
    free(bytes);
    return json;
}

/* The value at a path of keys and indexes, "tasks/0/status", is as the text says. */
static void expect(json_t *json, const char *path, const char *text)
{
    char key[64];
    const json_t *at = json;
    for (const char *rest = path; *rest; rest += *rest == '/') {
        size_t length = strcspn(rest, "/");
        snprintf(key, sizeof(key), "%.*s", (int)length, rest);
        at = json_is_array(at) ? json_array_get(at, strtoul(key, NULL, 10))
                               : json_object_get(at, key);
        if (!at)
            fail_msg("no '%s' of %s", key, path);
        rest += length;
    }
    char *dumped = json_dumps(at, JSON_COMPACT | JSON_ENCODE_ANY);
    if (strcmp(dumped, text) != 0)
        fail_msg("%s is %s, not %s", path, dumped, text);
    free(dumped);
}

static json_t *make(void)
{
    struct snapshot snapshot;
    sample_snapshot(&snapshot);
    json_t *json = render(&snapshot, &all);
    snapshot_deinit(&snapshot);
    return json;
}

static void the_head(void **state)
{
    (void)state;
    json_t *json = make();
    expect(json, "schema", "\"asyncmem.snapshot/1\"");
    expect(json, "pid", "4242");
    expect(json, "program", "\"/srv/bin/demo\"");
    expect(json, "is_core", "false");
    expect(json, "taken_at", "\"2023-11-14T22:13:20.123456789Z\"");
    expect(json, "stop_ns", "3140000");
    expect(json, "detail", "\"full\"");
    expect(json, "detail_reason", "null");
    expect(json, "runtimes",
           "[{\"id\":1,\"name\":\"tokio multi_thread\",\"address\":139637976727808,"
           "\"owned_tasks\":5,\"owned_tasks_reason\":null,\"found_tasks\":5}]");
    expect(json, "images/0/build_id", "\"5f0c3cb1\"");
    expect(json, "notes", "[\"one thread was in a system call\"]");
    json_decref(json);
}

static void the_tasks(void **state)
{
    (void)state;
    json_t *json = make();
    assert_int_equal(json_array_size(json_object_get(json, "tasks")), 9);
    expect(json, "tasks/0/id", "1");
    expect(json, "tasks/0/runtime", "1");
    expect(json, "tasks/0/runtime_task_id", "10");
    expect(json, "tasks/0/image", "\"/srv/bin/demo\"");
    expect(json, "tasks/0/kind", "\"async\"");
    expect(json, "tasks/0/scheduler", "\"multi_thread\"");
    expect(json, "tasks/0/future", "\"demo::handler\"");
    expect(json, "tasks/0/future_also", "[]");
    expect(json, "tasks/3/future_also", "[\"demo::other_job\"]");
    expect(json, "tasks/0/status", "\"suspended\"");
    expect(json, "tasks/5/status", "\"never_polled\"");
    expect(json, "tasks/0/finished_because", "null");
    expect(json, "tasks/3/finished_because",
           "\"its JoinHandle is kept but was not awaited: the output stays until it is\"");
    expect(json, "tasks/4/finished_because", "\"2 wakers or abort handles keep the cell\"");
    expect(json, "tasks/0/cell_bytes", "1024");
    expect(json, "tasks/0/future_bytes", "960");
    expect(json, "tasks/6/await_tree", "[]");
    expect(json, "tasks/6/await_tree_reason",
           "\"it is running: its future changes as it is read\"");
    expect(json, "tasks/7/kind", "\"root\"");
    expect(json, "tasks/7/cell_address", "null");
    expect(json, "tasks/8/kind", "\"blocking\"");
    expect(json, "tasks/8/scheduler", "\"blocking\"");
    expect(json, "tasks/8/future", "null");
    expect(json, "tasks/8/cell_bytes", "null");
    expect(json, "tasks/8/future_bytes", "null");
    expect(json, "tasks/8/future_reason", "\"no layouts: build with debug = 2\"");
    json_decref(json);
}

#define NOT_KNOWN                                                                                  \
    ",\"heap_bytes\":null,\"heap_is\":null,\"requested_bytes\":null,\"status\":null,\"allocated_"  \
    "by\":null"

static void the_trees(void **state)
{
    (void)state;
    json_t *json = make();
    expect(json, "tasks/1/await_tree/0",
           "{\"parent\":-1,\"leaf\":false,\"future\":\"demo::handler\",\"state\":\"Suspend0\","
           "\"file\":\"src/conn.rs\",\"line\":88,\"in_macro\":null,\"waits_for\":null,"
           "\"future_bytes\":128,\"slots\":[{\"name\":\"conn\",\"type\":\"TcpStream\","
           "\"offset_bytes\":16,\"inline_bytes\":24" NOT_KNOWN "},{\"name\":\"buffer\","
           "\"type\":\"[u8; 2048]\",\"offset_bytes\":40,\"inline_bytes\":2048" NOT_KNOWN
           "}],\"hidden\":null,\"awaited\":null,\"box\":null,\"fields\":[]}");
    expect(json, "tasks/1/await_tree/2/parent", "1");
    expect(json, "tasks/1/await_tree/2/leaf", "true");
    expect(json, "tasks/1/await_tree/2/state", "null");
    expect(json, "tasks/1/await_tree/2/file", "null");
    expect(json, "tasks/1/await_tree/2/line", "null");
    expect(json, "tasks/1/await_tree/2/waits_for", "\"socket read\"");
    expect(json, "tasks/2/await_tree/0/in_macro", "\"select!\"");
    expect(json, "tasks/2/await_tree/1/parent", "0");
    expect(json, "tasks/2/await_tree/2/parent", "0");
    json_decref(json);
}

static void the_sums(void **state)
{
    (void)state;
    json_t *json = make();
    expect(json, "by_type/0/future", "\"demo::handler\"");
    expect(json, "by_type/0/tasks", "4");
    expect(json, "by_type/0/cell_bytes", "4096");
    expect(json, "by_type/2/future", "null");
    expect(json, "by_type/2/cell_bytes", "null");
    expect(json, "by_type/2/cell_bytes_at_least", "0");
    expect(json, "by_type/2/cell_bytes_reason", "\"no layouts: build with debug = 2\"");
    expect(json, "by_await/0",
           "{\"file\":\"src/frame.rs\",\"line\":12,\"in_macro\":null,"
           "\"future\":\"demo::read_frame\",\"tasks\":2,\"cell_bytes\":2048,"
           "\"cell_bytes_at_least\":2048,\"cell_bytes_reason\":null,\"held_bytes\":null,"
           "\"held_is\":null,\"variables\":null}");
    expect(json, "by_status",
           "{\"running\":1,\"queued\":1,\"suspended\":4,\"never_polled\":1,\"finished\":2,"
           "\"cancelled\":0}");
    expect(json, "futures/count", "6");
    expect(json, "futures/total_bytes", "7288");
    expect(json, "futures/mean_bytes", "1214.66666667");
    expect(json, "futures/largest_bytes", "3000");
    json_decref(json);
}

/* --- with an account of the heap ------------------------------------------------------------- */

static json_t *make_held(const struct snapshot_options *options)
{
    struct snapshot snapshot;
    sample_snapshot_held(&snapshot);
    json_t *json = render(&snapshot, options);
    snapshot_deinit(&snapshot);
    return json;
}

static void what_tasks_hold(void **state)
{
    (void)state;
    json_t *json = make_held(&all);
    expect(json, "tasks/0/held_bytes", "400");
    expect(json, "tasks/0/held_is", "\"exact\"");
    expect(json, "tasks/0/held_reason", "null");
    expect(json, "tasks/0/maybe_held_bytes", "0");
    expect(json, "tasks/0/shared_bytes", "2048");
    expect(json, "tasks/0/cell_block_bytes", "1032");
    expect(json, "tasks/1/held_bytes", "5000");
    expect(json, "tasks/1/held_is", "\"at_least\"");
    expect(json, "tasks/1/held_reason", "\"its drop code waits for a lock\"");
    expect(json, "tasks/1/maybe_held_bytes", "96");
    expect(json, "tasks/6/held_bytes", "null"); /* running */
    expect(json, "tasks/6/held_is", "null");
    expect(json, "tasks/6/maybe_held_bytes", "null");
    expect(json, "tasks/6/shared_bytes", "null");
    expect(json, "tasks/6/cell_block_bytes", "null");
    json_decref(json);
}

#define READ_BODY "\"function\":\"read_body\",\"file\":\"src/conn.rs\",\"line\":41"
#define BY_TASK_1                                                                                  \
    "{\"task\":1,\"runtime_task_id\":10,\"run_id\":101,\"future\":\"demo::handler\","              \
    "\"is_thread\":false,\"thread\":null,\"site\":1," READ_BODY                                    \
    ",\"blocks\":2,\"requested_bytes\":280}"

static void who_allocated_it(void **state)
{
    (void)state;
    json_t *json = make_held(&all);
    expect(json, "tasks/1/await_tree/0/slots/0/allocated_by/0/task", "3");
    expect(json, "tasks/1/await_tree/0/slots/0/allocated_by/1",
           "{\"task\":null,\"runtime_task_id\":null,\"run_id\":100,\"future\":null,"
           "\"is_thread\":true,\"thread\":\"main\",\"site\":2,\"function\":\"Map::insert\","
           "\"file\":\"/.cargo/maps.rs\",\"line\":7,\"blocks\":1,\"requested_bytes\":500}");
    expect(json, "tasks/1/await_tree/0/slots/0/allocated_by/2",
           "{\"task\":null,\"runtime_task_id\":null,\"run_id\":null,\"future\":null,"
           "\"is_thread\":null,\"thread\":null,\"site\":null,\"function\":null,\"file\":null,"
           "\"line\":null,\"blocks\":1,\"requested_bytes\":null}");
    expect(json, "tasks/7/await_tree/0/slots/0/allocated_by/0/future", "\"demo::job\"");
    expect(json, "tasks/7/await_tree/0/slots/0/allocated_by/0/task", "null"); /* it has ended */
    expect(json, "tasks/0/spawned_by",
           "{\"task\":null,\"runtime_task_id\":null,\"run_id\":100,\"future\":null,"
           "\"is_thread\":true,\"thread\":\"main\",\"site\":1," READ_BODY "}");
    expect(json, "tasks/1/spawned_by", "null");
    expect(json, "sites/0/frames/0",
           "{\"function\":\"Vec::reserve\",\"full\":\"Vec::reserve\",\"file\":null,\"line\":null,"
           "\"kind\":\"std\",\"inlined\":true}");
    expect(json, "sites/0/frames/2/kind", "\"own_future\"");
    expect(json, "sites/1/id", "2");
    json_decref(json);
}

static void what_variables_hold(void **state)
{
    (void)state;
    json_t *json = make_held(&all);
    expect(json, "tasks/0/await_tree/0/slots",
           "[{\"name\":\"conn\",\"type\":\"TcpStream\",\"offset_bytes\":16,\"inline_bytes\":24,"
           "\"heap_bytes\":300,\"heap_is\":\"exact\",\"requested_bytes\":280,"
           "\"status\":\"live\",\"allocated_by\":[" BY_TASK_1 "]},"
           "{\"name\":\"buffer\",\"type\":\"[u8; 2048]\",\"offset_bytes\":40,"
           "\"inline_bytes\":2048,\"heap_bytes\":0,\"heap_is\":\"exact\",\"requested_bytes\":0,"
           "\"status\":\"gone\",\"allocated_by\":null}]");
    expect(json, "tasks/0/await_tree/0/hidden",
           "{\"blocks\":1,\"heap_bytes\":40,\"heap_is\":\"exact\",\"requested_bytes\":null,"
           "\"status\":\"live\",\"allocated_by\":null}");
    expect(json, "tasks/0/await_tree/1/hidden", "null");
    expect(json, "tasks/1/await_tree/0/slots/0/heap_is", "\"at_least\"");
    expect(json, "tasks/1/await_tree/0/slots/0/requested_bytes", "null");
    expect(json, "tasks/1/await_tree/0/slots/1/heap_bytes", "null");
    expect(json, "tasks/1/await_tree/0/slots/1/heap_is", "null");
    expect(json, "tasks/1/await_tree/0/slots/1/status", "\"unsure\"");
    expect(json, "tasks/1/await_tree/0/hidden", "null");
    json_decref(json);
}

/* Whatever a file says of it. */
static void what_is_gone_owns_nothing(void **state)
{
    (void)state;
    struct snapshot snapshot;
    sample_snapshot_held(&snapshot);
    snapshot_holdings(&snapshot, NULL)[0].status = SLOT_GONE;
    json_t *json = render(&snapshot, &all);
    expect(json, "tasks/0/await_tree/0/slots/0/heap_bytes", "0");
    expect(json, "tasks/0/await_tree/0/slots/0/status", "\"gone\"");
    expect(json, "by_type/0/variables/0/heap_bytes", "5000");
    json_decref(json);
    snapshot_deinit(&snapshot);
}

static void a_variable_left_out_is_unknown(void **state)
{
    (void)state;
    struct snapshot snapshot;
    sample_snapshot_held(&snapshot);
    struct snapshot_frame *frame = snapshot_frames(&snapshot, NULL);
    frame->first_holding++; /* `buffer` and what is hidden remain */
    frame->nr_holdings--;
    json_t *json = render(&snapshot, &all);
    expect(json, "tasks/0/await_tree/0/slots/0/heap_bytes", "null");
    expect(json, "tasks/0/await_tree/0/slots/0/status", "null");
    expect(json, "tasks/0/await_tree/0/slots/1/status", "\"gone\"");
    expect(json, "tasks/0/await_tree/0/hidden/heap_bytes", "40");
    json_decref(json);
    snapshot_deinit(&snapshot);
}

static void who_shares_and_who_keeps(void **state)
{
    (void)state;
    json_t *json = make_held(&all);
    expect(json, "shared",
           "[{\"address\":139637976858624,\"type\":null,\"bytes\":64,\"owners\":7,\"tasks\":[]},"
           "{\"address\":139637976924160,\"type\":\"demo::Config\",\"bytes\":2048,\"owners\":3,"
           "\"tasks\":[1,2]}]");
    expect(json, "tasks/0/kept_by", "null");
    expect(json, "tasks/3/kept_by",
           "[{\"address\":139637976989712,\"class\":\"held\",\"block_address\":139637976989696,"
           "\"block_bytes\":4096,\"task\":8,\"variable\":\"names\",\"place\":null}]");
    expect(json, "tasks/4/kept_by",
           "[{\"address\":140720308486176,\"class\":null,\"block_address\":null,"
           "\"block_bytes\":null,\"task\":null,\"variable\":null,"
           "\"place\":\"stack of thread 4243\"}]");
    json_decref(json);
    json = make();
    expect(json, "shared", "null"); /* nobody looked */
    expect(json, "tasks/3/kept_by", "null");
    json_decref(json);
}

static void the_heap(void **state)
{
    (void)state;
    json_t *json = make_held(&all);
    expect(json, "heap",
           "{\"live_bytes\":110000,\"cells_bytes\":8000,\"held_bytes\":95544,"
           "\"maybe_held_bytes\":96,\"shared_bytes\":2112,\"runtime_bytes\":3000,"
           "\"other_bytes\":1000,\"unknown_bytes\":248,\"retained_bytes\":20000,"
           "\"rss_bytes\":140000,\"blocks\":321,\"allocator\":\"glibc malloc\","
           "\"how\":\"a copy-on-write child\",\"fork_ns\":250000,\"problem\":null}");
    json_decref(json);
    json = make();
    expect(json, "heap", "null");
    expect(json, "by_variable", "null");
    json_decref(json);
}

static void sums_of_what_is_held(void **state)
{
    (void)state;
    const struct snapshot_options top = {.top = 1};
    json_t *json = make_held(&all);
    expect(json, "by_type/0/held_bytes", "5400"); /* handlers; the running one is not known */
    expect(json, "by_type/0/held_is", "\"at_least\"");
    expect(json, "by_type/0/variables",
           "[{\"future\":\"demo::handler\",\"variable\":\"conn\",\"type\":\"TcpStream\","
           "\"hidden\":false,\"awaited\":false,\"box\":false,\"heap_bytes\":5300,\"heap_is\":\"at_"
           "least\",\"tasks\":2,"
           "\"largest_bytes\":5000,\"largest_task\":2,\"most_from\":{" READ_BODY
           ",\"requested_bytes\":3280}},"
           "{\"future\":\"demo::handler\",\"variable\":null,\"type\":null,\"hidden\":true,"
           "\"awaited\":false,\"box\":false,\"heap_bytes\":40,\"heap_is\":\"exact\",\"tasks\":1,"
           "\"largest_bytes\":40,"
           "\"largest_task\":1,\"most_from\":null}]");
    expect(json, "by_type/1/held_bytes", "144");
    expect(json, "by_type/1/held_is", "\"exact\"");
    expect(json, "by_type/1/variables", "[]");
    expect(json, "by_type/2/held_bytes", "null"); /* the blocking one */
    expect(json, "by_type/2/variables", "null");
    expect(json, "by_await/0/held_bytes", "5400");
    expect(json, "by_await/2/variables/0/variable", "\"names\"");
    assert_int_equal(json_array_size(json_object_get(json, "by_variable")), 3);
    expect(json, "by_variable/0/future", "\"demo::main::{async block#0}\"");
    expect(json, "by_variable/0/heap_bytes", "90000");
    expect(json, "by_variable/1/variable", "\"conn\"");
    json_decref(json);
    json = make_held(&top);
    assert_int_equal(json_array_size(json_object_get(json, "by_variable")), 1);
    json_decref(json);
}

static void what_is_unknown_is_null(void **state)
{
    (void)state;
    struct snapshot snapshot;
    sample_snapshot(&snapshot);
    snapshot_facts(&snapshot)->is_core = 1;
    snapshot_facts(&snapshot)->pid = 0;
    snapshot_facts(&snapshot)->taken_at_ns = 0;
    snapshot_runtimes(&snapshot, NULL)->owned_tasks = UINT64_MAX;
    for (int i = 0; i < 4; i++)
        snapshot_kinds(&snapshot, NULL)[i].future_bytes = UINT64_MAX;
    json_t *json = render(&snapshot, &all);
    expect(json, "pid", "null");
    expect(json, "taken_at", "null");
    expect(json, "stop_ns", "null");
    expect(json, "runtimes/0/owned_tasks", "null");
    expect(json, "futures/count", "6");
    expect(json, "futures/count_with_size", "0");
    expect(json, "futures/total_bytes", "null");
    expect(json, "futures/mean_bytes", "null");
    expect(json, "futures/largest_bytes", "null");
    json_decref(json);
    snapshot_deinit(&snapshot);
}

static void selections(void **state)
{
    (void)state;
    struct snapshot snapshot;
    const struct snapshot_options one = {.task = 3}, part = {.match = "job", .top = 1},
                                  none = {.match = "nowhere"};
    sample_snapshot(&snapshot);
    json_t *json = render(&snapshot, &one);
    assert_int_equal(json_array_size(json_object_get(json, "tasks")), 1);
    expect(json, "tasks/0/id", "3");
    json_decref(json);
    json = render(&snapshot, &part);
    assert_int_equal(json_array_size(json_object_get(json, "tasks")), 3);
    assert_int_equal(json_array_size(json_object_get(json, "by_type")), 1);
    json_decref(json);
    json = render(&snapshot, &none);
    expect(json, "tasks", "[]");
    expect(json, "by_type", "[]");
    expect(json, "futures/mean_bytes", "null");
    json_decref(json);
    snapshot_deinit(&snapshot);
}

/* More than one flush, and every task whole. */
static void many_tasks(void **state)
{
    (void)state;
    struct snapshot snapshot;
    sample_snapshot_big(&snapshot, 3000);
    json_t *json = render(&snapshot, &all), *tasks = json_object_get(json, "tasks");
    assert_int_equal(json_array_size(tasks), 3000);
    for (size_t i = 0; i < 3000; i++) {
        json_t *task = json_array_get(tasks, i);
        assert_int_equal(json_integer_value(json_object_get(task, "id")), i + 1);
        assert_int_equal(json_array_size(json_object_get(task, "await_tree")), 5);
    }
    json_decref(json);
    snapshot_deinit(&snapshot);
}

static void names_are_escaped(void **state)
{
    (void)state;
    struct snapshot snapshot;
    sample_snapshot(&snapshot);
    snapshot_kinds(&snapshot, NULL)[0].future =
        snapshot_add_string(&snapshot, "\"a\\b\x1b[31m\n\xff");
    json_t *json = render(&snapshot, &all);
    expect(json, "tasks/0/future", "\"\\\"a\\\\b\\u001B[31m\\n\xef\xbf\xbd\"");
    json_decref(json);
    snapshot_deinit(&snapshot);
}

static void any_bytes_are_valid_json(void **state)
{
    (void)state;
    uint64_t random = 11;
    for (int round = 0; round < 20000; round++) {
        char raw[24];
        size_t length = 1 + random_below(&random, sizeof(raw) - 1);
        for (size_t i = 0; i < length; i++)
            raw[i] = (char)(1 + random_below(&random, i % 2 ? 255 : 100));
        raw[length] = 0;
        struct text text, valid;
        text_init(&text);
        text_init(&valid);
        json_put_string(&text, raw);
        display_valid_utf8(raw, &valid);
        json_t *json = json_loads(text_str(&text), JSON_DECODE_ANY, NULL);
        assert_string_equal(json_string_value(json), text_str(&valid));
        json_decref(json);
        text_deinit(&text);
        text_deinit(&valid);
    }
}

static void numbers(void **state)
{
    (void)state;
    struct text text;
    text_init(&text);
    json_open(&text, '[');
    json_put_number(&text, 0);
    json_put_number(&text, 1234567890);
    json_put_number(&text, INT64_MAX);
    json_put_number(&text, (uint64_t)INT64_MAX + 1);
    json_put_string(&text, NULL);
    json_close(&text, ']');
    assert_string_equal(text_str(&text), "[0,1234567890,9223372036854775807,null,null]");
    text_deinit(&text);
}

static void a_full_disk_is_told(void **state)
{
    (void)state;
    struct snapshot snapshot;
    struct snapshot_report report;
    struct error err = {0};
    FILE *full = fopen("/dev/full", "w");
    sample_snapshot_big(&snapshot, 3000);
    assert_true(snapshot_report_init(&report, &snapshot, &all, &err));
    assert_false(snapshot_write_json(&report, full, &err));
    assert_string_equal(err.message, "the output could not be written: No space left on device");
    snapshot_report_deinit(&report);
    snapshot_deinit(&snapshot);
    fclose(full);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_head),
        cmocka_unit_test(the_tasks),
        cmocka_unit_test(the_trees),
        cmocka_unit_test(the_sums),
        cmocka_unit_test(what_tasks_hold),
        cmocka_unit_test(what_variables_hold),
        cmocka_unit_test(who_allocated_it),
        cmocka_unit_test(what_is_gone_owns_nothing),
        cmocka_unit_test(a_variable_left_out_is_unknown),
        cmocka_unit_test(who_shares_and_who_keeps),
        cmocka_unit_test(the_heap),
        cmocka_unit_test(sums_of_what_is_held),
        cmocka_unit_test(what_is_unknown_is_null),
        cmocka_unit_test(selections),
        cmocka_unit_test(many_tasks),
        cmocka_unit_test(names_are_escaped),
        cmocka_unit_test(any_bytes_are_valid_json),
        cmocka_unit_test(numbers),
        cmocka_unit_test(a_full_disk_is_told),
    };
    return cmocka_run_group_tests_name("snapshot_json", tests, NULL, NULL);
}
