/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "unit.h"

#include "base/memory.h"

static void pieces_are_zeroed_aligned_and_apart(void **state)
{
    (void)state;
    struct arena arena;
    uint64_t random = 1;
    unsigned char *pieces[500];
    size_t sizes[500];
    arena_init(&arena);
    for (size_t i = 0; i < 500; i++) {
        sizes[i] = i % 50 ? random_below(&random, 200) : 70000 + random_below(&random, 300000);
        pieces[i] = arena_alloc(&arena, sizes[i]);
        assert_int_equal((uintptr_t)pieces[i] % 16, 0);
        for (size_t b = 0; b < sizes[i]; b++)
            assert_int_equal(pieces[i][b], 0);
        memset(pieces[i], (int)i, sizes[i]);
    }
    for (size_t i = 0; i < 500; i++)
        for (size_t b = 0; b < sizes[i]; b++)
            assert_int_equal(pieces[i][b], (unsigned char)i);
    arena_deinit(&arena);
    assert_null(arena.chunks);
}

static void empty_pieces_are_pieces(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena);
    assert_non_null(arena_alloc_raw(&arena, 0));
    assert_non_null(arena_alloc(&arena, 0));
    arena_deinit(&arena);
}

static void copies_end_in_nul(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena);
    assert_string_equal(arena_strndup(&arena, "abcdef", 3), "abc");
    assert_string_equal(arena_strndup(&arena, "", 0), "");
    arena_deinit(&arena);
}

static void taken_pieces_live_on(void **state)
{
    (void)state;
    struct arena to, from, empty;
    arena_init(&to);
    arena_init(&from);
    arena_init(&empty);
    char *first = arena_strndup(&to, "first", 5);
    char *taken = arena_strndup(&from, "taken", 5);
    char *big = arena_alloc(&from, 1 << 20);
    size_t used = to.used_bytes + from.used_bytes;
    arena_take(&to, &from);
    arena_take(&to, &empty);
    assert_int_equal(to.used_bytes, used);
    assert_null(from.chunks);
    arena_deinit(&from); /* frees nothing of what was taken */
    char *later = arena_strndup(&to, "later", 5);
    memset(big, 1, 1 << 20);
    assert_string_equal(first, "first");
    assert_string_equal(taken, "taken");
    assert_string_equal(later, "later");
    arena_deinit(&to);
}

static void empty_arena_takes_all(void **state)
{
    (void)state;
    struct arena to, from;
    arena_init(&to);
    arena_init(&from);
    char *taken = arena_strndup(&from, "taken", 5);
    arena_take(&to, &from);
    char *later = arena_strndup(&to, "later", 5);
    assert_string_equal(taken, "taken");
    assert_string_equal(later, "later");
    arena_deinit(&to);
}

static void arrays_grow_by_doubling(void **state)
{
    (void)state;
    uint32_t *items = NULL;
    size_t capacity = 0, moves = 0;
    for (uint32_t i = 0; i < 10000; i++) {
        size_t before = capacity;
        items = array_reserve(items, &capacity, i + 1, sizeof(*items));
        moves += capacity != before;
        items[i] = i;
    }
    for (uint32_t i = 0; i < 10000; i++)
        assert_int_equal(items[i], i);
    assert_in_range(moves, 1, 11);
    free(items);
}

static void reserve_of_nothing_is_an_array(void **state)
{
    (void)state;
    size_t capacity = 0;
    void *items = array_reserve(NULL, &capacity, 0, 8);
    assert_non_null(items);
    assert_true(capacity > 0);
    free(items);
    items = memory_alloc(0);
    assert_non_null(items);
    items = memory_resize(items, 0);
    assert_non_null(items);
    free(items);
}

static void touched_pieces_can_be_written(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 4096, 4097, (2 << 20) - 1, 2 << 20, (5 << 20) + 3};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        char *piece = memory_alloc_touched(sizes[i]);
        memset(piece, 0x5a, sizes[i]);
        piece = memory_resize(piece, sizes[i] + 1);
        assert_true(!sizes[i] || piece[sizes[i] - 1] == 0x5a);
        free(piece);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_zeroed_aligned_and_apart),
        cmocka_unit_test(empty_pieces_are_pieces),
        cmocka_unit_test(copies_end_in_nul),
        cmocka_unit_test(taken_pieces_live_on),
        cmocka_unit_test(empty_arena_takes_all),
        cmocka_unit_test(arrays_grow_by_doubling),
        cmocka_unit_test(reserve_of_nothing_is_an_array),
        cmocka_unit_test(touched_pieces_can_be_written),
    };
    return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
