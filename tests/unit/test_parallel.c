/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "unit.h"

#include <sched.h>
#include <stdatomic.h>

#include "base/parallel.h"

enum { NR_ITEMS = 10000 };

struct tally {
    atomic_uint runs[NR_ITEMS];
    unsigned workers;
    uint64_t of_worker[64]; /* no lock: one thread each */
    atomic_bool wrong_worker;
};

static void count(void *context, unsigned worker, size_t item)
{
    struct tally *tally = context;
    atomic_fetch_add(&tally->runs[item], 1);
    if (worker >= tally->workers)
        atomic_store(&tally->wrong_worker, true);
    else
        tally->of_worker[worker]++;
}

static void each_item_runs_once(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 2, 3, 17, NR_ITEMS};
    for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++) {
        struct tally *tally = calloc(1, sizeof(*tally));
        tally->workers = parallel_workers(sizes[s]);
        parallel_for(sizes[s], count, tally);
        uint64_t sum = 0;
        for (size_t i = 0; i < NR_ITEMS; i++)
            assert_int_equal(tally->runs[i], i < sizes[s] ? 1 : 0);
        for (unsigned w = 0; w < tally->workers; w++)
            sum += tally->of_worker[w];
        assert_int_equal(sum, sizes[s]);
        assert_false(tally->wrong_worker);
        free(tally);
    }
}

static void workers_are_bounded(void **state)
{
    (void)state;
    cpu_set_t set;
    assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
    assert_int_equal(parallel_workers(0), 1);
    assert_int_equal(parallel_workers(1), 1);
    assert_in_range(parallel_workers(1000000), 1, (unsigned)CPU_COUNT(&set));
    assert_in_range(parallel_workers(2), 1, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_item_runs_once),
        cmocka_unit_test(workers_are_bounded),
    };
    return cmocka_run_group_tests_name("parallel", tests, NULL, NULL);
}
