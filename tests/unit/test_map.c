/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "unit.h"

#include "base/map.h"

static void empty_map_has_nothing(void **state)
{
    (void)state;
    struct map map;
    map_init(&map);
    assert_null(map_find(&map, 0));
    assert_null(map_find(&map, 7));
    map_deinit(&map);
}

static void key_0_is_a_key(void **state)
{
    (void)state;
    struct map map;
    bool is_new;
    map_init(&map);
    *map_put(&map, 5, NULL) = 1;
    assert_null(map_find(&map, 0));
    *map_put(&map, 0, &is_new) = 9;
    assert_true(is_new);
    assert_int_equal(*map_put(&map, 0, &is_new), 9);
    assert_false(is_new);
    assert_int_equal(map.count, 2);
    map_deinit(&map);
}

/* Against an array: keys that collide, sparse ones, ends of the range. */
static void agrees_with_a_model(void **state)
{
    (void)state;
    enum { NR = 20000 };
    struct map map;
    uint64_t random = 42;
    static uint64_t keys[NR];
    map_init(&map);
    for (uint32_t i = 0; i < NR; i++) {
        keys[i] = i % 3 == 0   ? (uint64_t)i << 32
                  : i % 3 == 1 ? i
                               : random_next(&random) | 1ull << 63;
        bool is_new;
        uint32_t *value = map_put(&map, keys[i], &is_new);
        if (is_new)
            assert_int_equal(*value, 0);
        *value = i + 1;
        assert_true(map.count * 4 <= map.capacity * 3 + 4);
    }
    for (uint32_t i = 0; i < NR; i++) {
        const uint32_t *value = map_find(&map, keys[i]);
        assert_non_null(value);
        assert_int_equal(keys[*value - 1], keys[i]);
    }
    for (uint32_t i = 0; i < 1000; i++)
        assert_null(map_find(&map, 0x7000000000000000ull + i));
    map_deinit(&map);
    assert_int_equal(map.capacity, 0);
}

static void room_is_kept(void **state)
{
    (void)state;
    enum { NR = 100000 };
    struct map map;
    map_init(&map);
    map_prefetch(&map, 3);
    *map_put(&map, 3, NULL) = 33;
    map_reserve(&map, NR);
    const struct map_slot *slots = map.slots;
    assert_int_equal(*map_find(&map, 3), 33);
    assert_null(map_find(&map, 4));
    for (uint32_t i = 1; i < NR; i++) {
        map_prefetch(&map, (uint64_t)i * 4096);
        *map_put(&map, (uint64_t)i * 4096, NULL) = i;
    }
    assert_ptr_equal(map.slots, slots);
    assert_int_equal(map.count, NR);
    assert_int_equal(*map_find(&map, 7 * 4096), 7);
    map_reserve(&map, 10); /* never less */
    assert_ptr_equal(map.slots, slots);
    map_deinit(&map);
}

static void hashes_tell_apart(void **state)
{
    (void)state;
    assert_true(hash_str("ab", 0) == hash_bytes("ab", 2, 0));
    assert_true(hash_str("ab", 0) != hash_str("ab", 1));
    assert_true(hash_str("ab", 0) != hash_str("ba", 0));
    /* A path's hash is chained: the parting of its steps counts. */
    assert_true(hash_str("c", hash_str("ab", 0)) != hash_str("bc", hash_str("a", 0)));
    assert_true(hash_u64(1, 0) != hash_u64(1, 1));
    assert_true(hash_u64(2, 3) != hash_u64(3, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_map_has_nothing), cmocka_unit_test(key_0_is_a_key),
        cmocka_unit_test(agrees_with_a_model),   cmocka_unit_test(room_is_kept),
        cmocka_unit_test(hashes_tell_apart),
    };
    return cmocka_run_group_tests_name("map", tests, NULL, NULL);
}
