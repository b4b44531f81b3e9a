/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Frame descriptions, functions without displacements, and what matches of two builds. */
#include "unit.h"

#include <dwarf.h>
#include <unistd.h>

#include "dwarf_build.h"
#include "program/code_functions.h"
#include "program/code_match.h"

/* --- frame descriptions ---------------------------------------------------------------------- */

static const char pcrel_signed = DW_EH_PE_pcrel | DW_EH_PE_sdata4;

/* A CIE with this augmentation and encoding; returns its offset. */
static size_t put_cie(struct bytes *frames, const char *augmentation, uint8_t encoding)
{
    size_t at = frames->nr;
    put_uint(frames, 0, 4); /* length, set below */
    put_uint(frames, 0, 4); /* a CIE */
    put_uint(frames, 1, 1); /* version */
    put_str(frames, augmentation);
    put_uleb(frames, 1);
    put_sleb(frames, -8);
    put_uint(frames, 16, 1);
    put_uleb(frames, 1);
    put_uint(frames, encoding, 1);
    set_uint(frames, at, frames->nr - at - 4, 4);
    return at;
}

/* An FDE of a function at begin of `size` bytes; the section lies at `section`. */
static void put_fde(struct bytes *frames, size_t cie, uint64_t section, uint64_t begin,
                    uint64_t size)
{
    put_uint(frames, 16, 4);
    put_uint(frames, frames->nr - cie, 4);
    put_uint(frames, begin - (section + frames->nr), 4);
    put_uint(frames, size, 4);
    put_uint(frames, 0, 4); /* no instructions */
}

static void reads_frames(void **state)
{
    (void)state;
    struct bytes frames = {0};
    struct code_ranges ranges = {0};
    size_t cie = put_cie(&frames, "zR", (uint8_t)pcrel_signed);
    put_fde(&frames, cie, 0x5000, 0x1000, 0x20);
    size_t other = put_cie(&frames, "zR", (uint8_t)pcrel_signed);
    put_fde(&frames, other, 0x5000, 0x9000, 7); /* behind the section */
    put_fde(&frames, cie, 0x5000, 0x1020, 1);   /* the first CIE again */
    put_fde(&frames, cie, 0x5000, 0x2000, 0);   /* no bytes: none */
    put_uint(&frames, 0, 4);                    /* the end */
    put_fde(&frames, cie, 0x5000, 0x3000, 5);
    code_ranges_of_frames(&ranges, frames.data, frames.nr, 0x5000);
    assert_int_equal(ranges.nr, 3);
    assert_int_equal(ranges.rows[0].addr, 0x1000);
    assert_int_equal(ranges.rows[0].size_bytes, 0x20);
    assert_int_equal(ranges.rows[1].addr, 0x9000);
    assert_int_equal(ranges.rows[2].addr, 0x1020);
    free(ranges.rows);
    bytes_free(&frames);
}

static void leaves_out_what_it_does_not_know(void **state)
{
    (void)state;
    struct bytes frames = {0};
    struct code_ranges ranges = {0};
    put_fde(&frames, put_cie(&frames, "zX", (uint8_t)pcrel_signed), 0, 0x1000, 5);
    put_fde(&frames, put_cie(&frames, "eh", (uint8_t)pcrel_signed), 0, 0x1000, 5);
    put_fde(&frames, put_cie(&frames, "zR", DW_EH_PE_omit), 0, 0x1000, 5);
    put_fde(&frames, put_cie(&frames, "zR", DW_EH_PE_datarel | DW_EH_PE_sdata4), 0, 0x1000, 5);
    put_fde(&frames, put_cie(&frames, "zR", DW_EH_PE_uleb128), 0, 0x1000, 5);
    put_fde(&frames, 1, 0, 0x1000, 5); /* no CIE is there */
    put_fde(&frames, put_cie(&frames, "zR", (uint8_t)pcrel_signed), 0, 0x1000, 5);
    code_ranges_of_frames(&ranges, frames.data, frames.nr, 0);
    assert_int_equal(ranges.nr, 1);
    free(ranges.rows);
    bytes_free(&frames);
}

static void open_self(struct elf_file *elf)
{
    struct error err;
    assert_true(elf_file_open(elf, "/proc/self/exe", &err));
    elf_file_symbols(elf);
}

/* The compiler's own frames: each function has the length that its symbol says. */
static void frames_agree_with_symbols(void **state)
{
    (void)state;
    struct elf_file elf;
    unsigned nr_same = 0;
    open_self(&elf);
    struct code_ranges ranges = code_functions(&elf);
    for (size_t i = 0; i < ranges.nr; i++) {
        const struct elf_symbol *symbol = elf_symbol_at(&elf, ranges.rows[i].addr);
        if (i)
            assert_true(ranges.rows[i - 1].addr < ranges.rows[i].addr);
        if (!symbol || symbol->addr != ranges.rows[i].addr || !symbol->size_bytes)
            continue;
        nr_same += symbol->size_bytes == ranges.rows[i].size_bytes;
    }
    assert_true(nr_same > 100);
    assert_true(nr_same + 20 > ranges.nr / 2);
    free(ranges.rows);
    elf_file_close(&elf);
}

static const struct elf_section *section_of(const struct elf_file *elf, const char *name)
{
    for (uint32_t i = 0; i < elf->nr_sections; i++)
        if (strcmp(elf->sections[i].name, name) == 0)
            return &elf->sections[i];
    return NULL;
}

/* Exactly as many bytes as are read may be read: the sanitizer sees to that. */
static void damaged_frames_do_no_harm(void **state)
{
    (void)state;
    struct elf_file elf;
    uint64_t random = 77;
    open_self(&elf);
    const struct elf_section *section = section_of(&elf, ".eh_frame");
    assert_non_null(section);
    for (int round = 0; round < 3000; round++) {
        size_t size =
            1 + random_below(&random, section->bytes.size < 600 ? section->bytes.size : 600);
        uint8_t *copy = malloc(size);
        struct code_ranges ranges = {0};
        memcpy(copy, section->bytes.data, size);
        for (uint64_t flips = random_below(&random, 8); flips--;)
            copy[random_below(&random, size)] = (uint8_t)random_next(&random);
        code_ranges_of_frames(&ranges, copy, size, section->addr);
        for (size_t i = 0; i < ranges.nr; i++)
            assert_true(ranges.rows[i].size_bytes &&
                        ranges.rows[i].addr + ranges.rows[i].size_bytes > ranges.rows[i].addr);
        free(ranges.rows);
        free(copy);
    }
    elf_file_close(&elf);
}

/* --- two builds of one small program --------------------------------------------------------- */

enum { TEXT = 0x1000, DATA = 0x4000, FRAMES = 0x8000, MAX_PARTS = 16 };

/* A function: bytes, then a call of another, then an address of a place in the source. */
struct part {
    const char *body;
    int calls; /* which part; -1: none */
    int line;  /* of its Location; 0: none */
};

struct program {
    struct elf_build build;
    struct elf_file elf;
    struct code_graph graph;
    uint64_t addrs[MAX_PARTS];
    char *path;
};

/* Lays the parts out in `order`, `gap` bytes apart, and reads them as a file. */
static void program_make(struct program *program, const struct part *parts, const int *order,
                         unsigned nr, unsigned gap)
{
    struct error err;
    struct bytes text = {0}, data = {0}, frames = {0};
    elf_build_init(&program->build);
    for (unsigned i = 0; i < nr; i++) {
        const struct part *part = &parts[order[i]];
        put_zeros(&text, gap);
        program->addrs[order[i]] = TEXT + text.nr;
        put_zeros(&text,
                  strlen(part->body) + (part->calls >= 0 ? 5 : 0) + (part->line ? 7 : 0) + 1);
    }
    put_zeros(&data, gap / 8 * 8);
    const uint64_t name = DATA + data.nr;
    put_bytes(&data, "/src/a.rs\0\0\0\0\0\0", 16);
    size_t cie = put_cie(&frames, "zR", (uint8_t)pcrel_signed);
    for (unsigned i = 0; i < nr; i++) {
        const struct part *part = &parts[order[i]];
        size_t begin = program->addrs[order[i]] - TEXT, at = begin + strlen(part->body);
        memcpy(text.data + begin, part->body, strlen(part->body));
        if (part->calls >= 0) {
            text.data[at] = 0xe8;
            set_uint(&text, at + 1, program->addrs[part->calls] - (TEXT + at + 5), 4);
            at += 5;
        }
        if (part->line) { /* lea rdi, [rip + location] */
            memcpy(text.data + at, "\x48\x8d\x3d", 3);
            set_uint(&text, at + 3, DATA + data.nr - (TEXT + at + 7), 4);
            at += 7;
            put_uint(&data, name, 8);
            put_uint(&data, 9, 8);
            put_uint(&data, (uint64_t)part->line, 4);
            put_uint(&data, 5, 4);
        }
        text.data[at] = 0xc3;
        put_fde(&frames, cie, FRAMES, TEXT + begin, at + 1 - begin);
    }
    put_zeros(&data, 128);
    elf_build_load(&program->build, 0, 0x3000, PF_R | PF_X);
    elf_build_load(&program->build, DATA, 0x6000, PF_R | PF_W);
    *elf_build_section(&program->build, ".text", SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, TEXT) =
        text;
    *elf_build_section(&program->build, ".data.rel.ro", SHT_PROGBITS, SHF_ALLOC, DATA) = data;
    *elf_build_section(&program->build, ".eh_frame", SHT_PROGBITS, SHF_ALLOC, FRAMES) = frames;
    program->path = elf_build_write(&program->build);
    elf_build_free(&program->build);
    assert_true(elf_file_open(&program->elf, program->path, &err));
    elf_file_symbols(&program->elf);
    assert_true(code_graph_init(&program->graph, &program->elf));
    assert_int_equal(program->graph.nr_functions, nr);
}

static void program_free(struct program *program)
{
    code_graph_deinit(&program->graph);
    elf_file_close(&program->elf);
    unlink(program->path);
    free(program->path);
}

static uint32_t row_of(const struct program *program, int part)
{
    uint32_t row = code_graph_start(&program->graph, program->addrs[part]);
    assert_int_not_equal(row, 0);
    return row;
}

static uint64_t own_hash(const struct program *program, int part)
{
    return program->graph.functions[row_of(program, part) - 1].own_hash;
}

enum { LEAF_1, LEAF_2, CALLS_1, CALLS_2, LINE_10, LINE_20, TWIN_1, TWIN_2, NR_PARTS };
static const struct part parts[NR_PARTS] = {
    [LEAF_1] = {"\x90\x91", -1, 0},   [LEAF_2] = {"\x90\x92", -1, 0},
    [CALLS_1] = {"\x93", LEAF_1, 0},  [CALLS_2] = {"\x93", LEAF_2, 0},
    [LINE_10] = {"\x94", LEAF_1, 10}, [LINE_20] = {"\x94", LEAF_1, 20},
    [TWIN_1] = {"\x95\x96", -1, 0},   [TWIN_2] = {"\x95\x96", -1, 0},
};
static const int forwards[NR_PARTS] = {0, 1, 2, 3, 4, 5, 6, 7};
static const int mixed[NR_PARTS] = {7, 3, 5, 0, 2, 6, 4, 1};

static void hashes_outlast_a_rebuild(void **state)
{
    (void)state;
    struct program a, b;
    program_make(&a, parts, forwards, NR_PARTS, 3);
    program_make(&b, parts, mixed, NR_PARTS, 24);
    for (int i = 0; i < NR_PARTS; i++)
        assert_int_equal(own_hash(&a, i), own_hash(&b, i));
    assert_int_not_equal(own_hash(&a, LEAF_1), own_hash(&a, LEAF_2));
    assert_int_equal(own_hash(&a, CALLS_1), own_hash(&a, CALLS_2)); /* but for the callee */
    assert_int_not_equal(own_hash(&a, LINE_10), own_hash(&a, LINE_20));
    uint64_t *labels = code_graph_labels(&a.graph);
    code_graph_deepen(&a.graph, &labels);
    assert_int_not_equal(labels[row_of(&a, CALLS_1) - 1], labels[row_of(&a, CALLS_2) - 1]);
    assert_int_equal(labels[row_of(&a, TWIN_1) - 1], labels[row_of(&a, TWIN_2) - 1]);
    free(labels);
    program_free(&a);
    program_free(&b);
}

static void finds_single_functions(void **state)
{
    (void)state;
    struct program a, b;
    struct function_match match;
    program_make(&a, parts, forwards, NR_PARTS, 3);
    program_make(&b, parts, mixed, NR_PARTS, 24);
    function_match_init(&match, &a.graph, &b.graph);
    for (int i = 0; i < TWIN_1; i++)
        assert_int_equal(function_match_find(&match, row_of(&b, i) - 1), row_of(&a, i));
    assert_int_equal(function_match_find(&match, row_of(&b, TWIN_1) - 1), 0); /* which of two? */
    function_match_deinit(&match);
    program_free(&a);
    program_free(&b);
}

/* The match of the program's items, each a table of one function, with the rebuild's. */
static void match_items(const struct program *a, const struct program *b, struct match_item *own,
                        struct match_item *theirs, unsigned nr)
{
    struct match_side program = {&a->graph, own, nr}, rebuild = {&b->graph, theirs, nr};
    code_match(&program, &rebuild);
}

static void matches_vtables(void **state)
{
    (void)state;
    struct program a, b;
    program_make(&a, parts, forwards, NR_PARTS, 3);
    program_make(&b, parts, mixed, NR_PARTS, 24);
    struct match_item own[NR_PARTS] = {0}, theirs[NR_PARTS] = {0};
    for (int i = 0; i < NR_PARTS; i++) {
        int part = NR_PARTS - 1 - i;
        own[i] = (struct match_item){.group = 1, .slots = {row_of(&a, i)}};
        theirs[i] = (struct match_item){
            .group = 1, .slots = {row_of(&b, part)}, .type = (uint32_t)part + 1};
    }
    match_items(&a, &b, own, theirs, NR_PARTS);
    for (int i = 0; i < TWIN_1; i++) {
        assert_int_equal(own[i].match, NR_PARTS - i);
        assert_int_equal(theirs[NR_PARTS - 1 - i].match, i + 1);
    }
    assert_int_equal(own[TWIN_1].match, 0); /* of equal code and of two types */
    assert_int_equal(own[TWIN_2].match, 0);
    program_free(&a);
    program_free(&b);
}

static void twins_of_one_type_are_taken(void **state)
{
    (void)state;
    struct program a, b;
    program_make(&a, parts, forwards, NR_PARTS, 3);
    program_make(&b, parts, mixed, NR_PARTS, 24);
    for (int same_group = 0; same_group < 2; same_group++) {
        struct match_item own[2] = {{.group = 1, .slots = {row_of(&a, TWIN_1)}},
                                    {.group = 1, .slots = {row_of(&a, TWIN_2)}}};
        struct match_item theirs[2] = {
            {.group = 1, .slots = {row_of(&b, TWIN_1)}, .type = 9},
            {.group = same_group ? 1 : 2, .slots = {row_of(&b, TWIN_2)}, .type = 9}};
        match_items(&a, &b, own, theirs, 2);
        assert_int_equal(own[0].match != 0, same_group);
        assert_int_equal(own[1].match != 0, same_group);
    }
    program_free(&a);
    program_free(&b);
}

/* Code that changed is no evidence against the rest, nor for what is left over. */
static void changed_code_is_left_out(void **state)
{
    (void)state;
    struct program a, b;
    struct part changed[NR_PARTS];
    memcpy(changed, parts, sizeof(parts));
    changed[CALLS_2].body = "\x93\x97"; /* other code */
    changed[LINE_20].body = "\x94\x97"; /* other code, but of the same place */
    program_make(&a, parts, forwards, NR_PARTS, 3);
    program_make(&b, changed, mixed, NR_PARTS, 24);
    const int rows[] = {LEAF_2, TWIN_1, LINE_10, LINE_20};
    struct match_item own[4] = {0}, theirs[4] = {0};
    for (unsigned i = 0; i < 4; i++) {
        own[i] = (struct match_item){.group = 1, .slots = {row_of(&a, rows[i])}};
        theirs[i] = (struct match_item){.group = 1, .slots = {row_of(&b, rows[i])}, .type = i + 1};
    }
    theirs[1].slots[0] = row_of(&b, CALLS_2);
    match_items(&a, &b, own, theirs, 4);
    assert_int_equal(own[0].match, 1);
    assert_int_equal(own[1].match, 0); /* the only two that are left, but nothing says so */
    assert_int_equal(own[2].match, 3);
    assert_int_equal(own[3].match, 4);
    program_free(&a);
    program_free(&b);
}

static void names_without_hashes(void **state)
{
    (void)state;
    assert_int_equal(code_name_hash("_ZN3abc1fE"), code_name_hash("_ZN3abc1fE"));
    assert_int_equal(code_name_hash("_ZN3abc1f17h0123456789abcdefE"),
                     code_name_hash("_ZN3abc1f17hfedcba9876543210E.llvm.77"));
    assert_int_not_equal(code_name_hash("_ZN3abc1f17h0123456789abcdefE"),
                         code_name_hash("_ZN3abc1g17h0123456789abcdefE"));
    assert_int_equal(code_name_hash("_RNvCs1234_3abc1f"), code_name_hash("_RNvCsaBc_3abc1f"));
    assert_int_not_equal(code_name_hash("_RNvCs1234_3abc1f"), code_name_hash("_RNvCs1234_3abd1f"));
    assert_int_not_equal(code_name_hash("_RNvC"), code_name_hash("_RNvCs"));
    assert_int_equal(code_name_hash("_RNvCs12"), code_name_hash("_RNvCs12")); /* ends early */
}

/* A damaged file is read without harm, whatever comes out. */
static void damaged_files_do_no_harm(void **state)
{
    (void)state;
    struct program program;
    struct file file;
    struct error err;
    uint64_t random = 99;
    program_make(&program, parts, forwards, NR_PARTS, 3);
    assert_true(file_open(&file, program.path, &err));
    for (int round = 0; round < 1500; round++) {
        uint8_t *copy = malloc(file.size_bytes);
        struct elf_file elf;
        struct code_graph graph;
        memcpy(copy, file.bytes, file.size_bytes);
        for (uint64_t flips = 1 + random_below(&random, 12); flips--;)
            copy[random_below(&random, file.size_bytes)] = (uint8_t)random_next(&random);
        char *path = write_temporary(copy, file.size_bytes);
        if (elf_file_open(&elf, path, &err)) {
            elf_file_symbols(&elf);
            if (code_graph_init(&graph, &elf))
                code_graph_deinit(&graph);
            elf_file_close(&elf);
        }
        unlink(path);
        free(path);
        free(copy);
    }
    file_close(&file);
    program_free(&program);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_frames),
        cmocka_unit_test(leaves_out_what_it_does_not_know),
        cmocka_unit_test(frames_agree_with_symbols),
        cmocka_unit_test(damaged_frames_do_no_harm),
        cmocka_unit_test(hashes_outlast_a_rebuild),
        cmocka_unit_test(finds_single_functions),
        cmocka_unit_test(matches_vtables),
        cmocka_unit_test(twins_of_one_type_are_taken),
        cmocka_unit_test(changed_code_is_left_out),
        cmocka_unit_test(names_without_hashes),
        cmocka_unit_test(damaged_files_do_no_harm),
    };
    return cmocka_run_group_tests_name("code_match", tests, NULL, NULL);
}
