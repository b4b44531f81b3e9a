/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * tests/tools/heap_subject keeps a list of its blocks; what is read from its heap must be that list, no
 * block more and none less, with malloc_usable_size's sizes, and what libc itself needs: the blocks
 * that were there before, a tcache and a dtv for each thread.
 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../tools/heap_subject.h"
#include "process/core_file.h"
#include "process/heap_blocks.h"

enum {
    LIMIT_MS = 60000, /* nothing here is timed: only a stop that never comes fails */
    TCACHE_BYTES = 0x288,
    OLD_TCACHE_BYTES = 0x248,
    MAX_CHILDREN = 4,
};

static struct heap_truth *truth;
static char truth_path[64];
static pid_t children[MAX_CHILDREN];

/* --- children ------------------------------------------------------------------------------------ */

static int end_children(void **state)
{
    (void)state;
    for (size_t i = 0; i < MAX_CHILDREN; i++)
        if (children[i]) {
            kill(children[i], SIGKILL);
            waitpid(children[i], NULL, __WALL);
            children[i] = 0;
        }
    return 0;
}

static pid_t start(const char *program, const char *arguments)
{
    char line[256], *words[16] = {NULL}, *rest = NULL, path[256];
    const char *folder = getenv("HEAP_SUBJECTS");
    size_t nr = 0, slot = 0;
    snprintf(path, sizeof(path), "%s/%s", folder ? folder : ".", program);
    snprintf(line, sizeof(line), "%s", arguments);
    words[nr++] = path;
    words[nr++] = truth_path;
    for (char *word = strtok_r(line, " ", &rest); word && nr < 15;
         word = strtok_r(NULL, " ", &rest))
        words[nr++] = word;
    while (slot < MAX_CHILDREN && children[slot])
        slot++;
    assert_true(slot < MAX_CHILDREN);
    memset(truth, 0, sizeof(*truth));
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execv(path, words);
        _exit(127);
    }
    assert_true(pid > 0);
    return children[slot] = pid;
}

static void wait_for_stage(pid_t pid, uint64_t stage)
{
    while (__atomic_load_n(&truth->stage, __ATOMIC_SEQ_CST) < stage) {
        siginfo_t ended = {0};
        waitid(P_PID, (id_t)pid, &ended, WEXITED | WNOHANG | WNOWAIT);
        assert_int_equal(ended.si_pid, 0);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}

static void go_on(uint64_t stage)
{
    __atomic_store_n(&truth->go, stage, __ATOMIC_SEQ_CST);
}

static void read_heap(struct heap_blocks *blocks, pid_t pid)
{
    struct target target;
    struct error err = {0};
    if (!target_open(&target, pid, &err) || !target_stop(&target, LIMIT_MS, &err) ||
        !target_read_mappings(&target, &err))
        fail_msg("%s", err.message);
    heap_blocks_read(blocks, &target);
    target_resume(&target);
    target_close(&target);
}

/* --- comparing ----------------------------------------------------------------------------------- */

static const struct heap_block *row_at(const struct heap_blocks *blocks, uint64_t addr)
{
    uint32_t at = heap_blocks_find(blocks, addr);
    return at && blocks->rows[at - 1].addr == addr ? &blocks->rows[at - 1] : NULL;
}

static void expect_all_listed(const struct heap_blocks *blocks)
{
    for (size_t i = 0; i < HEAP_SUBJECT_SLOTS; i++) {
        const struct heap_truth_slot *slot = &truth->slots[i];
        const struct heap_block *row = slot->addr ? row_at(blocks, slot->addr) : NULL;
        if (slot->addr && (!row || row->size_bytes != slot->size_bytes))
            fail_msg("a block of %llu bytes at 0x%llx is %s, %llu bytes",
                     (unsigned long long)slot->size_bytes, (unsigned long long)slot->addr,
                     row ? "another" : "missing", row ? (unsigned long long)row->size_bytes : 0);
    }
}

static int addr_order(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* The addresses of the subject's blocks and of libc's own. */
static size_t known_blocks(const struct heap_blocks *baseline, uint64_t **addrs)
{
    size_t nr = 0;
    *addrs = calloc(HEAP_SUBJECT_SLOTS + 64 + baseline->nr, sizeof(**addrs));
    for (size_t i = 0; i < HEAP_SUBJECT_SLOTS; i++)
        if (truth->slots[i].addr)
            (*addrs)[nr++] = truth->slots[i].addr;
    for (size_t i = 0; i < truth->nr_own; i++)
        (*addrs)[nr++] = truth->own[i];
    for (size_t i = 0; i < baseline->nr; i++)
        (*addrs)[nr++] = baseline->rows[i].addr;
    qsort(*addrs, nr, sizeof(**addrs), addr_order);
    return nr;
}

static void expect_nothing_else(const struct heap_blocks *blocks,
                                const struct heap_blocks *baseline)
{
    uint64_t *known;
    size_t nr_known = known_blocks(baseline, &known), nr_tcaches = 0;
    for (size_t i = 0; i < blocks->nr; i++) {
        const struct heap_block *row = &blocks->rows[i];
        if (bsearch(&row->addr, known, nr_known, sizeof(*known), addr_order))
            continue;
        if (row->size_bytes == TCACHE_BYTES || row->size_bytes == OLD_TCACHE_BYTES)
            nr_tcaches++;
        else
            fail_msg("%llu bytes at 0x%llx are no block", (unsigned long long)row->size_bytes,
                     (unsigned long long)row->addr);
    }
    free(known);
    assert_int_equal(nr_tcaches, truth->nr_threads - 1); /* the main one's was there before */
}

static void expect_sums(const struct heap_blocks *blocks)
{
    enum { OWN_BYTES = 1 << 13 }; /* malloc_state, heap_info and fences of an arena */
    uint64_t live = 0, in_arenas = 0;
    for (size_t i = 0; i < blocks->nr; i++) {
        const struct heap_block *row = &blocks->rows[i];
        live += row->size_bytes;
        assert_true(!i || row[-1].addr + row[-1].size_bytes <= row->addr);
        /* A block with a mapping of its own cannot use the next chunk's first word. */
        in_arenas += (row->addr + row->size_bytes) % 16 == 8 ? row->size_bytes + 8 : 0;
    }
    assert_int_equal(blocks->live_bytes, live);
    if (!truth->arena_bytes)
        return;
    assert_int_equal(live + blocks->retained_bytes, truth->arena_bytes + truth->mapped_bytes);
    /* What malloc calls used is our blocks with their headers, and those in tcaches. */
    assert_in_range(truth->used_bytes, in_arenas,
                    in_arenas + blocks->cached_bytes / 3 * 4 + truth->nr_threads * OWN_BYTES);
}

static void expect_found(const struct heap_blocks *blocks, const struct heap_blocks *baseline)
{
    if (blocks->problem)
        fail_msg("%s", blocks->problem);
    assert_true(blocks->is_whole);
    assert_int_equal(blocks->allocator, HEAP_GLIBC);
    expect_all_listed(blocks);
    expect_nothing_else(blocks, baseline);
    expect_sums(blocks);
}

/* Every address in a block leads to it, the bytes between lead nowhere. */
static void expect_look_ups(const struct heap_blocks *blocks)
{
    uint64_t random = 7;
    for (size_t i = 0; i < blocks->nr; i++) {
        const struct heap_block *row = &blocks->rows[i];
        uint64_t end = row->addr + row->size_bytes;
        uint64_t next = i + 1 < blocks->nr ? row[1].addr : end + 4096;
        const uint64_t inside[] = {row->addr, end - 1,
                                   row->addr + random_below(&random, row->size_bytes)};
        for (size_t k = 0; k < 3; k++)
            assert_int_equal(heap_blocks_find(blocks, inside[k]), i + 1);
        assert_int_equal(heap_blocks_find(blocks, end), next == end ? i + 2 : 0);
        assert_int_equal(heap_blocks_find(blocks, next - 1), next == end ? i + 1 : 0);
    }
    assert_int_equal(heap_blocks_find(blocks, 0), 0);
    assert_int_equal(heap_blocks_find(blocks, UINT64_MAX), 0);
    assert_int_equal(heap_blocks_find(blocks, blocks->rows[0].addr - 1), 0);
}

static void run_subject(const char *program, const char *arguments)
{
    struct heap_blocks baseline, blocks;
    pid_t pid = start(program, arguments);
    wait_for_stage(pid, 1);
    read_heap(&baseline, pid);
    for (uint64_t stage = 2; stage <= 5; stage++) {
        go_on(stage - 1);
        wait_for_stage(pid, stage);
        read_heap(&blocks, pid);
        expect_found(&blocks, &baseline);
        expect_look_ups(&blocks);
        heap_blocks_deinit(&blocks);
    }
    heap_blocks_deinit(&baseline);
    end_children(NULL);
}

/* --- the tests ----------------------------------------------------------------------------------- */

static void equals_the_list(void **state)
{
    (void)state;
    run_subject("heap_subject", "1 3 50000");
    run_subject("heap_subject", "2 9 20000");
    run_subject("heap_subject", "3 0 50000");
    run_subject("heap_subject", "4 3 100000 small");
    run_subject("heap_subject", "5 3 20000 big");
}

static void equals_the_list_of_static_programs(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        const char *program = i ? "heap_subject_static_pie" : "heap_subject_static";
        run_subject(program, "1 3 30000");
        run_subject(program, "2 3 50000 small");
        run_subject(program, "3 2 10000 big");
    }
}

static void equals_the_list_where_brk_fails(void **state)
{
    (void)state;
    run_subject("heap_subject", "1 3 50000 brk-fails");
    run_subject("heap_subject", "2 0 100000 brk-fails");
    run_subject("heap_subject_static_pie", "3 2 50000 brk-fails");
}

/* --- a core -------------------------------------------------------------------------------------- */

static void expect_equal(const struct heap_blocks *a, const struct heap_blocks *b)
{
    assert_int_equal(a->nr, b->nr);
    assert_memory_equal(a->rows, b->rows, a->nr * sizeof(*a->rows));
    assert_int_equal(a->live_bytes, b->live_bytes);
    assert_int_equal(a->retained_bytes, b->retained_bytes);
    assert_int_equal(a->cached_bytes, b->cached_bytes);
    assert_int_equal(a->is_whole, b->is_whole);
}

static void core_equals_live(void **state)
{
    (void)state;
    char folder[] = "/tmp/heap-core-XXXXXX", command[256], path[128];
    struct heap_blocks live, dumped;
    struct target target;
    struct error err = {0};
    if (system("command -v gcore > /dev/null") != 0)
        skip();
    pid_t pid = start("heap_subject", "1 3 20000");
    wait_for_stage(pid, 1);
    go_on(1);
    wait_for_stage(pid, 2);
    assert_non_null(mkdtemp(folder));
    snprintf(command, sizeof(command), "gcore -o %s/core %d > /dev/null 2>&1", folder, (int)pid);
    assert_int_equal(system(command), 0);
    read_heap(&live, pid);
    snprintf(path, sizeof(path), "%s/core.%d", folder, (int)pid);
    if (!target_open_core(&target, path, NULL, &err))
        fail_msg("%s", err.message);
    unlink(path);
    rmdir(folder);
    heap_blocks_read(&dumped, &target);
    target_close(&target);
    assert_null(dumped.problem);
    expect_equal(&dumped, &live);
    heap_blocks_deinit(&dumped);
    heap_blocks_deinit(&live);
    end_children(NULL);
}

/* --- stopped anywhere ---------------------------------------------------------------------------- */

/*
 * The subject's one thread is stopped after any instruction of malloc and free.  Blocks that are not
 * just being changed must be there; without a problem nothing else is, but the one or two that are.  Only while
 * malloc merges a fastbin there may be more, which are counted in *nr_merging.
 */
static size_t expect_while_changing(const struct heap_blocks *blocks, size_t nr_baseline,
                                    size_t *nr_merging)
{
    size_t nr_listed = 0;
    for (size_t i = 0; i < HEAP_SUBJECT_SLOTS; i++) {
        const struct heap_truth_slot *slot = &truth->slots[i];
        if (slot->lock || !slot->addr)
            continue;
        const struct heap_block *row = row_at(blocks, slot->addr);
        if (!row || row->size_bytes != slot->size_bytes)
            fail_msg("a block of %llu bytes at 0x%llx is missing; %s",
                     (unsigned long long)slot->size_bytes, (unsigned long long)slot->addr,
                     blocks->problem ? blocks->problem : "no problem");
        nr_listed++;
    }
    if (!blocks->problem) {
        assert_true(blocks->nr >= nr_listed + nr_baseline);
        *nr_merging += blocks->nr > nr_listed + nr_baseline + 2;
    }
    return blocks->problem != NULL;
}

static void step(pid_t pid, unsigned nr)
{
    for (unsigned i = 0; i < nr; i++) {
        assert_int_equal(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
        assert_int_equal(waitpid(pid, NULL, __WALL), pid);
    }
}

/* A target that is stopped by the test. */
static void read_stepped(struct heap_blocks *blocks, struct target *target)
{
    struct error err = {0};
    if (!target_read_mappings(target, &err))
        fail_msg("%s", err.message);
    heap_blocks_read(blocks, target);
}

static void holds_after_any_instruction(void **state)
{
    (void)state;
    const char *text = getenv("HEAP_STEPS");
    unsigned nr_stops = text ? (unsigned)atoi(text) : 300;
    size_t nr_problems = 0, nr_merging = 0, nr_baseline;
    uint64_t random = 99;
    struct heap_blocks blocks;
    struct target target = {0};
    pid_t pid = start("heap_subject", "1 0 100000000 alone");
    wait_for_stage(pid, 1);
    read_heap(&blocks, pid);
    nr_baseline = blocks.nr;
    heap_blocks_deinit(&blocks);
    arena_init(&target.arena);
    target.pid = target.memory_tid = pid;
    truth->nr_threads = 1;
    go_on(1);
    for (unsigned i = 0; i < 500; i++) /* until there are blocks to change */
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    assert_int_equal(ptrace(PTRACE_SEIZE, pid, NULL, NULL), 0);
    assert_int_equal(ptrace(PTRACE_INTERRUPT, pid, NULL, NULL), 0);
    assert_int_equal(waitpid(pid, NULL, __WALL), pid);
    for (unsigned i = 0; i < nr_stops; i++) {
        step(pid, text ? 1 : 1 + (unsigned)random_below(&random, 40));
        read_stepped(&blocks, &target);
        nr_problems += expect_while_changing(&blocks, nr_baseline, &nr_merging);
        heap_blocks_deinit(&blocks);
    }
    assert_true(nr_merging <= nr_stops / 10);
    if (text)
        printf("%zu problems in %u stops\n", nr_problems, nr_stops);
    target_close(&target);
    end_children(NULL);
}

/* --- damage -------------------------------------------------------------------------------------- */

/* The writable memory of the target, as a core would have it. */
static void copy_memory(struct target *copy, const struct target *target)
{
    *copy = (struct target){.is_core = true,
                            .mappings = target->mappings,
                            .nr_mappings = target->nr_mappings,
                            .images = target->images,
                            .nr_images = target->nr_images};
    copy->segments = calloc(target->nr_mappings, sizeof(*copy->segments));
    for (size_t i = 0; i < target->nr_mappings; i++) {
        const struct mapping *m = &target->mappings[i];
        if (!m->readable || !m->writable || m->is_shared || m->is_device)
            continue;
        uint8_t *bytes = malloc(m->end - m->start);
        size_t size = target_read(target, m->start, bytes, m->end - m->start);
        copy->segments[copy->nr_segments++] = (struct core_segment){m->start, size, bytes};
    }
}

static uint64_t damaged_word(uint64_t *random, uint64_t old, uint64_t addr)
{
    switch (random_below(random, 8)) {
    case 0:
        return 0;
    case 1:
        return UINT64_MAX - random_below(random, 64);
    case 2:
        return old ^ (uint64_t)1 << random_below(random, 64);
    case 3:
        return addr & ~(uint64_t)15; /* leads to itself */
    case 4:
        return old + 16 * random_below(random, 1000);
    case 5:
        return old - 16 * random_below(random, 1000);
    case 6:
        return random_next(random) >> random_below(random, 64);
    default:
        return addr + 16 * random_below(random, 100000);
    }
}

/* Words that are not zero, more of them in small segments: there is malloc's state. */
static void damage(struct target *copy, uint64_t *random)
{
    for (unsigned i = 0, left = 1 + (unsigned)random_below(random, 40); i < 10000 && left; i++) {
        const struct core_segment *segment =
            &copy->segments[random_below(random, copy->nr_segments)];
        uint64_t offset =
            segment->size_bytes < 8 ? 0 : random_below(random, segment->size_bytes / 8) * 8;
        uint64_t *word = (uint64_t *)(uintptr_t)(segment->bytes + offset);
        if (segment->size_bytes < 8 || !*word)
            continue;
        *word = damaged_word(random, *word, segment->addr + offset);
        left--;
    }
}

static void expect_sane(const struct heap_blocks *blocks)
{
    uint64_t live = 0;
    for (size_t i = 0; i < blocks->nr; i++) {
        const struct heap_block *row = &blocks->rows[i];
        assert_true(row->size_bytes > 0 && row->addr + row->size_bytes > row->addr);
        assert_true(!i || row[-1].addr + row[-1].size_bytes <= row->addr);
        assert_int_equal(heap_blocks_find(blocks, row->addr), i + 1);
        live += row->size_bytes;
    }
    assert_int_equal(live, blocks->live_bytes);
    assert_true(blocks->is_whole == !blocks->problem);
}

static void survives_damage(void **state)
{
    (void)state;
    const char *text = getenv("HEAP_DAMAGES");
    unsigned nr_rounds = text ? (unsigned)atoi(text) : 40;
    struct target target, copy;
    struct error err = {0};
    struct heap_blocks blocks;
    pid_t pid = start("heap_subject", "1 3 3000 small");
    wait_for_stage(pid, 1);
    go_on(1);
    wait_for_stage(pid, 2);
    if (!target_open(&target, pid, &err))
        fail_msg("%s", err.message);
    for (unsigned round = 0; round < nr_rounds; round++) {
        uint64_t random = round + 1;
        copy_memory(&copy, &target);
        if (round)
            damage(&copy, &random);
        heap_blocks_read(&blocks, &copy);
        expect_sane(&blocks);
        assert_true(round || blocks.is_whole);
        heap_blocks_deinit(&blocks);
        for (size_t i = 0; i < copy.nr_segments; i++)
            free((void *)(uintptr_t)copy.segments[i].bytes);
        free(copy.segments);
    }
    target_close(&target);
    end_children(NULL);
}

static int set_up(void **state)
{
    (void)state;
    int fd = memfd_create("truth", 0);
    snprintf(truth_path, sizeof(truth_path), "/proc/%d/fd/%d", (int)getpid(), fd);
    if (fd < 0 || ftruncate(fd, sizeof(*truth)) != 0)
        return -1;
    truth = mmap(NULL, sizeof(*truth), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return truth == MAP_FAILED ? -1 : 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(equals_the_list, end_children),
        cmocka_unit_test_teardown(equals_the_list_of_static_programs, end_children),
        cmocka_unit_test_teardown(equals_the_list_where_brk_fails, end_children),
        cmocka_unit_test_teardown(core_equals_live, end_children),
        cmocka_unit_test_teardown(holds_after_any_instruction, end_children),
        cmocka_unit_test_teardown(survives_damage, end_children),
    };
    cmocka_set_test_filter(getenv("HEAP_TESTS")); /* NULL: all */
    return cmocka_run_group_tests(tests, set_up, NULL);
}
