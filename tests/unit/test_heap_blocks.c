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
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../tools/heap_subject.h"
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
        heap_blocks_deinit(&blocks);
    }
    heap_blocks_deinit(&baseline);
    end_children(NULL);
}

/* --- the tests ----------------------------------------------------------------------------------- */

static void equals_the_list(void **state)
{
    (void)state;
    run_subject("heap_subject", "1 3 100000");
    run_subject("heap_subject", "2 9 50000");
    run_subject("heap_subject", "3 0 100000");
    run_subject("heap_subject", "4 3 200000 small");
    run_subject("heap_subject", "5 3 30000 big");
}

static void equals_the_list_of_static_programs(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        const char *program = i ? "heap_subject_static_pie" : "heap_subject_static";
        run_subject(program, "1 3 100000");
        run_subject(program, "2 3 100000 small");
        run_subject(program, "3 2 20000 big");
    }
}

static void equals_the_list_where_brk_fails(void **state)
{
    (void)state;
    run_subject("heap_subject", "1 3 100000 brk-fails");
    run_subject("heap_subject", "2 0 200000 brk-fails");
    run_subject("heap_subject_static_pie", "3 2 100000 brk-fails");
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
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
