/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Copies of a program that watches itself (copy_subject.c).  Two things are looked at: is the copy the
 * memory of one moment, and does the program see nothing, also when the copier is killed after any of
 * its ptrace calls (ptrace is wrapped by the linker for that)?
 *
 * The test is a subreaper: orphans come to it, and it sees that they are dead.
 */
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "copy_subject.h"
#include "process/copy.h"
#include "process/proc.h"
#include "process/target.h"

enum {
    LIMIT_MS = 60000,
    ALL_WORKS = (1 << NR_WORKS) - 1,
    KILL_ROUNDS = 40,
    LONG_KILL_ROUNDS = 400,
    MAX_KEPT_MB = 64, /* of shared memory */
};

static bool is_long;

/* --- a copier that is killed --------------------------------------------------------------------- */

static unsigned calls_left; /* until a kill; 0: none */
static pid_t copier_pid;    /* not its guard */

long __real_ptrace(int request, pid_t pid, void *addr, void *data);
long __wrap_ptrace(int request, pid_t pid, void *addr, void *data);

long __wrap_ptrace(int request, pid_t pid, void *addr, void *data)
{
    long result = __real_ptrace(request, pid, addr, data);
    if (calls_left && getpid() == copier_pid && --calls_left == 0)
        kill(copier_pid, SIGKILL);
    return result;
}

/* --- the subject --------------------------------------------------------------------------------- */

static void sleep_ms(unsigned ms)
{
    struct timespec left = {ms / 1000, ms % 1000 * 1000000L};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        continue;
}

static void wait_for(volatile uint64_t *word, uint64_t at_least)
{
    for (int i = 0; i < 60000 && *word < at_least; i++)
        sleep_ms(1);
    assert_true(*word >= at_least);
}

static pid_t subject_pid;
static void (*prepare)(void); /* run in the subject first */
static bool is_busy, is_init; /* of a pid namespace */

static pid_t start(uint64_t works)
{
    memset((void *)subject, 0, sizeof(*subject));
    subject->works = works;
    subject->is_busy = is_busy;
    pid_t parent = getpid();
    pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD | (is_init ? CLONE_NEWPID : 0), 0, 0, 0, 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (prepare)
            prepare();
        if (getppid() == (is_init ? 0 : parent))
            subject_run();
        _exit(1);
    }
    if (pid < 0 && is_init)
        skip(); /* not root */
    assert_true(pid > 0);
    subject_pid = pid;
    wait_for(&subject->ready, (uint64_t)__builtin_popcountll(works));
    return pid;
}

static int end_subject(void **state)
{
    (void)state;
    prepare = NULL;
    is_busy = is_init = false;
    if (subject_pid) {
        kill(subject_pid, SIGKILL);
        waitpid(subject_pid, NULL, __WALL);
        subject_pid = 0;
    }
    while (waitpid(-1, NULL, __WALL | WNOHANG) > 0)
        continue;
    return 0;
}

static void expect_progress(void)
{
    for (int i = 0; i < NR_WORKS; i++)
        if (subject->works >> i & 1)
            wait_for(&subject->rounds[i], subject->rounds[i] + 2);
}

static void expect_no_errors(const char *when)
{
    for (int i = 0; i < NR_WORKS; i++)
        if (subject->errors[i])
            fail_msg("%s: work %d saw %ju errors", when, i, (uintmax_t)subject->errors[i]);
    assert_int_equal(subject->child_signals, 0);
}

/* The subject's own last look. */
static void expect_good_end(pid_t pid)
{
    int status = -1;
    expect_progress();
    expect_no_errors("at the end");
    subject->finish = 1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    subject_pid = 0;
    expect_no_errors("after the end");
    assert_int_equal(status, 0);
}

/* Of all its threads, zombies too. */
static size_t nr_children(pid_t pid)
{
    struct text text;
    size_t nr = 0;
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *tasks = opendir(path);
    assert_non_null(tasks);
    text_init(&text);
    for (struct dirent *entry; (entry = readdir(tasks));)
        if (proc_read(&text, "/proc/%d/task/%s/children", (int)pid, entry->d_name))
            for (const char *at = text_str(&text); (at = strchr(at, ' ')); at++)
                nr++;
    closedir(tasks);
    text_deinit(&text);
    return nr;
}

static void expect_no_children(pid_t pid)
{
    for (int i = 0; i < 5000 && nr_children(pid); i++)
        sleep_ms(1);
    assert_int_equal(nr_children(pid), 0);
}

/* Orphans come to us, and are dead soon: all children but the subject. */
static void expect_orphans_die(void)
{
    for (int i = 0; i < 10000; i++) {
        int status;
        pid_t pid = waitpid(-1, &status, __WALL | WNOHANG);
        assert_true(pid <= 0 || pid != subject_pid);
        if (pid <= 0) {
            struct text text;
            text_init(&text);
            proc_read(&text, "/proc/self/task/%d/children", (int)getpid());
            char expected[32] = "";
            if (subject_pid)
                snprintf(expected, sizeof(expected), "%d ", (int)subject_pid);
            bool alone = strcmp(text_str(&text), expected) == 0;
            text_deinit(&text);
            if (alone)
                return;
            sleep_ms(1);
        }
    }
    fail_msg("an orphan lives");
}

static void open_target(struct target *target, pid_t pid)
{
    struct error err = {0};
    if (!target_open(target, pid, &err))
        fail_msg("%s", err.message);
}

static void stop_and_fork(struct target *target)
{
    struct error err = {0};
    if (!target_stop(target, LIMIT_MS, &err) || !target_fork(target, &err))
        fail_msg("%s", err.message);
}

/* --- one moment ---------------------------------------------------------------------------------- */

static uint64_t then[NR_WORDS], later[NR_WORDS];

static void read_words(const struct target *target, uint64_t *words)
{
    assert_int_equal(target_read(target, (uintptr_t)subject_words, words, sizeof(then)),
                     sizeof(then));
}

static void shows_one_moment(void **state)
{
    (void)state;
    struct target target;
    struct error err = {0};
    pid_t pid = start(ALL_WORKS);
    open_target(&target, pid);
    assert_true(target_fork_estimate_ns(&target) > 0);
    for (int round = 0; round < 10; round++) {
        if (!target_stop(&target, LIMIT_MS, &err))
            fail_msg("%s", err.message);
        read_words(&target, then);
        if (!target_fork(&target, &err))
            fail_msg("%s", err.message);
        assert_true(target.copy.pid > 0 && target.copy.fork_ns > 0);
        read_words(&target, later);
        assert_memory_equal(then, later, sizeof(then));
        assert_true(target_resume(&target) > 0);
        uint64_t rounds = subject->rounds[WORK_WORDS];
        wait_for(&subject->rounds[WORK_WORDS], rounds + 3);
        memset(later, 0, sizeof(later));
        read_words(&target, later);
        assert_memory_equal(then, later, sizeof(then));
        for (size_t i = 1; i < NR_WORDS; i++) /* one round of counting, at most */
            assert_true(then[i] == then[0] || then[i] + 1 == then[0]);
        assert_true(target_copy_is_whole(&target));
        target_end_copy(&target);
        assert_int_equal(target.copy.pid, 0);
        read_words(&target, later); /* of the target itself */
        assert_true(later[0] > then[0]);
        expect_no_children(pid);
    }
    target_close(&target);
    expect_good_end(pid);
    expect_orphans_die();
}

static void reads_what_a_child_has_not(void **state)
{
    (void)state;
    static uint8_t bytes[SPECIAL_BYTES + 2 * 4096];
    struct target target;
    pid_t pid = start(1 << WORK_SLEEP);
    open_target(&target, pid);
    stop_and_fork(&target);
    target_resume(&target);
    assert_null(target.copy.problem);
    /* These show the child what we write now. */
    memset(subject_specials[SPECIAL_SHARED], 0xee, SPECIAL_BYTES);
    for (unsigned i = 0; i < NR_SPECIALS; i++) {
        uint64_t addr = (uintptr_t)subject_specials[i];
        size_t from = i == SPECIAL_WIPED_LATE ? SPECIAL_BYTES / 2 : 0;
        memset(bytes, 0xaa, sizeof(bytes));
        assert_int_equal(target_read(&target, addr, bytes, SPECIAL_BYTES), SPECIAL_BYTES);
        for (size_t k = 0; k < SPECIAL_BYTES; k++)
            if (bytes[k] != (k < from ? 0 : subject_pattern(i, k)))
                fail_msg("special %u differs at %zu", i, k);
        /* Across the edges: before and behind it is a page without access, which is read, too. */
        assert_int_equal(target_read(&target, addr - 100, bytes, 200), 200);
        assert_int_equal(bytes[100], from ? 0 : subject_pattern(i, 0));
        assert_int_equal(bytes[199], from ? 0 : subject_pattern(i, 99));
        assert_int_equal(target_read(&target, addr + SPECIAL_BYTES - 8, bytes, 16), 16);
        assert_int_equal(bytes[7], subject_pattern(i, SPECIAL_BYTES - 1));
        assert_int_equal(bytes[8], 0);
    }
    struct target_range ranges[3] = {{(uintptr_t)subject_specials[0], 64, bytes},
                                     {16, 8, bytes},
                                     {(uintptr_t)subject_words, 64, bytes}};
    target_read_many(&target, ranges, 3);
    assert_int_equal(ranges[0].size_bytes, 64);
    assert_int_equal(ranges[1].size_bytes, 0);
    assert_int_equal(ranges[2].size_bytes, 64);
    assert_int_equal(target_read(&target, UINT64_MAX - 3, bytes, 8), 0);
    assert_int_equal(target_read(&target, 0, bytes, 8), 0);
    target_close(&target);
    expect_good_end(pid);
}

static void ends_a_copy_while_it_stands_still(void **state)
{
    (void)state;
    struct target target;
    pid_t pid = start(ALL_WORKS);
    open_target(&target, pid);
    for (int round = 0; round < 5; round++) {
        stop_and_fork(&target);
        target_end_copy(&target);
        expect_no_children(pid);
        stop_and_fork(&target); /* another one in the same stop */
        target_end_copy(&target);
        target_resume(&target);
    }
    stop_and_fork(&target);
    target_close(&target);
    expect_good_end(pid);
}

/* --- harmless ------------------------------------------------------------------------------------ */

static void be_subreaper(void)
{
    prctl(PR_SET_CHILD_SUBREAPER, 1);
}

static void copy_often(unsigned rounds)
{
    struct target target;
    pid_t pid = start(ALL_WORKS);
    open_target(&target, pid);
    for (unsigned round = 0; round < rounds; round++) {
        stop_and_fork(&target);
        target_resume(&target);
        if (round % 8 == 0)
            sleep_ms(1);
        target_end_copy(&target);
        if (round % 16 == 0)
            expect_no_errors("while copied");
    }
    expect_no_children(pid);
    target_close(&target);
    expect_good_end(pid);
    expect_orphans_die();
}

static void is_not_seen_in_hundreds_of_copies(void **state)
{
    (void)state;
    copy_often(is_long ? 2000 : 300);
}

static void is_not_seen_by_an_init(void **state)
{
    (void)state;
    is_init = true;
    copy_often(is_long ? 2000 : 200);
}

static void is_not_seen_by_a_subreaper(void **state)
{
    (void)state;
    prepare = be_subreaper;
    copy_often(is_long ? 2000 : 200);
}

/* --- killed -------------------------------------------------------------------------------------- */

/* Exit 0: came to the end. */
static void be_copier(pid_t pid, unsigned kill_after)
{
    struct target target;
    struct error err;
    calls_left = kill_after;
    copier_pid = getpid();
    if (!target_open(&target, pid, &err) || !target_stop(&target, LIMIT_MS, &err) ||
        !target_fork(&target, &err))
        _exit(2);
    target_resume(&target);
    target_close(&target);
    _exit(0);
}

static pid_t start_copier(pid_t pid, unsigned kill_after)
{
    pid_t copier = fork();
    if (copier == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        be_copier(pid, kill_after);
    }
    assert_true(copier > 0);
    return copier;
}

static void kill_after_each_call(uint64_t works)
{
    pid_t pid = start(works);
    bool killed = true;
    unsigned calls = 0;
    for (calls = 1; killed; calls++) {
        int status = 0;
        pid_t copier = start_copier(pid, calls);
        assert_int_equal(waitpid(copier, &status, 0), copier);
        killed = WIFSIGNALED(status);
        if (!killed)
            assert_int_equal(status, 0);
        char when[64];
        snprintf(when, sizeof(when), "killed after call %u", calls);
        expect_progress();
        expect_no_errors(when);
        expect_no_children(pid);
        expect_orphans_die();
    }
    print_message("killed after each of %u calls\n", calls);
    assert_true(calls > 40);
    expect_good_end(pid);
}

static void survives_a_kill_after_each_call(void **state)
{
    (void)state;
    kill_after_each_call(ALL_WORKS);
}

static void survives_kills_in_user_mode(void **state)
{
    (void)state;
    is_busy = true;
    kill_after_each_call(1 << WORK_VECTORS);
}

/* Here the guard has to do its work. */
static void survives_kills_as_a_subreaper(void **state)
{
    (void)state;
    prepare = be_subreaper;
    kill_after_each_call(ALL_WORKS);
}

static void survives_kills_as_init(void **state)
{
    (void)state;
    is_init = true;
    kill_after_each_call(ALL_WORKS);
}

static void survives_kills_in_other_calls(void **state)
{
    (void)state;
    is_busy = true; /* so that a thread of the work is taken */
    kill_after_each_call(1 << WORK_EPOLL | 1 << WORK_VECTORS);
    kill_after_each_call(1 << WORK_FUTEX | 1 << WORK_VECTORS);
    kill_after_each_call(1 << WORK_PIPE);
}

static void kill_at_random(void)
{
    uint64_t random = 88172645463325252ull;
    int rounds = is_long ? LONG_KILL_ROUNDS : KILL_ROUNDS, killed = 0;
    pid_t pid = start(ALL_WORKS);
    for (int round = 0; round < rounds; round++) {
        int status = 0;
        pid_t copier = start_copier(pid, 0);
        struct timespec moment = {0, (long)random_below(&random, 12000000)};
        nanosleep(&moment, NULL);
        kill(copier, SIGKILL);
        assert_int_equal(waitpid(copier, &status, 0), copier);
        killed += WIFSIGNALED(status);
        expect_progress();
        expect_no_errors("killed");
        expect_no_children(pid);
        expect_orphans_die();
    }
    print_message("%d of %d were killed before their end\n", killed, rounds);
    expect_good_end(pid);
}

static void survives_random_kills(void **state)
{
    (void)state;
    kill_at_random();
}

static void survives_random_kills_as_init(void **state)
{
    (void)state;
    is_init = true;
    kill_at_random();
}

/* --- lives that cross ---------------------------------------------------------------------------- */

static void expect_lost(struct target *target, pid_t child)
{
    uint64_t word;
    for (int i = 0; i < 10000 && kill(child, 0) == 0; i++) {
        waitpid(child, NULL, __WALL | WNOHANG); /* an orphan, and so ours */
        sleep_ms(1);
    }
    assert_int_equal(kill(child, 0), -1);
    assert_false(target_copy_is_whole(target));
    assert_int_equal(target_read(target, (uintptr_t)subject_words, &word, 8), 0);
}

/* As when memory ends. */
static void tells_that_the_copy_was_killed(void **state)
{
    (void)state;
    for (int as_init = 0; as_init < 2; as_init++) {
        struct target target;
        is_init = as_init;
        pid_t pid = start(ALL_WORKS);
        open_target(&target, pid);
        stop_and_fork(&target);
        target_resume(&target);
        pid_t child = target.copy.pid;
        assert_true(target_copy_is_whole(&target));
        kill(child, SIGKILL);
        expect_lost(&target, child);
        expect_no_children(pid); /* already now */
        target_end_copy(&target);
        assert_true(target_copy_is_whole(&target));
        stop_and_fork(&target);
        target_resume(&target);
        target_close(&target);
        expect_good_end(pid);
    }
}

/* Its end must not wait for us. */
static void ends_with_the_target(void **state)
{
    (void)state;
    for (int as_init = 0; as_init < 2; as_init++) {
        struct target target;
        is_init = as_init;
        pid_t pid = start(ALL_WORKS);
        open_target(&target, pid);
        stop_and_fork(&target);
        target_resume(&target);
        pid_t child = target.copy.pid;
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        subject_pid = 0;
        expect_lost(&target, child);
        target_close(&target);
        expect_orphans_die();
    }
}

static void copes_with_an_end_in_between(void **state)
{
    (void)state;
    struct target target;
    struct error err = {0};
    pid_t pid = start(ALL_WORKS);
    open_target(&target, pid);
    assert_true(target_stop(&target, LIMIT_MS, &err));
    kill(pid, SIGKILL);
    sleep_ms(20);
    assert_false(target_fork(&target, &err));
    assert_int_equal(err.code, ERROR_TARGET);
    target_close(&target);
    waitpid(pid, NULL, 0); /* the holder may have taken it: both are children of the test */
    subject_pid = 0;

    pid = start(ALL_WORKS);
    open_target(&target, pid);
    stop_and_fork(&target);
    kill(pid, SIGKILL);
    sleep_ms(20);
    pid_t child = target.copy.pid;
    target_resume(&target);
    expect_lost(&target, child);
    target_close(&target);
    waitpid(pid, NULL, 0);
    subject_pid = 0;
}

/* It stops by itself: after a detach it runs for a moment, in the kernel only, until it sees that it must. */
static void expect_stopped(pid_t pid)
{
    char found = 0;
    for (int i = 0; i < 5000 && (found = proc_thread_state(pid, pid)) != 'T'; i++)
        sleep_ms(1);
    assert_int_equal(found, 'T');
}

static void leaves_a_stopped_process_stopped(void **state)
{
    (void)state;
    struct target target;
    pid_t pid = start(ALL_WORKS);
    open_target(&target, pid);
    kill(pid, SIGSTOP);
    expect_stopped(pid);
    for (int round = 0; round < 10; round++) {
        stop_and_fork(&target);
        target_resume(&target);
        target_end_copy(&target);
        expect_stopped(pid);
    }
    kill(pid, SIGCONT);
    target_close(&target);
    expect_good_end(pid);
}

static long number_in(pid_t pid, const char *file)
{
    struct text text;
    text_init(&text);
    assert_true(proc_read(&text, "/proc/%d/%s", (int)pid, file));
    long number = strtol(text_str(&text), NULL, 10);
    text_deinit(&text);
    return number;
}

static void holds_nothing_but_memory(void **state)
{
    (void)state;
    struct target target;
    char path[64];
    unsigned nr = 0;
    pid_t pid = start(ALL_WORKS);
    long before = number_in(pid, "oom_score_adj");
    open_target(&target, pid);
    stop_and_fork(&target);
    target_resume(&target);
    assert_int_equal(number_in(target.copy.pid, "oom_score_adj"), 1000);
    assert_int_equal(number_in(pid, "oom_score_adj"), before);
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)target.copy.pid);
    DIR *files = opendir(path);
    assert_non_null(files);
    while (readdir(files))
        nr++;
    closedir(files);
    assert_int_equal(nr, 2); /* . and .. */
    target_close(&target);
    expect_good_end(pid);
}

/* --- refusals ------------------------------------------------------------------------------------ */

static void expect_refusal(pid_t pid, const char *part)
{
    struct target target;
    struct error err = {0};
    uint64_t word;
    open_target(&target, pid);
    assert_true(target_stop(&target, LIMIT_MS, &err));
    bool made = target_fork(&target, &err);
    size_t got = target_read(&target, (uintptr_t)subject_words, &word, 8);
    target_close(&target);
    assert_false(made);
    assert_int_equal(err.code, ERROR_TARGET);
    if (!strstr(err.message, part) || strchr(err.message, '\n'))
        fail_msg("no \"%s\" in: %s", part, err.message);
    assert_int_equal(got, 8); /* of itself */
    expect_no_children(pid);
}

enum { OTHER_USER = 64123 };

static rlim_t most_processes;

static void be_limited(void)
{
    struct rlimit limit = {most_processes, most_processes};
    if (setrlimit(RLIMIT_NPROC, &limit) != 0 || setgid(OTHER_USER) != 0 || setuid(OTHER_USER) != 0)
        _exit(1);
}

static void refuses_where_no_process_can_be_made(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    for (most_processes = 2; most_processes < 4; most_processes++) { /* the first, the second */
        prepare = be_limited;
        pid_t pid = start(1 << WORK_SLEEP);
        expect_refusal(pid, "fork: Resource temporarily unavailable");
        expect_good_end(pid);
    }
}

/* Forbids, on pain of death, calls that the subject does not make. */
static void be_filtered(void)
{
    static struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_prctl, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 436 /* close_range */, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof(code) / sizeof(*code), code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        _exit(1);
}

static void lifts_a_filter(void **state)
{
    (void)state;
    struct target target;
    prepare = be_filtered;
    pid_t pid = start(ALL_WORKS);
    if (geteuid() != 0) {
        expect_refusal(pid, "seccomp");
        expect_good_end(pid);
        skip();
    }
    open_target(&target, pid);
    for (int round = 0; round < 10; round++) {
        stop_and_fork(&target);
        target_resume(&target);
        target_end_copy(&target);
    }
    target_close(&target);
    expect_good_end(pid);
}

static void be_filtered_user(void)
{
    if (setgid(OTHER_USER) != 0 || setuid(OTHER_USER) != 0 || prctl(PR_SET_DUMPABLE, 1) != 0)
        _exit(1);
    be_filtered();
}

static void refuses_a_filter_without_the_right(void **state)
{
    (void)state;
    int status = -1;
    if (geteuid() != 0)
        skip();
    prepare = be_filtered_user;
    pid_t pid = start(ALL_WORKS), user = fork();
    if (user == 0) {
        struct target target;
        struct error err = {0};
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (setgid(OTHER_USER) != 0 || setuid(OTHER_USER) != 0)
            _exit(1);
        if (!target_open(&target, pid, &err) || !target_stop(&target, LIMIT_MS, &err))
            _exit(2);
        bool made = target_fork(&target, &err);
        target_close(&target);
        _exit(!made && err.code == ERROR_TARGET && strstr(err.message, "seccomp") ? 0 : 3);
    }
    assert_int_equal(waitpid(user, &status, 0), user);
    assert_int_equal(status, 0);
    expect_good_end(pid);
}

static int direct = -1;

static void be_direct(void)
{
    char path[] = "/tmp/asyncmem-direct-XXXXXX";
    int fd = mkstemp(path);
    direct = open(path, O_RDWR | O_DIRECT);
    unlink(path);
    close(fd);
    subject->sent = subject->received = direct >= 0;
}

static void knows_files_for_which_a_fork_is_not_safe(void **state)
{
    (void)state;
    prepare = NULL;
    pid_t pid = start(1 << WORK_SLEEP);
    assert_false(copy_has_direct_files(pid));
    expect_good_end(pid);
    prepare = be_direct;
    pid = start(1 << WORK_SLEEP);
    assert_int_equal(copy_has_direct_files(pid), subject->sent); /* tmpfs may have no O_DIRECT */
    expect_good_end(pid);
}

static void needs_a_stop(void **state)
{
    (void)state;
    struct target target;
    struct error err = {0};
    pid_t pid = start(1 << WORK_SLEEP);
    open_target(&target, pid);
    assert_false(target_fork(&target, &err));
    assert_int_equal(err.code, ERROR_TARGET);
    target_end_copy(&target); /* there is none */
    target_close(&target);
    expect_good_end(pid);
}

static uint8_t *big;

static void fill_big(void)
{
    big[0] = big[(MAX_KEPT_MB << 20) - 1] = 7;
}

static void tells_what_was_too_much(void **state)
{
    (void)state;
    struct target target;
    uint8_t bytes[8];
    size_t size = (MAX_KEPT_MB << 20) + 4096;
    big = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(big, MAP_FAILED);
    prepare = fill_big;
    pid_t pid = start(1 << WORK_SLEEP);
    open_target(&target, pid);
    stop_and_fork(&target);
    target_resume(&target);
    assert_non_null(target.copy.problem);
    assert_non_null(strstr(target.copy.problem, "64 MB"));
    assert_int_equal(target_read(&target, (uintptr_t)big, bytes, 8), 0);
    assert_int_equal(target_read(&target, (uintptr_t)subject_words, bytes, 8), 8);
    target_close(&target);
    expect_good_end(pid);
    munmap(big, size);
}

#define COPY_TEST(function) cmocka_unit_test_teardown(function, end_subject)

int main(int argc, char **argv)
{
    is_long = getenv("ASYNCMEM_LONG") != NULL;
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    subject =
        mmap(NULL, sizeof(*subject), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    subject_map_specials();
    if (argc > 1) /* some of the tests */
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        COPY_TEST(shows_one_moment),
        COPY_TEST(reads_what_a_child_has_not),
        COPY_TEST(ends_a_copy_while_it_stands_still),
        COPY_TEST(is_not_seen_in_hundreds_of_copies),
        COPY_TEST(is_not_seen_by_a_subreaper),
        COPY_TEST(is_not_seen_by_an_init),
        COPY_TEST(survives_a_kill_after_each_call),
        COPY_TEST(survives_kills_in_user_mode),
        COPY_TEST(survives_kills_in_other_calls),
        COPY_TEST(survives_kills_as_a_subreaper),
        COPY_TEST(survives_kills_as_init),
        COPY_TEST(survives_random_kills),
        COPY_TEST(survives_random_kills_as_init),
        COPY_TEST(tells_that_the_copy_was_killed),
        COPY_TEST(ends_with_the_target),
        COPY_TEST(copes_with_an_end_in_between),
        COPY_TEST(leaves_a_stopped_process_stopped),
        COPY_TEST(holds_nothing_but_memory),
        COPY_TEST(refuses_where_no_process_can_be_made),
        COPY_TEST(lifts_a_filter),
        COPY_TEST(refuses_a_filter_without_the_right),
        COPY_TEST(knows_files_for_which_a_fork_is_not_safe),
        COPY_TEST(needs_a_stop),
        COPY_TEST(tells_what_was_too_much),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
