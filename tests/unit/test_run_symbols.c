/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "unit.h"

#include <link.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model/run_symbols.h"
#include "program/debug_source.h"
#include "program/demangle.h"

struct fixture {
    struct run_symbols *symbols;
    char self[4096];
    struct debug_source source;
    uint64_t bias;
};

static int first_object(struct dl_phdr_info *info, size_t size, void *bias)
{
    (void)size;
    *(uint64_t *)bias = info->dlpi_addr;
    return 1;
}

static int make(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    struct error err = {0};
    ssize_t length = readlink("/proc/self/exe", fixture->self, sizeof(fixture->self) - 1);
    assert_true(length > 0);
    assert_true(debug_source_open(&fixture->source, fixture->self, NULL, &err));
    dl_iterate_phdr(first_object, &fixture->bias);
    fixture->symbols = run_symbols_new();
    *state = fixture;
    return 0;
}

static int release(void **state)
{
    struct fixture *fixture = *state;
    run_symbols_free(fixture->symbols);
    debug_source_close(&fixture->source);
    free(fixture);
    return 0;
}

static struct run_code self_code(const struct fixture *fixture)
{
    return (struct run_code){fixture->self, fixture->source.program->build_id,
                             fixture->source.program->build_id_bytes};
}

/* The address behind its own call, and the line of that call. */
static __attribute__((noinline)) uint64_t here(uint32_t *line)
{
    *line = __LINE__ - 2;
    return (uint64_t)(uintptr_t)__builtin_extract_return_addr(__builtin_return_address(0));
}

static void a_known_place(void **state)
{
    const struct fixture *fixture = *state;
    struct run_code code = self_code(fixture);
    uint32_t line, nr;
    const uint32_t before = __LINE__;
    uint64_t pc = here(&line);
    struct run_symbol_at at = {.code = &code, .offset = pc - fixture->bias};
    const struct run_symbol_frame *frames = run_symbols_find(fixture->symbols, &at, &nr);
    assert_int_equal(nr, 1);
    assert_string_equal(frames[0].function, "a_known_place");
    assert_string_equal(frames[0].full, "a_known_place");
    assert_non_null(strstr(frames[0].file, "test_run_symbols.c"));
    assert_true(frames[0].line > before && frames[0].line <= before + 2);
    assert_int_equal(frames[0].kind, RUN_FRAME_USER);
    assert_int_equal(frames[0].is_inlined, 0);
}

/* A second packing asks for the same places. */
static void nothing_is_looked_up_twice(void **state)
{
    const struct fixture *fixture = *state;
    struct run_code code = self_code(fixture);
    uint32_t nr;
    const char *first[64];
    for (int round = 0; round < 2; round++) {
        for (uint64_t i = 0; i < 64; i++) {
            struct run_symbol_at at = {
                .code = &code, .offset = (uintptr_t)make - fixture->bias + i, .is_exact = i % 2};
            const char *function = run_symbols_find(fixture->symbols, &at, &nr)->function;
            if (round)
                assert_ptr_equal(function, first[i]);
            first[i] = function;
        }
        assert_int_equal(run_symbols_nr_places(fixture->symbols), 64);
    }
}

static const char *only_name(const struct fixture *fixture, const struct run_code *code,
                             uint64_t offset, enum run_frame_kind kind)
{
    struct run_symbol_at at = {.code = code, .offset = offset};
    uint32_t nr;
    const struct run_symbol_frame *frame = run_symbols_find(fixture->symbols, &at, &nr);
    assert_int_equal(nr, 1);
    assert_int_equal(frame->kind, kind);
    assert_string_equal(frame->file, "");
    return frame->function;
}

static void files_that_are_gone(void **state)
{
    const struct fixture *fixture = *state;
    struct run_code gone = {.path = "/nowhere/libfoo.so"}, other = self_code(fixture);
    struct run_code odd = {.path = "linux-vdso.so.1"}, folder = {.path = "/"}, none = {.path = ""};
    uint8_t build_id[4] = {1, 2, 3, 4};
    assert_string_equal(only_name(fixture, &gone, 0x1234, RUN_FRAME_LIBRARY), "libfoo.so+0x1234");
    assert_string_equal(only_name(fixture, &odd, 0x12, RUN_FRAME_LIBRARY), "linux-vdso.so.1+0x12");
    assert_string_equal(only_name(fixture, &folder, 1, RUN_FRAME_LIBRARY), "+0x1");
    assert_string_equal(only_name(fixture, &none, 1, RUN_FRAME_LIBRARY), "+0x1");
    assert_string_equal(only_name(fixture, NULL, 0xdead, RUN_FRAME_LIBRARY), "0xdead");
    other.build_id = build_id; /* the file is of another build by now */
    other.build_id_bytes = sizeof(build_id);
    assert_non_null(strstr(only_name(fixture, &other, 0x1234, RUN_FRAME_LIBRARY), "+0x1234"));
}

static void files_that_are_none(void **state)
{
    const struct fixture *fixture = *state;
    char path[] = "/tmp/asyncmem-symbols-XXXXXX";
    int fd = mkstemp(path);
    assert_int_equal(write(fd,
                           "\x7f"
                           "ELF\x02\x01\x01 and nothing else",
                           20),
                     20);
    close(fd);
    struct run_code code = {.path = path};
    assert_non_null(strstr(only_name(fixture, &code, 0x10, RUN_FRAME_LIBRARY), "+0x10"));
    unlink(path);
}

/* --- a program with tokio -------------------------------------------------------------------- */

/* Address and size of the function of that demangled name. */
static uint64_t find_function(struct debug_source *source, const char *wanted, uint64_t *size)
{
    elf_file_symbols(source->program);
    for (uint32_t i = 0; i < source->program->nr_symbols; i++) {
        const struct elf_symbol *symbol = &source->program->symbols[i];
        struct text name;
        text_init(&name);
        bool is_it = demangle_rust(symbol->name, &name) && strcmp(text_str(&name), wanted) == 0;
        text_deinit(&name);
        *size = symbol->size_bytes;
        if (is_it)
            return symbol->addr;
    }
    return 0;
}

/* Everywhere in the body of an async fn its outermost frame is the fn; inside are others, too. */
static void an_async_fn(void **state)
{
    const struct fixture *fixture = *state;
    const char *programs = getenv("ASYNCMEM_PROGRAMS");
    char path[4096];
    struct debug_source source;
    struct error err;
    uint64_t size = 0;
    snprintf(path, sizeof(path), "%s/release/demo-server", programs ? programs : "");
    if (access(path, R_OK) != 0)
        skip();
    assert_true(debug_source_open(&source, path, NULL, &err));
    uint64_t addr = find_function(&source, "demo_server::worker::index_notes::{{closure}}", &size);
    assert_true(addr && size > 100);
    struct run_code code = {.path = path};
    bool kinds[NR_RUN_FRAME_KINDS] = {0};
    for (uint64_t at_byte = 1; at_byte < size; at_byte += 7) {
        struct run_symbol_at at = {.code = &code, .offset = addr + at_byte};
        uint32_t nr;
        const struct run_symbol_frame *frames = run_symbols_find(fixture->symbols, &at, &nr);
        for (uint32_t i = 0; i < nr; i++) {
            assert_int_equal(frames[i].is_inlined, i + 1 < nr);
            kinds[frames[i].kind] = true;
        }
        assert_string_equal(frames[nr - 1].function, "index_notes");
        assert_int_equal(frames[nr - 1].kind, RUN_FRAME_POLL);
        assert_non_null(strstr(frames[nr - 1].file, "demo-server/src/worker.rs"));
    }
    assert_true(kinds[RUN_FRAME_STD] && kinds[RUN_FRAME_LIBRARY]);
    debug_source_close(&source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_known_place, make, release),
        cmocka_unit_test_setup_teardown(nothing_is_looked_up_twice, make, release),
        cmocka_unit_test_setup_teardown(files_that_are_gone, make, release),
        cmocka_unit_test_setup_teardown(files_that_are_none, make, release),
        cmocka_unit_test_setup_teardown(an_async_fn, make, release),
    };
    return cmocka_run_group_tests_name("run_symbols", tests, NULL, NULL);
}
