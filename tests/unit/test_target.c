/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Live targets are children of the test, which tell what they do through a shared page.  "Stands
 * still" is measured by their counters; "none is lost" by counts of both sides.
 */
#include "unit.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "process/proc.h"
#include "process/target.h"

enum {
    NR_WORKERS = 4,
    NR_SIGNALS = 4000,
    MAX_YOUNG = 32,    /* threads that were made and have not run yet */
    MAX_CHILDREN = 16, /* of one test */
    LIMIT_MS = 60000,  /* nothing here is timed: only a stop that never comes fails */
};

struct shared {
    volatile uint64_t ready;
    volatile uint64_t go; /* the test tells the child to go on */
    volatile uint64_t counters[64];
    volatile uint64_t thread_pointers[64];
    volatile uint64_t signals;
    volatile uint64_t young;
    volatile uint64_t tid;
};

static struct shared *shared;
static volatile uint64_t known_word = 0x0123456789abcdef;

/* --- children ------------------------------------------------------------------------------------ */

static void sleep_ms(unsigned ms)
{
    struct timespec left = {ms / 1000, ms % 1000 * 1000000L};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        continue;
}

static void wait_for(volatile uint64_t *word, uint64_t at_least)
{
    for (int i = 0; i < 20000 && *word < at_least; i++)
        sleep_ms(1);
    assert_true(*word >= at_least);
}

static void *count(void *context)
{
    uintptr_t number = (uintptr_t)context;
    shared->thread_pointers[number] = (uint64_t)pthread_self();
    __atomic_fetch_add(&shared->ready, 1, __ATOMIC_SEQ_CST);
    for (;;) {
        shared->counters[number]++;
        if (number % 2) /* some are mostly in system calls, some never */
            sleep_ms(0);
    }
    return NULL;
}

static void start_workers(void)
{
    pthread_t thread;
    for (uintptr_t i = 0; i < NR_WORKERS; i++)
        pthread_create(&thread, NULL, count, (void *)i);
}

static void be_counting(void)
{
    start_workers();
    for (;;)
        pause();
}

static void *end_at_once(void *context)
{
    shared->counters[(uintptr_t)context]++;
    __atomic_fetch_sub(&shared->young, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

/* A thread that only makes threads, but not more than a busy machine can run. */
static void *make_threads(void *context)
{
    for (;;) {
        pthread_t thread;
        if (__atomic_fetch_add(&shared->young, 1, __ATOMIC_SEQ_CST) < MAX_YOUNG &&
            pthread_create(&thread, NULL, end_at_once, context) == 0)
            pthread_detach(thread);
        else
            __atomic_fetch_sub(&shared->young, 1, __ATOMIC_SEQ_CST), sched_yield();
        shared->ready = 1;
        if (shared->counters[(uintptr_t)context] % 64 == 0)
            sleep_ms(0);
    }
    return NULL;
}

static void be_churning(void)
{
    pthread_t thread;
    for (uintptr_t i = 0; i < 2; i++)
        pthread_create(&thread, NULL, make_threads, (void *)i);
    for (;;)
        pause();
}

static void on_signal(int number)
{
    (void)number;
    __atomic_fetch_add(&shared->signals, 1, __ATOMIC_SEQ_CST);
}

static void be_signalled(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGRTMIN, &action, NULL);
    be_counting();
}

/* One thread waits in vfork, in state D, until its child ends. */
static void *wait_in_vfork(void *context)
{
    (void)context;
    shared->tid = (uint64_t)syscall(SYS_gettid);
    shared->ready++;
    pid_t child = vfork();
    if (child == 0) {
        for (long i = 0; !shared->go && i < 40000; i++)
            syscall(SYS_nanosleep, &(struct timespec){.tv_nsec = 1000000}, NULL);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    for (;;)
        shared->counters[NR_WORKERS]++;
    return NULL;
}

static void be_uninterruptible(void)
{
    pthread_t thread;
    start_workers();
    pthread_create(&thread, NULL, wait_in_vfork, NULL);
    for (;;)
        pause();
}

static void be_without_leader(void)
{
    start_workers();
    pthread_exit(NULL);
}

static void be_loading(void)
{
    shared->ready = 1;
    while (!shared->go)
        sleep_ms(1);
    shared->signals = dlopen("libbrotlienc.so.1", RTLD_NOW) || dlopen("libjpeg.so.62", RTLD_NOW) ||
                      dlopen("libpng16.so.16", RTLD_NOW) || dlopen("libexpat.so.1", RTLD_NOW);
    shared->ready = 2;
    for (;;)
        pause();
}

static void be_nothing(void)
{
    shared->ready = 1;
    for (;;)
        pause();
}

/* Children that have not been ended: a test that fails leaves some. */
static pid_t children[MAX_CHILDREN];

static void remember_child(pid_t pid)
{
    for (size_t i = 0; i < MAX_CHILDREN; i++)
        if (!children[i]) {
            children[i] = pid;
            return;
        }
    fail_msg("more than %d children", MAX_CHILDREN);
}

static void forget_child(pid_t pid)
{
    for (size_t i = 0; i < MAX_CHILDREN; i++)
        if (children[i] == pid)
            children[i] = 0;
}

static int end_children(void **state)
{
    (void)state;
    for (size_t i = 0; i < MAX_CHILDREN; i++)
        if (children[i]) {
            if (waitpid(children[i], NULL, WNOHANG | __WALL) == 0) { /* still ours, and alive */
                kill(children[i], SIGKILL);
                waitpid(children[i], NULL, __WALL);
            }
            children[i] = 0;
        }
    return 0;
}

static pid_t start(void (*body)(void))
{
    memset((void *)shared, 0, sizeof(*shared));
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent)
            body();
        _exit(0);
    }
    assert_true(pid > 0);
    remember_child(pid);
    return pid;
}

static pid_t start_counting(void (*body)(void))
{
    pid_t pid = start(body);
    wait_for(&shared->ready, NR_WORKERS);
    return pid;
}

static void end_child(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, __WALL), pid);
    forget_child(pid);
}

static void open_target(struct target *target, pid_t pid)
{
    struct error err = {0};
    if (!target_open(target, pid, &err))
        fail_msg("%s", err.message);
}

static void stop_target(struct target *target)
{
    struct error err = {0};
    if (!target_stop(target, LIMIT_MS, &err))
        fail_msg("%s", err.message);
}

static void expect_no_target(pid_t pid, const char *part)
{
    struct target target;
    struct error err = {0};
    assert_false(target_open(&target, pid, &err));
    assert_int_equal(err.code, ERROR_TARGET);
    if (!strstr(err.message, part))
        fail_msg("no \"%s\" in: %s", part, err.message);
    assert_null(strchr(err.message, '\n'));
    target_close(&target);
}

static uint64_t sum(void)
{
    uint64_t all = 0;
    for (size_t i = 0; i < 64; i++)
        all += shared->counters[i];
    return all;
}

static void expect_still(void)
{
    uint64_t before = sum();
    sleep_ms(20);
    assert_int_equal(sum(), before);
}

static void expect_running(unsigned nr)
{
    for (unsigned i = 0; i < nr; i++) {
        uint64_t before = shared->counters[i];
        wait_for(&shared->counters[i], before + 2);
    }
}

/* --- reading ------------------------------------------------------------------------------------- */

static void opens_a_process(void **state)
{
    (void)state;
    struct target target;
    pid_t pid = start_counting(be_counting);
    open_target(&target, pid);
    assert_int_equal(target.pid, pid);
    char self[4096] = "";
    assert_true(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
    assert_string_equal(target.name, self);
    assert_string_equal(target.images[0].path, self);
    assert_true(target.images[0].is_program);
    Dl_info info; /* the loader's word for where the program was loaded */
    assert_int_not_equal(dladdr((void *)(uintptr_t)&known_word, &info), 0);
    assert_int_equal(target.images[0].bias, (uintptr_t)info.dli_fbase);
    assert_ptr_equal(target_image_at(&target, (uintptr_t)&known_word), &target.images[0]);
    assert_ptr_equal(target_image_at(&target, (uintptr_t)be_counting), &target.images[0]);
    assert_int_not_equal(dladdr((void *)(uintptr_t)waitpid, &info), 0);
    const struct target_image *libc = target_image_at(&target, (uintptr_t)waitpid);
    assert_non_null(libc);
    assert_false(libc->is_program);
    assert_non_null(libc->path);
    assert_null(libc->problem);
    assert_int_equal(libc->bias, (uintptr_t)info.dli_fbase);
    assert_null(target_image_at(&target, (uintptr_t)shared));
    assert_null(target_image_at(&target, 0));
    for (size_t i = 0; i < target.nr_images; i++)
        assert_null(strstr(target.images[i].name, "vdso"));

    const struct mapping *m = target_mapping_at(&target, (uintptr_t)shared);
    assert_non_null(m);
    assert_true(m->is_shared && m->readable && m->writable && !m->executable && !m->is_device);
    assert_true(target_mapping_at(&target, (uintptr_t)be_counting)->executable);
    assert_null(target_mapping_at(&target, 16));
    for (size_t i = 0; i < target.nr_mappings; i++) {
        const struct mapping *each = &target.mappings[i];
        assert_ptr_equal(target_mapping_at(&target, each->start), each);
        assert_ptr_equal(target_mapping_at(&target, each->end - 1), each);
        assert_true(i == 0 || each->start >= each[-1].end);
    }
    target_close(&target);
    target_close(&target);
    end_child(pid);
}

static void reads_memory(void **state)
{
    (void)state;
    struct target target;
    /* Two pages that are there, one that is not. */
    uint8_t *pages =
        mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t i = 0; i < 2 * 4096; i++)
        pages[i] = (uint8_t)(i * 7);
    munmap(pages + 2 * 4096, 4096);
    pid_t pid = start_counting(be_counting);
    open_target(&target, pid);
    uint64_t word = 0;
    assert_int_equal(target_read(&target, (uintptr_t)&known_word, &word, 8), 8);
    assert_int_equal(word, 0x0123456789abcdef);
    static uint8_t buffer[3 * 4096];
    assert_int_equal(target_read(&target, (uintptr_t)pages, buffer, 2 * 4096), 2 * 4096);
    assert_memory_equal(buffer, pages, 2 * 4096);
    memset(buffer, 0, sizeof(buffer));
    assert_int_equal(target_read(&target, (uintptr_t)pages + 4000, buffer, 2 * 4096), 4192);
    assert_memory_equal(buffer, pages + 4000, 4192);
    assert_int_equal(target_read(&target, (uintptr_t)pages + 2 * 4096, buffer, 1), 0);
    assert_int_equal(target_read(&target, 0, buffer, 8), 0);
    assert_int_equal(target_read(&target, UINT64_MAX - 3, buffer, 8), 0);
    target_close(&target);
    end_child(pid);
    munmap(pages, 2 * 4096);
}

static void reads_many_ranges(void **state)
{
    (void)state;
    enum { NR = 3000 };
    struct target target;
    uint32_t *words =
        mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (uint32_t i = 0; i < 3 * 1024; i++)
        words[i] = i * 0x9e3779b1u;
    munmap(words + 3 * 1024, 4096);
    static struct target_range ranges[NR];
    static uint32_t got[NR][2];
    for (size_t i = 0; i < NR; i++) {
        ranges[i] = (struct target_range){(uintptr_t)&words[i], 8, got[i]};
        if (i % 100 == 7)
            ranges[i].addr = 8; /* never mapped */
        if (i % 100 == 8)
            ranges[i].addr = (uintptr_t)(words + 3 * 1024) - 4; /* half of it is not */
        if (i % 100 == 9)
            ranges[i].size_bytes = 0;
    }
    ranges[NR - 1].addr = 8;
    pid_t pid = start_counting(be_counting);
    open_target(&target, pid);
    target_read_many(&target, ranges, NR);
    for (size_t i = 0; i < NR; i++) {
        bool bad = i % 100 == 7 || i % 100 == 8 || i % 100 == 9 || i == NR - 1;
        assert_int_equal(ranges[i].size_bytes, bad ? 0 : 8);
        if (!bad)
            assert_memory_equal(got[i], &words[i], 8);
    }
    target_read_many(&target, ranges, 0);
    target_close(&target);
    end_child(pid);
    munmap(words, 3 * 4096);
}

static void finds_images_that_are_loaded_later(void **state)
{
    (void)state;
    struct target target;
    struct error err;
    pid_t pid = start(be_loading);
    wait_for(&shared->ready, 1);
    open_target(&target, pid);
    size_t before = target.nr_images;
    const char *name = target.images[0].name;
    shared->go = 1;
    wait_for(&shared->ready, 2);
    if (!shared->signals)
        print_message("no library to load is installed\n");
    assert_true(target_read_mappings(&target, &err));
    assert_true(target.nr_images > before || !shared->signals);
    assert_string_equal(target.images[0].name, name);
    for (size_t i = 2; i < target.nr_images; i++)
        assert_true(target.images[i].start >= target.images[i - 1].end);
    target_close(&target);
    end_child(pid);
}

/* --- files that are not where they were ---------------------------------------------------------- */

static char copied[64];

/* A copy of this program that only waits. */
static pid_t start_copy(const char *path)
{
    struct file file;
    struct error err;
    assert_true(file_open(&file, "/proc/self/exe", &err));
    assert_true(file_replace(path, file.bytes, file.size_bytes, &err));
    assert_int_equal(chmod(path, 0700), 0);
    file_close(&file);
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl(path, path, "--wait", (char *)NULL);
        _exit(1);
    }
    close(ends[1]); /* the exec closes the other one */
    char byte;
    assert_int_equal(read(ends[0], &byte, 1), 0);
    close(ends[0]);
    return pid;
}

/* `how` is the end of the path below /proc/PID, or the path. */
static void expect_program_opens(pid_t pid, bool is_deleted, const char *how)
{
    struct target target;
    struct stat mapped, opened;
    char link[64];
    sleep_ms(50); /* the loader's work */
    snprintf(link, sizeof(link), "/proc/%d/exe", (int)pid);
    assert_int_equal(stat(link, &mapped), 0);
    open_target(&target, pid);
    assert_true(target.images[0].is_program);
    assert_string_equal(target.images[0].name, copied);
    assert_non_null(target.images[0].path);
    assert_true(str_ends_with(target.images[0].path, how));
    assert_int_equal(stat(target.images[0].path, &opened), 0);
    assert_int_equal(opened.st_ino, mapped.st_ino);
    assert_int_equal(opened.st_dev, mapped.st_dev);
    assert_int_equal(target_mapping_at(&target, target.images[0].start)->is_deleted, is_deleted);
    target_close(&target);
}

static void opens_deleted_and_replaced_programs(void **state)
{
    (void)state;
    snprintf(copied, sizeof(copied), "/tmp/asyncmem-target-%d", (int)getpid());
    pid_t pid = start_copy(copied);
    expect_program_opens(pid, false, copied);
    struct error err;
    assert_true(file_replace(copied, "other", 5, &err));
    expect_program_opens(pid, true, "/exe");
    unlink(copied);
    expect_program_opens(pid, true, "/exe");
    end_child(pid);
}

/* What only the child sees lies in a file system that only the child has mounted. */
static void be_in_a_container(void)
{
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", "/mnt", "tmpfs", 0, NULL) != 0)
        _exit(77);
    pid_t pid = start_copy(copied);
    shared->tid = (uint64_t)pid;
    shared->ready = 1;
    waitpid(pid, NULL, 0);
}

static void opens_programs_in_containers(void **state)
{
    (void)state;
    snprintf(copied, sizeof(copied), "/mnt/asyncmem-target-%d", (int)getpid());
    pid_t pid = start(be_in_a_container);
    for (int i = 0; i < 200 && !shared->ready && waitpid(pid, NULL, WNOHANG) == 0; i++)
        sleep_ms(10);
    if (!shared->ready)
        skip(); /* not root */
    assert_int_not_equal(access(copied, F_OK), 0);
    char how[128];
    snprintf(how, sizeof(how), "/root%s", copied);
    expect_program_opens((pid_t)shared->tid, false, how);
    kill((pid_t)shared->tid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* --- why a process cannot be opened -------------------------------------------------------------- */

static void tells_why_not(void **state)
{
    (void)state;
    expect_no_target(0, "no such process");
    expect_no_target(-1, "no such process");
    expect_no_target(0x7ffffffe, "no such process");
    pid_t pid = start(be_nothing);
    wait_for(&shared->ready, 1);
    kill(pid, SIGKILL);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    expect_no_target(pid, "is a zombie");
    end_child(pid);
    expect_no_target(pid, "no such process");
    char command[16];
    proc_command(2, command, sizeof(command));
    if (strcmp(command, "kthreadd") == 0)
        expect_no_target(2, "kernel thread");
}

static pid_t traced;

static void be_tracing(void)
{
    if (ptrace(PTRACE_SEIZE, traced, NULL, NULL) != 0)
        _exit(1);
    shared->ready = 1;
    for (;;)
        pause();
}

static void tells_who_traces_already(void **state)
{
    (void)state;
    struct target target;
    struct error err = {0};
    traced = start(be_nothing);
    wait_for(&shared->ready, 1);
    open_target(&target, traced); /* opened before the other tracer comes */
    pid_t tracer = start(be_tracing);
    wait_for(&shared->ready, 1);
    char part[64];
    snprintf(part, sizeof(part), "already traced by process %d (test_target)", (int)tracer);
    expect_no_target(traced, part);
    assert_false(target_stop(&target, 50, &err));
    assert_int_equal(err.code, ERROR_TARGET);
    assert_non_null(strstr(err.message, part));
    end_child(tracer);
    stop_target(&target);
    target_close(&target);
    end_child(traced);
}

static void be_another_user(void)
{
    struct target target;
    struct error err = {0};
    if (setgid(65534) != 0 || setuid(65534) != 0)
        _exit(77);
    bool ok = target_open(&target, traced, &err);
    _exit(!ok && err.code == ERROR_TARGET && strstr(err.message, "no permission") &&
                  strstr(err.message, "belongs to user") && strstr(err.message, "sudo")
              ? 0
              : 1);
}

static void tells_who_may(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    traced = start(be_nothing);
    wait_for(&shared->ready, 1);
    pid_t other = start(be_another_user);
    int status = -1;
    assert_int_equal(waitpid(other, &status, 0), other);
    end_child(traced);
    assert_int_equal(status, 0);
}

/* --- stopping ------------------------------------------------------------------------------------ */

static void stops_and_goes_on(void **state)
{
    (void)state;
    struct target target;
    pid_t pid = start_counting(be_counting);
    open_target(&target, pid);
    assert_int_equal(target_resume(&target), 0);
    for (int round = 0; round < 20; round++) {
        expect_running(NR_WORKERS);
        stop_target(&target);
        if (round % 5 == 0)
            expect_still();
        assert_int_equal(target.nr_threads, NR_WORKERS + 1);
        unsigned found = 0;
        for (size_t i = 0; i < target.nr_threads; i++) {
            const struct target_thread *thread = &target.threads[i];
            assert_true(thread->stopped);
            assert_true(target_mapping_at(&target, thread->pc)->executable);
            assert_true(target_mapping_at(&target, thread->stack_pointer)->writable);
            for (int k = 0; k < NR_WORKERS; k++)
                found += thread->thread_pointer == shared->thread_pointers[k];
        }
        assert_int_equal(found, NR_WORKERS);
        uint64_t still_ns = target_resume(&target);
        assert_true(still_ns > 0 && (round % 5 != 0 || still_ns > 20000000));
        assert_false(target.threads[0].stopped);
    }
    expect_running(NR_WORKERS);
    stop_target(&target);
    target_close(&target); /* also lets go */
    expect_running(NR_WORKERS);
    end_child(pid);
}

static void stops_what_makes_threads(void **state)
{
    (void)state;
    struct target target;
    pid_t pid = start(be_churning);
    wait_for(&shared->ready, 1);
    open_target(&target, pid);
    for (int round = 0; round < 100; round++) {
        stop_target(&target);
        uint64_t before = sum();
        if (round % 10 == 0)
            expect_still();
        char path[64];
        struct stat st;
        snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_nlink, 2 + target.nr_threads);
        assert_int_equal(sum(), before);
        target_resume(&target);
    }
    expect_running(2);
    target_close(&target);
    end_child(pid);
}

static void loses_no_signal(void **state)
{
    (void)state;
    struct target target;
    pid_t pid = start_counting(be_signalled);
    pid_t sender = fork();
    if (sender == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (int sent = 0; sent < NR_SIGNALS;) {
            if (sigqueue(pid, SIGRTMIN, (union sigval){0}) == 0)
                sent++;
            if (sent % 16 == 0)
                sleep_ms(0);
        }
        _exit(0);
    }
    open_target(&target, pid);
    unsigned rounds = 0;
    for (int status; waitpid(sender, &status, WNOHANG) == 0; rounds++) {
        stop_target(&target);
        target_resume(&target);
    }
    assert_true(rounds > 5);
    wait_for(&shared->signals, NR_SIGNALS);
    sleep_ms(20);
    assert_int_equal(shared->signals, NR_SIGNALS);
    expect_running(NR_WORKERS);
    target_close(&target);
    end_child(pid);
}

static char wait_for_state(pid_t pid, char wanted)
{
    char found = 0;
    for (int i = 0; i < 2000 && found != wanted; i++) {
        found = proc_thread_state(pid, pid);
        sleep_ms(1);
    }
    return found;
}

static void leaves_a_stopped_process_stopped(void **state)
{
    (void)state;
    struct target target;
    pid_t pid = start_counting(be_counting);
    open_target(&target, pid);
    kill(pid, SIGSTOP);
    assert_int_equal(wait_for_state(pid, 'T'), 'T');
    for (int round = 0; round < 10; round++) {
        stop_target(&target);
        assert_int_equal(target.nr_threads, NR_WORKERS + 1);
        target_resume(&target);
        assert_int_equal(wait_for_state(pid, 'T'), 'T');
        expect_still();
    }
    kill(pid, SIGCONT);
    expect_running(NR_WORKERS);
    /* One that comes while we hold it takes effect afterwards; and one that ends it, too. */
    stop_target(&target);
    kill(pid, SIGSTOP);
    target_resume(&target);
    assert_int_equal(wait_for_state(pid, 'T'), 'T');
    stop_target(&target);
    kill(pid, SIGCONT);
    expect_still();
    target_resume(&target);
    expect_running(NR_WORKERS);
    target_close(&target);
    end_child(pid);
}

static void expect_untraced(pid_t pid, pid_t tid)
{
    struct text status;
    text_init(&status);
    assert_true(proc_read(&status, "/proc/%d/task/%d/status", (int)pid, (int)tid));
    assert_int_equal(proc_status_number(text_str(&status), "TracerPid"), 0);
    text_deinit(&status);
}

static void gives_up_on_a_thread_that_does_not_stop(void **state)
{
    (void)state;
    struct target target;
    struct error err = {0};
    pid_t pid = start(be_uninterruptible);
    wait_for(&shared->ready, NR_WORKERS + 1);
    while (proc_thread_state(pid, (pid_t)shared->tid) != 'D')
        sleep_ms(1);
    open_target(&target, pid);
    for (int round = 0; round < 3; round++) {
        struct timespec from, to;
        clock_gettime(CLOCK_MONOTONIC, &from);
        assert_false(target_stop(&target, 50, &err));
        clock_gettime(CLOCK_MONOTONIC, &to);
        assert_true((to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000 <
                    2000);
        expect_untraced(pid, (pid_t)shared->tid); /* nothing is left of the request */
        char part[64];
        snprintf(part, sizeof(part), "thread %d did not stop within 50 ms (state D",
                 (int)shared->tid);
        assert_int_equal(err.code, ERROR_TARGET);
        assert_non_null(strstr(err.message, part));
        assert_null(strchr(err.message, '\n'));
        expect_running(NR_WORKERS);
    }
    /* Its wait ends: it runs. */
    assert_int_equal(shared->counters[NR_WORKERS], 0);
    shared->go = 1;
    expect_running(NR_WORKERS + 1);
    stop_target(&target);
    expect_still();
    target_close(&target);
    expect_running(NR_WORKERS + 1);
    end_child(pid);
}

static void works_without_the_first_thread(void **state)
{
    (void)state;
    struct target target;
    pid_t pid = start_counting(be_without_leader);
    assert_int_equal(wait_for_state(pid, 'Z'), 'Z');
    open_target(&target, pid);
    assert_int_equal(target.pid, pid);
    assert_true(target.images[0].is_program);
    uint64_t word = 0;
    assert_int_equal(target_read(&target, (uintptr_t)&known_word, &word, 8), 8);
    assert_int_equal(word, known_word);
    stop_target(&target);
    assert_int_equal(target.nr_threads, NR_WORKERS);
    expect_still();
    target_resume(&target);
    expect_running(NR_WORKERS);
    pid_t tid = target.threads[1].tid;
    target_close(&target);
    open_target(&target, tid); /* the id of any thread will do */
    assert_int_equal(target.pid, pid);
    target_close(&target);
    end_child(pid);
}

static void be_an_analyser(void)
{
    struct target target;
    struct error err;
    if (!target_open(&target, traced, &err) || !target_stop(&target, LIMIT_MS, &err))
        _exit(1);
    shared->go = 1;
    for (;;)
        pause();
}

static void lets_go_when_killed(void **state)
{
    (void)state;
    for (int round = 0; round < 5; round++) {
        traced = start_counting(be_counting);
        pid_t analyser = fork(); /* not start(): the page belongs to the target */
        if (analyser == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            be_an_analyser();
        }
        wait_for(&shared->go, 1);
        expect_still();
        end_child(analyser);
        expect_running(NR_WORKERS);
        end_child(traced);
    }
}

static void tells_when_it_ended_meanwhile(void **state)
{
    (void)state;
    struct target target;
    struct error err = {0};
    uint64_t word;
    pid_t pid = start_counting(be_counting);
    open_target(&target, pid);
    stop_target(&target);
    kill(pid, SIGKILL);
    sleep_ms(20);
    target_resume(&target);
    waitpid(pid, NULL, __WALL); /* the holder may have taken it: both are children of the test */
    assert_false(target_stop(&target, 50, &err));
    assert_int_equal(err.code, ERROR_TARGET);
    assert_non_null(strstr(err.message, "no such process"));
    assert_int_equal(target_read(&target, (uintptr_t)&known_word, &word, 8), 0);
    assert_false(target_read_mappings(&target, &err));
    target_close(&target);
}

/* --- /proc as text ------------------------------------------------------------------------------- */

static bool parse(const char *line, struct mapping *mapping, char *path)
{
    const char *at;
    size_t bytes;
    bool ok = proc_maps_line(line, strlen(line), mapping, &at, &bytes);
    if (ok)
        snprintf(path, 256, "%.*s", (int)bytes, at);
    return ok;
}

static void reads_lines_of_maps(void **state)
{
    (void)state;
    struct mapping m;
    char path[256];
    assert_true(
        parse("7f00a000-7f00c000 r-xp 00001000 fd:01 1234                       /a b/c", &m, path));
    assert_int_equal(m.start, 0x7f00a000);
    assert_int_equal(m.end, 0x7f00c000);
    assert_int_equal(m.offset, 0x1000);
    assert_int_equal(m.device, makedev(0xfd, 1));
    assert_int_equal(m.inode, 1234);
    assert_true(m.readable && !m.writable && m.executable && !m.is_shared && !m.is_deleted);
    assert_string_equal(path, "/a b/c");
    assert_true(parse("1000-2000 rw-s 00000000 00:01 7      /x (deleted)", &m, path));
    assert_true(m.is_shared && m.is_deleted && m.writable && !m.is_device);
    assert_string_equal(path, "/x");
    assert_true(parse("1000-2000 rw-p 00000000 00:00 0 ", &m, path));
    assert_string_equal(path, "");
    assert_true(parse("1000-2000 rw-p 00000000 00:00 0", &m, path));
    assert_true(parse("1000-2000 rw-s 00000000 00:05 9   /dev/dri/card0", &m, path) && m.is_device);
    assert_true(parse("1000-2000 rw-s 00000000 00:05 9   /dev/shm/x", &m, path) && !m.is_device);
    assert_true(parse("1000-2000 rw-s 00000000 00:05 9   /dev/zero (deleted)", &m, path) &&
                !m.is_device);
    assert_true(parse("1000-2000 r--p 00000000 00:00 0   [vvar]", &m, path) && m.is_device);
    assert_true(parse("1000-2000 r--p 00000000 00:00 0   [stack]", &m, path) && !m.is_device);
    static const char *const bad[] = {
        "",
        "1000",
        "1000-",
        "1000-2000",
        "1000-2000 rw",
        "x-y rw-p",
        "2000-1000 rw-p 0 0:0 0",
        "1000-2000 rw-p 0",
        "1000-2000 rw-p 0 0:0",
        "1000-2000 rw-p 0 0:0 x",
        "1000-2000 rw-pp 0 0:0 0",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_false(parse(bad[i], &m, path));
}

static void knows_32_bit_programs(void **state)
{
    (void)state;
    assert_true(proc_is_32_bit((const uint8_t *)"\177ELF\1\1\1\0\0\0\0\0\0\0\0"));
    assert_false(proc_is_32_bit((const uint8_t *)"\177ELF\2\1\1\0\0\0\0\0\0\0\0"));
    assert_false(proc_is_32_bit((const uint8_t *)"#!/bin/sh\n\0\0\0\0\0"));
    static const char status[] =
        "Name:\tState: Z\nState:\tS (sleeping)\nTgid:\t12\nTracerPid:\t0\n";
    assert_int_equal(*proc_status_value(status, "State"), 'S');
    assert_int_equal(proc_status_number(status, "Tgid"), 12);
    assert_null(proc_status_value(status, "VmSize"));
    assert_int_equal(proc_status_number(status, "VmSize"), 0);
}

#define LIVE_TEST(function) cmocka_unit_test_teardown(function, end_children)

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--wait") == 0)
        for (;;)
            pause();
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    const struct CMUnitTest tests[] = {
        LIVE_TEST(opens_a_process),
        LIVE_TEST(reads_memory),
        LIVE_TEST(reads_many_ranges),
        LIVE_TEST(finds_images_that_are_loaded_later),
        LIVE_TEST(opens_deleted_and_replaced_programs),
        LIVE_TEST(opens_programs_in_containers),
        LIVE_TEST(tells_why_not),
        LIVE_TEST(tells_who_traces_already),
        LIVE_TEST(tells_who_may),
        LIVE_TEST(stops_and_goes_on),
        LIVE_TEST(stops_what_makes_threads),
        LIVE_TEST(loses_no_signal),
        LIVE_TEST(leaves_a_stopped_process_stopped),
        LIVE_TEST(gives_up_on_a_thread_that_does_not_stop),
        LIVE_TEST(works_without_the_first_thread),
        LIVE_TEST(lets_go_when_killed),
        LIVE_TEST(tells_when_it_ended_meanwhile),
        LIVE_TEST(reads_lines_of_maps),
        LIVE_TEST(knows_32_bit_programs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
