/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "unit.h"

#include <stdio.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/file.h"
#include "recording/container.h"

enum { TAG_A = CONTAINER_TAG('A', 'A', 'A', 'A'), TAG_B = CONTAINER_TAG('B', 'B', 'B', 'B') };

static const uint32_t rows_a[] = {1, 2, 3, 4, 5};
static const char rows_b[] = "a section of letters, a section of letters, a section of letters";

struct sample {
    uint8_t *bytes;
    uint64_t size;
};

static int make_sample(void **state)
{
    char path[] = "/tmp/asyncmem-container-XXXXXX";
    struct sample *sample = calloc(1, sizeof(*sample));
    struct container_writer writer;
    struct error err = {0};
    struct file file;
    close(mkstemp(path));
    container_begin(&writer, "sample");
    container_add(&writer, TAG_A, sizeof(*rows_a), rows_a, 5);
    container_add(&writer, TAG_B, 1, rows_b, sizeof(rows_b));
    container_add(&writer, CONTAINER_TAG('N', 'O', 'N', 'E'), 8, NULL, 0);
    assert_true(container_finish(&writer, path, &err));
    container_writer_deinit(&writer);
    assert_true(file_open(&file, path, &err));
    sample->size = file.size_bytes;
    sample->bytes = malloc(sample->size);
    memcpy(sample->bytes, file.bytes, sample->size);
    file_close(&file);
    unlink(path);
    *state = sample;
    return 0;
}

static int free_sample(void **state)
{
    struct sample *sample = *state;
    free(sample->bytes);
    free(sample);
    return 0;
}

/* Opens it in memory of exactly that size; returns how many of the three sections were read. */
static unsigned read_all(const uint8_t *bytes, uint64_t size, bool *damaged, struct error *err)
{
    struct container container;
    uint8_t *copy = malloc(size ? size : 1);
    unsigned nr = 0;
    memcpy(copy, bytes, size);
    *damaged = true;
    if (container_open(&container, copy, size, "sample", err)) {
        *damaged = container.is_damaged;
        for (size_t i = 0; i < container.nr_sections; i++) {
            const struct container_section *section = &container.sections[i];
            void *rows = container_read(&container, section);
            if (rows && section->tag == TAG_A)
                assert_memory_equal(rows, rows_a, sizeof(rows_a));
            if (rows && section->tag == TAG_B)
                assert_memory_equal(rows, rows_b, sizeof(rows_b));
            *damaged |= !rows;
            nr += rows != NULL;
            free(rows);
        }
        container_close(&container);
    }
    free(copy);
    return nr;
}

static void round_trip(void **state)
{
    const struct sample *sample = *state;
    struct error err = {0};
    struct container container;
    bool damaged;
    assert_int_equal(read_all(sample->bytes, sample->size, &damaged, &err), 3);
    assert_false(damaged);
    assert_true(container_open(&container, sample->bytes, sample->size, "sample", &err));
    assert_string_equal(container.writer, ASYNCMEM_VERSION);
    const struct container_section *a = container_find(&container, TAG_A);
    assert_int_equal(a->nr_rows, 5);
    assert_int_equal(a->row_bytes, 4);
    assert_int_equal(a->raw_bytes, 20);
    assert_null(container_find(&container, CONTAINER_TAG('N', 'O', 'P', 'E')));
    container_close(&container);
}

static void every_cut_is_noticed(void **state)
{
    const struct sample *sample = *state;
    unsigned before = 0;
    for (uint64_t size = 0; size < sample->size; size++) {
        struct error err = {0};
        bool damaged;
        unsigned nr = read_all(sample->bytes, size, &damaged, &err);
        assert_true(damaged);
        assert_true(nr >= before); /* what is there whole is read */
        before = nr;
    }
    assert_int_equal(before, 3);
}

static void every_flipped_bit_is_noticed(void **state)
{
    const struct sample *sample = *state;
    for (uint64_t at = 0; at < sample->size; at++)
        for (unsigned bit = 0; bit < 8; bit++) {
            struct error err = {0};
            bool damaged;
            sample->bytes[at] ^= (uint8_t)(1 << bit);
            unsigned nr = read_all(sample->bytes, sample->size, &damaged, &err);
            sample->bytes[at] ^= (uint8_t)(1 << bit);
            assert_true(damaged);
            assert_true(at < CONTAINER_HEADER_BYTES || nr >= 2); /* costs one section at most */
        }
}

static void behind_the_end(void **state)
{
    const struct sample *sample = *state;
    struct error err = {0};
    bool damaged;
    uint8_t *longer = calloc(1, sample->size + 1);
    memcpy(longer, sample->bytes, sample->size);
    assert_int_equal(read_all(longer, sample->size + 1, &damaged, &err), 3);
    assert_true(damaged);
    free(longer);
}

/* Writes a number into the header and makes its checksum right again. */
static void edit_header(struct sample *sample, size_t at, uint32_t value)
{
    memcpy(sample->bytes + at, &value, 4);
    uint64_t checksum = XXH3_64bits(sample->bytes, CONTAINER_HEADER_BYTES - 8);
    memcpy(sample->bytes + CONTAINER_HEADER_BYTES - 8, &checksum, 8);
}

static void says_what_is_wrong(void **state)
{
    struct sample *sample = *state;
    struct container container;
    struct error err = {0};
    assert_false(container_open(&container, sample->bytes, sample->size, "snapshot", &err));
    assert_int_equal(err.code, ERROR_INPUT);
    assert_non_null(strstr(err.message, "another kind: sample, not snapshot"));
    assert_false(container_open(&container, "\177ELF and more", 13, "sample", &err));
    assert_non_null(strstr(err.message, "not a recording"));
    assert_false(container_open(&container, sample->bytes, 20, "sample", &err));
    assert_non_null(strstr(err.message, "cut short"));
    sample->bytes[30]++;
    assert_false(container_open(&container, sample->bytes, sample->size, "sample", &err));
    assert_non_null(strstr(err.message, "damaged"));
    sample->bytes[30]--;
    edit_header(sample, 8, CONTAINER_VERSION + 1);
    assert_false(container_open(&container, sample->bytes, sample->size, "sample", &err));
    assert_non_null(strstr(err.message, "asyncmem " ASYNCMEM_VERSION " wrote it in a format (2)"));
}

/* A head whose checksum is right but whose sizes lie: nothing big is allocated. */
static void lying_sizes(void **state)
{
    struct sample *sample = *state;
    static const uint64_t lies[] = {6, 4, 0, 1ULL << 31, 1ULL << 62, UINT64_MAX};
    for (size_t i = 0; i < sizeof(lies) / sizeof(*lies); i++) {
        struct error err = {0};
        bool damaged;
        uint8_t *head = sample->bytes + CONTAINER_HEADER_BYTES;
        memcpy(head + 16, &lies[i], 8);
        uint64_t own =
            XXH3_64bits_withSeed(head, CONTAINER_SECTION_BYTES - 8, CONTAINER_HEADER_BYTES);
        memcpy(head + CONTAINER_SECTION_BYTES - 8, &own, 8);
        assert_int_equal(read_all(sample->bytes, sample->size, &damaged, &err), 2);
        assert_true(damaged);
    }
}

/* The same of what is stored: nothing behind the file is read. */
static void lying_stored_bytes(void **state)
{
    struct sample *sample = *state;
    static const uint64_t lies[] = {1ULL << 20, 1ULL << 40, UINT64_MAX - 100, UINT64_MAX};
    for (size_t i = 0; i < sizeof(lies) / sizeof(*lies); i++) {
        struct error err = {0};
        bool damaged;
        uint8_t *head = sample->bytes + CONTAINER_HEADER_BYTES;
        memcpy(head + 24, &lies[i], 8);
        uint64_t own =
            XXH3_64bits_withSeed(head, CONTAINER_SECTION_BYTES - 8, CONTAINER_HEADER_BYTES);
        memcpy(head + CONTAINER_SECTION_BYTES - 8, &own, 8);
        assert_int_equal(read_all(sample->bytes, sample->size, &damaged, &err), 2);
        assert_true(damaged);
    }
}

/* What a writer cannot write: one line, and no file is left. */
static void unwritable(void **state)
{
    (void)state;
    struct container_writer writer;
    struct error err = {0};
    container_begin(&writer, "sample");
    assert_false(container_finish(&writer, "/nonexistent/folder/file", &err));
    assert_int_equal(err.code, ERROR_INPUT);
    assert_non_null(strstr(err.message, "cannot be written"));
    container_writer_deinit(&writer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(round_trip, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(every_cut_is_noticed, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(every_flipped_bit_is_noticed, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(behind_the_end, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(says_what_is_wrong, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(lying_sizes, make_sample, free_sample),
        cmocka_unit_test_setup_teardown(lying_stored_bytes, make_sample, free_sample),
        cmocka_unit_test(unwritable),
    };
    return cmocka_run_group_tests_name("container", tests, NULL, NULL);
}
