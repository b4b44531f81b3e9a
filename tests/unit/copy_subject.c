/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Each work is a thread with a loop that would show a wrong register, a lost or added byte, a sleep that
 * ends early, a signal mask or signal stack that changed, or a child that nobody here made.
 */
#include "copy_subject.h"

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct subject *subject;
volatile uint64_t subject_words[NR_WORDS];
uint8_t *subject_specials[NR_SPECIALS];

static int ends[2]; /* a pipe */

static void check(enum subject_work work, bool ok)
{
    if (!ok)
        __atomic_fetch_add(&subject->errors[work], 1, __ATOMIC_SEQ_CST);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){0, ms * 1000000}, NULL);
}

/* --- works --------------------------------------------------------------------------------------- */

static void *write_pipe(void *unused)
{
    (void)unused;
    for (uint64_t number = 0;; number++)
        check(WORK_PIPE, write(ends[1], &number, sizeof(number)) == sizeof(number));
    return NULL;
}

static void read_pipe(void)
{
    static uint64_t number, expected;
    check(WORK_PIPE, read(ends[0], &number, sizeof(number)) == sizeof(number));
    check(WORK_PIPE, number == expected++);
    if (expected % 512 == 0)
        pause_ms(0);
}

static void sleep_exactly(void)
{
    uint64_t from = now_ns();
    check(WORK_SLEEP, nanosleep(&(struct timespec){0, 3000000}, NULL) == 0);
    check(WORK_SLEEP, now_ns() - from >= 3000000);
    from = now_ns();
    check(WORK_SLEEP,
          clock_nanosleep(CLOCK_REALTIME, 0, &(struct timespec){0, 1000000}, NULL) == 0);
    check(WORK_SLEEP, now_ns() - from >= 1000000 / 2);
}

static void wait_futex(void)
{
    static uint32_t word;
    struct timespec limit = {0, 2000000};
    uint64_t from = now_ns();
    long result = syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &limit, NULL, 0);
    check(WORK_FUTEX, result == -1 && errno == ETIMEDOUT);
    check(WORK_FUTEX, now_ns() - from >= 2000000);
}

static void poll_nothing(void)
{
    uint64_t from = now_ns();
    check(WORK_POLL, poll(NULL, 0, 4) == 0);
    check(WORK_POLL, now_ns() - from >= 4000000);
}

static void wait_epoll(void)
{
    static int epoll = -1;
    struct epoll_event event;
    if (epoll < 0)
        epoll = epoll_create1(0);
    int result = epoll_wait(epoll, &event, 1, 5);
    if (result < 0 && errno == EINTR)
        subject->interrupted++;
    else
        check(WORK_EPOLL, result == 0);
}

/* All sixteen vector registers hold a pattern while the thread is in user mode. */
static void keep_vectors(void)
{
    uint64_t in[16][2], out[16][2], left = 200000, sum = 0;
    for (unsigned i = 0; i < 16; i++) {
        in[i][0] = 0x0101010101010101ull * (i + 1);
        in[i][1] = subject->rounds[WORK_VECTORS] * (i + 7);
    }
    __asm__ volatile("movups 0(%2),%%xmm0\n movups 16(%2),%%xmm1\n movups 32(%2),%%xmm2\n"
                     "movups 48(%2),%%xmm3\n movups 64(%2),%%xmm4\n movups 80(%2),%%xmm5\n"
                     "movups 96(%2),%%xmm6\n movups 112(%2),%%xmm7\n movups 128(%2),%%xmm8\n"
                     "movups 144(%2),%%xmm9\n movups 160(%2),%%xmm10\n movups 176(%2),%%xmm11\n"
                     "movups 192(%2),%%xmm12\n movups 208(%2),%%xmm13\n movups 224(%2),%%xmm14\n"
                     "movups 240(%2),%%xmm15\n"
                     "1: add %0,%1\n dec %0\n jnz 1b\n"
                     "movups %%xmm0,0(%3)\n movups %%xmm1,16(%3)\n movups %%xmm2,32(%3)\n"
                     "movups %%xmm3,48(%3)\n movups %%xmm4,64(%3)\n movups %%xmm5,80(%3)\n"
                     "movups %%xmm6,96(%3)\n movups %%xmm7,112(%3)\n movups %%xmm8,128(%3)\n"
                     "movups %%xmm9,144(%3)\n movups %%xmm10,160(%3)\n movups %%xmm11,176(%3)\n"
                     "movups %%xmm12,192(%3)\n movups %%xmm13,208(%3)\n movups %%xmm14,224(%3)\n"
                     "movups %%xmm15,240(%3)\n"
                     : "+r"(left), "+r"(sum)
                     : "r"(in), "r"(out)
                     : "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
                       "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
    check(WORK_VECTORS, memcmp(in, out, sizeof(in)) == 0);
    check(WORK_VECTORS, sum == 200000ull * 200001 / 2);
}

/* The same with the upper halves. */
__attribute__((target("avx"))) static void keep_wide_vectors(void)
{
    uint64_t in[4] = {1, 2, 3, subject->rounds[WORK_VECTORS]}, out[8], left = 200000;
    __asm__ volatile("vmovups (%1),%%ymm3\n vmovups (%1),%%ymm12\n"
                     "1: dec %0\n jnz 1b\n"
                     "vmovups %%ymm3,(%2)\n vmovups %%ymm12,32(%2)\n vzeroupper\n"
                     : "+r"(left)
                     : "r"(in), "r"(out)
                     : "memory", "xmm3", "xmm12");
    check(WORK_VECTORS, memcmp(in, out, 32) == 0 && memcmp(in, out + 4, 32) == 0);
}

static void compute(void)
{
    keep_vectors();
    if (__builtin_cpu_supports("avx"))
        keep_wide_vectors();
    if (subject->rounds[WORK_VECTORS] % 8 == 0)
        pause_ms(0);
}

static void send_signal(void)
{
    if (sigqueue(getpid(), SIGRTMIN, (union sigval){0}) == 0)
        subject->sent++;
    pause_ms(2);
}

static void *end_at_once(void *unused)
{
    return unused;
}

static void make_thread(void)
{
    pthread_t thread;
    check(WORK_THREADS, pthread_create(&thread, NULL, end_at_once, NULL) == 0);
    check(WORK_THREADS, pthread_join(thread, NULL) == 0);
    pause_ms(1);
}

static void wait_for_children(void)
{
    check(WORK_WAITPID, waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
    if (subject->rounds[WORK_WAITPID] % 64 == 0)
        pause_ms(0);
}

static void count_words(void)
{
    for (size_t i = 0; i < NR_WORDS; i++)
        subject_words[i]++;
    if (subject->rounds[WORK_WORDS] % 16 == 0)
        pause_ms(0);
}

static void (*const works[NR_WORKS])(void) = {
    [WORK_PIPE] = read_pipe,      [WORK_SLEEP] = sleep_exactly, [WORK_FUTEX] = wait_futex,
    [WORK_POLL] = poll_nothing,   [WORK_EPOLL] = wait_epoll,    [WORK_VECTORS] = compute,
    [WORK_SIGNALS] = send_signal, [WORK_THREADS] = make_thread, [WORK_WAITPID] = wait_for_children,
    [WORK_WORDS] = count_words,
};

static void *work(void *context)
{
    enum subject_work number = (enum subject_work)(uintptr_t)context;
    size_t size = 64 * 1024;
    stack_t own = {.ss_sp = malloc(size), .ss_size = size}, now;
    sigset_t mask, mask_now;
    sigaltstack(&own, NULL);
    sigemptyset(&mask); /* signals are for the first thread: sleeps here end by no handler */
    sigaddset(&mask, SIGRTMIN);
    sigaddset(&mask, SIGUSR1 + (int)number % 2);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    subject->tids[number] = (uint64_t)syscall(SYS_gettid);
    __atomic_fetch_add(&subject->ready, 1, __ATOMIC_SEQ_CST);
    for (;;) {
        works[number]();
        pthread_sigmask(SIG_BLOCK, NULL, &mask_now);
        for (int i = 1; i < 65; i++)
            check(number, sigismember(&mask, i) == sigismember(&mask_now, i));
        sigaltstack(NULL, &now);
        check(number, now.ss_sp == own.ss_sp && now.ss_size == size && now.ss_flags == 0);
        subject->rounds[number]++;
    }
    return NULL;
}

/* --- the subject --------------------------------------------------------------------------------- */

static void on_child(int number)
{
    (void)number;
    __atomic_fetch_add(&subject->child_signals, 1, __ATOMIC_SEQ_CST);
}

static void on_signal(int number)
{
    (void)number;
    __atomic_fetch_add(&subject->received, 1, __ATOMIC_SEQ_CST);
}

uint8_t subject_pattern(unsigned special, size_t at)
{
    return (uint8_t)(at * 7 + at / 4096 * 31 + special * 57 + 1);
}

void subject_map_specials(void)
{
    FILE *file = tmpfile();
    int fd = fileno(file);
    if (ftruncate(fd, SPECIAL_BYTES) != 0)
        abort();
    for (unsigned i = 0; i < NR_SPECIALS; i++) {
        bool is_file = i == SPECIAL_SHARED_FILE || i == SPECIAL_PRIVATE_FILE;
        bool is_shared = i == SPECIAL_SHARED || i == SPECIAL_SHARED_FILE;
        int flags = (is_file ? 0 : MAP_ANONYMOUS) | (is_shared ? MAP_SHARED : MAP_PRIVATE);
        /* With a hole on both sides. */
        uint8_t *at = mmap(NULL, SPECIAL_BYTES + 2 * 4096, PROT_NONE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        subject_specials[i] = mmap(at + 4096, SPECIAL_BYTES, PROT_READ | PROT_WRITE,
                                   flags | MAP_FIXED, is_file ? fd : -1, 0);
        if (subject_specials[i] == MAP_FAILED)
            abort();
    }
    fclose(file);
}

static void fill_specials(void)
{
    for (unsigned i = 0; i < NR_SPECIALS; i++)
        for (size_t k = i == SPECIAL_WIPED_LATE ? SPECIAL_BYTES / 2 : 0; k < SPECIAL_BYTES; k++)
            subject_specials[i][k] = subject_pattern(i, k);
    if (madvise(subject_specials[SPECIAL_DONTFORK], SPECIAL_BYTES, MADV_DONTFORK) != 0 ||
        madvise(subject_specials[SPECIAL_WIPEONFORK], SPECIAL_BYTES, MADV_WIPEONFORK) != 0 ||
        madvise(subject_specials[SPECIAL_WIPED_LATE], SPECIAL_BYTES, MADV_WIPEONFORK) != 0 ||
        mprotect(subject_specials[SPECIAL_NO_ACCESS], SPECIAL_BYTES, PROT_NONE) != 0)
        abort();
}

void subject_run(void)
{
    struct sigaction child = {.sa_handler = on_child, .sa_flags = SA_RESTART};
    struct sigaction signal_ = {.sa_handler = on_signal, .sa_flags = SA_RESTART | SA_ONSTACK};
    pthread_t thread;
    uint64_t wanted = 0;
    sigaction(SIGCHLD, &child, NULL);
    sigaction(SIGRTMIN, &signal_, NULL);
    fill_specials();
    if (pipe(ends) != 0)
        _exit(1);
    subject->pid = (uint64_t)getpid();
    for (uintptr_t i = 0; i < NR_WORKS; i++)
        if (subject->works >> i & 1) {
            pthread_create(&thread, NULL, work, (void *)i);
            wanted++;
        }
    if (subject->works & 1 << WORK_PIPE)
        pthread_create(&thread, NULL, write_pipe, NULL);
    while (!subject->finish)
        if (subject->is_busy)
            keep_vectors();
        else
            pause_ms(1);
    while (subject->received < subject->sent)
        pause_ms(1);
    check(WORK_WAITPID, subject->ready == wanted);
    /* Children of every kind, also those without a signal at their end. */
    check(WORK_WAITPID, waitpid(-1, NULL, __WALL | WNOHANG) == -1 && errno == ECHILD);
    check(WORK_WAITPID, subject->child_signals == 0);
    _exit(0);
}
