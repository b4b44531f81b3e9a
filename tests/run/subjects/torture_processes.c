/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The modes of `torture` that make processes: every way there is, each from a program whose other threads
 * allocate meanwhile.  What the children do must not appear in the counts of the parent; only children
 * that share the parent's memory (vfork, clone with CLONE_VM) write into its heap.
 */
#include "torture.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { NR_OTHERS = 2, CHILD_STACK_BYTES = 256 * 1024 };

static bool shall_end;

static void *work_beside(void *data)
{
    for (uint64_t seed = (uintptr_t)data; !__atomic_load_n(&shall_end, __ATOMIC_RELAXED);
         seed += 10)
        torture_churn(100, seed);
    return NULL;
}

static pthread_t others[NR_OTHERS];

static void start_others(void)
{
    for (uintptr_t i = 0; i < NR_OTHERS; i++)
        torture_check(!pthread_create(&others[i], NULL, work_beside, (void *)i), "no thread");
}

static void end_others(void)
{
    __atomic_store_n(&shall_end, true, __ATOMIC_RELAXED);
    for (size_t i = 0; i < NR_OTHERS; i++)
        pthread_join(others[i], NULL);
}

static int status_of(pid_t child)
{
    int status = 0;
    torture_check(child > 0, "no child");
    while (waitpid(child, &status, 0) < 0)
        torture_check(errno == EINTR, "waitpid");
    torture_check(WIFEXITED(status), "the child was killed");
    return WEXITSTATUS(status);
}

/* Allocates, and frees what it has from its parent. */
static int child_work(unsigned long number, void *block)
{
    uint64_t sum = torture_churn(2000, number);
    free(block);
    void *mine = malloc(number + 1); /* never freed */
    return mine ? (int)(sum & 0x3f) : 99;
}

static pid_t make_fork(void)
{
    return fork();
}

/* Without libc's knowledge: no handlers of pthread_atfork. */
static pid_t make_raw_clone(void)
{
    return (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0UL);
}

static int run_children(const char *name, unsigned long amount, pid_t (*make)(void),
                        bool with_others)
{
    uint64_t sum = 0;
    if (with_others)
        start_others();
    for (unsigned long i = 0; i < amount; i++) {
        void *block = malloc(1000 + i);
        pid_t child = make();
        if (child == 0)
            _exit(child_work(i, block));
        sum = sum * 31 + (uint64_t)status_of(child);
        free(block);
    }
    if (with_others)
        end_others();
    printf("%s %016lx\n", name, (unsigned long)sum);
    return 0;
}

static int run_fork(unsigned long amount, const char *file)
{
    (void)file;
    return run_children("fork", amount, make_fork, true);
}

/* Other threads may hold locks of malloc, which only libc's fork knows to take: so there are none. */
static int run_raw_clone(unsigned long amount, const char *file)
{
    (void)file;
    return run_children("clone", amount, make_raw_clone, false);
}

/* A child of vfork that allocates, in its parent's memory, and runs a program or does not. */
static int run_vfork(unsigned long amount, const char *file)
{
    (void)file;
    volatile uint64_t sum = 0;
    start_others();
    for (volatile unsigned long i = 0; i < amount; i++) {
        void *volatile block = NULL;
        pid_t child = vfork();
        if (child == 0) {
            block = malloc(500 + i);
            if (i & 1)
                execl("/bin/true", "true", (char *)NULL);
            _exit(7);
        }
        sum = sum * 31 + (uint64_t)status_of(child);
        torture_check(block != NULL, "what the child made is here");
        free(block);
    }
    end_others();
    printf("vfork %016lx\n", (unsigned long)sum);
    return 0;
}

struct shared_work {
    unsigned long number;
    uint64_t sum;
};

static int share_memory(void *data)
{
    struct shared_work *work = data;
    work->sum = torture_churn(2000, work->number);
    return 5;
}

/* Children with the memory of the parent, and its thread's TLS, on a stack of their own; the parent waits. */
static int run_shared(unsigned long amount, const char *file)
{
    (void)file;
    uint64_t sum = 0;
    char *stack = malloc(CHILD_STACK_BYTES);
    for (unsigned long i = 0; i < amount; i++) {
        struct shared_work work = {.number = i};
        int flags = CLONE_VM | SIGCHLD | (i & 1 ? CLONE_VFORK : 0);
        sum = sum * 31 +
              (uint64_t)status_of(clone(share_memory, stack + CHILD_STACK_BYTES, flags, &work));
        sum = sum * 31 + work.sum;
    }
    free(stack);
    printf("shared %016lx\n", (unsigned long)sum);
    return 0;
}

static int run_spawn(unsigned long amount, const char *file)
{
    (void)file;
    uint64_t sum = 0;
    start_others();
    for (unsigned long i = 0; i < amount; i++) {
        pid_t child;
        char *const words[] = {"sh", "-c", "exit 3", NULL};
        torture_check(!posix_spawn(&child, "/bin/sh", NULL, NULL, words, environ), "posix_spawn");
        sum = sum * 31 + (uint64_t)status_of(child);
        sum = sum * 31 + (uint64_t)WEXITSTATUS(system("exit 4"));
    }
    end_others();
    printf("spawn %016lx\n", (unsigned long)sum);
    return 0;
}

/* The process ends at once; what goes on writes its result into the file. */
static int run_daemon(unsigned long amount, const char *file)
{
    void *block = malloc(100);
    torture_check(file != NULL, "daemon needs a file");
    printf("daemon %016lx\n", (unsigned long)torture_churn(amount, 3));
    fflush(stdout);
    if (daemon(1, 0))
        return 1;
    free(block);
    uint64_t sum = torture_churn(amount, 4);
    FILE *out = fopen(file, "we");
    torture_check(out != NULL, "the daemon's file");
    fprintf(out, "%016lx\n", (unsigned long)sum);
    return fclose(out) ? 1 : 0;
}

const struct torture_mode torture_process_modes[] = {
    {"fork", run_fork},   {"clone", run_raw_clone}, {"vfork", run_vfork}, {"shared", run_shared},
    {"spawn", run_spawn}, {"daemon", run_daemon},   {NULL, NULL},
};
